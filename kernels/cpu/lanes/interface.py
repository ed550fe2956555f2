"""What lanes are to the kernels over them: operations, sizes, constants, aligned memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np

from kernels.array import U64


def aligned_words(n: int) -> U64:
    """n zero words that start on a multiple of 128 bytes (a G2 record, two cache lines)."""
    raw = np.zeros(n + 15, dtype=np.uint64)
    skip = (-raw.ctypes.data % 128) // 8
    return raw[skip : skip + n]


Unary: TypeAlias = Callable[[int, int, int], None]  # (d, x, k)
Binary: TypeAlias = Callable[[int, int, int, int], None]  # (d, x, y, k)
Ternary: TypeAlias = Callable[[int, int, int, int, int], None]  # (d, x, y, z, k)
Butterfly: TypeAlias = Callable[[int, int, int, int], None]  # (x, y, w, k)
Gather: TypeAlias = Callable[[int, int, int, int, int, int], None]
Unpack: TypeAlias = Callable[[int, int, int, int], None]  # (d, p, stride, k)
Pack: TypeAlias = Callable[[int, int, int, int], None]  # (p, stride, x, k)


class LaneOps(NamedTuple):
    """Operations over blocks of W elements of one field, for numba code: memory to memory.

    Every operand is an address (int64), a block's a multiple of 8 W. What normal, wide, lazy and
    folded elements are, and the bounds of each operation: `kernels.cpu.lanes.emit52`. `k` is a
    field's constant table. `d` may be one of the operands.

    mul(d, x, y, k)        d = x y / 2^radix          x lazy, y normal
    sqr(d, x, k)           d = x^2 / 2^radix          x normal
    add, sub(d, x, y, k)   lazy
    norm(d, x, k)          lazy -> wide
    fold(d, x, k)          wide -> folded
    sub_fold(d, x, y, k), sub2_fold(d, x, y, z, k)                   x - y (- z) -> folded
    add_normal, sub_normal(d, x, y, k), sub2_normal(d, x, y, z, k)   x +- y (- z) -> wide
    butterfly(x, y, w, k)  (x, y) = (x + w y, x - w y), w one canonical element for all lanes
    butterfly_one(x, y, k) the same for w = 1, 0 <= y < 2^256
    gather(d, base, refs, offset, stride, k)
                           packed elements at base + (ref >> 1) * stride + offset; refs: W words
    gather_signed          the same, negated where ref & 1
    unpack(d, p, stride, k)          W plain elements (4 words each, stride bytes apart) -> lazy
    unpack_packed(d, p, stride, k)   W packed elements -> wide
    pack(p, stride, x, k)            wide -> W packed elements
    pack_folded(p, stride, x, k)     folded (the result of a fold) -> W packed elements
    pack_canonical(p, stride, x, k)  wide -> W plain elements in [0, q)
    """

    mul: Binary
    sqr: Unary
    add: Binary
    sub: Binary
    norm: Unary
    fold: Unary
    sub_fold: Binary
    sub2_fold: Ternary
    add_normal: Binary
    sub_normal: Binary
    sub2_normal: Ternary
    butterfly: Butterfly
    butterfly_one: Unary
    gather: Gather
    gather_signed: Gather
    unpack: Unpack
    unpack_packed: Unpack
    pack: Pack
    pack_folded: Pack
    pack_canonical: Pack


class Rounding(NamedTuple):
    """What a kernel calls around vector arithmetic: state = before(), at the end after(state)."""

    before: Callable[[], np.uint64]
    after: Callable[[np.uint64], None]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Lanes:
    """One lowering: its operations and the constant tables of both fields.

    ops_p, ops_r  the operations over F_p and F_r
    rounding      the state of the processor's rounding that they need
    width         elements per block
    block         bytes per block
    limbs         words per element inside a block
    radix_bits    elements stand for x * 2^radix_bits
    packed_offset added to every packed element (four words)
    row_one, row_from_256, row_to_256   rows of the constant tables: 1, and the factors (as
                  elements) that take x * 2^256 to x * 2^radix and back
    fold_stages   butterflies an element survives between two folds, starting below 2^256
    limb_words    limb_words(x, modulus): uint64[n, limbs], the words of elements 0 <= x < modulus
    """

    name: str
    ops_p: LaneOps
    ops_r: LaneOps
    rounding: Rounding
    width: int
    block: int
    limbs: int
    radix_bits: int
    packed_offset: int
    fold_stages: int
    row_one: int
    row_from_256: int
    row_to_256: int
    table_p: U64
    table_r: U64
    limb_words: Callable[[list[int], int], U64]

    @property
    def p(self) -> int:
        """Address of the constants mod p."""
        return int(self.table_p.ctypes.data)

    @property
    def r(self) -> int:
        """Address of the constants mod r."""
        return int(self.table_r.ctypes.data)

    @property
    def one_p(self) -> int:
        """Address of a block of ones in F_p."""
        return self.p + 8 * self.width * self.row_one

    def splat_words(self, values: list[int], modulus: int) -> U64:
        """Elements as `butterfly` takes them: uint64[n, limbs] with the words of x * 2^radix."""
        return self.limb_words([(v << self.radix_bits) % modulus for v in values], modulus)
