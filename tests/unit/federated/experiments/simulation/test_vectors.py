"""Vectors are the parameters of models, and back; integers of them are what clients commit to."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra `federated` (PyTorch) is not installed")

from consensus.learning.aggregate import WEIGHT, combine
from federated.errors import FloatModelInvalid
from federated.experiments.simulation.exact_training import (
    find_recipe,
    from_masters,
    make_exact,
    to_masters,
)
from federated.experiments.simulation.interface import Setting
from federated.experiments.simulation.vectors import (
    from_global,
    join_tensors,
    split_vectors,
    to_integers,
    to_model,
    to_vector,
)
from federated.task_scales import quantize_for_task
from prover.model.presets import parse_architecture
from tests.support.simulated import make_small


@pytest.fixture(scope="module")
def small() -> Setting:
    return make_small()


def test_a_vector_is_a_model(small: Setting) -> None:
    vector = to_vector(small.start)
    assert vector.shape == (small.architecture.n_parameters,)
    assert np.array_equal(vector[:16], small.start.weights[0][0])
    again = to_model(vector, small.architecture, small.scales)
    for tensors in ("weights", "biases"):
        for a, b in zip(getattr(again, tensors), getattr(small.start, tensors), strict=True):
            assert np.array_equal(a, b)
    assert (again.mean, again.std) == (small.start.mean, small.start.std)


def test_vectors_of_networks_with_planes_are_split_and_joined() -> None:
    """Layers without parameters have empty tensors."""
    architecture = parse_architecture("lenet-small")
    vectors = np.arange(2 * architecture.n_parameters, dtype=np.float32)
    vectors = vectors.reshape(2, architecture.n_parameters)
    tensors = split_vectors(architecture, vectors)
    assert tensors[0].shape == (2, 6, 3, 5, 5)
    assert tensors[2].shape[1:] == (0,)
    assert np.array_equal(join_tensors(tensors), vectors)


@pytest.mark.parametrize("harm", ["short", "not a number"])
def test_what_is_no_vector_of_the_task_is_refused(small: Setting, harm: str) -> None:
    vector = to_vector(small.start)
    broken = (
        vector[1:] if harm == "short" else np.where(np.arange(len(vector)) == 3, np.nan, vector)
    )
    with pytest.raises(FloatModelInvalid):
        to_model(broken.astype(np.float32), small.architecture, small.scales)


def test_integers_are_those_of_the_task_clipped(small: Setting) -> None:
    vector = to_vector(small.start)
    found = to_integers(vector, small.architecture, small.scales)
    assert found is not None
    expected = quantize_for_task(small.start, small.architecture, small.scales)
    assert np.array_equal(found.wires, expected.wires)
    wild = to_integers(vector * 50, small.architecture, small.scales)
    assert wild is not None
    assert max(int(np.abs(w.astype(int)).max()) for w in wild.weights) == 127


def test_a_global_model_becomes_the_vector_that_rounds_to_it(small: Setting) -> None:
    model = to_integers(to_vector(small.start), small.architecture, small.scales)
    assert model is not None
    vector = from_global(combine([(model, WEIGHT)]), small.scales)
    again = to_integers(vector, small.architecture, small.scales)
    assert again is not None
    assert np.array_equal(again.wires, model.wires)


def test_vectors_of_exact_settings_hold_masters_to_the_last_bit(small: Setting) -> None:
    """At both ends of their range, too."""
    exact = make_exact(small, b"seed")
    recipe = find_recipe(exact.architecture)
    least, greatest = recipe.master_range
    n = exact.architecture.n_parameters
    masters = np.random.default_rng(5).integers(least, greatest + 1, n)
    masters[:3], masters[-3:] = least, greatest
    vector = from_masters(masters, recipe, exact.scales)
    assert vector.dtype == np.float32
    assert np.array_equal(to_masters(vector, recipe, exact.scales), masters)
    assert np.array_equal(to_masters(vector * 3, recipe, exact.scales)[:3], [least] * 3)
