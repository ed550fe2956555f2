"""Which points are accepted: the curve for G1, curve and order for G2, canonical coordinates."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from kernels.array import U64, AffineG2, G1Array, G2Array, ints_from_words, words_from_ints
from kernels.backend import Backend
from kernels.bn254 import B2, G1, G2, G2_COFACTOR, P, R
from kernels.encoding import sqrt_fp2
from kernels.reference import add_fp2, add_g2, is_on_curve_g2, mul_fp2, mul_g1, mul_g2
from tests.conformance.inputs import GROUPS, progression


def words_with(points: G1Array | G2Array, changes: dict[tuple[int, int], int]) -> U64:
    """Stored words with the coordinate `(point, axis)` replaced by an integer below 2^256."""
    data = points.data.copy()
    for (i, axis), value in changes.items():
        data[i, 4 * axis : 4 * axis + 4] = words_from_ints([value])[0]
    return data


def stored(points: G1Array | G2Array, i: int, axis: int) -> int:
    return ints_from_words(points.data[i : i + 1, 4 * axis : 4 * axis + 4])[0]


def test_g1_members_and_strangers(backend: Backend) -> None:
    members = [mul_g1(k, G1) for k in (0, 1, 2, R - 1, 12345)]
    strangers = [(1, 3), (2, 1), (0, 1), (1, 0), (P - 1, 2), (1, P - 3)]
    points = G1Array.from_ints([*members, *strangers, G1])
    verdicts = backend.is_on_curve_g1(points)
    assert verdicts.dtype == np.bool_
    assert verdicts.tolist() == [True] * 5 + [False] * 6 + [True]


def test_g2_members_and_strangers(backend: Backend) -> None:
    members = [mul_g2(k, G2) for k in (0, 1, 2, R - 1, 12345)]
    (x, y), off = G2, ((1, 2), (3, 4))
    strangers = [(x, x), (y, x), off, (x, (y[1], y[0])), (x, (y[0], P - y[1])), ((0, 0), (0, 1))]
    points = G2Array.from_ints([*members, *strangers, G2])
    verdicts = backend.is_in_subgroup_g2(points)
    assert verdicts.dtype == np.bool_
    assert verdicts.tolist() == [True] * 5 + [False] * 6 + [True]


def test_g2_points_of_other_orders(backend: Backend) -> None:
    wild = wild_twist_points(2)
    small = [mul_g2(R * (G2_COFACTOR // q), wild[0]) for q in (10069, 5864401)]
    shifted = [add_g2(p, G2) for p in [*wild, *small]]
    cleared = [mul_g2(G2_COFACTOR, p) for p in wild]
    outside: Sequence[AffineG2 | None] = [*wild, *small, *shifted]
    assert all(is_on_curve_g2(p) and p is not None for p in outside)
    points = G2Array.from_ints([*outside, *cleared])
    assert backend.is_in_subgroup_g2(points).tolist() == [False] * 8 + [True] * 2


def wild_twist_points(n: int) -> list[AffineG2]:
    points = []
    for i in range(1, 1000):
        x = (i, 3)
        y = sqrt_fp2(add_fp2(mul_fp2(mul_fp2(x, x), x), B2))
        if y is not None and mul_g2(R, (x, y)) is not None:
            points.append((x, y))
        if len(points) == n:
            return points
    raise AssertionError("too few points on the twist")


@pytest.mark.parametrize("axis", [0, 1])
def test_g1_coordinates_not_below_p(backend: Backend, axis: int) -> None:
    points = G1Array.from_ints([G1, G1, None, G1])
    value = stored(points, 1, axis)
    for alias in (value + P, value + 2 * P, P, (1 << 256) - 1):
        changed = G1Array(words_with(points, {(1, axis): alias}))
        assert backend.is_on_curve_g1(changed).tolist() == [True, False, True, True]
    infinity = G1Array(words_with(points, {(2, axis): P}))  # p is no zero
    assert backend.is_on_curve_g1(infinity).tolist() == [True, True, False, True]


@pytest.mark.parametrize("axis", range(4))
def test_g2_coordinates_not_below_p(backend: Backend, axis: int) -> None:
    points = G2Array.from_ints([G2, None, G2])
    value = stored(points, 0, axis)
    for alias in (value + P, value + 2 * P, (1 << 256) - 1):
        changed = G2Array(words_with(points, {(0, axis): alias}))
        assert backend.is_in_subgroup_g2(changed).tolist() == [False, True, True]
    infinity = G2Array(words_with(points, {(1, axis): P}))
    assert backend.is_in_subgroup_g2(infinity).tolist() == [True, False, True]


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9])
def test_every_length_finds_the_one_stranger(backend: Backend, n: int) -> None:
    g1, g2 = (group.array.from_ints(progression(group, n)[0]) for group in GROUPS)
    assert backend.is_on_curve_g1(g1).tolist() == [True] * n
    assert backend.is_in_subgroup_g2(g2).tolist() == [True] * n
    for i in {0, n // 2, n - 1} if n else ():
        expected = [j != i for j in range(n)]
        changed = G1Array(words_with(g1, {(i, 1): (stored(g1, i, 1) + 1) % P}))
        assert backend.is_on_curve_g1(changed).tolist() == expected
        changed_g2 = G2Array(words_with(g2, {(i, 3): (stored(g2, i, 3) + 1) % P}))
        assert backend.is_in_subgroup_g2(changed_g2).tolist() == expected


@pytest.mark.parametrize("n", [0, 1, 5])
def test_all_of_a_few_points(backend: Backend, n: int) -> None:
    points = G2Array.from_ints([None, *progression(GROUPS[1], n)[0]])
    stranger = G2Array.from_ints(wild_twist_points(1))
    assert backend.are_all_in_subgroup_g2(points, seeded_bytes(n))
    assert not backend.are_all_in_subgroup_g2(G2Array.concat([points, stranger]), seeded_bytes(n))


@pytest.mark.bulk
def test_all_of_many_points(backend: Backend) -> None:
    n = 300
    points = G2Array.from_ints(progression(GROUPS[1], n)[0])
    assert backend.are_all_in_subgroup_g2(points, seeded_bytes(1))
    assert backend.are_all_in_subgroup_g2(
        with_points(points, {7: None, n - 1: None}), seeded_bytes(2)
    )
    assert backend.are_all_in_subgroup_g2(G2Array.zeros(n), seeded_bytes(3))
    wild = wild_twist_points(1)[0]
    order_q = [mul_g2(R * (G2_COFACTOR // q), wild) for q in (10069, 5864401)]
    strangers = [wild, *order_q, *(add_g2(p, G2) for p in order_q)]
    for seed, stranger in enumerate(strangers):
        for changes in (
            {seed * 70 % n: stranger},
            {0: stranger, n - 1: stranger},
            {3: stranger, 4: mul_g2(-1, stranger)},  # they cancel in the plain sum
            dict.fromkeys(range(n), stranger),
        ):
            judged = with_points(points, changes)
            assert not backend.are_all_in_subgroup_g2(judged, seeded_bytes(seed))


@pytest.mark.bulk
def test_one_of_many_points_is_malformed(backend: Backend) -> None:
    points = G2Array.from_ints(progression(GROUPS[1], 300)[0])
    off_curve = G2Array(words_with(points, {(150, 3): (stored(points, 150, 3) + 1) % P}))
    not_below_p = G2Array(words_with(points, {(299, 0): stored(points, 299, 0) + P}))
    for judged in (off_curve, not_below_p):
        assert not backend.are_all_in_subgroup_g2(judged, seeded_bytes(1))


def with_points(points: G2Array, changes: dict[int, AffineG2 | None]) -> G2Array:
    data = points.data.copy()
    for i, point in changes.items():
        data[i] = G2Array.from_ints([point]).data[0]
    return G2Array(data)


def seeded_bytes(seed: int) -> Callable[[int], bytes]:
    return np.random.default_rng(seed).bytes


@pytest.mark.bulk
def test_many(backend: Backend) -> None:
    g1, g2 = (group.array.from_ints(progression(group, 1000)[0]) for group in GROUPS)
    strangers = G1Array(words_with(g1, {(i, 0): 5 for i in (0, 500, 999)}))
    assert np.flatnonzero(~backend.is_on_curve_g1(strangers)).tolist() == [0, 500, 999]
    assert backend.is_on_curve_g1(g1).all()
    wild = G2Array.from_ints(wild_twist_points(1)).data[0]
    mixed = g2.data.copy()
    mixed[[3, 998]] = wild
    assert np.flatnonzero(~backend.is_in_subgroup_g2(G2Array(mixed))).tolist() == [3, 998]
    assert backend.is_in_subgroup_g2(g2).all()
