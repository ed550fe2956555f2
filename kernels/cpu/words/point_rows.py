"""A sparse matrix times points of unknown logarithms: many short sums, scalars for each.

    out_i = sum_j s_ij P_(c_ij)

Scalars are of any length. Each is read as the shorter of s and r - s, in non-adjacent form: digits
0, 1 and -1, a third of them not zero. All entries of a row share its doublings, so a row of entries
+-1 costs an addition each, and one of full-size scalars 254 doublings and some 85 additions each.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kernels.array import U64, FrArray, G1Array, G2Array, words_from_ints
from kernels.bn254 import R
from kernels.cpu.compile.jit import kernel
from kernels.cpu.compile.memory import load_word, stack
from kernels.cpu.words.group import (
    G1_COORDINATES,
    G2_COORDINATES,
    Coordinates,
    g1_add_affine,
    g1_double,
    g1_to_affine,
    g2_add_affine,
    g2_double,
    g2_to_affine,
)
from kernels.errors import ShapeError
from kernels.numpy_types import Int64Array, UInt32Array

ROW_NS = 10_000  # of a row, for a pool to go by: full-size scalars take ten times as long
_R_WORDS = words_from_ints([R])[0]


def _build_sum_rows(
    field: Coordinates,
    double: Callable[[int], None],
    add_affine: Callable[[int, int], None],
    to_affine: Callable[[int, int], None],
) -> Callable[[int, Int64Array, UInt32Array, int, Int64Array, int, int, int], None]:
    n, sub, neg, move = field.n_bytes, field.sub, field.neg, field.copy

    @kernel(
        signature="void(uintp, int64[::1], uint32[::1], uintp, int64[::1], uintp, int64, int64)",
        key=field.key,
    )
    def sum_rows(
        out: int,
        starts: Int64Array,
        cols: UInt32Array,
        digits: int,
        lengths: Int64Array,
        points: int,
        first: int,
        last: int,
    ) -> None:
        """Rows first to last - 1 of the product; an entry has 8 words of digits, 1 then -1."""
        t, minus = stack(24), stack(16)
        for row in range(first, last):
            for k in range(3):  # zero words: infinity
                sub(t + k * n, t + k * n, t + k * n)
            longest = 0
            for entry in range(starts[row], starts[row + 1]):
                longest = max(longest, lengths[entry])
            for bit in range(longest - 1, -1, -1):
                double(t)
                at = 8 * (bit >> 6)
                shift = np.uint64(bit & 63)
                for entry in range(starts[row], starts[row + 1]):
                    if bit >= lengths[entry]:
                        continue
                    word = digits + 64 * entry + at
                    point = points + 2 * n * int(cols[entry])
                    if (load_word(word) >> shift) & np.uint64(1):
                        add_affine(t, point)
                    elif (load_word(word + 32) >> shift) & np.uint64(1):
                        move(minus, point)
                        neg(minus + n, point + n)
                        add_affine(t, minus)
            to_affine(out + 2 * n * row, t)

    return sum_rows


_sum_rows_g1 = _build_sum_rows(G1_COORDINATES, g1_double, g1_add_affine, g1_to_affine)
_sum_rows_g2 = _build_sum_rows(G2_COORDINATES, g2_double, g2_add_affine, g2_to_affine)


class PointRows:
    """The matrix, its scalars taken apart.

    starts  : int64[n_rows + 1], where the entries of each row begin; as `SparseMatrix.indptr`
    cols    : uint32[nnz], which point
    scalars : [nnz], canonical
    """

    def __init__(self, starts: Int64Array, cols: UInt32Array, scalars: FrArray) -> None:
        self.starts, self.cols = starts, cols
        self._digits = find_digits(scalars.data)
        self._lengths = _find_lengths(self._digits)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def require_points(self, n: int) -> None:
        """ShapeError unless every column has a point."""
        if len(self.cols) and int(self.cols.max()) >= n:
            raise ShapeError(f"point rows: column {int(self.cols.max())} of {n} points")

    def sum_g1(self, points: G1Array, out: U64, first: int, last: int) -> None:
        """Rows first to last - 1 of out, uint64[n_rows, 8]."""
        _sum_rows_g1(*self._arguments(points, out), first, last)

    def sum_g2(self, points: G2Array, out: U64, first: int, last: int) -> None:
        """Rows first to last - 1 of out, uint64[n_rows, 16]."""
        _sum_rows_g2(*self._arguments(points, out), first, last)

    def _arguments(
        self, points: G1Array | G2Array, out: U64
    ) -> tuple[int, Int64Array, UInt32Array, int, Int64Array, int]:
        to, digits, of = (x.ctypes.data for x in (out, self._digits, points.data))
        return to, self.starts, self.cols, digits, self._lengths, of


def find_digits(words: U64) -> U64:
    """Non-adjacent forms of the shorter of s and r - s: uint64[n, 8], where digits are 1, then -1.

    source : with h = k >> 1 and t = k + h, digits are 1 at t & (h ^ t) and -1 at h & (h ^ t)
    """
    others = subtract(np.broadcast_to(_R_WORDS, words.shape), words)
    is_negative = _is_less(others, words)
    k = np.where(is_negative[:, None], others, words)
    half = k >> np.uint64(1)
    half[:, :3] |= k[:, 1:] << np.uint64(63)
    total = np.empty_like(k)
    carry = np.zeros(len(k), dtype=np.uint64)
    for j in range(4):
        partial = k[:, j] + half[:, j]
        total[:, j] = partial + carry
        carry = ((partial < k[:, j]) | (total[:, j] < carry)).astype(np.uint64)
    changed = half ^ total
    plus, minus = total & changed, half & changed
    swapped = is_negative[:, None]
    return np.concatenate([np.where(swapped, minus, plus), np.where(swapped, plus, minus)], axis=1)


def subtract(a: U64, b: U64) -> U64:
    """a - b for uint64[n, 4], a >= b: word by word with a borrow."""
    out = np.empty(b.shape, dtype=np.uint64)
    borrow = np.zeros(len(b), dtype=np.uint64)
    for j in range(4):
        difference = a[:, j] - b[:, j]
        out[:, j] = difference - borrow
        borrow = ((a[:, j] < b[:, j]) | (difference < borrow)).astype(np.uint64)
    return out


def _is_less(a: U64, b: U64) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    below = np.zeros(len(a), dtype=np.bool_)
    for j in range(4):  # from the low word up: a higher word that differs decides
        below = (a[:, j] < b[:, j]) | ((a[:, j] == b[:, j]) & below)
    return below


def _find_lengths(digits: U64) -> Int64Array:
    """The number of digits of each entry, 0 for a scalar of zero."""
    used = digits[:, :4] | digits[:, 4:]
    lengths = np.zeros(len(digits), dtype=np.int64)
    for j in range(4):
        high = used[:, j] >> np.uint64(32)
        # Exact in float64: 32 bits at a time.
        _, upper = np.frexp(high.astype(np.float64))
        _, lower = np.frexp((used[:, j] & np.uint64(0xFFFFFFFF)).astype(np.float64))
        own = np.where(high > 0, 32 + upper, lower).astype(np.int64)
        lengths = np.where(used[:, j] > 0, 64 * j + own, lengths)
    return lengths
