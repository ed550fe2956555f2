"""Layers of the integer model: public specifications and their exact integer semantics.

A layer is a frozen specification that holds public numbers only (widths, shift, multiplier, ReLU
flag). Private tensors are arguments of its methods, never its fields. A layer maps activations to
exact accumulators z; an optional `Requant` maps z to the next layer's activations. A new kind of
layer (convolution, sum pooling, flatten) implements `Layer` and enters `LAYER_KINDS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from kernels.integers import HOST, Integers, Rounding, exact_matmul, quotient
from kernels.numpy_types import Int8Array, Int32Array, Int64Array
from prover.errors import ArchitectureInvalid

Shape = tuple[int, ...]

WEIGHT_MAX = 127  # weights lie in [-127, 127]: the circuit's table has these 255 rows
BIAS_BITS = 24  # of a bias in two's complement
BIAS_MIN, BIAS_MAX = -(1 << (BIAS_BITS - 1)), (1 << (BIAS_BITS - 1)) - 1
PRODUCT_BITS = 47  # |m*z| < 2^47, so equality mod r is equality of integers
INPUT_RANGE = (0, 255)  # uint8 samples
DEFAULT_SHIFT = 10
DEFAULT_Q_BITS = 15
MAX_DIMENSION = 1 << 20


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Interval:
    """Elementwise bounds lo <= value <= hi, both int64 of the shape of one sample's tensor."""

    lo: Int64Array
    hi: Int64Array


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RequantTrace:
    """What requantization computed: q*2^s + rem - 2^(s-1) = m*z, 0 <= rem < 2^s, y = clamp(q)."""

    q: Int64Array
    rem: Int64Array
    y: Int64Array


