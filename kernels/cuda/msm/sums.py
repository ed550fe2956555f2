"""Multi-scalar multiplications on a device: sum_i s_i P_i by buckets, as many at once as are asked.

1. Scalars to signed digits, digits to entries sorted by bucket (`src/sort.cu`). Zeros leave no
   entry, small scalars few. Two sums with the same scalars, one in each group, are sorted once.
2. Each thread sums a slice of the entries; buckets that cross the ends of slices are merged
   (`src/msm.cuh`), so equal scalars are no slower than random ones.
3. Running sums over short chunks make sum_b (b + 1) B_b of each set shorter; of what is left, the
   sums over each bit of the index are plain sums of many threads. A few points remain.
4. The points of all sums come down in one copy, the only time that the host waits. It weights
   them by powers of two (`kernels.cuda.msm.buckets.join_points`).

Sums too long for one round (`kernels.cuda.msm.rounds`) are cut; then the next round is sorted in a
second stream, which needs memory where sums need multipliers, and what is on the host, bases or
scalars (`kernels.cuda.msm.arriving`), is sent in a third. The time depends on the scalars: a prover
that shares its machine with an observer leaks how many of its witness values are small.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels.array import U64, FrArray
from kernels.backend import SumProgress
from kernels.cuda.launch.runtime import Array, Device, Mark
from kernels.cuda.msm.arriving import Arriving
from kernels.cuda.msm.bases import CudaBases
from kernels.cuda.msm.buckets import GroupSums, add_points, join_points
from kernels.cuda.msm.digits import SortedDigits, sort_entries
from kernels.cuda.msm.layout import Batch, plan_batch
from kernels.cuda.msm.rounds import Part, SumSize
from kernels.cuda.msm.tasks import RoundTasks, Source, send_tasks


@dataclass(frozen=True, slots=True, eq=False)
class Sum:
    """One sum: scalars of host or device, and bases prepared for the device.

    arriving : where the scalars, which are its own, come from while the sum is under way
    """

    scalars: FrArray
    bases: CudaBases
    arriving: Arriving | None = None

    def __post_init__(self) -> None:
        if len(self.scalars.shape) != 1:
            shape = list(self.scalars.shape)
            raise ValueError(f"MSM: expected scalars of shape [n], got {shape}")
        if len(self.scalars) != len(self.bases):
            raise ValueError(f"MSM: {len(self.scalars)} scalars for {len(self.bases)} bases")


def compute_sums(
    device: Device, sums: Sequence[Sum], progress: SumProgress | None = None
) -> list[U64]:
    """Each sum as 2^256-Montgomery affine words, uint64[8 degree]; zeros for infinity.

    Raises ValueError if a scalar is not canonical, DeviceError for faults. What it returns for
    points that are not on the curve is unspecified.
    """
    report = progress or (lambda i, done, total: None)
    results = [np.zeros(8 * each.bases.degree, np.uint64) for each in sums]
    order = [i for degree in (1, 2) for i, s in enumerate(sums) if s.bases.degree == degree]
    order = [i for i in order if len(sums[i].scalars)]
    if order:
        found = _Run(device, [sums[i] for i in order]).run(
            lambda k, done, total: report(order[k], done, total)
        )
        for i, result in zip(order, found, strict=True):
            results[i] = result
    for i, each in enumerate(sums):
        if len(each.scalars) == 0:
            report(i, 1, 1)
    return results


class _Run:
    """One batch under way."""

    def __init__(self, device: Device, sums: Sequence[Sum]) -> None:
        self.device, self.sums = device, sums
        hosts = {id(s.scalars.data): s.scalars.data for s in sums}
        there = {key: a if device.holds(a) else device.asarray(a) for key, a in hosts.items()}
        self.scalars = [there[id(s.scalars.data)] for s in sums]
        sizes = list_sizes(sums)
        self.batch: Batch = plan_batch(
            sizes, memory_bytes=device.free_bytes, n_processors=device.n_processors
        )
        self.work = device.empty((self.batch.n_bytes,), np.uint8)
        self.alone = len(self.batch.rounds) == 1
        self.tasks: dict[int, RoundTasks] = {}
        self.found, self.done = dict[int, U64](), Counter[int]()

    def run(self, report: SumProgress) -> list[U64]:
        parts = [part.index for layout in self.batch.rounds for part in layout.plan.parts]
        total = Counter(parts)
        with self._whole():
            for span in self.batch.spans:
                self._start(span, report, total)
                self._join(span, self.device.to_host(self.work[: self.batch.down_bytes]))
        for index, n_parts in total.items():
            report(index, n_parts + 1, n_parts + 1)
        return [self.found[i] for i in range(len(self.sums))]

    def _start(self, span: range, report: SumProgress, total: Counter[int]) -> None:
        """Start these rounds, each but the last with the next one on its way."""
        device = self.device
        rounds, sources = [self.batch.rounds[k] for k in span], map(self._find_sources, span)
        self.tasks = dict(zip(span, send_tasks(device, rounds, list(sources)), strict=True))
        device.clear(self.work[: self.batch.down_bytes])
        before = device.mark()  # of what the last round but one left: buffers are two
        copies, ahead = self._send(span[0], before), self._sort(span[0], before)
        self._send_scalars(span[0] + 1, span)
        for k in span:
            entries, is_sorted = ahead
            if k + 1 in span:
                ahead = self._sort(k + 1, before)
            for mark in (is_sorted, *copies):
                mark.wait()
            self._sum(k, entries)
            summed = device.mark()
            if k + 1 in span:
                copies = self._send(k + 1, before)
            self._send_scalars(k + 2, span)
            before = summed
            for part in self.batch.rounds[k].plan.parts:
                self.done[part.index] += 1
                report(part.index, self.done[part.index], total[part.index] + 1)

    def _find_sources(self, k: int) -> list[Source]:
        """Of each part of round k."""
        layout, sources = self.batch.rounds[k], []
        for at, part in enumerate(layout.plan.parts):
            bases, rows = self.sums[part.index].bases, slice(part.first, part.first + part.plan.n)
            scalars = self.scalars[part.index][rows]
            if part.travels:
                table = layout.tables[at].within(self._buffer(self.batch.tables_at, k))
                sources.append(Source(scalars, None, table, 0, part.plan.n))
            else:
                # Where one of two bases is infinite, the other's reference must be there.
                marks = None if at in layout.plan.leads else bases.infinite[rows]
                sources.append(Source(scalars, marks, bases.table, part.first, len(bases)))
        return sources

    def _send(self, k: int, after: Mark) -> list[Mark]:
        """Start to send the bases of round k that travel."""
        layout, copies = self.batch.rounds[k], []
        memory = self._buffer(self.batch.tables_at, k)
        for at, place in layout.tables.items():
            part = layout.plan.parts[at]
            points = self.sums[part.index].bases.host
            assert points is not None
            rows = points[part.first : part.first + part.plan.n]
            copies.append(self.device.copy_aside(place.within(memory), rows, after=after))
        return copies

    def _send_scalars(self, k: int, span: range) -> None:
        """Start to send the scalars of round k that are still to come, if it is of this span."""
        for arriving, part in self._list_arriving(k) if k in span else []:
            arriving.send(part.first + part.plan.n)

    def _list_arriving(self, k: int) -> list[tuple[Arriving, Part]]:
        """The parts of round k whose scalars come meanwhile; two that are sorted together once."""
        plan = self.batch.rounds[k].plan
        own = [(self.sums[plan.parts[at].index].arriving, plan.parts[at]) for at in plan.sorted]
        return [(arriving, part) for arriving, part in own if arriving is not None]

    def _sort(self, k: int, after: Mark) -> tuple[SortedDigits, Mark]:
        """Start to sort round k; of several rounds in the second stream."""
        layout = self.batch.rounds[k]
        with nullcontext() if self.alone else self.device.beside():
            if not self.alone:
                after.wait()
            for arriving, part in self._list_arriving(k):
                arriving.gather(part.first, part.first + part.plan.n)
            entries = sort_entries(
                self.device,
                layout.sort,
                self.tasks[k].jobs,
                work=self.work[self.batch.sort_at :],
                kept=self._buffer(self.batch.sorted_at, k),
                refused=self.batch.refused.within(self.work),
            )
            return entries, self.device.mark()

    def _sum(self, k: int, entries: SortedDigits) -> None:
        """Start to sum round k, up to the points that come down."""
        layout, work = self.batch.rounds[k], self.work[self.batch.sums_at :]
        self.device.clear(work[: layout.cleared])
        places = zip(layout.groups, self.tasks[k].groups, self.batch.results[k], strict=True)
        for group, tasks, place in places:
            out = place.within(self.work)
            GroupSums(self.device, group, tasks, work=work, out=out).run(entries)

    def _join(self, span: range, down: Any) -> None:
        """Add what came down. Raises ValueError for scalars that are not canonical."""
        if self.batch.refused.within(down)[0]:
            raise ValueError("MSM: a scalar is not below the group order r")
        for round_number in span:
            parts = self.batch.rounds[round_number].plan.parts
            groups = self.batch.rounds[round_number].plan.groups
            for group, place in zip(groups, self.batch.results[round_number], strict=True):
                points = place.within(down).reshape(sum(group.n_sets), -1, 8 * group.degree)
                first = 0
                for k in group.parts:
                    sets = slice(first, first + parts[k].plan.n_sets)
                    own = join_points(points[sets], parts[k].plan, group.reduction.exponents[sets])
                    known = self.found.get(parts[k].index)
                    self.found[parts[k].index] = own if known is None else add_points(known, own)
                    first = sets.stop

    def _buffer(self, starts: Sequence[int], k: int) -> Array:
        """The memory that round k has in turn with those before and after it."""
        return self.work[starts[k % len(starts)] :]

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Who leaves early waits for what is under way beside the device's stream: the memory goes
        back to a pool that knows nothing of it."""
        try:
            yield
        except BaseException:
            if not self.alone or self.batch.travels or any(s.arriving for s in self.sums):
                self.device.synchronize()
            raise


def list_sizes(sums: Sequence[Sum]) -> list[SumSize]:
    """What sums, those of G1 first, are planned by. One of G2 is sorted with the first one of G1
    that has its very scalars, and bases with the same digits in the same kind of place."""
    sizes, free = list[SumSize](), dict[Hashable, list[int]]()
    for k, each in enumerate(sums):
        bases, leader = each.bases, None
        alike = id(each.scalars.data), bases.tables, bases.is_resident
        if bases.degree == 1:
            free.setdefault(alike, []).append(k)
        elif free.get(alike):
            leader = free[alike].pop(0)
        sizes.append(
            SumSize(
                n=len(bases),
                degree=bases.degree,
                tables=bases.tables,
                travels=not bases.is_resident,
                sorted_with=leader,
            )
        )
    return sizes
