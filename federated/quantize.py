"""Integer quantization with calibration: a trained float MLP becomes a `QuantizedModel`.

Per layer, symmetric int8 weights, multiplier 1 and the architecture's fixed shift s:

    W_int = round(W / S_w),   b_int = round(b / (S_w S_x)),   y_int = z >> s,   S_y = S_w S_x 2^s

S_x is the scale of the layer's integer input. Since m = 1, the weight scale S_w alone decides S_y:
a greater one coarsens the weights, a smaller one clips activations at 255. For each hidden layer
the S_w with the least squared error of the activations on calibration samples is taken, among
those that keep the layer inside the ranges of the circuit. Pixel normalization is folded into the
first layer, whose input is then the raw pixel (S_x = 1). Clients whose integers are to be averaged
round with scales that they share: `federated.task_scales`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from federated.errors import CalibrationFailed, FloatModelInvalid
from federated.float_model import FloatModel
from kernels.numpy_types import Float64Array, Int8Array, Int32Array, Int64Array, UInt8Array
from prover.errors import RangeExceeded
from prover.model.layers import BIAS_MAX, BIAS_MIN, WEIGHT_MAX, Interval, Layer, Requant
from prover.model.network import Architecture, QuantizedModel
from prover.model.ranges import compute_ranges, compute_start, require_quotients

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

    scale: float
    error: float
    after: _State


def quantize(
    model: FloatModel,
    images: UInt8Array,
    progress: Progress,
    *,
    architecture: Architecture | None = None,
) -> QuantizedModel:
    """The integer model with scales of its own, inside all ranges of the circuit.

    images       : uint8[N, d] for calibration; the first 2,048 are used. Not the test set.
    architecture : default: the MLP of the model's widths with default shifts
    progress     : progress("calibrating", layers done, layers)
    raises       : CalibrationFailed, RangeExceeded (owner's eyes only); FloatModelInvalid when
                   widths differ
    """
    arch = architecture or Architecture.mlp(model.sizes)
    return round_model(model, arch, calibrate(model, images, progress, architecture=arch))


def calibrate(
    model: FloatModel,
    images: UInt8Array,
    progress: Progress,
    *,
    architecture: Architecture,
    headroom: float = 1.0,
) -> tuple[float, ...]:
    """The weight scale S_w of each layer; `round_model` applies them.

    headroom : at least 1; coarser scales by this factor leave room for weights and activations
               that grow with further training
    images, progress, raises : as `quantize`
    """
    _require_fit(model, architecture)
    sample = images[:N_CALIBRATION]
    targets = model.activations(sample)
    state = _State(x=sample.astype(np.int64), scale=1.0, interval=compute_start(architecture))
    scales = []
    n_layers = len(architecture.layers)
    progress("calibrating", 0, n_layers)
    for index, layer in enumerate(architecture.layers):
        w, b = _real_parameters(model, index)
        if layer.requant is None:
            # A layer of zeros fits any scale.
            scales.append((_least_scale(w, b, state.scale) or 1.0) * headroom)
        else:
            best = _calibrate(index, layer, layer.requant, w, b, state, targets[index], headroom)
            scales.append(best.scale)
            state = best.after
        progress("calibrating", index + 1, n_layers)
    return tuple(scales)


def round_model(
    model: FloatModel, architecture: Architecture, scales: Sequence[float]
) -> QuantizedModel:
    """The integer model under given weight scales, one per layer, all positive.

    Weights and biases that leave their ranges are clipped.
    raises : RangeExceeded (owner's eyes only) when worst cases leave the ranges of the circuit;
             FloatModelInvalid when widths differ
    """
    _require_fit(model, architecture)
    weights, biases = [], []
    x_scales = compute_input_scales(architecture, scales)
    for index, (scale, x_scale) in enumerate(zip(scales, x_scales, strict=True)):
        w, b = _real_parameters(model, index)
        weight, bias = _round(w, b, scale, x_scale)
        weights.append(weight)
        biases.append(bias)
    rounded = QuantizedModel(
        architecture=architecture, weights=tuple(weights), biases=tuple(biases)
    )
    compute_ranges(rounded)
    return rounded


def compute_input_scales(architecture: Architecture, scales: Sequence[float]) -> tuple[float, ...]:
    """S_x of each layer: 1 for pixels, then S_w S_x 2^s / m of the layer before."""
    found = [1.0]
    for scale, layer in zip(scales, architecture.layers, strict=True):
        if layer.requant is not None:
            found.append(_after(scale, found[-1], layer.requant))
    return tuple(found)


def _after(scale: float, x_scale: float, requant: Requant) -> float:
    """Scale of a layer's requantized output."""
    (multiplier,) = requant.multipliers
    return float(scale * x_scale * 2.0**requant.shift / multiplier)


def _require_fit(model: FloatModel, arch: Architecture) -> None:
    if tuple(shape[0] for shape in arch.shapes) != model.sizes:
        raise FloatModelInvalid(f"its widths are {model.name}, not {arch.name}")
    if not all((layer.requant.least == 0) for layer in arch.layers if layer.requant is not None):
        raise FloatModelInvalid("it has ReLU after every hidden layer, the architecture has not")


def _real_parameters(model: FloatModel, index: int) -> tuple[Float64Array, Float64Array]:
    """Weights and biases as seen by real-valued inputs; the first layer's see raw pixels."""
    w, b = model.weights[index].astype(np.float64), model.biases[index].astype(np.float64)
    if index > 0:
        return w, b
    return w / (255.0 * model.std), b - w.sum(axis=1) * (model.mean / model.std)


def _least_scale(w: Float64Array, b: Float64Array, x_scale: float) -> float:
    """The least S_w for which no weight and no bias leaves its range; 0 of a layer of zeros."""
    return float(max(np.abs(w).max() / WEIGHT_MAX, np.abs(b).max() / x_scale / BIAS_MAX))


def _round(
    w: Float64Array, b: Float64Array, scale: float, x_scale: float
) -> tuple[Int8Array, Int32Array]:
    """Nearest integers, weights clipped to [-127, 127] and biases to [-2^23, 2^23 - 1]."""
    weight = np.clip(np.rint(w / scale), -WEIGHT_MAX, WEIGHT_MAX).astype(np.int8)
    bias = np.clip(np.rint(b / (scale * x_scale)), BIAS_MIN, BIAS_MAX).astype(np.int32)
    return weight, bias


def _calibrate(
    index: int,
    layer: Layer,
    requant: Requant,
    w: Float64Array,
    b: Float64Array,
    state: _State,
    target: Float64Array,
    headroom: float,
) -> _Candidate:
    """The weight scale with the least squared error of the activations, among those that fit.

    Found without headroom, which is applied at the end: coarser weights have smaller quotients.
    """
    least = _least_scale(w, b, state.scale)
    if least == 0:
        # Zeros fit any scale, and the next layer's biases are rounded by this one's output scale:
        # the whole range is one. Coarser, they would all become 0.
        least = 1.0 / (requant.y_range[1] * _after(1.0, state.scale, requant))
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
    if headroom == 1:
        return best
    return _try_scale(index, layer, requant, w, b, state, target, best.scale * headroom)


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
    q = requant.bounds(layer.bounds([state.interval], weight, bias))
    require_quotients(index, q, requant)
    y = requant.apply(layer.accumulate([state.x], weight, bias)).y
    y_scale = _after(scale, state.scale, requant)
    return _Candidate(
        scale=scale,
        error=float(np.mean((y * y_scale - np.maximum(target, 0.0)) ** 2)),
        after=_State(
            x=y, scale=y_scale, interval=Interval(requant.clamp(q.lo), requant.clamp(q.hi))
        ),
    )
