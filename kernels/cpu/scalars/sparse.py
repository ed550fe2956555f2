"""Sparse matrices over F_r: products with a vector, and transposition.

Nearly all coefficients of a constraint system are +1, -1 or small. So a row is summed as integers,
positive and negative terms apart, each c * z a product of 1 x 4 words; only the row's total T is
reduced mod r, once. With |c| < 2^62 and z < r < 2^254 a row of at most 2^57 entries (more than can
be stored) has |T| < 2^373, so sums fit in 6 words.

The reduction takes the quotient in two digits (Barrett, CRYPTO '86; S = 58 bits):

    V = T + 2^120 r          0 < V < 2^375, since 2^373 < 2^120 r
    V = H 2^S + L            H mod r by a quotient digit below 2^64, then (H mod r) 2^S + L likewise
    digit                    q = floor(floor(x / 2^253) floor(2^317 / r) / 2^64)

where floor(x / 2^253) < 2^64: for x = H since V < 2^375, and for the second x since it is below
r 2^S. The three roundings lower q by less than 2^253 / r < 0.67, by less than the fraction cut from
2^317 / r times floor(x / 2^253) / 2^64 < 0.34 * 0.63, and by less than 1: together by less than 2,
so x - q r is in [0, 2r).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from llvmlite import ir
from numba import types

from kernels.array import FrMont, SparseMatrix
from kernels.bn254 import R
from kernels.cpu.compile.emit import I64, Emitter, Routine, Value, words_of
from kernels.cpu.compile.jit import kernel
from kernels.cpu.compile.memory import prefetch, stack
from kernels.cpu.pool import Pool
from kernels.cpu.words.scalar64 import fr_mul
from kernels.errors import ShapeError
from kernels.numpy_types import Int64Array, UInt32Array

I128, I256, I384 = ir.IntType(128), ir.IntType(256), ir.IntType(384)
SUM_WORDS = 6
LIFT = R << 120  # makes a row's total positive
SHIFT = 58  # S above
QUOTIENT_SHIFT = 253  # floor(log2 r)
RECIPROCAL = (1 << (QUOTIENT_SHIFT + 64)) // R
JOBS_PER_THREAD = 4  # a late or disturbed thread then delays by a quarter of its share
COST_NS = 10  # of a row, and of an entry
AHEAD = 16  # entries between the request of a vector element and its use


# -- routines -------------------------------------------------------------------------------------


def _plus_product(
    e: Emitter, total: Sequence[Value], words: Sequence[Value], factor: Value
) -> list[Value]:
    """total + factor * words mod 2^(64 len(total)).

    A word: (2^64 - 1)^2 + 2 (2^64 - 1) = 2^128 - 1, so product, old word and carry fit in 128 bits.
    """
    b = e.builder
    carry, out = I128(0), []
    wide = b.zext(factor, I128)
    for k, word in enumerate(total):
        value = b.add(b.zext(word, I128), carry)
        if k < len(words):
            value = b.add(value, b.mul(wide, b.zext(words[k], I128)))
        out.append(b.trunc(value, I64))
        carry = b.lshr(value, I128(64))
    return out


def _accumulate(e: Emitter, sums: Value, element: Value, factor: Value) -> None:
    """sums (6 words) += factor * element (4 words)."""
    words = _plus_product(e, e.load_words(sums, SUM_WORDS), e.load_words(element), factor)
    e.store(sums, e.join(words, 64 * SUM_WORDS), SUM_WORDS)


def _modulo(e: Emitter, value: Value) -> Value:
    """value mod r as an i256, for an i384 value whose quotient by 2^253 is below 2^64."""
    b = e.builder
    top = b.trunc(b.lshr(value, I384(QUOTIENT_SHIFT)), I64)
    scaled = b.mul(b.zext(top, I128), I128(RECIPROCAL))
    digit = b.trunc(b.lshr(scaled, I128(64)), I64)
    low = [b.trunc(b.lshr(value, I384(64 * k)), I64) for k in range(4)]
    negated = [I64(w) for w in words_of((1 << 256) - R, 4)]
    rest = e.join(_plus_product(e, low, negated, digit), 256)  # value - digit r, below 2r
    less = b.sub(rest, I256(R))
    return b.select(b.icmp_unsigned("<", rest, I256(R)), rest, less)


def _reduce(e: Emitter, out: Value, sums: Value) -> None:
    """out = (positive - negative) mod r, of two sums of 6 words each."""
    b = e.builder
    positive, negative = e.load(sums, SUM_WORDS), e.load(e.at(sums, SUM_WORDS), SUM_WORDS)
    value = b.add(b.sub(positive, negative), I384(LIFT))
    high = b.zext(_modulo(e, b.lshr(value, I384(SHIFT))), I384)
    low = b.and_(value, I384((1 << SHIFT) - 1))
    e.store(out, _modulo(e, b.or_(b.shl(high, I384(SHIFT)), low)))


def _clear(e: Emitter, sums: Value) -> None:
    for k in range(2 * SUM_WORDS):
        e.builder.store(I64(0), e.at(sums, k))


accumulate = Routine("fr.accumulate", "ppi", _accumulate).intrinsic()
reduce_sums = Routine("fr.reduce_sums", "pp", _reduce).intrinsic()
clear = Routine("clear_sums", "p", _clear).intrinsic()


# -- the product ----------------------------------------------------------------------------------


def _readable(element: types.Type) -> types.Array:
    """numba type of a vector that need not be writable."""
    return types.Array(element, 1, "C", readonly=True)


_WIDE = SparseMatrix.WIDE


@kernel(
    signature=types.void(
        _readable(types.int64),
        _readable(types.uint32),
        _readable(types.int64),
        *[types.uintp] * 3,
        *[types.int64] * 2,
    )
)
def _rows(
    indptr: Int64Array,
    cols: UInt32Array,
    coeffs: Int64Array,
    z: int,
    wide: int,
    out: int,
    first: int,
    last: int,
) -> None:
    """out_i = sum_k coeffs_k z_cols_k for first <= i < last; z, wide, out are addresses."""
    sums, product = stack(12), stack(4)
    end = indptr[last]
    for i in range(first, last):
        clear(sums)
        for k in range(indptr[i], indptr[i + 1]):
            if k + AHEAD < end:
                prefetch(z + 32 * cols[k + AHEAD])
            c = coeffs[k]
            element = z + 32 * cols[k]
            if c >= _WIDE:
                fr_mul(product, element, wide + 32 * (c - _WIDE))
                accumulate(sums, product, 1)
            elif c < 0:
                accumulate(sums + 48, element, -c)
            else:
                accumulate(sums, element, c)
        reduce_sums(out + 32 * i, sums)


def _cut_rows(indptr: Int64Array, n_parts: int) -> list[tuple[int, int]]:
    """At most n_parts ranges of rows of about equal cost: that of its entries and one more each."""
    n_rows = len(indptr) - 1
    cost = indptr + np.arange(n_rows + 1)
    targets = np.arange(n_parts + 1) * int(cost[-1]) // n_parts
    cuts = dict.fromkeys(np.searchsorted(cost, targets).tolist())  # np.unique imports numpy.ma
    return list(pairwise(cuts))


def matvec(pool: Pool, m: SparseMatrix, z: FrMont) -> FrMont:
    """m z over F_r, shape [m.n_rows]; z of shape [m.n_cols], else ShapeError.

    cost : per entry 4 word products and a random access (and a product in F_r for an entry of the
           wide table), per row one reduction
    """
    if z.shape != (m.n_cols,):
        raise ShapeError(f"matvec: {m.n_cols} columns times a vector of shape {list(z.shape)}")
    out = np.empty((m.n_rows, FrMont.WORDS), dtype=np.uint64)
    indptr = np.require(m.indptr, None, ("C", "ALIGNED"))
    cols = np.require(m.cols, None, ("C", "ALIGNED"))
    coeffs = np.require(m.coeffs, None, ("C", "ALIGNED"))
    addresses = (z.data.ctypes.data, m.wide.data.ctypes.data, out.ctypes.data)

    def part(first: int, last: int) -> None:
        _rows(indptr, cols, coeffs, *addresses, first, last)

    n_threads = pool.count(m.n_rows + m.nnz, COST_NS)
    n_parts = JOBS_PER_THREAD * n_threads if n_threads > 1 else 1
    pool.each(_cut_rows(indptr, n_parts), part)
    return FrMont(out)
