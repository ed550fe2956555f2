"""Multi-scalar multiplication on a device: sum_i s_i P_i by buckets, in slices of equal length.

1. Scalars to signed digits, digits to entries sorted by bucket (`src/sort.cu`). Zeros leave no
   entry, small scalars few.
2. Each thread sums a slice of the entries; buckets that cross the ends of slices are merged in
   slices again (`src/msm.cuh`), so equal scalars are no slower than random ones.
3. Running sums over short chunks make sum_b (b + 1) B_b of each set shorter; of what is left, the
   sums over each bit of the index are plain sums of many threads. A few points remain.
4. The host weights those by powers of two (`kernels.cpu.msm.join`): a chain of 254 doublings, for
   which a GPU is slow.

Bases that do not fit travel in chunks (`kernels.cuda.msm.plan`). The time depends on the scalars: a
prover that shares its machine with an observer leaks how many of its witness values are small.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

from kernels.array import U64, FrArray
from kernels.backend import Progress
from kernels.cpu.msm.join import join_g1, join_g2
from kernels.cuda.launch.runtime import Array, Device, ceil_div, grid_for
from kernels.cuda.msm.bases import (
    BLOCK,
    Chunks,
    CudaBases,
    normalize_points,
    prepare_bases,
)
from kernels.cuda.msm.digits import SortedDigits, count_lengths, scalar_limbs, sort_entries
from kernels.cuda.msm.plan import (
    MERGE,
    Budget,
    MsmPlan,
    TableChoice,
    choose_slice,
    plan_chunks,
    plan_lists,
    plan_merges,
    plan_pass,
    plan_reduction,
)

SUM_BLOCK = 128
_ONCE = -1  # in the place of an exponent: the last result of a set counts once
STAGES = 3  # of a chunk, for progress: sorted, summed, reduced


@dataclass(frozen=True, slots=True, eq=False)
class _Source:
    """Bases of a chunk on the device: base i is record first + i of the table, its multiples
    follow in steps of `stride`; infinite[i] says whether it is infinite."""

    table: Array
    infinite: Array
    first: int
    stride: int


class CudaMsm:
    """Multi-exponentiation in one group (degree 1: G1, 2: G2) on one device."""

    def __init__(self, device: Device, degree: int) -> None:
        self.device, self.degree = device, degree
        self.module = device.load_module(f"msm_g{degree}")

    def prepare(self, points: U64, max_bytes: int | None = None) -> CudaBases:
        """See `kernels.cuda.msm.bases.prepare_bases`."""
        return prepare_bases(self.device, self.module, points, self.degree, max_bytes)

    def run(self, scalars: FrArray, bases: CudaBases, progress: Progress | None = None) -> U64:
        """The sum as 2^256-Montgomery affine words, uint64[8 degree]; zeros for infinity.

        Raises ValueError if the lengths differ or a scalar is not canonical, DeviceError for
        faults. What it returns for points that are not on the curve is unspecified.
        """
        if len(scalars.shape) != 1:
            raise ValueError(f"MSM: expected scalars of shape [n], got {list(scalars.shape)}")
        if len(scalars) != len(bases):
            raise ValueError(f"MSM: {len(scalars)} scalars for {len(bases)} bases")
        n, result = len(bases), np.zeros(8 * self.degree, np.uint64)
        report = progress or (lambda done, total: None)
        if n == 0:
            report(1, 1)
            return result
        size, budget = plan_chunks(
            n,
            self.degree,
            memory_bytes=self.device.free_bytes,
            n_processors=self.device.n_processors,
            tables=bases.tables,
            resident=bases.is_resident,
        )
        total = STAGES * ceil_div(n, size)
        with nullcontext() if bases.is_resident else Chunks(self.device, bases, size) as chunks:
            if chunks is not None:
                chunks.send(0)
            for k, first in enumerate(range(0, n, size)):

                def reached(stage: int, done: int = STAGES * k) -> None:
                    report(done + stage, total)

                def start_next(following: int = k + 1) -> None:
                    if chunks is not None:
                        chunks.send(following)

                if chunks is None:
                    source = _Source(bases.table, bases.infinite[first : first + size], first, n)
                else:
                    source = _Source(*chunks.take(k), 0, size)
                chunk = scalars.data[first : first + size]
                part = self._sum_chunk(chunk, source, bases.tables, budget, reached, start_next)
                result = part if k == 0 else self._join(np.stack([result, part]), 1, 2)
        report(total, total)
        return result

    def _sum_chunk(
        self,
        scalars: Array,
        source: _Source,
        tables: TableChoice | None,
        budget: Budget,
        reached: Callable[[int], None],
        start_next: Callable[[], None],
    ) -> U64:
        """The sum over a chunk's bases; affine words. `start_next` is called meanwhile."""
        device, n = self.device, len(scalars)
        limbs = scalar_limbs(scalars if device.holds(scalars) else device.asarray(scalars))
        lengths = count_lengths(device, limbs, source.infinite)
        if not any(lengths[1:]):
            start_next()
            return np.zeros(8 * self.degree, np.uint64)
        plan = plan_pass(n, self.degree, lengths, tables=tables, budget=budget)
        entries = sort_entries(
            device, limbs, source.infinite, plan, first=source.first, stride=source.stride
        )
        reached(1)
        sums = self._sum_buckets(entries, source.table, plan)
        start_next()
        reached(2)
        return self._weigh(sums, plan)

    def _sum_buckets(self, entries: SortedDigits, table: Array, plan: MsmPlan) -> Array:
        """The sum of every bucket, uint64[n_sums, 16 degree] (XYZZ; zeros for an empty bucket)."""
        device, n_entries = self.device, entries.n_entries
        sums = device.zeros((plan.n_sums, 16 * self.degree), np.uint64)
        length = choose_slice(n_entries, device.n_processors)
        n_slices = ceil_div(n_entries, length)
        buckets, pieces = self._new_pieces(n_slices)
        arguments: tuple[object, ...] = (
            *(sums, buckets, pieces, entries.references, entries.offsets, table),
            *(np.uint64(n_entries), np.uint32(plan.n_sums), np.uint32(length)),
        )
        self._launch("sum_entries", n_slices, SUM_BLOCK, arguments)
        for n_threads in plan_merges(n_slices):
            above = self._new_pieces(n_threads)
            n_pieces = np.uint64(len(buckets))
            arguments = (sums, *above, buckets, pieces, n_pieces, np.uint32(MERGE))
            self._launch("merge_pieces", n_threads, BLOCK, arguments)
            buckets, pieces = above
        return sums

    def _new_pieces(self, n_threads: int) -> tuple[Array, Array]:
        """Room for two pieces per thread: their buckets and their sums."""
        return (
            self.device.empty((2 * n_threads,), np.uint32),
            self.device.empty((2 * n_threads, 16 * self.degree), np.uint64),
        )

    def _weigh(self, sums: Array, plan: MsmPlan) -> U64:
        """sum over sets t and buckets b of 2^(c t) (b + 1) B_(t,b)."""
        device, words = self.device, 16 * self.degree
        steps = plan_reduction(plan.n_buckets, plan.n_sets)
        lists, plain = device.empty((1, words), np.uint64), sums
        exponents: list[int] = []
        kernel = self.module.kernel(f"g{self.degree}_reduce_step")
        for k, step in enumerate(steps):
            shape = (plan.n_sets, k + 1, step.n_after, words)
            lists_out = device.empty(shape, np.uint64)
            plain_out = device.empty((plan.n_sets, step.n_after, words), np.uint64)
            sizes = (np.uint32(step.n), np.uint32(step.lg_chunk), np.uint32(k > 0))
            grid = (ceil_div(step.n_after, BLOCK), k + 1, plan.n_sets)
            kernel(grid, (BLOCK, 1, 1), (lists_out, plain_out, lists, plain, *sizes))
            lists, plain = lists_out, plain_out
            exponents.append(step.exponent)
        if not steps:  # what is left is weighted from 1 on: by its index, and once more
            lists, exponents = sums.reshape(plan.n_sets, 1, plan.n_buckets, words), [_ONCE]
        n_left = lists.shape[2]
        exponents += range(plan.c - n_left.bit_length(), plan.c - 1)
        lists = self._sum_lists(lists, plain, len(exponents))
        n_points = plan.n_sets * len(exponents)
        points = lists.reshape(n_points, words)
        affine = device.empty((n_points, words // 2), np.uint64)
        products = device.empty((n_points, words // 4), np.uint64)
        normalize_points(self.module, self.degree, affine, products, points, n_points, 1)
        host = device.to_host(affine)
        results = np.zeros((plan.n_sets, plan.c, words // 2), np.uint64)
        results[:, exponents] = host.reshape(plan.n_sets, len(exponents), -1)
        return self._join(results.reshape(plan.n_sets * plan.c, -1), plan.n_sets, plan.c)

    def _sum_lists(self, lists: Array, weighted: Array, n_out: int) -> Array:
        """The sum of every list, and T_j of every bit j of the weighted ones: see `sum_lists`.

        lists    : [n_sets, n_lists, n] points; weighted : [n_sets, n], n = 2^(n_out - n_lists)
        returns  : [n_sets, n_out, 1] points
        """
        n_sets, n_lists, n, words = lists.shape
        for step in plan_lists(n):
            out = self.device.empty((n_sets, n_out, step.n_after, words), np.uint64)
            sizes = (step.n, n_lists, step.per_thread, step.lg_block)
            self.module.kernel(f"g{self.degree}_sum_lists")(
                (step.n_after, n_out, n_sets),
                (1 << step.lg_block, 1, 1),
                (out, lists, weighted, *(np.uint32(size) for size in sizes)),
                shared_bytes=words * 8 << step.lg_block,
            )
            lists, n_lists = out, n_out
        return lists

    def _join(self, results: U64, n_sets: int, c: int) -> U64:
        """sum_s 2^(c s) (R_(s,c-1) + sum_l 2^l R_(s,l)), l < c - 1, for affine records R."""
        join = join_g1 if self.degree == 1 else join_g2
        out = np.zeros(8 * self.degree, np.uint64)
        join(results, np.any(results, axis=1).astype(np.uint8), n_sets, c, out)
        return out

    def _launch(self, name: str, n_threads: int, block: int, arguments: tuple[object, ...]) -> None:
        kernel = self.module.kernel(f"g{self.degree}_{name}")
        kernel(grid_for(n_threads, block), (block, 1, 1), arguments)
