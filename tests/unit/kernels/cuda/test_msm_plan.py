"""MSM plans: every length and memory size is covered, and footprints are bounds."""

from __future__ import annotations

from itertools import pairwise

import pytest

from kernels.cuda.msm import layout as msm_layout
from kernels.cuda.msm import plan as msm_plan
from kernels.cuda.msm import rounds as msm_rounds
from kernels.cuda.msm.layout import Batch, Place, RoundLayout, plan_batch
from kernels.cuda.msm.plan import (
    MAX_RECORDS,
    MAX_WINDOW,
    MIN_WINDOW,
    SCALAR_BITS,
    TableChoice,
    bound_slices,
    choose_tables,
    choose_window,
    count_windows,
    fixed_bytes,
    merge_shared_bytes,
    plan_lists,
    plan_merges,
    plan_reduction,
    plan_sum,
    widest_window,
)
from kernels.cuda.msm.rounds import Part, Round, SumSize
from kernels.errors import DoesNotFit

SIZES = [*range(1, 40), 100, 255, 256, 257, 1000, *((1 << k) + d for k in range(12, 29) for d in (-1, 0, 1))]  # fmt: skip  # noqa: E501
MEMORY = [1 << k for k in range(20, 38, 2)]
H100, SMALL = 132, 2
MAX_SHARED_BYTES = 48 << 10


def list_parts(batch: Batch) -> list[Part]:
    return [part for layout in batch.rounds for part in layout.plan.parts]


@pytest.mark.parametrize("travels", [False, True])
@pytest.mark.parametrize("degree", [1, 2])
def test_batches_fit_and_cover_every_length(degree: int, travels: bool) -> None:
    for n in SIZES[::3]:
        for memory in (m for m in MEMORY[1:] if m >= 32 * n):
            size = SumSize(n=n, degree=degree, travels=travels)
            batch = plan_batch([size], memory_bytes=memory, n_processors=H100)
            assert batch.n_bytes + batch.task_bytes <= memory
            assert [k for span in batch.spans for k in span] == list(range(len(batch.rounds)))
            parts = list_parts(batch)
            ends = [part.first + part.plan.n for part in parts]
            assert [part.first for part in parts] == [0, *ends[:-1]]
            assert ends[-1] == n
            if len(batch.rounds) > 1:  # not shorter than needed, for a device or its memory
                longest = max(layout.plan.max_entries for layout in batch.rounds)
                assert longest > msm_layout.ROUND_ENTRIES // 4 or 8 * batch.n_bytes > memory


def test_sums_are_packed_in_their_order_and_no_fuller_than_told() -> None:
    sums = [SumSize(n=n, degree=d) for n, d in [(50, 1), (1000, 1), (3, 1), (400, 2), (2, 2)]]
    for entries in (1, 500, 5000, 1 << 24):
        rounds = msm_rounds.pack_rounds(sums, entries, SMALL)
        parts = [part for whole in rounds for part in whole.parts]
        assert [p.index for p in parts] == sorted(p.index for p in parts)
        for i, size in enumerate(sums):
            assert sum(p.plan.n for p in parts if p.index == i) == size.n
        for whole in rounds:
            alone = len(whole.parts) == 1
            assert whole.max_entries <= entries or alone
            assert alone or entries > 1
    assert len(msm_rounds.pack_rounds(sums, 1 << 24, SMALL)) == 1


def list_places(value: object) -> list[Place]:
    """All of a layout, however nested, but those of what it is a layout of."""
    if isinstance(value, Place):
        return [value]
    if isinstance(value, list | tuple):
        return [place for item in value for place in list_places(item)]
    if isinstance(value, dict):
        return list_places(list(value.values()))
    kept = getattr(value, "__dict__", None)
    if kept is None:
        kept = {name: getattr(value, name) for name in getattr(value, "__slots__", ())}
    return [p for name, item in kept.items() if name != "plan" for p in list_places(item)]


