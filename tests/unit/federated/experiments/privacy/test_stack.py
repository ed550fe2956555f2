"""Many networks at once do what each does alone under PyTorch's own differentiation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from federated.data import LabeledImages
from federated.experiments.privacy.scene import flatten_model
from federated.experiments.privacy.stack import (
    Schedule,
    compute_alignment,
    compute_logits,
    denormalize,
    normalize,
    train_stack,
)
from federated.float_model import FloatModel
from federated.torch_network import TorchNetwork
from federated.train import draw_model
from prover.model.network import Architecture

ARCHITECTURE = Architecture.mlp((12, 6, 5, 3))
START = draw_model(ARCHITECTURE, mean=0.5, std=0.25, seed=1)


@pytest.fixture
def samples() -> LabeledImages:
    rng = np.random.default_rng(0)
    return LabeledImages(
        images=rng.integers(0, 256, (20, 12), dtype=np.uint8),
        labels=rng.integers(0, 3, 20, dtype=np.uint8),
    )


def build(model: FloatModel) -> TorchNetwork:
    network = TorchNetwork(ARCHITECTURE, torch.Generator(), mean=model.mean, std=model.std)
    network.load(model)
    return network


def test_every_network_trains_as_it_would_alone(samples: LabeledImages) -> None:
    x, y = normalize(samples, START)
    members = torch.arange(20).reshape(4, 5)
    schedule = Schedule(n_epochs=3, batch_size=5, learning_rate=0.2)
    rows = train_stack(
        flatten_model(START), ARCHITECTURE, x, y, members, schedule, torch.Generator()
    )
    for row, own in zip(rows, members, strict=True):
        network = build(START)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.2)
        for _ in range(3):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(x[own]), y[own]).backward()
            optimizer.step()
        assert torch.allclose(row, flatten_model(network.to_model({})), atol=1e-6)


def test_batches_take_every_sample_once_an_epoch(samples: LabeledImages) -> None:
    """Of small steps the sum over batches is that of all samples, in any order."""
    x, y = normalize(samples, START)
    members = torch.arange(20)[None]
    rows = [
        train_stack(
            flatten_model(START),
            ARCHITECTURE,
            x,
            y,
            members,
            Schedule(n_epochs=1, batch_size=size, learning_rate=rate),
            torch.Generator().manual_seed(7),
        )[0]
        - flatten_model(START)
        for size, rate in ((20, 4e-3), (5, 1e-3))
    ]
    assert torch.allclose(rows[0], rows[1], rtol=0.05, atol=1e-5)


def test_alignment_is_the_product_with_the_gradient(samples: LabeledImages) -> None:
    x, y = normalize(samples, START)
    updates = torch.randn(3, len(flatten_model(START)), generator=torch.Generator().manual_seed(2))
    found = compute_alignment(updates, flatten_model(START), ARCHITECTURE, x, y)
    network = build(START)
    for number in range(20):
        network.zero_grad()
        torch.nn.functional.cross_entropy(network(x[number][None]), y[number][None]).backward()
        gradient = torch.cat([p.grad.reshape(-1) for p in network.parameters()])
        assert torch.allclose(found[:, number], -updates @ gradient, atol=1e-4)


def test_logits_are_the_models(samples: LabeledImages) -> None:
    x, _ = normalize(samples, START)
    rows = torch.stack([flatten_model(START), 2 * flatten_model(START)])
    found = compute_logits(rows, ARCHITECTURE, x)
    assert np.allclose(found[0].numpy(), START.logits(samples.images), atol=1e-5)


def test_pixels_come_back(samples: LabeledImages) -> None:
    x, _ = normalize(samples, START)
    assert np.array_equal(np.rint(denormalize(x, START)), samples.images)
