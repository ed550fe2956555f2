"""Sums of runs of points: pairwise rounds of batched additions, exceptional pairs included.

A run is a list of references to finite points; its sum is a reference, or NONE for infinity. In
each round neighbours of every run are paired and all pairs added in batches, so there are no
conflicts and every batch costs one inversion; there are log2 of the longest run rounds.

Sums are new records in an arena: slot i has reference (first_slot + i) << 1, and slots are never
reused within a call, so no record is copied.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from kernels.array import U64
from kernels.bn254 import P
from kernels.cpu.compile.calls import call_address, kernel_address
from kernels.cpu.compile.jit import kernel
from kernels.cpu.compile.memory import address, load_word
from kernels.cpu.lanes.curve_ops import TEMPS, CurveOps
from kernels.cpu.lanes.interface import Lanes
from kernels.numpy_types import Int64Array

NONE = -(1 << 62)  # reference to infinity
_GROUP, _REFS = "int64[::1], uint64[::1]", "int64[::1]"  # types of (g, f), of a list of references
_ADD = f"int64({_GROUP}, int64, {_REFS}, {_REFS}, int64, int64, {_REFS}, int64)"
BATCH = 2048  # pairs per batch: its work area stays in the second-level cache


# What kernels must know of a group: int64 words `g`, and uint64 words `f` (offset, total for -y).
G_ADD, G_RECORD, G_WIDTH, G_DEGREE, G_K, G_ONE = range(6)
_MODULUS = [np.uint64((P >> (64 * i)) & (2**64 - 1)) for i in range(4)]
P0, P1, P2, P3 = _MODULUS


@intrinsic
def call_add_batch(
    typing_context: Any,
    g: Any,
    base: Any,
    a: Any,
    b: Any,
    n: Any,
    out: Any,
    work: Any,
    doubling: Any,
) -> Any:
    """`add_batch` of the group g, called through its address: compiled and stored once."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, args[0])
        word = ir.IntType(64)

        def entry(index: int) -> Any:
            return builder.load(builder.gep(view.data, [ir.Constant(word, index)]))

        values = [*args[1:7], entry(G_K), entry(G_ONE), args[7]]
        arguments = [types.int64] * len(values)
        return call_address(context, builder, entry(G_ADD), types.int64, arguments, values)

    whole = types.int64
    return whole(g, *[whole] * 7), codegen


def group_words(ops: CurveOps) -> tuple[Int64Array, U64]:
    """The arguments (g, f) that tell the kernels below which group and lanes they serve."""
    lanes = ops.lanes
    g = [kernel_address(ops.add_batch), ops.record, lanes.width, ops.degree, lanes.p, lanes.one_p]
    # -y is m p - y, packed: in vector lanes y may be p + tiny, so m = 2 there
    total = 2 * lanes.packed_offset + (P if lanes.width == 1 else 2 * P)
    f = [(v >> (64 * i)) & (2**64 - 1) for v in (lanes.packed_offset, total) for i in range(4)]
    return np.array(g, np.int64), np.array(f, np.uint64)


def work_words(lanes: Lanes, degree: int) -> int:
    """uint64 words of the work area of `add_pairs` and `sum_runs`."""
    groups = BATCH // lanes.width + 1
    return (TEMPS + 2 * groups) * degree * lanes.block // 8


@kernel(signature="void(uint64[::1], uint64[::1], int64, boolean)")
def canonical(f: Any, out: Any, source: int, negate: bool) -> None:
    """out[0:4] = words of the component at `source`, reduced, negated if asked."""
    mod = (P0, P1, P2, P3)
    borrow = np.uint64(0)
    for i in range(4):  # remove the packed offset
        w = load_word(source + 8 * i)
        d = w - f[i] - borrow
        borrow = np.uint64(w < f[i]) | (np.uint64(w == f[i]) & borrow)
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


@kernel(signature=f"int64({_GROUP}, int64, int64, int64)")
def compare(g: Any, f: Any, base: int, a: int, b: int) -> int:
    """0: different x; 1: equal points; 2: opposite points."""
    record, degree = g[G_RECORD], g[G_DEGREE]
    xa, xb = np.empty(4, np.uint64), np.empty(4, np.uint64)
    pa, pb = base + (a >> 1) * record, base + (b >> 1) * record
    same_y = True
    for c in range(2 * degree):
        is_y = c >= degree
        canonical(f, xa, pa + 32 * c, is_y and (a & 1) == 1)
        canonical(f, xb, pb + 32 * c, is_y and (b & 1) == 1)
        for i in range(4):
            if xa[i] != xb[i]:
                if not is_y:
                    return 0
                same_y = False
    return 1 if same_y else 2


@kernel(signature=f"void({_REFS}, int64, int64)")
def pad(refs: Any, n: int, width: int) -> None:
    """Repeat the last of n references up to a multiple of the width."""
    for i in range(n, (n + width - 1) // width * width):
        refs[i] = refs[n - 1]


@kernel(signature=_ADD)
def add_exceptional(
    g: Any, f: Any, base: int, a: Any, b: Any, n: int, slot: int, sums: Any, work: int
) -> int:
    """As `add_batch`, for pairs that may be equal or opposite; sums[i] is set to each reference.

    Returns the number of slots used: sums of different points first, then doubles.
    """
    record, width = g[G_RECORD], g[G_WIDTH]
    kinds = np.empty(n, np.int64)
    part_a, part_b = np.empty(n + width, np.int64), np.empty(n + width, np.int64)
    used = 0
    for i in range(n):
        kinds[i] = compare(g, f, base, a[i], b[i])
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
            out = base + (slot + used) * record
            call_add_batch(g, base, address(part_a), address(part_b), m, out, work, wanted)
            used += m
    for i in range(n):
        if kinds[i] == 2:
            sums[i] = NONE
    return used


@kernel(signature=_ADD)
def add_pairs(
    g: Any, f: Any, base: int, a: Any, b: Any, n: int, slot: int, sums: Any, work: int
) -> int:
    """sums[i] = reference of point(a_i) + point(b_i) or NONE; records go to slots from `slot`.

    Writes up to n + W records; returns the next free slot.
    """
    record, width = g[G_RECORD], g[G_WIDTH]
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
        out = base + slot * record
        if call_add_batch(g, base, address(pa), address(pb), m, out, work, 0) != 0:
            for i in range(m):
                sums[done + i] = (slot + i) << 1
            slot += m
        else:
            slot += add_exceptional(g, f, base, pa, pb, m, slot, sums[done:], work)
        for i in range(m, padded):
            pa[i], pb[i] = tail_a[i - m], tail_b[i - m]
        done += m
    return slot


@kernel(signature=f"int64({_GROUP}, int64, {_REFS}, int64[::1], int64, int64, int64)")
def sum_runs(
    g: Any, f: Any, base: int, refs: Any, counts: Any, n_runs: int, slot: int, work: int
) -> int:
    """Sum each of n_runs consecutive runs of `refs` (counts[r] >= 0 long), in place.

    Afterwards refs[r] is the sum of run r, or NONE. Returns the next free slot; uses fewer slots
    than there are references, plus W. `refs` must have W entries to spare.
    """
    width = g[G_WIDTH]
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
        slot = add_pairs(g, f, base, a, b, n, slot, sums, work)
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
