"""Sharing and recovering against Python's integers."""

from __future__ import annotations

from random import Random

import pytest

from consensus.aggregation.shamir import evaluate, recover
from kernels.array import FrArray
from kernels.backend import get_backend
from kernels.bn254 import R

BACKEND = get_backend("cpu")


@pytest.mark.parametrize("t", [1, 2, 3, 34])
def test_evaluate_is_the_polynomial(t: int, rng: Random) -> None:
    coefficients = [rng.randrange(R) for _ in range(t)]
    points = [1, 2, 77, 1024]
    expected = [sum(c * x**k for k, c in enumerate(coefficients)) % R for x in points]
    assert evaluate(FrArray.from_ints(coefficients), points, BACKEND).to_ints() == expected


@pytest.mark.parametrize("t", [1, 2, 3, 34])
def test_any_t_shares_make_the_secret(t: int, rng: Random) -> None:
    rows, shares, secrets = [], [], []
    for _ in range(5):
        coefficients = [rng.randrange(R) for _ in range(t)]
        points = rng.sample(range(1, 1025), t)
        made = evaluate(FrArray.from_ints(coefficients), points, BACKEND).to_ints()
        rows.append(points)
        shares += made
        secrets.append(coefficients[0])
    assert recover(rows, FrArray.from_ints(shares), BACKEND) == secrets


def test_fewer_or_altered_shares_do_not(rng: Random) -> None:
    coefficients = FrArray.from_ints([5, 6, 7])
    made = evaluate(coefficients, [1, 2, 3], BACKEND).to_ints()
    assert recover([[1, 2]], FrArray.from_ints(made[:2]), BACKEND) != [5]
    assert recover([[1, 2, 3]], FrArray.from_ints([made[0] + 1, *made[1:]]), BACKEND) != [5]


def test_nothing_is_recovered_from_nothing() -> None:
    assert recover([], FrArray.zeros(0), BACKEND) == []
