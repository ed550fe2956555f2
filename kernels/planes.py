"""Windows that slide over planes of small integers: convolutions and pools, in NumPy.

A plane's value has the shape (channels, height, width); arrays hold one for each sample. These are
the definitions that `kernels.integers.HOST` computes by, and that devices are judged by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np

from kernels.numpy_types import Int8Array, Int32Array, Int64Array

AT_ONCE = 1 << 19  # numbers of unrolled windows: few enough to stay in a processor's cache

Multiply = Callable[[Int64Array, Int8Array, Int32Array], Int64Array]
"""x W^T + b, as `kernels.integers.Integers.multiply`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sliding:
    """A window of kernel (height, width) that slides by stride over a padded plane.

    pads : rows above, columns to the left, rows below, columns to the right; each less than the
           kernel's side, so that every place of the window meets the plane
    """

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)

    def slide(self, plane: Sequence[int]) -> tuple[int, int]:
        """Height and width of what slides out of a plane of this height and width."""
        top, left, bottom, right = self.pads
        (height, width), (down, across) = self.kernel, self.stride
        return (
            (plane[0] + top + bottom - height) // down + 1,
            (plane[1] + left + right - width) // across + 1,
        )

    def places(self) -> Iterator[tuple[int, int]]:
        """Every (row, column) of the kernel."""
        return ((ky, kx) for ky in range(self.kernel[0]) for kx in range(self.kernel[1]))

    def meet(
        self, axis: int, place: int, n: int, n_out: int, begin: int = 0
    ) -> tuple[slice, slice]:
        """Where one place of the kernel meets the plane along an axis: outputs, counted from
        `begin`, and the numbers that they meet there.

        axis : 0 for rows, 1 for columns; n : length of the plane; outputs : from `begin` to n_out
        """
        stride, pad = self.stride[axis], self.pads[axis]
        first = max(begin, -(-(pad - place) // stride))
        last = max(first - 1, min(n_out - 1, (n - 1 + pad - place) // stride))
        start = first * stride + place - pad
        stop = last * stride + place - pad + 1
        return slice(first - begin, last + 1 - begin), slice(start, max(start, stop), stride)


def convolve(
    x: Int64Array,
    weight: Int8Array,
    bias: Int32Array,
    window: Sliding,
    pad_values: Sequence[int],
    multiply: Multiply,
) -> Int64Array:
    """See `kernels.integers.Integers.convolve`: some samples at a time, or parts of one, whose
    windows are unrolled."""
    n_out, plane = len(weight), window.slide(x.shape[2:])
    z = np.empty((len(x), n_out, *plane), dtype=np.int64)
    flat = weight.reshape(n_out, -1)
    for part, rows, columns in _cut((len(x), *plane), AT_ONCE // flat.shape[1]):
        taken = x[part.start : part.stop]
        seen = _unroll(taken, window, pad_values, rows, columns)
        made = multiply(seen.reshape(flat.shape[1], -1).T, flat, bias)
        made = made.reshape(len(part), len(rows), len(columns), n_out).transpose(0, 3, 1, 2)
        z[part.start : part.stop, :, rows.start : rows.stop, columns.start : columns.stop] = made
    return z


def pool(x: Int64Array, window: Sliding, join: np.ufunc, start: int) -> Int64Array:
    """The numbers of each window joined, from `start` on; padded places take no part."""
    height, width = window.slide(x.shape[2:])
    z = np.full((*x.shape[:2], height, width), start, dtype=np.int64)
    for ky, kx in window.places():
        outs, rows = window.meet(0, ky, x.shape[2], height)
        across, columns = window.meet(1, kx, x.shape[3], width)
        met = z[:, :, outs, across]
        join(met, x[:, :, rows, columns], out=met)
    return z


def _unroll(
    x: Int64Array, window: Sliding, pad_values: Sequence[int], rows: range, columns: range
) -> Int64Array:
    """What each window sees, int64[C, *kernel, N, rows, columns], of x[N, C, H, W].

    rows, columns : of the output
    cost          : with the places of windows last, whole rows are copied, not number by number
    """
    n, channels, *plane = x.shape
    shape = (channels, *window.kernel, n, len(rows), len(columns))
    seen = np.zeros(shape, dtype=np.int64)
    if any(pad_values):
        seen += np.array(pad_values, dtype=np.int64).reshape(-1, *(1,) * (len(shape) - 1))
    by_channel = x.transpose(1, 0, 2, 3)
    for ky, kx in window.places():
        to_rows, from_rows = window.meet(0, ky, plane[0], rows.stop, rows.start)
        to_columns, from_columns = window.meet(1, kx, plane[1], columns.stop, columns.start)
        part = by_channel[:, :, from_rows, from_columns]
        seen[:, ky, kx, :, to_rows, to_columns] = part
    return seen


def _cut(shape: Sequence[int], most: int) -> Iterator[tuple[range, ...]]:
    """Boxes that make up a box of this shape, each of at most so many places, or of one."""
    steps = []
    for axis, n in enumerate(shape):
        steps.append(min(n, max(1, most // prod(shape[axis + 1 :]))))
    sides = (
        [range(i, min(i + step, n)) for i in range(0, n, step)] if n else []
        for n, step in zip(shape, (max(1, step) for step in steps), strict=True)
    )
    return product(*sides)
