"""Group operations a verifier needs, on 64-bit words: tests of membership, sums, small MSMs.

Nothing here is meant for the sizes of a prover; nothing here imports its kernels.

Points are affine in Montgomery form, zero words for infinity (`kernels.array`). Scalar products run
in Jacobian coordinates (x = X/Z^2, y = Y/Z^3, infinity Z = 0); sums of many points in affine
coordinates with one shared inversion per batch (Montgomery's trick), which is half the work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from kernels.array import U64, FrArray, G1Array, G2Array
from kernels.bn254 import B1, X
from kernels.cpu.compile.emit import I64, Emitter, Function, Routine, Value
from kernels.cpu.compile.jit import kernel
from kernels.cpu.compile.memory import load_word, stack
from kernels.cpu.words import tower
from kernels.cpu.words.affine_sum import CHUNK, addition_workspace, batch_add, fp_set_one, is_zero8
from kernels.cpu.words.ate import fp2_mul_b, fp2_set_one, g2_psi, signed_digits
from kernels.cpu.words.scalar64 import (
    FP,
    I256,
    copy,
    fp_add,
    fp_inverse,
    fp_mul,
    fp_neg,
    fp_sqr,
    fp_sub,
    is_equal,
    is_zero,
    sum_of,
)
from kernels.errors import ShapeError
from kernels.numpy_types import BoolArray, UInt8Array

PSI_DIGITS = np.array(signed_digits(6 * X * X)[1:])


def _is_below(e: Emitter, a: Value) -> Value:
    below = e.builder.icmp_unsigned("<", e.load(a), I256(FP.field.modulus))
    return e.builder.zext(below, I64)


def _add_b(e: Emitter, out: Value, a: Value) -> None:
    e.store(out, sum_of(e, FP.field, e.load(a), e.load(e.constant(FP.field.mont(B1)))))


fp_is_canonical = Function("fp.is_below", "p", _is_below).intrinsic()
fp_add_b = Routine("fp.add_b", "pp", _add_b).intrinsic()


# -- Jacobian coordinates, over either field -------------------------------------------------------


class Coordinates(NamedTuple):
    """Arithmetic of the field of a group's coordinates, over addresses (out, a, b)."""

    key: str
    n_bytes: int
    mul: Callable[[int, int, int], None]
    sqr: Callable[[int, int], None]
    add: Callable[[int, int, int], None]
    sub: Callable[[int, int, int], None]
    neg: Callable[[int, int], None]
    copy: Callable[[int, int], None]
    inverse: Callable[[int, int], None]
    is_zero: Callable[[int], np.uint64]
    set_one: Callable[[int], None]


def _build_double(field: Coordinates) -> Callable[[int], None]:
    n, mul, sqr, add, sub = field.n_bytes, field.mul, field.sqr, field.add, field.sub

    @kernel(signature="void(uintp)", key=field.key)
    def double(t: int) -> None:
        """t = 2 t (a = 0). hyperelliptic.org/EFD: dbl-2009-l."""
        work = stack(48)
        a, b, c, d, e = work, work + n, work + 2 * n, work + 3 * n, work + 4 * n
        x, y, z = t, t + n, t + 2 * n
        sqr(a, x)
        sqr(b, y)
        sqr(c, b)
        add(d, x, b)
        sqr(d, d)
        sub(d, d, a)
        sub(d, d, c)
        add(d, d, d)
        add(e, a, a)
        add(e, e, a)
        mul(z, y, z)
        add(z, z, z)
        sqr(x, e)
        sub(x, x, d)
        sub(x, x, d)
        sub(d, d, x)
        mul(y, e, d)
        add(c, c, c)
        add(c, c, c)
        add(c, c, c)
        sub(y, y, c)

    return double


def _build_add_affine(
    field: Coordinates, double: Callable[[int], None]
) -> Callable[[int, int], None]:
    n, mul, sqr, sub = field.n_bytes, field.mul, field.sqr, field.sub
    move, zero, one = field.copy, field.is_zero, field.set_one

    @kernel(signature="void(uintp, uintp)", key=field.key)
    def add_affine(t: int, q: int) -> None:
        """t = t + q for an affine q; complete: either may be infinite, equal or opposite."""
        work = stack(48)
        zz, h, r, v, w = work, work + n, work + 2 * n, work + 3 * n, work + 4 * n
        x, y, z = t, t + n, t + 2 * n
        if zero(q) and zero(q + n):
            return
        if zero(z):
            move(x, q)
            move(y, q + n)
            one(z)
            return
        sqr(zz, z)
        mul(h, q, zz)
        sub(h, h, x)
        mul(r, q + n, zz)
        mul(r, r, z)
        sub(r, r, y)
        if zero(h):
            if zero(r):
                double(t)
            else:
                sub(z, z, z)
            return
        sqr(zz, h)
        mul(v, x, zz)
        mul(w, h, zz)
        sqr(x, r)
        sub(x, x, w)
        sub(x, x, v)
        sub(x, x, v)
        sub(v, v, x)
        mul(v, r, v)
        mul(w, y, w)
        sub(y, v, w)
        mul(z, z, h)

    return add_affine


