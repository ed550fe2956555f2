"""Rounds of learning without a chain, on real samples. Needs PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra `federated` (PyTorch) is not installed")

import torch

from federated.data import LabeledImages, load
from federated.errors import FloatModelInvalid
from federated.experiment import RoundOutcome, count_correct, run_rounds
from federated.float_model import encode_float_model
from federated.local import LOCAL, improve, warm_up
from federated.partition import split_by_label
from federated.train import TrainSettings, augment, train
from prover.model.layers import Linear, Requant
from prover.model.network import Architecture
from prover.model.planes import Conv2d, Window
from prover.model.pooling import Flatten, SumPool

ARCHITECTURE = Architecture.mlp([784, 64, 10])
RESIDUAL = Architecture.of(
    (1, 28, 28),
    [
        Conv2d(
            n_out=4, window=Window(kernel=(5, 5), stride=(2, 2), pads=(2, 2, 1, 1)), inputs=(0,),
            requant=Requant(),
        ),
        Conv2d(
            n_out=4, window=Window(kernel=(3, 3), pads=(1, 1, 1, 1)), inputs=(1, 1),
            requant=Requant(shift=8), skip_scale=64,
        ),
        SumPool(window=Window(kernel=(2, 2), stride=(2, 2)), inputs=(2,)),
        Flatten(inputs=(3,)),
        Linear(n_out=10, inputs=(4,)),
    ],
)  # fmt: skip
N_PUBLIC = 500
NOWHERE = Path("no-such-folder")


def ignore(what: str, done: int, total: int) -> None:
    assert 0 <= done <= total, what


def take(name: str, where: slice) -> LabeledImages:
    images, labels = load("mnist", name, NOWHERE)
    return LabeledImages(images=images[where], labels=labels[where])


@pytest.fixture(scope="module")
def public() -> LabeledImages:
    return take("train", slice(0, N_PUBLIC))


@pytest.fixture(scope="module")
def outcomes(public: LabeledImages) -> list[RoundOutcome]:
    own = take("train", slice(N_PUBLIC, 6000))
    parts = split_by_label(own.labels, n_clients=5, concentration=0.5, seed=1, least=200)
    clients = [LabeledImages(images=own.images[p], labels=own.labels[p]) for p in parts]
    test = take("test", slice(0, 2048))
    return list(
        run_rounds(clients, public, test, architecture=ARCHITECTURE, n_rounds=3, progress=ignore)
    )


def test_each_round_is_better_than_the_one_before(outcomes: list[RoundOutcome]) -> None:
    counts = [outcome.global_count for outcome in outcomes]
    assert counts[0] < counts[1] < counts[2]
    assert counts[2] > 0.9 * 2048


def test_the_mean_is_better_than_its_parts(outcomes: list[RoundOutcome]) -> None:
    """What a client of few classes lacks, others know: this is why they meet."""
    last = outcomes[-1]
    assert last.global_count > max(last.counts)
    assert last.global_count == count_correct(
        last.global_model.rounded(), take("test", slice(0, 2048))
    )


def test_networks_with_convolutions_learn_in_rounds(public: LabeledImages) -> None:
    """By shifts and factors that the task has fixed: skips and pools average as all else does."""
    clients = [take("train", slice(start, start + 700)) for start in (1000, 2000, 3000)]
    test = take("test", slice(0, 512))
    rounds = run_rounds(clients, public, test, architecture=RESIDUAL, n_rounds=2, progress=ignore)
    first, second = rounds
    assert first.global_model.architecture == RESIDUAL
    assert second.global_count > 0.75 * 512
    assert second.global_count > first.global_count


def test_the_same_seed_makes_the_same_integers(public: LabeledImages) -> None:
    samples = take("train", slice(1000, 1300))
    start, scales = warm_up(public, ARCHITECTURE, ignore)
    first, again, other = (
        improve(
            start,
            samples,
            architecture=ARCHITECTURE,
            scales=scales,
            seed=seed,
            progress=ignore,
            settings=TrainSettings(epochs=1, max_shift=1),
        )
        for seed in (4, 4, 5)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first.weights, again.weights, strict=True))
    assert not np.array_equal(first.weights[0], other.weights[0])


def test_training_goes_on_from_a_model(public: LabeledImages) -> None:
    """With its normalization; a rate of nearly zero leaves its weights where they are."""
    arch = Architecture.mlp((784, 8, 10))
    first = train(public.images, public.labels, arch, TrainSettings(epochs=1), ignore)
    still = TrainSettings(epochs=1, learning_rate=1e-12, seed=9)
    bright = np.full_like(public.images, 255)
    after = train(bright, public.labels, arch, still, ignore, start=first)
    assert (after.mean, after.std) == (first.mean, first.std)
    for a, b in zip(first.weights, after.weights, strict=True):
        assert np.allclose(a, b, atol=1e-6)
    with pytest.raises(FloatModelInvalid, match="784-8-10"):
        train(
            public.images, public.labels, Architecture.mlp((784, 9, 10)), still, ignore, start=first
        )


def test_training_leaves_its_start_alone(public: LabeledImages) -> None:
    arch = Architecture.mlp((784, 8, 10))
    first = train(public.images, public.labels, arch, TrainSettings(epochs=1), ignore)
    before = encode_float_model(first)
    train(public.images, public.labels, arch, LOCAL, ignore, start=first)
    assert encode_float_model(first) == before


def test_shifts_move_images_whole() -> None:
    """Every image is one of the nine that moving it by at most a pixel can give."""
    image = torch.arange(1.0, 17.0)
    settings = TrainSettings(max_shift=1)
    generator = torch.Generator().manual_seed(0)
    moved = augment(image.repeat(200, 1), settings, -1.0, generator)
    padded = torch.full((6, 6), -1.0)
    padded[1:5, 1:5] = image.view(4, 4)
    possible = {
        tuple(padded[i : i + 4, j : j + 4].flatten().tolist()) for i in range(3) for j in range(3)
    }
    assert {tuple(row.tolist()) for row in moved} == possible
    with pytest.raises(ValueError, match="max_shift"):
        TrainSettings(max_shift=-1)
