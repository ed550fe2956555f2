"""Sums of runs of points: pairwise rounds of batched additions, exceptional pairs included.

A run is a list of references to finite points; its sum is a reference, or NONE for infinity. In
each round neighbours of every run are paired and all pairs added in batches, so there are no
conflicts and every batch costs one inversion; there are log2 of the longest run rounds.

Sums are new records in an arena: slot i has reference (first_slot + i) << 1, and slots are never
reused within a call, so no record is copied.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import types

from kernels.array import U64, words_from_ints
from kernels.bn254 import P
from kernels.cpu.compile.calls import kernel_address, make_call
from kernels.cpu.compile.emit import words_of
from kernels.cpu.compile.jit import kernel
from kernels.cpu.compile.memory import address, load_word
from kernels.cpu.lanes.curve_ops import TEMPS, CurveOps
from kernels.cpu.lanes.interface import Lanes
from kernels.numpy_types import Int64Array

NONE = -(1 << 62)  # reference to infinity
BATCH = 2048  # pairs per batch: its work area stays in the second-level cache
_MODULUS = [np.uint64(word) for word in words_of(P, 4)]
P0, P1, P2, P3 = _MODULUS


class Group(NamedTuple):
    """What the kernels below must know of a group, its lanes, and where its records are.

    add_batch : address of the lanes' kernel
    record    : bytes of a record
    width     : W, how many records a block holds
    degree    : of the coordinates' field over F_p
    k, one    : addresses of the constants mod p, of a block of ones
    base      : address of record 0, from which references count; see `at`
    offset    : uint64[4], what the packed form adds to every component
    opposite  : uint64[4]: the packed -y is this minus the packed y
    """

    add_batch: int
    record: int
    width: int
    degree: int
    k: int
    one: int
    base: int
    offset: U64
    opposite: U64

    def at(self, table: U64) -> Group:
        """The same group over the records of a table."""
        return self._replace(base=int(table.ctypes.data))


class Scratch(NamedTuple):
    """What a thread's sums need: room for new records, and the work area of batched additions."""

    arena: U64
    work: U64


WORDS, REFS = types.uint64[::1], types.int64[::1]
GROUP = types.NamedTuple((*[types.int64] * 7, WORDS, WORDS), Group)
SCRATCH = types.NamedUniTuple(WORDS, 2, Scratch)
_ADD = types.int64(GROUP, REFS, REFS, types.int64, types.int64, REFS, types.int64)


# `add_batch` called through its address: compiled and stored once
call_add_batch = make_call(9)


def make_group(ops: CurveOps) -> Group:
    """The group over no records yet."""
    lanes = ops.lanes
    # -y is m p - y, packed: in vector lanes y may be p + tiny, so m = 2 there
    opposite = 2 * lanes.packed_offset + (P if lanes.width == 1 else 2 * P)
    return Group(
        add_batch=kernel_address(ops.add_batch),
        record=ops.record,
        width=lanes.width,
        degree=ops.degree,
        k=lanes.p,
        one=lanes.one_p,
        base=0,
        offset=words_from_ints([lanes.packed_offset])[0],
        opposite=words_from_ints([opposite])[0],
    )


def work_words(lanes: Lanes, degree: int) -> int:
    """uint64 words of the work area of `add_pairs` and `sum_runs`."""
    groups = BATCH // lanes.width + 1
    return (TEMPS + 2 * groups) * degree * lanes.block // 8


@kernel(signature=types.void(WORDS, WORDS, types.int64, types.boolean))
def canonical(offset: U64, out: U64, source: int, negate: bool) -> None:
    """out[0:4] = words of the component at `source`, reduced, negated if asked."""
    mod = (P0, P1, P2, P3)
    borrow = np.uint64(0)
    for i in range(4):  # remove the packed offset
        w = load_word(source + 8 * i)
        d = w - offset[i] - borrow
        borrow = np.uint64(w < offset[i]) | (np.uint64(w == offset[i]) & borrow)
        out[i] = d
    at_least = True  # reduced value >= p?
    for j in range(4):
        i = 3 - j
        if out[i] != mod[i]:
            at_least = out[i] > mod[i]
            break
    if at_least:
        borrow = np.uint64(0)
        for i in range(4):
            w = out[i]
            out[i] = w - mod[i] - borrow
            borrow = np.uint64(w < mod[i]) | (np.uint64(w == mod[i]) & borrow)
    if negate and (out[0] | out[1] | out[2] | out[3]) != 0:
        borrow = np.uint64(0)
        for i in range(4):
            w = out[i]
            out[i] = mod[i] - w - borrow
            borrow = np.uint64(mod[i] < w) | (np.uint64(mod[i] == w) & borrow)


