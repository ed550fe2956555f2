"""How the windows of a convolution lie on its plane, axis by axis: numbers only.

Output i meets, at place k of its kernel, the number u = i t + k - p of the plane (stride t, pad p).
Freivalds' weights of outputs are powers of a challenge x, and those of numbers follow:

    x^i = x^floor((u + p) / t) x^-floor(k / t),      since (u + p) / t = i + k / t

so a number has one weight, whatever windows meet it, and a place of the kernel one inverse. Where
there is a single output along an axis, all weights are 1.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from kernels.numpy_types import Int64Array
from prover.model.layers import Layer, Shape
from prover.model.network import Architecture
from prover.model.planes import Conv2d, Window


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a window that slides over n numbers and makes n_out outputs.

    kernel, stride, pad : of this axis; pad lies before the first number
    """

    n: int
    n_out: int
    kernel: int
    stride: int
    pad: int

    @property
    def last(self) -> int:
        """The last number that some output meets; the first one is 0, as pads are below kernels."""
        return min(self.n - 1, (self.n_out - 1) * self.stride + self.kernel - 1 - self.pad)

    @property
    def n_used(self) -> int:
        """Numbers that some output meets."""
        return int(self.n_meetings.sum()) if self.stride > self.kernel else self.last + 1

    @property
    def used_key(self) -> Hashable:
        """Of the same value, axes with the same key use the same numbers.

        The pad behind the last number says, by n_out, whether one more output meets some.
        """
        has_gaps = self.stride > self.kernel
        return (self.stride, self.kernel, self.pad, self.n_out) if has_gaps else self.last

    @property
    def exponent_range(self) -> tuple[int, int]:
        """Least and greatest exponent of the weights of used numbers."""
        if self.n_out == 1:
            return 0, 0
        return self.pad // self.stride, (self.last + self.pad) // self.stride

    @property
    def greatest_inverse(self) -> int:
        """Greatest exponent of the inverses of places."""
        return (self.kernel - 1) // self.stride if self.n_out > 1 else 0

    @property
    def n_meetings(self) -> Int64Array:
        """How many numbers each place of the kernel meets."""
        k = np.arange(self.kernel, dtype=np.int64)
        first = np.maximum(0, -((k - self.pad) // self.stride))
        last = np.minimum(self.n_out - 1, (self.n - 1 + self.pad - k) // self.stride)
        found: Int64Array = np.maximum(last - first + 1, 0)
        return found

    @property
    def n_seen(self) -> Int64Array:
        """How many numbers each output meets."""
        first = np.arange(self.n_out, dtype=np.int64) * self.stride - self.pad
        found: Int64Array = np.minimum(first + self.kernel, self.n) - np.maximum(first, 0)
        return found

    # -- what follows has a number per number or meeting: for who compiles -------------------------

    @property
    def met(self) -> Int64Array:
        """met[k, i]: the number that output i meets at place k; outside of [0, n) there is none."""
        i, k = np.arange(self.n_out, dtype=np.int64), np.arange(self.kernel, dtype=np.int64)
        found: Int64Array = i * self.stride + k[:, None] - self.pad
        return found

    @property
    def used(self) -> Int64Array:
        """Numbers that some output meets, ascending."""
        padded = np.arange(self.n, dtype=np.int64) + self.pad
        last = np.minimum(padded // self.stride, self.n_out - 1)
        return np.flatnonzero(padded - last * self.stride < self.kernel).astype(np.int64)

    @property
    def exponents(self) -> Int64Array:
        """Exponent of the weight of every used number."""
        return (self.used + self.pad) // self.stride * (self.n_out > 1)

    @property
    def inverses(self) -> Int64Array:
        """Exponent of the inverse of every place of the kernel."""
        return np.arange(self.kernel, dtype=np.int64) // self.stride * (self.n_out > 1)

    @property
    def meetings(self) -> tuple[Int64Array, Int64Array]:
        """What each output meets at each place, [kernel, n_out]: places among the used numbers, and
        1, or 0 where there is none."""
        met, used = self.met, self.used
        inside = (met >= 0) & (met < self.n)
        return np.searchsorted(used, np.where(inside, met, used[0])), inside.astype(np.int64)

    @property
    def windows(self) -> tuple[Int64Array, Int64Array]:
        """`meetings` with what is there first, as many outputs as some place has at most."""
        index, inside = self.meetings
        order = np.argsort(-inside, axis=1, kind="stable")[:, : int(inside.sum(axis=1).max())]
        return np.take_along_axis(index, order, axis=1), np.take_along_axis(inside, order, axis=1)


@dataclass(frozen=True, slots=True)
class Sliding:
    """A window over a plane: its rows and its columns."""

    rows: Axis
    columns: Axis

    @classmethod
    def of(cls, window: Window, shape: Shape) -> Sliding:
        """shape : (channels, height, width)"""
        plane, out = shape[1:], window.output_plane(shape[1:])
        rows, columns = (
            Axis(plane[i], out[i], window.kernel[i], window.stride[i], window.pads[i])
            for i in range(2)
        )
        return cls(rows, columns)

    @property
    def plane(self) -> tuple[int, int]:
        """Height and width of what it makes."""
        return self.rows.n_out, self.columns.n_out

    @property
    def n_used(self) -> int:
        """Numbers of a channel that some window meets."""
        return self.rows.n_used * self.columns.n_used


def slide_layer(architecture: Architecture, layer: Layer) -> Sliding | None:
    """Where the windows of a convolution lie; None for other kinds."""
    if not isinstance(layer, Conv2d):
        return None
    return Sliding.of(layer.window, architecture.shapes[layer.inputs[0]])
