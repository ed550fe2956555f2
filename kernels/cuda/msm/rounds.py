"""Which sums go to a device together.

Sums are cut into parts, parts are packed into rounds: a round is sorted, summed and reduced with
one launch for each stage, whatever sums it is of. Of several rounds the next one is sorted, and
bases that travel are sent, while one is summed.

A sum of G2 may have the scalars of one of G1, with the same digits: the second point of a proof is
needed in both groups. Then both are cut alike, go into the same rounds, and are sorted once. The
buckets of a group are neighbours: those of G1 alone come first, then those of both, then of G2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from kernels.cuda.launch.runtime import ceil_div
from kernels.cuda.msm.plan import (
    Merge,
    MsmPlan,
    Reduction,
    TableChoice,
    bound_slices,
    plan_merges,
    plan_reduction,
    plan_sum,
)

SORT_BLOCK = 256  # threads of a block that sorts
MAX_SCALARS = 4096  # of such a block
SORT_BLOCKS = 8  # of them for each processor, while they get no more
MAX_DIRECT = 1 << 12  # buckets that are sorted by at once: a block counts each of them
PER_PLACE = 8  # entries of a block for each bucket of a part, at least
MIN_ENTRIES = 1 << 13  # of a block, then
DEGREES = (1, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class SumSize:
    """n scalars times n bases of G1 (degree 1) or G2 (2).

    tables      : digits that prepared bases fix; None for bases without multiples
    travels     : the bases are on the host, and not in one piece on the device
    sorted_with : of G2: the number of the sum of G1 that has the same scalars, `tables` and
                  `travels`; None for one that is sorted for itself
    """

    n: int
    degree: int
    tables: TableChoice | None = None
    travels: bool = False
    sorted_with: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Scalars first ... first + plan.n - 1 of one of the sums; see `SumSize`."""

    index: int
    first: int
    plan: MsmPlan
    travels: bool
    sorted_with: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartPlace:
    """Where a part's buckets, blocks and counters are among those of its round.

    bases_at : of the words that say, for each block and part of the sort, what others have before
    """

    first_bucket: int
    n_parts: int
    first_block: int
    per_block: int
    bases_at: int


@dataclass(frozen=True, kw_only=True)
class Round:
    """Parts that are sorted, summed and reduced together: of G1 alone, then of G1 what others are
    sorted with, then those others, then of G2 alone."""

    parts: tuple[Part, ...]
    n_processors: int

    @cached_property
    def sorted(self) -> tuple[int, ...]:
        """The parts that are sorted for themselves."""
        return tuple(k for k, part in enumerate(self.parts) if part.sorted_with is None)

    @cached_property
    def leads(self) -> frozenset[int]:
        """The parts that others are sorted with."""
        wanted = {(part.sorted_with, part.first) for part in self.parts}
        return frozenset(k for k in self.sorted if _key(self.parts[k]) in wanted)

    @cached_property
    def lg_places(self) -> int:
        """2^lg_places neighbouring buckets are a part of the sort: about as many as a sum has
        parts. 0: few buckets are parts themselves, and nothing is left to sort inside them."""
        most = max(part.plan.n_sums for part in self.parts)
        return 0 if most <= MAX_DIRECT else ceil_div((most - 1).bit_length(), 2)

    @cached_property
    def places(self) -> tuple[PartPlace, ...]:
        """Of each part; two that are sorted together have the same."""
        found = dict[tuple[int, int], PartPlace]()
        bucket, block, at = 0, 0, 0
        for part in (self.parts[k] for k in self.sorted):
            n_parts = ceil_div(part.plan.n_sums, 1 << self.lg_places)
            per_block = scalars_per_block(part.plan.n, self.n_processors)
            found[_key(part)] = PartPlace(
                first_bucket=bucket,
                n_parts=n_parts,
                first_block=block,
                per_block=per_block,
                bases_at=at,
            )
            n_blocks = ceil_div(part.plan.n, per_block)
            bucket += n_parts << self.lg_places
            block += n_blocks
            at += n_blocks * n_parts
        alike = [(part.sorted_with, part.first) for part in self.parts]
        return tuple(
            found[_key(part) if index is None else (index, first)]
            for part, (index, first) in zip(self.parts, alike, strict=True)
        )

    @cached_property
    def n_blocks(self) -> int:
        """Of those that sort scalars."""
        last = self.sorted[-1]
        place = self.places[last]
        return place.first_block + ceil_div(self.parts[last].plan.n, place.per_block)

    @property
    def n_bases(self) -> int:
        """Words that say what other blocks have before, of all blocks."""
        last = self.places[self.sorted[-1]]
        return last.bases_at + last.n_parts * (self.n_blocks - last.first_block)

    @cached_property
    def n_parts(self) -> int:
        """Of the sort, which entries are sorted by first."""
        return sum(self.places[k].n_parts for k in self.sorted)

    @property
    def n_buckets(self) -> int:
        """Buckets of all parts; those that fill up a part of the sort stay empty."""
        return self.n_parts << self.lg_places

    @property
    def max_entries(self) -> int:
        """That are sorted."""
        return sum(self.parts[k].plan.max_entries for k in self.sorted)

    @property
    def entries_per_block(self) -> int:
        """Of a block that sorts by buckets: so many that its counters are a small part of it."""
        return max(MIN_ENTRIES, PER_PLACE << self.lg_places)

    @cached_property
    def groups(self) -> tuple[GroupPlan, ...]:
        """The parts of each group that has some."""
        found = []
        for degree in DEGREES:
            own = [k for k, part in enumerate(self.parts) if part.plan.degree == degree]
            if own:
                found.append(GroupPlan(self, degree, own))
        return tuple(found)


