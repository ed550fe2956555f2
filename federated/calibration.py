"""Calibration: which scales, and where they are free which shifts, lose least of a float network.

Multipliers are 1, so the weight scale S_w and the shift s decide the scale of a layer's output
(`federated.rounding`): a greater one coarsens activations and weights, a smaller one clips them.
Layer by layer, on calibration samples, that candidate is taken which has the least squared error
of the activations, among those that keep the layer inside the ranges of the circuit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TypeVar

import numpy as np

from federated.errors import CalibrationFailed
from federated.float_layers import Floats, convolve, is_relu
from federated.float_model import FloatModel
from federated.rounding import (
    compute_output_scale,
    get_real_parameters,
    has_parameters,
    require_fit,
    round_parameters,
)
from kernels.numpy_types import Float64Array, Int8Array, Int32Array, Int64Array, UInt8Array
from prover.errors import RangeExceeded
from prover.model.layers import BIAS_MAX, MAX_MULTIPLIER, WEIGHT_MAX, Interval, Layer, Requant
from prover.model.network import Architecture
from prover.model.planes import Conv2d
from prover.model.pooling import Add
from prover.model.ranges import compute_start, require_quotients
from prover.model.samples import shape_samples

Progress = Callable[[str, int, int], None]

N_CALIBRATION = 2048
MAX_VALUES = 1 << 20
"""Of one layer on all calibration samples: networks with large planes get fewer samples."""
CANDIDATES = tuple(2.0 ** (i / 4) for i in range(-4, 25))
"""Weight scales to try, as multiples of the least that clips no weight: 2^-1 to 2^6."""
FREE_CANDIDATES = tuple(2.0 ** (i / 4) for i in range(-4, 7))
"""The same where shifts are tried as well."""
FREE_SHIFTS = range(1, 13)
FREE_ADDITIONS = tuple(2**k for k in range(4, 11))
"""Factors to try of what an addition takes first."""
FREE_Q_BITS = 15
"""At most, where tables are made as small as the worst cases of what was chosen allow."""
MIN_Q_BITS = 9

L = TypeVar("L", bound=Layer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What `federated.rounding.round_model` rounds by.

    architecture : that was given, or with the shifts, factors and tables that were chosen
    scales       : S_w of each layer; 1 of layers without weights
    """

    architecture: Architecture
    scales: tuple[float, ...]


def calibrate(
    model: FloatModel,
    images: UInt8Array,
    progress: Progress,
    *,
    architecture: Architecture,
    headroom: float = 1.0,
) -> tuple[float, ...]:
    """The weight scale S_w of each layer of a given architecture; `round_model` applies them.

    images   : uint8[N, ...]; the first 2,048 are used, or fewer. Not the test set.
    headroom : at least 1; coarser scales by this factor leave room for weights and activations
               that grow with further training. What a skip fixes has none.
    progress : progress("calibrating", layers done, layers)
    raises   : CalibrationFailed (owner's eyes only); FloatModelInvalid when the architecture is of
               another network
    """
    require_fit(model, architecture)
    work = _Work(architecture, is_free=False, headroom=headroom)
    return work.run(model, images, progress).scales


def calibrate_model(model: FloatModel, images: UInt8Array, progress: Progress) -> Calibration:
    """An architecture of the model's network, and its scales.

    Linear layers in a chain keep the model's own architecture, so that what has the same widths has
    the same key. Of other networks shifts (at most 12), factors of skips and additions and the
    sizes of tables are chosen too: tables are as small as the worst cases allow.
    images, progress, raises : as `calibrate`
    """
    if model.architecture.is_mlp:
        scales = calibrate(model, images, progress, architecture=model.architecture)
        return Calibration(architecture=model.architecture, scales=scales)
    require_fit(model, model.architecture)
    return _Work(model.architecture, is_free=True).run(model, images, progress)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class _State:
    """A value: integers on the calibration samples, their scale, and their worst-case interval."""

    x: Int64Array
    scale: float
    interval: Interval


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class _Candidate:
    """A layer that requantizes, in integers. q : least and greatest quotient of all samples."""

    layer: Layer
    scale: float
    error: float
    q: tuple[int, int]
    after: _State


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class _Job:
    """A layer to calibrate: what it takes, its real parameters, and what it is to make."""

    index: int
    layer: Layer
    taken: Sequence[_State]
    w: Float64Array
    b: Float64Array
    target: Floats

    @property
    def least(self) -> float:
        """The least S_w for which no weight and no bias leaves its range; 0 of a layer of zeros."""
        bias = np.abs(self.b).max() / self.taken[0].scale / BIAS_MAX
        return float(max(np.abs(self.w).max() / WEIGHT_MAX, bias))