def test_nothing_of_a_round_lies_over_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for most_direct in (0, 1 << 12):
        monkeypatch.setattr(msm_rounds, "MAX_DIRECT", most_direct)
        sums = [SumSize(n=n, degree=d) for n, d in [(50, 1), (1000, 1), (400, 2)]]
        (whole,) = msm_rounds.pack_rounds(sums, 1 << 24, SMALL)
        layout = RoundLayout(whole)
        kept = [layout.sort.references, layout.sort.offsets]
        own = [p for p in list_places(layout.sort) if p not in kept]
        for places, n_bytes in (
            (list_places(layout.groups), layout.n_bytes),
            (own, layout.sort.n_bytes),
            (kept, layout.sort.sorted_bytes),
        ):
            assert len(places) > 1
            ordered = sorted((p.at, p.at + p.n_bytes) for p in places if p.n_bytes)
            assert all(end <= start for (_, end), (start, _) in pairwise(ordered))
            assert ordered[-1][1] == n_bytes
        assert {p.at for p in list_places(layout.groups)} >= {0}


@pytest.mark.parametrize("degree", [1, 2])
def test_tables_fit_and_their_digits_reach_every_scalar(degree: int) -> None:
    n_without = 0
    for n in SIZES:
        for memory in (0, n, *MEMORY):
            tables = choose_tables(n, degree, memory // 2, work_bytes=memory // 2)
            if tables is None:
                assert memory // 2 < fixed_bytes(n, degree, 2) or memory == MEMORY[0]
                n_without += 1
                continue
            assert MIN_WINDOW <= tables.c <= MAX_WINDOW
            assert tables.n_tables * n < MAX_RECORDS
            assert tables.n_tables >= 2
            assert fixed_bytes(n, degree, tables.n_tables) <= memory // 2
            n_windows = SCALAR_BITS // tables.c + 1
            assert tables.n_sets * tables.n_tables >= n_windows
            assert tables.n_sets * (tables.n_tables - 1) < n_windows
            own = SumSize(n=n, degree=degree, tables=tables)
            batch = plan_batch([own], memory_bytes=memory // 2, n_processors=H100)
            assert all(part.plan.n_tables <= tables.n_tables for part in list_parts(batch))
    assert 0 < n_without < len(SIZES) * len(MEMORY)


def cost_of(n: int, tables: TableChoice | None) -> float:
    """Additions of a full-width sum; infinite without multiples."""
    if tables is None:
        return float("inf")
    n_windows = SCALAR_BITS // tables.c + 1
    return n_windows * n + msm_plan.REDUCTION * tables.n_sets * (1 << (tables.c - 1))


def test_more_memory_never_costs_more() -> None:
    for n in (9, 1 << 10, 1 << 20):
        memories = [64 * n * k for k in range(1, 16)]
        costs = [cost_of(n, choose_tables(n, 1, m, work_bytes=1 << 40)) for m in memories]
        assert costs == sorted(costs, reverse=True)
        assert costs[-1] < costs[3]


def test_one_bucket_set_for_a_large_key() -> None:
    """GPU_NOTES: 2^20 bases, c = 20, 13 multiples in 0.87 GB."""
    tables = choose_tables(1 << 20, 1, 1 << 30, work_bytes=1 << 30)
    assert tables == TableChoice(c=20, n_sets=1, n_tables=13)
    assert 0.87e9 < fixed_bytes(1 << 20, 1, 13) < 0.88e9


@pytest.mark.parametrize("c", range(MIN_WINDOW, MAX_WINDOW + 1))
def test_windows_hold_the_carry(c: int) -> None:
    n_windows = count_windows(c)
    assert (n_windows - 1) * c <= SCALAR_BITS < n_windows * c
    tables = TableChoice(c=c, n_sets=2, n_tables=SCALAR_BITS // c // 2 + 1)
    plan = plan_sum(1 << 22, 1, tables)
    assert (plan.c, plan.n_sets) == (c, 2)
    assert 1 <= plan.n_tables <= tables.n_tables


@pytest.mark.parametrize("n_processors", [1, SMALL, H100])
def test_parts_and_blocks_of_the_sort(n_processors: int) -> None:
    """Of a sum by itself, and beside another one that needs more parts."""
    wide = TableChoice(c=MAX_WINDOW, n_sets=count_windows(MAX_WINDOW), n_tables=1)
    beside = Part(index=1, first=0, plan=plan_sum(1 << 20, 2, None), travels=False)
    for n in SIZES[::4]:
        for tables in (None, wide):
            plan = plan_sum(n, 1, tables)
            assert plan.n_sums == plan.n_sets * plan.n_buckets
            own = Part(index=0, first=0, plan=plan, travels=False)
            for parts in ((own,), (own, beside)):
                check_sort(Round(parts=parts, n_processors=n_processors), n_processors)


def check_sort(whole: Round, n_processors: int) -> None:
    places = 1 << whole.lg_places
    most = max(part.plan.n_sums for part in whole.parts)
    assert (places == 1) == (most <= msm_rounds.MAX_DIRECT)
    assert places <= 1 << 16  # a place is a word of 16 bits
    assert whole.entries_per_block >= 8 * places
    bucket = block = at = 0
    for part, place in zip(whole.parts, whole.places, strict=True):
        assert (place.first_bucket, place.first_block, place.bases_at) == (bucket, block, at)
        assert (place.n_parts - 1) * places < part.plan.n_sums <= place.n_parts * places
        assert 4 * max(place.n_parts, places) <= MAX_SHARED_BYTES
        assert place.per_block % msm_rounds.SORT_BLOCK == 0
        assert 0 < place.per_block <= msm_rounds.MAX_SCALARS
        bucket += place.n_parts * places
        block += -(-part.plan.n // place.per_block)
        at += place.n_parts * -(-part.plan.n // place.per_block)
    assert (whole.n_buckets, whole.n_blocks) == (bucket, block)


def test_many_scalars_take_wide_digits() -> None:
    assert 14 <= choose_window(1 << 20) <= 18
    assert choose_window(1) == MIN_WINDOW
    for n in SIZES:
        assert MIN_WINDOW <= choose_window(n) <= widest_window(n)


def test_a_key_that_cannot_fit_is_refused_by_name() -> None:
    with pytest.raises(DoesNotFit, match="one base") as refusal:
        plan_batch([SumSize(n=1 << 20, degree=2)], memory_bytes=1000, n_processors=H100)
    assert refusal.value.granted == 1000
    assert refusal.value.needed > 1000


# -- slices, merges, reduction ---------------------------------------------------------------------


def choose_slice(n_entries: int, n_processors: int) -> int:
    """What `slice_length` in src/msm.cuh computes on the device: entries per thread, as few waves
    of equal threads as slices of MAX_SLICE make possible."""
    resident = n_processors * msm_plan.THREADS_PER_PROCESSOR
    n_waves = max(-(-n_entries // (resident * msm_plan.MAX_SLICE)), 1)
    return max(msm_plan.MIN_SLICE, -(-n_entries // (resident * n_waves)))


@pytest.mark.parametrize("n_processors", [1, SMALL, H100])
def test_slices_are_short_and_waves_full(n_processors: int) -> None:
    resident = n_processors * msm_plan.THREADS_PER_PROCESSOR
    for n in SIZES:
        length = choose_slice(n, n_processors)
        assert msm_plan.MIN_SLICE <= length <= msm_plan.MAX_SLICE
        n_slices = -(-n // length)
        if length > msm_plan.MIN_SLICE:
            n_waves = -(-n_slices // resident)
            assert n_slices > resident * n_waves * 0.7


@pytest.mark.parametrize("n_processors", [1, SMALL, H100])
def test_no_number_of_entries_takes_more_slices_than_the_bound(n_processors: int) -> None:
    """The host launches before it knows how many there are."""
    for most in SIZES:
        bound = bound_slices(most, n_processors)
        for n in {most, most - 1, most // 2, most // 3 + 1, most // 17, *range(1, 40)}:
            if 0 < n <= most:
                assert -(-n // choose_slice(n, n_processors)) <= bound


def test_merges_end_with_one_block() -> None:
    for n_slices in (*range(1, 3000), *(1 << k for k in range(12, 24))):
        merges, pieces = plan_merges(n_slices), 2 * n_slices
        for merge in merges:
            assert merge.n_pieces == pieces
            threads = merge.n_blocks << msm_plan.LG_MERGE_BLOCK
            assert (merge.per_thread - 1) * threads < pieces <= merge.per_thread * threads
            assert merge.per_thread <= msm_plan.PER_MERGE_THREAD
            pieces = 2 * merge.n_blocks
        assert (merges == []) == (n_slices == 1)
        assert n_slices == 1 or merges[-1].n_blocks == 1
        assert len(merges) <= 1 + (n_slices > 512) + (n_slices > 1 << 18)
    assert max(map(merge_shared_bytes, (1, 2))) <= MAX_SHARED_BYTES


@pytest.mark.parametrize("c", range(MIN_WINDOW, MAX_WINDOW + 1))
def test_reduction_steps(c: int) -> None:
    """Sets of two sums, one of fewer buckets: every bit of the index is weighed once."""
    for n_sets in (1, 2, 13, 64, 127):
        for lesser in (c, max(c - 4, MIN_WINDOW)):
            lg_sizes = [c - 1] * n_sets + [lesser - 1]
            firsts = [sum(1 << k for k in lg_sizes[:s]) for s in range(len(lg_sizes))]
            check_reduction(firsts, lg_sizes)


def check_reduction(firsts: list[int], lg_sizes: list[int]) -> None:
    reduction = plan_reduction(firsts, lg_sizes)
    first, n = firsts, [1 << k for k in lg_sizes]
    for step in reduction.steps:
        assert sum(n) >= msm_plan.LEAST_REDUCED
        assert step.sets[:, 0].tolist() == first
        assert step.sets[:, 2].tolist() == n
        first = step.sets[:, 1].tolist()
        n = (step.sets[:, 2] >> step.sets[:, 3]).tolist()
        assert first == [sum(n[:s]) for s in range(len(n))]
        assert (step.longest, step.total) == (max(n), sum(n))
    assert sum(n) < msm_plan.LEAST_REDUCED or max(n) == 1
    assert reduction.left[:, 2].tolist() == n
    assert reduction.lists[0].n == max(n)
    n_steps = len(reduction.steps)
    for own, lg_size, lg_left in zip(reduction.exponents, lg_sizes, n, strict=True):
        bits = lg_left.bit_length() - 1
        assert len(own) == reduction.n_lists + bits <= reduction.n_out
        assert list(own[len(own) - bits :]) == list(range(lg_size - bits, lg_size))
        assert own[0] == 0
        chunks = [b - a for a, b in pairwise((*own[:n_steps], lg_size - bits))]
        assert all(0 <= k <= 3 for k in chunks)


def test_lists_end_with_one_sum() -> None:
    for n in (*range(1, 3000), *(1 << k for k in range(12, 21))):
        steps, left = plan_lists(n), n
        for step in steps:
            assert step.n == left
            threads = step.n_after << step.lg_block
            assert 1 << step.lg_block <= 128
            assert threads * (step.per_thread - 1) < left <= threads * step.per_thread
            assert step.per_thread <= msm_plan.PER_LIST_THREAD
            left = step.n_after
        assert left == 1
        assert len(steps) <= 1 + (n > 1024) + (n > 1 << 20)
