"""The proving half of a key as a file, `proving.key`.

    header of one page, then the arrays of `prover.keys.halves.ARRAYS`, each from a new page

    header = "zkpotpvk" | version | domain | n_wires | n_advice | length of each array | n_linked |
             wires of each linked group; 8 bytes each, little-endian; the rest of the page is zero

Its sha256, every byte of it, stands in verifying.key: a statement that names a verifying key names
the points it was proven with. What is hashed is a copy in memory, and that copy is what is checked
and used: a file that changes later, or shrinks, changes nothing. Where memory is short the bases
stay in the file, and whatever is read of them again has to be what was hashed and checked
(`prover.keys.streamed`).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from kernels.array import G1Array, G2Array
from prover.errors import FormatError, KeyMismatch
from prover.keys.halves import (
    ARRAYS,
    KeyArray,
    ProvingKey,
    Quotient,
    Role,
    VerifyingKey,
    Wires,
    count_blinders,
    count_links,
)
from prover.keys.points import are_on_curves, find_unsafe_blinder
from prover.keys.streamed import Points, StreamedBases, cut_pieces, find_tail, follow_tail
from prover.wire.statement import MAX_LINKED

MAGIC = b"zkpotpvk"
VERSION = 4
MAX_DOMAIN = 1 << 27

_PAGE = 4096
_CHUNK = 1 << 22
_N_COUNTS = 3  # domain, n_wires, n_advice
_N_SIZES = _N_COUNTS + len(ARRAYS)


class Digest(Protocol):
    """A hash under way."""

    def update(self, data: memoryview, /) -> None: ...


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
    counts = Counts(
        domain=key.domain, n_wires=key.n_wires, n_advice=key.n_advice, linked=key.linked
    )
    parts = [(array, len(array.of(key)), _list_words(array.of(key), array)) for array in ARRAYS]
    yield from list_file(counts, parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What the header says beside the lengths of the arrays."""

    domain: int
    n_wires: int
    n_advice: int
    linked: tuple[int, ...]


Words = npt.NDArray[np.generic]
Part = tuple[KeyArray, int, Iterable[Words]]
"""An array of a file, its length, and its words piece by piece."""


def list_file(counts: Counts, parts: Sequence[Part]) -> Iterator[memoryview]:
    """The bytes of a file of these arrays, those of `ARRAYS`, in pieces."""
    c, lengths = counts, [length for _, length, _ in parts]
    sizes = [c.domain, c.n_wires, c.n_advice, *lengths, len(c.linked), *c.linked]
    numbers = [VERSION, *sizes]
    header = MAGIC + np.array(numbers, dtype="<u8").tobytes()
    yield memoryview(header.ljust(_PAGE, b"\0"))
    for array, length, pieces in parts:
        for words in pieces:
            flat = np.ascontiguousarray(words).reshape(-1).view(np.uint8).data
            for start in range(0, len(flat), _CHUNK):
                yield flat[start : start + _CHUNK]
        yield memoryview(bytes(-(length * array.item_bytes) % _PAGE))


def _list_words(value: Any, array: KeyArray) -> Iterator[Words]:
    """The words of an array, in one piece or several."""
    if isinstance(value, StreamedBases):
        for _, points in value.list_pieces():
            yield points.data
        return
    data = value.data if isinstance(value, G1Array | G2Array) else value
    if not isinstance(data, np.ndarray):
        raise TypeError(f"{array.name} is prepared for a device; save the key before preparing it")
    yield data.astype(array.dtype, copy=False)


# -- reading ---------------------------------------------------------------------------------------