def _build_to_affine(field: Coordinates) -> Callable[[int, int], None]:
    n, mul, sqr, invert = field.n_bytes, field.mul, field.sqr, field.inverse

    @kernel(signature="void(uintp, uintp)", key=field.key)
    def to_affine(out: int, t: int) -> None:
        """Affine (x, y) of a Jacobian point; 1/0 = 0 makes infinity zero words."""
        work = stack(16)
        inverse, square = work, work + n
        invert(inverse, t + 2 * n)
        sqr(square, inverse)
        mul(out, t, square)
        mul(square, square, inverse)
        mul(out + n, t + n, square)

    return to_affine


G1_COORDINATES = Coordinates(
    "fp", 32, fp_mul, fp_sqr, fp_add, fp_sub, fp_neg, copy, fp_inverse, is_zero, fp_set_one
)
G2_COORDINATES = Coordinates(
    "fp2",
    64,
    tower.fp2_mul,
    tower.fp2_sqr,
    tower.fp2_add,
    tower.fp2_sub,
    tower.fp2_neg,
    tower.fp2_copy,
    tower.fp2_inverse,
    is_zero8,
    fp2_set_one,
)
g1_double, g2_double = _build_double(G1_COORDINATES), _build_double(G2_COORDINATES)
g1_add_affine, g2_add_affine = (
    _build_add_affine(G1_COORDINATES, g1_double),
    _build_add_affine(G2_COORDINATES, g2_double),
)
g1_to_affine, g2_to_affine = _build_to_affine(G1_COORDINATES), _build_to_affine(G2_COORDINATES)


# -- membership ------------------------------------------------------------------------------------


@kernel(signature="void(uint8[::1], uintp, int64)")
def _on_curve_g1(out: UInt8Array, points: int, n: int) -> None:
    left, right = stack(4), stack(4)
    for i in range(n):
        p = points + 64 * i
        if is_zero8(p):
            out[i] = 1
        elif fp_is_canonical(p) and fp_is_canonical(p + 32):
            fp_sqr(right, p)
            fp_mul(right, right, p)
            fp_add_b(right, right)
            fp_sqr(left, p + 32)
            out[i] = is_equal(left, right)


@kernel(signature="int64(uintp)")
def _is_on_twist(q: int) -> int:
    """Whether a point that is not infinity has coordinates < p and lies on E'."""
    canonical = fp_is_canonical(q) and fp_is_canonical(q + 32)
    if not (canonical and fp_is_canonical(q + 64) and fp_is_canonical(q + 96)):
        return 0
    left, right, b = stack(8), stack(8), stack(8)
    tower.fp2_sqr(right, q)
    tower.fp2_mul(right, right, q)
    fp2_set_one(b)
    fp2_mul_b(b, b)
    tower.fp2_add(right, right, b)
    tower.fp2_sqr(left, q + 64)
    tower.fp2_sub(left, left, right)
    return int(is_zero8(left))


@kernel(signature="void(uint8[::1], uintp, int64)")
def _on_curve_g2(out: UInt8Array, points: int, n: int) -> None:
    for i in range(n):
        q = points + 128 * i
        out[i] = (is_zero8(q) and is_zero8(q + 64)) or _is_on_twist(q)


@kernel(signature="void(uint8[::1], uintp, int64)")
def _in_subgroup_g2(out: UInt8Array, points: int, n: int) -> None:
    t, minus, image = stack(24), stack(16), stack(16)
    for i in range(n):
        q = points + 128 * i
        if is_zero8(q) and is_zero8(q + 64):
            out[i] = 1
            continue
        if not _is_on_twist(q):
            continue
        tower.fp2_copy(minus, q)
        tower.fp2_neg(minus + 64, q + 64)
        tower.fp2_copy(t, q)
        tower.fp2_copy(t + 64, q + 64)
        fp2_set_one(t + 128)
        for digit in PSI_DIGITS:
            g2_double(t)
            if digit != 0:
                g2_add_affine(t, q if digit > 0 else minus)
        g2_psi(image, q)
        tower.fp2_neg(image + 64, image + 64)
        g2_add_affine(t, image)
        out[i] = is_zero8(t + 128)


