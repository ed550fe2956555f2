"""Openings and sums: what opens a commitment, what does not, sums open to sums."""

from __future__ import annotations

from functools import cache
from random import Random

import numpy as np
import pytest

from kernels.array import FrArray, G1Array
from kernels.backend import get_backend
from kernels.bn254 import R
from kernels.numpy_types import Int64Array
from prover.errors import ShapeMismatch
from prover.pedersen.commitment import Committer
from prover.pedersen.opening import combine_commitments, opens

N = 9


@cache
def committer() -> Committer:
    return Committer(N, get_backend())


def draw(rng: Random) -> tuple[Int64Array, int]:
    values = np.array([rng.randrange(-127, 128) for _ in range(N)], dtype=np.int64)
    return values, rng.randrange(R)


def test_only_its_own_vector_and_blinding_open_a_commitment(rng: Random) -> None:
    (values, rho), (others, _) = draw(rng), draw(rng)
    d = committer().commit(values, rho)
    assert opens(d, values, rho, committer())
    assert opens(d, FrArray.from_ints(values.tolist()), rho, committer())
    changed = values.copy()
    changed[3] += 1
    for wrong in (others, changed, -values, values[::-1].copy(), values[:-1]):
        assert not opens(d, wrong, rho, committer())
    for wrong_rho in (0, (rho + 1) % R, (-rho) % R):
        assert not opens(d, values, wrong_rho, committer())
    assert not opens(G1Array.zeros(1), values, rho, committer())


def test_an_opening_has_one_form(rng: Random) -> None:
    values, rho = draw(rng)
    d = committer().commit(values, rho)
    assert not opens(d, values, rho + R, committer())
    assert not opens(d, values, rho - R, committer())


@pytest.mark.parametrize("weights", [[1, 1, 1], [1], [3, 0, 7, 1 << 20], [1, -1], [-5, 2]])
def test_sums_open_to_sums(weights: list[int], rng: Random) -> None:
    parts = [draw(rng) for _ in weights]
    points = G1Array.concat([committer().commit(values, rho) for values, rho in parts])
    total = combine_commitments(points, weights)
    values = np.sum([c * w for c, (w, _) in zip(weights, parts, strict=True)], axis=0)
    rho = sum(c * r for c, (_, r) in zip(weights, parts, strict=True)) % R
    assert opens(total, values.astype(np.int64), rho, committer())
    assert not opens(total, values.astype(np.int64) + 1, rho, committer())


def test_equal_and_opposite_commitments(rng: Random) -> None:
    d = committer().commit(*draw(rng))
    twice = G1Array.concat([d, d])
    assert combine_commitments(twice, [1, -1]).to_ints() == [None]
    assert combine_commitments(twice, [1, 1]).equals(combine_commitments(d, [2]))
    assert combine_commitments(d, [1]).equals(d)
    assert combine_commitments(G1Array.zeros(0), []).to_ints() == [None]


def test_lengths_that_do_not_fit(rng: Random) -> None:
    values, rho = draw(rng)
    d = committer().commit(values, rho)
    with pytest.raises(ShapeMismatch, match="2 weights for 1 commitments"):
        combine_commitments(d, [1, 2])
    with pytest.raises(ShapeMismatch, match="one commitment is opened, got 2"):
        opens(G1Array.concat([d, d]), values, rho, committer())
    with pytest.raises(ShapeMismatch, match="1 to 9 values"):
        opens(d, np.zeros(N + 1, np.int64), rho, committer())
