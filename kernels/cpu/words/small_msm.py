"""A multi-scalar multiplication in G1 of verifier size: hundreds of public inputs, one core.

Buckets of signed windows (Pippenger): write s = sum_w d_w 2^(c w) with |d_w| <= 2^(c-1), put every
+-P into the bucket of its (w, |d_w|), add up each bucket pairwise in affine coordinates, all
buckets of all windows sharing inversions, then fold the buckets of all windows side by side.
"""

from __future__ import annotations

import numpy as np

from kernels.array import U64, FrArray, G1Array
from kernels.bn254 import R
from kernels.cpu.compile.jit import kernel
from kernels.cpu.compile.memory import load_word, stack
from kernels.cpu.words.affine_sum import addition_workspace, batch_add
from kernels.cpu.words.group import g1_add_affine, g1_double, g1_to_affine, neg_g1
from kernels.cpu.words.scalar64 import copy
from kernels.errors import ShapeError
from kernels.numpy_types import Int64Array

_FOLD = "void(uint64[:,:,::1], uint64[::1], int64[:,::1], int64, uint64[:,::1], uint64[:,::1])"
_HALVE = "int64(uint64[::1], int64[:,::1], int64[::1], int64, uintp, uint64[:,::1], uint64[:,::1])"


def window_bits(n: int) -> int:
    """Bits c of a window for n points: the fewest additions, windows * (n + 2^c)."""
    return min(range(2, 13), key=lambda c: (R.bit_length() // c + 1) * (n + (1 << c)))


@kernel(signature="void(int64[:,::1], int64[::1], uintp, int64, int64, int64)")
def _sort_digits(
    digits: Int64Array, starts: Int64Array, scalars: int, n: int, c: int, step: int
) -> None:
    """digits[w, i] signed; starts[b + 1] becomes the number of entries of bucket b.

    step : from the buckets of a window to those of the next
    """
    half = 1 << (c - 1)
    for i in range(n):
        carry = 0
        for w in range(digits.shape[0]):
            bit = c * w
            word = load_word(scalars + 32 * i + 8 * (bit >> 6)) >> np.uint64(bit & 63)
            if (bit & 63) + c > 64 and bit >> 6 < 3:
                above = load_word(scalars + 32 * i + 8 * (bit >> 6) + 8)
                word |= above << np.uint64(64 - (bit & 63))
            digit = np.int64(word & np.uint64(2 * half - 1)) + carry
            carry = 1 if digit > half else 0
            digit -= carry * 2 * half
            digits[w, i] = digit
            if digit != 0:
                starts[w * step + abs(digit)] += 1


@kernel(signature="void(uint64[::1], int64[:,::1], int64[::1], uintp, uintp, int64, int64)")
def _fill_buckets(
    entries: U64,
    digits: Int64Array,
    ends: Int64Array,
    points: int,
    opposites: int,
    step: int,
    row: int,
) -> None:
    """Addresses of +-P_i, bucket by bucket; ends[b] runs from the start of bucket b to its end.

    row : from the points of a window to those of the next
    """
    for w in range(digits.shape[0]):
        for i in range(digits.shape[1]):
            digit = digits[w, i]
            if digit != 0:
                bucket = w * step + abs(digit) - 1
                at = 64 * (w * row + i)
                entries[ends[bucket]] = (points if digit > 0 else opposites) + at
                ends[bucket] += 1


@kernel(signature=_HALVE)
def _halve_buckets(
    entries: U64,
    buckets: Int64Array,
    active: Int64Array,
    n_active: int,
    fresh: int,
    pairs: U64,
    work: U64,
) -> int:
    """Add neighbours in every active bucket; how many buckets still hold more than one entry.

    active : indices of the buckets with more than one entry; shortened to those of the result
    fresh  : where sums go in the first round, when entries are the caller's points. Later 0: they
             replace their left operands, since the one entry of a bucket that can still be a point
             of the caller's is its last
    """
    n, kept = 0, 0
    for a in range(n_active):
        bucket = active[a]
        start, count = buckets[bucket, 0], buckets[bucket, 1]
        for k in range(count // 2):
            left = start + 2 * k
            target = entries[left]
            if fresh != 0:
                target = fresh
                fresh += 64
            pairs[n, 0], pairs[n, 1], pairs[n, 2] = target, entries[left], entries[left + 1]
            entries[start + k] = target
            n += 1
            if n == pairs.shape[0]:
                batch_add(pairs, n, work)
                n = 0
        if count & 1:
            entries[start + count // 2] = entries[start + count - 1]
        buckets[bucket, 1] = (count + 1) // 2
        if count > 2:
            active[kept] = bucket
            kept += 1
    batch_add(pairs, n, work)
    return kept


@kernel(signature=_FOLD)
def _fold_buckets(
    sums: U64, entries: U64, buckets: Int64Array, half: int, pairs: U64, work: U64
) -> None:
    """sums[0, w] = sum_j j * bucket(w, j), by running sums over all windows side by side.

    buckets : rows (index of the first entry, 1 or 0 entries)
    sums    : zero, uint64[3, n_windows + 1, 8]; rows 1 and 2 hold the running sums in turn, the
              last column stays infinite and stands for an empty bucket
    """
    n_windows = sums.shape[1] - 1
    row = 64 * (n_windows + 1)
    base = sums.ctypes.data
    empty = base + 64 * n_windows
    for j in range(half, -1, -1):  # total + running(j + 1), and running(j + 1) + bucket(j)
        old, new = base + row * (1 + (j & 1)), base + row * (2 - (j & 1))
        n = 0
        for w in range(n_windows):
            pairs[n, 0], pairs[n, 1], pairs[n, 2] = base + 64 * w, base + 64 * w, old + 64 * w
            n += 1
            if j > 0:
                bucket = w * half + j - 1
                entry = entries[buckets[bucket, 0]] if buckets[bucket, 1] else empty
                pairs[n, 0], pairs[n, 1], pairs[n, 2] = new + 64 * w, old + 64 * w, entry
                n += 1
        batch_add(pairs, n, work)


@kernel(signature="void(uintp, uint64[:,:,::1], int64)")
def _join_windows(out: int, sums: U64, c: int) -> None:
    """out = sum_w 2^(c w) sums[0, w]."""
    t, base, n_windows = stack(12), sums.ctypes.data, sums.shape[1] - 1
    for k in range(3):
        copy(t + 32 * k, base + 64 * n_windows)
    for w in range(n_windows - 1, -1, -1):
        for _ in range(c):
            g1_double(t)
        g1_add_affine(t, base + 64 * w)
    g1_to_affine(out, t)


class Buckets:
    """Buckets of signed windows, each with the sum of its points or with none.

    table     : uint64[n_windows, n, 8], the points of each window; or uint64[1, n, 8], the same
                points for all windows, which then have buckets of their own
    opposites : the same of their negatives
    """

    def __init__(self, scalars: FrArray, table: U64, opposites: U64, c: int) -> None:
        n, n_windows, half = len(scalars), R.bit_length() // c + 1, 1 << (c - 1)
        step, row, n_rows = (half, 0, n_windows) if len(table) == 1 else (0, n, 1)
        digits = np.empty((n_windows, n), dtype=np.int64)
        starts = np.zeros(n_rows * half + 1, dtype=np.int64)
        _sort_digits(digits, starts, scalars.data.ctypes.data, n, c, step)
        counts = starts[1:].copy()
        ends = np.cumsum(starts)[:-1].copy()
        entries = np.empty(int(counts.sum()), dtype=np.uint64)
        points = table.ctypes.data, opposites.ctypes.data
        _fill_buckets(entries, digits, ends, *points, step, row)
        self._entries, self._buckets = entries, np.stack([ends - counts, counts], axis=1)
        self._points = table, opposites  # entries are addresses in them, or in the pool
        self._pool = np.empty((len(entries) // 2 + 1, 8), dtype=np.uint64)
        self._workspace = addition_workspace()
        active = np.flatnonzero(counts > 1)
        n_active, fresh = len(active), self._pool.ctypes.data
        while n_active:
            n_active = _halve_buckets(
                entries, self._buckets, active, n_active, fresh, *self._workspace
            )
            fresh = 0

    def fold(self, size: int) -> U64:
        """Rows of `size` buckets: sums[0, v] = sum_j j bucket(v, j), j from 1; and sums[1, v] their
        sum without weights; uint64[3, n_rows + 1, 8].
        """
        sums = np.zeros((3, len(self._buckets) // size + 1, 8), dtype=np.uint64)
        _fold_buckets(sums, self._entries, self._buckets, size, *self._workspace)
        return sums


def small_msm_g1(scalars: FrArray, bases: G1Array) -> G1Array:
    """sum s_i P_i as a G1Array of length 1; any length incl. 0; bases on the curve incl. infinity.

    Raises ShapeError when the lengths differ. Memory about 25 times that of the bases.
    """
    if bases.data.ndim != 2 or scalars.shape != bases.shape:
        raise ShapeError(f"small_msm_g1: {list(scalars.shape)} scalars, {list(bases.shape)} bases")
    c = window_bits(len(bases))
    opposites = neg_g1(bases).data
    buckets = Buckets(scalars, bases.data[None], opposites[None], c)
    out = np.empty((1, 8), dtype=np.uint64)
    _join_windows(out.ctypes.data, buckets.fold(1 << (c - 1)), c)
    return G1Array(out)
