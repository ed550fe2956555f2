"""Plans of the CUDA backend: every length, every memory size, by arithmetic alone."""

from __future__ import annotations

from itertools import pairwise

import pytest

from kernels.bn254 import TWO_ADICITY
from kernels.cuda.plan import (
    CHAIN,
    ELEMENT_BYTES,
    INVERT_EACH,
    LG_TILE,
    MAX_GRID_Y,
    NttPlan,
    inversion_footprint,
    ntt_of_rows,
    plan_inversion,
    plan_ntt,
    split_radices,
)
from kernels.errors import DoesNotFit

LENGTHS = range(TWO_ADICITY + 1)
MAX_THREADS, MAX_SHARED_BYTES, MAX_GRID_X = 512, 48 << 10, (1 << 31) - 1
HELD = 8  # elements of a thread


@pytest.mark.parametrize("lg_tile", range(1, LG_TILE + 1))
@pytest.mark.parametrize("lg_n", LENGTHS)
def test_passes_cover_every_length(lg_n: int, lg_tile: int) -> None:
    plan = ntt_of_rows(lg_n, 3, lg_tile)
    lg_l = 0
    for step in plan.passes:
        assert step.lg_l == lg_l
        assert 1 <= step.lg_r <= lg_tile
        lg_l += step.lg_r
        lg_block = step.lg_r + step.lg_columns
        assert step.lg_columns >= 0
        assert 1 << lg_block >= HELD
        assert lg_block <= lg_n or 1 << lg_block == HELD
        assert step.grid == (-(-(1 << lg_n) >> lg_block), 3, 1)
        assert step.grid[0] <= MAX_GRID_X
        assert step.block == ((1 << lg_block) // HELD, 1, 1)
        assert step.block[0] <= MAX_THREADS
        assert step.shared_bytes == ELEMENT_BYTES * ((1 << lg_block) + (1 << lg_block) // 8)
        assert step.shared_bytes <= MAX_SHARED_BYTES
    assert lg_l == lg_n


@pytest.mark.parametrize("lg_n", LENGTHS)
def test_radices_are_few_and_even(lg_n: int) -> None:
    radices = split_radices(lg_n)
    assert sum(radices) == lg_n
    assert len(radices) == -(-lg_n // LG_TILE)
    assert lg_n == 0 or max(radices) - min(radices) <= 1


def enumerate_memory(plan: NttPlan) -> list[int]:
    """Sizes around every change of the number of rows up to 6, and large ones."""
    row = (plan.footprint - plan.table_bytes) // plan.rows
    return [plan.table_bytes + k * row + d for k in range(1, 7) for d in (-1, 0, 1)] + [1 << 50]


@pytest.mark.parametrize("lg_n", LENGTHS)
def test_rows_are_as_many_as_fit(lg_n: int) -> None:
    one = ntt_of_rows(lg_n, 1)
    for memory in enumerate_memory(one):
        for n_rows in (0, 1, 2, 5, 1 << 20):
            if memory < one.footprint:
                with pytest.raises(DoesNotFit) as caught:
                    plan_ntt(lg_n, n_rows, memory)
                assert (caught.value.needed, caught.value.granted) == (one.footprint, memory)
                continue
            plan = plan_ntt(lg_n, n_rows, memory)
            assert plan.footprint <= memory
            assert 1 <= plan.rows <= MAX_GRID_Y
            assert plan.rows <= max(1, n_rows)
            if plan.rows < min(n_rows, MAX_GRID_Y):
                assert ntt_of_rows(lg_n, plan.rows + 1).footprint > memory


def test_footprint_of_known_sizes() -> None:
    """In elements: tables 2n + 1024; input, output, and one buffer between passes."""
    for lg_n, buffers in ((0, 2), (10, 2), (11, 3), (20, 3), (21, 3), (28, 3)):
        n = 1 << lg_n
        assert ntt_of_rows(lg_n, 2).footprint == 32 * (2 * n + 1024 + 2 * buffers * n)


@pytest.mark.parametrize(("lg_n", "n_rows"), [(-1, 1), (TWO_ADICITY + 1, 1), (3, -1)])
def test_lengths_outside_are_refused(lg_n: int, n_rows: int) -> None:
    with pytest.raises(ValueError, match="plan_ntt"):
        plan_ntt(lg_n, n_rows, 1 << 50)


EDGES = sorted(
    {1, 2, CHAIN, INVERT_EACH, 1 << 20, (1 << 32) - 1}
    | {CHAIN**k * INVERT_EACH + d for k in range(4) for d in (-1, 0, 1)}
    | set(range(1, 200))
)


@pytest.mark.parametrize("n", EDGES)
def test_levels_of_an_inversion(n: int) -> None:
    levels = plan_inversion(n)
    assert levels[0].n == n
    for level, following in pairwise(levels):
        assert following.n == level.n_chains
        assert level.n_chains > INVERT_EACH
    for level in levels:
        assert 1 <= level.n_chains <= level.n
        assert level.n_chains * CHAIN >= level.n
    assert levels[-1].n_chains <= INVERT_EACH
    held = 2 * n + sum(2 * level.n_chains for level in levels)
    assert inversion_footprint(n) == ELEMENT_BYTES * held


def test_inversion_of_nothing() -> None:
    assert inversion_footprint(0) == 0
