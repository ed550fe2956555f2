"""Optimal ate on BN254 over words: line preparation, Miller loop, final exponentiation.

    e(P, Q) = ( f_{6X+2,Q}(P) * l_{T,pi(Q)}(P) * l_{T+pi(Q),-pi^2(Q)}(P) )^((p^12 - 1)/r)

(Vercauteren, eprint 2008/455; T = (6X+2)Q). Lines depend on Q alone up to two products with the
coordinates of P, so they are computed once per Q and kept: `prepare_lines`, then `miller`.

Q lives on the twist E': y^2 = x^3 + 3/xi and stands for (x w^2, y w^3) on E. A line through it at P
is l0 y_P + l1 x_P w + l2 v w, up to a factor in F_p2, which the final exponentiation removes.
"""

from __future__ import annotations

import numpy as np

from kernels.bn254 import ATE_LOOP_COUNT, B2, X
from kernels.cpu.compile.emit import Body, Emitter, Routine, Value
from kernels.cpu.compile.jit import kernel
from kernels.cpu.compile.memory import stack
from kernels.cpu.words.scalar64 import FP
from kernels.cpu.words.tower import (
    FP2_BYTES,
    FP2_CONJ,
    FP2_MUL,
    fp2_add,
    fp2_copy,
    fp2_half,
    fp2_mul,
    fp2_mul_fp,
    fp2_neg,
    fp2_sqr,
    fp2_sub,
    fp12_conj,
    fp12_copy,
    fp12_cyclotomic_sqr,
    fp12_frobenius1,
    fp12_frobenius2,
    fp12_frobenius3,
    fp12_inverse,
    fp12_mul,
    fp12_mul_line,
    fp12_sqr,
    frobenius_constant,
)


def signed_digits(value: int) -> tuple[int, ...]:
    """Non-adjacent form of value > 0, most significant digit first, digits -1, 0, 1."""
    digits = []
    while value:
        digit = 2 - value % 4 if value % 2 else 0
        digits.append(digit)
        value = (value - digit) // 2
    return tuple(reversed(digits))


LOOP = np.array(signed_digits(ATE_LOOP_COUNT)[1:])  # the leading 1 starts the loop
X_DIGITS = np.array(signed_digits(X)[1:])
N_LINES = len(LOOP) + int(np.abs(LOOP).sum()) + 2
LINE_WORDS = 24
LINE_BYTES, G1_BYTES, G2_BYTES = 8 * LINE_WORDS, 64, 128


def _mont2(c: tuple[int, int]) -> list[int]:
    return [word for part in c for word in FP.field.mont(part)]


def _psi(e: Emitter, out: Value, q: Value) -> None:
    """Frobenius carried to the twist: (conj(x) xi^((p-1)/3), conj(y) xi^((p-1)/2))."""
    for part, i in ((0, 2), (8, 3)):
        FP2_CONJ(e, e.at(out, part), e.at(q, part))
        FP2_MUL(e, e.at(out, part), e.at(out, part), e.constant(_mont2(frobenius_constant(1, i))))


def _set_one(n_words: int) -> Body:
    def body(e: Emitter, out: Value) -> None:
        e.copy(out, e.constant(FP.field.mont(1) + [0] * (n_words - 4)), n_words)

    return body


def _mul_b(e: Emitter, out: Value, a: Value) -> None:
    FP2_MUL(e, out, a, e.constant(_mont2(B2)))


g2_psi = Routine(f"{FP.tag}.g2_psi", "pp", _psi).intrinsic()
fp2_set_one = Routine("fp2_set_one", "p", _set_one(8)).intrinsic()
fp12_set_one = Routine("fp12_set_one", "p", _set_one(48)).intrinsic()
fp2_mul_b = Routine(f"{FP.tag}.fp2_mul_b", "pp", _mul_b).intrinsic()


