"""What strangers say beside their models, made alike."""

from __future__ import annotations

from math import inf, isfinite, nan
from sys import float_info

import pytest

from integrations.flower.metrics import MAX_WEIGHT, choose_names, find_common, is_weight


@pytest.mark.parametrize("value", [1, 500, 0.25, 5e-324, MAX_WEIGHT])
def test_weights(value: float) -> None:
    assert is_weight(value)
    assert isfinite(value * 10**6)


@pytest.mark.parametrize(
    "value", [0, -1, nan, inf, -inf, float_info.max, MAX_WEIGHT + 1, 10**400, [1], None, "1"]
)
def test_what_is_no_weight(value: object) -> None:
    """Two of the largest floats have an infinite sum, and the mean of all models is then zero."""
    assert not is_weight(value)


def test_names_of_most_replies_or_of_the_first() -> None:
    honest, other = ("arrays", "metrics"), ("metrics", "arrays")
    assert choose_names([other]) == other
    assert choose_names([other, honest]) == other
    assert choose_names([other, honest, honest]) == honest


def test_metrics_that_all_have() -> None:
    first = {"n": 1, "loss": 0.5, "steps": [1, 2], "own": 3}
    assert find_common([first]) == set(first)
    assert find_common([first, {"n": 2, "loss": 1, "steps": [1.5, 2.5]}]) == {"n", "loss", "steps"}
    assert find_common([first, {"n": 2, "loss": [0.5], "steps": [1]}]) == {"n"}
    assert find_common([first, first, {"n": 2, "loss": 0.5, "steps": []}]) == {"n", "loss"}
