"""A client's part of one learning round: from the global model to an integer model of its own."""

from __future__ import annotations

import math
from dataclasses import replace

from federated.calibration import Progress
from federated.data import LabeledImages
from federated.float_model import FloatModel
from federated.task_scales import TaskScales, find_scales, quantize_for_task
from federated.train import TrainSettings, train
from prover.model.layers import Shape
from prover.model.network import Architecture, QuantizedModel

LOCAL = TrainSettings(epochs=6, batch_size=64, learning_rate=4e-3, max_shift=1)
"""How a client trains in one round: long enough to learn, short enough not to drift far off."""
WARM_UP = TrainSettings(epochs=1, batch_size=64, max_shift=1)
LEAST_SIDE = 8
"""Pixels. What is no square of so many is taken for a row of numbers, which are not moved about."""


def warm_up(
    public: LabeledImages,
    architecture: Architecture,
    progress: Progress,
    *,
    settings: TrainSettings = WARM_UP,
) -> tuple[FloatModel, TaskScales]:
    """What a task starts with: a model of public samples, and scales from it."""
    fitting = _fit_shift(settings, architecture.input_shape)
    model = train(public.images, public.labels, architecture, fitting, progress)
    return model, find_scales(model, public.images, progress, architecture=architecture)


def improve(
    start: FloatModel,
    samples: LabeledImages,
    *,
    architecture: Architecture,
    scales: TaskScales,
    seed: int,
    progress: Progress,
    settings: TrainSettings = LOCAL,
) -> QuantizedModel:
    """Trains on from the global model, and rounds by the task's scales.

    samples : the client's own with the task's public ones, which keep clients of few classes from
              forgetting the others (Zhao et al., arXiv 1806.00582)
    raises  : RangeExceeded (owner's eyes only); FloatModelInvalid for a start of another task
    """
    own = _fit_shift(replace(settings, seed=seed), architecture.input_shape)
    model = train(samples.images, samples.labels, architecture, own, progress, start=start)
    return quantize_for_task(model, architecture, scales)


def _fit_shift(settings: TrainSettings, shape: Shape) -> TrainSettings:
    """The settings, without shifts where samples of this shape are no square images."""
    width = math.prod(shape[1:] if len(shape) == 3 else shape)
    is_square = math.isqrt(width) ** 2 == width >= LEAST_SIDE**2
    return settings if is_square else replace(settings, max_shift=0)
