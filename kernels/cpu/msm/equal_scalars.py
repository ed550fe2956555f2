"""Equal scalars are merged before a multi-exponentiation: s P + s Q = s (P + Q).

A witness is full of scalars that are long and yet few: inverses of table entries, products of two
bytes with one challenge. Whoever sums their bases first pays one addition for each instead of one
for each of its windows. s and r - s count as equal, with opposite bases.

A sample decides whether it is worth while; what it says changes the cost and never the sum.
"""

from __future__ import annotations

import numpy as np

from kernels.array import U64, FrArray
from kernels.backend import Progress
from kernels.bn254 import R
from kernels.cpu.compile.jit import kernel
from kernels.cpu.msm.digits import magnitude
from kernels.cpu.msm.pippenger import Entries, Msm, PreparedBases
from kernels.numpy_types import BoolArray, Int32Array, Int64Array, UInt32Array

MIN_LENGTH = 1024  # for fewer scalars the search costs more than it saves
SAMPLE = 4096
LEAST_SHARE = 64  # merge if one in so many of the sample repeats another
_R_HIGH = np.array([R >> 128 & (2**64 - 1), R >> 192], dtype=np.uint64)
_MIX = np.uint64(0x9E3779B97F4A7C15)  # odd, 2^64 / golden ratio
_SHIFT = np.uint64(29)
_SCALARS = "uint64[:,::1]"


@kernel
def _hash(w: U64) -> np.uint64:
    """64 bits that depend on all of w[0:4]."""
    h: np.uint64 = w[0]
    for i in range(1, 4):
        h = (h ^ (h >> _SHIFT)) * _MIX + w[i]
    h = (h ^ (h >> _SHIFT)) * _MIX
    return h ^ (h >> _SHIFT)


@kernel(signature=f"void({_SCALARS}, boolean[::1], int64, int64, int64, int32[::1], int32[::1])")
def _find_leaders(
    scalars: U64,
    infinite: BoolArray,
    part: int,
    n_parts: int,
    lg_slots: int,
    leaders: Int32Array,
    sizes: Int32Array,
) -> None:
    """leaders[i] = first index with the magnitude of i, sizes[leader] = how many have it.

    Only for finite bases, magnitudes of 2^64 and more, and hashes that belong to this part; the
    other entries are left alone, so that parts may run at once. 2^lg_slots exceeds their number.
    """
    hashes = np.empty(1 << lg_slots, np.uint64)
    owners = np.full(1 << lg_slots, -1, np.int32)
    mask = (1 << lg_slots) - 1
    w, other = np.empty(4, np.uint64), np.empty(4, np.uint64)
    for i in range(scalars.shape[0]):
        if infinite[i]:
            continue
        magnitude(scalars, i, w)
        if w[1] | w[2] | w[3] == 0:
            continue
        h = _hash(w)
        if np.int64(h >> np.uint64(48)) % n_parts != part:
            continue
        at = np.int64(h) & mask
        while True:
            owner = owners[at]
            if owner < 0:
                hashes[at], owners[at] = h, i
                leaders[i], sizes[i] = i, 1
                break
            if hashes[at] == h:
                magnitude(scalars, owner, other)
                if other[0] == w[0] and other[1] == w[1] and other[2] == w[2] and other[3] == w[3]:
                    leaders[i] = owner
                    sizes[owner] += 1
                    break
            at = (at + 1) & mask


@kernel(
    signature=f"int64({_SCALARS}, int32[::1], int32[::1], int64[::1], {_SCALARS})",
)
def _number_groups(
    scalars: U64, leaders: Int32Array, sizes: Int32Array, offsets: Int64Array, values: U64
) -> int:
    """Groups of two and more in the order of their leaders; returns their number.

    sizes[leader] becomes -1 - group, offsets[g + 1] the size of g, values[g] its magnitude.
    """
    n = 0
    for i in range(scalars.shape[0]):
        if leaders[i] == i and sizes[i] > 1:
            offsets[n + 1] = sizes[i]
            magnitude(scalars, i, values[n])
            sizes[i] = -1 - n
            n += 1
    return n


