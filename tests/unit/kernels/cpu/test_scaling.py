"""One scalar times many points: the halves of the scalar, edge scalars, edge points."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from kernels.array import FrArray, G1Array
from kernels.bn254 import BETA, G1, LAMBDA, P, R
from kernels.cpu.lanes.choice import choose_lanes
from kernels.cpu.msm import scaling
from kernels.cpu.msm.pippenger import Msm
from kernels.cpu.msm.runs import BATCH
from kernels.cpu.msm.scaling import find_places, scale_g1, split_scalar
from kernels.cpu.pool import Pool
from kernels.cpu.words.group import mul_g1
from kernels.errors import ShapeError
from kernels.reference import mul_g1 as multiply

EDGES = [0, 1, 2, 3, R - 1, R - 2, LAMBDA, R - LAMBDA, LAMBDA + 1, LAMBDA * LAMBDA % R, R // 2]


LANES = [choose_lanes(), "scalar", "ifma-emulated"]


def make_engine(lanes: str = choose_lanes(), n_threads: int = 2) -> Msm:
    return Msm(lanes, 1, Pool(n_threads, grain_ns=1))


def points_of(*logs: int) -> G1Array:
    return G1Array.from_ints([multiply(k, G1) for k in logs])


def test_the_endomorphism_is_the_scalar() -> None:
    assert multiply(LAMBDA, G1) == (BETA * G1[0] % P, G1[1])
    assert (1 + LAMBDA + LAMBDA * LAMBDA) % R == 0


def test_halves_are_short_and_make_the_scalar(rng: Random) -> None:
    for k in [*EDGES, *(rng.randrange(R) for _ in range(500))]:
        first, second = split_scalar(k)
        assert (first + second * LAMBDA - k) % R == 0
        assert max(abs(first), abs(second)) < 1 << 128
    lengths = {len(find_places(rng.randrange(R))) for _ in range(100)}
    assert max(lengths) <= 129


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("factor", [*EDGES, R, R + 5, -1, -7])
def test_multiples_of_edge_scalars(factor: int, lanes: str) -> None:
    """Infinity, G, points whose multiples meet each other, and -P beside P."""
    logs = [0, 1, 2, R - 1, R - 2, LAMBDA, 5]
    engine = make_engine(lanes)
    expected = [multiply(factor % R * k % R, G1) for k in logs]
    assert scale_g1(factor, points_of(*logs), engine).to_ints() == expected
    finite = scale_g1(factor, points_of(*logs[1:]), engine)
    assert finite.to_ints() == expected[1:]


def test_multiples_are_those_of_the_plain_way(rng: Random) -> None:
    points = points_of(*(rng.randrange(R) for _ in range(20)))
    for lanes in LANES:
        factor = rng.randrange(R)
        expected = mul_g1(FrArray.from_ints([factor] * 20), points)
        assert scale_g1(factor, points, make_engine(lanes)).equals(expected)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_batches_are_joined_and_infinity_costs_its_own_alone(
    n_threads: int, rng: Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three batches, the last a short one; infinity lies in the middle one."""
    n, factor = 2 * BATCH + 5, rng.randrange(R)
    points = G1Array.concat([points_of(*range(1, 10))] * (n // 9 + 1))[:n]
    points.data[BATCH + 1] = 0
    slow: list[int] = []

    def watch(own: Any, places: Any) -> Any:
        slow.append(len(own))
        return on_words(own, places)

    on_words = scaling._scale_on_words
    monkeypatch.setattr(scaling, "_scale_on_words", watch)
    found = scale_g1(factor, points, make_engine(n_threads=n_threads))
    assert slow == [BATCH]
    multiples = points_of(*(factor * k % R for k in range(1, 10)))
    expected = G1Array.concat([multiples] * (n // 9 + 1))[:n]
    expected.data[BATCH + 1] = 0
    assert found.equals(expected)


def test_no_points_and_other_shapes() -> None:
    assert len(scale_g1(5, G1Array.zeros(0), make_engine())) == 0
    with pytest.raises(ShapeError, match="scale_g1"):
        scale_g1(5, G1Array.zeros(2, 3), make_engine())
