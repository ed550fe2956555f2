"""One base and many scalars, the additions of key generation: s_i B for every i.

With w-bit windows a table holds d 2^(w j) B for 0 < d < 2^w; s_i B is the sum of the run of the
entries of its windows (`kernels.cpu.msm.runs`), n (ceil(254 / w) - 1) additions in all.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import types

from kernels.array import U64, FrArray
from kernels.backend import Progress
from kernels.cpu.compile.jit import kernel
from kernels.cpu.compile.memory import address, fetch_add
from kernels.cpu.lanes.interface import aligned_words
from kernels.cpu.msm.buckets import add_arrays, export
from kernels.cpu.msm.doubling import double_records
from kernels.cpu.msm.pippenger import ADDITION_NS, Msm
from kernels.cpu.msm.runs import (
    BATCH,
    GROUP,
    NONE,
    REFS,
    SCRATCH,
    Group,
    Scratch,
    sum_runs,
)
from kernels.numpy_types import Int64Array, UInt8Array

SCALAR_BITS = 254
_TASK_REFS = 8192


class Multiples(NamedTuple):
    """Multiples of one base, in tasks of `chunk` scalars that threads take.

    scalars            : uint64[n, 4], canonical
    bits, n_windows    : the digits: record (j << bits) + d of the group is d 2^(bits j) B
    target, finite     : address of n records, and which are finite: scalars[i] * B
    next_chunk         : int64[1], the counter from which threads take
    """

    scalars: U64
    bits: int
    n_windows: int
    chunk: int
    target: int
    finite: UInt8Array
    next_chunk: Int64Array


_INT = types.int64
_MULTIPLES = types.NamedTuple(
    (types.uint64[:, ::1], _INT, _INT, _INT, _INT, types.uint8[::1], REFS), Multiples
)


@kernel(signature=types.void(GROUP, _MULTIPLES, SCRATCH))
def multiply_tasks(g: Group, job: Multiples, scratch: Scratch) -> None:
    """Take chunks of scalars until none is left."""
    scalars, bits, n_windows, chunk = job.scalars, job.bits, job.n_windows, job.chunk
    slot = (address(scratch.arena) - g.base) // g.record
    refs = np.empty(chunk * n_windows + g.width, np.int64)
    counts = np.empty(chunk, np.int64)
    mask = np.uint64((1 << bits) - 1)
    while True:
        first = fetch_add(address(job.next_chunk), 1) * chunk
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
        sum_runs(g, refs, counts, n_runs, slot, address(scratch.work))
        for i in range(n_runs):
            if refs[i] != NONE:
                export(g, job.target + (first + i) * g.record, refs[i])
                job.finite[first + i] = 1


@kernel(signature=types.void(GROUP, REFS, types.int64))
def export_all(g: Group, refs: Int64Array, target: int) -> None:
    """Copy finite references to consecutive records at `target`."""
    for i in range(len(refs)):
        if refs[i] != NONE:
            export(g, target + i * g.record, refs[i])


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
        n_tasks = -(-n // chunk)
        job = Multiples(
            scalars=scalars.data,
            bits=bits,
            n_windows=n_windows,
            chunk=chunk,
            target=sums.ctypes.data,
            finite=finite,
            next_chunk=np.zeros(1, np.int64),
        )

        def part() -> None:
            multiply_tasks(msm.group.at(table), job, msm.scratch(chunk * n_windows))

        msm.pool.workers(
            n_tasks,
            part,
            lambda: report(min(int(job.next_chunk[0]), n_tasks), n_tasks + 1),
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
        width = msm.lanes.width
        power = msm.convert(base, packed=True)[: (1 + width) * msm.words]
        scratch = msm.scratch(BATCH)
        for j in range(n_windows):
            records[j, 1] = power[: msm.words]
            if j + 1 < n_windows:
                double_records(msm.group.at(power), 0, 1, bits, scratch)
        rows = np.arange(n_windows, dtype=np.int64)[:, None] << bits
        m = 1
        while m < 1 << bits:
            low = np.ascontiguousarray((rows + np.arange(1, m + 1)) << 1).reshape(-1)
            high = np.repeat((rows + m) << 1, m)
            last = min(m, (1 << bits) - 1 - m)  # 2^bits itself is no digit
            sums = np.empty(len(low), np.int64)
            scratch = msm.scratch(len(low))  # holds the sums until they are exported
            add_arrays(msm.group.at(table), low, high, sums, scratch)
            exported = aligned_words((len(low) + width) * msm.words)
            export_all(msm.group.at(table), sums, exported.ctypes.data)
            block = exported[: len(low) * msm.words].reshape(n_windows, m, msm.words)
            records[:, m + 1 : m + 1 + last] = block[:, :last]
            m *= 2
        return table


def window_bits(n: int) -> int:
    """Digit width for n scalars: the table costs 2^w additions per window, each scalar one."""
    return min(max(n.bit_length() - 5, 2), 12)