def _require_int(name: str, value: object, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        found = value if type(value) is int and abs(value) < 1 << 64 else type(value).__name__
        raise ArchitectureInvalid(f"{name} must be an integer from {low} to {high}, got {found}")


def _require_keys(kind: str, fields: Mapping[str, Any], expected: set[str]) -> None:
    if set(fields) != expected:
        raise ArchitectureInvalid(f"{kind} needs exactly the fields {sorted(expected)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Requant:
    """t = z*m + 2^(s-1), q = t >> s (floor), y = clamp(q, 0, 255) with ReLU, else (q, -128, 127).

    shift s in [1, 24]; multiplier m in [1, 2^15). `q_bits` is the public size of the circuit's
    table of quotients: q must lie in [-2^(q_bits-1), 2^(q_bits-1)).
    """

    shift: int = DEFAULT_SHIFT
    multiplier: int = 1
    relu: bool = True
    q_bits: int = DEFAULT_Q_BITS

    def __post_init__(self) -> None:
        _require_int("requant shift", self.shift, 1, 24)
        _require_int("requant multiplier", self.multiplier, 1, (1 << 15) - 1)
        _require_int("requant q_bits", self.q_bits, 9, 24)  # 9 bits hold [-256, 255]
        if type(self.relu) is not bool:
            raise ArchitectureInvalid("requant relu must be true or false")

    @property
    def y_range(self) -> tuple[int, int]:
        """Least and greatest activation."""
        return (0, 255) if self.relu else (-128, 127)

    @property
    def q_range(self) -> tuple[int, int]:
        """Least and greatest quotient of the table, both inclusive."""
        return -(1 << (self.q_bits - 1)), (1 << (self.q_bits - 1)) - 1

    def quotient(self, z: Int64Array) -> Int64Array:
        """q = (m*z + 2^(s-1)) >> s, floor."""
        return quotient(z, self.rounding)

    def clamp(self, q: Int64Array) -> Int64Array:
        return np.clip(q, *self.y_range)

    @property
    def rounding(self) -> Rounding:
        """The same as numbers; |m*z| < 2^47 and s <= 24, as `kernels.integers` demands."""
        least, greatest = self.y_range
        return Rounding(
            shift=self.shift, multiplier=self.multiplier, least=least, greatest=greatest
        )

    def apply(self, z: Int64Array, integers: Integers = HOST) -> RequantTrace:
        """What the layer makes of its accumulators, where `integers` computes."""
        q, rem, y = integers.requantize(z, self.rounding)
        return RequantTrace(q=q, rem=rem, y=y)

    def bounds(self, z: Interval) -> Interval:
        """Bounds of q; floor division and m >= 1 are monotone, so ends map to ends."""
        return Interval(self.quotient(z.lo), self.quotient(z.hi))

    def to_manifest(self) -> dict[str, Any]:
        return {
            "multiplier": self.multiplier,
            "q_bits": self.q_bits,
            "relu": self.relu,
            "shift": self.shift,
        }

    @classmethod
    def from_manifest(cls, value: object) -> Requant:
        if not isinstance(value, dict):
            raise ArchitectureInvalid("requant must be an object or null")
        _require_keys("requant", value, {"multiplier", "q_bits", "relu", "shift"})
        return cls(**value)


class Layer(Protocol):
    """What model, range analysis, bytes and circuit ask of a layer. Shapes are of one sample.

    A layer without parameters has weight and bias shape (0,); its tensors are empty arrays.
    """

    kind: ClassVar[str]

    @property
    def requant(self) -> Requant | None:
        """None: the accumulators are handed on (or are the logits)."""

    def output_shape(self, input_shape: Shape) -> Shape: ...

    def weight_shape(self, input_shape: Shape) -> Shape: ...

    def bias_shape(self, input_shape: Shape) -> Shape: ...

    def accumulate(
        self, x: Int64Array, weight: Int8Array, bias: Int32Array, integers: Integers = HOST
    ) -> Int64Array:
        """Exact accumulators z, int64[N, *output_shape], of integers x[N, *input_shape].

        x and z are where `integers` computes, weight and bias on the host.
        """

    def bounds(self, x: Interval, weight: Int8Array, bias: Int32Array) -> Interval:
        """Exact worst-case bounds of z when each input moves freely in its interval."""

    def public_bound(self, input_shape: Shape, x_max: int) -> int:
        """Greatest |z| of any weights and biases the circuit accepts, for |x| <= x_max."""

    def to_manifest(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """z = x W^T + b with W int8[n_out, n_in], b int32[n_out]."""

    kind: ClassVar[str] = "linear"
    n_out: int
    requant: Requant | None = None

    def __post_init__(self) -> None:
        _require_int("linear n_out", self.n_out, 1, MAX_DIMENSION)

    def output_shape(self, input_shape: Shape) -> Shape:
        self._n_in(input_shape)
        return (self.n_out,)

    def weight_shape(self, input_shape: Shape) -> Shape:
        return (self.n_out, self._n_in(input_shape))

    def bias_shape(self, input_shape: Shape) -> Shape:
        self._n_in(input_shape)
        return (self.n_out,)

    def accumulate(
        self, x: Int64Array, weight: Int8Array, bias: Int32Array, integers: Integers = HOST
    ) -> Int64Array:
        result: Int64Array = integers.multiply(x, weight, bias)
        return result

    def bounds(self, x: Interval, weight: Int8Array, bias: Int32Array) -> Interval:
        positive, negative = np.maximum(weight, 0), np.minimum(weight, 0)
        b = bias.astype(np.int64)
        lo = exact_matmul(x.lo, positive) + exact_matmul(x.hi, negative) + b
        hi = exact_matmul(x.hi, positive) + exact_matmul(x.lo, negative) + b
        return Interval(lo, hi)

    def public_bound(self, input_shape: Shape, x_max: int) -> int:
        return self._n_in(input_shape) * WEIGHT_MAX * x_max - BIAS_MIN

    def to_manifest(self) -> dict[str, Any]:
        requant = None if self.requant is None else self.requant.to_manifest()
        return {"kind": self.kind, "n_out": self.n_out, "requant": requant}

    @classmethod
    def from_manifest(cls, fields: Mapping[str, Any]) -> Linear:
        _require_keys("linear layer", fields, {"kind", "n_out", "requant"})
        requant = fields["requant"]
        return cls(
            n_out=fields["n_out"],
            requant=None if requant is None else Requant.from_manifest(requant),
        )

    def _n_in(self, input_shape: Shape) -> int:
        if len(input_shape) != 1:
            raise ArchitectureInvalid(
                f"a linear layer takes a vector, its input has shape {list(input_shape)}"
            )
        return input_shape[0]


LAYER_KINDS: Mapping[str, type[Linear]] = {Linear.kind: Linear}


def layer_from_manifest(value: object) -> Layer:
    """Inverse of `to_manifest`; ArchitectureInvalid for every other value."""
    if not isinstance(value, dict):
        raise ArchitectureInvalid("each layer must be an object")
    kind = value.get("kind")
    layer = LAYER_KINDS.get(kind) if isinstance(kind, str) else None
    if layer is None:
        raise ArchitectureInvalid(
            f"a layer is of unknown kind; this version knows {sorted(LAYER_KINDS)}"
        )
    return layer.from_manifest(value)
