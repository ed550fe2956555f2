"""The tower over F_p for the pairing, as routines over words (see `kernels.cpu.compile.emit`).

    F_p2  = F_p [u] / (u^2 + 1)     8 words   c0 + c1 u
    F_p6  = F_p2[v] / (v^3 - xi)   24 words   c0 + c1 v + c2 v^2,  xi = 9 + u
    F_p12 = F_p6[w] / (w^2 - v)    48 words   c0 + c1 w

All coordinates canonical in Montgomery form. Products in F_p2 are sums of two products with one
reduction each; above that, Karatsuba. Frobenius constants are computed here from their definition:
w^(p^k) = xi^((p^k - 1)/6) w.

Sources: Devegili, O hEigeartaigh, Scott, Dahab (eprint 2006/471) for the formulas, Granger and
Scott (eprint 2009/565) for squaring in the cyclotomic subgroup.
"""

from __future__ import annotations

from llvmlite import ir

from kernels.bn254 import XI, P
from kernels.cpu.compile.emit import Body, Emitter, Routine, Value
from kernels.cpu.compile.jit import kernel
from kernels.cpu.compile.memory import stack
from kernels.cpu.words.scalar64 import (
    FP,
    I256,
    difference,
    fp_add,
    fp_inverse,
    fp_mul,
    fp_neg,
    fp_sqr,
    products,
    sum_of,
)

I1 = ir.IntType(1)
FP_BYTES, FP2_BYTES, FP6_BYTES, FP12_BYTES = 32, 64, 192, 384
Fp2 = tuple[int, int]
_F = FP.field
_TAG = FP.tag


def fp2_product(x: Fp2, y: Fp2) -> Fp2:
    """x y in F_p2, on integers: for constants."""
    return (x[0] * y[0] - x[1] * y[1]) % P, (x[0] * y[1] + x[1] * y[0]) % P


def fp2_power(x: Fp2, exponent: int) -> Fp2:
    """x^exponent in F_p2, on integers: for constants."""
    result: Fp2 = (1, 0)
    for bit in f"{exponent:b}":
        result = fp2_product(result, result)
        result = fp2_product(result, x) if bit == "1" else result
    return result


