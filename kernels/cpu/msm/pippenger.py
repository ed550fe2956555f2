"""Multi-scalar multiplication: Pippenger with signed digits, counting sort and batched affine sums.

sum_i s_i P_i. Each scalar becomes min(s, r - s) with a sign and then signed c-bit digits (Bernstein
et al., CHES 2012). With T tables (multiples 2^(c S j) P_i, j < T, precomputed for a fixed key) the
windows fall into S = ceil(W / T) sets; digit w = j S + t of scalar i adds +-base[j n + i] to bucket
|digit| of set t. Bucket sums are pairwise trees (`kernels.cpu.msm.runs`), the weighted sum over
buckets is found by halving (`kernels.cpu.msm.buckets`), and 254 doublings join what is left.

c is chosen by counting the digits that the scalars at hand really have, so zero, one and small
scalars cost what they must. The running time depends on the scalars: a prover that shares its
machine with an observer leaks how many of its witness values are small.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from kernels.array import U64, FrArray, G1Array, G2Array
from kernels.backend import Progress
from kernels.bn254 import G1, G2
from kernels.cpu.lanes.curve_ops import get_curve_ops
from kernels.cpu.lanes.interface import aligned_words
from kernels.cpu.msm.buckets import (
    BucketTasks,
    SetSums,
    get_converters,
    merge_parts,
    reduce_sets,
    sum_buckets,
)
from kernels.cpu.msm.digits import (
    count_digits,
    count_lengths,
    most_tasks,
    place_entries,
    plan_tasks,
    write_digits,
)
from kernels.cpu.msm.doubling import double_bases
from kernels.cpu.msm.join import join_g1, join_g2
from kernels.cpu.msm.runs import Scratch, make_group, work_words
from kernels.cpu.pool import Pool
from kernels.numpy_types import BoolArray, Int64Array, UInt8Array, UInt32Array

TASK_ENTRIES = 8192  # sorted entries per task: its records stay in the second-level cache
MAX_WINDOW = 20
SCALAR_BITS = 253  # of min(s, r - s)
ADDITION_NS, DIGIT_NS = 150, 5  # of an addition, of a digit, for the pool to go by
_REDUCTION = 2.0  # additions per bucket in the weighted reduction
_JOBS_PER_THREAD = 4


@dataclass(frozen=True, slots=True, eq=False)
class PreparedBases:
    """Bases in packed form, with `n_tables` multiples of each (1: none precomputed).

    table    : uint64[n_tables * n * 8 d + padding], record j n + i is 2^(window * n_sets * j) P_i
    infinite : bool[n], bases that are the point at infinity
    window, n_sets : digits are fixed to c = window in S = n_sets sets when n_tables > 1
    """

    table: U64
    infinite: BoolArray
    degree: int
    n_tables: int
    window: int
    n_sets: int

    def __len__(self) -> int:
        return len(self.infinite)

    @property
    def n_bytes(self) -> int:
        return int(self.table.nbytes + self.infinite.nbytes)


class Entries(NamedTuple):
    """Per set the entries sorted by bucket, and where each bucket begins.

    refs    : uint32[n_sets, n_tables * n], base record << 1 | (digit < 0)
    offsets : int64[n_sets, n_buckets + 1], bucket b (|digit| = b + 1) is offsets[b]:offsets[b + 1]
    """

    refs: UInt32Array
    offsets: Int64Array


class Buckets(NamedTuple):
    """Bucket sums as packed records; record set * n_buckets + b is there where `present` is 1."""

    sums: U64
    present: UInt8Array
    n_tasks: int


class Msm:
    """Multi-exponentiation in one group (degree 1: G1, 2: G2) on one kind of lanes."""

    def __init__(self, lanes_name: str, degree: int, pool: Pool) -> None:
        curve = get_curve_ops(lanes_name, degree)
        self.lanes = curve.lanes
        self.group = make_group(curve)
        self.to_packed, self.to_mont = get_converters(lanes_name)
        one = G1Array.from_ints([G1]) if degree == 1 else G2Array.from_ints([G2])
        self.generator = one.data[0]
        self.degree = degree
        self.pool = pool
        self.words = 8 * degree  # of a record

    # -- preparation -----------------------------------------------------------------------------
    def convert(self, points: U64, *, packed: bool) -> U64:
        """2^256-Montgomery records to packed ones (`packed`) or back; padding comes after them."""
        n = 2 * self.degree * len(points)
        width = self.lanes.width
        source = aligned_words(4 * (n + width))
        source[: points.size] = points.reshape(-1)
        target = aligned_words(4 * (n + width))
        kernel = self.to_packed if packed else self.to_mont

        def part(first: int, last: int) -> None:
            work = aligned_words(4 * self.lanes.block // 8)
            at = 32 * first
            kernel(
                source.ctypes.data + at, target.ctypes.data + at, last - first, work, self.lanes.p
            )

        self.pool.ranges(n, part, cost_ns=20, multiple=width)
        return target

    def prepare(self, points: U64) -> PreparedBases:
        """Packed bases without precomputed multiples."""
        _check_entries(len(points), 1)
        infinite = _are_infinite(points)
        return PreparedBases(self.convert(points, packed=True), infinite, self.degree, 1, 0, 0)

    def prepare_tables(self, points: U64, max_bytes: int) -> PreparedBases:
        """Packed bases with as many precomputed multiples as pay and fit into `max_bytes`."""
        n = len(points)
        window, n_sets, n_tables = choose_tables(n, max_bytes // max(8 * self.words * n, 1))
        if n_tables < 2:
            return self.prepare(points)
        _check_entries(n, n_tables)
        infinite = _are_infinite(points)
        filled = points.copy()
        filled[infinite] = self.generator
        table = aligned_words((n_tables * n + self.lanes.width) * self.words)
        rows = table[: n_tables * n * self.words].reshape(n_tables, -1)
        rows[0] = self.convert(filled, packed=True)[: n * self.words]
        for j in range(1, n_tables):
            rows[j] = rows[j - 1]
            double_bases(self, table, j * n, (j + 1) * n, window * n_sets)
        return PreparedBases(table, infinite, self.degree, n_tables, window, n_sets)

    def take(self, bases: PreparedBases, kept: Int64Array, extra: U64) -> PreparedBases:
        """The bases at `kept`, then more packed records, [k, words]: all finite, no multiples."""
        n, words = len(kept) + len(extra), self.words
        table = aligned_words((n + self.lanes.width) * words)
        rows = table[: n * words].reshape(n, words)
        rows[: len(kept)] = bases.table[: len(bases) * words].reshape(-1, words)[kept]
        rows[len(kept) :] = extra
        return PreparedBases(table, np.zeros(n, np.bool_), self.degree, 1, 0, 0)

    # -- the sum ---------------------------------------------------------------------------------
    def run(self, scalars: FrArray, bases: PreparedBases, progress: Progress | None = None) -> U64:
        """The sum as 2^256-Montgomery affine words, uint64[8 d]; zeros for infinity.

        Raises ValueError if the lengths differ or a scalar is not canonical. What it returns for
        points that are not on the curve is unspecified.
        """
        if len(scalars) != len(bases):
            raise ValueError(f"MSM: {len(scalars)} scalars for {len(bases)} bases")
        report = progress or (lambda done, total: None)
        plan = self.plan(scalars.data, bases)
        if plan is None:
            report(1, 1)
            return np.zeros(self.words, np.uint64)
        results, found = self._set_sums(scalars.data, bases, plan, report)
        return self._join(results, found, plan.n_sets, plan.c)

    def digit_sums(self, scalars: U64, bases: PreparedBases, *, c: int, n_windows: int) -> U64:
        """uint64[n_windows, 8 d]: sum_i d_(i,w) P_i for each w, zeros for infinity.

        scalars : uint64[n, 4], below 2^(c n_windows - 1) and below r/2, so that none is negated:
                  right for bases of any order
        d_(i,w) : signed c-bit digits, s_i = sum_w d_(i,w) 2^(c w)
        """
        plan = Plan(n=len(bases), c=c, n_sets=n_windows, n_windows=n_windows)
        results, found = self._set_sums(scalars, bases, plan, lambda done, total: None)
        cuts = [slice(c * w, c * (w + 1)) for w in range(n_windows)]
        return np.stack([self._join(results[cut], found[cut], 1, c) for cut in cuts])

    def plan(self, scalars: U64, bases: PreparedBases) -> Plan | None:
        """How these scalars are cut into digits; None if all are zero (or their base is)."""
        lengths = self.lengths(scalars, bases.infinite)
        longest = int(np.flatnonzero(lengths)[-1]) if lengths.any() else 0
        if longest == 0:
            return None
        c = bases.window if bases.n_tables > 1 else choose_window(lengths)
        n_windows = longest // c + 1  # (longest + 1) bits, the last for the carry
        n_sets = bases.n_sets if bases.n_tables > 1 else n_windows
        return Plan(n=len(bases), c=c, n_sets=min(n_sets, n_windows), n_windows=n_windows)

    def _join(self, results: U64, found: UInt8Array, n_sets: int, c: int) -> U64:
        join = join_g1 if self.degree == 1 else join_g2
        out = np.zeros(self.words, np.uint64)
        join(results, found, n_sets, c, out)
        return out

    def lengths(self, scalars: U64, infinite: BoolArray) -> Int64Array:
        """int64[257]: how many finite bases have a scalar s with min(s, r - s) of b bits.

        Raises ValueError if a scalar is not canonical.
        """
        parts: list[Int64Array] = []

        def part(first: int, last: int) -> None:
            histogram = np.zeros(257, np.int64)
            count_lengths(scalars[first:last], infinite[first:last], histogram)
            parts.append(histogram)

        self.pool.ranges(len(scalars), part, cost_ns=10)
        lengths: Int64Array = np.sum(parts, axis=0) if parts else np.zeros(257, np.int64)
        if lengths[SCALAR_BITS + 1 :].any():
            raise ValueError("MSM: a scalar is not below the group order r")
        return lengths

    def _set_sums(
        self, scalars: U64, bases: PreparedBases, plan: Plan, report: Callable[[int, int], None]
    ) -> tuple[U64, UInt8Array]:
        """The c partial sums of every set (see `reduce_sets`), as 2^256-Montgomery records."""
        buckets = self.sum_buckets(
            self.sorted_entries(scalars, bases.infinite, plan), bases, report
        )
        n_results = plan.n_sets * plan.c
        results, found = aligned_words(n_results * self.words), np.zeros(n_results, np.uint8)
        group = self.group.at(bases.table)
        job = SetSums(
            sums=buckets.sums.ctypes.data,
            present=buckets.present,
            n_sets=plan.n_sets,
            lg_buckets=plan.c - 1,
            results=results.ctypes.data,
            found=found,
            next_set=np.zeros(1, np.int64),
        )

        def reduce_part() -> None:
            reduce_sets(group, job, self.scratch(2 * plan.n_buckets))

        done, total = buckets.n_tasks, buckets.n_tasks + plan.n_sets
        self.pool.workers(
            plan.n_sets,
            reduce_part,
            lambda: report(done + min(int(job.next_set[0]), plan.n_sets), total),
            cost_ns=int(_REDUCTION * plan.n_buckets) * ADDITION_NS,
        )
        report(total, total)
        mont = self.convert(results.reshape(-1, self.words), packed=False)
        return mont[: n_results * self.words].reshape(-1, self.words), found

    def sum_buckets(
        self, entries: Entries, bases: PreparedBases, report: Callable[[int, int], None]
    ) -> Buckets:
        """The sum of every bucket of every set."""
        offsets = entries.offsets
        n_sets, n_buckets = offsets.shape[0], offsets.shape[1] - 1
        n_entries = int((offsets[:, -1] - offsets[:, 0]).sum())
        tasks = np.empty((most_tasks(n_entries, n_sets, TASK_ENTRIES), 5), np.int64)
        n_tasks = plan_tasks(offsets, n_sets, n_buckets, TASK_ENTRIES, tasks)
        n_records = n_sets * n_buckets + n_tasks
        sums = aligned_words(n_records * self.words)
        present = np.zeros(n_records, np.uint8)
        group = self.group.at(bases.table)
        job = BucketTasks(
            entries=entries.refs,
            offsets=offsets,
            tasks=tasks,
            n_tasks=n_tasks,
            limit=TASK_ENTRIES,
            sums=sums.ctypes.data,
            present=present,
            next_task=np.zeros(1, np.int64),
        )
        total = n_tasks + n_sets

        def sum_part() -> None:
            sum_buckets(group, job, self.scratch(TASK_ENTRIES))

        self.pool.workers(
            n_tasks,
            sum_part,
            lambda: report(min(int(job.next_task[0]), n_tasks), total),
            cost_ns=n_entries * ADDITION_NS // max(n_tasks, 1),
        )
        merge_parts(group, job, self.scratch(max(n_tasks, 1)))
        return Buckets(sums, present, n_tasks)

    def scratch(self, n_records: int) -> Scratch:
        """A thread's memory for sums that make up to n_records new records.

        holds : the distance to any table is a whole number of records
        """
        return Scratch(
            arena=aligned_words((n_records + 4 * self.lanes.width) * self.words),
            work=aligned_words(work_words(self.lanes, self.degree)),
        )

    def sorted_entries(self, scalars: U64, infinite: BoolArray, plan: Plan) -> Entries:
        """The nonzero digits of canonical scalars, sorted by bucket."""
        n, per_set = plan.n, plan.n_tables * plan.n
        digits = np.zeros((plan.n_sets * plan.n_tables, n), np.int32)
        rows = digits.reshape(plan.n_sets, plan.n_tables, n).transpose(1, 0, 2)
        flat = digits if plan.n_tables == 1 else None

        def write(first: int, last: int) -> None:
            if flat is not None:
                write_digits(scalars, infinite, first, last, plan.c, plan.n_windows, flat)
                return
            part = np.zeros((plan.n_tables * plan.n_sets, last - first), np.int32)
            write_digits(
                scalars[first:last],
                infinite[first:last],
                0,
                last - first,
                plan.c,
                plan.n_windows,
                part,
            )
            rows[:, :, first:last] = part.reshape(plan.n_tables, plan.n_sets, last - first)

        self.pool.ranges(n, write, cost_ns=DIGIT_NS * plan.n_windows)
        by_set = digits.reshape(plan.n_sets, per_set)
        parts = self.pool.count(per_set, DIGIT_NS)
        parts = min(parts, -(-_JOBS_PER_THREAD * self.pool.n_threads // plan.n_sets))
        job_ns = DIGIT_NS * per_set // parts
        cuts = [per_set * p // parts for p in range(parts + 1)]
        counts = np.zeros((plan.n_sets, parts, plan.n_buckets + 1), np.int64)
        jobs = [(s, p) for s in range(plan.n_sets) for p in range(parts)]

        def count(s: int, p: int) -> None:
            count_digits(by_set[s], cuts[p], cuts[p + 1], counts[s, p])

        self.pool.each(jobs, count, cost_ns=job_ns)
        counts[:, :, 0] = 0
        # entries of a bucket: part after part; positions are exclusive prefix sums in that order
        ordered = counts.transpose(0, 2, 1).reshape(plan.n_sets, -1)
        before = np.zeros_like(ordered)
        np.cumsum(ordered[:, :-1], axis=1, out=before[:, 1:])
        starts = before.reshape(plan.n_sets, plan.n_buckets + 1, parts)
        positions = np.ascontiguousarray(starts.transpose(0, 2, 1))
        totals = ordered.sum(axis=1)
        offsets = np.ascontiguousarray(
            np.concatenate([starts[:, 1:, 0], totals[:, None]], axis=1)
        )  # bucket b has |digit| = b + 1
        entries = np.empty((plan.n_sets, per_set), np.uint32)

        def place(s: int, p: int) -> None:
            place_entries(by_set[s], cuts[p], cuts[p + 1], positions[s, p], entries[s])

        self.pool.each(jobs, place, cost_ns=job_ns)
        return Entries(entries, offsets)


def _check_entries(n: int, n_tables: int) -> None:
    """Entries are references to table records in 32 bits, one of them the sign."""
    if n * n_tables >= 1 << 31:
        raise ValueError(f"MSM: {n_tables} multiples of {n} bases; at most 2^31 - 1 fit")


def _are_infinite(points: U64) -> BoolArray:
    """bool[n]: which records are all zero words."""
    infinite: BoolArray = np.logical_not(np.any(points, axis=1))
    return infinite


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Digits of c bits, n_windows of them in n_sets sets (see the module's docstring)."""

    n: int
    c: int
    n_sets: int
    n_windows: int

    @property
    def n_tables(self) -> int:
        return -(-self.n_windows // self.n_sets)

    @property
    def n_buckets(self) -> int:
        return 1 << (self.c - 1)


def choose_tables(n: int, most_tables: int) -> tuple[int, int, int]:
    """(c, S, T): digit width, sets and tables with the fewest additions for full-width scalars."""
    best, best_cost = (1, SCALAR_BITS, 1), float("inf")
    for c in range(4, MAX_WINDOW + 1):
        n_windows = SCALAR_BITS // c + 1
        n_sets = -(-n_windows // max(min(most_tables, n_windows), 1))
        cost = n_windows * n + _REDUCTION * n_sets * 2 ** (c - 1)
        if cost < best_cost:
            best, best_cost = (c, n_sets, -(-n_windows // n_sets)), cost
    return best


def choose_window(lengths: Int64Array) -> int:
    """The digit width c with the fewest additions for scalars of these bit lengths.

    lengths[b]: how many scalars have b bits. A scalar of b bits has about b/c + 1 nonzero digits,
    less the share 2^-c that is zero; the buckets of all windows are reduced whatever they hold.
    """
    bits = np.flatnonzero(lengths)
    bits = bits[bits > 0]
    longest = int(bits[-1])
    best, best_cost = 1, float("inf")
    for c in range(2, MAX_WINDOW + 1):
        digits = np.ceil((bits + 0.5) / c) * (1 - 2.0**-c)
        n_windows = longest // c + 1
        cost = float((lengths[bits] * digits).sum()) + _REDUCTION * n_windows * 2 ** (c - 1)
        if cost < best_cost:
            best, best_cost = c, cost
    return best
