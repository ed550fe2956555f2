"""MSM plans: every length and memory size is covered, and footprints are bounds."""

from __future__ import annotations

import pytest

from kernels.cuda.msm import plan as msm_plan
from kernels.cuda.msm.plan import (
    MAX_ENTRIES,
    MAX_RECORDS,
    MAX_WINDOW,
    MERGE,
    MIN_WINDOW,
    SCALAR_BITS,
    Budget,
    TableChoice,
    choose_slice,
    choose_tables,
    choose_window,
    count_buffers,
    fixed_bytes,
    plan_chunks,
    plan_lists,
    plan_longest,
    plan_merges,
    plan_pass,
    plan_reduction,
    widest_window,
)
from kernels.errors import DoesNotFit

SIZES = [*range(1, 40), 100, 255, 256, 257, 1000, *((1 << k) + d for k in range(12, 29) for d in (-1, 0, 1))]  # fmt: skip  # noqa: E501
MEMORY = [1 << k for k in range(20, 38, 2)]
H100, SMALL = 132, 2
MAX_SHARED_BYTES = 48 << 10


def lengths_of(*bits: int) -> list[int]:
    return [bits.count(b) for b in range(SCALAR_BITS + 1)]


@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize("memory", MEMORY)
def test_chunks_fit_and_cover_every_length(memory: int, degree: int) -> None:
    for n in SIZES:
        size, budget = plan_chunks(n, degree, memory_bytes=memory, n_processors=H100)
        assert 1 <= size <= n
        plan = plan_longest(size, degree, None)
        assert (
            plan.work_bytes(H100) + count_buffers(n, size) * fixed_bytes(size, degree, 1) <= memory
        )
        assert plan.max_entries < MAX_ENTRIES
        if size < n:  # not smaller than needed: twice as many would not do
            twice = min(2 * size, n)
            whole = plan_longest(twice, degree, None)
            bases = count_buffers(n, twice) * (fixed_bytes(twice, degree, 1) + 1024)
            fits = whole.work_bytes(H100) + bases <= memory
            assert not fits or whole.max_entries >= MAX_ENTRIES
        last = n % size or size
        for bits in (1, 2, 16, SCALAR_BITS):
            short = plan_pass(last, degree, lengths_of(*[bits] * 3), tables=None, budget=budget)
            assert budget.allows(short)


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
            size, budget = plan_chunks(
                n,
                degree,
                memory_bytes=memory // 2,
                n_processors=H100,
                tables=tables,
                resident=True,
            )
            plan = plan_longest(size, degree, tables)
            assert budget.allows(plan)
            assert plan.n_tables <= tables.n_tables
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
    """The largest magnitude of each length: all ones; one bit more is left for the carry."""
    for longest in range(1, SCALAR_BITS + 1):
        tables = TableChoice(c=c, n_sets=2, n_tables=SCALAR_BITS // c // 2 + 1)
        budget = Budget(work_bytes=1 << 62, n_processors=1)
        plan = plan_pass(1 << 22, 1, lengths_of(longest), tables=tables, budget=budget)
        assert plan.c == c
        assert (plan.n_windows - 1) * c <= longest < plan.n_windows * c
        assert 1 <= plan.n_tables <= tables.n_tables


@pytest.mark.parametrize("n_processors", [1, SMALL, H100])
def test_parts_and_blocks_of_the_sort(n_processors: int) -> None:
    budget = Budget(work_bytes=1 << 62, n_processors=1)
    wide = TableChoice(c=MAX_WINDOW, n_sets=SCALAR_BITS // MAX_WINDOW + 1, n_tables=1)
    for n in SIZES:
        for tables in (None, wide):
            plan = plan_pass(n, 1, lengths_of(1, 17, 253), tables=tables, budget=budget)
            assert plan.n_sums == plan.n_sets * plan.n_buckets
            places = 1 << plan.lg_places
            assert (plan.n_parts - 1) * places < plan.n_sums <= plan.n_parts * places
            assert 4 * max(plan.n_parts, places) <= MAX_SHARED_BYTES
            assert (places == 1) == (plan.n_sums <= msm_plan.MAX_DIRECT)
            assert plan.entries_per_block >= 8 * places
            per_block = plan.scalars_per_block(n_processors)
            assert per_block % msm_plan.SORT_BLOCK == 0
            assert 0 < per_block <= msm_plan.MAX_SCALARS
            counters = 4 * plan.n_parts * -(-n // per_block)  # less than a bit a digit and bucket
            assert counters <= 4 * plan.n_sums + n * plan.n_windows * 4


def test_small_scalars_take_wide_digits_and_long_ones_many() -> None:
    budget = Budget(work_bytes=1 << 62, n_processors=1)
    n = 1 << 20
    small = [0] * 17
    small[16] = n
    assert plan_pass(n, 1, small, tables=None, budget=budget).n_windows == 1
    full = [0] * 254
    full[253] = n
    assert 14 <= plan_pass(n, 1, full, tables=None, budget=budget).c <= 18


def test_a_budget_narrows_the_digits() -> None:
    n = 1 << 16
    full = [0] * 253 + [n]
    rich = plan_pass(n, 1, full, tables=None, budget=Budget(work_bytes=1 << 40, n_processors=H100))
    least = min(
        msm_plan._plan(n, 1, c, SCALAR_BITS, None).work_bytes(H100)
        for c in range(MIN_WINDOW, widest_window(n) + 1)
    )
    poor = plan_pass(n, 1, full, tables=None, budget=Budget(work_bytes=least, n_processors=H100))
    assert poor.work_bytes(H100) <= least < rich.work_bytes(H100)


def test_widths_that_all_zero_and_one_scalars_choose() -> None:
    assert choose_window(lengths_of(0, 0, 1), range(2, 9)) == 2


def test_a_key_that_cannot_fit_is_refused_by_name() -> None:
    with pytest.raises(DoesNotFit, match="one base") as refusal:
        plan_chunks(1 << 20, 2, memory_bytes=1000, n_processors=H100)
    assert refusal.value.granted == 1000
    assert refusal.value.needed > 1000


# -- slices, merges, reduction ---------------------------------------------------------------------


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


def test_merges_end_with_one_thread() -> None:
    for n_slices in range(1, 5000):
        levels, pieces = plan_merges(n_slices), 2 * n_slices
        for n in levels:  # piece 0 is never there, the others are covered
            assert (n - 1) * MERGE < pieces - 1 <= n * MERGE
            pieces = 2 * n
        assert n_slices == 1 or levels[-1] == 1


@pytest.mark.parametrize("c", range(MIN_WINDOW, MAX_WINDOW + 1))
def test_reduction_steps(c: int) -> None:
    for n_sets in (1, 2, 13, 64, 127):
        steps = plan_reduction(1 << (c - 1), n_sets)
        n, exponent = 1 << (c - 1), 0
        for step in steps:
            assert (step.n, step.exponent) == (n, exponent)
            assert 1 <= step.lg_chunk <= 3
            n, exponent = step.n_after, exponent + step.lg_chunk
        assert n == 1 or n * n_sets < msm_plan.LEAST_REDUCED
        assert exponent + (n.bit_length() - 1) == c - 1  # the bits of what is left
        assert not steps or steps[-1].n * n_sets >= msm_plan.LEAST_REDUCED


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
