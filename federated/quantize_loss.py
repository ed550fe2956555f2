"""What rounding to integers costs in accuracy, and which layer it is lost in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from federated.float_model import FloatModel
from federated.quantize import compute_input_scales
from kernels.numpy_types import UInt8Array
from prover.model.network import QuantizedModel, is_correct

MAX_DROP = 0.05
"""Of accuracy, as integers against float; a greater one is told."""
_AT_ONCE = 1 << 11  # samples
_MANY_ZEROS = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationLoss:
    """Accuracy before and after rounding.

    by_layer  : accuracy with layers 0 to i as integers and the rest in float; the last: all of them
    layer     : the one after which most is lost
    zeros     : share of its integer weights that are 0
    """

    float_accuracy: float
    by_layer: tuple[float, ...]
    layer: int
    zeros: float

    @property
    def accuracy(self) -> float:
        """Accuracy as integers, a tie counting as wrong."""
        return self.by_layer[-1]

    @property
    def warning(self) -> str | None:
        """What to tell, when more than MAX_DROP is lost. For the owner: it is about weights."""
        if self.float_accuracy - self.accuracy <= MAX_DROP:
            return None
        why, remedy = "", "quantize it with more calibration samples, or train it again"
        if self.zeros == 1:
            why = ", whose weights are all zero"
            remedy = "train it again: a layer of zeros tells no sample from another"
        elif self.zeros > _MANY_ZEROS:
            why = f", of whose weights {self.zeros:.0%} round to zero beside a few large ones"
            remedy = "train it again with weight decay, or with its large weights clipped"
        return (
            f"accuracy falls from {self.float_accuracy:.2%} to {self.accuracy:.2%}, "
            f"most of it in layer {self.layer} of 0 to {len(self.by_layer) - 1}{why}; {remedy}"
        )


def measure_loss(
    model: FloatModel,
    quantized: QuantizedModel,
    scales: Sequence[float],
    images: UInt8Array,
    labels: UInt8Array,
) -> QuantizationLoss:
    """Accuracy of the model as its layers turn to integers, one after the other.

    scales : by which `quantized` was rounded
    images : uint8[N, d], N >= 1
    cost   : one inference as integers, and one in float for every layer
    """
    real = compute_input_scales(quantized.architecture, scales)
    n_layers = len(model.weights)
    hits = np.zeros(n_layers, dtype=np.int64)
    for start in range(0, len(labels), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        steps = quantized.trace(images[part])
        for index in range(n_layers - 1):
            requant = steps[index].requant
            assert requant is not None, "every layer but the last requantizes"
            logits = _continue(model, index + 1, requant.y * real[index + 1])
            hits[index] += int((logits.argmax(axis=1) == labels[part]).sum())
        hits[-1] += int(is_correct(steps[-1].z, labels[part]).sum())
    before = model.accuracy(images, labels)
    by_layer = tuple(float(n) / len(labels) for n in hits)
    drops = -np.diff([before, *by_layer])
    layer = int(drops.argmax())
    zeros = float(np.mean(quantized.weights[layer] == 0))
    return QuantizationLoss(float_accuracy=before, by_layer=by_layer, layer=layer, zeros=zeros)


def _continue(model: FloatModel, layer: int, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Logits from the inputs of a layer on, in float."""
    for index in range(layer, len(model.weights)):
        if index > layer:
            x = np.maximum(x, 0.0)
        x = x @ model.weights[index].T.astype(np.float64) + model.biases[index]
    return x
