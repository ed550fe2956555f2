"""Windows over planes, and convolution as an integer layer.

A plane's value has the shape (channels, height, width). A window slides over it by `stride`; the
border is padded by `pads` (top, left, bottom, right). `kernels.planes` computes what they see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np

from kernels.integers import HOST, Integers
from kernels.numpy_types import Int8Array, Int32Array, Int64Array
from kernels.planes import Sliding
from prover.errors import ArchitectureInvalid
from prover.model.layers import (
    BIAS_MIN,
    MAX_DIMENSION,
    WEIGHT_MAX,
    Interval,
    Multiplier,
    Range,
    Requant,
    Shape,
    largest,
    multiplier_from_manifest,
    multiplier_to_manifest,
    requant_from_manifest,
    require_int,
    require_ints,
    require_keys,
    require_list,
    require_multiplier,
    symmetric,
)

MAX_KERNEL = 1 << 12
PIXEL_MAX = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Window(Sliding):
    """A window of kernel (height, width) that slides by stride over a padded plane.

    raises : ArchitectureInvalid for what is no window of that kind
    """

    def __post_init__(self) -> None:
        require_ints("kernel", self.kernel, 2, 1, MAX_KERNEL)
        require_ints("stride", self.stride, 2, 1, MAX_KERNEL)
        require_ints("pads", self.pads, 4, 0, MAX_KERNEL)
        sides = (*self.kernel, *self.kernel)
        if any(pad >= side for pad, side in zip(self.pads, sides, strict=True)):
            raise ArchitectureInvalid("pads must be smaller than the kernel")

    def output_plane(self, plane: Sequence[int]) -> tuple[int, int]:
        """Height and width of what slides out of a plane of this height and width."""
        sides = self.slide(plane)
        if min(sides) < 1:
            raise ArchitectureInvalid(
                f"a kernel of {list(self.kernel)} is larger than its plane {list(plane)}"
            )
        return sides

    @property
    def area(self) -> int:
        return prod(self.kernel)


def require_plane(kind: str, shape: Shape) -> None:
    """ArchitectureInvalid unless a shape is (channels, height, width)."""
    if len(shape) != 3:
        raise ArchitectureInvalid(
            f"a {kind} layer takes (channels, height, width), its input has shape {list(shape)}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv2d:
    """z = x * W + b, cross-correlation as networks have it; W int8[n_out, C, kh, kw], b int32.

    inputs     : (x,), or (x, skip): then z = x * W + b + skip_scale * skip, skip of z's shape
    skip_scale : integer multiple of the skip, of all output channels or one each; 0 without a skip
    pad_values : uint8 of each input channel at the border, where x are the samples; () for zeros
    """

    kind: ClassVar[str] = "conv2d"
    n_out: int
    window: Window
    inputs: tuple[int, ...]
    requant: Requant | None
    pad_values: tuple[int, ...] = ()
    skip_scale: Multiplier = 0

    def __post_init__(self) -> None:
        require_int("conv2d n_out", self.n_out, 1, MAX_DIMENSION)
        if type(self.inputs) is not tuple or len(self.inputs) not in (1, 2):
            raise ArchitectureInvalid("conv2d inputs must be 1 or 2 integers")
        require_ints("conv2d inputs", self.inputs, len(self.inputs), 0, MAX_DIMENSION)
        if self.requant is not None:
            self.requant.require_channels(self.n_out)
        self._check_skip()
        self._check_pads()

    def _check_skip(self) -> None:
        if not self.has_skip:
            require_int("conv2d skip_scale without a skip", self.skip_scale, 0, 0)
            return
        require_multiplier("conv2d skip_scale", self.skip_scale)
        if not isinstance(self.skip_scale, int) and len(self.skip_scale) != self.n_out:
            raise ArchitectureInvalid("conv2d skip_scale must be one, or one per output channel")

    def _check_pads(self) -> None:
        if type(self.pad_values) is not tuple or len(self.pad_values) > MAX_DIMENSION:
            raise ArchitectureInvalid("conv2d pad_values must be integers")
        for value in self.pad_values:
            require_int("conv2d pad_values", value, 0, PIXEL_MAX)
        if self.pad_values and self.inputs[0] != 0:
            raise ArchitectureInvalid("conv2d pad_values are for samples only")

    @property
    def has_skip(self) -> bool:
        return len(self.inputs) == 2

    @property
    def skip_scales(self) -> tuple[int, ...]:
        """One, or one per output channel."""
        return (self.skip_scale,) if isinstance(self.skip_scale, int) else self.skip_scale

    def output_shape(self, shapes: Sequence[Shape]) -> Shape:
        require_plane(self.kind, shapes[0])
        if self.pad_values and len(self.pad_values) != shapes[0][0]:
            raise ArchitectureInvalid("conv2d pad_values must be one per input channel")
        shape = (self.n_out, *self.window.output_plane(shapes[0][1:]))
        if self.has_skip and shapes[1] != shape:
            raise ArchitectureInvalid(
                f"conv2d makes {list(shape)}, the skip has shape {list(shapes[1])}"
            )
        return shape

    def weight_shape(self, shapes: Sequence[Shape]) -> Shape:
        require_plane(self.kind, shapes[0])
        return (self.n_out, shapes[0][0], *self.window.kernel)

    def bias_shape(self, shapes: Sequence[Shape]) -> Shape:
        return (self.n_out,)

    def accumulate(
        self,
        values: Sequence[Int64Array],
        weight: Int8Array,
        bias: Int32Array,
        integers: Integers = HOST,
    ) -> Int64Array:
        z: Int64Array = integers.convolve(values[0], weight, bias, self.window, self.pad_values)
        if self.has_skip:
            z = integers.mix([z, values[1]], [(1,), self.skip_scales])
        return z

    def bounds(self, x: Sequence[Interval], weight: Int8Array, bias: Int32Array) -> Interval:
        positive, negative = np.maximum(weight, 0), np.minimum(weight, 0)
        zero = np.zeros_like(bias)

        def convolve(end: Int64Array, part: Int8Array, bias: Int32Array) -> Int64Array:
            return HOST.convolve(end[None], part, bias, self.window, self.pad_values)

        def bound(low: Int64Array, high: Int64Array, skip: int) -> Int64Array:
            z = convolve(high, positive, bias) + convolve(low, negative, zero)
            if self.has_skip:
                other = (x[1].lo, x[1].hi)[skip][None]
                z = HOST.mix([z, other], [(1,), self.skip_scales])
            return z.reshape(z.shape[1:])

        return Interval(bound(x[0].hi, x[0].lo, 0), bound(x[0].lo, x[0].hi, 1))

    def public_range(self, shapes: Sequence[Shape], ranges: Sequence[Range]) -> Range:
        x_max = max(largest(ranges[0]), *self.pad_values, 0)
        n_terms = shapes[0][0] * self.window.area
        bound = n_terms * WEIGHT_MAX * x_max - BIAS_MIN
        if self.has_skip:
            bound += max(self.skip_scales) * largest(ranges[1])
        return symmetric(bound)

    def to_manifest(self) -> dict[str, Any]:
        return {
            "inputs": list(self.inputs),
            "kernel": list(self.window.kernel),
            "kind": self.kind,
            "n_out": self.n_out,
            "pad_values": list(self.pad_values),
            "pads": list(self.window.pads),
            "requant": None if self.requant is None else self.requant.to_manifest(),
            "skip_scale": multiplier_to_manifest(self.skip_scale),
            "stride": list(self.window.stride),
        }

    @classmethod
    def from_manifest(cls, fields: Mapping[str, Any]) -> Conv2d:
        names = {"inputs", "kernel", "kind", "n_out", "pad_values", "pads", "requant"}
        require_keys("conv2d layer", fields, names | {"skip_scale", "stride"})
        return cls(
            n_out=fields["n_out"],
            window=window_from_manifest(fields),
            inputs=require_list("conv2d inputs", fields["inputs"]),
            requant=requant_from_manifest(fields["requant"]),
            pad_values=require_list("conv2d pad_values", fields["pad_values"]),
            skip_scale=multiplier_from_manifest(fields["skip_scale"]),
        )


def window_from_manifest(fields: Mapping[str, Any]) -> Window:
    """From the fields kernel, stride and, where the kind has them, pads."""
    pads = require_list("pads", fields.get("pads", [0, 0, 0, 0]))
    kernel, stride = (require_list(name, fields[name]) for name in ("kernel", "stride"))
    return Window(kernel=kernel, stride=stride, pads=pads)