def read_proving_half(path: Path, verifying: VerifyingKey, *, streams: bool = False) -> ProvingKey:
    """The proving half that this verifying half names; see `prover.keys.folder`.

    streams : the bases stay in the file, as `StreamedBases`
    """
    found = read_contents(path, streams=streams)
    if found.digest != verifying.proving_digest:
        raise KeyMismatch(f"{path.name} is altered, or not the proving half of its verifying key")
    arrays: dict[str, Any] = {array.name: value for array, value in found.arrays}
    key = ProvingKey(verifying=verifying, **asdict(found.counts), **arrays)
    _check_lengths(key, path)
    _check_points(key, found.are_on_curves, path)
    return key


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Contents:
    """A file as it was read and hashed; that its arrays fit together is not asked.

    are_on_curves : of the arrays that were scanned, those whose points a prover asks this of
    """

    counts: Counts
    arrays: list[tuple[KeyArray, Any]]
    digest: bytes
    are_on_curves: bool


def read_contents(path: Path, *, streams: bool) -> Contents:
    """The arrays of a file. Raises FormatError, OSError.

    streams : the bases stay in the file, as `StreamedBases`
    """
    with path.open("rb") as file:
        header = file.read(_PAGE)
        size = os.fstat(file.fileno()).st_size
        _require_written(file, size, path)
        counts, lengths = _parse_header(header, size, path)
        reader = _Reader(file, header, path)
        found: list[tuple[KeyArray, Any]] = []
        for array, n in zip(ARRAYS, lengths, strict=True):
            take = reader.scan if streams and array.role.is_sum else reader.read
            found.append((array, take(array, n)))
    return Contents(
        counts=counts,
        arrays=found,
        digest=reader.digest.digest(),
        are_on_curves=reader.are_on_curves,
    )


def _parse_header(header: bytes, size: int, path: Path) -> tuple[Counts, list[int]]:
    """Counts and array lengths; the file's size must be what they demand."""
    start = len(MAGIC) + 8
    if len(header) < _PAGE:
        raise _bad("it is truncated", path)
    if header[:start] != MAGIC + VERSION.to_bytes(8, "little"):
        raise _bad(f"it is no proving key of version {VERSION}", path)
    numbers = np.frombuffer(header, dtype="<u8", offset=start).tolist()
    domain, n_wires, n_advice = numbers[:_N_COUNTS]
    lengths, (n_linked, *rest) = numbers[_N_COUNTS:_N_SIZES], numbers[_N_SIZES:]
    if not 1 <= domain <= MAX_DOMAIN or n_wires >= 1 << 32 or n_linked > MAX_LINKED:
        raise _bad("its header is malformed", path)
    linked = tuple(rest[:n_linked])
    if any(rest[n_linked:]) or not all(linked):
        raise _bad("its header is malformed", path)
    demanded = count_file_bytes(n * a.item_bytes for n, a in zip(lengths, ARRAYS, strict=True))
    if demanded != size:
        raise _bad(f"it has {size} bytes and its header demands {demanded}", path)
    counts = Counts(domain=domain, n_wires=n_wires, n_advice=n_advice, linked=linked)
    return counts, lengths


def _require_written(file: BinaryIO, size: int, path: Path) -> None:
    """FormatError for a file most of which was never written.

    A stranger's file of any length takes no room on the disk as a hole, but memory and time when it
    is read: so both are bounded by twice the bytes that came. Some zeros are a key's own, those of
    links of a ceremony's first key, and may be holes where a file system or a copy makes them such.
    """
    if not hasattr(os, "SEEK_HOLE"):
        return
    place = os.lseek(file.fileno(), 0, os.SEEK_CUR)
    n_written = _count_written(file.fileno(), size)
    os.lseek(file.fileno(), place, os.SEEK_SET)
    if 2 * n_written < size:
        raise _bad(f"it says {size} bytes, and only {n_written} were ever written", path)


def _count_written(descriptor: int, size: int) -> int:
    """Bytes of a file that are in no hole; all of them where the file system does not tell."""
    n_written = end = 0
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # a hole up to the end
                raise
            break
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        n_written += end - start
    return n_written


