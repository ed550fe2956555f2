"""Integers of a network that its file has quantized: `QuantizedModel` with the file's own weights.

A file's grid becomes a layer's requantization, its zero point the clamp. Pixels are integers
already and are not rounded again. Two more roundings of the file cost rows and change little, and
a lean model leaves them out: that of a residual branch, which then stays in accumulators, and that
of means, which then stay sums. Means of small windows always do: the file rounds their many halves
to even, which a circuit does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

import numpy as np

from federated.calibration import MIN_Q_BITS, with_requant
from federated.errors import GraphUnsupported
from federated.importing.entrance import take_samples
from federated.importing.network import (
    Grid,
    Network,
    Node,
    Samples,
    Weight,
    intersect,
    sort_nodes,
)
from federated.importing.rounding import (
    Rounded,
    choose_shift,
    fit_biases,
    fit_multipliers,
    round_bias,
    round_weight,
)
from kernels.numpy_types import Float64Array, Int8Array, Int32Array
from prover.model.layers import (
    MAX_MULTIPLIER,
    NO_PARAMETERS,
    WEIGHT_MAX,
    Layer,
    Linear,
    Multiplier,
    Requant,
)
from prover.model.network import Architecture, QuantizedModel
from prover.model.planes import PIXEL_MAX, Conv2d
from prover.model.pooling import Add, Flatten, MaxPool, SumPool
from prover.model.ranges import LayerRange, compute_ranges

DEFAULT_SHIFT = 16
LEAST_SKIP = 1 << 5  # a smaller multiple of a skip is too coarse: the sum gets a layer of its own
LEAST_ROUNDED = 1 << 5  # numbers of a mean that is rounded
COARSE = 2.5  # steps of a file that rounds pixels to more than halves of them
MAX_SHIFT, MAX_Q_BITS = 24, 24


@dataclass(frozen=True, slots=True, eq=False)
class Integers:
    """model : inside all ranges of the circuit; names : of the file's node, per layer;
    notes : what was changed of the file's numbers"""

    model: QuantizedModel
    names: tuple[str, ...]
    notes: tuple[str, ...]


def take_integers(
    network: Network, *, shift: int = DEFAULT_SHIFT, is_lean: bool = False
) -> Integers:
    """The integer model of a quantized network.

    shift   : of requantizations; greater ones follow the file's scales more closely and cost rows
    is_lean : with fewer roundings than the file
    raises  : GraphUnsupported; RangeExceeded (owner's eyes only), QuantizationOverflow,
              ArchitectureInvalid when no circuit holds the network
    """
    builder = _Builder(network, shift, is_lean=is_lean)
    for node in sort_nodes(network.logits):
        builder.take(node)
    return builder.finish()


@dataclass(frozen=True, slots=True, eq=False)
class _Made:
    """A value of the integer model: real = scale * integer, but of samples."""

    number: int
    scale: float = 1.0
    is_samples: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class _Taken:
    """A layer's weights and biases as its integer input sees them, of this scale."""

    weight: Weight
    bias: Float64Array
    scale: float
    pad_values: tuple[int, ...] = ()