class GroupPlan:
    """What a round has of one group: buckets first_bucket ... last_bucket - 1 of it, and sets.

    parts : their indices in the round; sets: how many each has, one after the other
    """

    def __init__(self, whole: Round, degree: int, parts: Sequence[int]) -> None:
        places, plans = whole.places, [whole.parts[k].plan for k in parts]
        last = places[parts[-1]]
        self.degree, self.parts = degree, tuple(parts)
        self.first_bucket = places[parts[0]].first_bucket
        self.last_bucket = last.first_bucket + (last.n_parts << whole.lg_places)
        self.n_sets = [plan.n_sets for plan in plans]
        self.n_slices = bound_slices(sum(p.max_entries for p in plans), whole.n_processors)
        self.merges: list[Merge] = plan_merges(self.n_slices)
        firsts, lg_sizes = list[int](), list[int]()
        for k, plan in zip(parts, plans, strict=True):
            start = places[k].first_bucket - self.first_bucket
            firsts += range(start, start + plan.n_sums, plan.n_buckets)
            lg_sizes += [plan.c - 1] * plan.n_sets
        self.reduction: Reduction = plan_reduction(firsts, lg_sizes)

    @property
    def n_points(self) -> int:
        """That come to the host."""
        return sum(self.n_sets) * self.reduction.n_out


def scalars_per_block(n: int, n_processors: int) -> int:
    """Of a block that sorts by parts: long runs of a part, yet work for every processor."""
    wanted = ceil_div(n, SORT_BLOCKS * n_processors)
    return min(ceil_div(wanted, SORT_BLOCK) * SORT_BLOCK, MAX_SCALARS)


def pack_rounds(sums: Sequence[SumSize], entries: int, n_processors: int) -> list[Round]:
    """Sums, each of n >= 1 scalars and those of G1 first, in rounds of at most `entries` that are
    sorted; rounds of a single sort may have more, at least one scalar's."""
    rounds: list[list[list[Part]]] = []
    left = 0
    for together in _list_sorts(sums):
        cut = (_cut(k, sums[k], entries) for k in together)
        for own in map(list, zip(*cut, strict=True)):
            n_entries = own[0].plan.max_entries
            if not rounds or n_entries > left:
                rounds.append([])
                left = entries
            rounds[-1].append(own)
            left -= n_entries
    return [Round(parts=_order(own), n_processors=n_processors) for own in rounds]


def _list_sorts(sums: Sequence[SumSize]) -> list[list[int]]:
    """Sums that are sorted together: those of G1 alone, pairs, those of G2 alone."""
    second = {size.sorted_with: k for k, size in enumerate(sums) if size.sorted_with is not None}
    alone = [k for k, size in enumerate(sums) if size.sorted_with is None and k not in second]
    of_g1 = [[k] for k in alone if sums[k].degree == 1]
    pairs = [[k, second[k]] for k in range(len(sums)) if k in second]
    return [*of_g1, *pairs, *([k] for k in alone if sums[k].degree == 2)]


def _order(sorts: Sequence[Sequence[Part]]) -> tuple[Part, ...]:
    """The parts of a round, as `Round` says, of sorts in the order of `_list_sorts`."""
    first = [own[0] for own in sorts if own[0].plan.degree == 1]
    second = [own[1] for own in sorts if len(own) == 2]
    return (*first, *second, *(own[0] for own in sorts if own[0].plan.degree == 2))


def _key(part: Part) -> tuple[int, int]:
    return part.index, part.first


def _cut(index: int, size: SumSize, entries: int) -> list[Part]:
    """The sum in equal parts of at most `entries`, if a part of one scalar has no more."""
    whole = plan_sum(size.n, size.degree, size.tables)
    n_parts = min(ceil_div(whole.max_entries, max(entries, 1)), size.n)
    n_each = ceil_div(size.n, n_parts)
    parts = []
    for first in range(0, size.n, n_each):
        plan = plan_sum(min(n_each, size.n - first), size.degree, size.tables)
        parts.append(
            Part(
                index=index,
                first=first,
                plan=plan,
                travels=size.travels,
                sorted_with=size.sorted_with,
            )
        )
    return parts
