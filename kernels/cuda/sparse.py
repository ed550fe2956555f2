"""m z over F_r on a device, for the sparse matrices of a circuit (`src/sparse.cu`).

Rows differ in length by orders of magnitude, so the entries are cut into segments of at most
SEGMENT, one thread each; what the segments of a row give is summed in segments again. A matrix that
does not fit is sent piece by piece, its results stay.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from kernels.array import FrMont, SparseMatrix
from kernels.backend import Rows
from kernels.cuda.launch.runtime import Array, Device, grid_for
from kernels.cuda.plan import ELEMENT_BYTES
from kernels.errors import DoesNotFit, ShapeError
from kernels.numpy_types import Int64Array

SEGMENT = 64
BLOCK = 128
ENTRY_BYTES = 12  # a column and a coefficient
KEPT = 6  # matrices that stay on the device: those of two circuits
KEPT_SHARE = 4  # together at most one in so many bytes of the device

Ranges = tuple[Rows, ...]


def plan_segments(indptr: Int64Array) -> list[Int64Array]:
    """Level after level: segment k has the items levels[l][k] to levels[l][k + 1].

    Items of the first level are the matrix's entries, of each later level the segments below. The
    last level has one segment per row. A row without entries is one empty segment.
    """
    levels, bounds = [], indptr
    while True:
        n_segments = np.maximum(-(-np.diff(bounds) // SEGMENT), 1)
        first = np.concatenate([[0], np.cumsum(n_segments)])  # segment of each row
        within = np.arange(first[-1]) - np.repeat(first[:-1], n_segments)
        starts = np.repeat(bounds[:-1], n_segments) + SEGMENT * within
        levels.append(np.append(starts, bounds[-1]))
        if (n_segments == 1).all():
            return levels
        bounds = first


def move_segments(
    starts: Int64Array, pieces: Sequence[Int64Array]
) -> tuple[Int64Array, Int64Array]:
    """First and last entries of the segments, in a matrix of which only some rows were cut.

    starts : segments of these rows as if they were all
    pieces : of `indptr`, of each range of rows
    """
    n_entries = np.array([piece[-1] - piece[0] for piece in pieces])
    ends = np.cumsum(n_entries)
    within = np.searchsorted(ends, starts[:-1], side="right").clip(max=len(pieces) - 1)
    shift = (np.array([piece[0] for piece in pieces]) - (ends - n_entries))[within]
    return starts[:-1] + shift, starts[1:] + shift


def cut_segments(starts: Int64Array, most_entries: int) -> list[tuple[int, int]]:
    """Ranges of segments with at most `most_entries` (at least SEGMENT) entries each."""
    cuts, n = [0], len(starts) - 1
    while cuts[-1] < n:
        end = int(np.searchsorted(starts, starts[cuts[-1]] + most_entries, side="right")) - 1
        cuts.append(min(max(end, cuts[-1] + 1), n))
    return list(pairwise(cuts))


@dataclass(frozen=True, slots=True, eq=False)
class _Segments:
    """How some rows of a matrix are cut.

    levels : level by level, as if those rows were all, on the host and on the device
    bounds : first entry of each segment of the first level, and the entry behind it
    """

    levels: list[Int64Array]
    words: list[Array]
    bounds: tuple[Array, Array]

    @property
    def n_words(self) -> int:
        return sum(map(len, self.words)) + sum(map(len, self.bounds))


@dataclass(frozen=True, slots=True, eq=False)
class _Matrix:
    """A matrix of which the device keeps the entries, unless they are too many."""

    source: SparseMatrix
    wide: Array
    entries: tuple[Array, Array] | None  # columns and coefficients
    segments: dict[Ranges, _Segments]

    @property
    def n_bytes(self) -> int:
        n_words = sum(cut.n_words for cut in self.segments.values())
        n_entries = self.source.nnz if self.entries else 0
        return 8 * n_words + n_entries * ENTRY_BYTES + len(self.source.wide) * ELEMENT_BYTES


class CudaSparse:
    """Products with sparse matrices on one device."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.module = device.load_module("sparse")
        self._kept: OrderedDict[int, _Matrix] = OrderedDict()  # by id of the source, which is kept

    def multiply(self, m: SparseMatrix, vector: Array, ranges: Ranges) -> Array:
        """Entries first <= i < last of m z, range after range, uint64[n, 4], for z on the device.

        vector : z, uint64[m.n_cols, 4], else ShapeError
        Raises DoesNotFit if the results exceed the device's memory.
        """
        if vector.shape != (m.n_cols, FrMont.WORDS):
            shape = list(vector.shape[:-1])
            raise ShapeError(f"matvec: {m.n_cols} columns times a vector of shape {shape}")
        for first, last in ranges:
            if not 0 <= first <= last <= m.n_rows:
                raise ShapeError(f"matvec: rows {first} to {last} of {m.n_rows}")
        ranges = tuple((first, last) for first, last in ranges if first < last)
        if not ranges:
            return self.device.empty((0, FrMont.WORDS), np.uint64)
        matrix = self._prepare(m)
        if matrix.entries is None and len(ranges) > 1:
            return self._multiply_one_by_one(m, vector, ranges)
        cut = self._cut(matrix, ranges)
        free = self.device.free_bytes - ELEMENT_BYTES * 2 * len(cut.levels[0])
        needed = 0 if matrix.entries else SEGMENT * ENTRY_BYTES
        if free < needed:
            granted = self.device.free_bytes
            raise DoesNotFit(
                what="a sparse product", needed=needed - free + granted, granted=granted
            )
        values = self._multiply_entries(matrix, cut, vector, free // ENTRY_BYTES)
        for starts in cut.words:
            n = len(starts) - 1
            sums = self.device.empty((n, FrMont.WORDS), np.uint64)
            self._launch("add_segments", n, (sums, starts, values, np.uint64(n)))
            values = sums
        return values

    def _multiply_one_by_one(self, m: SparseMatrix, vector: Array, ranges: Ranges) -> Array:
        """Each range by itself, for a matrix whose entries travel."""
        self.device.spoil_tape()
        n_rows = sum(last - first for first, last in ranges)
        out = self.device.empty((n_rows, FrMont.WORDS), np.uint64)
        at = 0
        for first, last in ranges:
            out[at : at + last - first] = self.multiply(m, vector, ((first, last),))
            at += last - first
        return out

    def _multiply_entries(
        self, matrix: _Matrix, cut: _Segments, vector: Array, most_entries: int
    ) -> Array:
        """The value of every segment of entries."""
        starts = cut.levels[0]
        n = len(starts) - 1
        out = self.device.empty((n, FrMont.WORDS), np.uint64)
        if matrix.entries is not None:
            arguments = (out, *cut.bounds, *matrix.entries, vector, matrix.wide, np.uint64(n))
            self._launch("multiply_segments", n, arguments)
            return out
        self.device.spoil_tape()
        for first, last in cut_segments(starts, most_entries):
            self._multiply_piece(matrix, starts[first : last + 1], vector, out[first:last])
        return out

    def _multiply_piece(
        self, matrix: _Matrix, starts: Int64Array, vector: Array, out: Array
    ) -> None:
        """The values of some segments, whose entries travel; the device has room for one piece, so
        nothing of it outlives the call."""
        n = len(starts) - 1
        words = self._words(starts - starts[0])
        sent = self._send_entries(matrix.source, int(starts[0]), int(starts[-1]))
        arguments = (out, words[:-1], words[1:], *sent, vector, matrix.wide, np.uint64(n))
        self._launch("multiply_segments", n, arguments)

    def _prepare(self, m: SparseMatrix) -> _Matrix:
        """The matrix as it is kept, with its entries if they fit into the share."""
        if id(m) in self._kept:
            self._kept.move_to_end(id(m))
            return self._kept[id(m)]
        share = min(self.device.memory_bytes // KEPT_SHARE, self.device.free_bytes // 2)
        small = m.nnz * ENTRY_BYTES + 8 * (m.n_rows + m.nnz // SEGMENT) <= share
        matrix = _Matrix(
            source=m,
            wide=self.device.asarray(m.wide.data),
            entries=self._send_entries(m, 0, m.nnz) if small else None,
            segments={},
        )
        self._kept[id(m)] = matrix
        while len(self._kept) > 1 and (
            len(self._kept) > KEPT or sum(k.n_bytes for k in self._kept.values()) > share
        ):
            self._kept.popitem(last=False)
        return matrix

    def _cut(self, matrix: _Matrix, ranges: Ranges) -> _Segments:
        """The segments of some rows; kept with a matrix whose entries are."""
        if ranges in matrix.segments:
            return matrix.segments[ranges]
        indptr = matrix.source.indptr
        pieces = [indptr[first : last + 1] for first, last in ranges]
        if len(ranges) == 1:
            levels = plan_segments(pieces[0])
            words = self._words(levels[0])
            bounds = words[:-1], words[1:]
        else:
            lengths = np.concatenate([np.diff(piece) for piece in pieces])
            levels = plan_segments(np.concatenate([[0], np.cumsum(lengths)]))
            moved = move_segments(levels[0], pieces)
            bounds = self._words(moved[0]), self._words(moved[1])
        cut = _Segments(levels, [self._words(starts) for starts in levels[1:]], bounds)
        if matrix.entries is not None:
            matrix.segments[ranges] = cut
        return cut

    def _send_entries(self, m: SparseMatrix, begin: int, end: int) -> tuple[Array, Array]:
        """Columns and coefficients of entries begin to end."""
        coefficients = m.coeffs[begin:end].view(np.uint64)
        return self.device.asarray(m.cols[begin:end]), self.device.asarray(coefficients)

    def _words(self, starts: Any) -> Array:
        return self.device.asarray(starts.astype(np.uint64))

    def _launch(self, name: str, n: int, arguments: tuple[Any, ...]) -> None:
        self.module.kernel(name)(grid_for(n, BLOCK), (BLOCK, 1, 1), arguments)