class _Builder:
    """Layers in their order, and which value of theirs each node makes."""

    def __init__(self, network: Network, shift: int, *, is_lean: bool) -> None:
        self._network, self._shift, self._is_lean = network, shift, is_lean
        self._made: dict[int, _Made] = {}
        self._layers: list[Layer] = []
        self._weights: list[Int8Array] = []
        self._biases: list[Int32Array] = []
        self._names: list[str] = []
        self._notes = list(network.notes)

    def take(self, node: Node) -> None:
        if isinstance(node, Samples):
            made = _Made(0, is_samples=True)
            self._note_roundings(node)
        elif node.kind in ("conv", "linear"):
            made = self._take_weighted(node)
        elif node.kind in ("add", "requantize"):
            inputs = node.inputs if node.kind == "add" else (node.inputs[0], node.inputs[0])
            a, b = (self._of(node, each) for each in inputs)
            share = 1.0 if node.kind == "add" else 0.5
            made = self._add(node, a, b, _require_grid(node, node.grid), share=share)
        else:
            made = self._move(node)
        self._made[id(node)] = made

    def finish(self) -> Integers:
        """With tables of quotients that the worst cases just fit."""
        shape = self._network.samples.shape
        draft = self._build(Architecture.of(shape, self._layers))
        layers = _shrink_tables(self._layers, compute_ranges(draft))
        model = self._build(Architecture.of(shape, layers))
        return Integers(model, tuple(self._names), tuple(self._notes))

    def _build(self, architecture: Architecture) -> QuantizedModel:
        weights, biases = tuple(self._weights), tuple(self._biases)
        return QuantizedModel(architecture=architecture, weights=weights, biases=biases)

    # -- layers with parameters --------------------------------------------------------------------
    def _take_weighted(self, node: Node) -> _Made:
        taken = _take_input(node, self._made[id(node.inputs[0])])
        is_last = node is self._network.logits and node.grid is None
        rounded, said = round_weight(taken.weight, one_scale=is_last)
        if said is not None:
            self._notes.append(f"{node.name}: {said}")
        n = fit_biases(rounded, taken.bias, taken.scale, one_scale=is_last)
        self._note_coarser(node, n, "biases of more than 24 bits")
        if is_last:
            unit = rounded.scale * taken.scale
            return _Made(self._weigh(node, taken, rounded, None, unit, 0))
        if len(node.inputs) > 1:
            return self._take_skip(node, taken, rounded)
        made = self._requantize(node, taken, rounded, _require_grid(node, node.grid))
        if node is self._network.logits:
            return _Made(self._choose_first(node, made.number))
        return made

    def _choose_first(self, node: Node, number: int) -> int:
        """A last layer that copies logits of the file's own grid, where classes often tie: of these
        the file's argmax takes the first, so each class is that much less than the one before."""
        (n,) = node.shape
        step = n if n <= WEIGHT_MAX else 1
        bias = np.arange(n - 1, -1, -1) if n <= WEIGHT_MAX else np.zeros(n)
        weight = step * np.eye(n)
        layer = Linear(n_out=n, inputs=(number,))
        return self._append(node, layer, weight.astype(np.int8), bias.astype(np.int32))

    def _take_skip(self, node: Node, taken: _Taken, rounded: Rounded) -> _Made:
        """A convolution that adds another value: in its accumulators where that is fine enough and
        the file does not round in between, or need not."""
        skip = self._of(node, node.inputs[1])
        if node.branch_grid is not None and (node.branch_grid.is_one_sided or not self._is_lean):
            return self._add_apart(node, taken, rounded, skip)
        excess = skip.scale / (rounded.scale * taken.scale * MAX_MULTIPLIER)
        n = rounded.coarsen(np.maximum(excess, 1.0))
        self._note_coarser(node, n, "skips of more than 15 bits")
        if (skip.scale / (rounded.scale * taken.scale)).min() >= LEAST_SKIP:
            return self._requantize(node, taken, rounded, _require_grid(node, node.grid), skip)
        return self._add_apart(node, taken, rounded, skip)

    def _add_apart(self, node: Node, taken: _Taken, rounded: Rounded, skip: _Made) -> _Made:
        branch = _leave_sum(node)
        made = self._requantize(branch, taken, rounded, _require_grid(node, node.branch_grid))
        return self._add(node, made, skip, _require_grid(node, node.grid), share=1.0)

    def _requantize(
        self, node: Node, taken: _Taken, rounded: Rounded, grid: Grid, skip: _Made | None = None
    ) -> _Made:
        # Of few classes remainders are few, and cheap however long they are.
        most = MAX_SHIFT if node is self._network.logits else self._shift
        shift = choose_shift(rounded.scale * taken.scale / grid.scale, most)
        multipliers, n = fit_multipliers(rounded, taken.scale / grid.scale * 2.0**shift)
        self._note_coarser(node, n, "small multipliers")
        if multipliers.min() < 1 or multipliers.max() > MAX_MULTIPLIER:
            _refuse(node, "has scales too far apart", "quantize it again, with more samples")
        unit = rounded.scale * taken.scale
        multiplier = _join(multipliers)
        # One multiplier makes its own grid, a little coarser than the file's, and exactly that.
        exact = float(unit[0]) * 2.0**shift / multiplier if isinstance(multiplier, int) else None
        scale = grid.scale if exact is None else exact
        requant = _make_requant(node, grid, scale, shift, multiplier)
        skips = 0 if skip is None else _join(np.rint(skip.scale / unit).astype(np.int64))
        made = self._weigh(node, taken, rounded, requant, unit, skips, skip)
        return _Made(made, scale)

    def _weigh(
        self,
        node: Node,
        taken: _Taken,
        rounded: Rounded,
        requant: Requant | None,
        unit: Float64Array,
        skip_scale: Multiplier,
        skip: _Made | None = None,
    ) -> int:
        number = self._made[id(node.inputs[0])].number
        n_out = len(rounded.ints)
        layer: Layer
        if node.kind == "conv":
            assert node.window is not None
            layer = Conv2d(
                n_out=n_out,
                window=node.window,
                inputs=(number,) if skip is None else (number, skip.number),
                requant=requant,
                pad_values=taken.pad_values,
                skip_scale=skip_scale,
            )
        else:
            layer = Linear(n_out=n_out, inputs=(number,), requant=requant)
        bias = round_bias(taken.bias, unit).astype(np.int32)
        return self._append(node, layer, rounded.ints.astype(np.int8), bias)

    # -- layers without ----------------------------------------------------------------------------
    def _add(self, node: Node, a: _Made, b: _Made, grid: Grid, *, share: float) -> _Made:
        """share : of each value in the sum"""
        ratios = share * np.array([a.scale, b.scale]) / grid.scale
        shift = choose_shift(ratios, self._shift)
        scales = np.rint(ratios * 2.0**shift).astype(np.int64)
        if scales.min() < 1 or scales.max() > MAX_MULTIPLIER:
            _refuse(node, "has scales too far apart", "quantize it again, with more samples")
        layer = Add(
            inputs=(a.number, b.number),
            scales=(int(scales[0]), int(scales[1])),
            requant=_make_requant(node, grid, grid.scale, shift, 1),
        )
        return _Made(self._append(node, layer), grid.scale)

    def _move(self, node: Node) -> _Made:
        """Pools and flattening."""
        made = self._made[id(node.inputs[0])]
        if node.kind == "flatten":
            number = self._append(node, Flatten(inputs=(made.number,)))
            return replace(made, number=number)
        assert node.window is not None
        x = self._of(node, node.inputs[0])
        if node.kind == "max_pool":
            layer: Layer = MaxPool(window=node.window, inputs=(x.number,))
            return _Made(self._append(node, layer), x.scale)
        layer = SumPool(window=node.window, inputs=(x.number,))
        area = node.window.area
        means = _Made(self._append(node, layer), x.scale / area)
        if node.grid is None or self._is_lean or area < LEAST_ROUNDED:
            return means
        return self._add(node, means, means, node.grid, share=0.5)

    def _of(self, node: Node, given: Node) -> _Made:
        """A value that is none of the samples."""
        made = self._made[id(given)]
        if made.is_samples:
            _refuse(node, "takes the samples", "begin with a convolution or a linear layer")
        return made

    def _append(
        self,
        node: Node,
        layer: Layer,
        weight: Int8Array | None = None,
        bias: Int32Array | None = None,
    ) -> int:
        self._layers.append(layer)
        self._names.append(node.name)
        self._weights.append(np.zeros(NO_PARAMETERS, np.int8) if weight is None else weight)
        self._biases.append(np.zeros(NO_PARAMETERS, np.int32) if bias is None else bias)
        return len(self._layers)

    def _note_roundings(self, samples: Samples) -> None:
        """Says so where the file rounds pixels or cuts them off, which the integers take whole."""
        if samples.grid is None:
            return
        ends = samples.offset, samples.offset + PIXEL_MAX * samples.gain
        reach = float(np.minimum(*ends).min()), float(np.maximum(*ends).max())
        low, high = samples.grid.ends
        step, apart = samples.grid.scale, float(np.abs(samples.gain).max())
        if step > COARSE * apart:
            self._notes.append(
                f"the file rounds its samples to steps of {step:.3g}, and pixels are {apart:.3g} "
                "apart, which the integers take whole"
            )
        if reach[0] < low - step or high + step < reach[1]:
            self._notes.append(
                f"the file clamps its samples to [{low:.3g}, {high:.3g}], and pixels reach from "
                f"{reach[0]:.3g} to {reach[1]:.3g}, which the integers take whole"
            )

    def _note_coarser(self, node: Node, n: int, why: str) -> None:
        if n:
            self._notes.append(f"{node.name}: weights of {n} channels are coarser, for {why}")


