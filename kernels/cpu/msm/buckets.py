"""Bucket sums and their weighted reduction: MSM's second half, in tasks that threads take."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from kernels.cpu.compile.jit import kernel
from kernels.cpu.compile.memory import address, fetch_add, load_word, store_word
from kernels.cpu.lanes.choice import get_lanes
from kernels.cpu.msm.runs import G_DEGREE, G_RECORD, G_WIDTH, NONE, add_pairs, sum_runs

_GROUP, _SCRATCH = "int64[::1], uint64[::1]", "uint64[::1], uint64[::1]"  # (g, f), (arena, work)
_TABLE = "int64[:,::1]"
_CONVERT = "void(int64, int64, int64, uint64[::1], int64)"


@kernel(signature=f"void({_GROUP}, int64, int64, int64)")
def export(g: Any, f: Any, target: int, base: int, ref: int) -> None:
    """Copy a record to `target`, negating y where the reference says so."""
    record, degree = g[G_RECORD], g[G_DEGREE]
    source = base + (ref >> 1) * record
    for i in range(record // 8):
        store_word(target + 8 * i, load_word(source + 8 * i))
    if ref & 1 == 0:
        return
    for c in range(degree, 2 * degree):
        at = target + 32 * c
        is_zero = True
        for i in range(4):
            is_zero = is_zero and load_word(at + 8 * i) == f[i]
        if is_zero:
            continue
        borrow = np.uint64(0)
        for i in range(4):
            w, total = load_word(at + 8 * i), f[4 + i]
            store_word(at + 8 * i, total - w - borrow)
            borrow = np.uint64(total < w) | (np.uint64(total == w) & borrow)


@kernel(
    signature=(
        f"void({_GROUP}, int64, uint32[:,::1], {_TABLE}, {_TABLE}, int64, int64, int64, "
        f"uint8[::1], int64, {_SCRATCH}, int64[::1])"
    )
)
def sum_buckets(
    g: Any, f: Any, base: int, entries: Any, offsets: Any, tasks: Any, n_tasks: int, limit: int,
    sums: int, present: Any, n_buckets: int, arena: Any, work: Any, next_task: Any,
) -> None:  # fmt: skip
    """Take tasks until none is left. A task's bucket sums go to records at `sums`.

    Record set * n_buckets + bucket; a task that holds a part of one bucket writes record
    n_sets * n_buckets + task instead, for `merge_parts`. present[record] tells finite ones.
    """
    record, width = g[G_RECORD], g[G_WIDTH]
    refs = np.empty(limit + n_buckets + width, np.int64)
    counts = np.empty(n_buckets, np.int64)
    n_sets = offsets.shape[0]
    slot = (address(arena) - base) // record
    while True:
        task = fetch_add(next_task, 0, 1)
        if task >= n_tasks:
            break
        s, b0, b1 = tasks[task, 0], tasks[task, 1], tasks[task, 2]
        e0, e1 = tasks[task, 3], tasks[task, 4]
        for e in range(e0, e1):
            refs[e - e0] = np.int64(entries[s, e])
        part = b1 - b0 == 1 and (e0 > offsets[s, b0] or e1 < offsets[s, b1])
        if part:
            counts[0] = e1 - e0
        else:
            for b in range(b0, b1):
                counts[b - b0] = offsets[s, b + 1] - offsets[s, b]
        sum_runs(g, f, base, refs, counts, b1 - b0, slot, address(work))
        for j in range(b1 - b0):
            at = n_sets * n_buckets + task if part else s * n_buckets + b0 + j
            if refs[j] != NONE:
                export(g, f, sums + at * record, base, refs[j])
                present[at] = 1


@kernel(
    signature=(
        f"void({_GROUP}, int64, {_TABLE}, {_TABLE}, int64, int64, uint8[::1], int64, {_SCRATCH})"
    )
)
def merge_parts(
    g: Any, f: Any, base: int, offsets: Any, tasks: Any, n_tasks: int, sums: int, present: Any,
    n_buckets: int, arena: Any, work: Any,
) -> None:  # fmt: skip
    """Sum the parts of every bucket that was cut over several tasks."""
    record, width = g[G_RECORD], g[G_WIDTH]
    n_sets = offsets.shape[0]
    slot, sums_slot = (address(arena) - base) // record, (sums - base) // record
    counts = np.empty(1, np.int64)
    task = 0
    while task < n_tasks:
        s, b = tasks[task, 0], tasks[task, 1]
        last = task
        while last < n_tasks and tasks[last, 0] == s and tasks[last, 1] == b:
            last += 1
        if last - task > 1:
            refs = np.empty(last - task + width, np.int64)
            counts[0] = 0
            for t in range(task, last):
                at = n_sets * n_buckets + t
                if present[at]:
                    refs[counts[0]] = (sums_slot + at) << 1
                    counts[0] += 1
            sum_runs(g, f, base, refs, counts, 1, slot, address(work))
            if refs[0] != NONE:
                at = s * n_buckets + b
                export(g, f, sums + at * record, base, refs[0])
                present[at] = 1
        task = last


@kernel(
    signature=(
        f"void({_GROUP}, int64, int64, uint8[::1], int64, int64, int64, {_SCRATCH}, int64, "
        "uint8[::1], int64[::1])"
    )
)
def reduce_sets(
    g: Any, f: Any, base: int, sums: int, present: Any, n_sets: int, n_buckets: int,
    lg_buckets: int, arena: Any, work: Any, results: int, found: Any, next_set: Any,
) -> None:  # fmt: skip
    """Take sets until none is left: sum_j (j + 1) B_j = S + sum_l 2^l O_l over its buckets.

    O_l sums the buckets whose index has bit l, found by halving: pairs are added level by level,
    and the odd members of level l make O_l. Records O_0 .. O_(lg-1), S of set s go to
    results[s * (lg + 1) + l], found[...] = 1 where finite.
    """
    record, width = g[G_RECORD], g[G_WIDTH]
    sums_slot = (sums - base) // record
    odd = np.empty(n_buckets + width + lg_buckets, np.int64)
    counts = np.empty(lg_buckets + 1, np.int64)
    current = np.empty(n_buckets, np.int64)
    a = np.empty(n_buckets // 2 + width, np.int64)
    b = np.empty(n_buckets // 2 + width, np.int64)
    pair_sums = np.empty(n_buckets // 2 + width, np.int64)
    while True:
        s = fetch_add(next_set, 0, 1)
        if s >= n_sets:
            break
        slot = (address(arena) - base) // record
        for j in range(n_buckets):
            at = s * n_buckets + j
            current[j] = (sums_slot + at) << 1 if present[at] else NONE
        m, n_odd = n_buckets, 0
        for level in range(lg_buckets):
            start = n_odd
            m //= 2
            n = 0
            for i in range(m):
                low, high = current[2 * i], current[2 * i + 1]
                if high != NONE:
                    odd[n_odd] = high
                    n_odd += 1
                    if low != NONE:
                        a[n], b[n] = low, high
                        n += 1
            counts[level] = n_odd - start
            slot = add_pairs(g, f, base, a, b, n, slot, pair_sums, address(work))
            n = 0
            for i in range(m):
                low, high = current[2 * i], current[2 * i + 1]
                if high == NONE:
                    current[i] = low
                elif low == NONE:
                    current[i] = high
                else:
                    current[i] = pair_sums[n]
                    n += 1
        sum_runs(g, f, base, odd, counts, lg_buckets, slot, address(work))
        odd[lg_buckets] = current[0]
        for level in range(lg_buckets + 1):
            if odd[level] != NONE:
                at = s * (lg_buckets + 1) + level
                export(g, f, results + at * record, base, odd[level])
                found[at] = 1


@kernel(
    signature=(f"int64({_GROUP}, int64, int64[::1], int64[::1], int64, int64[::1], {_SCRATCH})")
)
def add_arrays(
    g: Any, f: Any, base: int, a: Any, b: Any, n: int, sums: Any, arena: Any, work: Any
) -> int:
    """sums[i] = reference of a_i + b_i (references, NONE allowed), records in `arena`."""
    record, width = g[G_RECORD], g[G_WIDTH]
    slot = (address(arena) - base) // record
    pa, pb = np.empty(n + width, np.int64), np.empty(n + width, np.int64)
    out = np.empty(n + width, np.int64)
    m = 0
    for i in range(n):
        if a[i] != NONE and b[i] != NONE:
            pa[m], pb[m] = a[i], b[i]
            m += 1
    slot = add_pairs(g, f, base, pa, pb, m, slot, out, address(work))
    m = 0
    for i in range(n):
        if a[i] != NONE and b[i] != NONE:
            sums[i] = out[m]
            m += 1
        else:
            sums[i] = b[i] if a[i] == NONE else a[i]
    return slot


@cache
def get_converters(lanes_name: str) -> tuple[Any, Any]:
    """Kernels between 2^256-Montgomery words and packed words, element by element."""
    lanes, key = get_lanes(lanes_name), lanes_name
    width, block = lanes.width, lanes.block
    unpack, unpack_packed, mul = lanes.ops_p.unpack, lanes.ops_p.unpack_packed, lanes.ops_p.mul
    pack, pack_canonical = lanes.ops_p.pack, lanes.ops_p.pack_canonical
    before, after = lanes.rounding
    row, from_256, to_256 = 8 * width, lanes.row_from_256, lanes.row_to_256

    @kernel(key=key, signature=_CONVERT)
    def to_packed(source: int, target: int, n: int, work: Any, k: int) -> None:
        """n elements (rounded up to W: both arrays must have room) to packed form."""
        state = before()
        t = address(work)
        for g in range((n + width - 1) // width):
            unpack(t, source + 32 * width * g, 32, k)
            mul(t + block, t, k + row * from_256, k)
            pack(target + 32 * width * g, 32, t + block, k)
        after(state)

    @kernel(key=key, signature=_CONVERT)
    def to_mont(source: int, target: int, n: int, work: Any, k: int) -> None:
        """The inverse of `to_packed`, canonical."""
        state = before()
        t = address(work)
        for g in range((n + width - 1) // width):
            unpack_packed(t, source + 32 * width * g, 32, k)
            mul(t + block, t, k + row * to_256, k)
            pack_canonical(target + 32 * width * g, 32, t + block, k)
        after(state)

    return to_packed, to_mont