@kernel(
    signature=f"int64({_SCALARS}, boolean[::1], int32[::1], int32[::1], int64[::1], uint32[::1], "
    "int64[::1])",
)
def _place_members(
    scalars: U64,
    infinite: BoolArray,
    leaders: Int32Array,
    sizes: Int32Array,
    ends: Int64Array,
    entries: UInt32Array,
    kept: Int64Array,
) -> int:
    """entries[ends[g]++] = i << 1 | (s_i > r/2) for members; indices of other terms go to kept.

    Terms that are zero go nowhere. Returns how many are kept.
    """
    w = np.empty(4, np.uint64)
    n = 0
    for i in range(scalars.shape[0]):
        if infinite[i] or scalars[i, 0] | scalars[i, 1] | scalars[i, 2] | scalars[i, 3] == 0:
            continue
        leader = leaders[i]
        if leader >= 0 and sizes[leader] < 0:
            group = -1 - sizes[leader]
            negative = magnitude(scalars, i, w)
            entries[ends[group]] = np.uint32(i << 1) | np.uint32(negative)
            ends[group] += 1
        else:
            kept[n] = i
            n += 1
    return n


def run(msm: Msm, scalars: FrArray, bases: PreparedBases, progress: Progress | None) -> U64:
    """`Msm.run`, after equal scalars were merged if that is worth while."""
    if len(scalars) == len(bases) and bases.n_tables == 1 and is_worth_while(scalars.data):
        msm.plan(scalars.data, bases)  # refuses scalars that are not canonical
        scalars, bases = merge_equal_scalars(msm, scalars, bases)
    return msm.run(scalars, bases, progress)


def merge_equal_scalars(
    msm: Msm, scalars: FrArray, bases: PreparedBases
) -> tuple[FrArray, PreparedBases]:
    """Fewer terms with the same sum: long scalars are different, no scalar or base is zero.

    scalars : canonical, [n]; bases : n, without precomputed multiples
    cost    : a search of about 50 ns for each long scalar, one addition for each that is merged
    """
    words, n = scalars.data, len(scalars)
    leaders, sizes = _leaders(msm, words, bases)
    offsets, values = np.zeros(n // 2 + 1, np.int64), np.empty((n // 2, 4), np.uint64)
    n_groups = _number_groups(words, leaders, sizes, offsets, values)
    offsets = np.cumsum(offsets[: n_groups + 1])
    refs, kept = np.empty(int(offsets[-1]), np.uint32), np.empty(n, np.int64)
    ends = offsets[:-1].copy()
    n_kept = _place_members(words, bases.infinite, leaders, sizes, ends, refs, kept)
    entries = Entries(refs[None, :], offsets[None, :])
    buckets = msm.sum_buckets(entries, bases, lambda done, total: None)
    finite = buckets.present[:n_groups] != 0
    sums = buckets.sums[: n_groups * msm.words].reshape(-1, msm.words)[finite]
    merged = np.concatenate([words[kept[:n_kept]], values[:n_groups][finite]])
    return FrArray(merged), msm.take(bases, kept[:n_kept], sums)


def is_worth_while(scalars: U64) -> bool:
    """Whether at least one in LEAST_SHARE of evenly spaced scalars is long and repeats another."""
    n = len(scalars)
    if n < MIN_LENGTH:
        return False
    sample = scalars[np.arange(min(SAMPLE, n)) * n // min(SAMPLE, n)]
    is_long = sample[:, 1:].any(axis=1) & (sample[:, 2:] != _R_HIGH).any(axis=1)
    raw = sample[is_long].tobytes()
    long = [raw[at : at + 32] for at in range(0, len(raw), 32)]
    return (len(long) - len(set(long))) * LEAST_SHARE >= len(sample)


def _leaders(msm: Msm, scalars: U64, bases: PreparedBases) -> tuple[Int32Array, Int32Array]:
    """Leader of each long scalar (-1: none) and sizes of their groups, in one part per thread."""
    n = len(scalars)
    n_parts = msm.pool.count(n, cost_ns=10)
    leaders, sizes = np.full(n, -1, np.int32), np.zeros(n, np.int32)
    lg_slots = n.bit_length() + 1

    def part(index: int) -> None:
        _find_leaders(scalars, bases.infinite, index, n_parts, lg_slots, leaders, sizes)

    msm.pool.each([(index,) for index in range(n_parts)], part)
    return leaders, sizes
