"""Bucket sums and their weighted reduction: MSM's second half, in tasks that threads take."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple, TypeAlias

import numpy as np
from numba import types

from kernels.array import U64
from kernels.cpu.compile.jit import kernel
from kernels.cpu.compile.memory import address, fetch_add, load_word, store_word
from kernels.cpu.lanes.choice import get_lanes
from kernels.cpu.msm.runs import (
    GROUP,
    NONE,
    REFS,
    SCRATCH,
    Group,
    Scratch,
    add_pairs,
    sum_runs,
)
from kernels.numpy_types import Int64Array, UInt8Array, UInt32Array

_CONVERT = "void(int64, int64, int64, uint64[::1], int64)"
Convert: TypeAlias = Callable[[int, int, int, U64, int], None]  # (source, target, n, work, k)


class BucketTasks(NamedTuple):
    """The bucket sums of all sets, cut into tasks that threads take.

    entries, offsets : see `kernels.cpu.msm.pippenger.Entries`
    tasks            : int64[n_tasks or more, 5], see `plan_tasks`
    limit            : the most entries of a task
    sums, present    : address of n_sets * n_buckets + n_tasks records, and which are finite
    next_task        : int64[1], the counter from which threads take
    """

    entries: UInt32Array
    offsets: Int64Array
    tasks: Int64Array
    n_tasks: int
    limit: int
    sums: int
    present: UInt8Array
    next_task: Int64Array


class SetSums(NamedTuple):
    """The weighted sums over the buckets of each set, in tasks of one set.

    sums, present  : of `BucketTasks`
    lg_buckets     : there are 2^lg_buckets in a set
    results, found : address of n_sets * (lg_buckets + 1) records, and which are finite
    next_set       : int64[1], the counter from which threads take
    """

    sums: int
    present: UInt8Array
    n_sets: int
    lg_buckets: int
    results: int
    found: UInt8Array
    next_set: Int64Array


_INT, _INTS, _TABLE, _FLAGS = types.int64, REFS, types.int64[:, ::1], types.uint8[::1]
_TASKS = types.NamedTuple(
    (types.uint32[:, ::1], _TABLE, _TABLE, _INT, _INT, _INT, _FLAGS, _INTS), BucketTasks
)
_SETS = types.NamedTuple((_INT, _FLAGS, _INT, _INT, _INT, _FLAGS, _INTS), SetSums)


@kernel(signature=types.void(GROUP, types.int64, types.int64))
def export(g: Group, target: int, ref: int) -> None:
    """Copy a record to `target`, negating y where the reference says so."""
    record, degree = g.record, g.degree
    source = g.base + (ref >> 1) * record
    for i in range(record // 8):
        store_word(target + 8 * i, load_word(source + 8 * i))
    if ref & 1 == 0:
        return
    for c in range(degree, 2 * degree):
        at = target + 32 * c
        is_zero = True
        for i in range(4):
            is_zero = is_zero and load_word(at + 8 * i) == g.offset[i]
        if is_zero:
            continue
        borrow = np.uint64(0)
        for i in range(4):
            w, total = load_word(at + 8 * i), g.opposite[i]
            store_word(at + 8 * i, total - w - borrow)
            borrow = np.uint64(total < w) | (np.uint64(total == w) & borrow)


@kernel(signature=types.void(GROUP, _TASKS, SCRATCH))
def sum_buckets(g: Group, job: BucketTasks, scratch: Scratch) -> None:
    """Take tasks until none is left. A task's bucket sums go to records at `job.sums`.

    Record set * n_buckets + bucket; a task that holds a part of one bucket writes record
    n_sets * n_buckets + task instead, for `merge_parts`. present[record] tells finite ones.
    """
    offsets, tasks, work = job.offsets, job.tasks, address(scratch.work)
    n_sets, n_buckets = offsets.shape[0], offsets.shape[1] - 1
    refs = np.empty(job.limit + n_buckets + g.width, np.int64)
    counts = np.empty(n_buckets, np.int64)
    slot = (address(scratch.arena) - g.base) // g.record
    while True:
        task = fetch_add(address(job.next_task), 1)
        if task >= job.n_tasks:
            break
        s, b0, b1 = tasks[task, 0], tasks[task, 1], tasks[task, 2]
        e0, e1 = tasks[task, 3], tasks[task, 4]
        for e in range(e0, e1):
            refs[e - e0] = np.int64(job.entries[s, e])
        part = b1 - b0 == 1 and (e0 > offsets[s, b0] or e1 < offsets[s, b1])
        if part:
            counts[0] = e1 - e0
        else:
            for b in range(b0, b1):
                counts[b - b0] = offsets[s, b + 1] - offsets[s, b]
        sum_runs(g, refs, counts, b1 - b0, slot, work)
        for j in range(b1 - b0):
            at = n_sets * n_buckets + task if part else s * n_buckets + b0 + j
            if refs[j] != NONE:
                export(g, job.sums + at * g.record, refs[j])
                job.present[at] = 1


@kernel(signature=types.void(GROUP, _TASKS, SCRATCH))
def merge_parts(g: Group, job: BucketTasks, scratch: Scratch) -> None:
    """Sum the parts of every bucket that was cut over several tasks."""
    tasks, n_tasks, present, record = job.tasks, job.n_tasks, job.present, g.record
    n_sets, n_buckets = job.offsets.shape[0], job.offsets.shape[1] - 1
    slot, sums_slot = (address(scratch.arena) - g.base) // record, (job.sums - g.base) // record
    counts = np.empty(1, np.int64)
    task = 0
    while task < n_tasks:
        s, b = tasks[task, 0], tasks[task, 1]
        last = task
        while last < n_tasks and tasks[last, 0] == s and tasks[last, 1] == b:
            last += 1
        if last - task > 1:
            refs = np.empty(last - task + g.width, np.int64)
            counts[0] = 0
            for t in range(task, last):
                at = n_sets * n_buckets + t
                if present[at]:
                    refs[counts[0]] = (sums_slot + at) << 1
                    counts[0] += 1
            sum_runs(g, refs, counts, 1, slot, address(scratch.work))
            if refs[0] != NONE:
                at = s * n_buckets + b
                export(g, job.sums + at * record, refs[0])
                present[at] = 1
        task = last


@kernel(signature=types.void(GROUP, _SETS, SCRATCH))
def reduce_sets(g: Group, job: SetSums, scratch: Scratch) -> None:
    """Take sets until none is left: sum_j (j + 1) B_j = S + sum_l 2^l O_l over its buckets.

    O_l sums the buckets whose index has bit l, found by halving: pairs are added level by level,
    and the odd members of level l make O_l. Records O_0 .. O_(lg-1), S of set s go to
    results[s * (lg + 1) + l], found[...] = 1 where finite.
    """
    width, record, work = g.width, g.record, address(scratch.work)
    lg_buckets, n_buckets = job.lg_buckets, 1 << job.lg_buckets
    sums_slot = (job.sums - g.base) // record
    odd = np.empty(n_buckets + width + lg_buckets, np.int64)
    counts = np.empty(lg_buckets + 1, np.int64)
    current = np.empty(n_buckets, np.int64)
    a = np.empty(n_buckets // 2 + width, np.int64)
    b = np.empty(n_buckets // 2 + width, np.int64)
    pair_sums = np.empty(n_buckets // 2 + width, np.int64)
    while True:
        s = fetch_add(address(job.next_set), 1)
        if s >= job.n_sets:
            break
        slot = (address(scratch.arena) - g.base) // record
        for j in range(n_buckets):
            at = s * n_buckets + j
            current[j] = (sums_slot + at) << 1 if job.present[at] else NONE
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
            slot = add_pairs(g, a, b, n, slot, pair_sums, work)
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
        sum_runs(g, odd, counts, lg_buckets, slot, work)
        odd[lg_buckets] = current[0]
        for level in range(lg_buckets + 1):
            if odd[level] != NONE:
                at = s * (lg_buckets + 1) + level
                export(g, job.results + at * record, odd[level])
                job.found[at] = 1


@kernel(signature=types.void(GROUP, REFS, REFS, REFS, SCRATCH))
def add_arrays(g: Group, a: Int64Array, b: Int64Array, sums: Int64Array, scratch: Scratch) -> None:
    """sums[i] = reference of a_i + b_i (references, NONE allowed), records in the arena."""
    n, width = len(a), g.width
    slot = (address(scratch.arena) - g.base) // g.record
    pa, pb = np.empty(n + width, np.int64), np.empty(n + width, np.int64)
    out = np.empty(n + width, np.int64)
    m = 0
    for i in range(n):
        if a[i] != NONE and b[i] != NONE:
            pa[m], pb[m] = a[i], b[i]
            m += 1
    add_pairs(g, pa, pb, m, slot, out, address(scratch.work))
    m = 0
    for i in range(n):
        if a[i] != NONE and b[i] != NONE:
            sums[i] = out[m]
            m += 1
        else:
            sums[i] = b[i] if a[i] == NONE else a[i]


@cache
def get_converters(lanes_name: str) -> tuple[Convert, Convert]:
    """Kernels between 2^256-Montgomery words and packed words, element by element."""
    lanes, key = get_lanes(lanes_name), lanes_name
    width, block = lanes.width, lanes.block
    unpack, unpack_packed, mul = lanes.ops_p.unpack, lanes.ops_p.unpack_packed, lanes.ops_p.mul
    pack, pack_canonical = lanes.ops_p.pack, lanes.ops_p.pack_canonical
    before, after = lanes.rounding
    row, from_256, to_256 = 8 * width, lanes.row_from_256, lanes.row_to_256

    @kernel(key=key, signature=_CONVERT)
    def to_packed(source: int, target: int, n: int, work: U64, k: int) -> None:
        """n elements (rounded up to W: both arrays must have room) to packed form."""
        state = before()
        t = address(work)
        for g in range((n + width - 1) // width):
            unpack(t, source + 32 * width * g, 32, k)
            mul(t + block, t, k + row * from_256, k)
            pack(target + 32 * width * g, 32, t + block, k)
        after(state)

    @kernel(key=key, signature=_CONVERT)
    def to_mont(source: int, target: int, n: int, work: U64, k: int) -> None:
        """The inverse of `to_packed`, canonical."""
        state = before()
        t = address(work)
        for g in range((n + width - 1) // width):
            unpack_packed(t, source + 32 * width * g, 32, k)
            mul(t + block, t, k + row * to_256, k)
            pack_canonical(target + 32 * width * g, 32, t + block, k)
        after(state)

    return to_packed, to_mont
