"""Updates and their bounds: exact sizes, refusals, and clipping that never leaves the bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prover.errors import BoundsInvalid, ShapeMismatch, UpdateExceeds
from prover.model.layers import BIAS_MAX, BIAS_MIN, WEIGHT_MAX
from prover.model.network import Architecture
from prover.model.update import (
    MAX_BIAS_CHANGE,
    MAX_SQUARES,
    MAX_WEIGHT_CHANGE,
    UpdateBounds,
    clip_update,
    compute_squares,
    compute_update,
    find_biases,
    require_bounds,
)
from tests.support.models import random_model
from tests.support.updates import shift_model

NETWORK = Architecture.mlp([3, 2, 2])  # 6 weights, 2 biases, 4 weights, 2 biases
bounds_of = st.builds(
    UpdateBounds,
    weight=st.integers(1, MAX_WEIGHT_CHANGE),
    bias=st.integers(1, 1 << 16) | st.just(MAX_BIAS_CHANGE),
    squares=st.integers(1, 1000) | st.integers(1, MAX_SQUARES),
)


def test_squares_count_a_bias_as_the_weight_of_an_input_of_255() -> None:
    biases = find_biases(NETWORK)
    assert np.flatnonzero(biases).tolist() == [6, 7, 12, 13]
    update = np.zeros(14, dtype=np.int64)
    update[[0, 6]] = [-2, 300]
    assert compute_squares(NETWORK, update) == 255 * 255 * 4 + 300 * 300
    update[:] = MAX_BIAS_CHANGE
    update[~biases] = MAX_WEIGHT_CHANGE
    exact = 10 * (255 * MAX_WEIGHT_CHANGE) ** 2 + 4 * MAX_BIAS_CHANGE**2
    assert compute_squares(NETWORK, update) == exact


@pytest.mark.parametrize(
    ("place", "change", "bounds", "quantity"),
    [
        (0, -4, UpdateBounds(weight=3, bias=9, squares=99), "change of a weight: 4, at most 3"),
        (13, 10, UpdateBounds(weight=3, bias=9, squares=99), "change of a bias: 10, at most 9"),
        (0, 3, UpdateBounds(weight=3, bias=9, squares=8), "sum of squares: 9, at most 8"),
        (13, 256, UpdateBounds(weight=3, bias=999, squares=1), "sum of squares: 2, at most 1"),
    ],
)
def test_an_update_beyond_a_bound_is_refused(
    place: int, change: int, bounds: UpdateBounds, quantity: str
) -> None:
    update = np.zeros(14, dtype=np.int64)
    update[place] = change
    with pytest.raises(UpdateExceeds, match=quantity) as caught:
        require_bounds(NETWORK, update, bounds)
    assert str(caught.value.value) not in caught.value.public_message.split(";")[0].split()
    update[place] -= np.sign(change)
    require_bounds(NETWORK, update, bounds)


@given(bounds_of, st.integers(0, 2**32 - 1))
def test_clipping_keeps_the_bounds_and_the_way(bounds: UpdateBounds, seed: int) -> None:
    """What is left of each change has its sign, and is no greater than it was."""
    rng = np.random.default_rng(seed)
    origin, model = (random_model(NETWORK, rng) for _ in range(2))
    clipped = clip_update(model, origin, bounds)
    before, after = compute_update(model, origin), compute_update(clipped, origin)
    require_bounds(NETWORK, after, bounds)
    assert ((after == 0) | (np.sign(after) == np.sign(before))).all()
    assert (np.abs(after) <= np.abs(before)).all()
    again = clip_update(clipped, origin, bounds)
    assert np.array_equal(again.wires, clipped.wires)


def test_clipping_leaves_alone_what_is_within_and_shortens_by_no_more_than_rounding() -> None:
    rng = np.random.default_rng(3)
    origin = random_model(NETWORK, rng)
    update = np.where(find_biases(NETWORK), 0, 1) * -np.sign(origin.wires)
    model = shift_model(origin, update)
    loose = UpdateBounds(weight=1, bias=1, squares=14)
    assert np.array_equal(clip_update(model, origin, loose).wires, model.wires)
    model = shift_model(origin, -origin.wires)
    bounds = UpdateBounds(weight=127, bias=MAX_BIAS_CHANGE, squares=10_000)
    left = compute_squares(NETWORK, compute_update(clip_update(model, origin, bounds), origin))
    assert 0.9 * bounds.scaled_squares < left <= bounds.scaled_squares


def test_the_extremes_are_within_the_greatest_bounds() -> None:
    """Bounds that no update of the integer model can reach are none."""
    assert MAX_WEIGHT_CHANGE == 2 * WEIGHT_MAX
    assert MAX_BIAS_CHANGE == BIAS_MAX - BIAS_MIN


def test_models_of_other_architectures_have_no_difference() -> None:
    rng = np.random.default_rng(0)
    model, other = random_model(NETWORK, rng), random_model(Architecture.mlp([3, 2]), rng)
    with pytest.raises(ShapeMismatch, match="another architecture"):
        compute_update(model, other)


@pytest.mark.parametrize(
    "change",
    [
        {"weight": 0},
        {"weight": MAX_WEIGHT_CHANGE + 1},
        {"bias": -1},
        {"bias": MAX_BIAS_CHANGE + 1},
        {"squares": 0},
        {"squares": MAX_SQUARES + 1},
        {"weight": True},
        {"squares": 1.0},
    ],
)
def test_bounds_out_of_range_are_refused(change: dict[str, object]) -> None:
    manifest = UpdateBounds(weight=1, bias=1, squares=1).to_manifest()
    assert UpdateBounds.from_manifest(manifest).to_manifest() == manifest
    with pytest.raises(BoundsInvalid, match="must be an integer from 1 to"):
        UpdateBounds.from_manifest(manifest | change)


@pytest.mark.parametrize("value", [None, [], {"weight": 1}, {"weight": 1, "bias": 1, "l2": 1}])
def test_other_manifests_are_refused(value: object) -> None:
    with pytest.raises(BoundsInvalid, match="bounds are an object"):
        UpdateBounds.from_manifest(value)
