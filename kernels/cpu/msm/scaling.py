"""One scalar times many points, whose logarithms nobody knows: the links of a key.

    k P = k_1 P + k_2 phi(P),    k = k_1 + k_2 lambda mod r,  |k_1|, |k_2| < 2^128

phi(x, y) = (beta x, y) is lambda P (GLV, CRYPTO 2001), so half the doublings do. Signed digits of
both halves are read together: a table of +-P, +-phi(P) and their sums has whatever two digits ask
for. All points take the same steps, so each step is one batch of affine doublings or additions on
the lanes, with one inversion. A batch where a denominator vanishes (infinity is among its points,
or a multiple meets an entry of its table) is computed again point by point, on words.
"""

from __future__ import annotations

import numpy as np
from numba import types

from kernels.array import U64, G1Array, words_from_ints
from kernels.bn254 import BETA, LAMBDA, MONT_R_P, P, R
from kernels.cpu.compile.jit import kernel
from kernels.cpu.compile.memory import address, stack
from kernels.cpu.lanes.interface import aligned_words
from kernels.cpu.msm.buckets import Convert
from kernels.cpu.msm.fixed_base import export_all
from kernels.cpu.msm.pippenger import Msm
from kernels.cpu.msm.runs import BATCH, GROUP, REFS, SCRATCH, Group, Scratch, call_add_batch
from kernels.cpu.words.ate import signed_digits
from kernels.cpu.words.group import add_g1, g1_add_affine, g1_double, g1_to_affine, neg_g1
from kernels.cpu.words.scalar64 import copy, fp_mul, fp_neg, fp_sub
from kernels.errors import ShapeError
from kernels.numpy_types import Int64Array

POINT_NS = 12_000  # of one multiple, for the pool to go by
_WORDS = 8  # of a point
_TABLES = 4  # P, phi(P), their sum and their difference, for every point
_REFS = types.int64[:, ::1]
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


@kernel(signature=types.int64(GROUP, REFS, _REFS, types.int64, types.int64, SCRATCH))
def _scale_batch(
    g: Group, places: Int64Array, refs: Int64Array, n: int, slot: int, scratch: Scratch
) -> int:
    """The row of `refs` with sum_j 2^j T[places[j]] for n points, or -1: a denominator vanished.

    refs : references of table entries (rows 0 to 7 as `places` names them) and of two runs of free
           records (rows 8 and 9), each readable up to the next multiple of W
    slot : of P + phi(P), after which come P - phi(P) and the free records, BATCH + W apart
    """
    work = address(scratch.work)
    room = (BATCH + g.width) * g.record
    out = g.base + slot * g.record
    for k in range(2):  # 0: P + phi(P), 1: P - phi(P), phi(P) being row 1 and its negative row 5
        a, b = address(refs[0]), address(refs[1 + 4 * k])
        if call_add_batch(g.add_batch, g.base, a, b, n, out + k * room, work, g.k, g.one, 0) == 0:
            return -1
    free = out + 2 * room
    at = int(places[0])
    for j in range(1, places.size):
        to = 8 if at != 8 else 9
        a, target = address(refs[at]), free + (to - 8) * room
        call_add_batch(g.add_batch, g.base, a, a, n, target, work, g.k, g.one, 1)
        at = to
        if places[j] >= 0:
            to = 17 - at
            a, b, target = address(refs[at]), address(refs[places[j]]), free + (to - 8) * room
            if call_add_batch(g.add_batch, g.base, a, b, n, target, work, g.k, g.one, 0) == 0:
                return -1
            at = to
    return at


def _make_refs(width: int) -> Int64Array:
    """References for `_scale_batch`, int64[10, BATCH + W]: records lie in runs of BATCH + W."""
    room = BATCH + width
    records = np.arange(6 * room, dtype=np.int64).reshape(6, room) << 1
    return np.concatenate([records[:_TABLES], records[:_TABLES] | 1, records[_TABLES:]])


def _scale_on_words(points: U64, places: Int64Array) -> U64:
    """What `_scale_batch` computes, for any points: about 60 us each."""
    own, out = G1Array(points), np.empty_like(points)
    twisted = _twist(points)
    differences = add_g1(own, neg_g1(G1Array(twisted))).data
    starts = points.ctypes.data, twisted.ctypes.data, differences.ctypes.data
    _scale_all(out.ctypes.data, *starts, len(points), places)
    return out


def _twist(points: U64) -> U64:
    """phi of every point."""
    out = np.empty_like(points)
    _twist_all(out.ctypes.data, points.ctypes.data, _BETA.ctypes.data, len(points))
    return out


class _Batch:
    """A thread's memory for BATCH points at a time."""

    def __init__(self, msm: Msm) -> None:
        self._msm, self._room = msm, BATCH + msm.lanes.width
        self._scratch = msm.scratch(6 * self._room)
        self._group = msm.group.at(self._scratch.arena)
        self._plain = aligned_words(self._room * _WORDS)
        self._packed = aligned_words(self._room * _WORDS)
        self._work = aligned_words(4 * msm.lanes.block // 8)

    def scale(self, points: U64, places: Int64Array, refs: Int64Array) -> U64:
        """Multiples of 1 to BATCH points, uint64[n, 8]; valid until the next call."""
        n = len(points)
        self._fill(0, points)
        self._fill(1, _twist(np.ascontiguousarray(points)))
        at = _scale_batch(self._group, places, refs, n, 2 * self._room, self._scratch)
        if at < 0:
            return _scale_on_words(np.ascontiguousarray(points), places)
        export_all(self._group, refs[at, :n], self._packed.ctypes.data)
        self._convert(self._msm.to_mont, self._packed.ctypes.data, self._plain.ctypes.data, n)
        return self._plain.reshape(self._room, _WORDS)[:n]

    def _fill(self, run: int, points: U64) -> None:
        """The points as packed records of a run; the last again, since whole blocks are read."""
        n, plain = len(points), self._plain.reshape(self._room, _WORDS)
        plain[:n], plain[n : n + self._msm.lanes.width] = points, points[-1]
        target = self._scratch.arena.ctypes.data + 8 * _WORDS * self._room * run
        self._convert(self._msm.to_packed, self._plain.ctypes.data, target, n)

    def _convert(self, kernel: Convert, source: int, target: int, n: int) -> None:
        """n records and those that fill the last block."""
        n_padded = -(-n // self._msm.lanes.width) * self._msm.lanes.width
        kernel(source, target, 2 * n_padded, self._work, self._msm.lanes.p)


def scale_g1(factor: int, points: G1Array, msm: Msm) -> G1Array:
    """factor * P_i for every i, on all threads; any points of the curve, infinity included.

    factor : any integer, taken mod r
    msm    : of degree 1; its lanes and its threads do the work
    cost   : about 200 additions a point and thread, 12 us on IFMA
    Raises ShapeError for other shapes than [n].
    """
    if points.data.ndim != 2:
        raise ShapeError(f"scale_g1: points of shape {list(points.shape)}")
    places = find_places(factor)
    if not places.size:
        return G1Array.zeros(len(points))
    out, refs = np.empty_like(points.data), _make_refs(msm.lanes.width)

    def part(first: int, last: int) -> None:
        batch = _Batch(msm)
        for start in range(first, last, BATCH):
            own = points.data[start : min(start + BATCH, last)]
            out[start : start + len(own)] = batch.scale(own, places, refs)

    msm.pool.ranges(len(points), part, cost_ns=POINT_NS, multiple=BATCH)
    return G1Array(out)
