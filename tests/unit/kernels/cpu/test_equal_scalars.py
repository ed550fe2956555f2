"""Merging equal scalars: the same sum, fewer terms, and only where it is worth while."""

from __future__ import annotations

import random

import numpy as np
import pytest

from kernels.array import FrArray, G1Array, G2Array
from kernels.bn254 import R
from kernels.cpu.backend import CpuBackend
from kernels.cpu.lanes.choice import choose_lanes
from kernels.cpu.msm.equal_scalars import MIN_LENGTH, is_worth_while, merge_equal_scalars, run
from kernels.cpu.msm.pippenger import Msm
from kernels.cpu.pool import Pool
from kernels.reference import mul_g1
from tests.conformance.inputs import GROUPS, Group, known_sum, progression

N = 1500
LONG = [random.Random("long").randrange(1 << 200, R // 2) for _ in range(40)]


@pytest.fixture(scope="module", params=[1, 3])
def msm(request: pytest.FixtureRequest) -> Msm:
    return Msm(choose_lanes("auto"), 1, Pool(request.param, grain_ns=1))


def mixed_scalars(n: int) -> list[int]:
    """Repeated long values and their negatives, short ones, zeros, and long ones that are alone."""
    rng = random.Random("mixed")
    kinds = [
        lambda: rng.choice(LONG),
        lambda: R - rng.choice(LONG),
        lambda: rng.choice([0, 1, R - 1, 7, 1 << 63]),
        lambda: rng.randrange(R),
    ]
    return [rng.choices(kinds, [50, 20, 20, 10])[0]() for _ in range(n)]


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_sum_is_the_same(group: Group) -> None:
    n = N if group.name == "g1" else MIN_LENGTH
    points, factors = progression(group, n)
    scalars = mixed_scalars(n)
    for i in range(0, n, 9):
        points[i], factors[i] = None, 0
    backend = CpuBackend(threads=2, grain_ns=1)
    assert is_worth_while(FrArray.from_ints(scalars).data)
    total = group.msm(backend, FrArray.from_ints(scalars), group.array.from_ints(points))
    assert total.equals(known_sum(group, scalars, factors))


def test_terms_are_those_that_differ(msm: Msm) -> None:
    points, factors = progression(GROUPS[0], N)
    scalars = mixed_scalars(N)
    points[3], factors[3] = None, 0
    bases = msm.prepare(G1Array.from_ints(points).data)
    merged, fewer = merge_equal_scalars(msm, FrArray.from_ints(scalars), bases)
    assert len(merged) == len(fewer) < N // 2
    assert not fewer.infinite.any()
    values = [min(s, R - s) for s in merged.to_ints()]
    long = [v for v in values if v >= 1 << 64]
    assert len(set(long)) == len(long)
    assert 0 not in values
    total = G1Array(msm.run(merged, fewer).reshape(1, -1))
    assert total.equals(known_sum(GROUPS[0], scalars, factors))


def test_groups_that_cancel_or_double(msm: Msm) -> None:
    """s P + s (-P), s P + (r - s) P, and one base again and again."""
    points, _ = progression(GROUPS[0], 3)
    pairs = [points[0], mul_g1(-1, points[0])] * (N // 4) + [points[1], points[1]] * (N // 4)
    scalars = [LONG[0]] * (N // 2) + [LONG[1], R - LONG[1]] * (N // 4)
    bases = msm.prepare(G1Array.from_ints(pairs).data)
    assert not run(msm, FrArray.from_ints(scalars), bases, None).any()
    once_more = FrArray.from_ints([*scalars, LONG[2], LONG[2], LONG[2]])
    bases = msm.prepare(G1Array.from_ints([*pairs, points[2], points[2], points[2]]).data)
    total = G1Array(run(msm, once_more, bases, None).reshape(1, -1))
    assert total.to_ints() == [mul_g1(3 * LONG[2], points[2])]


def test_group_longer_than_a_task(msm: Msm) -> None:
    n = 20_000
    point = progression(GROUPS[0], 1)[0][0]
    bases = msm.prepare(np.repeat(G1Array.from_ints([point]).data, n, axis=0))
    scalars = FrArray(np.repeat(FrArray.from_ints([LONG[0]]).data, n, axis=0))
    total = G1Array(run(msm, scalars, bases, None).reshape(1, -1))
    assert total.to_ints() == [mul_g1(n * LONG[0] % R, point)]


def test_worth_while_only_for_many_long_scalars_that_repeat() -> None:
    rng = random.Random("sample")
    alone = [rng.randrange(R) for _ in range(MIN_LENGTH)]
    short = [rng.choice([R - 1 - rng.randrange(50), rng.randrange(50)]) for _ in alone]
    repeated = alone[: MIN_LENGTH - 64] + [LONG[0]] * 64
    cases = {"alone": alone, "short": short, "few": repeated[64:], "repeated": repeated}
    verdicts = {k: is_worth_while(FrArray.from_ints(v).data) for k, v in cases.items()}
    assert verdicts == {"alone": False, "short": False, "few": False, "repeated": True}


@pytest.mark.parametrize("bad", [R + 1, R + LONG[0], (1 << 256) - 1])
def test_scalars_that_are_not_canonical_are_refused(msm: Msm, bad: int) -> None:
    """Also where they would merge, or cancel, with others."""
    words = np.repeat(FrArray.from_ints([LONG[0]]).data, MIN_LENGTH, axis=0)
    words[[5, 7]] = np.frombuffer(bad.to_bytes(32, "little"), dtype="<u8")
    points = G1Array.from_ints(progression(GROUPS[0], 1)[0])
    bases = msm.prepare(np.repeat(points.data, MIN_LENGTH, axis=0))
    with pytest.raises(ValueError, match="not below the group order"):
        run(msm, FrArray(words), bases, None)


def test_lengths_that_differ_are_refused() -> None:
    scalars = FrArray.from_ints([LONG[0]] * MIN_LENGTH)
    with pytest.raises(ValueError, match="scalars for 3 bases"):
        CpuBackend(threads=1).msm_g2(scalars, G2Array.zeros(3))
