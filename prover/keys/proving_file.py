"""The proving half of a key as a file, `proving.key`.

    header of one page, then the arrays of `list_arrays`, each from a new page

    header = "zkpotpvk" | version | lg_n | n_wires | n_advice | n_linked | length of each array
             8 bytes each, little-endian; the rest of the page is zero

Its sha256, every byte of it, stands in verifying.key: a statement that names a verifying key names
the points it was proven with. What is hashed is a copy in memory, and that copy is what is checked
and used: a file that changes later, or shrinks, changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from kernels.array import G1Array, G2Array
from prover.errors import FormatError, KeyMismatch
from prover.keys.halves import (
    KeyArray,
    LinkedGroup,
    ProvingKey,
    Quotient,
    Role,
    VerifyingKey,
    list_arrays,
)
from prover.keys.points import find_unsafe_point
from prover.wire.statement import MAX_LINKED

MAGIC = b"zkpotpvk"
VERSION = 2
MAX_LG_N = 27

_PAGE = 4096
_CHUNK = 1 << 22


class Digest(Protocol):
    """A hash under way."""

    def update(self, data: memoryview, /) -> None: ...


_N_COUNTS = 4  # lg_n, n_wires, n_advice, n_linked


# -- writing ---------------------------------------------------------------------------------------


def compute_proving_digest(key: ProvingKey) -> bytes:
    """SHA-256 of the file of `list_chunks`."""
    digest = sha256()
    for chunk in list_chunks(key):
        digest.update(chunk)
    return digest.digest()


def list_chunks(key: ProvingKey) -> Iterator[memoryview]:
    """The bytes of the file, in pieces. TypeError for a key that is prepared for a device."""
    if key.quotient is not Quotient.SPLIT:
        raise TypeError("a key with a whole quotient has no file of ours")
    n_linked = len(key.groups)
    arrays = [_words(key, a) for a in list_arrays(n_linked)]
    counts = [VERSION, key.lg_n, key.n_wires, key.n_advice, n_linked, *map(len, arrays)]
    header = MAGIC + np.array(counts, dtype="<u8").tobytes()
    yield memoryview(header.ljust(_PAGE, b"\0"))
    for array in arrays:
        flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        for start in range(0, len(flat), _CHUNK):
            yield flat[start : start + _CHUNK]
        yield memoryview(bytes(-len(flat) % _PAGE))


def _words(key: ProvingKey, array: KeyArray) -> npt.NDArray[np.generic]:
    value = array.of(key)
    data = value.data if isinstance(value, G1Array | G2Array) else value
    if not isinstance(data, np.ndarray):
        raise TypeError(f"{array.name} is prepared for a device; save the key before preparing it")
    return data.astype(array.dtype, copy=False)


# -- reading ---------------------------------------------------------------------------------------


def read_proving_half(path: Path, verifying: VerifyingKey) -> ProvingKey:
    """The proving half that this verifying half names; see `prover.keys.folder`."""
    with path.open("rb") as file:
        header = file.read(_PAGE)
        counts, lengths = _parse_header(header, os.fstat(file.fileno()).st_size, path)
        lg_n, n_wires, n_advice, n_linked = counts
        listed, digest = list_arrays(n_linked), sha256(header)
        words = [
            _read_array(file, array, n, digest, path)
            for array, n in zip(listed, lengths, strict=True)
        ]
    if digest.digest() != verifying.proving_digest:
        raise KeyMismatch(f"{path.name} is altered, or not the proving half of its verifying key")
    own: dict[str, Any] = {}
    of_groups: list[dict[str, Any]] = [{} for _ in range(n_linked)]
    for array, data in zip(listed, words, strict=True):
        target = own if array.group is None else of_groups[array.group]
        target[array.name] = data if array.role is Role.WIRES else array.points(data)
    groups = tuple(LinkedGroup(**arrays) for arrays in of_groups)
    key = ProvingKey(
        verifying=verifying, lg_n=lg_n, n_wires=n_wires, n_advice=n_advice, groups=groups, **own
    )
    _check_lengths(key, path)
    _check_points(key, path)
    return key


def _parse_header(header: bytes, size: int, path: Path) -> tuple[list[int], list[int]]:
    """Counts and array lengths; the file's size must be what they demand."""
    start = len(MAGIC) + 8
    if len(header) < _PAGE:
        raise _bad("it is truncated", path)
    if header[:start] != MAGIC + VERSION.to_bytes(8, "little"):
        raise _bad(f"it is no proving key of version {VERSION}", path)
    numbers = np.frombuffer(header, dtype="<u8", offset=start).tolist()
    counts, rest = numbers[:_N_COUNTS], numbers[_N_COUNTS:]
    lg_n, n_wires, _, n_linked = counts
    if lg_n > MAX_LG_N or n_wires >= 1 << 32 or n_linked > MAX_LINKED:
        raise _bad("its header is malformed", path)
    arrays = list_arrays(n_linked)
    lengths = rest[: len(arrays)]
    if any(rest[len(arrays) :]):
        raise _bad("its header is malformed", path)
    demanded = count_file_bytes(n * a.item_bytes for n, a in zip(lengths, arrays, strict=True))
    if demanded != size:
        raise _bad(f"it has {size} bytes and its header demands {demanded}", path)
    return counts, lengths


