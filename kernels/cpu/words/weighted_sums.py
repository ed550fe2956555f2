"""Sums mod r that a verifier weighs by scalars: powers, bytes of samples, numbers of a plane.

Scalars are plain words. A factor of many is brought to Montgomery form once: then the Montgomery
product of a plain scalar with it is plain, and nothing is converted back.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from numba import types

from kernels.array import U64, FrArray
from kernels.cpu.compile.emit import Emitter, Routine, Value
from kernels.cpu.compile.jit import kernel
from kernels.cpu.compile.memory import stack
from kernels.cpu.words.lane_sum import LANES, reduce_lanes
from kernels.cpu.words.scalar64 import FR, fr_add, fr_mul, fr_to_mont, products
from kernels.errors import ShapeError
from kernels.numpy_types import Int64Array, UInt8Array

MAX_ROWS = 1 << 22  # of bytes that are weighed: 32 + 8 + 22 bits are within a signed lane
_LIMBS = 8  # of 32 bits
_COLUMNS = 128  # whose lanes stay in the first cache
_BYTES, _WORDS = (types.Array(kind, 2, "C", readonly=True) for kind in (types.uint8, types.uint32))
_WEIGH = types.void(types.uint64[:, ::1], _BYTES, _WORDS)


@kernel(signature="void(uintp, uintp, int64)")
def _list_powers(out: int, base: int, n: int) -> None:
    """The powers from the one in out[0] on."""
    factor = stack(4)
    fr_to_mont(factor, base)
    for i in range(1, n):
        fr_mul(out + 32 * i, out + 32 * (i - 1), factor)


@kernel(signature="void(uintp, uintp, uintp, int64)")
def _add_scaled(total: int, values: int, scale: int, n: int) -> None:
    factor, term = stack(4), stack(4)
    fr_to_mont(factor, scale)
    for i in range(n):
        fr_mul(term, values + 32 * i, factor)
        fr_add(total + 32 * i, total + 32 * i, term)


@kernel(signature=_WEIGH)
def _weigh_bytes(lanes: U64, rows: UInt8Array, limbs: npt.NDArray[np.uint32]) -> None:
    """lanes[j, k] += sum_i limbs[i, j] rows[i, k].

    Four rows at a time, and some columns after the other. Inner loops run over slices from 0 on: so
    the compiler knows that no index is negative, and takes vectors.
    """
    n, d = rows.shape
    for start in range(0, d, _COLUMNS):
        size = min(_COLUMNS, d - start)
        for i in range(0, n, 4):
            i1, i2, i3 = min(i + 1, n - 1), min(i + 2, n - 1), min(i + 3, n - 1)
            p, q, r, s = rows[i, start:], rows[i1, start:], rows[i2, start:], rows[i3, start:]
            for j in range(_LIMBS):
                a, to = np.uint64(limbs[i, j]), lanes[j, start:]
                b, c, e = np.uint64(limbs[i1, j]), np.uint64(limbs[i2, j]), np.uint64(limbs[i3, j])
                # past the last row that one again, without a weight
                b, c = b * np.uint64(i + 1 < n), c * np.uint64(i + 2 < n)
                e *= np.uint64(i + 3 < n)
                for k in range(size):
                    low = a * np.uint64(p[k]) + b * np.uint64(q[k])
                    to[k] += low + c * np.uint64(r[k]) + e * np.uint64(s[k])


def _two_products(e: Emitter, out: Value, a: Value, b: Value, c: Value, d: Value) -> None:
    """out = a b + c d, reduced once."""
    e.store(out, products(e, FR.field, [(a, b), (c, d)]))


two_products = Routine(f"{FR.tag}.two_products", "ppppp", _two_products).intrinsic()


@kernel(signature="void(uintp, uintp, uintp, int64[:,::1], int64, int64, int64)")
def _gather(
    out: int, values: int, weights: int, index: Int64Array, n_outer: int, n: int, n_inner: int
) -> None:
    """out[a, r, b] = sum_i weights[i] values[a, index[r, i], b], into zeros."""
    n_terms = index.shape[1]
    factors = np.empty((n_terms, 4), dtype=np.uint64)
    at, term = factors.ctypes.data, stack(4)
    for i in range(n_terms):
        fr_to_mont(at + 32 * i, weights + 32 * i)
    for a in range(n_outer):
        for r in range(index.shape[0]):
            for b in range(n_inner):
                for i in range(0, n_terms - 1, 2):
                    first = values + 32 * ((a * n + index[r, i]) * n_inner + b)
                    second = values + 32 * ((a * n + index[r, i + 1]) * n_inner + b)
                    two_products(term, first, at + 32 * i, second, at + 32 * i + 32)
                    fr_add(out, out, term)
                if n_terms & 1:
                    last = n_terms - 1
                    place = values + 32 * ((a * n + index[r, last]) * n_inner + b)
                    fr_mul(term, place, at + 32 * last)
                    fr_add(out, out, term)
                out += 32


def compute_powers(base: int, n: int) -> FrArray:
    """1, base, ..., base^(n-1) mod r, shape [n]; any n from 0 on."""
    powers, factor = FrArray.zeros(n), FrArray.from_ints([base])
    powers.data[:1, 0] = 1
    _list_powers(powers.data.ctypes.data, factor.data.ctypes.data, n)
    return powers


def sum_scaled(vectors: Sequence[FrArray], scales: Sequence[int]) -> FrArray:
    """sum_i scales_i vectors_i mod r, of at least one vector, all of one shape [n].

    Raises ShapeError when the shapes differ, or the numbers of vectors and scales.
    """
    shapes = {vector.shape for vector in vectors}
    if len(shapes) != 1 or len(vectors) != len(scales) or vectors[0].data.ndim != 2:
        raise ShapeError(f"sum_scaled: {len(scales)} scales for vectors of shapes {shapes}")
    total, factors = FrArray.zeros(len(vectors[0])), FrArray.from_ints(scales).data
    for vector, factor in zip(vectors, factors, strict=True):
        to, source = total.data.ctypes.data, vector.data.ctypes.data
        _add_scaled(to, source, factor.ctypes.data, len(vector))
    return total


def sum_bytes(rows: UInt8Array, weights: FrArray) -> FrArray:
    """sum_i weights_i rows_ik mod r for every k, shape [d].

    rows  : uint8[n, d], n up to MAX_ROWS; weights : shape [n]
    holds : weights are cut into 32-bit limbs, so a limb's sum is below 2^62, exact in a lane
    cost  : 1 ns for each number
    Raises ShapeError when the shapes do not fit.
    """
    if rows.ndim != 2 or weights.shape != rows.shape[:1] or len(rows) > MAX_ROWS:
        raise ShapeError(f"sum_bytes: {list(weights.shape)} weights for {list(rows.shape)} bytes")
    lanes = np.zeros((_LIMBS, rows.shape[1]), dtype=np.uint64)
    _weigh_bytes(lanes, np.ascontiguousarray(rows), weights.data.view(np.uint32))
    padded = np.zeros((rows.shape[1], LANES), dtype=np.int64)
    padded[:, :_LIMBS] = lanes.T
    return reduce_lanes(padded.reshape(-1))


def gather_sums(values: FrArray, index: Int64Array, weights: FrArray) -> FrArray:
    """sum_i weights_i values[a, index[r, i], b] mod r, shape [n_outer, len(index), n_inner].

    values : shape [n_outer, n, n_inner]; index : int64[n_sums, m], in [0, n); weights : shape [m]
    cost   : one product for each term
    Raises ShapeError when the shapes do not fit, or an index is outside.
    """
    fits = len(values.shape) == 3 and index.ndim == 2 and weights.shape == index.shape[1:]
    if not fits or (index.size and not 0 <= index.min() <= index.max() < values.shape[1]):
        raise ShapeError(
            f"gather_sums: {list(weights.shape)} weights, index {list(index.shape)}, "
            f"values {list(values.shape)}"
        )
    n_outer, n, n_inner = values.shape
    out = FrArray.zeros(n_outer, len(index), n_inner)
    to, source, factors = (x.data.ctypes.data for x in (out, values, weights))
    _gather(to, source, factors, np.ascontiguousarray(index), n_outer, n, n_inner)
    return out
