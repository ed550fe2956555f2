"""sum s_i P_i in both groups: every length, distribution and kind of base; prepared bases."""

from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from kernels.array import FrArray
from kernels.backend import Backend
from kernels.bn254 import LAMBDA, R
from kernels.reference import Reference
from tests.conformance.inputs import (
    BASES,
    EDGES,
    GROUPS,
    PROPERTY,
    SCALARS,
    Group,
    Ticks,
    build_bases,
    draw_scalars,
    known_sum,
)

LENGTHS = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17]
LONG = [31, 32, 33, 63, 64, 65, 100, 127, 255, 257, 511, 1000]
EACH_LENGTH = [*LENGTHS, *(pytest.param(n, marks=pytest.mark.bulk) for n in LONG)]
EACH_SIZE = [9, pytest.param(300, marks=pytest.mark.bulk)]

pytestmark = pytest.mark.parametrize("group", GROUPS, ids=str)


def check(backend: Backend, group: Group, scalars: list[int], bases_name: str) -> None:
    bases, factors = build_bases(group, bases_name, len(scalars))
    result = group.msm(backend, FrArray.from_ints(scalars), bases)
    assert len(result) == 1
    assert result.equals(known_sum(group, scalars, factors))


@pytest.mark.parametrize("n", EACH_LENGTH)
def test_every_length(backend: Backend, group: Group, n: int) -> None:
    check(backend, group, draw_scalars("full", n), "distinct")


@pytest.mark.parametrize("n", [1, 2, 5])
def test_by_definition(backend: Backend, group: Group, n: int) -> None:
    scalars = FrArray.from_ints(draw_scalars("full", n, seed=2))
    bases, _ = build_bases(group, "distinct", n)
    expected = group.msm(Reference(), scalars, bases)
    assert expected.data.any()
    assert group.msm(backend, scalars, bases).equals(expected)


@pytest.mark.parametrize("n", EACH_SIZE)
@pytest.mark.parametrize("name", SCALARS)
def test_every_scalar_distribution(backend: Backend, group: Group, name: str, n: int) -> None:
    check(backend, group, draw_scalars(name, n), "distinct")


@pytest.mark.parametrize("n", EACH_SIZE)
@pytest.mark.parametrize("name", BASES)
def test_every_kind_of_base(backend: Backend, group: Group, name: str, n: int) -> None:
    check(backend, group, draw_scalars("full", n), name)


@pytest.mark.bulk
@pytest.mark.parametrize("scalars", ["all equal", "one", "minus one", "small", "witness-like"])
@pytest.mark.parametrize("bases", BASES)
def test_equal_scalars_meet_equal_and_opposite_bases(
    backend: Backend, group: Group, bases: str, scalars: str
) -> None:
    """One bucket gets doublings, cancellations and infinity."""
    for n in (9, 70, 300):
        check(backend, group, draw_scalars(scalars, n), bases)


@pytest.mark.bulk
def test_each_edge_alone_and_cancelled(backend: Backend, group: Group) -> None:
    for s in [*EDGES, LAMBDA - 1, LAMBDA + 1]:
        check(backend, group, [s], "distinct")
        check(backend, group, [s, s], "opposite pairs")
        check(backend, group, [s, R - s if s else 0], "all equal")


@pytest.mark.bulk
@pytest.mark.parametrize("seed", range(3))
def test_skewed_into_one_bucket_of_every_window(backend: Backend, group: Group, seed: int) -> None:
    """Each scalar repeats one digit, for several digit widths."""
    n = 500
    for width in (4, 7, 8, 10, 13, 16):
        digit = [1, (1 << width) - 1, 1 << (width - 1)][seed]
        scalar = sum(digit << i for i in range(0, 253 - width, width))
        scalars = [scalar % R] * (n - 3) + draw_scalars("full", 3, seed)
        check(backend, group, scalars, "distinct")


def test_nothing_and_infinity(backend: Backend, group: Group) -> None:
    infinity = group.array.zeros(1)
    assert group.msm(backend, FrArray.zeros(0), group.array.zeros(0)).equals(infinity)
    assert group.msm(backend, FrArray.zeros(5), build_bases(group, "distinct", 5)[0]).equals(
        infinity
    )
    full = FrArray.from_ints(draw_scalars("full", 5))
    assert group.msm(backend, full, group.array.zeros(5)).equals(infinity)