@kernel(signature="void(uintp, uintp)")
def double_step(line: int, t: int) -> None:
    """t = 2 t in homogeneous coordinates (x, y, z), and the tangent at the old t.

    Costello, Lange, Naehrig (eprint 2009/615), as arranged in eprint 2010/526 (Beuchat et al.).
    """
    work = stack(72)
    a, b, c, d, f = work, work + 64, work + 128, work + 192, work + 256
    g, h, s = work + 320, work + 384, work + 448
    x, y, z = t, t + 64, t + 128
    fp2_mul(a, x, y)
    fp2_half(a, a)
    fp2_sqr(b, y)
    fp2_sqr(c, z)
    fp2_add(d, c, c)
    fp2_add(d, d, c)
    fp2_mul_b(d, d)  # d = 3 b' z^2
    fp2_add(f, d, d)
    fp2_add(f, f, d)
    fp2_add(g, b, f)
    fp2_half(g, g)
    fp2_add(h, y, z)
    fp2_sqr(h, h)
    fp2_add(s, b, c)
    fp2_sub(h, h, s)  # h = 2 y z
    fp2_neg(line, h)
    fp2_sqr(s, x)
    fp2_add(line + 64, s, s)
    fp2_add(line + 64, line + 64, s)
    fp2_sub(line + 128, d, b)
    fp2_sub(f, b, f)
    fp2_mul(x, a, f)
    fp2_sqr(d, d)
    fp2_add(s, d, d)
    fp2_add(s, s, d)
    fp2_sqr(g, g)
    fp2_sub(y, g, s)
    fp2_mul(z, b, h)


@kernel(signature="void(uintp, uintp, uintp)")
def add_step(line: int, t: int, q: int) -> None:
    """t = t + q for affine q, and the line through both; t, q, -q distinct and not infinite."""
    work = stack(64)
    theta, lam, c, d, e = work, work + 64, work + 128, work + 192, work + 256
    f, g, h = work + 320, work + 384, work + 448
    x, y, z = t, t + 64, t + 128
    fp2_mul(c, q + 64, z)
    fp2_sub(theta, y, c)
    fp2_mul(c, q, z)
    fp2_sub(lam, x, c)
    fp2_sqr(c, theta)
    fp2_sqr(d, lam)
    fp2_mul(e, lam, d)
    fp2_mul(f, z, c)
    fp2_mul(g, x, d)
    fp2_add(h, e, f)
    fp2_sub(h, h, g)
    fp2_sub(h, h, g)
    fp2_mul(x, lam, h)
    fp2_sub(g, g, h)
    fp2_mul(g, theta, g)
    fp2_mul(h, e, y)
    fp2_sub(y, g, h)
    fp2_mul(z, z, e)
    fp2_copy(line, lam)
    fp2_neg(line + 64, theta)
    fp2_mul(c, theta, q)
    fp2_mul(d, lam, q + 64)
    fp2_sub(line + 128, c, d)


@kernel(signature="void(uintp, uintp, int64)")
def prepare_lines(lines: int, points: int, n: int) -> None:
    """The N_LINES lines of each of n affine points of G2, none infinite."""
    t, minus, image = stack(24), stack(16), stack(16)
    line = lines
    for i in range(n):
        q = points + G2_BYTES * i
        fp2_copy(t, q)
        fp2_copy(t + 64, q + 64)
        fp2_set_one(t + 128)
        fp2_copy(minus, q)
        fp2_neg(minus + 64, q + 64)
        for digit in LOOP:
            double_step(line, t)
            line += LINE_BYTES
            if digit != 0:
                add_step(line, t, q if digit > 0 else minus)
                line += LINE_BYTES
        g2_psi(image, q)
        add_step(line, t, image)
        g2_psi(image, image)
        fp2_neg(image + 64, image + 64)
        add_step(line + LINE_BYTES, t, image)
        line += 2 * LINE_BYTES


