"""Vector field arithmetic in 5 limbs of 52 bits: one set of formulas, two lowerings (LLVM IR).

Elements stand for x * 2^260 mod q (q is p or r; the constants come in by pointer, so each body is
compiled once for both fields). A vector of W elements in registers is a list of 5 LLVM vectors, in
memory a *block* of 5 x W words.

    Fma52    W = 4 doubles (AVX2 + FMA): limbs are integers in [-2^51, 2^51], the high and low half
             of a product come from two fused multiply-adds that round toward zero (Emmart,
             ARITH-25; Gueron and Krasnov, 2013), so kernels run with MXCSR in that mode. They are
             exact while |limb * limb| <= 2^103.
    Ifma52   W = 8 words (AVX-512 IFMA): limbs in [0, 2^52), `vpmadd52{l,h}uq`.

The last limb takes what the others leave. Kinds of elements, in which operations state contracts:
    normal   limbs in the range above, |x| <= 16 q
    wide     limbs in the range above, |x| <= 48 q
    lazy     Fma52: limbs up to twice that range (a sum or difference of two such elements);
             Ifma52: limbs are carried at once, so lazy = wide.  |x| <= 48 q
    folded   limbs in the range above, 0 <= x <= q + 2^-39 q

Montgomery reduction without its serial chain: with T = sum t_i 2^(52 i), the four low digits leave
in parallel, T / 2^208 = sum_{i>=4} t_i 2^(52(i-4)) + sum_{i<4} t_i (2^(-52(4-i)) mod q), and one
ordinary Montgomery step removes the fifth. Bounds, with q < 0.0119 * 2^260: |a b| / 2^260 is at
most 48*16 q^2 / 2^260 < 9.2 q, the digits add at most 4 q (Ifma52) or q (Fma52), the last step at
most q (Ifma52) or q / 2 (Fma52): |a b / 2^260| + 5 q or + 1.5 q, and a product is normal. The last
limbs: 48 q < 2^260 (Ifma52), 48 q / 2^208 < 2^52 and 16 q / 2^208 < 2^51 (Fma52).
"""

from __future__ import annotations

import struct
from typing import TypeAlias

import numpy as np
from llvmlite import ir

from kernels.array import U64
from kernels.cpu.compile.emit import I64, Builder, Value

LIMBS = 5
MASK = (1 << 52) - 1
HALF = 1 << 51
BIAS = 1 << 57  # added to column totals so that logical shifts serve; a multiple of 2^52

Element: TypeAlias = list[Value]


def bits_of(x: float) -> int:
    """IEEE-754 bits of a double."""
    return int(struct.unpack("<Q", struct.pack("<d", x))[0])


def balanced_digits(x: int) -> list[int]:
    """x = sum d_i 2^(52 i) with d_0..d_3 in [-2^51, 2^51); d_4 takes the rest."""
    digits = []
    for _ in range(LIMBS - 1):
        d = ((x + HALF) & MASK) - HALF
        digits.append(d)
        x = (x - d) >> 52
    return [*digits, x]


def unsigned_digits(x: int) -> list[int]:
    """x = sum d_i 2^(52 i) with d_0..d_3 in [0, 2^52); d_4 takes the rest."""
    return [(x >> (52 * i)) & MASK for i in range(LIMBS - 1)] + [x >> (52 * (LIMBS - 1))]


def centered(x: int, q: int) -> int:
    """The representative of x mod q in (-q/2, q/2]."""
    x %= q
    return x - q if x > q // 2 else x


# Layout of a field's constant table, in vectors of W words (see `constant_rows`).
K_MODULUS = 0  # q, as digits of the lowering
K_FOLD = 5  # 2^(-52(4-i)) mod q, i = 0..3
K_INVERSE = 25  # -1/q mod 2^52
K_QUOTIENT = 26  # estimates floor(x / q) from the top limb
K_TWICE = 27  # 2 q
K_SIXTEEN = 32  # 16 q
K_EIGHT = 37  # 8 q
K_THIRTYTWO = 42  # 32 q
K_PLAIN = 47  # q in unsigned digits, as words
K_FROM_256 = 52  # 2^264 mod q: x * 2^256 -> x * 2^260
K_TO_256 = 57  # 2^256 mod q: x * 2^260 -> x * 2^256
K_ONE = 62  # 2^260 mod q
K_ROWS = 67


