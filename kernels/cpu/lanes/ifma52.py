"""The Ifma52 lowering of `kernels.cpu.lanes.emit52`: 8 lanes of words, AVX-512 IFMA."""

from __future__ import annotations

from llvmlite import ir

from kernels.cpu.compile.emit import I64, Value, declare
from kernels.cpu.lanes.emit52 import (
    K_EIGHT,
    K_MODULUS,
    K_QUOTIENT,
    K_SIXTEEN,
    K_THIRTYTWO,
    K_TWICE,
    LIMBS,
    MASK,
    Column,
    Element,
    Emitter52,
)


class Ifma52(Emitter52):
    """8 words (AVX-512 IFMA); limbs in [0, 2^52)."""

    width = 8
    name = "ifma"
    word = I64
    bias = 0
    half = 0
    butterfly_growth = 8
    packed_offset = 0
    signed = False
    emulated = False  # True: the same formulas on any CPU, the two primitives spelled out

    def _madd(self, half: str, acc: Value, x: Value, y: Value) -> Value:
        if self.emulated:
            return self._madd_spelled(half, acc, x, y)
        name = f"llvm.x86.avx512.vpmadd52{half}.uq.512"
        return self.b.call(declare(self.b.module, name, self.vi, [self.vi] * 3), [acc, x, y])

    def _madd_spelled(self, half: str, acc: Value, x: Value, y: Value) -> Value:
        """What Intel's manual defines: low (or next) 52 bits of the product of two 52-bit words."""
        b = self.b
        wide = ir.VectorType(ir.IntType(128), self.width)
        product = b.mul(
            b.zext(b.and_(x, self.ints(MASK)), wide), b.zext(b.and_(y, self.ints(MASK)), wide)
        )
        if half == "h":
            product = b.lshr(product, ir.Constant(wide, [52] * self.width))
        return b.add(acc, b.and_(b.trunc(product, self.vi), self.ints(MASK)))

    def mac(self, cols: list[Column], at: int, x: Value, y: Value) -> None:
        for half, col in (("l", cols[at]), ("h", cols[at + 1])):
            start = self.ints(0) if col.value is None else col.value
            col.value = self._madd(half, start, x, y)

    def digit(self, total: Value) -> Value:
        return self.b.and_(total, self.ints(MASK))

    def low_product(self, x: Value, y: Value) -> Value:
        return self._madd("l", self.ints(0), x, y)

    def word_of_limb(self, x: Value) -> Column:
        return Column(x)

    def top(self, total: Value) -> Value:
        return total

    def _signed_carry(self, terms: list[Value]) -> Element:
        """Signed columns of a value that is not negative -> limbs."""
        out = []
        for k in range(LIMBS - 1):
            out.append(self.b.and_(terms[k], self.ints(MASK)))
            terms[k + 1] = self.b.add(terms[k + 1], self.b.ashr(terms[k], self.ints(52)))
        return [*out, terms[LIMBS - 1]]

    def add(self, x: Element, y: Element) -> Element:
        return self._signed_carry([self.b.add(u, v) for u, v in zip(x, y, strict=True)])

    def sub(self, x: Element, y: Element) -> Element:
        return self._signed_carry(
            [
                self.b.add(self.b.sub(u, v), self.const(K_SIXTEEN + i))
                for i, (u, v) in enumerate(zip(x, y, strict=True))
            ]
        )

    def sub_fold(self, x: Element, y: Element) -> Element:
        return self.fold(self.sub(x, y))

    def sub2_fold(self, x: Element, y: Element, z: Element) -> Element:
        """The fold of x - y - z + 32 q, which is wide."""
        terms = [self.b.sub(self.b.sub(u, v), w) for u, v, w in zip(x, y, z, strict=True)]
        raised = [self.b.add(t, self.const(K_THIRTYTWO + i)) for i, t in enumerate(terms)]
        return self.fold(self._signed_carry(raised))

    def sub_normal(self, x: Element, y: Element) -> Element:
        return self.sub_fold(x, y)

    def sub2_normal(self, x: Element, y: Element, z: Element) -> Element:
        return self.sub2_fold(x, y, z)

    def pack_folded(self, x: Element) -> list[Value]:
        return self.join_words(x)

    def norm(self, x: Element) -> Element:
        return x

    def butterfly(self, x: Element, t: Element) -> tuple[Element, Element]:
        """(x + t, x - t + 8 q): t < 48 q^2 / 2^260 + 5 q < 6 q."""
        difference = [
            self.b.add(self.b.sub(u, v), self.const(K_EIGHT + i))
            for i, (u, v) in enumerate(zip(x, t, strict=True))
        ]
        return self.add(x, t), self._signed_carry(difference)

    def negate_where(self, x: Element, mask: Value) -> Element:
        terms = [self.b.sub(self.const(K_TWICE + i), v) for i, v in enumerate(x)]
        minus = self._signed_carry(terms)
        chosen = self.b.icmp_unsigned("!=", mask, self.ints(0))
        return [self.b.select(chosen, m, v) for m, v in zip(minus, x, strict=True)]

    def from_digits(self, d: list[Value], *, packed: bool) -> Element:
        return d

    def remainder(self, x: Element) -> list[Column]:
        scaled = self._madd("h", self.ints(0), x[LIMBS - 1], self.const(K_QUOTIENT))
        quotient = self.b.lshr(scaled, self.ints(45))
        products = [Column() for _ in range(LIMBS + 1)]
        for j in range(LIMBS):
            self.mac(products, j, quotient, self.const(K_MODULUS + j))
        terms = [self.b.sub(v, c.total(self, 0)) for v, c in zip(x, products[:LIMBS], strict=True)]
        return [Column(v) for v in self._signed_carry(terms)]


class Ifma52Emulated(Ifma52):
    """Ifma52 with its two primitives spelled out: slow, but bit for bit the same on any CPU."""

    name = "ifma-emulated"
    emulated = True
