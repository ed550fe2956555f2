"""What lanes are to the kernels over them: operations, sizes, constants, aligned memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels.array import U64


def aligned_words(n: int) -> U64:
    """n zero words that start on a multiple of 128 bytes (a G2 record, two cache lines)."""
    raw = np.zeros(n + 15, dtype=np.uint64)
    skip = (-raw.ctypes.data % 128) // 8
    return raw[skip : skip + n]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Lanes:
    """One lowering: its operations and the constant tables of both fields.

    ops_p, ops_r  the intrinsics over F_p and F_r (`VectorOps`, or scalar ones of the same names)
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
    ops_p: Any
    ops_r: Any
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
