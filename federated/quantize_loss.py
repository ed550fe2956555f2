"""What rounding to integers costs in accuracy, and which layer it is lost in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from federated.float_layers import Floats
from federated.float_model import FloatModel
from federated.rounding import compute_value_scales
from kernels.numpy_types import UInt8Array
from prover.model.network import QuantizedModel, is_correct
from prover.model.samples import shape_samples

MAX_DROP = 0.05
"""Of accuracy, as integers against float; a greater one is told."""
MAX_BY_LAYER = 256
"""Samples on which networks with convolutions are looked at layer by layer."""
_MANY_ZEROS = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationLoss:
    """Accuracy before and after rounding, a tie of integers counting as wrong.

    layers    : those that requantize, and the last one
    by_layer  : of each of these, accuracy with it and those before as integers and the rest in
                float; of networks with convolutions on the first samples
    layer     : the one after which most is lost
    zeros     : share of its integer weights that are 0
    """

    float_accuracy: float
    accuracy: float
    layers: tuple[int, ...]
    by_layer: tuple[float, ...]
    layer: int
    zeros: float

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
            f"most of it in layer {self.layer} of 0 to {self.layers[-1]}{why}; {remedy}"
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
    images : uint8[N, ...], N >= 1
    cost   : two inferences, and one in float for every layer that requantizes
    """
    arch = quantized.architecture
    shaped = shape_samples(images, arch.input_shape)
    n = len(labels) if arch.is_mlp else min(len(labels), MAX_BY_LAYER)
    by_layer = _count_by_layer(model, quantized, scales, shaped[:n], labels[:n])
    is_right = model.logits(shaped).argmax(axis=1) == labels
    exact = is_correct(quantized.logits(shaped), labels)
    shares = [float(is_right[:n].mean()), *(hits / n for hits in by_layer.values())]
    layer = list(by_layer)[int((-np.diff(shares)).argmax())]
    weights = quantized.weights[layer]
    return QuantizationLoss(
        float_accuracy=float(is_right.mean()),
        accuracy=float(exact.mean()),
        layers=tuple(by_layer),
        by_layer=tuple(shares[1:]),
        layer=layer,
        zeros=float(np.mean(weights == 0)) if weights.size else 0.0,
    )


def _count_by_layer(
    model: FloatModel,
    quantized: QuantizedModel,
    scales: Sequence[float],
    images: UInt8Array,
    labels: UInt8Array,
) -> dict[int, int]:
    """How many are correct with the layers up to each as integers, by its number."""
    arch = quantized.architecture
    real = compute_value_scales(arch, scales)
    last = len(arch.layers) - 1
    hits = {i: 0 for i, layer in enumerate(arch.layers) if layer.requant is not None or i == last}
    for start in range(0, len(labels), model.at_once):
        part = slice(start, start + model.at_once)
        steps = quantized.trace(images[part])
        values: dict[int, Floats] = {}
        for index, step in enumerate(steps):
            values[index + 1] = step.y * real[index + 1]
            if index == last:
                hits[index] += int(is_correct(step.z, labels[part]).sum())
            elif index in hits:
                *_, logits = model.trace_from(index + 1, values)
                hits[index] += int((logits.argmax(axis=1) == labels[part]).sum())
    return hits
