"""Rounds of learning without a chain, on real samples. Needs PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra `federated` (PyTorch) is not installed")

import torch

from federated.accuracy import count_correct
from federated.data import LabeledImages, load
from federated.errors import FloatModelInvalid
from federated.experiments.simulation.batches import LocalTraining
from federated.experiments.simulation.interface import Setting
from federated.experiments.simulation.loop import Round, run_rounds
from federated.experiments.simulation.rules.zkpot import ZkPot
from federated.experiments.simulation.tasks import TaskPlan, make_setting
from federated.float_model import encode_float_model
from federated.local import LOCAL, improve, warm_up
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


TRAINING = LocalTraining(steps=40, batch_size=64, learning_rate=4e-3)
RULE = ZkPot(threshold=0.1, margin=None)


@pytest.fixture(scope="module")
def rounds() -> list[Round]:
    plan = TaskPlan(
        dataset="mnist",
        network="mlp-784-64-10",
        partition="shards",
        n_clients=5,
        n_malicious=0,
        n_public=N_PUBLIC,
        n_train=5500,
        n_pool=512,
        n_test=1536,
    )
    setting = make_setting(plan, NOWHERE, seed=1)
    return list(run_rounds(setting, RULE, None, n_rounds=3, training=TRAINING, n_drawn=512, seed=1))


def test_each_round_is_better_than_the_one_before(rounds: list[Round]) -> None:
    first, second, third = (one.accuracy for one in rounds)
    assert first < second < third
    assert third > 0.8


def test_the_mean_is_better_than_its_parts(rounds: list[Round]) -> None:
    """What a client of few classes lacks, others know: this is why they meet."""
    last = rounds[-1]
    assert last.closing.exact is not None
    has = count_correct(last.closing.exact.rounded(), last.view.setting.shard)
    assert has > last.view.proven.max()
    assert last.closing.accepted.all()


def test_networks_with_convolutions_learn_in_rounds(public: LabeledImages) -> None:
    """By shifts and factors that the task has fixed: skips and pools average as all else does."""
    start, scales = warm_up(public, RESIDUAL, ignore)
    setting = Setting(
        architecture=RESIDUAL,
        clients=tuple(take("train", slice(i, i + 700)) for i in (1000, 2000, 3000)),
        public=public,
        shard=take("test", slice(0, 256)),
        test=take("test", slice(256, 768)),
        start=start,
        scales=scales,
        n_malicious=0,
        stakes=np.ones(3),
        hash_power=np.ones(3),
    )
    first, second = run_rounds(
        setting, RULE, None, n_rounds=2, training=TRAINING, n_drawn=256, seed=1
    )
    assert first.closing.exact is not None
    assert first.closing.exact.architecture == RESIDUAL
    assert second.accuracy > 0.7
    assert second.accuracy > first.accuracy


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