def is_on_curve_g1(points: G1Array) -> BoolArray:
    """Per point: coordinates < p and y^2 = x^3 + 3, or infinity. (E(F_p) has order r.)"""
    out = np.zeros(len(points), dtype=np.uint8)
    _on_curve_g1(out, points.data.ctypes.data, len(points))
    return out.astype(np.bool_)


def is_on_curve_g2(points: G2Array) -> BoolArray:
    """Per point: coordinates < p and on E', of whatever order, or infinity."""
    out = np.zeros(len(points), dtype=np.uint8)
    _on_curve_g2(out, points.data.ctypes.data, len(points))
    return out.astype(np.bool_)


def is_in_subgroup_g2(points: G2Array) -> BoolArray:
    """Per point: coordinates < p, on E' and of order r, or infinity. About 0.1 ms a point.

    holds : the Frobenius psi of the twist satisfies psi^2 - t psi + p = 0. If psi(Q) = (t - 1) Q,
            then ((t - 1)^2 - t (t - 1) + p) Q = (p + 1 - t) Q = r Q = 0; and on G2 psi is
            multiplication by p = t - 1 mod r (Galbraith, Scott, eprint 2008/117). t - 1 = 6 X^2.
    """
    out = np.zeros(len(points), dtype=np.uint8)
    _in_subgroup_g2(out, points.data.ctypes.data, len(points))
    return out.astype(np.bool_)


# -- sums and multiples ----------------------------------------------------------------------------


@kernel(signature="void(uintp, uintp, uintp, int64, uint64[:,::1], uint64[:,::1])")
def _add_all(out: int, a: int, b: int, n: int, pairs: U64, work: U64) -> None:
    for start in range(0, n, CHUNK):
        size = min(CHUNK, n - start)
        for k in range(size):
            offset = 64 * (start + k)
            pairs[k, 0], pairs[k, 1], pairs[k, 2] = out + offset, a + offset, b + offset
        batch_add(pairs, size, work)


def add_g1(a: G1Array, b: G1Array) -> G1Array:
    """a_i + b_i; any points of the curve, infinity included. Raises ShapeError on other lengths."""
    if a.data.ndim != 2 or a.shape != b.shape:
        raise ShapeError(f"add_g1: {list(a.shape)} points and {list(b.shape)}")
    out = np.empty_like(a.data)
    to, left, right = (x.ctypes.data for x in (out, a.data, b.data))
    _add_all(to, left, right, len(a), *addition_workspace())
    return G1Array(out)


@kernel(signature="void(uintp, uintp, int64)")
def _neg_all(out: int, a: int, n: int) -> None:
    for i in range(n):
        copy(out + 64 * i, a + 64 * i)
        fp_neg(out + 64 * i + 32, a + 64 * i + 32)


def neg_g1(points: G1Array) -> G1Array:
    """-P_i."""
    out = np.empty_like(points.data)
    _neg_all(out.ctypes.data, points.data.ctypes.data, points.data.size // 8)
    return G1Array(out)


@kernel(signature="void(uintp, uintp, uintp, int64)")
def _mul_all(out: int, scalars: int, points: int, n: int) -> None:
    t = stack(12)
    for i in range(n):
        for k in range(3):  # zero words: infinity
            fp_sub(t + 32 * k, points, points)
        top = 3
        while top > 0 and load_word(scalars + 32 * i + 8 * top) == 0:
            top -= 1
        for bit in range(64 * top + 63, -1, -1):
            g1_double(t)
            word = load_word(scalars + 32 * i + 8 * (bit >> 6))
            if (word >> np.uint64(bit & 63)) & np.uint64(1):
                g1_add_affine(t, points + 64 * i)
        g1_to_affine(out + 64 * i, t)


def mul_g1(scalars: FrArray, points: G1Array) -> G1Array:
    """s_i P_i. Raises ShapeError on other lengths. About 0.1 ms a point for full-width scalars."""
    if points.data.ndim != 2 or scalars.shape != points.shape:
        raise ShapeError(f"mul_g1: {list(scalars.shape)} scalars for {list(points.shape)} points")
    out = np.empty_like(points.data)
    _mul_all(out.ctypes.data, scalars.data.ctypes.data, points.data.ctypes.data, len(points))
    return G1Array(out)
