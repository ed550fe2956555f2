"""Bases of a proving key that stay in their file, and come into memory a piece at a time.

The whole file is read once, hashed and checked, piece by piece; what is kept is the digest of each
piece. A piece that is read again later has to have its digest: a file that changes meanwhile, or
shrinks, ends the proof and can change nothing in it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from kernels.array import G1Array, G2Array
from prover.errors import KeyMismatch
from prover.keys.halves import KeyArray
from prover.wire.statement import MAX_LINKED

T = TypeVar("T")

Points = G1Array | G2Array
Keep = Callable[[KeyArray, int, Iterator[Points]], Any]
"""keep(array, length, pieces): the bases of an array that comes in the pieces of `cut_pieces`."""

TAIL = 1 + MAX_LINKED
"""Blinders of a link with the most groups."""
PIECE = 1 << 18
"""Points of a piece: 16 MiB in G1, 32 in G2; sums of fewer take more additions a point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedBases:
    """An array of bases in a proving key's file.

    start   : of its first byte in the file
    digests : sha256 of each piece, as it was checked
    tail    : its last points, `TAIL` at the most: the blinders, where it has some
    """

    path: Path
    array: KeyArray
    start: int
    length: int
    digests: tuple[bytes, ...]
    tail: Points

    def __len__(self) -> int:
        return self.length

    @property
    def n_bytes(self) -> int:
        """What it takes of memory while nobody reads it."""
        return sum(map(len, self.digests)) + self.tail.data.nbytes

    def list_pieces(self) -> Iterator[tuple[slice, Points]]:
        """The bases, piece by piece, and where each lies among all.

        Raises KeyMismatch for a file that is not the one any more that was checked, OSError.
        """
        with self.path.open("rb") as file:
            file.seek(self.start)
            for place, digest in zip(cut_pieces(self.length), self.digests, strict=True):
                n_bytes = (place.stop - place.start) * self.array.item_bytes
                raw = file.read(n_bytes)
                if len(raw) != n_bytes or sha256(raw).digest() != digest:
                    raise KeyMismatch(
                        f"{self.path.name} has changed since it was checked",
                        next_step="leave the files of a key alone while it proves, and prove again",
                    )
                words = np.frombuffer(raw, dtype=self.array.dtype)
                yield place, self.array.points(words.reshape(-1, self.array.width))


def read_ahead(pieces: Iterator[T]) -> Generator[T, None, None]:
    """The pieces in their order, each read by a thread while the one before is used: a device need
    not wait for the disk, nor for digests.

    memory : one piece more
    raises : what reading does, in its turn. Close it: then no thread is left.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="zkpot key") as reader:
        coming = reader.submit(next, pieces, None)
        while (piece := coming.result()) is not None:
            coming = reader.submit(next, pieces, None)
            yield piece


def cut_pieces(length: int) -> list[slice]:
    """Where the pieces of an array of so many points lie."""
    return [slice(at, min(at + PIECE, length)) for at in range(0, length, PIECE)]


def keep_in_memory(array: KeyArray, length: int, pieces: Iterator[Points]) -> Points:
    """The bases as one array; a `Keep`."""
    whole, at = array.points.zeros(length), 0
    for points in pieces:
        if len(points) == length:
            return points
        whole.data[at : at + len(points)] = points.data
        at += len(points)
    return whole


@contextmanager
def keeping_in_file(path: Path) -> Iterator[Keep]:
    """A `Keep` that writes bases into a new file, which goes when the block ends.

    A key of such bases can be saved like any other, within the block. Raises OSError.
    """
    with path.open("xb") as file:
        try:
            yield partial(_write_pieces, path, file)
        finally:
            with suppress(OSError):
                path.unlink()


def _write_pieces(
    path: Path, file: BinaryIO, array: KeyArray, length: int, pieces: Iterator[Points]
) -> StreamedBases:
    start, digests = file.tell(), list[bytes]()
    tail: Points = array.points.zeros(0)
    for points in pieces:
        raw = points.data.astype(array.dtype, copy=False).tobytes()
        file.write(raw)
        digests += [sha256(raw).digest()] if raw else []
        tail = follow_tail(tail, points)
    file.flush()
    return StreamedBases(
        path=path,
        array=array,
        start=start,
        length=length,
        digests=tuple(digests),
        tail=tail,
    )


def follow_tail(tail: Points, points: Points) -> Points:
    """The last points, when more have come."""
    return type(points)(np.concatenate([tail.data, points.data[-TAIL:]])[-TAIL:])


def find_tail(bases: Any, n: int) -> Any:
    """The last n bases, fewer than n of fewer, `TAIL` at the most: of an array or of a file."""
    points: Points = bases.tail if isinstance(bases, StreamedBases) else bases
    return points[max(len(points) - n, 0) :]
