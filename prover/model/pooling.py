"""Layers without parameters: pools, flattening, and addition."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from kernels.integers import HOST, Integers
from kernels.numpy_types import Int8Array, Int32Array, Int64Array
from prover.errors import ArchitectureInvalid
from prover.model.layers import (
    MAX_DIMENSION,
    MAX_MULTIPLIER,
    NO_PARAMETERS,
    Interval,
    Range,
    Requant,
    Shape,
    require_ints,
    require_keys,
    require_list,
)
from prover.model.planes import Window, require_plane, window_from_manifest


class _Bare(ABC):
    """What layers without parameters have in common: none decreases where a number grows."""

    __slots__ = ()
    kind: ClassVar[str]

    @abstractmethod
    def accumulate(
        self,
        values: Sequence[Int64Array],
        weight: Int8Array,
        bias: Int32Array,
        integers: Integers = HOST,
    ) -> Int64Array:
        """As `Layer.accumulate`."""

    def bounds(self, x: Sequence[Interval], weight: Int8Array, bias: Int32Array) -> Interval:
        ends = [[part.lo[None] for part in x], [part.hi[None] for part in x]]
        lo, hi = (self.accumulate(end, weight, bias)[0] for end in ends)
        return Interval(lo, hi)

    def weight_shape(self, shapes: Sequence[Shape]) -> Shape:
        return NO_PARAMETERS

    def bias_shape(self, shapes: Sequence[Shape]) -> Shape:
        return NO_PARAMETERS


class _Plain(_Bare):
    """Layers that take one value and hand on what they make of it."""

    __slots__ = ()

    @property
    def requant(self) -> Requant | None:
        return None

    def public_range(self, shapes: Sequence[Shape], ranges: Sequence[Range]) -> Range:
        return ranges[0]


class _Pool(_Plain):
    """Layers that slide a window over planes."""

    __slots__ = ()
    window: Window

    def output_shape(self, shapes: Sequence[Shape]) -> Shape:
        require_plane(self.kind, shapes[0])
        return (shapes[0][0], *self.window.output_plane(shapes[0][1:]))


@dataclass(frozen=True, slots=True, kw_only=True)
class SumPool(_Pool):
    """The sum of each window: average pooling whose factor goes into the next scale. No pads."""

    kind: ClassVar[str] = "sum_pool"
    window: Window
    inputs: tuple[int, ...]

    def __post_init__(self) -> None:
        require_ints("sum_pool inputs", self.inputs, 1, 0, MAX_DIMENSION)
        if any(self.window.pads):
            raise ArchitectureInvalid("sum_pool has no pads")

    def accumulate(
        self,
        values: Sequence[Int64Array],
        weight: Int8Array,
        bias: Int32Array,
        integers: Integers = HOST,
    ) -> Int64Array:
        z: Int64Array = integers.pool(values[0], self.window, greatest=False)
        return z

    def public_range(self, shapes: Sequence[Shape], ranges: Sequence[Range]) -> Range:
        low, high = ranges[0]
        return low * self.window.area, high * self.window.area

    def to_manifest(self) -> dict[str, Any]:
        return {
            "inputs": list(self.inputs),
            "kernel": list(self.window.kernel),
            "kind": self.kind,
            "stride": list(self.window.stride),
        }

    @classmethod
    def from_manifest(cls, fields: Mapping[str, Any]) -> SumPool:
        require_keys("sum_pool layer", fields, {"inputs", "kernel", "kind", "stride"})
        return cls(
            window=window_from_manifest(fields),
            inputs=require_list("sum_pool inputs", fields["inputs"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxPool(_Pool):
    """The greatest number of each window; padded places take no part."""

    kind: ClassVar[str] = "max_pool"
    window: Window
    inputs: tuple[int, ...]

    def __post_init__(self) -> None:
        require_ints("max_pool inputs", self.inputs, 1, 0, MAX_DIMENSION)

    def accumulate(
        self,
        values: Sequence[Int64Array],
        weight: Int8Array,
        bias: Int32Array,
        integers: Integers = HOST,
    ) -> Int64Array:
        z: Int64Array = integers.pool(values[0], self.window, greatest=True)
        return z

    def to_manifest(self) -> dict[str, Any]:
        return {
            "inputs": list(self.inputs),
            "kernel": list(self.window.kernel),
            "kind": self.kind,
            "pads": list(self.window.pads),
            "stride": list(self.window.stride),
        }

    @classmethod
    def from_manifest(cls, fields: Mapping[str, Any]) -> MaxPool:
        require_keys("max_pool layer", fields, {"inputs", "kernel", "kind", "pads", "stride"})
        return cls(
            window=window_from_manifest(fields),
            inputs=require_list("max_pool inputs", fields["inputs"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Flatten(_Plain):
    """All numbers in one vector, last index fastest."""

    kind: ClassVar[str] = "flatten"
    inputs: tuple[int, ...]

    def __post_init__(self) -> None:
        require_ints("flatten inputs", self.inputs, 1, 0, MAX_DIMENSION)

    def output_shape(self, shapes: Sequence[Shape]) -> Shape:
        return (prod(shapes[0]),)

    def accumulate(
        self,
        values: Sequence[Int64Array],
        weight: Int8Array,
        bias: Int32Array,
        integers: Integers = HOST,
    ) -> Int64Array:
        return values[0].reshape(len(values[0]), -1)

    def to_manifest(self) -> dict[str, Any]:
        return {"inputs": list(self.inputs), "kind": self.kind}

    @classmethod
    def from_manifest(cls, fields: Mapping[str, Any]) -> Flatten:
        require_keys("flatten layer", fields, {"inputs", "kind"})
        return cls(inputs=require_list("flatten inputs", fields["inputs"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(_Bare):
    """z = c_a a + c_b b of two values of one shape, requantized."""

    kind: ClassVar[str] = "add"
    inputs: tuple[int, ...]
    scales: tuple[int, ...]
    requant: Requant

    def __post_init__(self) -> None:
        require_ints("add inputs", self.inputs, 2, 0, MAX_DIMENSION)
        require_ints("add scales", self.scales, 2, 1, MAX_MULTIPLIER)
        if not isinstance(self.requant, Requant) or not isinstance(self.requant.multiplier, int):
            raise ArchitectureInvalid("add requantizes, with one multiplier")

    def output_shape(self, shapes: Sequence[Shape]) -> Shape:
        if shapes[0] != shapes[1]:
            raise ArchitectureInvalid(
                f"add takes two values of one shape, not {list(shapes[0])} and {list(shapes[1])}"
            )
        return shapes[0]

    def accumulate(
        self,
        values: Sequence[Int64Array],
        weight: Int8Array,
        bias: Int32Array,
        integers: Integers = HOST,
    ) -> Int64Array:
        first, second = self.scales
        z: Int64Array = integers.mix(values, [(first,), (second,)])
        return z

    def public_range(self, shapes: Sequence[Shape], ranges: Sequence[Range]) -> Range:
        (a, b), (c, d) = ranges
        left, right = self.scales
        return left * a + right * c, left * b + right * d

    def to_manifest(self) -> dict[str, Any]:
        return {
            "inputs": list(self.inputs),
            "kind": self.kind,
            "requant": self.requant.to_manifest(),
            "scales": list(self.scales),
        }

    @classmethod
    def from_manifest(cls, fields: Mapping[str, Any]) -> Add:
        require_keys("add layer", fields, {"inputs", "kind", "requant", "scales"})
        return cls(
            inputs=require_list("add inputs", fields["inputs"]),
            scales=require_list("add scales", fields["scales"]),
            requant=Requant.from_manifest(fields["requant"]),
        )
