"""One base, many scalars (key generation)."""

import pytest

from kernels.array import FrArray
from kernels.backend import Backend
from kernels.bn254 import R
from kernels.reference import Reference
from tests.conformance.inputs import (
    EDGES,
    GROUPS,
    SCALARS,
    STEP,
    Group,
    Ticks,
    draw_scalars,
    progression,
)

pytestmark = pytest.mark.parametrize("group", GROUPS, ids=str)


def one(group: Group, k: int) -> object:
    return group.array.from_ints(group.multiples([k]))


@pytest.mark.parametrize("n", [0, 1, 2, 7, 8, 9, 17])
def test_progression(backend: Backend, group: Group, n: int) -> None:
    """1, 2, ... n times a base that is not the generator."""
    points, _ = progression(group, n)
    result = group.fixed_base(backend, FrArray.from_ints(range(1, n + 1)), one(group, STEP))
    assert result.equals(group.array.from_ints(points))


@pytest.mark.parametrize("name", SCALARS)
def test_every_distribution_by_definition(backend: Backend, group: Group, name: str) -> None:
    scalars, base = FrArray.from_ints(draw_scalars(name, 5)), one(group, 7)
    expected = group.fixed_base(Reference(), scalars, base)
    assert group.fixed_base(backend, scalars, base).equals(expected)


@pytest.mark.bulk
def test_edges(backend: Backend, group: Group) -> None:
    result = group.fixed_base(backend, FrArray.from_ints(EDGES), one(group, R - 3))
    assert result.equals(group.array.from_ints(group.multiples([-3 * s for s in EDGES])))


@pytest.mark.bulk
@pytest.mark.parametrize("n", [100, 1000])
def test_many(backend: Backend, group: Group, n: int) -> None:
    points, factors = progression(group, n)
    result = group.fixed_base(backend, FrArray.from_ints(factors), one(group, 1))
    assert result.equals(group.array.from_ints(points))


def test_multiples_of_infinity(backend: Backend, group: Group) -> None:
    result = group.fixed_base(backend, FrArray.from_ints([0, 1, R - 1]), group.array.zeros(1))
    assert result.equals(group.array.zeros(3))


@pytest.mark.parametrize("n_bases", [0, 2])
def test_exactly_one_base(backend: Backend, group: Group, n_bases: int) -> None:
    with pytest.raises(ValueError, match="base"):
        group.fixed_base(backend, FrArray.from_ints([1, 2]), group.array.zeros(n_bases))


def test_progress_and_untouched_inputs(backend: Backend, group: Group) -> None:
    scalars, base = (
        FrArray.from_ints(draw_scalars("full", 5)),
        group.array.from_ints(group.multiples([3])),
    )
    before, ticks = (scalars.data.copy(), base.data.copy()), Ticks()
    group.fixed_base(backend, scalars, base, ticks)
    assert ticks.keeps_contract()
    assert (scalars.data == before[0]).all()
    assert (base.data == before[1]).all()
