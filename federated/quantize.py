"""Integer quantization with calibration: a trained float MLP becomes a `QuantizedModel`.

Per layer, symmetric int8 weights, multiplier 1 and the architecture's fixed shift s:

    W_int = round(W / S_w),   b_int = round(b / (S_w S_x)),   y_int = z >> s,   S_y = S_w S_x 2^s

S_x is the scale of the layer's integer input. Since m = 1, the weight scale S_w alone decides S_y:
a greater one coarsens the weights, a smaller one clips activations at 255. For each hidden layer
the S_w with the least squared error of the activations on calibration samples is taken, among
those that keep the layer inside the ranges of the circuit. Pixel normalization is folded into the
first layer, whose input is then the raw pixel (S_x = 1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from federated.data import UInt8Array
from federated.errors import CalibrationFailed, FloatModelInvalid
from federated.float_model import FloatModel
from prover.errors import RangeExceeded
from prover.layers import (
    BIAS_BITS,
    WEIGHT_MAX,
    Int8Array,
    Int32Array,
    Int64Array,
    Interval,
    Layer,
    Requant,
)
from prover.model import Architecture, QuantizedModel
from prover.ranges import compute_ranges, compute_start, require_quotients

Float64Array = npt.NDArray[np.float64]
Progress = Callable[[str, int, int], None]

N_CALIBRATION = 2048
# Weight scales to try, as multiples of the least that clips no weight: 2^-1 to 2^6.
CANDIDATES = tuple(2.0 ** (i / 4) for i in range(-4, 25))


@dataclass(frozen=True, slots=True, eq=False)
class _State:
    """Between two layers: integer activations, their scale, and their worst-case interval."""

    x: Int64Array
    scale: float
    interval: Interval


@dataclass(frozen=True, slots=True, eq=False)
class _Candidate:
    """One layer quantized with one weight scale."""

    weight: Int8Array
    bias: Int32Array
    error: float
    after: _State


def quantize(
    model: FloatModel,
    images: UInt8Array,
    progress: Progress,
    *,
    architecture: Architecture | None = None,
) -> QuantizedModel:
    """The integer model, inside all ranges of the circuit.

    images       : uint8[N, d] for calibration; the first 2,048 are used. Not the test set.
    architecture : default: the MLP of the model's widths with default shifts
    progress     : progress("calibrating", layers done, layers)
    raises       : CalibrationFailed, RangeExceeded (owner's eyes only); FloatModelInvalid when
                   widths differ
    """
    arch = architecture or Architecture.mlp(model.sizes)
    if tuple(shape[0] for shape in arch.shapes) != model.sizes:
        raise FloatModelInvalid(f"its widths are {model.name}, not {arch.name}")
    if not all(layer.requant.relu for layer in arch.layers if layer.requant is not None):
        raise FloatModelInvalid("it has ReLU after every hidden layer, the architecture has not")
    sample = images[:N_CALIBRATION]
    targets = model.activations(sample)
    state = _State(x=sample.astype(np.int64), scale=1.0, interval=compute_start(arch))
    weights, biases = [], []
    progress("calibrating", 0, len(arch.layers))
    for index, layer in enumerate(arch.layers):
        w, b = _real_parameters(model, index)
        if layer.requant is None:
            scale = _least_scale(w, b, state.scale)
            weight, bias = _round(w, b, scale, state.scale)
        else:
            best = _calibrate(index, layer, layer.requant, w, b, state, targets[index])
            weight, bias, state = best.weight, best.bias, best.after
        weights.append(weight)
        biases.append(bias)
        progress("calibrating", index + 1, len(arch.layers))
    quantized = QuantizedModel(architecture=arch, weights=tuple(weights), biases=tuple(biases))
    compute_ranges(quantized)
    return quantized


def _real_parameters(model: FloatModel, index: int) -> tuple[Float64Array, Float64Array]:
    """Weights and biases as seen by real-valued inputs; the first layer's see raw pixels."""
    w, b = model.weights[index].astype(np.float64), model.biases[index].astype(np.float64)
    if index > 0:
        return w, b
    return w / (255.0 * model.std), b - w.sum(axis=1) * (model.mean / model.std)


def _least_scale(w: Float64Array, b: Float64Array, x_scale: float) -> float:
    """The least S_w for which no weight and no bias leaves its range."""
    bias_max = (1 << BIAS_BITS) - 1
    scale = max(np.abs(w).max() / WEIGHT_MAX, np.abs(b).max() / x_scale / bias_max)
    return float(scale) or 1.0  # an all-zero layer fits any scale


def _round(
    w: Float64Array, b: Float64Array, scale: float, x_scale: float
) -> tuple[Int8Array, Int32Array]:
    """Nearest integers, weights clipped to [-127, 127] and biases to |b| < 2^23."""
    bias_max = (1 << BIAS_BITS) - 1
    weight = np.clip(np.rint(w / scale), -WEIGHT_MAX, WEIGHT_MAX).astype(np.int8)
    bias = np.clip(np.rint(b / (scale * x_scale)), -bias_max, bias_max).astype(np.int32)
    return weight, bias


def _calibrate(
    index: int,
    layer: Layer,
    requant: Requant,
    w: Float64Array,
    b: Float64Array,
    state: _State,
    target: Float64Array,
) -> _Candidate:
    """The weight scale with the least squared error of the activations, among those that fit."""
    least = _least_scale(w, b, state.scale)
    best: _Candidate | None = None
    refusal: RangeExceeded | None = None
    for factor in CANDIDATES:
        try:
            tried = _try_scale(index, layer, requant, w, b, state, target, least * factor)
        except RangeExceeded as error:
            refusal = error
            continue
        if best is None or tried.error < best.error:
            best = tried
    if best is None:
        assert refusal is not None  # every candidate was refused
        raise CalibrationFailed(layer=index, last=refusal)
    return best


def _try_scale(
    index: int,
    layer: Layer,
    requant: Requant,
    w: Float64Array,
    b: Float64Array,
    state: _State,
    target: Float64Array,
    scale: float,
) -> _Candidate:
    """Quantizes one layer with weight scale S_w; RangeExceeded when its quotients do not fit."""
    weight, bias = _round(w, b, scale, state.scale)
    q = requant.bounds(layer.bounds(state.interval, weight, bias))
    require_quotients(index, q, requant)
    y = requant.apply(layer.accumulate(state.x, weight, bias)).y
    y_scale = scale * state.scale * 2.0**requant.shift / requant.multiplier
    return _Candidate(
        weight=weight,
        bias=bias,
        error=float(np.mean((y * y_scale - np.maximum(target, 0.0)) ** 2)),
        after=_State(
            x=y, scale=y_scale, interval=Interval(requant.clamp(q.lo), requant.clamp(q.hi))
        ),
    )
