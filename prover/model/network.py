"""The integer model: public architecture, private tensors, and the definition of its semantics.

PROTOCOL section 1. `QuantizedModel.trace` is the definition; the circuit accepts exactly its
results. What is public (shapes, shift, multiplier, ReLU flag, table sizes) lives in `Architecture`;
what is private (weights, biases) lives in `QuantizedModel` and nowhere else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from kernels.integers import HOST, Integers
from kernels.numpy_types import Int8Array, Int32Array, Int64Array, UInt8Array
from prover.errors import ArchitectureInvalid, QuantizationOverflow, RangeExceeded, ShapeMismatch
from prover.model.graph import (
    compute_accumulator_ranges,
    compute_shapes,
    find_entrance,
    require_graph,
)
from prover.model.kinds import layer_from_manifest
from prover.model.layers import (
    BIAS_MAX,
    BIAS_MIN,
    INPUT_RANGE,
    MAX_DIMENSION,
    PRODUCT_BITS,
    WEIGHT_MAX,
    Layer,
    Linear,
    Range,
    Requant,
    Shape,
    largest,
)
from prover.model.trace import LayerTrace, trace_layers

T = TypeVar("T")
U = TypeVar("U")

MAX_LAYERS = 256
MAX_PARAMETERS = 1 << 26
MAX_VALUES = 1 << 26  # that a layer makes of one sample
MAX_CLASSES = 256  # labels are uint8
MAX_MARGIN_BITS = 48
_AT_ONCE = 1 << 11  # samples
_MAX_NUMBERS = 1 << 21  # of all values of so many samples
ARCHITECTURE_DOMAIN = b"zkpot architecture v2\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Public description of a network: its layers and the shape of one uint8 sample.

    Layers take the values that layers before them make (`prover.model.graph`). Linear layers,
    convolutions and additions requantize; the last layer's accumulators are the logits.
    margin_bits : w of the correctness count: differences of two logits lie in (-2^w, 2^w)
    shapes      : of one sample of every value: the samples, then what each layer makes
    z_ranges    : per layer the least and greatest z of any weights that the circuit accepts
    raises      : ArchitectureInvalid; QuantizationOverflow when a layer could reach |m*z| >= 2^47

    Shapes and ranges follow from the rest. They are asked for hundreds of times per circuit, so
    they are computed once.
    """

    input_shape: Shape
    layers: tuple[Layer, ...]
    margin_bits: int
    shapes: tuple[Shape, ...] = field(init=False, repr=False, compare=False)
    z_ranges: tuple[Range, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._check_sizes()
        require_graph(self.layers)
        shapes = compute_shapes(self.input_shape, self.layers)
        object.__setattr__(self, "shapes", shapes)
        object.__setattr__(self, "z_ranges", compute_accumulator_ranges(self.layers, shapes))
        if any(_size(shape) > MAX_VALUES for shape in shapes):
            raise ArchitectureInvalid(f"a layer makes more than {MAX_VALUES} numbers of a sample")
        self._check_products()
        if sum(map(_size, self.weight_shapes)) > MAX_PARAMETERS:
            raise ArchitectureInvalid(f"more than {MAX_PARAMETERS} weights")
        if not 2 <= shapes[-1][0] <= MAX_CLASSES:
            raise ArchitectureInvalid(
                f"the last layer must give a vector of 2 to {MAX_CLASSES} logits, "
                f"not shape {list(shapes[-1])}"
            )

    @classmethod
    def of(
        cls, input_shape: Shape, layers: Sequence[Layer], margin_bits: int | None = None
    ) -> Architecture:
        """These layers; margin_bits by default the least that no accepted weights can exceed."""
        draft = cls(input_shape=input_shape, layers=tuple(layers), margin_bits=MAX_MARGIN_BITS)
        if margin_bits is None:
            margin_bits = (2 * draft.public_bounds[-1]).bit_length()
        return replace(draft, margin_bits=margin_bits)

    @classmethod
    def mlp(
        cls,
        sizes: Sequence[int],
        *,
        requant: Requant | Sequence[Requant] | None = None,
        margin_bits: int | None = None,
    ) -> Architecture:
        """Linear layers `sizes[0] -> sizes[1] -> ...`, all hidden ones requantized.

        requant     : of all hidden layers, or one per hidden layer; default `Requant()`
        margin_bits : default: the least that no accepted weights can exceed
        """
        if len(sizes) < 2:
            raise ArchitectureInvalid("an MLP needs an input width and a number of classes")
        n_hidden = len(sizes) - 2
        if requant is None or isinstance(requant, Requant):
            hidden: Sequence[Requant] = [requant or Requant()] * n_hidden
        else:
            hidden = requant
        if len(hidden) != n_hidden:
            raise ArchitectureInvalid(f"{n_hidden} hidden layers, {len(hidden)} requantizations")
        layers = [
            Linear(n_out=n_out, inputs=(i,), requant=r)
            for i, (n_out, r) in enumerate(zip(sizes[1:], [*hidden, None], strict=True))
        ]
        return cls.of((sizes[0],), layers, margin_bits)

    @property
    def is_mlp(self) -> bool:
        """Whether it is what `mlp` makes: linear layers in a chain, of vectors."""
        return all(
            isinstance(layer, Linear) and layer.inputs == (i,)
            for i, layer in enumerate(self.layers)
        )

    @property
    def name(self) -> str:
        """For people; `digest` tells apart what has the same name.

        `mlp-784-128-10` by its widths; what else there is by its samples, classes and number of
        parameters, such as `cnn-3x32x32-10-74966`.
        """
        if self.is_mlp:
            return "-".join(["mlp", *(str(_size(shape)) for shape in self.shapes)])
        sample = "x".join(map(str, self.input_shape))
        return f"cnn-{sample}-{self.n_classes}-{self.n_parameters}"

    @property
    def weight_shapes(self) -> tuple[Shape, ...]:
        shapes = self.shapes
        return tuple(x.weight_shape([shapes[v] for v in x.inputs]) for x in self.layers)

    @property
    def bias_shapes(self) -> tuple[Shape, ...]:
        shapes = self.shapes
        return tuple(x.bias_shape([shapes[v] for v in x.inputs]) for x in self.layers)

    @property
    def value_ranges(self) -> tuple[Range, ...]:
        """Least and greatest number of every value; without requantization those of z."""
        made = [
            z if x.requant is None else x.requant.y_range
            for x, z in zip(self.layers, self.z_ranges, strict=True)
        ]
        return (INPUT_RANGE, *made)

    @property
    def public_bounds(self) -> tuple[int, ...]:
        """Per layer the greatest |z| of any weights and biases the circuit accepts."""
        return tuple(map(largest, self.z_ranges))

    @property
    def entrance(self) -> int:
        """The layer that the samples enter."""
        return find_entrance(self.layers)

    @property
    def multipliers(self) -> tuple[int, ...]:
        """m of the requantizing layers, one or one per channel each: statement values."""
        return tuple(m for x in self.layers if x.requant is not None for m in x.requant.multipliers)

    @property
    def n_classes(self) -> int:
        return self.shapes[-1][0]

    @property
    def n_parameters(self) -> int:
        return sum(map(_size, self.weight_shapes)) + sum(map(_size, self.bias_shapes))

    def to_manifest(self) -> dict[str, Any]:
        """JSON value: integers, booleans, null, strings, lists and objects only."""
        return {
            "input_shape": list(self.input_shape),
            "layers": [layer.to_manifest() for layer in self.layers],
            "margin_bits": self.margin_bits,
        }

    @classmethod
    def from_manifest(cls, value: object) -> Architecture:
        """Inverse of `to_manifest`; ArchitectureInvalid for every other value."""
        if not isinstance(value, dict) or set(value) != {"input_shape", "layers", "margin_bits"}:
            raise ArchitectureInvalid(
                "an architecture is an object with input_shape, layers and margin_bits"
            )
        shape, layers = value["input_shape"], value["layers"]
        if not isinstance(shape, list) or not isinstance(layers, list):
            raise ArchitectureInvalid("input_shape and layers must be lists")
        if len(layers) > MAX_LAYERS:
            raise ArchitectureInvalid(f"more than {MAX_LAYERS} layers")
        return cls(
            input_shape=tuple(shape),
            layers=tuple(map(layer_from_manifest, layers)),
            margin_bits=value["margin_bits"],
        )

    def encode(self) -> bytes:
        """Canonical JSON: sorted keys, no spaces, ASCII."""
        return canonical_json(self.to_manifest())

    @property
    def digest(self) -> bytes:
        """sha256 over a domain tag and the canonical bytes; 32 bytes."""
        return hashlib.sha256(ARCHITECTURE_DOMAIN + self.encode()).digest()

    def _check_sizes(self) -> None:
        if not 1 <= len(self.layers) <= MAX_LAYERS:
            raise ArchitectureInvalid(f"a network has 1 to {MAX_LAYERS} layers")
        shape = self.input_shape
        if not 1 <= len(shape) <= 3 or not all(
            type(n) is int and 1 <= n <= MAX_DIMENSION for n in shape
        ):
            raise ArchitectureInvalid(
                f"input_shape must be 1 to 3 integers from 1 to {MAX_DIMENSION}"
            )
        if type(self.margin_bits) is not int or not 1 <= self.margin_bits <= MAX_MARGIN_BITS:
            raise ArchitectureInvalid(f"margin_bits must be from 1 to {MAX_MARGIN_BITS}")

    def _check_products(self) -> None:
        """Public, not by the actual weights: it must bind a prover who picks the worst ones."""
        for index, (layer, bound) in enumerate(zip(self.layers, self.public_bounds, strict=True)):
            product = bound * (1 if layer.requant is None else max(layer.requant.multipliers))
            if product >= 1 << PRODUCT_BITS:
                raise QuantizationOverflow(
                    layer=index,
                    bound=product,
                    limit=1 << PRODUCT_BITS,
                    next_step="take a smaller multiplier or fewer inputs for this layer",
                )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QuantizedModel:
    """An architecture with its private integers.

    weights : per layer int8 of `architecture.weight_shapes`, values in [-127, 127]
    biases  : per layer int32 of `architecture.bias_shapes`, values in [-2^23, 2^23 - 1]
    raises  : ShapeMismatch; RangeExceeded for a single weight or bias (worst cases over all
              inputs are the business of `prover.model.ranges`)
    """

    architecture: Architecture
    weights: tuple[Int8Array, ...]
    biases: tuple[Int32Array, ...]

    def __post_init__(self) -> None:
        arch = self.architecture
        _check_tensors("weight", self.weights, arch.weight_shapes, np.dtype(np.int8))
        _check_tensors("bias", self.biases, arch.bias_shapes, np.dtype(np.int32))
        weight_range, bias_range = (-WEIGHT_MAX, WEIGHT_MAX), (BIAS_MIN, BIAS_MAX)
        _check_values(
            "weight", self.weights, weight_range, "requantize with a greater weight scale"
        )
        _check_values("bias", self.biases, bias_range, "take a greater activation scale")

    def __repr__(self) -> str:
        """Names the public part only, so that a log line cannot show a weight."""
        return f"QuantizedModel({self.architecture.name})"

    @property
    def parameters(self) -> dict[str, Int8Array | Int32Array]:
        """All tensors by their labels, in the order of the model's wires."""
        found: dict[str, Int8Array | Int32Array] = {}
        for index, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            found |= label_parameters(index, w, b)
        return found

    @property
    def tensors(self) -> list[npt.NDArray[Any]]:
        """The weights of every layer, then the biases."""
        return [*self.weights, *self.biases]

    @property
    def wires(self) -> Int64Array:
        """The model's wires, which a commitment binds: int64[n_parameters]."""
        return np.concatenate([t.reshape(-1).astype(np.int64) for t in self.parameters.values()])

    def trace(self, images: UInt8Array, integers: Integers = HOST) -> tuple[LayerTrace, ...]:
        """Everything computed on the way to the logits, integers[N, ...] each.

        images   : uint8[N, *input_shape], on the host
        integers : where the layers are computed and their values stay
        holds    : |z| < 2^47 by `Architecture`, so neither float64 products nor int64 are inexact
        """
        expected = self.architecture.input_shape
        if images.dtype != np.uint8 or images.shape[1:] != expected:
            raise ShapeMismatch(
                f"samples must be uint8[N, {', '.join(map(str, expected))}], "
                f"got {images.dtype}{list(images.shape)}"
            )
        x, *there = map(integers.upload, (images, *self.tensors))
        return trace_layers(self.architecture.layers, x, there, integers)

    def logits(self, images: UInt8Array) -> Int64Array:
        """Raw accumulators of the last layer, int64[N, n_classes], for uint8[N, *input_shape].

        Some samples at a time: what happens on the way to them is not kept.
        """
        step = max(1, min(_AT_ONCE, _MAX_NUMBERS // sum(map(_size, self.architecture.shapes))))
        starts = range(0, max(len(images), 1), step)
        return np.concatenate([self.trace(images[i : i + step])[-1].z for i in starts])


def label_parameters(index: int, weights: T, biases: U) -> dict[str, T | U]:
    """Weights and biases of a layer, or their shapes, by the labels of their wires.

    In this order, layer by layer, they are the model's wires: of the circuit, of a commitment and
    of its opening.
    """
    return {f"layer {index}/weights": weights, f"layer {index}/biases": biases}


def is_correct(logits: Int64Array, labels: UInt8Array) -> npt.NDArray[np.bool_]:
    """Per sample: logit[label] > logit[c] for every other class c; a tie is wrong.

    logits : int64[N, n_classes]; labels : uint8[N] below n_classes
    """
    n, n_classes = logits.shape
    require_labels(labels, n, n_classes)
    return HOST.find_correct(logits, labels, HOST.counters(1))


def require_labels(labels: UInt8Array, n: int, n_classes: int) -> None:
    """ShapeMismatch unless the labels are uint8[n] below n_classes."""
    if labels.dtype != np.uint8 or labels.shape != (n,) or (n and int(labels.max()) >= n_classes):
        raise ShapeMismatch(f"labels must be uint8[{n}] below {n_classes}")


def canonical_json(value: object) -> bytes:
    """One value, one encoding: sorted keys, no spaces, ASCII, no NaN."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )
    return text.encode("ascii")


def _size(shape: Shape) -> int:
    return int(np.prod(shape, dtype=object))


def _check_tensors(
    quantity: str,
    tensors: Sequence[npt.NDArray[Any]],
    shapes: Sequence[Shape],
    dtype: np.dtype[Any],
) -> None:
    found = [(t.dtype, t.shape) for t in tensors]
    if found != [(dtype, shape) for shape in shapes]:
        raise ShapeMismatch(
            f"{quantity} tensors must be {dtype} of shapes {[list(s) for s in shapes]}, "
            f"got {[f'{d}{list(s)}' for d, s in found]}"
        )


def _check_values(
    quantity: str, tensors: Sequence[npt.NDArray[Any]], bound: tuple[int, int], next_step: str
) -> None:
    """The very ranges that the circuit proves, so whatever passes here can be committed to."""
    for layer, tensor in enumerate(tensors):
        for value in (int(tensor.max()), int(tensor.min())) if tensor.size else ():
            if not bound[0] <= value <= bound[1]:
                raise RangeExceeded(
                    layer=layer, quantity=quantity, value=value, bound=bound, next_step=next_step
                )
