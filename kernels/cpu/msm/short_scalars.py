"""Scalars that are one, and the few long ones among short ones, are summed apart.

Witnesses of bits and bytes have a long scalar or two all the same: the blinding of a proof. It
alone would have the digits of all windows written, sorted and reduced for every other scalar. So

    sum s_i P_i = S + sum over long s_i P_i + sum over short s_i P_i

S, of the scalars that are 1 or r - 1, is a sum of points without buckets or digits: one run of
references. Where short scalars are left, they are summed with the windows that they alone have.

What is taken apart depends on how many scalars there are of each length, and changes the cost and
never the sum.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kernels.array import U64, FrArray, words_from_ints
from kernels.backend import Progress
from kernels.cpu.compile.jit import kernel
from kernels.cpu.msm import equal_scalars
from kernels.cpu.msm.digits import magnitude
from kernels.cpu.msm.pippenger import Entries, Msm, PreparedBases
from kernels.numpy_types import BoolArray, Int64Array, UInt32Array

MIN_LENGTH = 256  # for fewer scalars there is nothing to gain
UNIT_SHARE = 8  # ones are taken out where they are one in so many terms
LONG_SHARE = 8  # long scalars where they are fewer than one for so many short ones
_SHORT_BITS = 64
_ONE = words_from_ints([1])


class Shares(NamedTuple):
    """What is taken apart: ones; and the terms of 2^64 and more, or all others."""

    units: bool
    long_only: bool


@kernel(
    signature="void(uint64[:,::1], boolean[::1], boolean, boolean, uint32[::1], int64[::1], "
    "int64[::1])",
)
def _take_apart(
    scalars: U64,
    infinite: BoolArray,
    units: bool,
    long_only: bool,
    refs: UInt32Array,
    kept: Int64Array,
    counts: Int64Array,
) -> None:
    """refs[:counts[0]] = i << 1 | (s_i = r - 1) of ones, if `units`; kept[:counts[1]] = i of the
    others that are not zero, or with `long_only` of those whose magnitude is 2^64 and more.
    """
    w = np.empty(4, np.uint64)
    n_units, n_kept = 0, 0
    for i in range(scalars.shape[0]):
        if infinite[i]:
            continue
        negative = magnitude(scalars, i, w)
        is_long = w[1] | w[2] | w[3] != 0
        if not is_long and (w[0] == 0 or (long_only and w[0] != 1)):
            continue
        if not is_long and w[0] == 1 and units:
            refs[n_units] = np.uint32(i << 1) | np.uint32(negative)
            n_units += 1
        elif is_long or not long_only:
            kept[n_kept] = i
            n_kept += 1
    counts[0], counts[1] = n_units, n_kept


def run(msm: Msm, scalars: FrArray, bases: PreparedBases, progress: Progress | None) -> U64:
    """`Msm.run`, with short scalars and equal ones taken apart where that is worth while."""
    if len(scalars) == len(bases) >= MIN_LENGTH:
        shares = choose_shares(msm.lengths(scalars.data, bases.infinite), bases)
        if shares is not None:
            scalars, bases = take_apart(msm, scalars, bases, shares)
    return equal_scalars.run(msm, scalars, bases, progress)


def choose_shares(lengths: Int64Array, bases: PreparedBases) -> Shares | None:
    """What to take apart of scalars of these bit lengths (see `Msm.lengths`); None: nothing.

    Multiples that are precomputed serve all but what is taken apart, which must then be little.
    """
    units, short = int(lengths[1]), int(lengths[2 : _SHORT_BITS + 1].sum())
    long = int(lengths[_SHORT_BITS + 1 :].sum())
    long_only = 0 < long * LONG_SHARE <= short
    is_unit_worth = units > 0 and units * UNIT_SHARE >= units + short + long
    kept = long if long_only else short + long
    if bases.n_tables > 1 and kept * LONG_SHARE > len(bases):
        return None
    return Shares(is_unit_worth, long_only) if is_unit_worth or long_only else None


def take_apart(
    msm: Msm, scalars: FrArray, bases: PreparedBases, shares: Shares
) -> tuple[FrArray, PreparedBases]:
    """Fewer terms with the same sum: what stays, then S and the sum of short scalars, once each.

    scalars : canonical, [n]; bases : n
    cost    : some 4 ns for each scalar, an addition for each one, and the short ones' own sum
    """
    words, n = scalars.data, len(scalars)
    refs, kept = np.empty(n, np.uint32), np.empty(n, np.int64)
    counts = np.zeros(2, np.int64)
    _take_apart(words, bases.infinite, shares.units, shares.long_only, refs, kept, counts)
    refs, kept = refs[: counts[0]], kept[: counts[1]]
    sums = [_add_up(msm, refs, bases)]
    if shares.long_only:
        rest = words.copy()
        rest[kept] = 0
        rest[refs >> 1] = 0
        total = equal_scalars.run(msm, FrArray(rest), bases, None).reshape(1, -1)
        if total.any():
            sums.append(msm.convert(total, packed=True)[: msm.words].reshape(1, -1))
    extra = np.concatenate(sums)
    fewer = np.concatenate([words[kept], np.repeat(_ONE, len(extra), axis=0)])
    return FrArray(fewer), msm.take(bases, kept, extra)


def _add_up(msm: Msm, refs: UInt32Array, bases: PreparedBases) -> U64:
    """The sum of referenced points as packed records: one, or none where it is infinity."""
    entries = Entries(refs[None, :], np.array([[0, len(refs)]], np.int64))
    buckets = msm.sum_buckets(entries, bases, lambda done, total: None)
    found: U64 = buckets.sums[: msm.words].reshape(1, -1)[buckets.present[:1] != 0]
    return found
