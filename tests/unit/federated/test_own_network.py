"""A client's own PyTorch network: there and back, and which ones no circuit proves."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra `federated` (PyTorch) is not installed")

import torch
from torch.nn import BatchNorm1d, Conv2d, Dropout, Flatten, Identity, Linear, ReLU, Sequential

from federated.errors import NetworkUnsupported
from federated.joining.own_network import (
    describe_supported,
    normalize,
    read_network,
    require_supported,
    write_network,
)
from federated.task_scales import TaskScales
from prover.model.presets import parse_architecture

ARCHITECTURE = parse_architecture("mlp-6-4-3")
SCALES = TaskScales(weights=(0.01, 0.02), mean=0.25, std=0.5)


class Shifted(Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + 1.0  # type: ignore[no-any-return]


def make_network() -> Sequential:
    torch.manual_seed(5)
    body = Sequential(Flatten(), Linear(6, 4), ReLU())
    return Sequential(body, Dropout(0.5), Identity(), Linear(4, 3))


def test_it_computes_what_its_float_model_computes() -> None:
    network = make_network().eval()
    model = read_network(network, ARCHITECTURE, SCALES)
    images = np.random.default_rng(1).integers(0, 256, (5, 2, 3), dtype=np.uint8)
    with torch.no_grad():
        logits = network(normalize(torch.from_numpy(images), SCALES)).numpy()
    assert np.abs(model.activations(images.reshape(5, 6))[-1] - logits).max() < 1e-5
    assert (model.mean, model.std, model.name) == (0.25, 0.5, "mlp-6-4-3")


def test_parameters_go_there_and_back() -> None:
    first = read_network(make_network(), ARCHITECTURE, SCALES)
    network = Sequential(Linear(6, 4), ReLU(), Linear(4, 3)).to(torch.float64)
    write_network(network, first, ARCHITECTURE)
    again = read_network(network, ARCHITECTURE, SCALES)
    for a, b in zip(first.weights + first.biases, again.weights + again.biases, strict=True):
        assert a.dtype == b.dtype == np.float32
        assert np.array_equal(a, b)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (Linear(6, 3), r"has Linear\(6, 3\)"),
        (Sequential(Linear(6, 5), ReLU(), Linear(5, 3)), r"has Linear\(6, 5\), Linear\(5, 3\)"),
        (Sequential(Flatten()), "has no Linear"),
        (Sequential(Linear(6, 4), Linear(4, 3)), "not exactly one ReLU"),
        (Sequential(Linear(6, 4), ReLU(), Linear(4, 3), ReLU()), "not exactly one ReLU"),
        (Sequential(Linear(6, 4), ReLU(), ReLU(), Linear(4, 3)), "not exactly one ReLU"),
        (Sequential(Linear(6, 4), ReLU(), Linear(4, 3, bias=False)), "no bias in Sequential.2"),
        (Sequential(Linear(6, 4), BatchNorm1d(4), ReLU(), Linear(4, 3)), "has a BatchNorm1d"),
        (Sequential(Conv2d(1, 1, 3), Linear(6, 4), ReLU(), Linear(4, 3)), "has a Conv2d"),
        (Sequential(Linear(6, 4), ReLU(), Shifted(4, 3)), r"has a Shifted \(Sequential.2\)"),
    ],
)
def test_networks_that_no_circuit_of_the_task_proves(network: torch.nn.Module, words: str) -> None:
    with pytest.raises(NetworkUnsupported, match=words) as caught:
        require_supported(network, ARCHITECTURE)
    assert describe_supported(ARCHITECTURE) in str(caught.value)


def test_networks_of_ones_own_are_linear_layers() -> None:
    with pytest.raises(NetworkUnsupported, match="not linear; this task proves cnn-1x28x28-10"):
        require_supported(make_network(), parse_architecture("lenet5"))


def test_what_is_supported_is_said_as_it_is_written() -> None:
    assert "Linear(6, 4), ReLU(), Linear(4, 3)" in describe_supported(ARCHITECTURE)
    require_supported(make_network(), ARCHITECTURE)


def test_parameters_that_are_no_numbers_are_refused() -> None:
    network = make_network()
    with torch.no_grad():
        network[3].bias[1] = float("nan")  # type: ignore[union-attr, operator]
    with pytest.raises(NetworkUnsupported, match="no finite number"):
        read_network(network, ARCHITECTURE, SCALES)
