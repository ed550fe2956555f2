"""Scales between a float network and its integers, and rounding by them.

An integer x of a value stands for the real number S x. Per layer with weights, multiplier m and
shift s, both of the architecture:

    W_int = round(W / S_w),   b_int = round(b / (S_w S_x)),   y_int = (m z) >> s

    linear, conv2d   S_y = S_w S_x 2^s / m; a skip is added as skip_scale S_w S_x = S_skip
    sum_pool         S_y = S_x / area, since the float network takes the mean
    add              S_y = S_a 2^s / (c_a m), and c_b is to be S_b c_a / S_a
    max_pool, flatten  S_y = S_x

Pixel normalization is folded into the layer that the samples enter, whose input is then the raw
pixel (S_x = 1), around its planes too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from federated.errors import FloatModelInvalid
from federated.float_model import FloatModel, is_same_network
from kernels.numpy_types import Float64Array, Int8Array, Int32Array
from prover.model.layers import BIAS_MAX, BIAS_MIN, WEIGHT_MAX, Layer
from prover.model.network import Architecture, QuantizedModel
from prover.model.pooling import Add, SumPool
from prover.model.ranges import compute_ranges


def round_model(
    model: FloatModel, architecture: Architecture, scales: Sequence[float]
) -> QuantizedModel:
    """The integer model under given weight scales, one per layer, all positive.

    Weights and biases that leave their ranges are clipped. Scales of layers without weights are
    not looked at.
    raises : RangeExceeded (owner's eyes only) when worst cases leave the ranges of the circuit;
             FloatModelInvalid when the architecture is of another network
    """
    require_fit(model, architecture)
    weights, biases = [], []
    value_scales = compute_value_scales(architecture, scales)
    for index, layer in enumerate(architecture.layers):
        w, b = get_real_parameters(model, index)
        weight, bias = round_parameters(w, b, scales[index], value_scales[layer.inputs[0]])
        weights.append(weight)
        biases.append(bias)
    rounded = QuantizedModel(
        architecture=architecture, weights=tuple(weights), biases=tuple(biases)
    )
    compute_ranges(rounded)
    return rounded


def compute_value_scales(architecture: Architecture, scales: Sequence[float]) -> tuple[float, ...]:
    """S of every value: 1 of the samples, then of what each layer makes; last the logits'.

    scales : S_w of each layer
    """
    found = [1.0]
    for layer, scale in zip(architecture.layers, scales, strict=True):
        found.append(compute_output_scale(layer, scale, [found[value] for value in layer.inputs]))
    return tuple(found)


def compute_output_scale(layer: Layer, scale: float, taken: Sequence[float]) -> float:
    """S_y of a layer with weight scale S_w that takes values of these scales."""
    if isinstance(layer, SumPool):
        return taken[0] / layer.window.area
    if isinstance(layer, Add):
        z_scale = taken[0] / layer.scales[0]
    elif not has_parameters(layer):
        return taken[0]
    else:
        z_scale = scale * taken[0]
    if layer.requant is None:
        return z_scale
    (multiplier,) = layer.requant.multipliers
    return float(z_scale * 2.0**layer.requant.shift / multiplier)


def has_parameters(layer: Layer) -> bool:
    """Whether the layer has weights and biases."""
    return layer.kind in ("linear", "conv2d")


def require_fit(model: FloatModel, architecture: Architecture) -> None:
    """FloatModelInvalid unless the architecture is the model's network, in integers that one scale
    per layer can stand for."""
    if not is_same_network(model.architecture, architecture):
        raise FloatModelInvalid(f"it is another network than {architecture.name} with its ReLUs")
    if any(x.requant is not None and len(x.requant.multipliers) > 1 for x in architecture.layers):
        raise FloatModelInvalid("the architecture has multipliers per channel; calibrate with one")


def get_real_parameters(model: FloatModel, index: int) -> tuple[Float64Array, Float64Array]:
    """Weights and biases as seen by real-valued inputs; the entrance's see raw pixels."""
    w, b = model.weights[index].astype(np.float64), model.biases[index].astype(np.float64)
    if index != model.architecture.entrance:
        return w, b
    sums = w.reshape(len(w), -1).sum(axis=1)
    return w / (255.0 * model.std), b - sums * (model.mean / model.std)


def round_parameters(
    w: Float64Array, b: Float64Array, scale: float, x_scale: float
) -> tuple[Int8Array, Int32Array]:
    """Nearest integers, weights clipped to [-127, 127] and biases to [-2^23, 2^23 - 1]."""
    weight = np.clip(np.rint(w / scale), -WEIGHT_MAX, WEIGHT_MAX).astype(np.int8)
    bias = np.clip(np.rint(b / (scale * x_scale)), BIAS_MIN, BIAS_MAX).astype(np.int32)
    return weight, bias