class _Work:
    """One calibration, layer by layer."""

    def __init__(self, architecture: Architecture, *, is_free: bool, headroom: float = 1.0) -> None:
        self._is_free, self._headroom = is_free, headroom
        self._arch = _widen(architecture) if is_free else architecture
        self._layers: list[Layer] = []
        self._scales: list[float] = []
        self._quotients: list[tuple[int, int] | None] = []

    def run(self, model: FloatModel, images: UInt8Array, progress: Progress) -> Calibration:
        n_layers = len(self._arch.layers)
        progress("calibrating", 0, n_layers)
        for job in self._walk(model, images):
            progress("calibrating", job.index + 1, n_layers)
        layers = self._shrink_tables() if self._is_free else self._layers
        arch = Architecture.of(self._arch.input_shape, layers) if self._is_free else self._arch
        return Calibration(architecture=arch, scales=tuple(self._scales))

    def _walk(self, model: FloatModel, images: UInt8Array) -> Iterator[_Job]:
        """Calibrates one layer after the other; a value is dropped when no layer takes it any
        more."""
        layers = self._arch.layers
        n = min(N_CALIBRATION, max(1, MAX_VALUES // max(map(prod, self._arch.shapes))))
        sample = shape_samples(images[:n], self._arch.input_shape)
        states = {0: _State(sample.astype(np.int64), 1.0, compute_start(self._arch))}
        last_use = {value: i for i, layer in enumerate(layers) for value in layer.inputs}
        for index, target in enumerate(model.trace(sample)):
            layer = layers[index]
            w, b = get_real_parameters(model, index)
            job = _Job(index, layer, [states[v] for v in layer.inputs], w, b, target)
            made = self._calibrate(job)
            if made is not None:
                states[index + 1] = made
            states = {v: state for v, state in states.items() if last_use.get(v, -1) > index}
            yield job

    def _calibrate(self, job: _Job) -> _State | None:
        """Notes the layer, its scale and its quotients; returns what it makes, None of logits."""
        layer = job.layer
        if layer.requant is None:
            scale = (job.least or 1.0) * self._headroom if has_parameters(layer) else 1.0
            self._note(layer, scale, None)
            return None if has_parameters(layer) else _carry(job)
        if isinstance(layer, Add):
            tried = self._try_additions(job, layer)
        elif isinstance(layer, Conv2d) and layer.has_skip:
            tried = self._try_skips(job, layer)
        else:
            tried = self._try_scales(job)
        best = _choose(job, tried)
        if self._headroom != 1 and has_parameters(layer) and len(layer.inputs) == 1:
            # Found without headroom: coarser weights have smaller quotients.
            (best,) = _try(job, layer, best.scale * self._headroom, [layer.requant.shift])
        self._note(best.layer, best.scale, best.q)
        return best.after

    def _note(self, layer: Layer, scale: float, q: tuple[int, int] | None) -> None:
        self._layers.append(layer)
        self._scales.append(scale)
        self._quotients.append(q)

    def _try_scales(self, job: _Job) -> Iterator[Iterable[_Candidate]]:
        """A linear layer or a convolution: any scale will do."""
        requant = _requant_of(job.layer)
        shifts: Sequence[int] = FREE_SHIFTS if self._is_free else [requant.shift]
        factors = FREE_CANDIDATES if self._is_free else CANDIDATES
        least = job.least
        if least == 0:
            # Zeros fit any scale, and the next layer's biases are rounded by this one's output
            # scale: the whole range is one. Coarser, they would all become 0.
            shifts = [requant.shift]
            taken = [state.scale for state in job.taken]
            least = 1.0 / (requant.greatest * compute_output_scale(job.layer, 1.0, taken))
        for factor in factors:
            yield _try(job, job.layer, least * factor, shifts)

    def _try_skips(self, job: _Job, layer: Conv2d) -> Iterator[Iterable[_Candidate]]:
        """A convolution with a skip: its accumulators' scale is a whole part of the skip's."""
        x_scale, skip_scale = (state.scale for state in job.taken)
        if not self._is_free:
            (factor,) = layer.skip_scales
            yield _try(job, layer, skip_scale / (x_scale * factor), [_requant_of(layer).shift])
            return
        seen = set()
        least = job.least or skip_scale / x_scale
        for step in FREE_CANDIDATES:
            factor = round(skip_scale / (x_scale * least * step))
            factor = min(max(factor, 1), MAX_MULTIPLIER)
            if factor not in seen:
                seen.add(factor)
                scaled = replace(layer, skip_scale=factor)
                yield _try(job, scaled, skip_scale / (x_scale * factor), FREE_SHIFTS)

    def _try_additions(self, job: _Job, layer: Add) -> Iterator[Iterable[_Candidate]]:
        """An addition: the factors are as the scales of what is added."""
        if not self._is_free:
            yield _try(job, layer, 1.0, [layer.requant.shift])
            return
        ratio = job.taken[1].scale / job.taken[0].scale
        for first in FREE_ADDITIONS:
            second = min(max(round(first * ratio), 1), MAX_MULTIPLIER)
            yield _try(job, replace(layer, scales=(first, second)), 1.0, FREE_SHIFTS)

    def _shrink_tables(self) -> list[Layer]:
        """The layers with the smallest table of quotients for all that clamp alike: a circuit has
        each table once."""
        bits: dict[tuple[int, int], int] = {}
        for layer, q in zip(self._layers, self._quotients, strict=True):
            if q is not None:
                kind = _requant_of(layer).y_range
                needed = max((-q[0] - 1).bit_length(), q[1].bit_length()) + 1
                bits[kind] = max(bits.get(kind, MIN_Q_BITS), needed)
        return [
            layer
            if layer.requant is None
            else with_requant(layer, replace(layer.requant, q_bits=bits[layer.requant.y_range]))
            for layer in self._layers
        ]


def _widen(architecture: Architecture) -> Architecture:
    """With the largest tables that are tried."""
    layers = [
        layer
        if layer.requant is None
        else with_requant(layer, replace(layer.requant, q_bits=FREE_Q_BITS))
        for layer in architecture.layers
    ]
    return Architecture.of(architecture.input_shape, layers)


def with_requant(layer: L, requant: Requant) -> L:
    """The layer with another requantization."""
    return replace(layer, requant=requant)  # type: ignore[type-var]


def _requant_of(layer: Layer) -> Requant:
    assert layer.requant is not None, "the layer requantizes"
    return layer.requant


def _choose(job: _Job, tried: Iterator[Iterable[_Candidate]]) -> _Candidate:
    """The candidate with the least error. Raises CalibrationFailed when none fits."""
    best: _Candidate | None = None
    refusal: RangeExceeded | None = None
    for candidates in tried:
        try:
            for candidate in candidates:
                if best is None or candidate.error < best.error:
                    best = candidate
        except RangeExceeded as error:
            refusal = error
    if best is None:
        assert refusal is not None  # every candidate was refused
        raise CalibrationFailed(layer=job.index, last=refusal)
    return best


def _try(job: _Job, layer: Layer, scale: float, shifts: Sequence[int]) -> Iterator[_Candidate]:
    """The layer with weight scale S_w and each of the shifts, from the greatest on.

    Ends where clipping has come to lose more than another shift did: smaller ones clip more.
    Raises RangeExceeded at the first whose quotients do not fit: smaller shifts have greater ones.
    """
    weight, bias = round_parameters(job.w, job.b, scale, job.taken[0].scale)
    requant = _requant_of(layer)
    (multiplier,) = requant.multipliers
    z = _accumulate(layer, job.taken, weight, bias)
    interval = layer.bounds([state.interval for state in job.taken], weight, bias)
    target = np.maximum(job.target, 0.0) if is_relu(requant) else job.target
    least_error = np.inf
    for shift in sorted(shifts, reverse=True):
        shifted = replace(requant, shift=shift)
        bounds = shifted.bounds(interval)
        q = require_quotients(job.index, bounds, shifted)
        y = np.clip((z * multiplier + (1 << (shift - 1))) >> shift, *shifted.y_range)
        made = with_requant(layer, shifted)
        y_scale = compute_output_scale(made, scale, [state.scale for state in job.taken])
        after = _State(y, y_scale, Interval(shifted.clamp(bounds.lo), shifted.clamp(bounds.hi)))
        error = float(np.mean((y * y_scale - target) ** 2))
        yield _Candidate(made, scale, error, q, after)
        least_error = min(least_error, error)
        if error > 2 * least_error:
            return


def _accumulate(
    layer: Layer, taken: Sequence[_State], weight: Int8Array, bias: Int32Array
) -> Int64Array:
    """z on the calibration samples; convolutions in doubles, which hold all of their sums."""
    values = [state.x for state in taken]
    if not isinstance(layer, Conv2d):
        return layer.accumulate(values, weight, bias)
    x, w, b = (t.astype(np.float64) for t in (values[0], weight, bias))
    z: Int64Array = convolve(x, w, b, layer.window, layer.pad_values).astype(np.int64)
    if layer.has_skip:
        (factor,) = layer.skip_scales
        z += factor * values[1]
    return z


def _carry(job: _Job) -> _State:
    """What a layer without parameters makes of a value."""
    nothing = np.zeros(0, dtype=np.int8), np.zeros(0, dtype=np.int32)
    taken = job.taken
    return _State(
        job.layer.accumulate([state.x for state in taken], *nothing),
        compute_output_scale(job.layer, 1.0, [state.scale for state in taken]),
        job.layer.bounds([state.interval for state in taken], *nothing),
    )
