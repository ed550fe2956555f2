"""The Fma52 lowering of `kernels.cpu.emit52`: 4 lanes of doubles, AVX2 and FMA."""

from __future__ import annotations

from llvmlite import ir

from kernels.cpu.emit52 import (
    BIAS,
    HALF,
    K_MODULUS,
    K_QUOTIENT,
    LIMBS,
    MASK,
    Column,
    Element,
    Emitter52,
    Value,
    bits_of,
)

_HIGH = 1.5 * 2.0**104  # its ulp is 2^52
_UNIT = 2.0**52
_CENTER = 1.5 * 2.0**52


class Fma52(Emitter52):
    """4 doubles (AVX2 + FMA), rounding toward zero; limbs in [-2^51, 2^51]."""

    width = 4
    name = "avx2"
    word = ir.DoubleType()
    bias = BIAS
    half = HALF
    butterfly_growth = 2
    packed_offset = sum(HALF << (52 * i) for i in range(LIMBS - 1))

    def reals(self, v: float) -> Value:
        return ir.Constant(self.vw, [float(v)] * self.width)

    def _fma(self, x: Value, y: Value, z: Value) -> Value:
        name = f"llvm.fma.v{self.width}f64"
        module = self.b.module
        fn = module.globals.get(name)
        if fn is None:
            fn = ir.Function(module, ir.FunctionType(self.vw, [self.vw] * 3), name)
        return self.b.call(fn, [x, y, z])

    def _halves(self, x: Value, y: Value) -> tuple[Value, Value]:
        high = self._fma(x, y, self.reals(_HIGH))
        low = self._fma(x, y, self.b.fsub(self.reals(_HIGH + _UNIT), high))
        return self.b.bitcast(high, self.vi), self.b.bitcast(low, self.vi)

    def mac(self, cols: list[Column], at: int, x: Value, y: Value) -> None:
        high, low = self._halves(x, y)
        cols[at + 1].put(self.b, high, -bits_of(_HIGH))
        cols[at].put(self.b, low, -bits_of(_UNIT))

    def _limb(self, digit: Value, offset: float) -> Value:
        raised = self.b.or_(digit, self.ints(bits_of(_UNIT)))
        return self.b.fsub(self.b.bitcast(raised, self.vw), self.reals(_UNIT + offset))

    def digit(self, total: Value) -> Value:
        return self._limb(self.b.and_(total, self.ints(MASK)), float(HALF))

    def low_product(self, x: Value, y: Value) -> Value:
        _, low = self._halves(x, y)
        return self.digit(self.b.add(low, self.ints(HALF)))

    def word_of_limb(self, x: Value) -> Column:
        raised = self.b.fadd(x, self.reals(_CENTER))
        return Column(self.b.bitcast(raised, self.vi), -bits_of(_CENTER))

    def top(self, total: Value) -> Value:
        raised = self.b.add(total, self.ints(bits_of(_CENTER)))
        return self.b.fsub(self.b.bitcast(raised, self.vw), self.reals(_CENTER))

    def add(self, x: Element, y: Element) -> Element:
        """Normal + normal -> lazy."""
        return [self.b.fadd(u, v) for u, v in zip(x, y, strict=True)]

    def sub(self, x: Element, y: Element) -> Element:
        """Normal - normal -> lazy."""
        return [self.b.fsub(u, v) for u, v in zip(x, y, strict=True)]

    def difference(self, x: Element, y: Element, z: Element) -> Element:
        return self.sub(self.sub(x, y), z)

    def sub_normal(self, x: Element, y: Element) -> Element:
        """Bounds add up: the caller knows that the difference stays below 16 q."""
        return self.norm(self.sub(x, y))

    def sub2_normal(self, x: Element, y: Element, z: Element) -> Element:
        return self.norm(self.difference(x, y, z))

    def pack_folded(self, x: Element) -> list[Value]:
        raised = [self.b.fadd(v, self.reals(_UNIT + HALF)) for v in x[: LIMBS - 1]]
        raised.append(self.b.fadd(x[LIMBS - 1], self.reals(_UNIT)))
        words = [self.b.and_(self.b.bitcast(v, self.vi), self.ints(MASK)) for v in raised]
        return self.join_words(words)

    def norm(self, x: Element) -> Element:
        """Lazy -> normal, the same value."""
        out = []
        carry = None
        for k in range(LIMBS - 1):
            v = x[k] if carry is None else self.b.fadd(x[k], carry)
            up = self.b.fadd(self.b.fadd(v, self.reals(float(HALF))), self.reals(_HIGH))
            whole = self.b.fsub(up, self.reals(_HIGH))
            out.append(self.b.fsub(v, whole))
            carry = self.b.fmul(whole, self.reals(2.0**-52))
        return [*out, self.b.fadd(x[LIMBS - 1], carry)]

    def butterfly(self, x: Element, t: Element) -> tuple[Element, Element]:
        return self.norm(self.add(x, t)), self.norm(self.sub(x, t))

    def negate_where(self, x: Element, mask: Value) -> Element:
        """-x in the lanes whose mask word is all ones, x where it is zero."""
        sign = self.b.and_(mask, self.ints(1 << 63))
        return [self.b.bitcast(self.b.xor(self.b.bitcast(v, self.vi), sign), self.vw) for v in x]

    def from_digits(self, d: list[Value], *, packed: bool) -> Element:
        offset = float(HALF) if packed else 0.0
        return [self._limb(v, offset if i < LIMBS - 1 else 0.0) for i, v in enumerate(d)]

    def remainder(self, x: Element) -> list[Column]:
        x = self.norm(x)
        estimate = self._fma(x[LIMBS - 1], self.const(K_QUOTIENT), self.reals(-(2.0**-40)))
        quotient = self.b.fsub(self.b.fadd(estimate, self.reals(_CENTER)), self.reals(_CENTER))
        negative = self.b.fsub(self.reals(-0.0), quotient)
        x[-1] = self._fma(negative, self.const(K_MODULUS + LIMBS - 1), x[-1])  # exact: below 2^53
        cols = [self.word_of_limb(v) for v in x]
        for j in range(LIMBS - 1):
            self.mac(cols, j, negative, self.const(K_MODULUS + j))
        return cols
