"""Before any backend is judged: the inputs are not degenerate and the oracles agree."""

import pytest
from py_ecc import bn128

from kernels.array import FrArray
from kernels.bn254 import P, R
from kernels.reference import Reference
from tests.conformance.backends import DEFAULT, build_backend
from tests.conformance.inputs import (
    ALWAYS_ZERO,
    BASES,
    EDGES,
    GROUPS,
    SCALARS,
    Group,
    Ticks,
    build_bases,
    draw_scalars,
    invert_all,
    is_transform,
    known_sum,
    mont,
    progression,
    random_field,
)

N = 12


def test_the_lanes_that_cpu_takes_are_judged() -> None:
    assert f"cpu-{build_backend('cpu').info().lanes}" in DEFAULT


def test_edges() -> None:
    assert len(EDGES) == len(set(EDGES)) > 40
    assert all(0 <= v < R for v in EDGES)
    assert {0, 1, 3, R - 1, R - 2, R - 3, (R - 1) // 2, 1 << 64, 1 << 253} <= set(EDGES)
    assert {(P + 3) % R, (P - 3) % R, (1 << 254) % R} <= set(EDGES)


@pytest.mark.parametrize("name", SCALARS)
def test_scalars_are_canonical_and_not_all_zero(name: str) -> None:
    for n in (0, 1, 2, N, 100):
        scalars = draw_scalars(name, n)
        assert len(scalars) == n
        assert all(0 <= s < R for s in scalars)
    assert any(draw_scalars(name, N)) == (name not in ALWAYS_ZERO)
    assert draw_scalars(name, N) == draw_scalars(name, N)  # the same in every run


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_multiples_are_those_of_the_reference(group: Group) -> None:
    factors = [*EDGES, *draw_scalars("full", 5), -1]
    assert group.multiples(factors) == [group.mul(k, group.generator) for k in factors]


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_progression_is_what_it_says(group: Group) -> None:
    points, factors = progression(group, N)
    assert points == group.multiples(factors)
    assert len(set(points)) == N
    assert None not in points


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_bases_are_the_stated_multiples(group: Group, name: str) -> None:
    bases, factors = build_bases(group, name, N)
    assert bases.equals(group.array.from_ints(group.multiples(factors)))
    assert bases.data.any() == (name != "all infinite")


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_known_sum_is_the_sum_by_definition_and_by_py_ecc(group: Group) -> None:
    scalars = draw_scalars("full", 4)
    bases, factors = build_bases(group, "distinct", 4)
    known = known_sum(group, scalars, factors)
    assert known.data.any()
    assert group.msm(Reference(), FrArray.from_ints(scalars), bases).equals(known)
    generator = bn128.G1 if group.name == "g1" else bn128.G2
    total = None
    for s, k in zip(scalars, factors, strict=True):
        total = bn128.add(total, bn128.multiply(bn128.multiply(generator, k), s))
    assert total is not None
    foreign = [int(c) if group.name == "g1" else tuple(map(int, c.coeffs)) for c in total]
    assert known.to_ints() == [tuple(foreign)]


def test_expected_sums_are_not_infinity_unless_asked() -> None:
    """A suite whose sums all vanish would be pleased with a backend that returns zero."""
    for group in GROUPS[:1]:
        for scalars in SCALARS:
            _, factors = build_bases(group, "distinct", N)
            vanishes = sum(map(int.__mul__, draw_scalars(scalars, N), factors)) % R == 0
            assert vanishes == (scalars in ALWAYS_ZERO)
        for bases in BASES:
            _, factors = build_bases(group, bases, N)
            vanishes = sum(map(int.__mul__, draw_scalars("full", N), factors)) % R == 0
            assert vanishes == (bases == "all infinite")


@pytest.mark.parametrize("n", [1, 2, 8, 16])
def test_the_functional_accepts_the_transform_and_nothing_else(n: int) -> None:
    a = random_field(n)
    out = Reference().ntt(mont(a), shift=7).to_ints()
    assert is_transform(a, out, 7, seed=1)
    for i in range(n):
        wrong = list(out)
        wrong[i] = (wrong[i] + 1) % R
        assert not is_transform(a, wrong, 7, seed=1)
    assert n < 4 or not is_transform(a, [*out[1:], out[0]], 7, seed=1)
    assert n < 4 or not is_transform(a, out, 8, seed=1)


def test_invert_all() -> None:
    values = [v for v in EDGES if v]
    assert [v * w % R for v, w in zip(values, invert_all(values), strict=True)] == [1] * len(values)


def test_ticks_notice_a_broken_contract() -> None:
    for seen, good in [
        ([(1, 2), (2, 2)], True),
        ([(0, 5), (5, 5)], True),
        ([], False),
        ([(1, 2)], False),
        ([(2, 2), (1, 2)], False),
        ([(1, 3), (2, 2)], False),
    ]:
        ticks = Ticks()
        for done, total in seen:
            ticks(done, total)
        assert ticks.keeps_contract() == good
