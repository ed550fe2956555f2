"""Where in a device's memory everything of a batch of sums lies, and batches that fit.

Pure functions of sizes. The footprint is the layout's own length, for any scalars, so a batch that
fits never fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from kernels.cuda.launch.places import ALIGNMENT, Place, Room
from kernels.cuda.launch.runtime import ceil_div
from kernels.cuda.msm.plan import plan_sum, record_bytes
from kernels.cuda.msm.rounds import GroupPlan, Part, Round, SumSize, pack_rounds
from kernels.errors import DoesNotFit

ROUND_ENTRIES = 1 << 24  # most of a round: long enough to fill a device, and to hide the next sort
KEPT = 32  # layouts
AT_ONCE = 16  # rounds whose points come down together, if memory is not short
JOB_BYTES, SET_BYTES = 64, 16  # of src/jobs.cuh and src/msm.cuh
N_BUFFERS = 2  # of what one round leaves to the next stage while another is made


class SortLayout:
    """Arrays of a round's sort. The first `cleared` bytes are zero before it starts; what the sums
    read, `sorted_bytes`, has memory of its own."""

    def __init__(self, whole: Round) -> None:
        self.plan, room, lg = whole, Room(), whole.lg_places
        self.zero = room.take((1,), np.uint32)
        self.part_sizes = room.take((whole.n_parts,), np.uint32)
        self.bucket_sizes = room.take((whole.n_buckets if lg else 0,), np.uint32)
        self.cleared = room.at
        self.part_bases = room.take((whole.n_bases,), np.uint32)
        n_rows = ceil_div(whole.max_entries, whole.entries_per_block) + whole.n_parts
        two = 1 if lg else 0  # of these there are some if the sort has two halves
        self.starts = room.take((two * (whole.n_parts + 1),), np.uint32)
        self.bucket_bases = room.take((two * (n_rows << lg),), np.uint32)
        self.by_part = room.take((two * whole.max_entries,), np.uint32)
        self.places = room.take((two * whole.max_entries,), np.uint16)
        self.n_bytes = room.at
        kept = Room()
        self.references = kept.take((whole.max_entries,), np.uint32)
        self.offsets = kept.take((whole.n_buckets + 1,), np.uint32)
        self.sorted_bytes = kept.at


@dataclass(frozen=True, slots=True)
class Pieces:
    """Buckets and sums of pieces."""

    buckets: Place
    sums: Place


class GroupLayout:
    """Arrays of a group's sums: buckets, pieces and what the reduction makes."""

    def __init__(self, group: GroupPlan, room: Room, sums: Place) -> None:
        self.plan, self.sums = group, sums
        words, n_sets = 16 * group.degree, sum(group.n_sets)
        n_pieces = [2 * group.n_slices, *(2 * m.n_blocks for m in group.merges[:-1])]
        self.pieces = [
            Pieces(room.take((n,), np.uint32), room.take((n, words), np.uint64)) for n in n_pieces
        ]
        reduction = group.reduction
        self.steps = [
            (
                room.take(((k + 1) * s.total, words), np.uint64),
                room.take((s.total, words), np.uint64),
            )
            for k, s in enumerate(reduction.steps)
        ]
        self.lists = [
            room.take((n_sets * reduction.n_out * step.n_after, words), np.uint64)
            for step in reduction.lists
        ]
        self.products = room.take((group.n_points, words // 4), np.uint64)


class RoundLayout:
    """Arrays of a round. The bucket sums of all groups are the first `cleared` bytes."""

    def __init__(self, whole: Round) -> None:
        self.plan, self.sort, room = whole, SortLayout(whole), Room()
        sums = [
            room.take((g.last_bucket - g.first_bucket, 16 * g.degree), np.uint64)
            for g in whole.groups
        ]
        self.cleared = room.at
        self.groups = [GroupLayout(g, room, s) for g, s in zip(whole.groups, sums, strict=True)]
        self.n_bytes = room.at
        travelling, self.tables = Room(), dict[int, Place]()
        for k, part in enumerate(whole.parts):
            if part.travels:
                words = record_bytes(part.plan.degree) // 8
                self.tables[k] = travelling.take((part.plan.n, words), np.uint64)
        self.table_bytes = travelling.at

    def take_results(self, room: Room) -> tuple[Place, ...]:
        """Room for the points of each group."""
        groups = self.plan.groups
        return tuple(room.take((g.n_points, 8 * g.degree), np.uint64) for g in groups)

    @property
    def task_bytes(self) -> int:
        """Of the round's jobs and sets, at most."""
        n_bytes = JOB_BYTES * (len(self.plan.sorted) + 1) + ALIGNMENT
        for group in self.plan.groups:
            n_bytes += JOB_BYTES * (len(group.parts) + 1) + ALIGNMENT
            n_stages = len(group.reduction.steps) + len(group.reduction.lists)
            n_bytes += n_stages * (SET_BYTES * sum(group.n_sets) + ALIGNMENT)
        return n_bytes


class Batch:
    """All rounds, and the memory that serves them one after the other.

    spans      : rounds whose points come down together; most batches are one
    refused    : how many scalars are not below r, the first word of what comes down
    results    : of each round and each of its groups, the points that come down behind it
    task_bytes : of what kernels are told of a span, which is sent in a piece by itself
    """

    def __init__(self, rounds: Sequence[RoundLayout], at_once: int = AT_ONCE) -> None:
        self.rounds = tuple(rounds)
        n_rounds, room = len(self.rounds), Room()
        self.spans = [range(k, min(k + at_once, n_rounds)) for k in range(0, n_rounds, at_once)]
        self.refused = room.take((1,), np.uint32)
        self.results: list[tuple[Place, ...]] = []
        ends = []
        for span in self.spans:
            down = Room(room.at)
            self.results += [self.rounds[k].take_results(down) for k in span]
            ends.append(down.at)
        room.at = self.down_bytes = max(ends)
        self.sort_at = _region(room, [r.sort.n_bytes for r in self.rounds])
        self.sums_at = _region(room, [r.n_bytes for r in self.rounds])
        n_buffers = min(n_rounds, N_BUFFERS)
        kept, sent = ([r.sort.sorted_bytes for r in rounds], [r.table_bytes for r in rounds])
        self.sorted_at = [_region(room, kept) for _ in range(n_buffers)]
        self.tables_at = [_region(room, sent) for _ in range(n_buffers)]
        self.n_bytes = room.at
        self.task_bytes = max(sum(self.rounds[k].task_bytes for k in s) for s in self.spans)

    @property
    def travels(self) -> bool:
        """Whether some bases are sent meanwhile."""
        return any(layout.tables for layout in self.rounds)


def _region(room: Room, sizes: Sequence[int]) -> int:
    """Where room for the largest of these begins."""
    return room.take((max(sizes),), np.uint8).at


def plan_batch(sums: Sequence[SumSize], *, memory_bytes: int, n_processors: int) -> Batch:
    """The rounds of sums, each of n >= 1 scalars, those of G1 first.

    memory_bytes : free on the device
    errors       : DoesNotFit if the memory is too small for a single base
    """
    entries = ROUND_ENTRIES
    while True:
        for at_once in (AT_ONCE, 1):
            batch = _lay_out(tuple(sums), entries, at_once, n_processors)
            if batch.n_bytes + batch.task_bytes <= memory_bytes:
                return batch
        if entries == ROUND_ENTRIES:
            for size in sums:
                _require_one(size, memory_bytes, n_processors)
        rounds = [layout.plan for layout in batch.rounds]
        if all(part.plan.n == 1 for whole in rounds for part in whole.parts):
            raise DoesNotFit(what="a sum", needed=batch.n_bytes, granted=memory_bytes)
        entries = min(entries // 2, max(whole.max_entries for whole in rounds) - 1)


@lru_cache(maxsize=KEPT)
def _lay_out(sums: tuple[SumSize, ...], entries: int, at_once: int, n_processors: int) -> Batch:
    """Rounds of at most `entries`, if a scalar has no more; proofs under a key have the same."""
    rounds = pack_rounds(sums, entries, n_processors)
    return Batch([RoundLayout(own) for own in rounds], at_once)


def _require_one(size: SumSize, memory_bytes: int, n_processors: int) -> None:
    """DoesNotFit unless there is room for one scalar and its base."""
    plan = plan_sum(1, size.degree, size.tables)
    part = Part(index=0, first=0, plan=plan, travels=size.travels)
    one = Round(parts=(part,), n_processors=n_processors)
    needed = Batch([RoundLayout(one)] * 2).n_bytes
    if needed > memory_bytes:
        raise DoesNotFit(what="an MSM of one base", needed=needed, granted=memory_bytes)
