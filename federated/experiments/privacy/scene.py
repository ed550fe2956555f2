"""What a round is measured on: a public start, clients' samples, and models as rows of parameters.

The attacker has the public samples, the start that was trained on them, and samples of its own of
the same kind; the clients' are others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from consensus.learning.aggregate import combine
from federated.accuracy import count_correct
from federated.data import DatasetRef, LabeledImages, Origin, load_samples
from federated.experiments.simulation.vectors import to_model, to_vector
from federated.float_model import FloatModel
from federated.local import warm_up
from federated.task_scales import TaskScales, dequantize, quantize_for_task
from federated.train import TrainSettings
from kernels.numpy_types import Float64Array
from prover.model.network import QuantizedModel
from prover.model.presets import parse_architecture


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """The public start of a round, float32[P] as a row too, and the scales of its integers."""

    start: FloatModel
    row: torch.Tensor
    scales: TaskScales


def deal_samples(
    name: str, sizes: Sequence[int], *, seed: int, data_dir: Path
) -> tuple[tuple[LabeledImages, ...], Origin]:
    """Disjoint parts of the training split, drawn by the seed, and where they came from.

    raises : ValueError when there are fewer samples here
    """
    samples = load_samples(DatasetRef.parse(f"{name}:train"), data_dir)
    if sum(sizes) > len(samples.labels):
        raise ValueError(f"{sum(sizes)} samples of {name} are asked for, more than are here")
    order = np.random.default_rng(seed).permutation(len(samples.labels))
    every = LabeledImages(images=samples.images, labels=samples.labels)
    ends = np.cumsum(sizes)
    parts = [every.take(order[end - size : end]) for size, end in zip(sizes, ends, strict=True)]
    return tuple(parts), samples.origin


def load_test(name: str, data_dir: Path, *, n: int) -> LabeledImages:
    """The first n samples of the test split: they are public, and no client trains on them."""
    samples = load_samples(DatasetRef.parse(f"{name}:test[0:{n}]"), data_dir)
    return LabeledImages(images=samples.images, labels=samples.labels)


def open_task(architecture: str, public: LabeledImages, *, n_epochs: int, seed: int) -> Task:
    """A start that was trained on public samples, and its scales, as tasks of a chain begin."""
    settings = TrainSettings(epochs=n_epochs, batch_size=64, max_shift=1, seed=seed)
    start, scales = warm_up(
        public, parse_architecture(architecture), lambda *_: None, settings=settings
    )
    return Task(start=start, row=flatten_model(start), scales=scales)


def flatten_model(model: FloatModel) -> torch.Tensor:
    """float32[P]: layer by layer the weights, row-major, then the biases."""
    return torch.from_numpy(to_vector(model))


def restore_model(row: torch.Tensor, task: Task) -> FloatModel:
    """Inverse of `flatten_model`, for networks of the task."""
    return to_model(row.numpy(), task.start.architecture, task.scales)


def quantize_rows(rows: torch.Tensor, task: Task) -> tuple[QuantizedModel, ...]:
    """The integer models that clients commit to, of networks float32[T, P]."""
    architecture = task.start.architecture
    return tuple(
        quantize_for_task(restore_model(row, task), architecture, task.scales) for row in rows
    )


def show_models(models: Sequence[QuantizedModel], task: Task) -> torch.Tensor:
    """float32[T, P], the real numbers that integer models stand for: what is learned of a chain
    when a model is seen alone. The mean of rows is that of the chain's exact mean, to float32."""
    return torch.stack(
        [flatten_model(dequantize(combine([(model, 1)]), task.scales)) for model in models]
    )


def count_rows(models: Sequence[QuantizedModel], shard: LabeledImages) -> Float64Array:
    """float64[T], the count k that each model's proof shows on the public samples."""
    return np.array([count_correct(model, shard) for model in models], dtype=np.float64)
