"""A client's part of one learning round: from the global model to an integer model of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from federated.float_model import FloatModel
from federated.quantize import Progress
from federated.task_scales import TaskScales, find_scales, quantize_for_task
from federated.train import TrainSettings, train
from kernels.numpy_types import UInt8Array
from prover.model.network import Architecture, QuantizedModel

LOCAL = TrainSettings(epochs=6, batch_size=64, learning_rate=4e-3, max_shift=1)
"""How a client trains in one round: long enough to learn, short enough not to drift far off."""
WARM_UP = TrainSettings(epochs=1, batch_size=64, max_shift=1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabeledImages:
    """images : uint8[N, d]; labels : uint8[N]"""

    images: UInt8Array
    labels: UInt8Array

    def __add__(self, other: LabeledImages) -> LabeledImages:
        return LabeledImages(
            images=np.concatenate([self.images, other.images]),
            labels=np.concatenate([self.labels, other.labels]),
        )

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: npt.NDArray[np.int64]) -> LabeledImages:
        """The samples of these indices, in their order."""
        return LabeledImages(images=self.images[indices], labels=self.labels[indices])

    def split(self, n: int) -> tuple[LabeledImages, LabeledImages]:
        """The first n, and the others."""
        indices = np.arange(len(self))
        return self.take(indices[:n]), self.take(indices[n:])


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