class Emitter52:
    """Formulas over a builder `b` and a constant table `k`; subclasses lower the primitives."""

    width: int
    name: str
    word: ir.Type
    bias: int  # of column totals
    half: int  # added before a digit is cut off: rounds (Fma52) or truncates (Ifma52)
    butterfly_growth: int  # in q: how much larger than its input a butterfly's output may be
    packed_offset: int  # what the packed form adds to x so that its digits are biased limbs
    signed: bool  # limbs are doubles in [-2^51, 2^51], else words in [0, 2^52)

    def __init__(self, b: Builder, k: Value) -> None:
        self.b = b
        self.vi = ir.VectorType(I64, self.width)
        self.vw = ir.VectorType(self.word, self.width)
        self.k = self._vectors(k)

    @classmethod
    def limb_words(cls, values: list[int], modulus: int) -> U64:
        """uint64[n, LIMBS]: the words of the limbs of 0 <= x < modulus."""
        if not cls.signed:
            return np.array([unsigned_digits(x) for x in values], dtype=np.uint64)
        digits = [balanced_digits(centered(x, modulus)) for x in values]
        return np.array(digits, dtype=np.int64).astype(np.float64).view(np.uint64)

    # -- memory ----------------------------------------------------------------------------------
    def _vectors(self, p: Value) -> Value:
        return self.b.bitcast(p, self.vw.as_pointer())

    def const(self, row: int) -> Value:
        """Vector `row` of the constant table."""
        return self.b.load(self.b.gep(self.k, [I64(row)]), align=8 * self.width)

    def load(self, p: Value) -> Element:
        """The element in the block at `p`."""
        at = self._vectors(p)
        return [self.b.load(self.b.gep(at, [I64(i)]), align=8 * self.width) for i in range(LIMBS)]

    def store(self, p: Value, x: Element) -> None:
        """Write an element to the block at `p`."""
        at = self._vectors(p)
        for i in range(LIMBS):
            self.b.store(x[i], self.b.gep(at, [I64(i)]), align=8 * self.width)

    def splat(self, p: Value) -> Element:
        """5 words at `p`, each broadcast to all lanes."""
        out, at = [], self.b.bitcast(p, self.word.as_pointer())
        for i in range(LIMBS):
            word = self.b.load(self.b.gep(at, [I64(i)]), align=8)
            vec = self.b.insert_element(
                ir.Constant(self.vw, ir.Undefined), word, ir.Constant(ir.IntType(32), 0)
            )
            zero = ir.Constant(ir.VectorType(ir.IntType(32), self.width), [0] * self.width)
            out.append(self.b.shuffle_vector(vec, ir.Constant(self.vw, ir.Undefined), zero))
        return out

    def ints(self, v: int) -> Value:
        return ir.Constant(self.vi, [v % (1 << 64)] * self.width)

    # -- primitives of a lowering ----------------------------------------------------------------
    def mac(self, cols: list[Column], at: int, x: Value, y: Value) -> None:
        """cols[at] += low half of x*y, cols[at + 1] += high half."""
        raise NotImplementedError

    def digit(self, total: Value) -> Value:
        """The low 52 bits of a column total (with `half` added) as a limb."""
        raise NotImplementedError

    def low_product(self, x: Value, y: Value) -> Value:
        """The limb x*y mod 2^52."""
        raise NotImplementedError

    def word_of_limb(self, x: Value) -> Column:
        """An integer column holding a limb."""
        raise NotImplementedError

    def top(self, total: Value) -> Value:
        """The last limb, signed where limbs are."""
        raise NotImplementedError

    # -- product ---------------------------------------------------------------------------------
    def mul(self, x: Element, y: Element) -> Element:
        """x lazy, y normal -> normal x*y/2^260."""
        cols = [Column() for _ in range(2 * LIMBS)]
        for k in range(2 * LIMBS - 1):
            for i in range(LIMBS):
                if 0 <= k - i < LIMBS:
                    self.mac(cols, k, x[i], y[k - i])
        return self.reduce(cols)

    def sqr(self, x: Element) -> Element:
        """x normal -> normal x^2/2^260, cross products once and doubled."""
        cross = [Column() for _ in range(2 * LIMBS)]
        cols = [Column() for _ in range(2 * LIMBS)]
        for k in range(2 * LIMBS - 1):
            for i in range(LIMBS):
                j = k - i
                if i < j < LIMBS:
                    self.mac(cross, k, x[i], x[j])
                elif i == j:
                    self.mac(cols, k, x[i], x[i])
        for col, twice in zip(cols, cross, strict=True):
            if twice.value is not None:
                col.put(self.b, self.b.add(twice.value, twice.value), 2 * twice.offset)
        return self.reduce(cols)

    def reduce(self, cols: list[Column]) -> Element:
        """The ten columns of T -> normal T/2^260."""
        unit = self.bias >> 52
        low = self.low_digits(cols)
        for j in range(LIMBS):
            for i in range(4):
                self.mac(cols, 4 + j, low[i], self.const(K_FOLD + LIMBS * i + j))
        total = cols[4].total(self, self.half + self.bias)
        fifth = self.digit(total)
        cols[5].put(self.b, self.b.lshr(total, self.ints(52)), -unit)
        m = self.low_product(fifth, self.const(K_INVERSE))
        last = [self.word_of_limb(fifth), *cols[5:]]
        for j in range(LIMBS):
            self.mac(last, j, m, self.const(K_MODULUS + j))
        carry = self.b.lshr(last[0].total(self, self.bias), self.ints(52))
        last[1].put(self.b, carry, -unit)
        return self.carry(last[1 : LIMBS + 1])

    def low_digits(self, cols: list[Column]) -> list[Value]:
        """The four low digits of T as factors of the fold; what is over goes into column 4."""
        unit = self.bias >> 52
        low = []
        for k in range(4):
            total = cols[k].total(self, self.half + self.bias)
            low.append(self.digit(total))
            cols[k + 1].put(self.b, self.b.lshr(total, self.ints(52)), -unit)
        return low

    def carry(self, cols: list[Column]) -> Element:
        """Five columns -> limbs in range, the last one taking what is left."""
        unit = self.bias >> 52
        out = []
        for k in range(LIMBS - 1):
            total = cols[k].total(self, self.half + self.bias)
            out.append(self.digit(total))
            cols[k + 1].put(self.b, self.b.lshr(total, self.ints(52)), -unit)
        return [*out, self.top(cols[LIMBS - 1].total(self, 0))]

    # -- packed words ----------------------------------------------------------------------------
    def split_words(self, w: list[Value]) -> list[Value]:
        """Four 64-bit words -> five digits of 52 bits."""
        b = self.b
        out = [b.and_(w[0], self.ints(MASK))]
        for i in range(1, 4):
            low = b.lshr(w[i - 1], self.ints(64 - 12 * i))
            out.append(b.and_(b.or_(low, b.shl(w[i], self.ints(12 * i))), self.ints(MASK)))
        return [*out, b.lshr(w[3], self.ints(16))]

    def join_words(self, d: list[Value]) -> list[Value]:
        """Five digits below 2^52 (the last below 2^48) -> four 64-bit words."""
        b = self.b
        return [
            b.or_(
                b.lshr(d[i], self.ints(12 * i)) if i else d[0],
                b.shl(d[i + 1], self.ints(52 - 12 * i)),
            )
            for i in range(4)
        ]

    def from_digits(self, d: list[Value], *, packed: bool) -> Element:
        """Digits -> element: packed digits give a wide element, plain ones a lazy one."""
        raise NotImplementedError

    def remainder(self, x: Element) -> list[Column]:
        """Columns of x - floor'(x / q) q in [0, q + 2^-39 q], for wide x.

        The quotient is estimated from the last limb, never too large and too small by < 2^-39.
        """
        raise NotImplementedError

    # -- sums (bounds: see each lowering) --------------------------------------------------------
    def add(self, x: Element, y: Element) -> Element:
        """Wide + wide -> lazy; the caller knows that the sum stays within 48 q."""
        raise NotImplementedError

    def sub(self, x: Element, y: Element) -> Element:
        """Wide - normal -> lazy, congruent mod q: x - y, for Ifma52 x - y + 16 q (x <= 32 q)."""
        raise NotImplementedError

    def norm(self, x: Element) -> Element:
        """Lazy -> wide, the same value."""
        raise NotImplementedError

    def negate_where(self, x: Element, mask: Value) -> Element:
        """0 <= x <= 2 q, wide -> in the lanes whose mask word is all ones -x (Ifma52: 2 q - x)."""
        raise NotImplementedError

    def butterfly(self, x: Element, t: Element) -> tuple[Element, Element]:
        """(x + t, x - t) mod q, wide; t is a product by a canonical (Fma52: centered) element.

        Either result exceeds x by at most `butterfly_growth` q; the caller keeps it within 48 q.
        """
        raise NotImplementedError

    def fold(self, x: Element) -> Element:
        """Wide -> the same residue, folded."""
        return self.carry(self.remainder(x))

    def sub_fold(self, x: Element, y: Element) -> Element:
        """Wide - normal (as `sub`) -> folded."""
        raise NotImplementedError

    def sub2_fold(self, x: Element, y: Element, z: Element) -> Element:
        """x - y - z of normal elements -> folded."""
        raise NotImplementedError

    def sub_normal(self, x: Element, y: Element) -> Element:
        """Normal - normal -> wide. Ifma52: folded. Fma52: bounds add up, the caller minds them."""
        raise NotImplementedError

    def sub2_normal(self, x: Element, y: Element, z: Element) -> Element:
        """x - y - z of normal elements -> wide, as `sub_normal`."""
        raise NotImplementedError

    def add_normal(self, x: Element, y: Element) -> Element:
        """Wide + wide -> wide; bounds add up, the caller minds them."""
        return self.norm(self.add(x, y))

    def pack(self, x: Element) -> list[Value]:
        """Wide -> words of x folded + packed_offset."""
        cols = self.remainder(x)
        digits = []
        for k in range(LIMBS - 1):
            total = cols[k].total(self, self.half + self.bias)
            digits.append(self.b.and_(total, self.ints(MASK)))
            cols[k + 1].put(self.b, self.b.lshr(total, self.ints(52)), -(self.bias >> 52))
        digits.append(cols[LIMBS - 1].total(self, 0))
        return self.join_words(digits)

    def pack_folded(self, x: Element) -> list[Value]:
        """The result of a fold -> words of x + packed_offset."""
        raise NotImplementedError

    def pack_canonical(self, x: Element) -> list[Value]:
        """Wide -> words of x mod q in [0, q)."""
        b = self.b
        cols = self.remainder(x)
        unit = 1 << 5
        digits, less = [], []
        carry = borrow = None
        for k in range(LIMBS):
            total = cols[k].total(self, BIAS if k == 0 else BIAS - unit)
            total = total if carry is None else b.add(total, carry)
            carry = b.lshr(total, self.ints(52))
            digit = b.and_(total, self.ints(MASK))
            digits.append(digit)
            diff = b.sub(b.add(digit, self.ints(1 << 52)), self.plain_modulus(k))
            diff = diff if borrow is None else b.sub(diff, borrow)
            borrow = b.sub(self.ints(1), b.lshr(diff, self.ints(52)))
            less.append(b.and_(diff, self.ints(MASK)))
        keep = b.icmp_unsigned("!=", borrow, self.ints(0))
        return self.join_words([b.select(keep, d, s) for d, s in zip(digits, less, strict=True)])

    def plain_modulus(self, k: int) -> Value:
        return self.b.bitcast(self.const(K_PLAIN + k), self.vi)


