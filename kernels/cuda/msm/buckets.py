"""From sorted entries to a few points of each set: launches around `src/msm.cuh`, and weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.array import U64
from kernels.cpu.msm.join import join_g1, join_g2
from kernels.cuda.launch.runtime import Array, Device, ceil_div, grid_for
from kernels.cuda.msm.bases import BLOCK, normalize_points
from kernels.cuda.msm.digits import Jobs, SortedDigits
from kernels.cuda.msm.layout import GroupLayout
from kernels.cuda.msm.plan import (
    LG_MERGE_BLOCK,
    MAX_SLICE,
    MIN_SLICE,
    THREADS_PER_PROCESSOR,
    MsmPlan,
    merge_shared_bytes,
    point_bytes,
)
from kernels.cuda.msm.tasks import GroupTasks

SUM_BLOCK = 128


class GroupSums:
    """The parts of one group in a round, of which the entries are sorted.

    work : memory in which the layout lies, with the bucket sums cleared
    out  : uint64[n_points, 8 degree], the points of each set, affine
    """

    def __init__(
        self, device: Device, layout: GroupLayout, tasks: GroupTasks, *, work: Array, out: Array
    ) -> None:
        self.device, self.layout, self.tasks = device, layout, tasks
        self.degree, self.plan = layout.plan.degree, layout.plan
        self.work, self.out = work, out
        self.module = device.load_module(f"msm_g{self.degree}")

    def run(self, entries: SortedDigits) -> None:
        """Start all of it."""
        sums = self.layout.sums.within(self.work)
        self._sum_buckets(sums, entries, self.tasks.jobs)
        points = self._reduce(sums)
        products = self.layout.products.within(self.work)
        n_points = self.plan.n_points
        normalize_points(self.module, self.degree, self.out, products, points, n_points, 1)

    def _sum_buckets(self, sums: Array, entries: SortedDigits, jobs: Jobs) -> None:
        """The sum of every bucket (XYZZ; zero words for an empty one)."""
        plan, layout = self.plan, self.layout
        pieces = [(p.buckets.within(self.work), p.sums.within(self.work)) for p in layout.pieces]
        resident = self.device.n_processors * THREADS_PER_PROCESSOR
        sizes = (plan.first_bucket, plan.last_bucket, plan.n_slices, resident, MIN_SLICE, MAX_SLICE)
        self._kernel("sum_entries")(
            grid_for(plan.n_slices, SUM_BLOCK),
            (SUM_BLOCK, 1, 1),
            (sums, *pieces[0], entries.references, entries.offsets, jobs.records, *_words(*sizes)),
            reads=jobs.reads,
        )
        for k, merge in enumerate(plan.merges):
            below = pieces[k]
            above = pieces[k + 1] if k + 1 < len(pieces) else below  # of one block nothing is left
            amounts = merge.n_pieces, merge.per_thread, LG_MERGE_BLOCK
            self._kernel("merge_pieces")(
                (merge.n_blocks, 1, 1),
                (1 << LG_MERGE_BLOCK, 1, 1),
                (sums, *above, *below, *_words(*amounts)),
                shared_bytes=merge_shared_bytes(self.degree),
            )

    def _reduce(self, sums: Array) -> Array:
        """The points of every set, XYZZ."""
        reduction, n_sets, work = self.plan.reduction, sum(self.plan.n_sets), self.work
        lists, plain = sums, sums
        for k, step in enumerate(reduction.steps):
            after = [place.within(work) for place in self.layout.steps[k]]
            self._kernel("reduce_step")(
                (ceil_div(step.longest, BLOCK), k + 1, n_sets),
                (BLOCK, 1, 1),
                (*after, lists, plain, self.tasks.steps[k], np.uint32(k > 0)),
            )
            lists, plain = after
        n_lists = reduction.n_lists
        for k, each in enumerate(reduction.lists):
            out = self.layout.lists[k].within(work)
            sizes = (n_lists, each.per_thread, each.lg_block)
            self._kernel("sum_lists")(
                (each.n_after, reduction.n_out, n_sets),
                (1 << each.lg_block, 1, 1),
                (out, lists, plain, self.tasks.lists[k], *_words(*sizes)),
                shared_bytes=point_bytes(self.degree) << each.lg_block,
            )
            lists, plain, n_lists = out, out, reduction.n_out
        return lists

    def _kernel(self, name: str) -> Any:
        return self.module.kernel(f"g{self.degree}_{name}")


def join_points(points: U64, plan: MsmPlan, exponents: tuple[tuple[int, ...], ...]) -> U64:
    """sum over sets s and points k of 2^(c s + exponents[s][k]) points[s, k].

    points    : uint64[n_sets, n_out, 8 degree], affine
    exponents : see `kernels.cuda.msm.plan.Reduction`; of this sum's sets
    A chain of 254 doublings, for which a GPU is slow.
    """
    join = join_g1 if plan.degree == 1 else join_g2
    records = np.zeros((plan.n_sets, plan.c, 8 * plan.degree), np.uint64)
    for s, own in enumerate(exponents):
        for k, exponent in enumerate(own):
            # The last record of a set counts once, like one of exponent 0: there may be two of it.
            at = plan.c - 1 if own.count(exponent) > 1 and k == 0 else exponent
            records[s, at] = points[s, k]
    flat, out = records.reshape(-1, 8 * plan.degree), np.zeros(8 * plan.degree, np.uint64)
    join(flat, np.any(flat, axis=1).astype(np.uint8), plan.n_sets, plan.c, out)
    return out


def add_points(a: U64, b: U64) -> U64:
    """a + b, affine records of either group."""
    join = join_g1 if len(a) == 8 else join_g2
    both, out = np.stack([a, b]), np.zeros_like(a)
    join(both, np.any(both, axis=1).astype(np.uint8), 1, 2, out)
    return out


def _words(*values: int) -> tuple[np.uint32, ...]:
    return tuple(np.uint32(v) for v in values)
