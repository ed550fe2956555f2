"""Layers of a network on a device: inference in small integers, a thread for each number.

The definition is `kernels.integers.HOST`. Everything is exact: the caller's architecture keeps
|m z| below 2^47. Arrays of values are private: no error carries one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernels.cuda.launch.per_thread import AtomicAdd, Body, Jit, PerThread
from kernels.cuda.launch.runtime import Array, Device
from kernels.errors import ShapeError
from kernels.integers import BELOW_ALL, Rounding, count_within
from kernels.planes import Sliding


def _build_transpose(jit: Jit, atomic_add: AtomicAdd) -> Body:
    def body(i: Any, weight: Any, across: Any) -> None:
        """across[k, j] = weight[j, k]."""
        j, k = i // weight.shape[1], i % weight.shape[1]
        across[k, j] = weight[j, k]

    return body


def _build_accumulate(jit: Jit, atomic_add: AtomicAdd) -> Body:
    def body(i: Any, x: Any, weight: Any, bias: Any, z: Any) -> None:
        """z[n, j] = sum_k x[n, k] weight[k, j] + bias[j]: neighbours read neighbouring weights."""
        n_out = weight.shape[1]
        n, j = i // n_out, i % n_out
        total = np.int64(bias[j])
        for k in range(weight.shape[0]):
            total += np.int64(x[n, k]) * np.int64(weight[k, j])
        z[n, j] = total

    return body


def _build_convolve(jit: Jit, atomic_add: AtomicAdd) -> Body:
    def body(
        i: Any, x: Any, weight: Any, bias: Any, pads: Any,
        down: Any, across: Any, top: Any, left: Any, z: Any,
    ) -> None:  # fmt: skip
        """One number of z: neighbours see windows beside each other, under the same weights."""
        column, rest = i % z.shape[3], i // z.shape[3]
        row, rest = rest % z.shape[2], rest // z.shape[2]
        n, j = rest // z.shape[1], rest % z.shape[1]
        total = np.int64(bias[j])
        for c in range(weight.shape[1]):
            for ky in range(weight.shape[2]):
                y = row * down + ky - top
                for kx in range(weight.shape[3]):
                    at = column * across + kx - left
                    seen = pads[c]
                    if y >= 0 and y < x.shape[2] and at >= 0 and at < x.shape[3]:
                        seen = np.int64(x[n, c, y, at])
                    total += seen * np.int64(weight[j, c, ky, kx])
        z[n, j, row, column] = total

    return body


def _build_pool(jit: Jit, atomic_add: AtomicAdd) -> Body:
    def body(
        i: Any, x: Any, height: Any, width: Any,
        down: Any, across: Any, top: Any, left: Any, greatest: Any, z: Any,
    ) -> None:  # fmt: skip
        """One number of z; what lies beyond the border takes no part."""
        column, rest = i % z.shape[3], i // z.shape[3]
        row, rest = rest % z.shape[2], rest // z.shape[2]
        n, c = rest // z.shape[1], rest % z.shape[1]
        total, most = np.int64(0), np.int64(BELOW_ALL)
        for ky in range(height):
            y = row * down + ky - top
            for kx in range(width):
                at = column * across + kx - left
                if y >= 0 and y < x.shape[2] and at >= 0 and at < x.shape[3]:
                    total += x[n, c, y, at]
                    most = max(most, x[n, c, y, at])
        if greatest != 0:
            total = most
        z[n, c, row, column] = total

    return body


def _build_mix(jit: Jit, atomic_add: AtomicAdd) -> Body:
    def body(i: Any, a: Any, f: Any, b: Any, g: Any, within: Any, out: Any) -> None:
        """out[i] = a[i] f + b[i] g, of the factors those of the channel."""
        channel = i // within
        out[i] = a[i] * f[channel % f.shape[0]] + b[i] * g[channel % g.shape[0]]

    return body


def _build_round(jit: Jit, atomic_add: AtomicAdd) -> Body:
    def body(
        i: Any, z: Any, shift: Any, multipliers: Any, within: Any, least: Any, greatest: Any,
        q: Any, rem: Any, y: Any,
    ) -> None:  # fmt: skip
        """One value; >> is floor division."""
        m = multipliers[i // within % multipliers.shape[0]]
        t = np.int64(z[i]) * m + (np.int64(1) << (shift - 1))
        quotient = t >> shift
        q[i] = quotient
        rem[i] = t - (quotient << shift)
        y[i] = min(max(quotient, least), greatest)

    return body


def _build_spread(jit: Jit, atomic_add: AtomicAdd) -> Body:
    def body(i: Any, x: Any, out: Any) -> None:
        """out[n, k] = x[n, k], of the last row from there on."""
        n, k = i // out.shape[1], i % out.shape[1]
        out[n, k] = x[min(n, x.shape[0] - 1), k]

    return body


_transpose = PerThread("transpose", _build_transpose, "int8[:,:], int8[:,:]")
_accumulate = PerThread(
    "accumulate",
    _build_accumulate,
    "uint8[:,:], int8[:,:], int32[:], int64[:,:]",
    "int64[:,:], int8[:,:], int32[:], int64[:,:]",
)
_convolve = PerThread(
    "convolve",
    _build_convolve,
    "uint8[:,:,:,:], int8[:,:,:,:], int32[:], int64[:], int64, int64, int64, int64, int64[:,:,:,:]",
    "int64[:,:,:,:], int8[:,:,:,:], int32[:], int64[:], int64, int64, int64, int64, int64[:,:,:,:]",
)
_pool = PerThread(
    "pool",
    _build_pool,
    "int64[:,:,:,:], int64, int64, int64, int64, int64, int64, int64, int64[:,:,:,:]",
)
_mix = PerThread("mix", _build_mix, "int64[:], int64[:], int64[:], int64[:], int64, int64[:]")
_round = PerThread(
    "round_values",
    _build_round,
    "int64[:], int64, int64[:], int64, int64, int64, int64[:], int64[:], int64[:]",
)
_spread = PerThread("spread", _build_spread, "int64[:,:], int64[:,:]")


def multiply(device: Device, x: Array, weight: Array, bias: Array) -> Array:
    """z = x W^T + b, int64[N, n_out].

    x, W, b : integers[N, n_in], int8[n_out, n_in] and int32[n_out]
    raises  : ShapeError if the layer does not fit its input
    """
    n_out, n_in = weight.shape
    if x.shape[1:] != (n_in,) or bias.shape != (n_out,):
        raise ShapeError(f"a layer of shape {[n_out, n_in]} on inputs {list(x.shape)}")
    across = device.empty((n_in, n_out), np.int8)
    _transpose(device, n_in * n_out, weight, across)
    z = device.empty((len(x), n_out), np.int64)
    _accumulate(device, len(x) * n_out, x, across, bias, z)
    return z


def convolve(
    device: Device,
    x: Array,
    weight: Array,
    bias: Array,
    window: Sliding,
    pad_values: Sequence[int],
) -> Array:
    """See `kernels.integers.Integers.convolve`. Raises ShapeError likewise."""
    n_out, channels = weight.shape[:2]
    if x.shape[1] != channels or weight.shape[2:] != window.kernel or bias.shape != (n_out,):
        raise ShapeError(f"a layer of shape {list(weight.shape)} on inputs {list(x.shape)}")
    pads = device.upload_constant(np.array(pad_values or (0,) * channels, dtype=np.int64))
    z = device.empty((len(x), n_out, *window.slide(x.shape[2:])), np.int64)
    steps = *window.stride, *window.pads[:2]
    _convolve(device, z.size, x, weight, bias, pads, *steps, z)
    return z


def pool(device: Device, x: Array, window: Sliding, greatest: bool) -> Array:
    """See `kernels.integers.Integers.pool`."""
    z = device.empty((*x.shape[:2], *window.slide(x.shape[2:])), np.int64)
    sizes = *window.kernel, *window.stride, *window.pads[:2]
    _pool(device, z.size, x, *sizes, int(greatest), z)
    return z


def mix(device: Device, values: Sequence[Array], factors: Sequence[tuple[int, ...]]) -> Array:
    """See `kernels.integers.Integers.mix`. Raises ShapeError for two shapes."""
    (a, b), (f, g) = values, (device.upload_constant(np.array(x, np.int64)) for x in factors)
    if a.shape != b.shape:
        raise ShapeError(f"values of shapes {list(a.shape)} and {list(b.shape)}")
    out = device.empty((a.size,), np.int64)
    _mix(device, a.size, a.reshape(-1), f, b.reshape(-1), g, count_within(a.shape), out)
    return out.reshape(a.shape)


def requantize(device: Device, z: Array, how: Rounding) -> tuple[Array, Array, Array]:
    """(q, rem, y) of every value, int64 in the shape of z."""
    flat, multipliers = z.reshape(-1), np.array(how.multipliers, dtype=np.int64)
    q, rem, y = (device.empty(flat.shape, np.int64) for _ in range(3))
    factors, within = device.upload_constant(multipliers), count_within(z.shape)
    bounds = how.least, how.greatest
    _round(device, len(flat), flat, how.shift, factors, within, *bounds, q, rem, y)
    return q.reshape(z.shape), rem.reshape(z.shape), y.reshape(z.shape)


def spread(device: Device, x: Array, n: int) -> Array:
    """See `kernels.integers.Integers.spread`."""
    if len(x) == n:
        return x
    rows = x.reshape(len(x), -1)
    out = device.empty((n, rows.shape[1]), np.int64)
    _spread(device, out.size, rows, out)
    return out.reshape(n, *x.shape[1:])
