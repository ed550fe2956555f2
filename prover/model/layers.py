"""Layers of the integer model: public specifications and their exact integer semantics.

A layer is a frozen specification that holds public numbers only (shapes, shifts, multipliers) and
the values it takes: value 0 are the samples, value i + 1 is what layer i makes. Private tensors are
arguments of its methods, never its fields. A layer maps activations to exact accumulators z; an
optional `Requant` maps z to the next layers' activations. Kinds that work on planes are in
`prover.model.planes` and `prover.model.pooling`; `prover.model.kinds` lists all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from kernels.integers import HOST, Integers, Rounding, exact_matmul
from kernels.numpy_types import Int8Array, Int32Array, Int64Array
from prover.errors import ArchitectureInvalid

Shape = tuple[int, ...]
Range = tuple[int, int]
"""Least and greatest, both inclusive."""

WEIGHT_MAX = 127  # weights lie in [-127, 127]: the circuit's table has these 255 rows
BIAS_BITS = 24  # of a bias in two's complement
BIAS_MIN, BIAS_MAX = -(1 << (BIAS_BITS - 1)), (1 << (BIAS_BITS - 1)) - 1
PRODUCT_BITS = 47  # |m*z| < 2^47, so equality mod r is equality of integers
INPUT_RANGE = (0, 255)  # uint8 samples
RELU_RANGE, SIGNED_RANGE = (0, 255), (-128, 127)
DEFAULT_SHIFT = 10
DEFAULT_Q_BITS = 13  # 16 times the greatest activation: trained MLPs reach 4 times, at worst 9
MAX_DIMENSION = 1 << 20
MAX_MULTIPLIER = (1 << 15) - 1
MAX_ACTIVATION = (1 << 15) - 1

Multiplier = int | tuple[int, ...]
"""Of all channels, or one per output channel."""


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


def require_int(name: str, value: object, low: int, high: int) -> None:
    """ArchitectureInvalid unless the value is an integer of the range, both ends included."""
    if type(value) is not int or not low <= value <= high:
        found = value if type(value) is int and abs(value) < 1 << 64 else type(value).__name__
        raise ArchitectureInvalid(f"{name} must be an integer from {low} to {high}, got {found}")


def require_ints(name: str, values: object, n: int, low: int, high: int) -> None:
    """ArchitectureInvalid unless the value is a tuple of n integers of the range."""
    if type(values) is not tuple or len(values) != n:
        raise ArchitectureInvalid(f"{name} must be {n} integers")
    for value in values:
        require_int(name, value, low, high)


def require_keys(kind: str, fields: Mapping[str, Any], expected: set[str]) -> None:
    """ArchitectureInvalid unless an object has exactly these fields."""
    if set(fields) != expected:
        raise ArchitectureInvalid(f"{kind} needs exactly the fields {sorted(expected)}")


def require_list(name: str, value: object) -> tuple[Any, ...]:
    """The list of a manifest as a tuple; its items are checked where they are used."""
    if not isinstance(value, list) or len(value) > MAX_DIMENSION:
        raise ArchitectureInvalid(f"{name} must be a list")
    return tuple(value)


def require_multiplier(name: str, value: object, low: int = 1) -> None:
    """ArchitectureInvalid unless the value is one multiplier, or a tuple of one per channel."""
    for number in value if type(value) is tuple and value else (value,):
        require_int(name, number, low, MAX_MULTIPLIER)


def multiplier_to_manifest(value: Multiplier) -> int | list[int]:
    return value if isinstance(value, int) else list(value)


def multiplier_from_manifest(value: object) -> Any:
    """A list becomes a tuple; what else there is, the layer checks."""
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Requant:
    """t = z*m + 2^(s-1), q = t >> s (floor), y = clamp(q, least, greatest).

    shift s in [1, 24]; multiplier m in [1, 2^15), of all channels or one per output channel.
    (0, 255) is ReLU, (-128, 127) is none; least <= 0 <= greatest. `q_bits` is the public size of
    the circuit's table of quotients: q must lie in [-2^(q_bits-1), 2^(q_bits-1)).
    """

    shift: int = DEFAULT_SHIFT
    multiplier: Multiplier = 1
    least: int = RELU_RANGE[0]
    greatest: int = RELU_RANGE[1]
    q_bits: int = DEFAULT_Q_BITS

    def __post_init__(self) -> None:
        require_int("requant shift", self.shift, 1, 24)
        require_multiplier("requant multiplier", self.multiplier)
        require_int("requant q_bits", self.q_bits, 9, 24)  # 9 bits hold [-256, 255]
        require_int("requant least", self.least, -MAX_ACTIVATION, 0)
        require_int("requant greatest", self.greatest, max(0, self.least + 1), MAX_ACTIVATION)
        if not self.q_range[0] <= self.least <= self.greatest <= self.q_range[1]:
            raise ArchitectureInvalid(
                "requant least and greatest must be of the table of quotients"
            )

    @property
    def y_range(self) -> Range:
        """Least and greatest activation."""
        return self.least, self.greatest

    @property
    def q_range(self) -> Range:
        """Least and greatest quotient of the table, both inclusive."""
        return -(1 << (self.q_bits - 1)), (1 << (self.q_bits - 1)) - 1

    @property
    def multipliers(self) -> tuple[int, ...]:
        """One, or one per output channel."""
        return (self.multiplier,) if isinstance(self.multiplier, int) else self.multiplier

    def require_channels(self, n: int) -> None:
        """ArchitectureInvalid unless one multiplier serves all channels, or there are n."""
        if not isinstance(self.multiplier, int) and len(self.multiplier) != n:
            raise ArchitectureInvalid(f"{len(self.multiplier)} multipliers for {n} output channels")

    def clamp(self, q: Int64Array) -> Int64Array:
        return np.clip(q, *self.y_range)

    def apply(self, z: Int64Array, integers: Integers = HOST) -> RequantTrace:
        """What the layer makes of its accumulators [N, channels, ...], where `integers` computes.

        holds : |m*z| < 2^47 by `Architecture` and s <= 24, as `kernels.integers` demands
        """
        q, rem, y = integers.requantize(z, self._rounding)
        return RequantTrace(q=q, rem=rem, y=y)

    def bounds(self, z: Interval) -> Interval:
        """Bounds of q; floor division and m >= 1 are monotone, so ends map to ends."""
        lo, hi = (HOST.requantize(end[None], self._rounding)[0][0] for end in (z.lo, z.hi))
        return Interval(lo, hi)

    @property
    def _rounding(self) -> Rounding:
        return Rounding(
            shift=self.shift,
            multipliers=self.multipliers,
            least=self.least,
            greatest=self.greatest,
        )

    def to_manifest(self) -> dict[str, Any]:
        return {
            "greatest": self.greatest,
            "least": self.least,
            "multiplier": multiplier_to_manifest(self.multiplier),
            "q_bits": self.q_bits,
            "shift": self.shift,
        }

    @classmethod
    def from_manifest(cls, value: object) -> Requant:
        if not isinstance(value, dict):
            raise ArchitectureInvalid("requant must be an object or null")
        require_keys("requant", value, {"greatest", "least", "multiplier", "q_bits", "shift"})
        return cls(**value | {"multiplier": multiplier_from_manifest(value["multiplier"])})


def requant_from_manifest(value: object) -> Requant | None:
    return None if value is None else Requant.from_manifest(value)


class Layer(Protocol):
    """What model, range analysis, bytes and circuit ask of a layer. Shapes are of one sample.

    A layer without parameters has weight and bias shape (0,); its tensors are empty arrays.
    Sequences have one item per value that the layer takes, in the order of `inputs`.
    """

    kind: ClassVar[str]

    @property
    def inputs(self) -> tuple[int, ...]:
        """Numbers of the values it takes: 0 the samples, i + 1 what layer i makes."""

    @property
    def requant(self) -> Requant | None:
        """None: the accumulators are handed on (or are the logits)."""

    def output_shape(self, shapes: Sequence[Shape]) -> Shape: ...

    def weight_shape(self, shapes: Sequence[Shape]) -> Shape: ...

    def bias_shape(self, shapes: Sequence[Shape]) -> Shape: ...

    def accumulate(
        self,
        values: Sequence[Int64Array],
        weight: Int8Array,
        bias: Int32Array,
        integers: Integers = HOST,
    ) -> Int64Array:
        """Exact accumulators z, int64[N, *output_shape], of integers [N, *shape] each; all are
        where `integers` computes."""

    def bounds(self, x: Sequence[Interval], weight: Int8Array, bias: Int32Array) -> Interval:
        """Worst-case bounds of z when each number taken moves freely in its interval; exact where
        no number is taken twice."""

    def public_range(self, shapes: Sequence[Shape], ranges: Sequence[Range]) -> Range:
        """Least and greatest z of any weights and biases that the circuit accepts."""

    def to_manifest(self) -> dict[str, Any]: ...


NO_PARAMETERS: Shape = (0,)


def symmetric(bound: int) -> Range:
    return -bound, bound


def largest(bounds: Range) -> int:
    """Greatest absolute value of a range."""
    return max(-bounds[0], bounds[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """z = x W^T + b with W int8[n_out, n_in], b int32[n_out]."""

    kind: ClassVar[str] = "linear"
    n_out: int
    inputs: tuple[int, ...]
    requant: Requant | None = None

    def __post_init__(self) -> None:
        require_int("linear n_out", self.n_out, 1, MAX_DIMENSION)
        require_ints("linear inputs", self.inputs, 1, 0, MAX_DIMENSION)
        if self.requant is not None:
            self.requant.require_channels(self.n_out)

    def output_shape(self, shapes: Sequence[Shape]) -> Shape:
        self._n_in(shapes)
        return (self.n_out,)

    def weight_shape(self, shapes: Sequence[Shape]) -> Shape:
        return (self.n_out, self._n_in(shapes))

    def bias_shape(self, shapes: Sequence[Shape]) -> Shape:
        self._n_in(shapes)
        return (self.n_out,)

    def accumulate(
        self,
        values: Sequence[Int64Array],
        weight: Int8Array,
        bias: Int32Array,
        integers: Integers = HOST,
    ) -> Int64Array:
        result: Int64Array = integers.multiply(values[0], weight, bias)
        return result

    def bounds(self, x: Sequence[Interval], weight: Int8Array, bias: Int32Array) -> Interval:
        positive, negative = np.maximum(weight, 0), np.minimum(weight, 0)
        b = bias.astype(np.int64)
        lo = exact_matmul(x[0].lo, positive) + exact_matmul(x[0].hi, negative) + b
        hi = exact_matmul(x[0].hi, positive) + exact_matmul(x[0].lo, negative) + b
        return Interval(lo, hi)

    def public_range(self, shapes: Sequence[Shape], ranges: Sequence[Range]) -> Range:
        return symmetric(self._n_in(shapes) * WEIGHT_MAX * largest(ranges[0]) - BIAS_MIN)

    def to_manifest(self) -> dict[str, Any]:
        requant = None if self.requant is None else self.requant.to_manifest()
        return {
            "inputs": list(self.inputs),
            "kind": self.kind,
            "n_out": self.n_out,
            "requant": requant,
        }

    @classmethod
    def from_manifest(cls, fields: Mapping[str, Any]) -> Linear:
        require_keys("linear layer", fields, {"inputs", "kind", "n_out", "requant"})
        return cls(
            n_out=fields["n_out"],
            inputs=require_list("linear inputs", fields["inputs"]),
            requant=requant_from_manifest(fields["requant"]),
        )

    def _n_in(self, shapes: Sequence[Shape]) -> int:
        if len(shapes[0]) != 1:
            raise ArchitectureInvalid(
                f"a linear layer takes a vector, its input has shape {list(shapes[0])}"
            )
        return shapes[0][0]
