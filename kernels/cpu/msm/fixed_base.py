"""One base and many scalars, the additions of key generation: s_i B for every i.

With w-bit windows a table holds d 2^(w j) B for 0 < d < 2^w; s_i B is the sum of the run of the
entries of its windows (`kernels.cpu.msm.runs`), n (ceil(254 / w) - 1) additions in all.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.array import U64, FrArray
from kernels.backend import Progress
from kernels.cpu.compile.jit import kernel
from kernels.cpu.compile.memory import address, fetch_add
from kernels.cpu.lanes.interface import aligned_words
from kernels.cpu.msm.buckets import add_arrays, export
from kernels.cpu.msm.doubling import double_records
from kernels.cpu.msm.pippenger import ADDITION_NS, Msm
from kernels.cpu.msm.runs import BATCH, G_RECORD, G_WIDTH, NONE, sum_runs

SCALAR_BITS = 254
_TASK_REFS = 8192


@kernel(
    signature=(
        "void(int64[::1], uint64[::1], int64, uint64[:,::1], int64, int64, int64, int64, "
        "uint8[::1], uint64[::1], uint64[::1], int64[::1])"
    )
)
def multiply_tasks(
    g: Any, f: Any, base: int, scalars: Any, bits: int, n_windows: int, chunk: int, target: int,
    finite: Any, arena: Any, work: Any, counter: Any,
) -> None:  # fmt: skip
    """Take chunks of scalars until none is left; record i at `target` = scalars[i] * B.

    Record (j << bits) + d of the table at `base` is d 2^(bits j) B.
    """
    record, width = g[G_RECORD], g[G_WIDTH]
    slot = (address(arena) - base) // record
    refs = np.empty(chunk * n_windows + width, np.int64)
    counts = np.empty(chunk, np.int64)
    mask = np.uint64((1 << bits) - 1)
    while True:
        first = fetch_add(counter, 0, 1) * chunk
        if first >= len(scalars):
            break
        n_runs, n = min(chunk, len(scalars) - first), 0
        for i in range(n_runs):
            start = n
            for j in range(n_windows):
                at, shift = (j * bits) >> 6, np.uint64((j * bits) & 63)
                value = scalars[first + i, at] >> shift
                if shift != 0 and at < 3:
                    value |= scalars[first + i, at + 1] << (np.uint64(64) - shift)
                digit = np.int64(value & mask)
                if digit != 0:
                    refs[n] = ((j << bits) + digit) << 1
                    n += 1
            counts[i] = n - start
        sum_runs(g, f, base, refs, counts, n_runs, slot, address(work))
        for i in range(n_runs):
            if refs[i] != NONE:
                export(g, f, target + (first + i) * record, base, refs[i])
                finite[first + i] = 1


@kernel(signature="void(int64[::1], uint64[::1], int64, int64[::1], int64)")
def export_all(g: Any, f: Any, base: int, refs: Any, target: int) -> None:
    """Copy finite references to consecutive records at `target`."""
    for i in range(len(refs)):
        if refs[i] != NONE:
            export(g, f, target + i * g[G_RECORD], base, refs[i])


class FixedBase:
    """Multiples of one base on the lanes of an `Msm`."""

    def __init__(self, msm: Msm) -> None:
        self.msm = msm

    def run(self, scalars: FrArray, base: U64, progress: Progress | None = None) -> U64:
        """s_i * base as 2^256-Montgomery affine words, uint64[n, 8 d]."""
        n, msm = len(scalars), self.msm
        if base.shape[0] != 1:
            raise ValueError(f"fixed base: expected one base, got {base.shape[0]}")
        report = progress or (lambda done, total: None)
        if n == 0 or not base.any():
            report(1, 1)
            return np.zeros((n, msm.words), np.uint64)
        bits = window_bits(n)
        n_windows = -(-SCALAR_BITS // bits)
        table = self._table(base, bits, n_windows)
        chunk = max(_TASK_REFS // n_windows, 1)
        sums, finite = aligned_words((n + msm.lanes.width) * msm.words), np.zeros(n, np.uint8)
        counter = np.zeros(1, np.int64)
        n_tasks = -(-n // chunk)

        def part() -> None:
            arena, work = msm.arena(chunk * n_windows), msm.work()
            multiply_tasks(
                *msm.group, table.ctypes.data, scalars.data, bits, n_windows, chunk,
                sums.ctypes.data, finite, arena, work, counter,
            )  # fmt: skip

        msm.pool.workers(
            n_tasks,
            part,
            lambda: report(min(int(counter[0]), n_tasks), n_tasks + 1),
            cost_ns=min(n, chunk) * n_windows * ADDITION_NS,
        )
        points = msm.convert(sums[: n * msm.words].reshape(n, -1), packed=False)
        points = points[: n * msm.words].reshape(n, msm.words)
        points[finite == 0] = 0
        report(n_tasks + 1, n_tasks + 1)
        return points

    def _table(self, base: U64, bits: int, n_windows: int) -> U64:
        """Packed records (j << bits) + d -> d 2^(bits j) B; d = 0 is never read."""
        msm = self.msm
        size = n_windows << bits
        table = aligned_words((size + msm.lanes.width) * msm.words)
        records = table[: size * msm.words].reshape(n_windows, 1 << bits, msm.words)
        at, width = table.ctypes.data, msm.lanes.width
        power = msm.convert(base, packed=True)[: (1 + width) * msm.words]
        spare, work = msm.arena(BATCH), msm.work()
        for j in range(n_windows):
            records[j, 1] = power[: msm.words]
            if j + 1 < n_windows:
                for _ in range(bits):
                    double_records(msm.group[0], power.ctypes.data, 0, 1, spare, work)
        rows = np.arange(n_windows, dtype=np.int64)[:, None] << bits
        m = 1
        while m < 1 << bits:
            low = np.ascontiguousarray((rows + np.arange(1, m + 1)) << 1).reshape(-1)
            high = np.repeat((rows + m) << 1, m)
            last = min(m, (1 << bits) - 1 - m)  # 2^bits itself is no digit
            sums = np.empty(len(low), np.int64)
            arena = msm.arena(len(low))
            add_arrays(*msm.group, at, low, high, len(low), sums, arena, work)
            exported = aligned_words((len(low) + width) * msm.words)
            export_all(*msm.group, at, sums, exported.ctypes.data)
            block = exported[: len(low) * msm.words].reshape(n_windows, m, msm.words)
            records[:, m + 1 : m + 1 + last] = block[:, :last]
            m *= 2
        return table


def window_bits(n: int) -> int:
    """Digit width for n scalars: the table costs 2^w additions per window, each scalar one."""
    return min(max(n.bit_length() - 5, 2), 12)
