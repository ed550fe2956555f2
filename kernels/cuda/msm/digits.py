"""Scalars to signed digits, digits to entries sorted by bucket: a thread per scalar.

A scalar s becomes min(s, r - s) with a sign, and that becomes W signed digits of c bits, lowest
first (`kernels.cuda.msm.plan`). Nothing is stored of them but what the sort needs; they are cheap
to compute again. Scalars are uint32[n, 8], the limbs of canonical FrArray words.

The sort is a counting sort in one atomic pass: `count_digits` keeps the rank of each digit in its
bucket, `place_entries` adds the bucket's offset. On a GPU the order inside a bucket may differ from
run to run; a sum of points does not depend on it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.bn254 import R
from kernels.cuda.launch.per_thread import AtomicAdd, Body, Jit, PerThread
from kernels.cuda.launch.runtime import Array, Device
from kernels.cuda.msm.plan import GROUP, N_LENGTHS, SCALAR_BITS, MsmPlan, count_histograms

_LIMB = (1 << 32) - 1


def _limbs(value: int) -> Any:
    return np.array([value >> (32 * i) & _LIMB for i in range(8)], dtype=np.int64)


ORDER, HALF, MINUS_ONE = _limbs(R), _limbs((R - 1) // 2), _limbs(R - 1)


def scalar_limbs(scalars: Array) -> Any:
    """uint64[n, 4], C-contiguous, of host or device as uint32[n, 8], lowest limb first."""
    return scalars.view(np.uint32).reshape(-1, 8)


def _is_negative(scalars: Any, i: Any) -> Any:
    """Whether s > (r - 1) / 2, so that r - s is the lesser."""
    for k in range(7, -1, -1):
        limb = np.int64(scalars[i, k])
        if limb != HALF[k]:
            return limb > HALF[k]
    return False


def _unit(scalars: Any, i: Any) -> Any:
    """1 for s = 1, -1 for s = r - 1, else 0."""
    plus, minus = True, True
    for k in range(8):
        limb = np.int64(scalars[i, k])
        plus = plus and limb == (1 if k == 0 else 0)
        minus = minus and limb == MINUS_ONE[k]
    return 1 if plus else (-1 if minus else 0)


def _build_count_lengths(jit: Jit, atomic_add: AtomicAdd) -> Body:
    is_negative = jit(_is_negative)

    def body(i: Any, scalars: Any, infinite: Any, histograms: Any) -> None:
        """histograms[i mod copies, b] += 1, b = bits of min(s, r - s), of finite bases.

        For s > r the difference wraps round to 2^256 + r - s: more than SCALAR_BITS bits.
        """
        if infinite[i] != 0:
            return
        negative = is_negative(scalars, i)
        borrow = np.int64(0)
        top, bits = np.int64(0), np.int64(0)  # the highest limb that is not zero
        for k in range(8):
            limb = np.int64(scalars[i, k])
            if negative:
                limb = ORDER[k] - limb - borrow
                borrow = np.int64(1) if limb < 0 else np.int64(0)
                limb += borrow << 32
            if limb != 0:
                top, bits = limb, np.int64(32 * k)
        while top != 0:
            top >>= 1
            bits += 1
        atomic_add(histograms, (i % histograms.shape[0], bits), 1)

    return body


def _build_digits(jit: Jit, atomic_add: AtomicAdd, place: bool) -> Body:
    """`count_digits`, or `place_entries` if `place`: both walk over the same digits."""
    is_negative, unit = jit(_is_negative), jit(_unit)

    def put(
        counters: Any, ranks: Any, entries: Any, w: Any, i: Any, counter: Any, bucket: Any, ref: Any
    ) -> None:
        if place:
            at = np.int64(counters[counter]) + np.int64(ranks[w, i])
            entries[at, 0] = bucket
            entries[at, 1] = ref
        else:
            ranks[w, i] = atomic_add(counters, counter, 1)

    put = jit(put)

    def body(
        i: Any,
        scalars: Any,
        infinite: Any,
        first: Any,
        stride: Any,
        c: Any,
        n_windows: Any,
        n_sets: Any,
        spread: Any,
        counters: Any,
        ranks: Any,
        entries: Any,
    ) -> None:
        if infinite[i] != 0:
            return
        n_groups = (scalars.shape[0] + GROUP - 1) // GROUP
        half = np.int64(1) << (c - 1)
        one = unit(scalars, i)
        if one != 0:
            sign = np.int64(1) if one < 0 else np.int64(0)
            ref = (first + i) * 2 + sign
            put(counters, ranks, entries, 0, i, i // GROUP, n_sets * half, ref)
            return
        negative = is_negative(scalars, i)
        mask = 2 * half - 1
        buffer, n_bits, limb_at = np.int64(0), np.int64(0), np.int64(0)
        borrow, carry = np.int64(0), np.int64(0)
        for w in range(n_windows):
            if n_bits < c and limb_at < 8:
                limb = np.int64(scalars[i, limb_at])
                if negative:
                    limb = ORDER[limb_at] - limb - borrow
                    borrow = np.int64(1) if limb < 0 else np.int64(0)
                    limb += borrow << 32
                buffer |= limb << n_bits
                n_bits += 32
                limb_at += 1
            digit = (buffer & mask) + carry
            buffer >>= c
            n_bits -= c
            carry = np.int64(0)
            if digit > half:
                digit -= 2 * half
                carry = np.int64(1)
            if digit != 0:
                sign = np.int64(1) if negative else np.int64(0)
                if digit < 0:
                    digit, sign = -digit, 1 - sign
                bucket = (w % n_sets) * half + digit - 1
                ref = ((w // n_sets) * stride + first + i) * 2 + sign
                counter = n_groups + bucket * spread + i % spread
                put(counters, ranks, entries, w, i, counter, bucket, ref)

    return body


_DIGITS = (
    "uint32[:,:], uint8[:], int64, int64, int64, int64, int64, int64, "
    "uint32[:], uint32[:,:], uint32[:,:]"
)
_count_lengths = PerThread(
    "count_lengths", _build_count_lengths, "uint32[:,:], uint8[:], uint32[:,:]"
)
_count_digits = PerThread("count_digits", lambda jit, add: _build_digits(jit, add, False), _DIGITS)
_place_entries = PerThread("place_entries", lambda jit, add: _build_digits(jit, add, True), _DIGITS)


def count_lengths(device: Device, scalars: Array, infinite: Array) -> list[int]:
    """lengths[b]: how many scalars of finite bases have min(s, r - s) of b bits.

    scalars  : uint32[n, 8]; infinite : uint8[n]
    raises   : ValueError if a scalar is not below r
    """
    histograms = device.zeros((count_histograms(len(scalars)), N_LENGTHS), np.uint32)
    _count_lengths(device, len(scalars), scalars, infinite, histograms)
    lengths = device.to_host(histograms.sum(axis=0)).tolist()
    if any(lengths[SCALAR_BITS + 1 :]):
        raise ValueError("MSM: a scalar is not below the group order r")
    return [int(n) for n in lengths]


def sort_entries(
    device: Device, scalars: Array, infinite: Array, plan: MsmPlan, *, first: int, stride: int
) -> tuple[Array, int]:
    """The nonzero digits as entries (bucket, reference), uint32[>= m, 2], and their number m.

    Sorted by bucket: first the scalars +-1, which all go into the last bucket (`plan.n_sums` - 1).
    Digit w of scalar i refers to table record (w // n_sets) * stride + first + i.
    """
    counters = device.zeros((plan.n_counters,), np.uint32)
    ranks = device.empty((plan.n_windows, plan.n), np.uint32)
    sizes = (plan.c, plan.n_windows, plan.n_sets, plan.spread)
    digits = (scalars, infinite, first, stride, *sizes)
    nothing = device.empty((1, 2), np.uint32)
    _count_digits(device, plan.n, *digits, counters, ranks, nothing)
    offsets = device.zeros((plan.n_counters + 1,), np.uint32)
    device.xp.cumsum(counters, dtype=np.uint32, out=offsets[1:])
    n_entries = int(device.to_host(offsets[-1:])[0])
    entries = device.empty((max(n_entries, 1), 2), np.uint32)
    _place_entries(device, plan.n, *digits, offsets, ranks, entries)
    return entries, n_entries