class Column:
    """A column sum: an IR value plus a compile-time constant (both mod 2^64)."""

    __slots__ = ("offset", "value")

    def __init__(self, value: Value | None = None, offset: int = 0) -> None:
        self.value = value
        self.offset = offset

    def put(self, b: Builder, term: Value, offset: int) -> None:
        """Add `term` + `offset`."""
        self.value = term if self.value is None else b.add(self.value, term)
        self.offset += offset

    def total(self, emitter: Emitter52, extra: int) -> Value:
        """The sum plus `extra`."""
        constant = emitter.ints(self.offset + extra)
        if self.value is None:
            return constant
        if (self.offset + extra) % (1 << 64) == 0:
            return self.value
        return emitter.b.add(self.value, constant)


def constant_rows(q: int, *, signed: bool) -> list[int | float]:
    """K_ROWS scalars for modulus q, each fills a vector of the table; signed: balanced limbs."""
    digits = balanced_digits if signed else unsigned_digits

    def residue(x: int) -> list[int]:
        return digits(centered(x, q) if signed else x % q)

    rows: list[int | float] = [*digits(q)]
    for i in range(4):
        rows += residue(pow(2, -52 * (4 - i), q))
    inverse = -pow(q, -1, 1 << 52) % (1 << 52)
    rows.append(inverse - (1 << 52) if signed and inverse >= HALF else inverse)
    rows.append(2.0**208 / q if signed else (1 << (260 + 45)) // q)
    rows += digits(2 * q) + digits(16 * q) + digits(8 * q) + digits(32 * q) + unsigned_digits(q)
    for power in (264, 256, 260):
        rows += residue(pow(2, power, q))
    if len(rows) != K_ROWS:
        raise AssertionError("constant table out of step with its layout")
    return rows
