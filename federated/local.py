"""A client's part of one learning round: from the global model to an integer model of its own."""

from __future__ import annotations

from dataclasses import replace

from federated.data import LabeledImages
from federated.float_model import FloatModel
from federated.quantize import Progress
from federated.task_scales import TaskScales, find_scales, quantize_for_task
from federated.train import TrainSettings, train
from prover.model.network import Architecture, QuantizedModel

LOCAL = TrainSettings(epochs=6, batch_size=64, learning_rate=4e-3, max_shift=1)
"""How a client trains in one round: long enough to learn, short enough not to drift far off."""
WARM_UP = TrainSettings(epochs=1, batch_size=64, max_shift=1)


def warm_up(
    public: LabeledImages, architecture: Architecture, progress: Progress
) -> tuple[FloatModel, TaskScales]:
    """What a task starts with: a model that has seen public samples once, and scales from it."""
    sizes = tuple(shape[0] for shape in architecture.shapes)
    model = train(public.images, public.labels, sizes, WARM_UP, progress)
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
    own = replace(settings, seed=seed)
    model = train(samples.images, samples.labels, start.sizes, own, progress, start=start)
    return quantize_for_task(model, architecture, scales)