@kernel(signature=types.int64(GROUP, types.int64, types.int64))
def compare(g: Group, a: int, b: int) -> int:
    """0: different x; 1: equal points; 2: opposite points."""
    degree = g.degree
    xa, xb = np.empty(4, np.uint64), np.empty(4, np.uint64)
    pa, pb = g.base + (a >> 1) * g.record, g.base + (b >> 1) * g.record
    same_y = True
    for c in range(2 * degree):
        is_y = c >= degree
        canonical(g.offset, xa, pa + 32 * c, is_y and (a & 1) == 1)
        canonical(g.offset, xb, pb + 32 * c, is_y and (b & 1) == 1)
        for i in range(4):
            if xa[i] != xb[i]:
                if not is_y:
                    return 0
                same_y = False
    return 1 if same_y else 2


@kernel(signature=types.void(REFS, types.int64, types.int64))
def pad(refs: Int64Array, n: int, width: int) -> None:
    """Repeat the last of n references up to a multiple of the width."""
    for i in range(n, (n + width - 1) // width * width):
        refs[i] = refs[n - 1]


@kernel(signature=_ADD)
def add_exceptional(
    g: Group, a: Int64Array, b: Int64Array, n: int, slot: int, sums: Int64Array, work: int
) -> int:
    """Adds as `add_batch` does, for pairs that may be equal or opposite; sums[i] is set to each
    reference.

    Returns the number of slots used: sums of different points first, then doubles.
    """
    width = g.width
    kinds = np.empty(n, np.int64)
    part_a, part_b = np.empty(n + width, np.int64), np.empty(n + width, np.int64)
    used = 0
    for i in range(n):
        kinds[i] = compare(g, a[i], b[i])
    for wanted in range(2):
        m = 0
        for i in range(n):
            if kinds[i] == wanted:
                part_a[m], part_b[m] = a[i], b[i]
                sums[i] = (slot + used + m) << 1
                m += 1
        if m > 0:
            pad(part_a, m, width)
            pad(part_b, m, width)
            at_a, at_b, out = address(part_a), address(part_b), g.base + (slot + used) * g.record
            call_add_batch(g.add_batch, g.base, at_a, at_b, m, out, work, g.k, g.one, wanted)
            used += m
    for i in range(n):
        if kinds[i] == 2:
            sums[i] = NONE
    return used


@kernel(signature=_ADD)
def add_pairs(
    g: Group, a: Int64Array, b: Int64Array, n: int, slot: int, sums: Int64Array, work: int
) -> int:
    """sums[i] = reference of point(a_i) + point(b_i) or NONE; records go to slots from `slot`.

    Writes up to n + W records; returns the next free slot.
    """
    width = g.width
    done = 0
    while done < n:
        m = min(BATCH, n - done)
        pa, pb = a[done:], b[done:]
        tail_a, tail_b = np.empty(width, np.int64), np.empty(width, np.int64)
        padded = (m + width - 1) // width * width
        for i in range(m, padded):  # what the padding overwrites comes back afterwards
            tail_a[i - m], tail_b[i - m] = pa[i], pb[i]
        pad(pa, m, width)
        pad(pb, m, width)
        out = g.base + slot * g.record
        at_a, at_b = address(pa), address(pb)
        if call_add_batch(g.add_batch, g.base, at_a, at_b, m, out, work, g.k, g.one, 0) != 0:
            for i in range(m):
                sums[done + i] = (slot + i) << 1
            slot += m
        else:
            slot += add_exceptional(g, pa, pb, m, slot, sums[done:], work)
        for i in range(m, padded):
            pa[i], pb[i] = tail_a[i - m], tail_b[i - m]
        done += m
    return slot


@kernel(signature=types.int64(GROUP, REFS, REFS, *[types.int64] * 3))
def sum_runs(
    g: Group, refs: Int64Array, counts: Int64Array, n_runs: int, slot: int, work: int
) -> int:
    """Sum each of n_runs consecutive runs of `refs` (counts[r] >= 0 long), in place.

    Afterwards refs[r] is the sum of run r, or NONE. Returns the next free slot; uses fewer slots
    than there are references, plus W. `refs` must have W entries to spare.
    """
    width = g.width
    total = 0
    for r in range(n_runs):
        total += counts[r]
    a = np.empty(total // 2 + width, np.int64)
    b = np.empty(total // 2 + width, np.int64)
    sums = np.empty(total // 2 + width, np.int64)
    while True:
        n, read = 0, 0
        for r in range(n_runs):
            for j in range(counts[r] // 2):
                a[n], b[n] = refs[read + 2 * j], refs[read + 2 * j + 1]
                n += 1
            read += counts[r]
        if n == 0:
            break
        slot = add_pairs(g, a, b, n, slot, sums, work)
        n, read, write = 0, 0, 0
        for r in range(n_runs):
            c, start = counts[r], write
            for _ in range(c // 2):
                if sums[n] != NONE:
                    refs[write] = sums[n]
                    write += 1
                n += 1
            if c & 1:
                refs[write] = refs[read + c - 1]
                write += 1
            read += c
            counts[r] = write - start
    # every run has one reference or none: spread them out from the back
    read = 0
    for r in range(n_runs):
        read += counts[r]
    for j in range(n_runs):
        r = n_runs - 1 - j
        if counts[r] == 1:
            read -= 1
            refs[r] = refs[read]
        else:
            refs[r] = NONE
    return slot
