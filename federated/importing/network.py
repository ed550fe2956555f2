"""The network between the file and its layers: nodes that compute real numbers of one sample.

A file's many operators come down to the kinds of KINDS. Each node of a kind that has parameters, or
adds, clamps what it makes to real bounds, and may round it to a grid (`Grid`), as a file that is
quantized already says; `federated.importing.qdq` makes integers of such networks, and
`federated.importing.float_graph` a float network of those without grids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Literal

import numpy as np

from kernels.numpy_types import Float32Array, Float64Array, Int64Array, UInt8Array
from prover.model.layers import Shape
from prover.model.planes import Window

Kind = Literal[
    "samples", "conv", "linear", "add", "average_pool", "max_pool", "flatten", "requantize"
]
ROUNDING = ("conv", "linear", "add", "requantize")
"""Kinds that clamp and round."""
ENDLESS = (-inf, inf)


@dataclass(frozen=True, slots=True)
class Grid:
    """Where rounded numbers lie: real = scale * n with n in [least, greatest], 0 among them."""

    scale: float
    least: int
    greatest: int

    @property
    def ends(self) -> tuple[float, float]:
        """Least and greatest real number."""
        return self.scale * self.least, self.scale * self.greatest

    @property
    def is_one_sided(self) -> bool:
        """Whether it clamps as a ReLU does: quantizers leave those out, and let the grid do it."""
        return self.least == 0 or self.greatest == 0


@dataclass(frozen=True, slots=True, eq=False)
class Weight:
    """Weights [n_out, ...]; where the file has integers, values = ints * scale[n_out]."""

    values: Float64Array
    ints: Int64Array | None = None
    scale: Float64Array | None = None

    def scaled(self, gain: Float64Array) -> Weight:
        """Every output channel times its gain [n_out]."""
        column = gain.reshape(-1, *(1,) * (self.values.ndim - 1))
        if self.ints is None or self.scale is None:
            return Weight(self.values * column)
        scale = np.where(gain == 0, self.scale, self.scale * np.abs(gain))
        ints = self.ints * np.sign(column).astype(np.int64)
        return Weight(self.values * column, ints, scale)

    def columns(self, order: Int64Array) -> Weight:
        """Of a matrix, with its columns in this order."""
        ints = None if self.ints is None else self.ints[:, order]
        return Weight(self.values[:, order], ints, self.scale)


@dataclass(slots=True, eq=False)
class Node:
    """What makes one value. Graph building refines a node while nobody else has seen its value.

    operator, name : of the file's node, for messages
    inputs         : nodes whose values it takes; a convolution may have a second one, added to
                     what it makes
    shape          : of one sample, planes as (channels, height, width)
    exclusive      : nobody else takes the first input's value
    clamp          : real bounds, before rounding
    grid           : of what it makes, where the file says so; of samples and means, which may stay
                     as they are, with all of it inside
    branch_grid    : of what a convolution makes before its second input is added
    """

    kind: Kind
    operator: str
    name: str
    shape: Shape
    inputs: tuple[Node, ...] = ()
    exclusive: bool = False
    window: Window | None = None
    weight: Weight | None = None
    bias: Float64Array | None = None
    clamp: tuple[float, float] = ENDLESS
    grid: Grid | None = None
    branch_grid: Grid | None = None

    @property
    def parameters(self) -> tuple[Weight, Float64Array]:
        """Weights and biases of the kinds that have them."""
        assert self.weight is not None
        assert self.bias is not None
        return self.weight, self.bias

    @property
    def is_bare(self) -> bool:
        """Whether it has parameters that what follows can still be folded into."""
        return self.kind in ("conv", "linear") and len(self.inputs) == 1 and self.clamp == ENDLESS

    @property
    def reach(self) -> tuple[float, float]:
        """Real bounds of what it makes, as far as clamps and grids tell."""
        if self.kind in ("max_pool", "average_pool", "flatten"):
            return self.inputs[0].reach
        return self.clamp if self.grid is None else intersect(self.clamp, self.grid.ends)


@dataclass(slots=True, eq=False)
class Samples(Node):
    """The uint8 samples: the network sees gain * pixel + offset, both of the sample's shape.

    file_shape : of one sample as the file is given it
    file_axes  : axes of one of our samples in the file's order; a reshape to file_shape follows
    given      : gain and offset of what the file is given, both of file_shape
    """

    kind: Kind = field(default="samples", init=False)
    gain: Float64Array = field(kw_only=True)
    offset: Float64Array = field(kw_only=True)
    file_shape: Shape = field(kw_only=True)
    file_axes: tuple[int, ...] = field(kw_only=True)
    given: tuple[Float64Array, Float64Array] = field(kw_only=True)

    def feed(self, images: UInt8Array) -> Float32Array:
        """What the file is given for samples uint8[N, ...] of ours: float32[N, *file_shape]."""
        ours = images.reshape(len(images), *self.shape)
        theirs = ours.transpose(0, *(axis + 1 for axis in self.file_axes))
        gain, offset = self.given
        fed = theirs.reshape(len(images), *self.file_shape) * gain + offset
        return fed.astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """samples : the entrance; logits : the node that makes them; notes : what importing changed"""

    samples: Samples
    logits: Node
    opset: int
    notes: tuple[str, ...]

    @property
    def is_quantized(self) -> bool:
        """Whether the file rounds some value to a grid."""
        return any(n.grid is not None or n.branch_grid is not None for n in sort_nodes(self.logits))


def intersect(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
    return max(a[0], b[0]), min(a[1], b[1])


def sort_nodes(last: Node) -> list[Node]:
    """The node and all it depends on, each after those it takes."""
    found: list[Node] = []
    done: set[int] = set()
    stack: list[tuple[Node, bool]] = [(last, False)]
    while stack:
        node, is_ready = stack.pop()
        if is_ready:
            found.append(node)
        elif id(node) not in done:
            done.add(id(node))
            stack.append((node, True))
            stack.extend((each, False) for each in reversed(node.inputs))
    return found


def is_uniform(array: Float64Array, axes: Sequence[int]) -> bool:
    """Whether an array is constant along these axes."""
    return all(bool((array == np.take(array, [0], axis=axis)).all()) for axis in axes)
