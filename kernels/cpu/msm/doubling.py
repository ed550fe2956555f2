"""Doublings of many points in batches, for tables of precomputed multiples."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numba import types

from kernels.array import U64
from kernels.cpu.compile.jit import kernel
from kernels.cpu.compile.memory import address, load_word, store_word
from kernels.cpu.msm.runs import BATCH, GROUP, SCRATCH, Group, Scratch, call_add_batch
from kernels.cpu.pool import Pool


class Engine(Protocol):
    """What doublings need of an `Msm`."""

    pool: Pool
    group: Group

    def scratch(self, n_records: int) -> Scratch: ...


@kernel(signature=types.void(GROUP, *[types.int64] * 3, SCRATCH))
def double_records(g: Group, first: int, last: int, times: int, scratch: Scratch) -> None:
    """Multiply records first:last (finite points) by 2^times.

    scratch : with room for BATCH + W records
    """
    width, record = g.width, g.record
    spare, work = address(scratch.arena), address(scratch.work)
    refs = np.empty(BATCH + width, np.int64)
    while first < last:
        n = min(BATCH, last - first)
        for i in range(n + width):
            refs[i] = (first + min(i, n - 1)) << 1
        at = address(refs)
        for _ in range(times):
            call_add_batch(g.add_batch, g.base, at, at, n, spare, work, g.k, g.one, 1)
            for i in range(n * record // 8):
                store_word(g.base + first * record + 8 * i, load_word(spare + 8 * i))
        first += n


def double_bases(msm: Engine, table: U64, first: int, last: int, times: int) -> None:
    """Multiply packed records first:last (finite points) by 2^times, on all threads."""

    def part(begin: int, end: int) -> None:
        group, scratch = msm.group.at(table), msm.scratch(BATCH)
        double_records(group, first + begin, first + end, times, scratch)

    msm.pool.ranges(last - first, part, cost_ns=100 * times)
