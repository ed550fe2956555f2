"""Clients trained side by side learn what each would alone; steps in integers are exact."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra `federated` (PyTorch) is not installed")

import torch

from federated.data import LabeledImages
from federated.experiments.simulation.batches import (
    LocalTraining,
    draw_all_batches,
    draw_batches,
)
from federated.experiments.simulation.exact_training import (
    find_recipe,
    from_masters,
    make_exact,
    to_masters,
    train_exactly,
)
from federated.experiments.simulation.float_training import count_correct_floats, train_all
from federated.experiments.simulation.interface import Setting
from federated.experiments.simulation.vectors import to_model, to_vector
from federated.torch_network import TorchNetwork
from kernels.numpy_types import Float32Array, Int64Array
from prover.errors import RangeExceeded
from prover.model.presets import parse_architecture
from prover.training.step import train_step
from tests.support.simulated import draw_samples, make_small

TRAINING = LocalTraining(steps=6, batch_size=8, learning_rate=1e-2)


@pytest.fixture(scope="module")
def small() -> Setting:
    return make_small(n_clients=3)


def train_alone(
    setting: Setting, start: Float32Array, own: LabeledImages, batches: Int64Array
) -> Float32Array:
    """By the textbook: one network, one optimizer."""
    network = TorchNetwork(
        setting.architecture,
        torch.Generator(),
        mean=setting.scales.mean,
        std=setting.scales.std,
    )
    network.load(to_model(start, setting.architecture, setting.scales))
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=TRAINING.learning_rate, weight_decay=TRAINING.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=TRAINING.steps)
    for batch in batches:
        x = network.normalize(torch.from_numpy(own.images[batch]))
        y = torch.from_numpy(own.labels[batch].astype(np.int64))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()
        schedule.step()
    return to_vector(network.to_model({}))


def test_side_by_side_is_as_alone(small: Setting) -> None:
    start = to_vector(small.start)
    batches = draw_all_batches(small.clients, TRAINING, np.random.default_rng(1))
    together = train_all(small, start, small.clients, batches, TRAINING)
    for own, numbers, found in zip(small.clients, batches, together, strict=True):
        alone = train_alone(small, start, own, numbers)
        assert np.abs(alone - start).max() > 1e-2, "it has moved"
        assert np.allclose(found, alone, atol=1e-5)
    assert np.abs(together[0] - together[1]).max() > 1e-3, "by different samples"


def test_networks_with_planes_train_as_alone(small: Setting) -> None:
    architecture = parse_architecture("lenet-small")
    generator = np.random.default_rng(2)
    samples = [
        LabeledImages(
            images=generator.integers(0, 256, (12, 3072)).astype(np.uint8),
            labels=generator.integers(0, 10, 12).astype(np.uint8),
        )
        for _ in range(2)
    ]
    network = TorchNetwork(architecture, torch.Generator().manual_seed(3), mean=0.5, std=0.25)
    model = network.to_model({})
    scales = replace(small.scales, weights=(1.0,) * len(architecture.layers), mean=0.5, std=0.25)
    setting = replace(small, architecture=architecture, start=model, scales=scales)
    batches = draw_all_batches(samples, TRAINING, generator)
    together = train_all(setting, to_vector(model), samples, batches, TRAINING)
    for own, numbers, found in zip(samples, batches, together, strict=True):
        alone = train_alone(setting, to_vector(model), own, numbers)
        assert np.allclose(found, alone, atol=1e-4)


def test_float_counts_are_those_of_the_model(small: Setting) -> None:
    vectors = np.stack([to_vector(small.start), -to_vector(small.start)])
    found = count_correct_floats(small, vectors, small.test)
    for vector, count in zip(vectors, found, strict=True):
        model = to_model(vector, small.architecture, small.scales)
        accuracy = model.accuracy(small.test.images, small.test.labels)
        assert count == round(accuracy * len(small.test))
    assert found[0] > found[1]


def test_no_sample_comes_again_before_all_had_a_turn() -> None:
    training = LocalTraining(steps=7, batch_size=4)
    found = draw_batches(10, training, np.random.default_rng(0))
    assert found.shape == (7, 4)
    flat = found.reshape(-1)
    assert sorted(flat[:10]) == sorted(flat[10:20]) == list(range(10))
    assert list(flat[:10]) != list(flat[10:20])


def test_exact_steps_are_those_that_are_proven(small: Setting) -> None:
    exact = make_exact(small, b"seed")
    recipe = find_recipe(exact.architecture, batch_size=TRAINING.batch_size)
    start = to_vector(exact.start)
    batches = draw_all_batches(exact.clients, TRAINING, np.random.default_rng(4))
    found = train_exactly(exact, start, exact.clients, batches)
    for own, numbers, vector in zip(exact.clients, batches, found, strict=True):
        masters = to_masters(start, recipe, exact.scales)
        for batch in numbers:
            masters = train_step(recipe, masters, own.images[batch], own.labels[batch]).after
        assert np.array_equal(vector, from_masters(masters, recipe, exact.scales))
        assert not np.array_equal(vector, start)


def test_who_cannot_take_a_step_stays_before_it(small: Setting) -> None:
    """A bias at the edge of its range that the very first step pushes on."""
    exact = make_exact(small, b"seed")
    recipe = find_recipe(exact.architecture, batch_size=8)
    masters = to_masters(to_vector(exact.start), recipe, exact.scales)
    masters[-1] = recipe.master_range[0]  # of class 3, which no sample is of
    start = from_masters(masters, recipe, exact.scales)
    own = draw_samples(200, seed=9)
    own = own.take(np.flatnonzero(own.labels != 3)[:40])
    batches = draw_all_batches([own], TRAINING, np.random.default_rng(4))
    (found,) = train_exactly(exact, start, [own], batches)
    with pytest.raises(RangeExceeded):
        train_step(recipe, masters, own.images[batches[0, 0]], own.labels[batches[0, 0]])
    assert np.array_equal(found, start)