def _read_array(
    file: BinaryIO, array: KeyArray, n: int, digest: Digest, path: Path
) -> npt.NDArray[Any]:
    """The next array, an allocation of its own: a prepared key lets go of what it does not need."""
    shape = (n,) if array.width == 1 else (n, array.width)
    words = np.empty(shape, dtype=array.dtype)
    padding = bytearray(-words.nbytes % _PAGE)
    for part in (words.reshape(-1).view(np.uint8).data, memoryview(padding)):
        for start in range(0, len(part), _CHUNK):
            chunk = part[start : start + _CHUNK]
            if file.readinto(chunk) != len(chunk):  # type: ignore[attr-defined]
                raise _bad("it became shorter while it was read", path)
            digest.update(chunk)
    return words


def _check_lengths(key: ProvingKey, path: Path) -> None:
    """The arrays fit the counts; a key with the right digest fails here only if setup was wrong."""
    fits = (
        len(key.a) == len(key.a_wires) + 2
        and len(key.b1) == len(key.b2) == len(key.b_wires) + 2
        and len(key.c) == len(key.c_wires)
        and len(key.h) == 1 << key.lg_n
        and all(len(g.link) == len(g.basis) + 1 >= 3 for g in key.groups)  # a wire at least
        and len(key.advice) == (key.n_advice + 1 if key.n_advice else 0)
        and len(key.correction) == 2 + len(key.groups)
        and (key.verifying.n_linked, key.verifying.has_advice)
        == (len(key.groups), bool(key.n_advice))
        and key.advice_wires.stop <= key.n_wires
        and all(
            len(w) == 0 or int(w.max()) < key.n_wires
            for w in (key.a_wires, key.b_wires, key.c_wires)
        )
    )
    if not fits:
        raise _bad("its arrays do not fit its counts", path)


def _check_points(key: ProvingKey, path: Path) -> None:
    """FormatError for points that a prover must not use."""
    by_role: dict[Role, list[G1Array | G2Array]] = {role: [] for role in Role}
    for array in list_arrays(len(key.groups)):
        by_role[array.role].append(array.of(key))
    hiding = by_role[Role.HIDING_BASES]
    fault = find_unsafe_point(
        g1=[p for p in hiding if isinstance(p, G1Array)],
        g2=[p for p in hiding if isinstance(p, G2Array)],
        links=[p for p in by_role[Role.LINK_BASES] if isinstance(p, G1Array)],
    )
    if fault is not None:
        raise _bad(fault, path)


def count_file_bytes(arrays: Iterable[int]) -> int:
    """Bytes of a file whose arrays take so many: the header, and whole pages for each."""
    return _PAGE + sum(-(-n // _PAGE) * _PAGE for n in arrays)


def _bad(what: str, path: Path) -> FormatError:
    return FormatError(what, where=str(path), next_step="copy the key again, or run setup again")