@kernel(signature="void(uintp, uintp, uintp, int64, int64)")
def _take_lines(f: int, points: int, lines: int, n: int, index: int) -> None:
    """f *= line `index` of every pair, at its point."""
    line = stack(24)
    for i in range(n):
        p = points + G1_BYTES * i
        prepared = lines + LINE_BYTES * (N_LINES * i + index)
        fp2_mul_fp(line, prepared, p + 32)
        fp2_mul_fp(line + FP2_BYTES, prepared + FP2_BYTES, p)
        fp2_copy(line + 2 * FP2_BYTES, prepared + 2 * FP2_BYTES)
        fp12_mul_line(f, line)


@kernel(signature="void(uintp, uintp, uintp, int64)")
def miller(f: int, points: int, lines: int, n: int) -> None:
    """f = product of the n Miller functions: one squaring per step for all pairs together."""
    fp12_set_one(f)
    index = 0
    for digit in LOOP:
        fp12_sqr(f, f)
        _take_lines(f, points, lines, n, index)
        index += 1
        if digit != 0:
            _take_lines(f, points, lines, n, index)
            index += 1
    _take_lines(f, points, lines, n, index)
    _take_lines(f, points, lines, n, index + 1)


@kernel(signature="void(uintp, uintp)")
def _power_x(out: int, a: int) -> None:
    """out = a^X for a in the cyclotomic subgroup; out and a distinct."""
    inverse = stack(48)
    fp12_conj(inverse, a)
    fp12_copy(out, a)
    for digit in X_DIGITS:
        fp12_cyclotomic_sqr(out, out)
        if digit != 0:
            fp12_mul(out, out, a if digit > 0 else inverse)


@kernel(signature="void(uintp)")
def final_exponentiation(f: int) -> None:
    """f = f^((p^12 - 1)/r), exactly; f = 0 stays 0.

    (p^6 - 1)(p^2 + 1) first, then (p^4 - p^2 + 1)/r by the addition chain over y0 ... y6 of Scott,
    Benger, Charlemagne, Dominguez Perez, Kachisa (eprint 2008/490).
    """
    work = stack(480)
    a, b, x1, x2, x3 = work, work + 384, work + 768, work + 1152, work + 1536
    y3, y4, y6, t0, t1 = work + 1920, work + 2304, work + 2688, work + 3072, work + 3456
    fp12_inverse(a, f)
    fp12_conj(b, f)
    fp12_mul(a, a, b)
    fp12_frobenius2(b, a)
    fp12_mul(f, b, a)
    _power_x(x1, f)
    _power_x(x2, x1)
    _power_x(x3, x2)
    fp12_frobenius1(y3, x1)
    fp12_conj(y3, y3)
    fp12_frobenius1(y4, x2)
    fp12_mul(y4, y4, x1)
    fp12_conj(y4, y4)
    fp12_frobenius1(y6, x3)
    fp12_mul(y6, y6, x3)
    fp12_conj(y6, y6)
    fp12_conj(a, x2)  # y5
    fp12_frobenius2(b, x2)  # y2
    fp12_cyclotomic_sqr(t0, y6)
    fp12_mul(t0, t0, y4)
    fp12_mul(t0, t0, a)
    fp12_mul(t1, y3, a)
    fp12_mul(t1, t1, t0)
    fp12_mul(t0, t0, b)
    fp12_cyclotomic_sqr(t1, t1)
    fp12_mul(t1, t1, t0)
    fp12_cyclotomic_sqr(t1, t1)
    fp12_conj(a, f)  # y1
    fp12_mul(t0, t1, a)
    fp12_frobenius1(a, f)
    fp12_frobenius2(b, f)
    fp12_mul(a, a, b)
    fp12_frobenius3(b, f)
    fp12_mul(a, a, b)  # y0
    fp12_mul(t1, t1, a)
    fp12_cyclotomic_sqr(t0, t0)
    fp12_mul(f, t0, t1)
