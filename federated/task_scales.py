"""Scales that all clients of a task share, so that their integers mean the same numbers.

A mean of integer models is the model of the mean only when every client divided by the same scales.
So they are found once, from a public warm-up model, and stand in the genesis of the task:

    weight   W = W_int S_w,  b = b_int S_w S_x;  S_x = 1 for pixels, S_w S_x 2^s / m after a layer
    pixels   the network sees (pixel / 255 - mean) / std, folded into its first layer
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from consensus.learning.aggregate import ONE, GlobalModel
from consensus.wire.genesis import Task
from federated.calibration import Progress, calibrate
from federated.errors import FloatModelInvalid, ScalesInvalid
from federated.float_model import FloatModel
from federated.rounding import compute_value_scales, round_model
from kernels.numpy_types import UInt8Array
from prover.model.network import Architecture, QuantizedModel

HEADROOM = 1.5
"""How much coarser a task's scales are than its warm-up model needs."""
NORMALIZATION = "normalization"
WEIGHTS = "weights"

NamedLists = tuple[tuple[str, tuple[float, ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskScales:
    """weights : S_w per layer; mean, std : of pixel / 255"""

    weights: tuple[float, ...]
    mean: float
    std: float

    def __post_init__(self) -> None:
        positive = all(0 < x < math.inf for x in (*self.weights, self.std))
        if not positive or not math.isfinite(self.mean):
            raise ScalesInvalid("scales are positive, and the mean is a number")

    def to_lists(self) -> NamedLists:
        """The scales as `consensus.wire.genesis.Task.scales` has them."""
        return (NORMALIZATION, (self.mean, self.std)), (WEIGHTS, self.weights)

    @classmethod
    def of_task(cls, task: Task) -> TaskScales:
        """Inverse of `to_lists`. Raises ScalesInvalid when the task has no scales of this kind."""
        lists = dict(task.scales)
        if set(lists) != {NORMALIZATION, WEIGHTS} or len(lists[NORMALIZATION]) != 2:
            raise ScalesInvalid("the task names no weight scales and normalization")
        if len(lists[WEIGHTS]) != len(task.architecture.layers):
            raise ScalesInvalid("there is not one weight scale per layer")
        mean, std = lists[NORMALIZATION]
        return cls(weights=lists[WEIGHTS], mean=mean, std=std)


def find_scales(
    model: FloatModel, images: UInt8Array, progress: Progress, *, architecture: Architecture
) -> TaskScales:
    """The scales of a task, from a public model trained a little, and public samples.

    Leaves its weights and activations room to grow. Raises as `federated.quantize.calibrate`.
    """
    weights = calibrate(model, images, progress, architecture=architecture, headroom=HEADROOM)
    return TaskScales(weights=weights, mean=model.mean, std=model.std)


def quantize_for_task(
    model: FloatModel, architecture: Architecture, scales: TaskScales
) -> QuantizedModel:
    """The integer model under the task's scales; what leaves the range of a weight is clipped.

    raises : FloatModelInvalid for other widths or another normalization than the task's;
             RangeExceeded (owner's eyes only)
    """
    if (model.mean, model.std) != (scales.mean, scales.std):
        raise FloatModelInvalid("it was trained with another normalization than the task's")
    return round_model(model, architecture, scales.weights)


def dequantize(model: GlobalModel, scales: TaskScales) -> FloatModel:
    """The real numbers that a global model stands for: where the next round's training starts."""
    arch = model.architecture
    weights, biases = [], []
    value_scales = compute_value_scales(arch, scales.weights)
    for index, layer in enumerate(arch.layers):
        scale = scales.weights[index]
        w = model.weights[index] * (scale / ONE)
        b = model.biases[index] * (scale * value_scales[layer.inputs[0]] / ONE)
        if index == arch.entrance:  # its own see raw pixels
            b = b + w.reshape(len(w), -1).sum(axis=1) * (255.0 * scales.mean)
            w = w * (255.0 * scales.std)
        weights.append(w.astype(np.float32))
        biases.append(b.astype(np.float32))
    return FloatModel(
        architecture=arch,
        weights=tuple(weights),
        biases=tuple(biases),
        mean=scales.mean,
        std=scales.std,
        record={},
    )
