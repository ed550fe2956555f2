"""One scalar times many points, whose logarithms nobody knows: the links of a key.

    k P = k_1 P + k_2 phi(P),    k = k_1 + k_2 lambda mod r,  |k_1|, |k_2| < 2^128

phi(x, y) = (beta x, y) is lambda P (GLV, CRYPTO 2001), so half the doublings do. Signed digits of
both halves are read together: a table of +-P, +-phi(P) and their sums has whatever two digits ask
for. P + phi(P) = -phi^2(P) is free, since 1 + lambda + lambda^2 = 0; the differences P - phi(P) are
computed for all points with one shared inversion.
"""

from __future__ import annotations

import numpy as np

from kernels.array import G1Array, words_from_ints
from kernels.bn254 import BETA, LAMBDA, MONT_R_P, P, R
from kernels.cpu.compile.jit import kernel
from kernels.cpu.compile.memory import stack
from kernels.cpu.pool import Pool
from kernels.cpu.words.ate import signed_digits
from kernels.cpu.words.group import add_g1, g1_add_affine, g1_double, g1_to_affine, neg_g1
from kernels.cpu.words.scalar64 import copy, fp_mul, fp_neg, fp_sub
from kernels.errors import ShapeError
from kernels.numpy_types import Int64Array

POINT_NS = 60_000  # of one multiple, for the pool to go by
_BETA = words_from_ints([BETA * MONT_R_P % P])


def split_scalar(k: int) -> tuple[int, int]:
    """(k_1, k_2), each of at most 128 bits, with k = k_1 + k_2 lambda mod r.

    source : GLV; the short vectors of the lattice of (a, b) with a + b lambda = 0 mod r come out of
             the extended Euclidean algorithm on r and lambda, where remainders pass sqrt(r)
    """
    (a1, b1), (a2, b2) = _SHORT
    c1, c2 = _round(b2 * k * _SIGN), _round(-b1 * k * _SIGN)
    return k - c1 * a1 - c2 * a2, -c1 * b1 - c2 * b2


def _find_short_vectors() -> tuple[tuple[int, int], tuple[int, int]]:
    """A basis of the lattice whose vectors have entries of about sqrt(r)."""
    before, now = (R, 0), (LAMBDA, 1)
    while now[0] * now[0] >= R:
        before, now = now, _next(before, now)
    after = _next(before, now)
    first = (now[0], -now[1])
    candidates = ((before[0], -before[1]), (after[0], -after[1]))
    return first, min(candidates, key=lambda v: v[0] * v[0] + v[1] * v[1])


def _next(before: tuple[int, int], now: tuple[int, int]) -> tuple[int, int]:
    q = before[0] // now[0]
    return before[0] - q * now[0], before[1] - q * now[1]


def _round(x: int) -> int:
    """x / r to the nearest integer."""
    return (2 * x + R) // (2 * R)


_SHORT = _find_short_vectors()
_SIGN = (_SHORT[0][0] * _SHORT[1][1] - _SHORT[0][1] * _SHORT[1][0]) // R  # of the basis: +-1


@kernel(signature="void(uintp, uintp, uintp, int64)")
def _twist_all(out: int, points: int, beta: int, n: int) -> None:
    """out[i] = phi(P_i)."""
    for i in range(n):
        fp_mul(out + 64 * i, points + 64 * i, beta)
        copy(out + 64 * i + 32, points + 64 * i + 32)


@kernel(signature="void(uintp, uintp, uintp, uintp, int64, int64[::1])")
def _scale_all(
    out: int, points: int, twisted: int, differences: int, n: int, places: Int64Array
) -> None:
    """out[i] = sum_j 2^j T[places[j]], the greatest j first; a place of -1 adds nothing.

    T = P, phi(P), P + phi(P), P - phi(P), then the same negated
    """
    t, table, x = stack(12), stack(64), stack(4)
    for i in range(n):
        copy(table, points + 64 * i)
        copy(table + 32, points + 64 * i + 32)
        copy(table + 64, twisted + 64 * i)
        copy(table + 96, twisted + 64 * i + 32)
        # -(x + beta x) = beta^2 x, since 1 + beta + beta^2 = 0; y is negated
        fp_sub(x, table, table)
        fp_sub(x, x, table)
        fp_sub(table + 128, x, table + 64)
        fp_neg(table + 160, table + 32)
        copy(table + 192, differences + 64 * i)
        copy(table + 224, differences + 64 * i + 32)
        for k in range(4):
            copy(table + 256 + 64 * k, table + 64 * k)
            fp_neg(table + 288 + 64 * k, table + 32 + 64 * k)
        for k in range(3):  # zero words: infinity
            fp_sub(t + 32 * k, table, table)
        for j in range(places.size):
            g1_double(t)
            if places[j] >= 0:
                g1_add_affine(t, table + 64 * places[j])
        g1_to_affine(out + 64 * i, t)


def find_places(factor: int) -> Int64Array:
    """Which entry of the table each doubling is followed by; -1: none."""
    first, second = (list(signed_digits(k)) for k in split_scalar(factor % R))
    n = max(len(first), len(second))
    pairs = zip([0] * (n - len(first)) + first, [0] * (n - len(second)) + second, strict=True)
    return np.array([_PLACES[pair] for pair in pairs], dtype=np.int64)


_PLACES = {(0, 0): -1} | {
    (sign * a, sign * b): place + (0 if sign > 0 else 4)
    for sign in (1, -1)
    for place, (a, b) in enumerate([(1, 0), (0, 1), (1, 1), (1, -1)])
}


def scale_g1(factor: int, points: G1Array, pool: Pool) -> G1Array:
    """factor * P_i for every i, on the pool's threads; any points of the curve, infinity included.

    factor : any integer, taken mod r
    cost   : about 60 us a point and thread
    Raises ShapeError for other shapes than [n].
    """
    if points.data.ndim != 2:
        raise ShapeError(f"scale_g1: points of shape {list(points.shape)}")
    out, places = np.empty_like(points.data), find_places(factor)

    def part(first: int, last: int) -> None:
        own = points[first:last]
        twisted = np.empty_like(own.data)
        _twist_all(twisted.ctypes.data, own.data.ctypes.data, _BETA.ctypes.data, len(own))
        differences = add_g1(own, neg_g1(G1Array(twisted))).data
        to = out[first:last].ctypes.data
        starts = own.data.ctypes.data, twisted.ctypes.data, differences.ctypes.data
        _scale_all(to, *starts, len(own), places)

    pool.ranges(len(points), part, cost_ns=POINT_NS)
    return G1Array(out)
