"""What the layers of a network compute in floating point: the real numbers that integers stand for.

    linear, conv2d   W x + b, and the skip where there is one
    sum_pool         the mean of each window; max_pool, flatten as they are
    add              the sum
    requant          ReLU where its least activation is 0, nothing where it is negative

Shifts, multipliers and integer scales have no meaning here. All arrays are of one float type.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from prover.model.layers import Layer, Linear, Requant
from prover.model.planes import Conv2d, Window
from prover.model.pooling import Add, Flatten, MaxPool, SumPool

Floats = npt.NDArray[np.floating[Any]]

_AT_ONCE = 1 << 22  # numbers of unrolled windows


def is_relu(requant: Requant | None) -> bool:
    """Whether a layer hands on no negative number."""
    return requant is not None and requant.least == 0


def apply_layer(
    layer: Layer, values: Sequence[Floats], weight: Floats, bias: Floats, pads: Sequence[float] = ()
) -> Floats:
    """z of a layer, [N, *output_shape], before any ReLU.

    pads : what stands around the plane of a convolution, of each channel; none: zeros
    """
    x = values[0]
    if isinstance(layer, Linear):
        return np.asarray(x @ weight.T + bias)
    if isinstance(layer, Conv2d):
        z = convolve(x, weight, bias, layer.window, pads)
        return z + values[1] if layer.has_skip else z
    if isinstance(layer, SumPool):
        return np.asarray(_pool(x, layer.window, np.add, 0.0) / layer.window.area)
    if isinstance(layer, MaxPool):
        return _pool(x, layer.window, np.maximum, -np.inf)
    if isinstance(layer, Flatten):
        return x.reshape(len(x), -1)
    assert isinstance(layer, Add)
    return np.asarray(x + values[1])


def convolve(
    x: Floats, weight: Floats, bias: Floats, window: Window, pads: Sequence[float] = ()
) -> Floats:
    """x[N, C, H, W] * W[n_out, C, kh, kw] + b, [N, n_out, H', W'].

    cost : windows are unrolled, some samples at a time, for one BLAS product per sample
    """
    n_out, channels = weight.shape[:2]
    plane = window.output_plane(x.shape[2:])
    flat = weight.reshape(n_out, -1)
    z = np.empty((len(x), n_out, prod(plane)), dtype=x.dtype)
    step = max(1, _AT_ONCE // (flat.shape[1] * prod(plane)))
    for start in range(0, len(x), step):
        part = x[start : start + step]
        seen = np.zeros((len(part), channels, *window.kernel, *plane), dtype=x.dtype)
        if any(pads):
            seen += np.array(pads, dtype=x.dtype).reshape(-1, 1, 1, 1, 1)
        for ky, kx in window.places():
            rows, from_rows = window.meet(0, ky, x.shape[2], plane[0])
            columns, from_columns = window.meet(1, kx, x.shape[3], plane[1])
            seen[:, :, ky, kx, rows, columns] = part[:, :, from_rows, from_columns]
        np.matmul(flat, seen.reshape(len(part), flat.shape[1], -1), out=z[start : start + step])
    z += bias[:, None]
    return z.reshape(len(x), n_out, *plane)


def _pool(x: Floats, window: Window, join: np.ufunc, start: float) -> Floats:
    """Each window's numbers joined; padded places take no part."""
    plane = window.output_plane(x.shape[2:])
    z = np.full((*x.shape[:2], *plane), start, dtype=x.dtype)
    for ky, kx in window.places():
        rows, from_rows = window.meet(0, ky, x.shape[2], plane[0])
        columns, from_columns = window.meet(1, kx, x.shape[3], plane[1])
        met = z[:, :, rows, columns]
        join(met, x[:, :, from_rows, from_columns], out=met)
    return z