def _leave_sum(node: Node) -> Node:
    """The convolution of a sum alone."""
    return Node(
        kind="conv",
        operator=node.operator,
        name=node.name,
        shape=node.shape,
        inputs=node.inputs[:1],
        window=node.window,
        weight=node.weight,
        bias=node.bias,
        grid=node.branch_grid,
    )


def _take_input(node: Node, made: _Made) -> _Taken:
    """Parameters as the integer input sees them: of samples, with what pixels stand for."""
    weight, bias = node.parameters
    entered = take_samples(node)
    if entered is None:
        return _Taken(weight, bias, made.scale)
    first = float(entered.gain.reshape(-1)[0])
    if first > 0 and (entered.gain == first).all():
        return _Taken(weight, bias + entered.shift, first, entered.pad_values)
    values = Weight(weight.values * entered.gain)
    return _Taken(values, bias + entered.shift, 1.0, entered.pad_values)


def _make_requant(
    node: Node, grid: Grid, scale: float, shift: int, multiplier: Multiplier
) -> Requant:
    """Rounding to integers of this scale, clamped like the node."""
    low, high = intersect(node.clamp, grid.ends)
    least, greatest = (int(np.rint(end / scale)) for end in (low, high))
    if least > 0 or greatest < max(1, least + 1):
        _refuse(node, f"makes numbers from {least} to {greatest} steps", "quantize it again")
    return Requant(
        shift=shift, multiplier=multiplier, least=least, greatest=greatest, q_bits=MAX_Q_BITS
    )