@pytest.mark.parametrize(("n_scalars", "n_bases"), [(1, 2), (2, 1), (0, 1), (1, 0)])
def test_lengths_must_agree(backend: Backend, group: Group, n_scalars: int, n_bases: int) -> None:
    scalars = FrArray.from_ints([1] * n_scalars)
    bases, _ = build_bases(group, "distinct", n_bases)
    with pytest.raises(ValueError, match=r"\d"):
        group.msm(backend, scalars, bases)
    fixed = group.fix(backend, bases)
    with pytest.raises(ValueError, match=r"\d"):
        group.msm(backend, scalars, fixed)


@pytest.mark.parametrize("name", ["full", "zero", "one"])
def test_progress_and_untouched_inputs(backend: Backend, group: Group, name: str) -> None:
    scalars = FrArray.from_ints(draw_scalars(name, 9))
    bases, _ = build_bases(group, "mixed", 9)
    before, ticks = (scalars.data.copy(), bases.data.copy()), Ticks()
    with_progress = group.msm(backend, scalars, bases, ticks)
    assert ticks.keeps_contract()
    assert with_progress.equals(group.msm(backend, scalars, bases))
    assert (scalars.data == before[0]).all()
    assert (bases.data == before[1]).all()


@pytest.mark.parametrize("n", [0, 1, 2, 9, pytest.param(260, marks=pytest.mark.bulk)])
@pytest.mark.parametrize("max_bytes", [None, 0, 1 << 16, 1 << 26])
def test_prepared_bases_serve_many_sums(
    backend: Backend, group: Group, max_bytes: int | None, n: int
) -> None:
    for kind in ("distinct", "mixed"):
        bases, factors = build_bases(group, kind, n)
        fixed = group.fix(backend, bases, max_bytes)
        assert len(fixed) == n
        assert fixed.n_bytes <= max(max_bytes or 0, group.fix(backend, bases).n_bytes)
        for name in ("full", "edges") if n < 10 else SCALARS:
            scalars = draw_scalars(name, n)
            result = group.msm(backend, FrArray.from_ints(scalars), fixed)
            assert result.equals(known_sum(group, scalars, factors))


def test_prepared_bases_report_progress(backend: Backend, group: Group) -> None:
    fixed = group.fix(backend, build_bases(group, "distinct", 5)[0], 1 << 20)
    ticks = Ticks()
    group.msm(backend, FrArray.from_ints(draw_scalars("full", 5)), fixed, ticks)
    assert ticks.keeps_contract()


@PROPERTY
@drawn(data=st.data())
def test_any_mix(backend: Backend, group: Group, max_length: int, data: st.DataObject) -> None:
    """Scalars drawn from several distributions at once, shuffled, over any kind of base."""
    n = data.draw(st.integers(0, max_length), label="n")
    seed = data.draw(st.integers(0, 1 << 20), label="seed")
    names = data.draw(st.lists(st.sampled_from(list(SCALARS)), min_size=1, max_size=4))
    pools = [draw_scalars(name, n, seed) for name in names]
    scalars = [pools[i * 31 % len(pools)][i] for i in range(n)]
    check(backend, group, scalars, data.draw(st.sampled_from(list(BASES)), label="bases"))


def test_many_sums_at_once_are_each_by_itself(backend: Backend, group: Group) -> None:
    """Of both groups, prepared and not, of lengths and scalars that have nothing in common."""
    other = GROUPS[1 - GROUPS.index(group)]
    given: dict[Group, list[Any]] = {each: [] for each in GROUPS}
    expected: dict[Group, list[Any]] = {each: [] for each in GROUPS}
    for own, n, name, kind, room in (
        (group, 9, "full", "mixed", None),
        (group, 0, "full", "distinct", 0),
        (group, 40, "witness-like", "distinct", 1 << 14),
        (group, 5, "zero", "distinct", None),
        (other, 3, "full", "distinct", 0),
        (group, 2, "one", "opposite pairs", 0),
    ):
        bases, factors = build_bases(own, kind, n)
        scalars = draw_scalars(name, n)
        fixed = bases if room is None else own.fix(backend, bases, room)
        given[own].append((FrArray.from_ints(scalars), fixed))
        expected[own].append(known_sum(own, scalars, factors))
    told: dict[int, list[tuple[int, int]]] = {}
    found = backend.msm_all(
        iter(given[GROUPS[0]]),
        iter(given[GROUPS[1]]),
        progress=lambda i, done, total: told.setdefault(i, []).append((done, total)),
    )
    for own, points in zip(GROUPS, found, strict=True):
        assert len(points) == len(expected[own])
        assert all(p.equals(e) for p, e in zip(points, expected[own], strict=True))
    assert sorted(told) == list(range(6))
    for steps in told.values():
        assert steps == sorted(steps)
        assert steps[-1][0] == steps[-1][1]
    assert backend.msm_all([]) == ([], [])
