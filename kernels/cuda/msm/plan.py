"""How an MSM is cut up for a device: digits, tables, slices, merges and reduction.

Pure arithmetic on sizes; `kernels.cuda.msm.rounds` says what lies where, `kernels.cuda.msm.sums`
carries it out. In short (see there): scalars become signed c-bit digits in W windows; with T
precomputed multiples of each base the windows fall into S = ceil(W / T) sets of 2^(c-1) buckets;
the sorted entries are summed in slices of equal length, whatever the scalars are; buckets are
joined by running sums over short chunks.

No plan looks at a scalar: a device starts all of a sum before the host knows anything of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kernels.cuda.launch.runtime import ceil_div
from kernels.numpy_types import UInt32Array

SCALAR_BITS = 253  # of min(s, r - s)
MIN_WINDOW, MAX_WINDOW = 2, 22
MIN_SLICE, MAX_SLICE = 8, 128  # entries per thread
THREADS_PER_PROCESSOR = 512  # resident ones, with up to 128 registers each
MAX_RECORDS = 1 << 31  # a reference has 31 bits and a sign
REDUCTION = 2.8  # mixed additions that one bucket costs in the reduction


@dataclass(frozen=True, slots=True, kw_only=True)
class TableChoice:
    """Digits fixed by a key: width c, S sets, T multiples 2^(c S j) of each base, j < T."""

    c: int
    n_sets: int
    n_tables: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MsmPlan:
    """The digits of n scalars.

    degree : 1 for G1, 2 for G2
    c      : bits of a digit; |digit| <= 2^(c-1)
    n_sets : S; window w = j S + t goes with table j into bucket set t
    """

    n: int
    degree: int
    c: int
    n_sets: int

    @property
    def n_windows(self) -> int:
        """W; c W exceeds the bits of every min(s, r - s)."""
        return count_windows(self.c)

    @property
    def n_tables(self) -> int:
        """Multiples of each base that the digits refer to."""
        return ceil_div(self.n_windows, self.n_sets)

    @property
    def n_buckets(self) -> int:
        """Buckets of one set: bucket b is for |digit| = b + 1."""
        return 1 << (self.c - 1)

    @property
    def n_sums(self) -> int:
        """Bucket sums, set by set."""
        return self.n_sets * self.n_buckets

    @property
    def max_entries(self) -> int:
        """Most nonzero digits."""
        return self.n * self.n_windows


def count_windows(c: int) -> int:
    """Digits of c bits in a scalar: its bits and one more, for the carry."""
    return SCALAR_BITS // c + 1


def record_bytes(degree: int) -> int:
    """An affine point."""
    return 64 * degree


def point_bytes(degree: int) -> int:
    """A point as sums have it."""
    return 128 * degree


def fixed_bytes(n: int, degree: int, n_tables: int) -> int:
    """Memory of prepared bases: the tables, and a byte for each base (is it infinite?)."""
    return n * (record_bytes(degree) * n_tables + 1)


def choose_tables(n: int, degree: int, max_bytes: int, *, work_bytes: int) -> TableChoice | None:
    """The cheapest digits for n full-width scalars with multiples that fit into `max_bytes`.

    work_bytes : what a sum may use besides; buckets take at most a quarter of it
    returns    : None if not even two multiples fit
    """
    affordable = max(max_bytes // max(n, 1) - 1, 0) // record_bytes(degree)
    most = min(affordable, (MAX_RECORDS - 1) // max(n, 1))
    best, best_cost = None, float("inf")
    for c in range(MIN_WINDOW, MAX_WINDOW + 1):
        n_windows = count_windows(c)
        if most < 2:
            break
        n_sets = ceil_div(n_windows, min(most, n_windows))
        n_tables = ceil_div(n_windows, n_sets)
        cost = n_windows * n + REDUCTION * n_sets * (1 << (c - 1))
        buckets = n_sets * point_bytes(degree) << (c - 1)
        if cost < best_cost and 4 * buckets <= work_bytes:
            best = TableChoice(c=c, n_sets=n_sets, n_tables=n_tables)
            best_cost = cost
    return best


def widest_window(n: int) -> int:
    """The greatest width worth a thought for n scalars: no more buckets in a set than scalars."""
    return min(max(n.bit_length(), MIN_WINDOW), MAX_WINDOW)


def choose_window(n: int) -> int:
    """The width with the fewest additions for n scalars of full width."""

    def cost(c: int) -> float:
        return count_windows(c) * (n * (1 - 2.0**-c) + REDUCTION * (1 << (c - 1)))

    return min(range(MIN_WINDOW, widest_window(n) + 1), key=cost)


def plan_sum(n: int, degree: int, tables: TableChoice | None) -> MsmPlan:
    """The digits of n >= 1 scalars.

    tables : digits that a key fixes; None: bases as they are, digits that suit their number
    """
    if tables is not None:
        return MsmPlan(n=n, degree=degree, c=tables.c, n_sets=tables.n_sets)
    c = choose_window(n)
    return MsmPlan(n=n, degree=degree, c=c, n_sets=count_windows(c))


# -- slices and merges -----------------------------------------------------------------------------


def bound_slices(max_entries: int, n_processors: int) -> int:
    """Slices that up to `max_entries` entries may take: the device, which alone knows how many
    there are, makes them as `slice_length` in src/msm.cuh says."""
    resident = n_processors * THREADS_PER_PROCESSOR
    n_waves = max(ceil_div(max_entries, resident * MAX_SLICE), 1)
    return min(ceil_div(max_entries, MIN_SLICE), resident * n_waves)


LG_MERGE_BLOCK = 6  # threads of a block that merges pieces
PER_MERGE_THREAD = 16  # pieces of such a thread, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """Pieces become two for each block of `merge_pieces`, of a single block none."""

    n_pieces: int
    n_blocks: int
    per_thread: int


def plan_merges(n_slices: int) -> list[Merge]:
    """Merges of two pieces per slice, until nothing is left to merge; one slice leaves nothing."""
    merges: list[Merge] = []
    n_pieces = 2 * n_slices
    while n_slices > 1 and (not merges or merges[-1].n_blocks > 1):
        n_blocks = ceil_div(n_pieces, PER_MERGE_THREAD << LG_MERGE_BLOCK)
        per_thread = ceil_div(n_pieces, n_blocks << LG_MERGE_BLOCK)
        merges.append(Merge(n_pieces=n_pieces, n_blocks=n_blocks, per_thread=per_thread))
        n_pieces = 2 * n_blocks
    return merges


def merge_shared_bytes(degree: int) -> int:
    """Of a block that merges: two points and a key for each thread, and a word."""
    return ((2 * point_bytes(degree) + 4) << LG_MERGE_BLOCK) + 4


# -- reduction -------------------------------------------------------------------------------------

LEAST_REDUCED = 1 << 16  # sums, of which each bit of their index is worth half a sum of all
LG_LIST_BLOCK = 7  # threads of a block that sums lists
PER_LIST_THREAD = 8  # elements of such a thread


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One launch of `reduce_step`, over all sets of a group.

    sets    : uint32[n_sets, 4]: where the sums of a set begin, where those that it leaves do, how
              many it has, and lg of how many of them become one
    longest : most sums that a set has left
    total   : sums that all sets have left
    """

    sets: UInt32Array
    longest: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ListStep:
    """n elements of every list become n_after by `sum_lists`."""

    n: int
    n_after: int
    per_thread: int
    lg_block: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reduction:
    """From bucket sums to n_out points of each set.

    steps     : maybe none
    left      : what they leave of each set, as `Step.sets`
    lists     : at least one
    after     : for each of `lists` but the first, as `Step.sets`
    exponents : of each set: its point k counts 2^exponents[k]; points behind those are infinite
    """

    steps: tuple[Step, ...]
    left: UInt32Array
    lists: tuple[ListStep, ...]
    after: tuple[UInt32Array, ...]
    exponents: tuple[tuple[int, ...], ...]

    @property
    def n_lists(self) -> int:
        """Sums of each set that are plain: those of the steps, else that of all buckets."""
        return max(len(self.steps), 1)

    @property
    def n_out(self) -> int:
        """Points of each set."""
        return max(map(len, self.exponents))