class _Reader:
    """Reads the arrays of a file in their order, and hashes every byte of it.

    are_on_curves : of the arrays that were scanned, those whose points a prover asks this of
    """

    def __init__(self, file: BinaryIO, header: bytes, path: Path) -> None:
        self._file, self._path = file, path
        self.digest, self.are_on_curves = sha256(header), True

    def read(self, array: KeyArray, n: int) -> Wires | G1Array | G2Array:
        """The next array, an allocation of its own: a prepared key lets go of what it has not to
        keep."""
        shape = (n,) if array.width == 1 else (n, array.width)
        words = np.empty(shape, dtype=array.dtype)
        self._fill(words.reshape(-1).view(np.uint8).data)
        self._fill(memoryview(bytearray(-words.nbytes % _PAGE)))
        return words if array.role is Role.WIRES else array.points(words)

    def scan(self, array: KeyArray, n: int) -> StreamedBases:
        """The next array, which stays where it is; its points are looked at on the way."""
        start, digests = self._file.tell(), list[bytes]()
        tail: Points = array.points.zeros(0)
        for place in cut_pieces(n):
            words = np.empty((place.stop - place.start, array.width), dtype=array.dtype)
            raw = words.reshape(-1).view(np.uint8).data
            self._fill(raw)
            digests.append(sha256(raw).digest())
            points = array.points(words)
            if array.role.is_asked:
                self.are_on_curves = self.are_on_curves and are_on_curves([points])
            tail = follow_tail(tail, points)
        self._fill(memoryview(bytearray(-(n * array.item_bytes) % _PAGE)))
        return StreamedBases(
            path=self._path,
            array=array,
            start=start,
            length=n,
            digests=tuple(digests),
            tail=tail,
        )

    def _fill(self, part: memoryview) -> None:
        for at in range(0, len(part), _CHUNK):
            chunk = part[at : at + _CHUNK]
            if self._file.readinto(chunk) != len(chunk):  # type: ignore[attr-defined]
                raise _bad("it became shorter while it was read", self._path)
            self.digest.update(chunk)


def _check_lengths(key: ProvingKey, path: Path) -> None:
    """The arrays fit the counts; a key with the right digest fails here only if setup was wrong."""
    fits = (
        len(key.a) == len(key.a_wires) + 2
        and len(key.b1) == len(key.b2) == len(key.b_wires) + 2
        and len(key.c) == len(key.c_wires)
        and len(key.h) == key.domain
        and len(key.link) == len(key.basis) == count_links(key.linked)
        and len(key.advice) == (key.n_advice + 1 if key.n_advice else 0)
        and len(key.correction) == 2 + count_blinders(len(key.linked))
        and (key.verifying.n_linked, key.verifying.has_advice)
        == (len(key.linked), bool(key.n_advice))
        and key.advice_wires.stop <= key.n_wires
        and all(
            len(w) == 0 or int(w.max()) < key.n_wires
            for w in (key.a_wires, key.b_wires, key.c_wires)
        )
    )
    if not fits:
        raise _bad("its arrays do not fit its counts", path)


def _check_points(key: ProvingKey, are_sound: bool, path: Path) -> None:
    """FormatError for points that a prover must not use.

    are_sound : whether all points that were only scanned are on their curves
    """
    asked = [array.of(key) for array in ARRAYS if array.role.is_asked]
    whole = [bases for bases in asked if not isinstance(bases, StreamedBases)]
    hiding = [find_tail(array.of(key), 1) for array in ARRAYS if array.role is Role.HIDING_BASES]
    fault = find_unsafe_blinder(
        g1=[points for points in hiding if isinstance(points, G1Array)],
        g2=[points for points in hiding if isinstance(points, G2Array)],
        link=find_tail(key.link, count_blinders(len(key.linked))),
        are_on_curves=are_sound and are_on_curves(whole),
    )
    if fault is not None:
        raise _bad(fault, path)


def count_file_bytes(arrays: Iterable[int]) -> int:
    """Bytes of a file whose arrays take so many: the header, and whole pages for each."""
    return _PAGE + sum(-(-n // _PAGE) * _PAGE for n in arrays)


def _bad(what: str, path: Path) -> FormatError:
    return FormatError(what, where=str(path), next_step="copy the key again, or run setup again")
