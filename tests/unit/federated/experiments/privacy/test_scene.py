"""Rows of parameters are the models of a chain, and its means are means of rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from consensus.learning.aggregate import combine
from federated.accuracy import count_correct
from federated.data import LabeledImages
from federated.experiments.privacy.scene import (
    Task,
    count_rows,
    deal_samples,
    flatten_model,
    load_test,
    quantize_rows,
    restore_model,
    show_models,
)
from federated.task_scales import TaskScales, dequantize
from federated.train import draw_model
from prover.model.presets import parse_architecture


@pytest.fixture
def task() -> Task:
    architecture = parse_architecture("mlp-784-4-10")
    start = draw_model(architecture, mean=0.13, std=0.3, seed=3)
    scales = TaskScales(weights=(5e-5, 5e-3), mean=0.13, std=0.3)
    return Task(start=start, row=flatten_model(start), scales=scales)


def draw_rows(task: Task, n: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return task.row + 0.05 * torch.randn(n, len(task.row), generator=generator)


def test_a_row_is_its_model(task: Task) -> None:
    assert torch.equal(flatten_model(restore_model(task.row, task)), task.row)
    convolutions = draw_model(parse_architecture("lenet-small"), mean=0.5, std=0.2)
    other = Task(start=convolutions, row=flatten_model(convolutions), scales=task.scales)
    again = restore_model(other.row, other)
    pairs = zip(again.weights, convolutions.weights, strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)


def test_means_of_rows_are_those_of_the_chain(task: Task) -> None:
    models = quantize_rows(draw_rows(task, 7), task)
    shown = show_models(models, task)
    exact = flatten_model(dequantize(combine([(model, 1) for model in models]), task.scales))
    assert torch.allclose(shown.mean(0), exact, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(shown[0], exact, rtol=1e-2)


def test_integers_stand_for_the_network_they_round(task: Task) -> None:
    rows = draw_rows(task, 2)
    steps = (show_models(quantize_rows(rows, task), task) - rows).abs()
    n_first = 4 * 784
    assert steps[:, :n_first].max() <= 0.5 * 5e-5 * 255 * 0.3 * 1.001


def test_counts_are_of_the_integer_evaluator(task: Task, tmp_path: Path) -> None:
    models = quantize_rows(draw_rows(task, 3), task)
    shard = load_test("mnist", tmp_path, n=64)
    assert count_rows(models, shard).tolist() == [count_correct(m, shard) for m in models]


def test_parts_are_disjoint_and_drawn_by_the_seed(tmp_path: Path) -> None:
    parts, origin = deal_samples("mnist", (30, 20), seed=1, data_dir=tmp_path)
    again, _ = deal_samples("mnist", (30, 20), seed=1, data_dir=tmp_path)
    other, _ = deal_samples("mnist", (30, 20), seed=2, data_dir=tmp_path)
    assert (origin, [len(part) for part in parts]) == ("packaged", [30, 20])
    assert _tell(parts[0]).isdisjoint(_tell(parts[1]))
    assert np.array_equal(parts[1].images, again[1].images)
    assert not np.array_equal(parts[1].images, other[1].images)
    with pytest.raises(ValueError, match="more than are here"):
        deal_samples("mnist", (6000, 1), seed=1, data_dir=tmp_path)


def _tell(part: LabeledImages) -> set[bytes]:
    return {image.tobytes() for image in part.images}
