"""Doublings of many points in batches, for tables of precomputed multiples."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from kernels.array import U64
from kernels.cpu.compile.jit import kernel
from kernels.cpu.compile.memory import address, load_word, store_word
from kernels.cpu.msm.runs import BATCH, G_RECORD, G_WIDTH, call_add_batch
from kernels.cpu.pool import Pool


class Scratch(Protocol):
    """What doublings need of an `Msm`."""

    pool: Pool
    group: tuple[Any, Any]

    def arena(self, n_records: int) -> U64: ...
    def work(self) -> U64: ...


@kernel(signature="void(int64[::1], int64, int64, int64, uint64[::1], uint64[::1])")
def double_records(g: Any, base: int, first: int, last: int, spare: Any, work: Any) -> None:
    """Replace records first:last at `base` (finite points) by their doubles.

    spare : room for BATCH + W records, at a distance of whole records
    """
    width, record = g[G_WIDTH], g[G_RECORD]
    refs = np.empty(BATCH + width, np.int64)
    while first < last:
        n = min(BATCH, last - first)
        for i in range(n + width):
            refs[i] = (first + min(i, n - 1)) << 1
        at = address(refs)
        call_add_batch(g, base, at, at, n, address(spare), address(work), 1)
        for i in range(n * record // 8):
            store_word(base + first * record + 8 * i, load_word(address(spare) + 8 * i))
        first += n


def double_bases(msm: Scratch, table: U64, first: int, last: int, times: int) -> None:
    """Multiply packed records first:last (finite points) by 2^times, on all threads."""

    def part(begin: int, end: int) -> None:
        spare, work = msm.arena(BATCH), msm.work()
        for _ in range(times):
            double_records(msm.group[0], table.ctypes.data, first + begin, first + end, spare, work)

    msm.pool.ranges(last - first, part, cost_ns=100 * times)
