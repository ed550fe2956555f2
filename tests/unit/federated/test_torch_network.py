"""Networks in PyTorch and their float models are the same, normalization of batches folded in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra `federated` (PyTorch) is not installed")

import torch

from federated.data import load
from federated.errors import FloatModelInvalid
from federated.float_model import encode_float_model
from federated.torch_network import TorchNetwork
from federated.train import TrainSettings, augment, draw_model, suggest_settings, train
from prover.model.layers import Linear, Requant
from prover.model.network import Architecture
from prover.model.planes import Conv2d, Window
from prover.model.pooling import Flatten, SumPool
from prover.model.presets import parse_architecture
from tests.unit.federated.test_float_layers import NETWORK, draw_images, draw_network

TINY = Architecture.of(
    (1, 28, 28),
    [
        Conv2d(
            n_out=4, window=Window(kernel=(5, 5), stride=(2, 2), pads=(2, 2, 1, 1)), inputs=(0,),
            requant=Requant(),
        ),
        SumPool(window=Window(kernel=(2, 2), stride=(2, 2)), inputs=(1,)),
        Flatten(inputs=(2,)),
        Linear(n_out=10, inputs=(3,)),
    ],
)  # fmt: skip


def ignore(what: str, done: int, total: int) -> None:
    assert 0 <= done <= total, what


@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_float_model_does_what_the_network_does(batch_norm: bool) -> None:
    generator = torch.Generator().manual_seed(2)
    network = TorchNetwork(NETWORK, generator, mean=0.4, std=0.3, batch_norm=batch_norm)
    images = draw_images(20)
    x = network.normalize(torch.from_numpy(images))
    if batch_norm:
        for norm in network.norms.values():
            with torch.no_grad():
                norm.weight.uniform_(0.5, 2, generator=generator)
                norm.bias.uniform_(-1, 1, generator=generator)
        network.train()
        network(x)  # moves the running statistics
    network.eval()
    with torch.no_grad():
        expected = network(x).numpy()
    model = network.to_model({})
    assert expected.std() > 1e-3
    assert np.allclose(model.logits(images), expected, atol=1e-5)


def test_a_network_takes_a_model_up() -> None:
    model = draw_network()
    network = TorchNetwork(NETWORK, torch.Generator(), mean=model.mean, std=model.std)
    network.load(model)
    assert encode_float_model(network.to_model(model.record)) == encode_float_model(model)


def test_the_start_of_a_network_is_drawn_alike() -> None:
    first, again, other = (
        encode_float_model(draw_model(NETWORK, mean=0.5, std=0.5, seed=seed)) for seed in (1, 1, 2)
    )
    assert first == again != other


SETTINGS = TrainSettings(
    epochs=2, batch_size=32, learning_rate=1e-2, max_shift=1, batch_norm=True, warm_up=0.2
)


@pytest.mark.parametrize(
    "settings", [SETTINGS, replace(SETTINGS, optimizer="sgd", learning_rate=0.1, bfloat16=True)]
)
def test_convolutions_learn(settings: TrainSettings, tmp_path: Path) -> None:
    images, labels = load("mnist", "train", tmp_path)
    images, labels = images[:1500], labels[:1500]
    model = train(images, labels, TINY, settings, ignore)
    assert model.accuracy(images, labels) > 0.7
    assert model.record["settings"]["epochs"] == 2
    again = train(images, labels, TINY, settings, ignore)
    assert encode_float_model(again) == encode_float_model(model)
    # From there without normalization of batches, which is in the weights by now.
    further = train(images, labels, TINY, replace(settings, epochs=1), ignore, start=model)
    assert (further.mean, further.std) == (model.mean, model.std)
    with pytest.raises(FloatModelInvalid, match="it is cnn-1x28x28"):
        train(images, labels, parse_architecture("mlp-784-10"), settings, ignore, start=model)


def test_images_are_moved_and_mirrored() -> None:
    """Every place of a window, both ways round, with the background where nothing was."""
    x = torch.arange(1, 13, dtype=torch.float32).reshape(1, 2, 2, 3).repeat(400, 1, 1, 1)
    settings = TrainSettings(max_shift=1, flip=True)
    moved = augment(x, settings, -7.0, torch.Generator().manual_seed(0)).numpy()
    wide = np.pad(x[0].numpy(), ((0, 0), (1, 1), (1, 1)), constant_values=-7.0)
    places = [wide[:, i : i + 2, j : j + 3] for i in range(3) for j in range(3)]
    expected = {part.tobytes() for place in places for part in (place, place[:, :, ::-1])}
    assert {part.tobytes() for part in moved} == expected
    # A vector is one square plane.
    flat = augment(x[:, 0, :, :2].reshape(400, 4), settings, 0.0, torch.Generator().manual_seed(0))
    assert flat.shape == (400, 4)
    assert len({part.tobytes() for part in flat.numpy()}) > 10


def test_settings_follow_the_network() -> None:
    assert suggest_settings(parse_architecture("mlp-784-128-10")) == TrainSettings()
    digits, photographs, deep = map(
        suggest_settings, map(parse_architecture, ("lenet5", "lenet-small", "resnet20"))
    )
    assert not digits.flip
    assert photographs.flip
    assert deep.optimizer == "sgd"
    assert all(settings.batch_norm for settings in (digits, photographs, deep))
    with pytest.raises(ValueError, match="warm_up"):
        TrainSettings(warm_up=1.0)