def frobenius_constant(k: int, i: int) -> Fp2:
    """xi^(i (p^k - 1) / 6): (w^i)^(p^k) = this times w^i."""
    return fp2_power(XI, i * (P**k - 1) // 6)


# -- F_p2 -----------------------------------------------------------------------------------------


def _halves(e: Emitter, a: Value) -> tuple[Value, Value]:
    return e.load(a), e.load(e.at(a, 4))


def _store2(e: Emitter, out: Value, c0: Value, c1: Value) -> None:
    e.store(out, c0)
    e.store(e.at(out, 4), c1)


def _fp2_add(e: Emitter, out: Value, a: Value, b: Value) -> None:
    (a0, a1), (b0, b1) = _halves(e, a), _halves(e, b)
    _store2(e, out, sum_of(e, _F, a0, b0), sum_of(e, _F, a1, b1))


def _fp2_sub(e: Emitter, out: Value, a: Value, b: Value) -> None:
    (a0, a1), (b0, b1) = _halves(e, a), _halves(e, b)
    _store2(e, out, difference(e, _F, a0, b0), difference(e, _F, a1, b1))


def _fp2_neg(e: Emitter, out: Value, a: Value) -> None:
    a0, a1 = _halves(e, a)
    _store2(e, out, difference(e, _F, I256(0), a0), difference(e, _F, I256(0), a1))


def _fp2_conj(e: Emitter, out: Value, a: Value) -> None:
    a0, a1 = _halves(e, a)
    _store2(e, out, a0, difference(e, _F, I256(0), a1))


def _fp2_mul(e: Emitter, out: Value, a: Value, b: Value) -> None:
    """(a0 b0 + a1 (p - b1), a0 b1 + a1 b0): both sums of products at most 2 p^2."""
    minus_b1 = e.temp(4)
    e.store(minus_b1, e.builder.sub(I256(P), e.load(e.at(b, 4))))
    c0 = products(e, _F, [(a, b), (e.at(a, 4), minus_b1)])
    c1 = products(e, _F, [(a, e.at(b, 4)), (e.at(a, 4), b)])
    _store2(e, out, c0, c1)


def _fp2_sqr(e: Emitter, out: Value, a: Value) -> None:
    """((a0 + a1)(a0 - a1 + p), 2 a0 a1) with lazy factors below 2p: products below 4 p^2."""
    a0, a1 = _halves(e, a)
    plus, minus, twice = e.temp(4), e.temp(4), e.temp(4)
    e.store(plus, e.builder.add(a0, a1))
    e.store(minus, e.builder.add(e.builder.sub(a0, a1), I256(P)))
    e.store(twice, e.builder.add(a0, a0))
    c0 = products(e, _F, [(plus, minus)])
    c1 = products(e, _F, [(twice, e.at(a, 4))])
    _store2(e, out, c0, c1)


def _fp2_mul_xi(e: Emitter, out: Value, a: Value) -> None:
    """(9 + u)(a0 + a1 u) = (9 a0 - a1) + (9 a1 + a0) u."""
    a0, a1 = _halves(e, a)

    def nine(x: Value) -> Value:
        total = x
        for _ in range(3):
            total = sum_of(e, _F, total, total)
        return sum_of(e, _F, total, x)

    _store2(e, out, difference(e, _F, nine(a0), a1), sum_of(e, _F, nine(a1), a0))


def _fp2_mul_fp(e: Emitter, out: Value, a: Value, k: Value) -> None:
    c0, c1 = products(e, _F, [(a, k)]), products(e, _F, [(e.at(a, 4), k)])
    _store2(e, out, c0, c1)


def _fp2_half(e: Emitter, out: Value, a: Value) -> None:
    """a / 2: an odd coordinate x is halved as (x + p) / 2."""
    b = e.builder
    halves = []
    for x in _halves(e, a):
        odd = b.trunc(x, I1)
        halves.append(b.lshr(b.select(odd, b.add(x, I256(P)), x), I256(1)))
    _store2(e, out, *halves)


FP2_ADD = Routine(f"{_TAG}.fp2_add", "ppp", _fp2_add)
FP2_SUB = Routine(f"{_TAG}.fp2_sub", "ppp", _fp2_sub)
FP2_NEG = Routine(f"{_TAG}.fp2_neg", "pp", _fp2_neg)
FP2_CONJ = Routine(f"{_TAG}.fp2_conj", "pp", _fp2_conj)
FP2_MUL = Routine(f"{_TAG}.fp2_mul", "ppp", _fp2_mul)
FP2_SQR = Routine(f"{_TAG}.fp2_sqr", "pp", _fp2_sqr)
FP2_MUL_XI = Routine(f"{_TAG}.fp2_mul_xi", "pp", _fp2_mul_xi)
FP2_MUL_FP = Routine(f"{_TAG}.fp2_mul_fp", "ppp", _fp2_mul_fp)
FP2_HALF = Routine(f"{_TAG}.fp2_half", "pp", _fp2_half)
FP2_COPY = Routine("copy8", "pp", lambda e, out, a: e.copy(out, a, 8))


# -- F_p6 -----------------------------------------------------------------------------------------


def _each(routine: Routine, n_parts: int) -> Body:
    """The F_p2 routine on every F_p2 coordinate."""

    def body(e: Emitter, *operands: Value) -> None:
        for i in range(n_parts):
            routine(e, *(e.at(x, 8 * i) for x in operands))

    return body


def _parts(e: Emitter, a: Value, n_parts: int = 3) -> list[Value]:
    return [e.at(a, 8 * i) for i in range(n_parts)]


def _cross(
    e: Emitter, out: Value, x: tuple[Value, Value], y: tuple[Value, Value], less: list[Value]
) -> None:
    """out = (x0 + x1)(y0 + y1) - sum(less)."""
    s = e.temp(8)
    FP2_ADD(e, s, *x)
    FP2_ADD(e, out, *y)
    FP2_MUL(e, out, s, out)
    for term in less:
        FP2_SUB(e, out, out, term)


def _fp6_mul(e: Emitter, out: Value, a: Value, b: Value) -> None:
    (a0, a1, a2), (b0, b1, b2) = _parts(e, a), _parts(e, b)
    t0, t1, t2, c0, c1, c2 = (e.temp(8) for _ in range(6))
    FP2_MUL(e, t0, a0, b0)
    FP2_MUL(e, t1, a1, b1)
    FP2_MUL(e, t2, a2, b2)
    _cross(e, c0, (a1, a2), (b1, b2), [t1, t2])  # a1 b2 + a2 b1
    _cross(e, c1, (a0, a1), (b0, b1), [t0, t1])
    _cross(e, c2, (a0, a2), (b0, b2), [t0, t2])
    o0, o1, o2 = _parts(e, out)
    FP2_MUL_XI(e, c0, c0)
    FP2_ADD(e, o0, c0, t0)
    FP2_MUL_XI(e, t2, t2)
    FP2_ADD(e, o1, c1, t2)
    FP2_ADD(e, o2, c2, t1)


def _fp6_mul_01(e: Emitter, out: Value, a: Value, b: Value) -> None:
    """a (b0 + b1 v), b of 16 words: 5 products."""
    (a0, a1, a2), (b0, b1) = _parts(e, a), _parts(e, b, 2)
    t0, t1, c0, c1, c2 = (e.temp(8) for _ in range(5))
    FP2_MUL(e, t0, a0, b0)
    FP2_MUL(e, t1, a1, b1)
    _cross(e, c1, (a0, a1), (b0, b1), [t0, t1])
    FP2_MUL(e, c0, a2, b1)
    FP2_MUL(e, c2, a2, b0)
    o0, o1, o2 = _parts(e, out)
    FP2_MUL_XI(e, c0, c0)
    FP2_ADD(e, o0, c0, t0)
    FP2_COPY(e, o1, c1)
    FP2_ADD(e, o2, c2, t1)


def _fp6_mul_v(e: Emitter, out: Value, a: Value) -> None:
    """v (c0 + c1 v + c2 v^2) = xi c2 + c0 v + c1 v^2."""
    t = e.temp(8)
    (a0, a1, a2), (o0, o1, o2) = _parts(e, a), _parts(e, out)
    FP2_MUL_XI(e, t, a2)
    FP2_COPY(e, o2, a1)
    FP2_COPY(e, o1, a0)
    FP2_COPY(e, o0, t)


FP6_ADD = Routine(f"{_TAG}.fp6_add", "ppp", _each(FP2_ADD, 3))
FP6_SUB = Routine(f"{_TAG}.fp6_sub", "ppp", _each(FP2_SUB, 3))
FP6_NEG = Routine(f"{_TAG}.fp6_neg", "pp", _each(FP2_NEG, 3))
FP6_MUL = Routine(f"{_TAG}.fp6_mul", "ppp", _fp6_mul)
FP6_MUL_01 = Routine(f"{_TAG}.fp6_mul_01", "ppp", _fp6_mul_01)
FP6_MUL_V = Routine(f"{_TAG}.fp6_mul_v", "pp", _fp6_mul_v)


# -- F_p12 ----------------------------------------------------------------------------------------


def _fp12_mul(e: Emitter, out: Value, a: Value, b: Value) -> None:
    a1, b1, o1 = e.at(a, 24), e.at(b, 24), e.at(out, 24)
    t0, t1, s, t = (e.temp(24) for _ in range(4))
    FP6_MUL(e, t0, a, b)
    FP6_MUL(e, t1, a1, b1)
    FP6_ADD(e, s, a, a1)
    FP6_ADD(e, t, b, b1)
    FP6_MUL(e, s, s, t)
    FP6_SUB(e, s, s, t0)
    FP6_SUB(e, o1, s, t1)
    FP6_MUL_V(e, t1, t1)
    FP6_ADD(e, out, t0, t1)


def _fp12_sqr(e: Emitter, out: Value, a: Value) -> None:
    """c0 = (a0 + a1)(a0 + v a1) - a0 a1 - v a0 a1, c1 = 2 a0 a1."""
    a1, o1 = e.at(a, 24), e.at(out, 24)
    t0, s, t = (e.temp(24) for _ in range(3))
    FP6_MUL(e, t0, a, a1)
    FP6_ADD(e, s, a, a1)
    FP6_MUL_V(e, t, a1)
    FP6_ADD(e, t, t, a)
    FP6_MUL(e, s, s, t)
    FP6_SUB(e, s, s, t0)
    FP6_MUL_V(e, t, t0)
    FP6_SUB(e, out, s, t)
    FP6_ADD(e, o1, t0, t0)


def _fp12_mul_line(e: Emitter, f: Value, line: Value) -> None:
    """f *= l0 + l1 w + l2 v w, with the three F_p2 words of the line in sequence: 13 products."""
    f1, l1 = e.at(f, 24), e.at(line, 8)
    t0, t1, s, mixed = e.temp(24), e.temp(24), e.temp(24), e.temp(16)
    for i in range(3):
        FP2_MUL(e, e.at(t0, 8 * i), e.at(f, 8 * i), line)
    FP6_MUL_01(e, t1, f1, l1)
    FP2_ADD(e, mixed, line, l1)
    FP2_COPY(e, e.at(mixed, 8), e.at(line, 16))
    FP6_ADD(e, s, f, f1)
    FP6_MUL_01(e, s, s, mixed)
    FP6_SUB(e, s, s, t0)
    FP6_SUB(e, f1, s, t1)
    FP6_MUL_V(e, t1, t1)
    FP6_ADD(e, f, t0, t1)


def _fp12_conj(e: Emitter, out: Value, a: Value) -> None:
    """a^(p^6) = c0 - c1 w: the inverse in the cyclotomic subgroup."""
    e.copy(out, a, 24)
    FP6_NEG(e, e.at(out, 24), e.at(a, 24))


def _fp12_cyclotomic_sqr(e: Emitter, out: Value, a: Value) -> None:
    """a^2 for a in the cyclotomic subgroup, by three squarings in F_p4."""
    squares = []
    for i, j in ((0, 4), (3, 2), (1, 5)):  # F_p2 coordinates of the three F_p4 elements
        x, y = e.at(a, 8 * i), e.at(a, 8 * j)
        xx, yy, even, odd = (e.temp(8) for _ in range(4))
        FP2_SQR(e, xx, x)
        FP2_SQR(e, yy, y)
        FP2_ADD(e, odd, x, y)
        FP2_SQR(e, odd, odd)
        FP2_SUB(e, odd, odd, xx)
        FP2_SUB(e, odd, odd, yy)
        FP2_MUL_XI(e, yy, yy)
        FP2_ADD(e, even, xx, yy)
        squares.append((even, odd))
    FP2_MUL_XI(e, squares[2][1], squares[2][1])
    new = [squares[0][0], squares[1][0], squares[2][0]]  # coordinates 0, 1, 2: 3 new - 2 old
    new += [squares[2][1], squares[0][1], squares[1][1]]  # coordinates 3, 4, 5: 3 new + 2 old
    for i, square in enumerate(new):
        old, to = e.at(a, 8 * i), e.at(out, 8 * i)
        combine = FP2_SUB if i < 3 else FP2_ADD
        combine(e, to, square, old)
        FP2_ADD(e, to, to, to)
        FP2_ADD(e, to, to, square)


def _fp12_frobenius(k: int) -> Body:
    """a^(p^k): conjugate the F_p2 coordinate of w^i if k is odd, then times xi^(i (p^k - 1)/6)."""

    def body(e: Emitter, out: Value, a: Value) -> None:
        for part in range(6):
            i = 2 * (part % 3) + part // 3  # coordinate `part` belongs to w^i
            constant = [w for c in frobenius_constant(k, i) for w in _F.mont(c)]
            x, to = e.at(a, 8 * part), e.at(out, 8 * part)
            if k % 2:
                FP2_CONJ(e, to, x)
                x = to
            FP2_MUL(e, to, x, e.constant(constant))

    return body


FP12_MUL = Routine(f"{_TAG}.fp12_mul", "ppp", _fp12_mul)
FP12_SQR = Routine(f"{_TAG}.fp12_sqr", "pp", _fp12_sqr)
FP12_MUL_LINE = Routine(f"{_TAG}.fp12_mul_line", "pp", _fp12_mul_line)
FP12_CONJ = Routine(f"{_TAG}.fp12_conj", "pp", _fp12_conj)
FP12_CYCLOTOMIC_SQR = Routine(f"{_TAG}.fp12_cyclotomic_sqr", "pp", _fp12_cyclotomic_sqr)
FP12_COPY = Routine("copy48", "pp", lambda e, out, a: e.copy(out, a, 48))
FP12_FROBENIUS = [Routine(f"{_TAG}.fp12_frobenius{k}", "pp", _fp12_frobenius(k)) for k in (1, 2, 3)]

fp2_add, fp2_sub, fp2_neg = FP2_ADD.intrinsic(), FP2_SUB.intrinsic(), FP2_NEG.intrinsic()
fp2_conj, fp2_mul, fp2_sqr = FP2_CONJ.intrinsic(), FP2_MUL.intrinsic(), FP2_SQR.intrinsic()
fp2_mul_xi, fp2_mul_fp = FP2_MUL_XI.intrinsic(), FP2_MUL_FP.intrinsic()
fp2_half, fp2_copy = FP2_HALF.intrinsic(), FP2_COPY.intrinsic()
fp6_add, fp6_sub, fp6_neg = FP6_ADD.intrinsic(), FP6_SUB.intrinsic(), FP6_NEG.intrinsic()
fp6_mul, fp6_mul_v = FP6_MUL.intrinsic(), FP6_MUL_V.intrinsic()
fp12_mul, fp12_sqr = FP12_MUL.intrinsic(), FP12_SQR.intrinsic()
fp12_mul_line, fp12_conj = FP12_MUL_LINE.intrinsic(), FP12_CONJ.intrinsic()
fp12_cyclotomic_sqr, fp12_copy = FP12_CYCLOTOMIC_SQR.intrinsic(), FP12_COPY.intrinsic()
fp12_frobenius1, fp12_frobenius2, fp12_frobenius3 = (f.intrinsic() for f in FP12_FROBENIUS)


# -- inversion ------------------------------------------------------------------------------------


@kernel(signature="void(uintp, uintp)")
def fp2_inverse(out: int, a: int) -> None:
    """out = 1/a = conj(a) / (a0^2 + a1^2); 0 for a = 0."""
    norm, t = stack(4), stack(4)
    fp_sqr(norm, a)
    fp_sqr(t, a + FP_BYTES)
    fp_add(norm, norm, t)
    fp_inverse(norm, norm)
    fp_mul(out, a, norm)
    fp_mul(out + FP_BYTES, a + FP_BYTES, norm)
    fp_neg(out + FP_BYTES, out + FP_BYTES)


@kernel(signature="void(uintp, uintp)")
def fp6_inverse(out: int, a: int) -> None:
    """out = 1/a; 0 for a = 0.

    With A = a0^2 - xi a1 a2, B = xi a2^2 - a0 a1, C = a1^2 - a0 a2, the product of a and
    A + B v + C v^2 is the norm a0 A + xi (a2 B + a1 C) in F_p2.
    """
    adjoint, norm, t = stack(24), stack(8), stack(8)
    a0, a1, a2 = a, a + FP2_BYTES, a + 2 * FP2_BYTES
    x0, x1, x2 = adjoint, adjoint + FP2_BYTES, adjoint + 2 * FP2_BYTES
    fp2_sqr(x0, a0)
    fp2_mul(t, a1, a2)
    fp2_mul_xi(t, t)
    fp2_sub(x0, x0, t)
    fp2_sqr(x1, a2)
    fp2_mul_xi(x1, x1)
    fp2_mul(t, a0, a1)
    fp2_sub(x1, x1, t)
    fp2_sqr(x2, a1)
    fp2_mul(t, a0, a2)
    fp2_sub(x2, x2, t)
    fp2_mul(norm, a2, x1)
    fp2_mul(t, a1, x2)
    fp2_add(norm, norm, t)
    fp2_mul_xi(norm, norm)
    fp2_mul(t, a0, x0)
    fp2_add(norm, norm, t)
    fp2_inverse(norm, norm)
    for i in range(3):
        fp2_mul(out + i * FP2_BYTES, adjoint + i * FP2_BYTES, norm)


@kernel(signature="void(uintp, uintp)")
def fp12_inverse(out: int, a: int) -> None:
    """out = 1/a = (c0 - c1 w) / (c0^2 - v c1^2); 0 for a = 0."""
    norm, t = stack(24), stack(24)
    high = a + FP6_BYTES
    fp6_mul(norm, a, a)
    fp6_mul(t, high, high)
    fp6_mul_v(t, t)
    fp6_sub(norm, norm, t)
    fp6_inverse(norm, norm)
    fp6_mul(out, a, norm)
    fp6_mul(t, high, norm)
    fp6_neg(out + FP6_BYTES, t)
