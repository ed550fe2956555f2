"""Who a node is: a validator's Ed25519 key on disk, and what it signs with it."""

from __future__ import annotations

import dataclasses
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consensus.errors import IdentityError
from consensus.wire.codec import Signed
from kernels.files import write_new

if TYPE_CHECKING:
    from consensus.disk.place import SignedPlace

KEY_FILE = "validator.key"
_SEED_BYTES = 32
S = TypeVar("S", bound=Signed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a node is: nobody, for one that only watches.

    beacon_secret : of its share
    place         : the last that it signed at
    """

    index: int | None = None
    key: Ed25519PrivateKey | None = None
    beacon_secret: bytes | None = None
    place: SignedPlace | None = None


# -- keys on disk ----------------------------------------------------------------------------------


def create_key(folder: Path, seed: bytes, name: str = KEY_FILE) -> Ed25519PrivateKey:
    """Writes a new private key, readable by its owner only; the folder too. Never overwrites one.

    seed : 32 bytes of the system's randomness
    Raises IdentityError.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _require_private(folder, folder.stat(), "chmod 700 it")
    path = folder / name
    try:
        write_new(path, seed.hex().encode("ascii") + b"\n")
    except FileExistsError:
        raise IdentityError(
            path, "there is a key already", "keep it, or name another folder"
        ) from None
    return Ed25519PrivateKey.from_private_bytes(seed)


def load_key(folder: Path, name: str = KEY_FILE) -> Ed25519PrivateKey:
    """The key that `create_key` wrote. Raises IdentityError, also when others may read it."""
    return Ed25519PrivateKey.from_private_bytes(load_seed(folder, name))


def load_seed(folder: Path, name: str = KEY_FILE) -> bytes:
    """The 32 secret bytes that `create_key` wrote. Raises IdentityError as `load_key`."""
    path = folder / name
    next_step = "make one with `zkpot chain init`"
    seed = _parse_seed(read_private(path, 2 * _SEED_BYTES + 2, next_step=next_step))
    if seed is None:
        next_step = "take this file, and no other, from a copy, or make a new one"
        raise IdentityError(path, "holds no key", next_step)
    return seed


def read_private(path: Path, most: int, *, next_step: str) -> bytes:
    """At most so many first bytes of a file that is its owner's alone.

    next_step : what to do where there is none. Raises IdentityError.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise IdentityError(path, f"cannot be read ({error.strerror})", next_step) from None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise IdentityError(path, "is no file", next_step)
        _require_private(path, found, "chmod 600 it, or make a new key if others may have read it")
        return file.read(most)


def _parse_seed(raw: bytes) -> bytes | None:
    try:
        seed = bytes.fromhex(raw.decode("ascii").removesuffix("\n"))
    except ValueError:
        return None
    return seed if raw == seed.hex().encode("ascii") + b"\n" and len(seed) == _SEED_BYTES else None


def _require_private(path: Path, found: os.stat_result, next_step: str) -> None:
    if found.st_uid != os.geteuid():
        raise IdentityError(path, "belongs to another user", "run as its owner")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise IdentityError(path, "is open to other users", next_step)


# -- signing ---------------------------------------------------------------------------------------


def get_public_key(key: Ed25519PrivateKey) -> bytes:
    """The 32 bytes that genesis names."""
    return key.public_key().public_bytes_raw()


def sign(key: Ed25519PrivateKey, message: S, genesis_digest: bytes) -> S:
    """The message with this key's signature, for the chain of this genesis. Deterministic."""
    signature = key.sign(message.sign_bytes(genesis_digest))
    return dataclasses.replace(message, signature=signature)  # type: ignore[type-var]
