"""F_p and F_r on 64-bit words: the lowering that runs on any CPU.

An element is 4 little-endian words holding x * 2^256 mod q (Montgomery form), canonical:
0 <= x < q. Every operation takes and returns canonical elements, so equality is equality of words.
Where a body says so, operands of a product may be lazy (an unreduced sum): with q < 0.19 * 2^256
the reduced value of a sum of products T is at most q + T / 2^256, so T <= 5 q^2 leaves a value
below 2q and one conditional subtraction makes it canonical.

`products` is the heart: sum of a_k * b_k with one Montgomery reduction, word by word of the a_k
(Koc, Acar, Kaliski 1996, CIOS; sums as in Longa, eprint 2022/367). Two lowerings: plain IR with
128-bit products, and on x86-64 with BMI2 and ADX assembly with two carry chains, which LLVM does
not produce.

Inversion is the binary extended gcd on 64-bit approximations of Pornin (eprint 2020/972).

In kernels: `fp_mul(out, a, b)` and so on, operands are addresses (see `kernels.cpu.compile.emit`).
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from kernels.array import U64
from kernels.bn254 import MONT_BITS, P, R
from kernels.cpu.compile.emit import (
    I64,
    MASK64,
    POINTER,
    Body,
    Emitter,
    Function,
    Routine,
    Value,
    words_of,
)
from kernels.cpu.compile.jit import kernel
from kernels.cpu.compile.memory import leading_zeros, load_word, stack

I128, I256, I320 = ir.IntType(128), ir.IntType(256), ir.IntType(320)
GCD_BITS = 31  # halvings between two updates of the full-width numbers
GCD_ROUNDS = 17  # 17 * 31 >= 2 * 254 - 1 halvings bring any element to zero


def has_mulx() -> bool:
    """Whether the host runs the assembly lowering (x86-64 with BMI2 and ADX)."""
    features = llvm.get_host_cpu_features()
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    return x86 and bool(features.get("bmi2")) and bool(features.get("adx"))


@dataclass(frozen=True)
class Field:
    """A prime field with modulus below 0.19 * 2^256 (see the bound above).

    name     : enters routine names
    assembly : take the x86-64 lowering of `products`
    """

    name: str
    modulus: int
    assembly: bool

    @property
    def words(self) -> list[int]:
        return words_of(self.modulus, 4)

    @property
    def minus_inverse(self) -> int:
        """-1/q mod 2^64."""
        return -pow(self.modulus, -1, 1 << 64) & MASK64

    def mont(self, value: int) -> list[int]:
        """Words of `value` in Montgomery form."""
        return words_of((value << MONT_BITS) % self.modulus, 4)


# -- bodies ---------------------------------------------------------------------------------------


def canonical(e: Emitter, field: Field, value: Value) -> Value:
    """value mod q for an i256 value in [0, 2q)."""
    less = e.builder.sub(value, I256(field.modulus))
    return e.builder.select(e.builder.icmp_signed("<", less, I256(0)), value, less)


def sum_of(e: Emitter, field: Field, a: Value, b: Value) -> Value:
    """Canonical a + b of canonical i256 values."""
    return canonical(e, field, e.builder.add(a, b))


def difference(e: Emitter, field: Field, a: Value, b: Value) -> Value:
    """Canonical a - b of canonical i256 values."""
    less = e.builder.sub(a, b)
    wrapped = e.builder.add(less, I256(field.modulus))
    return e.builder.select(e.builder.icmp_signed("<", less, I256(0)), wrapped, less)


def products(e: Emitter, field: Field, pairs: Sequence[tuple[Value, Value]]) -> Value:
    """sum a_k b_k / 2^256 mod q as a canonical i256, of 4-word operands at the given addresses.

    Needs sum a_k b_k <= 5 q^2 and sum b_k + q < 2^256, with a_k, b_k the values as stored.
    """
    words = _products_x86(e, field, pairs) if field.assembly else _products_ir(e, field, pairs)
    return canonical(e, field, e.join(words, 256))


def _row(e: Emitter, x: Value, words: Sequence[Value]) -> Value:
    """x * (4 words) as an i320."""
    low, high = [], []
    wide = e.builder.zext(x, I128)
    for word in words:
        product = e.builder.mul(wide, e.builder.zext(word, I128))
        low.append(e.builder.trunc(product, I64))
        high.append(e.builder.trunc(e.builder.lshr(product, I128(64)), I64))
    return e.builder.add(e.join(low, 320), e.builder.shl(e.join(high, 320), I320(64)))


def _products_ir(e: Emitter, field: Field, pairs: Sequence[tuple[Value, Value]]) -> list[Value]:
    """Words of the reduced sum, below 2q: rows of 128-bit products."""
    b = e.builder
    operands = [(e.load_words(x), e.load_words(y)) for x, y in pairs]
    modulus = [I64(w) for w in field.words]
    total = I320(0)
    for i in range(4):
        for x, y in operands:
            total = b.add(total, _row(e, x[i], y))
        m = b.mul(b.trunc(total, I64), I64(field.minus_inverse))
        total = b.lshr(b.add(total, _row(e, m, modulus)), I320(64))
    return [b.trunc(b.lshr(total, I320(64 * i)), I64) for i in range(4)]


_SUM = ("%r8", "%r9", "%r10", "%r11")  # the running sum; its fifth word is in rbx


def _products_x86(e: Emitter, field: Field, pairs: Sequence[tuple[Value, Value]]) -> list[Value]:
    """Words of the reduced sum, below 2q: mulx with the carry chains of adcx and adox."""
    n = 1 + 2 * len(pairs)
    result = ir.LiteralStructType([I64] * 4)
    outputs = ",".join(f"=&{{{register[1:]}}}" for register in _SUM)
    clobbers = "~{rax},~{rbx},~{rcx},~{rdx},~{cc},~{dirflag},~{fpsr},~{flags},~{memory}"
    asm = ir.InlineAsm(
        ir.FunctionType(result, [POINTER] * n),
        "\n\t".join(_x86_text(field, len(pairs))),
        ",".join([outputs, *["r"] * n, clobbers]),
        side_effect=True,  # reads memory through its operands
    )
    flat = [pointer for pair in pairs for pointer in pair]
    value = e.builder.call(asm, [e.constant(field.words), *flat])
    return [e.builder.extract_value(value, i) for i in range(4)]


def _x86_text(field: Field, n_pairs: int) -> list[str]:
    """Operands $0-$3: sum; $4: modulus; $5, $6, $7, ...: a_0, b_0, a_1, ..."""
    lines: list[str] = []
    for i in range(4):
        for k in range(n_pairs):
            a, b = f"${5 + 2 * k}", f"${6 + 2 * k}"
            lines += [f"movq {8 * i}({a}), %rdx", "xorl %eax, %eax"]
            lines += _x86_first_row(b) if i == k == 0 else _x86_row(b, "%rcx" if k else "%rbx")
            lines += ["addq %rcx, %rbx"] if k else []
        lines += _x86_reduce(field)
    return lines


def _x86_first_row(b: str) -> list[str]:
    """sum = rdx * b; flags clear on entry."""
    lines = [f"mulxq 0({b}), {_SUM[0]}, {_SUM[1]}"]
    for j in (1, 2):
        lines += [f"mulxq {8 * j}({b}), %rax, {_SUM[j + 1]}", f"adcxq %rax, {_SUM[j]}"]
    lines += [f"mulxq 24({b}), %rax, %rbx", f"adcxq %rax, {_SUM[3]}"]
    return [*lines, "movl $$0, %eax", "adcxq %rax, %rbx"]


def _x86_row(b: str, top: str) -> list[str]:
    """Four words of sum += rdx * b, the fifth word of the product with carries into `top`."""
    lines = [f"mulxq 0({b}), %rax, {top}", f"adoxq %rax, {_SUM[0]}"]
    for j in (1, 2, 3):
        lines += [f"adcxq {top}, {_SUM[j]}", f"mulxq {8 * j}({b}), %rax, {top}"]
        lines += [f"adoxq %rax, {_SUM[j]}"]
    return [*lines, "movl $$0, %eax", f"adcxq %rax, {top}", f"adoxq %rax, {top}"]


def _x86_reduce(field: Field) -> list[str]:
    """sum = (sum + m q) / 2^64 with m = -sum / q mod 2^64."""
    lines = [f"movabsq $${field.minus_inverse}, %rdx", f"imulq {_SUM[0]}, %rdx", "xorl %eax, %eax"]
    lines += ["mulxq 0($4), %rax, %rcx", f"adcxq {_SUM[0]}, %rax", f"movq %rcx, {_SUM[0]}"]
    for j in (1, 2, 3):
        lines += [f"adcxq {_SUM[j]}, {_SUM[j - 1]}", f"mulxq {8 * j}($4), %rax, {_SUM[j]}"]
        lines += [f"adoxq %rax, {_SUM[j - 1]}"]
    return [*lines, "movl $$0, %eax", f"adcxq %rax, {_SUM[3]}", f"adoxq %rbx, {_SUM[3]}"]


def _signed_row(e: Emitter, factor: Value, value: Sequence[Value]) -> Value:
    """factor * value as a signed i320, for a signed factor and an unsigned value < 2^255."""
    b = e.builder
    negative = b.icmp_signed("<", factor, I64(0))
    row = _row(e, b.select(negative, b.neg(factor), factor), value)
    return b.select(negative, b.neg(row), row)


def _combined(e: Emitter, x: Value, y: Value, f: Value, g: Value) -> Value:
    """f x + g y as a signed i320."""
    return e.builder.add(_signed_row(e, f, x), _signed_row(e, g, y))


def _gcd_update(e: Emitter, ab: Value, f0: Value, g0: Value, f1: Value, g1: Value) -> Value:
    """(a, b) = |f a + g b| / 2^31 for both factor pairs; bits 0 and 1 tell which were negative."""
    b = e.builder
    x, y = e.load_words(ab), e.load_words(e.at(ab, 4))
    signs = []
    for k, (f, g) in enumerate(((f0, g0), (f1, g1))):
        total = _combined(e, x, y, f, g)
        negative = b.icmp_signed("<", total, I320(0))
        size = b.lshr(b.select(negative, b.neg(total), total), I320(GCD_BITS))
        e.store(e.at(ab, 4 * k), size)
        signs.append(b.shl(b.zext(negative, I64), I64(k)))
    return b.or_(*signs)


def _inverse_update(field: Field) -> Body:
    """(u, v) = (f u + g v) / 2^31 mod q for both factor pairs, |f| + |g| <= 2^31, canonical."""
    halves = -pow(field.modulus, -1, 1 << GCD_BITS) % (1 << GCD_BITS)

    def body(e: Emitter, uv: Value, f0: Value, g0: Value, f1: Value, g1: Value) -> None:
        b = e.builder
        x, y = e.load_words(uv), e.load_words(e.at(uv, 4))
        modulus = [I64(w) for w in field.words]
        for k, (f, g) in enumerate(((f0, g0), (f1, g1))):
            total = _combined(e, x, y, f, g)
            m = b.mul(b.trunc(total, I64), I64(halves))
            m = b.and_(m, I64((1 << GCD_BITS) - 1))
            total = b.ashr(b.add(total, _row(e, m, modulus)), I320(GCD_BITS))  # in (-q, 2q)
            value = b.trunc(total, I256)
            negative = b.icmp_signed("<", value, I256(0))
            raised = b.add(value, I256(field.modulus))
            e.store(e.at(uv, 4 * k), b.select(negative, raised, canonical(e, field, value)))

    return body


def _inverse_begin(field: Field) -> Body:
    """(a, b) = (x, q) and (u, v) = (2^512, 0), so that v ends as 2^512 / x: the inverse in form."""

    def body(e: Emitter, ab: Value, uv: Value, x: Value) -> None:
        e.copy(ab, x, 4)
        e.store(e.at(ab, 4), I256(field.modulus))
        e.store(uv, I256(pow(2, 2 * MONT_BITS, field.modulus)))
        e.store(e.at(uv, 4), I256(0))

    return body


# -- routines -------------------------------------------------------------------------------------


class FieldRoutines:
    """The routines of one field; addresses of 4 words each."""

    def __init__(self, field: Field) -> None:
        self.field = field
        tag = self.tag = f"{field.name}.{'x86' if field.assembly else 'ir'}"

        def unary(name: str, body: Callable[[Emitter, Value], Value]) -> Routine:
            return Routine(f"{tag}.{name}", "pp", lambda e, out, a: e.store(out, body(e, a)))

        def binary(name: str, body: Callable[[Emitter, Value, Value], Value]) -> Routine:
            return Routine(f"{tag}.{name}", "ppp", lambda e, out, a, b: e.store(out, body(e, a, b)))

        self.mul = binary("mul", lambda e, a, b: products(e, field, [(a, b)]))
        self.sqr = unary("sqr", lambda e, a: products(e, field, [(a, a)]))
        self.add = binary("add", lambda e, a, b: sum_of(e, field, e.load(a), e.load(b)))
        self.sub = binary("sub", lambda e, a, b: difference(e, field, e.load(a), e.load(b)))
        self.neg = unary("neg", lambda e, a: difference(e, field, I256(0), e.load(a)))
        one = field.mont(pow(2, -MONT_BITS, field.modulus))
        radix = field.mont(pow(2, MONT_BITS, field.modulus))
        self.to_mont = unary("to_mont", lambda e, a: products(e, field, [(a, e.constant(radix))]))
        self.from_mont = unary("from_mont", lambda e, a: products(e, field, [(a, e.constant(one))]))
        self.inverse_update = Routine(f"{tag}.inverse_update", "piiii", _inverse_update(field))
        self.inverse_begin = Routine(f"{tag}.inverse_begin", "ppp", _inverse_begin(field))


def _is_equal(e: Emitter, a: Value, b: Value) -> Value:
    return e.builder.zext(e.builder.icmp_unsigned("==", e.load(a), e.load(b)), I64)


def _is_zero(e: Emitter, a: Value) -> Value:
    return e.builder.zext(e.builder.icmp_unsigned("==", e.load(a), I256(0)), I64)


FP = FieldRoutines(Field("fp", P, assembly=has_mulx()))
FR = FieldRoutines(Field("fr", R, assembly=has_mulx()))

fp_mul, fp_sqr = FP.mul.intrinsic(), FP.sqr.intrinsic()
fp_add, fp_sub, fp_neg = FP.add.intrinsic(), FP.sub.intrinsic(), FP.neg.intrinsic()
fp_to_mont, fp_from_mont = FP.to_mont.intrinsic(), FP.from_mont.intrinsic()
fr_mul, fr_sqr = FR.mul.intrinsic(), FR.sqr.intrinsic()
fr_add, fr_sub, fr_neg = FR.add.intrinsic(), FR.sub.intrinsic(), FR.neg.intrinsic()
fr_to_mont, fr_from_mont = FR.to_mont.intrinsic(), FR.from_mont.intrinsic()

EQUAL = Function("equal", "pp", _is_equal)
IS_ZERO = Function("is_zero", "p", _is_zero)
COPY = Routine("copy", "pp", lambda e, out, a: e.copy(out, a, 4))
is_equal, is_zero, copy = EQUAL.intrinsic(), IS_ZERO.intrinsic(), COPY.intrinsic()
_gcd_step = Function("gcd_update", "piiii", _gcd_update).intrinsic()


# -- inversion ------------------------------------------------------------------------------------


_LOW = np.uint64((1 << GCD_BITS) - 1)


@kernel(signature="uint64(uintp, uint64, uint64)")
def _approximate(x: int, top: int, shift: np.uint64) -> np.uint64:
    """64 bits that stand for a number: its low 31 and the 33 from its leading word `top` down."""
    if top == 0:
        return load_word(x)
    high = load_word(x + 8 * top) << shift
    if shift > 0:
        high |= load_word(x + 8 * top - 8) >> (np.uint64(64) - shift)
    low = load_word(x) & _LOW
    return low | (high & ~_LOW)


def _build_inverse(routines: FieldRoutines) -> Callable[[int, int], None]:
    begin, update = routines.inverse_begin.intrinsic(), routines.inverse_update.intrinsic()

    @kernel(signature="void(uintp, uintp)", key=routines.tag)
    def inverse(out: int, a: int) -> None:
        """out = 1/a in Montgomery form; 0 for a = 0."""
        ab, uv = stack(8), stack(8)
        begin(ab, uv, a)
        for _ in range(GCD_ROUNDS):
            top = 3
            while top > 0 and load_word(ab + 8 * top) | load_word(ab + 32 + 8 * top) == 0:
                top -= 1
            shift = leading_zeros(load_word(ab + 8 * top) | load_word(ab + 32 + 8 * top))
            x, y = _approximate(ab, top, shift), _approximate(ab + 32, top, shift)
            f0, g0, f1, g1 = np.int64(1), np.int64(0), np.int64(0), np.int64(1)
            for _ in range(GCD_BITS):  # masks, not branches: their outcomes are unpredictable
                odd = -np.int64(x & np.uint64(1))
                swap = odd & -np.int64(x < y)
                dx, df, dg = (x ^ y) & np.uint64(swap), (f0 ^ f1) & swap, (g0 ^ g1) & swap
                x, y, f0, f1, g0, g1 = x ^ dx, y ^ dx, f0 ^ df, f1 ^ df, g0 ^ dg, g1 ^ dg
                x = (x - (y & np.uint64(odd))) >> np.uint64(1)
                f0, g0, f1, g1 = f0 - (f1 & odd), g0 - (g1 & odd), f1 << 1, g1 << 1
            signs = _gcd_step(ab, f0, g0, f1, g1)
            if signs & 1:
                f0, g0 = -f0, -g0
            if signs & 2:
                f1, g1 = -f1, -g1
            update(uv, f0, g0, f1, g1)
        copy(out, uv + 32)

    return inverse


fp_inverse, fr_inverse = _build_inverse(FP), _build_inverse(FR)


# -- whole arrays ---------------------------------------------------------------------------------


@kernel(signature="void(uintp, uintp, int64)")
def _fp_from_mont_all(out: int, a: int, n: int) -> None:
    for i in range(n):
        fp_from_mont(out + 32 * i, a + 32 * i)


def from_mont_words(elements: U64) -> U64:
    """Canonical words of F_p elements in Montgomery form: uint64[n, 4] to the same shape."""
    out = np.empty_like(elements, order="C")
    source = np.ascontiguousarray(elements)
    _fp_from_mont_all(out.ctypes.data, source.ctypes.data, source.size // 4)
    return out
