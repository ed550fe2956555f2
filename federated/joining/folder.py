"""A client's own folder: who it is, which task it takes part in, and the secrets of its rounds.

    FOLDER/client.key       Ed25519; made at the first need, never replaced
    FOLDER/genesis.json     of the task: the first one that was seen, and no other from then on
    FOLDER/permit           of the admission key, once it was given
    FOLDER/chain-GENESIS/   what it holds of each round, see `federated.rounds.store.SecretStore`
    FOLDER/blobs/           what it has read and what it has made for others to read
    FOLDER/lock             held while a client runs: two would contradict each other

One folder is one client of one task: a key that was seen on two chains would tell that one client
is behind both.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consensus.disk.identity import create_key, get_public_key, load_key
from consensus.wire.genesis import Genesis
from consensus.wire.signatures import is_valid
from consensus.wire.transactions import permit_bytes
from federated.client import describe_permit
from federated.errors import ClientFolderInvalid, NotAdmitted
from kernels.files import PRIVATE, write_whole
from prover.randomness import RandomBytes

KEY, GENESIS, PERMIT, LOCK, BLOBS = "client.key", "genesis.json", "permit", "lock", "blobs"
SEED_BYTES, PERMIT_BYTES = 32, 64


def take_key(folder: Path, random_bytes: RandomBytes) -> Ed25519PrivateKey:
    """The client's key; made now when there is none. Raises IdentityError."""
    if (folder / KEY).exists():
        return load_key(folder, KEY)
    return create_key(folder, random_bytes(SEED_BYTES), KEY)


@contextmanager
def holding(folder: Path) -> Iterator[None]:
    """The folder for this process alone. Raises ClientFolderInvalid, OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / LOCK).open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClientFolderInvalid(
                folder, "another client uses this folder", "let it end, or name another folder"
            ) from None
        yield


def pin_genesis(folder: Path, genesis: Genesis) -> bool:
    """Keeps the genesis; whether it is the first that this folder sees.

    Raises ClientFolderInvalid for another than that one, OSError.
    """
    path = folder / GENESIS
    try:
        known = path.read_bytes()
    except FileNotFoundError:
        write_whole(path, [genesis.encode()], mode=PRIVATE)
        return True
    if known != genesis.encode():
        raise ClientFolderInvalid(
            path,
            f"is of another task than the genesis {genesis.digest.hex()} that was given",
            "ask whom you trust for the right digest; another task has another folder",
        )
    return False


def take_permit(folder: Path, genesis: Genesis, key: Ed25519PrivateKey, given: str | None) -> bytes:
    """The permit that was given, kept from now on, or the one that was kept; b"" without any.

    given : 128 hexadecimal digits. Raises NotAdmitted for what is no permit of this task for this
    client, OSError.
    """
    path, public = folder / PERMIT, get_public_key(key)
    text = given
    if text is None:
        try:
            text = path.read_text(encoding="ascii", errors="replace")[: 4 * PERMIT_BYTES]
        except FileNotFoundError:
            return b""
    try:
        permit = bytes.fromhex(text)
    except ValueError:
        permit = b""
    if not is_valid(genesis.admission_key, permit, permit_bytes(genesis.digest, public)):
        raise NotAdmitted(
            f"the permit is none of this task for this client; {describe_permit(public)}"
        )
    write_whole(path, [permit.hex().encode("ascii") + b"\n"], mode=PRIVATE)
    return permit