def plan_reduction(firsts: Sequence[int], lg_sizes: Sequence[int]) -> Reduction:
    """Running sums over chunks while many sums are left, then sums over each bit of the index.

    firsts, lg_sizes : where the 2^k bucket sums of each set begin, and k
    Long chunks need the fewest additions, short ones the least time on an idle device.
    """
    steps: list[Step] = []
    first, lg = np.array(firsts, np.int64), np.array(lg_sizes, np.int64)
    exponents: list[list[int]] = [[] for _ in firsts]
    reached = np.zeros_like(lg)
    while lg.max() > 0 and (1 << lg).sum() >= LEAST_REDUCED:
        wanted = 3 if (1 << lg).sum() >= 4 * LEAST_REDUCED else 2
        chunk = np.minimum(wanted, lg)
        n_after = 1 << (lg - chunk)
        after = np.cumsum(n_after) - n_after
        sets = np.stack([first, after, 1 << lg, chunk], axis=1).astype(np.uint32)
        steps.append(Step(sets, int(n_after.max()), int(n_after.sum())))
        for own, at in zip(exponents, reached.tolist(), strict=True):
            own.append(at)
        first, lg, reached = after, lg - chunk, reached + chunk
    if not steps:  # all count from 1 on: by their index, and once more
        for own in exponents:
            own.append(0)
    for own, at, bits in zip(exponents, reached.tolist(), lg.tolist(), strict=True):
        own.extend(range(at, at + bits))
    lists = plan_lists(1 << int(lg.max()))
    each = max(map(len, exponents))
    after_lists = tuple(
        _even_sets(len(firsts), step.n) for step in lists[1:]
    )  # a set of the first list step has `each` lists of one length
    assert each >= 1
    return Reduction(
        steps=tuple(steps),
        left=np.stack([first, first, 1 << lg, 0 * lg], axis=1).astype(np.uint32),
        lists=tuple(lists),
        after=after_lists,
        exponents=tuple(map(tuple, exponents)),
    )


def _even_sets(n_sets: int, n: int) -> UInt32Array:
    """Sets of n elements in each list, one behind the other."""
    first = np.arange(n_sets, dtype=np.uint32) * np.uint32(n)
    return np.stack([first, first, np.full_like(first, n), np.zeros_like(first)], axis=1)


def plan_lists(n: int) -> list[ListStep]:
    """Steps from lists of at most n elements to single sums, at least one."""
    steps: list[ListStep] = []
    while n > 1 or not steps:
        lg_block = min(LG_LIST_BLOCK, max(n - 1, 1).bit_length() - 1)
        n_after = ceil_div(n, PER_LIST_THREAD << lg_block)
        per_thread = ceil_div(n, n_after << lg_block)
        steps.append(ListStep(n=n, n_after=n_after, per_thread=per_thread, lg_block=lg_block))
        n = n_after
    return steps
