"""Pictures out of the first layer's rows: exact where one sample alone reached a neuron."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from federated.experiments.kinds import Cell, Lab
from federated.experiments.privacy.experiment import EXPERIMENT
from federated.experiments.privacy.figures import decode_picture
from federated.experiments.privacy.pictures import find_best
from federated.experiments.privacy.rows import (
    GUESSED,
    InversionSizes,
    Judge,
    guess_pictures,
    take_class_means,
)
from federated.experiments.privacy.scene import Task, deal_samples, flatten_model
from federated.experiments.privacy.stack import Schedule, normalize, train_stack
from federated.task_scales import TaskScales
from federated.train import draw_model
from kernels.backend import get_backend
from prover.model.presets import parse_architecture


@pytest.fixture
def task() -> Task:
    start = draw_model(parse_architecture("mlp-784-32-10"), mean=0.13, std=0.3, seed=3)
    scales = TaskScales(weights=(5e-5, 5e-3), mean=0.13, std=0.3)
    return Task(start=start, row=flatten_model(start), scales=scales)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(
        data_dir=tmp_path,
        scratch=tmp_path,
        backend=get_backend("cpu"),
        progress=lambda what, done, total: None,
    )


def test_one_sample_is_read_off_an_update(task: Task, tmp_path: Path) -> None:
    (own,), _ = deal_samples("mnist", (4,), seed=1, data_dir=tmp_path)
    x, y = normalize(own, task.start)
    rows = train_stack(
        task.row,
        task.start.architecture,
        x,
        y,
        torch.arange(4)[:, None],
        Schedule(n_epochs=3, batch_size=1, learning_rate=0.1),
        torch.Generator(),
    )
    for row, image in zip(rows, own.images, strict=True):
        guesses = guess_pictures(row - task.row, task)
        assert find_best(guesses, image[None].astype(np.float64)).psnr > 50
    together = guess_pictures(rows.mean(0) - task.row, task)
    assert together.min() >= 0.0
    assert together.max() <= 255.0


def test_a_neuron_that_nothing_reached_gives_no_guess(task: Task) -> None:
    assert guess_pictures(torch.zeros_like(task.row), task).shape == (0, 784)


def test_judge_looks_at_each_targets_own_samples(tmp_path: Path) -> None:
    (own,), _ = deal_samples("mnist", (4,), seed=1, data_dir=tmp_path)
    sizes = InversionSizes(
        n_public=1, n_own=2, n_targets=2, n_others=0, noises=(), numbers=(), n_pictures=1
    )
    judge = Judge(own, sizes, shape=(28, 28))
    images = own.images.astype(np.float64)
    right = judge.rate([images[1:2], images[2:3]])
    assert right["psnr"] == pytest.approx(60.0)
    assert right["ssim"] == pytest.approx(1.0)
    ((original, guess),) = right["pictures"]
    assert original == guess
    assert np.array_equal(decode_picture(guess, (28, 28)).reshape(-1), own.images[1])
    swapped = judge.rate([images[2:3], images[1:2]])
    assert swapped["psnr"] < 20
    none = judge.rate([images[:0], images[2:3]])
    assert 30 < none["psnr"] < 40


def test_class_means(tmp_path: Path) -> None:
    (own,), _ = deal_samples("mnist", (60,), seed=1, data_dir=tmp_path)
    means = take_class_means(own)
    classes = np.unique(own.labels)
    assert np.allclose(means[-1], own.images[own.labels == classes[-1]].mean(axis=0))


def test_updates_show_pictures_and_integer_sums_do_not(lab: Lab) -> None:
    cell = Cell(
        seed=0,
        parameters={
            "part": "rows",
            "architecture": "mlp-784-32-10",
            "n_public": 200,
            "n_own": 2,
            "n_targets": 3,
            "n_others": 9,
            "n_epochs": 2,
            "batch_size": 1,
            "learning_rate": 0.1,
            "noises": "0.1",
            "numbers": "3",
            "n_pictures": 1,
        },
    )
    result = EXPERIMENT.run(cell, lab)
    psnr = {name: found["psnr"] for name, found in result["reveals"].items()}
    assert set(psnr) == {"raw", "noised-0.1", "clear", "sum-3", "floats-3", GUESSED}
    assert psnr["raw"] > 45
    assert psnr["noised-0.1"] < psnr["sum-3"] < psnr["floats-3"] - 3 < psnr["raw"] - 3
    assert result["origin"] == "packaged"
    assert len(result["reveals"]["raw"]["pictures"]) == 1
