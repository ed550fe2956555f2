"""The Fma52 lowering of `kernels.cpu.lanes.emit52`: 4 lanes of doubles, AVX2 and FMA."""

from __future__ import annotations

from llvmlite import ir

from kernels.cpu.compile.emit import Value, declare
from kernels.cpu.lanes.emit52 import (
    BIAS,
    HALF,
    K_MODULUS,
    K_QUOTIENT,
    LIMBS,
    MASK,
    Column,
    Element,
    Emitter52,
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
    signed = True

    def reals(self, v: float) -> Value:
        return ir.Constant(self.vw, [float(v)] * self.width)

    def _fma(self, x: Value, y: Value, z: Value) -> Value:
        fma = declare(self.b.module, f"llvm.fma.v{self.width}f64", self.vw, [self.vw] * 3)
        return self.b.call(fma, [x, y, z])

    def _halves(self, x: Value, y: Value) -> tuple[Value, Value]:
        high = self._fma(x, y, self.reals(_HIGH))
        low = self._fma(x, y, self.b.fsub(self.reals(_HIGH + _UNIT), high))
        return self.b.bitcast(high, self.vi), self.b.bitcast(low, self.vi)

    def mac(self, cols: list[Column], at: int, x: Value, y: Value) -> None:
        """One block of assembly: left to itself, LLVM computes all halves first and spills them."""
        high, low = cols[at + 1], cols[at]
        sums = [c.value for c in (high, low) if c.value is not None]
        names = [f"${i}" for i in range(4)]  # results: halves, or sums with halves as scratch
        n_results = 2 + len(sums)
        first = n_results + len(sums)
        a, b, big, bigger = (f"${first + i}" for i in range(4))
        spare = iter(names[2:])
        t_high = next(spare) if high.value is not None else names[0]
        t_low = next(spare) if low.value is not None else names[1]
        text = [
            f"vmovapd {big}, {t_high}",
            f"vfmadd231pd {a}, {b}, {t_high}",
            f"vsubpd {t_high}, {bigger}, {t_low}",
            f"vfmadd231pd {a}, {b}, {t_low}",
        ]
        text += [f"vpaddq {t_high}, $0, $0"] if high.value is not None else []
        text += [f"vpaddq {t_low}, $1, $1"] if low.value is not None else []
        tied = [str(i) for i, c in enumerate((high, low)) if c.value is not None]
        constraints = ",".join(["=&x"] * n_results + tied + ["x"] * 4)
        words = ir.LiteralStructType([self.vi] * n_results)
        signature = ir.FunctionType(words, [self.vi] * len(sums) + [self.vw] * 4)
        asm = ir.InlineAsm(signature, "\n\t".join(text), constraints, side_effect=False)
        result = self.b.call(asm, [*sums, x, y, self.reals(_HIGH), self.reals(_HIGH + _UNIT)])
        high.value, low.value = (self.b.extract_value(result, i) for i in range(2))
        high.offset -= bits_of(_HIGH)
        low.offset -= bits_of(_UNIT)

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
        return [self.b.fadd(u, v) for u, v in zip(x, y, strict=True)]

    def sub(self, x: Element, y: Element) -> Element:
        return [self.b.fsub(u, v) for u, v in zip(x, y, strict=True)]

    def sub_normal(self, x: Element, y: Element) -> Element:
        return self.norm(self.sub(x, y))

    def sub2_normal(self, x: Element, y: Element, z: Element) -> Element:
        return self.norm(self.sub(self.sub(x, y), z))

    def pack_folded(self, x: Element) -> list[Value]:
        raised = [self.b.fadd(v, self.reals(_UNIT + HALF)) for v in x[: LIMBS - 1]]
        raised.append(self.b.fadd(x[LIMBS - 1], self.reals(_UNIT)))
        words = [self.b.and_(self.b.bitcast(v, self.vi), self.ints(MASK)) for v in raised]
        return self.join_words(words)

    def norm(self, x: Element) -> Element:
        """v - floor((v + 2^51) / 2^52) 2^52, limb after limb; additions that round toward zero
        take the floor of what is not negative."""
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
        sign = self.b.and_(mask, self.ints(1 << 63))
        return [self.b.bitcast(self.b.xor(self.b.bitcast(v, self.vi), sign), self.vw) for v in x]

    def from_digits(self, d: list[Value], *, packed: bool) -> Element:
        offset = float(HALF) if packed else 0.0
        return [self._limb(v, offset if i < LIMBS - 1 else 0.0) for i, v in enumerate(d)]

    def low_digits(self, cols: list[Column]) -> list[Value]:
        """All four at once: each takes the carry from below as it is, |digit| <= 2^51 + 2^6."""
        totals = [cols[k].total(self, HALF + BIAS) for k in range(4)]
        carries = [self.b.lshr(t, self.ints(52)) for t in totals]
        low = [self.digit(totals[0])]
        # digit + carry may take 53 bits, so they become doubles before they are added
        raise_bits, offset = self.ints(bits_of(_UNIT)), self.reals(2 * _UNIT + HALF + (BIAS >> 52))
        for k in range(1, 4):
            digit = self.b.or_(self.b.and_(totals[k], self.ints(MASK)), raise_bits)
            carry = self.b.or_(carries[k - 1], raise_bits)
            part = self.b.fsub(self.b.bitcast(digit, self.vw), offset)
            low.append(self.b.fadd(part, self.b.bitcast(carry, self.vw)))
        cols[4].put(self.b, carries[3], -(BIAS >> 52))
        return low

    def remainder(self, x: Element) -> list[Column]:
        return self._remainder([self.word_of_limb(v) for v in x[: LIMBS - 1]], x[LIMBS - 1])

    def _remainder(self, low: list[Column], top: Value) -> list[Column]:
        """`remainder` of columns; those below the top may be sums of three normal limbs.

        They change x / q by less than 2^-44, so the estimate, lowered by 2^-40, is never too high.
        """
        estimate = self._fma(top, self.const(K_QUOTIENT), self.reals(-(2.0**-40)))
        quotient = self.b.fsub(self.b.fadd(estimate, self.reals(_CENTER)), self.reals(_CENTER))
        negative = self.b.fsub(self.reals(-0.0), quotient)
        top = self._fma(negative, self.const(K_MODULUS + LIMBS - 1), top)  # exact: below 2^53
        cols = [*low, self.word_of_limb(top)]
        for j in range(LIMBS - 1):
            self.mac(cols, j, negative, self.const(K_MODULUS + j))
        return cols

    def _difference(self, x: Element, *others: Element) -> list[Column]:
        """Columns of x minus the others, all with normal limbs, below the top."""
        cols = []
        for k in range(LIMBS - 1):
            col = self.word_of_limb(x[k])
            for y in others:
                term = self.word_of_limb(y[k])
                col = Column(self.b.sub(col.value, term.value), col.offset - term.offset)
            cols.append(col)
        return cols

    def sub_fold(self, x: Element, y: Element) -> Element:
        top = self.b.fsub(x[-1], y[-1])
        return self.carry(self._remainder(self._difference(x, y), top))

    def sub2_fold(self, x: Element, y: Element, z: Element) -> Element:
        top = self.b.fsub(self.b.fsub(x[-1], y[-1]), z[-1])
        return self.carry(self._remainder(self._difference(x, y, z), top))
