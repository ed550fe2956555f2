"""Scalars to signed digits, digits to entries sorted by bucket: the first half of an MSM."""

from __future__ import annotations

import numpy as np

from kernels.array import U64
from kernels.bn254 import R
from kernels.cpu.compile.jit import kernel
from kernels.cpu.compile.memory import leading_zeros
from kernels.numpy_types import BoolArray, Int32Array, Int64Array, UInt32Array

_R = [np.uint64((R >> (64 * i)) & (2**64 - 1)) for i in range(4)]
_HALF = [np.uint64((((R - 1) // 2) >> (64 * i)) & (2**64 - 1)) for i in range(4)]
R0, R1, R2, R3 = _R
H0, H1, H2, H3 = _HALF


@kernel
def magnitude(scalars: U64, i: int, out: U64) -> bool:
    """out[0:4] = min(s, r - s) for canonical s; returns whether it is r - s."""
    w0, w1, w2, w3 = scalars[i, 0], scalars[i, 1], scalars[i, 2], scalars[i, 3]
    if w3 != H3:
        large = w3 > H3
    elif w2 != H2:
        large = w2 > H2
    elif w1 != H1:
        large = w1 > H1
    else:
        large = w0 > H0
    if not large:
        out[0], out[1], out[2], out[3] = w0, w1, w2, w3
        return False
    out[0] = R0 - w0
    borrow = np.uint64(w0 > R0)
    out[1] = R1 - w1 - borrow
    borrow = np.uint64(w1 > R1) | (np.uint64(w1 == R1) & borrow)
    out[2] = R2 - w2 - borrow
    borrow = np.uint64(w2 > R2) | (np.uint64(w2 == R2) & borrow)
    out[3] = R3 - w3 - borrow
    return True


@kernel
def count_lengths(scalars: U64, infinite: BoolArray, histogram: Int64Array) -> None:
    """histogram[b] += 1 for each finite base's scalar, b = bits of min(s, r - s).

    histogram : int64[257]; canonical scalars have b <= 253, all others (but r itself) b >= 254,
                since r - s wraps round to 2^256 + r - s >= r
    """
    w = np.empty(4, np.uint64)
    for i in range(scalars.shape[0]):
        if infinite[i]:
            continue
        magnitude(scalars, i, w)
        top = 3
        while top > 0 and w[top] == 0:
            top -= 1
        histogram[64 * (top + 1) - np.int64(leading_zeros(w[top]))] += 1


@kernel
def write_digits(
    scalars: U64,
    infinite: BoolArray,
    first: int,
    last: int,
    c: int,
    n_windows: int,
    out: Int32Array,
) -> None:
    """out[w, i] = signed c-bit digit w of scalar i, |digit| <= 2^(c-1); zero for infinite bases.

    sum_w out[w, i] 2^(c w) = s_i mod r for n_windows * c > bits of min(s, r - s).
    """
    w = np.empty(4, np.uint64)
    half, full = 1 << (c - 1), 1 << c
    mask = np.uint64(full - 1)
    for i in range(first, last):
        if infinite[i]:
            for j in range(n_windows):
                out[j, i] = 0
            continue
        negative = magnitude(scalars, i, w)
        carry = 0
        for j in range(n_windows):
            bit = j * c
            at, shift = bit >> 6, np.uint64(bit & 63)
            value = np.uint64(0)
            if at < 4:
                value = w[at] >> shift
                if shift != 0 and at < 3:
                    value |= w[at + 1] << (np.uint64(64) - shift)
            digit = np.int64(value & mask) + carry
            carry = 0
            if digit > half:
                digit -= full
                carry = 1
            out[j, i] = -digit if negative else digit


@kernel(signature="void(int32[::1], int64, int64, int64[::1])")
def count_digits(digits: Int32Array, first: int, last: int, counts: Int64Array) -> None:
    """counts[|d|] += 1 over digits[first:last]."""
    for i in range(first, last):
        counts[abs(digits[i])] += 1


@kernel(signature="void(int32[::1], int64, int64, int64[::1], uint32[::1])")
def place_entries(
    digits: Int32Array, first: int, last: int, positions: Int64Array, entries: UInt32Array
) -> None:
    """entries[positions[|d|]++] = i << 1 | (d < 0) for the nonzero digits of digits[first:last]."""
    for i in range(first, last):
        d = digits[i]
        if d != 0:
            at = positions[abs(d)]
            positions[abs(d)] = at + 1
            entries[at] = np.uint32(i << 1) | np.uint32(d < 0)


def most_tasks(n_entries: int, n_sets: int, limit: int) -> int:
    """A bound on the number of tasks that `plan_tasks` makes.

    Per set with n entries in all, of them m in G buckets longer than `limit`: these make at most
    m / limit + G tasks, and G <= m / limit. In each of the up to G + 1 stretches between them two
    neighbouring tasks hold more than `limit` together: 2 (n - m) / limit + G + 1 tasks at most.
    """
    return 3 * n_entries // limit + n_sets + 1


@kernel(signature="int64(int64[:,::1], int64, int64, int64, int64[:,::1])")
def plan_tasks(
    offsets: Int64Array, n_sets: int, n_buckets: int, limit: int, tasks: Int64Array
) -> int:
    """Cut every set's sorted entries into tasks of at most `limit` entries; returns their number.

    offsets : int64[n_sets, n_buckets + 1], the entries of bucket b of set s are
              offsets[s, b]:offsets[s, b + 1]
    tasks   : int64[m, 5] rows (set, first bucket, last bucket, first entry, last entry), half open;
              a bucket longer than `limit` is cut into tasks of its own, all with that one bucket.
              m >= `most_tasks` of the entries
    """
    n = 0
    for s in range(n_sets):
        b = 0
        while b < n_buckets:
            start = offsets[s, b]
            if offsets[s, b + 1] - start > limit:
                at = start
                while at < offsets[s, b + 1]:
                    end = min(at + limit, offsets[s, b + 1])
                    tasks[n, 0], tasks[n, 1], tasks[n, 2] = s, b, b + 1
                    tasks[n, 3], tasks[n, 4] = at, end
                    n += 1
                    at = end
                b += 1
                continue
            e = b
            while e < n_buckets and offsets[s, e + 1] - start <= limit:
                e += 1
            if offsets[s, e] > start:
                tasks[n, 0], tasks[n, 1], tasks[n, 2] = s, b, e
                tasks[n, 3], tasks[n, 4] = start, offsets[s, e]
                n += 1
            b = e
    return n
