"""One scalar times many points: the halves of the scalar, edge scalars, edge points."""

from __future__ import annotations

from random import Random

import pytest

from kernels.array import FrArray, G1Array
from kernels.bn254 import BETA, G1, LAMBDA, P, R
from kernels.cpu.msm.scaling import find_places, scale_g1, split_scalar
from kernels.cpu.pool import Pool
from kernels.cpu.words.group import mul_g1
from kernels.errors import ShapeError
from kernels.reference import mul_g1 as multiply

EDGES = [0, 1, 2, 3, R - 1, R - 2, LAMBDA, R - LAMBDA, LAMBDA + 1, LAMBDA * LAMBDA % R, R // 2]


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


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("factor", [*EDGES, R, R + 5, -1, -7])
def test_multiples_of_edge_scalars(factor: int, n_threads: int) -> None:
    """Infinity, G, points whose multiples meet each other, and -P beside P."""
    logs = [0, 1, 2, R - 1, R - 2, LAMBDA, 5]
    found = scale_g1(factor, points_of(*logs), Pool(n_threads, grain_ns=1))
    assert found.to_ints() == [multiply(factor % R * k % R, G1) for k in logs]


def test_multiples_are_those_of_the_plain_way(rng: Random) -> None:
    points = points_of(*(rng.randrange(R) for _ in range(20)))
    for _ in range(10):
        factor = rng.randrange(R)
        expected = mul_g1(FrArray.from_ints([factor] * 20), points)
        assert scale_g1(factor, points, Pool(2, grain_ns=1)).equals(expected)


def test_no_points_and_other_shapes() -> None:
    assert len(scale_g1(5, G1Array.zeros(0), Pool(2))) == 0
    with pytest.raises(ShapeError, match="scale_g1"):
        scale_g1(5, G1Array.zeros(2, 3), Pool(1))