def _shrink_tables(layers: Sequence[Layer], ranges: Sequence[LayerRange]) -> list[Layer]:
    """The layers with the smallest table of quotients for all that clamp alike: a circuit has each
    table once."""
    bits: dict[tuple[int, int], int] = {}
    for layer, worst in zip(layers, ranges, strict=True):
        if layer.requant is not None and worst.q is not None:
            ends = layer.requant.y_range
            low, high = min(worst.q[0], ends[0]), max(worst.q[1], ends[1])
            needed = max((-low - 1).bit_length(), high.bit_length()) + 1
            bits[ends] = max(bits.get(ends, MIN_Q_BITS), needed)
    return [
        layer
        if layer.requant is None
        else with_requant(layer, replace(layer.requant, q_bits=bits[layer.requant.y_range]))
        for layer in layers
    ]


def _join(numbers: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Multiplier:
    """One number where all are the same."""
    found = tuple(int(n) for n in numbers)
    return found[0] if len(set(found)) == 1 else found


def _require_grid(node: Node, grid: Grid | None) -> Grid:
    if grid is None:
        _refuse(node, "is not quantized", "quantize every layer but the last (QuantizeLinear)")
    return grid


def _refuse(node: Node, what: str, next_step: str) -> NoReturn:
    raise GraphUnsupported(operator=node.operator, node=node.name, what=what, next_step=next_step)
