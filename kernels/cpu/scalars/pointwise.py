"""F_r elementwise: one pass over memory each, on 64-bit words (`kernels.cpu.words.scalar64`).

Arrays keep their shape, and two operands must have equal shapes, else ShapeError (a ValueError).
Work is split into ranges of elements, one per thread of the pool; every result is canonical, so it
does not depend on the split.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kernels.array import U64, FrArray, FrMont, require_foldable, words_from_ints
from kernels.bn254 import MONT_BITS, MONT_R2_R, R
from kernels.cpu.compile.jit import kernel
from kernels.cpu.compile.memory import stack
from kernels.cpu.pool import Pool
from kernels.cpu.words.scalar64 import copy, fr_add, fr_inverse, fr_mul, fr_sub, is_zero
from kernels.errors import ShapeError

ELEMENT_BYTES = 32
MIN_RANGE = 512  # elements, so that no two threads write to one page
COST_NS, POWER_NS, INVERSE_NS = 20, 30, 120  # of an element
FOLD_RANGE = 256
INVERSION_CHUNK = 4096  # elements per inversion: their 128 kB are still cached on the way back


# -- kernels: addresses of elements ---------------------------------------------------------------


@kernel(signature="void(uintp, uintp, uintp, int64)")
def _add_all(out: int, a: int, b: int, n: int) -> None:
    for i in range(n):
        fr_add(out + 32 * i, a + 32 * i, b + 32 * i)


@kernel(signature="void(uintp, uintp, uintp, int64)")
def _sub_all(out: int, a: int, b: int, n: int) -> None:
    for i in range(n):
        fr_sub(out + 32 * i, a + 32 * i, b + 32 * i)


@kernel(signature="void(uintp, uintp, uintp, int64)")
def _mul_all(out: int, a: int, b: int, n: int) -> None:
    for i in range(n):
        fr_mul(out + 32 * i, a + 32 * i, b + 32 * i)


@kernel(signature="void(uintp, uintp, uintp, int64)")
def _mul_one(out: int, a: int, factor: int, n: int) -> None:
    """a_i * factor / 2^256 of stored words: scaling, and both changes of form."""
    for i in range(n):
        fr_mul(out + 32 * i, a + 32 * i, factor)


@kernel(signature="int64(uintp, uintp, int64)")
def _invert_all(out: int, a: int, n: int) -> int:
    """out_i = 1 / a_i by Montgomery's trick; returns the index of the first zero, or -1."""
    running, inverse = stack(4), stack(4)
    for start in range(0, n, INVERSION_CHUNK):
        end = min(start + INVERSION_CHUNK, n)
        if is_zero(a + 32 * start):
            return start
        copy(running, a + 32 * start)
        for i in range(start + 1, end):  # out_i = a_start ... a_(i-1)
            if is_zero(a + 32 * i):
                return i
            copy(out + 32 * i, running)
            fr_mul(running, running, a + 32 * i)
        fr_inverse(inverse, running)
        for i in range(end - 1, start, -1):  # inverse = 1 / (a_start ... a_i)
            fr_mul(out + 32 * i, out + 32 * i, inverse)
            fr_mul(inverse, inverse, a + 32 * i)
        copy(out + 32 * start, inverse)
    return -1


@kernel(signature="void(uintp, uintp, uintp, int64)")
def _powers_all(out: int, first: int, base: int, n: int) -> None:
    """out_i = first * base^i for n >= 1."""
    copy(out, first)
    for i in range(1, n):
        fr_mul(out + 32 * i, out + 32 * i - 32, base)


@kernel(signature="void(uintp, uintp, uintp, int64)")
def _dot_all(total: int, a: int, b: int, n: int) -> None:
    """total += sum a_i b_i."""
    product = stack(4)
    for i in range(n):
        fr_mul(product, a + 32 * i, b + 32 * i)
        fr_add(total, total, product)


@kernel(signature="void(uintp, uintp, uintp, int64, int64, int64, int64)")
def _fold_all(out: int, a: int, level: int, first: int, last: int, n: int, m: int) -> None:
    """out_i = sum_q a_(q n + i) level^q for first <= i < last, by Horner's rule; m >= n elements.

    By ranges that stay in the first-level cache while their parts of `a` stream by.
    """
    for start in range(first, last, FOLD_RANGE):
        end = min(start + FOLD_RANGE, last)
        for i in range(start, end):
            copy(out + 32 * i, a + 32 * ((m - 1 - i) // n * n + i))
        for q in range((m - 1 - start) // n - 1, -1, -1):
            for i in range(start, end):
                if q < (m - 1 - i) // n:
                    fr_mul(out + 32 * i, out + 32 * i, level)
                    fr_add(out + 32 * i, out + 32 * i, a + 32 * (q * n + i))


# -- functions ------------------------------------------------------------------------------------

_Binary = Callable[[int, int, int, int], None]


def _address(words: U64, element: int = 0) -> int:
    return int(words.ctypes.data) + ELEMENT_BYTES * element


def _count(a: FrArray | FrMont) -> int:
    return a.data.size // a.WORDS


def _require_equal_shapes(a: FrMont, b: FrMont) -> None:
    if a.shape != b.shape:
        raise ShapeError(f"shapes differ: {list(a.shape)} and {list(b.shape)}")


def _combine(pool: Pool, run: _Binary, a: FrMont, b: FrMont) -> FrMont:
    _require_equal_shapes(a, b)
    out = np.empty_like(a.data)

    def part(first: int, last: int) -> None:
        run(_address(out, first), _address(a.data, first), _address(b.data, first), last - first)

    pool.ranges(_count(a), part, cost_ns=COST_NS, multiple=MIN_RANGE)
    return FrMont(out)


def _times(pool: Pool, words: U64, factor: int) -> U64:
    """words * factor / 2^256 mod r, elementwise and as stored; 0 <= factor < r."""
    out, constant = np.empty_like(words), words_from_ints([factor])

    def part(first: int, last: int) -> None:
        _mul_one(_address(out, first), _address(words, first), _address(constant), last - first)

    pool.ranges(words.size // 4, part, cost_ns=COST_NS, multiple=MIN_RANGE)
    return out


def to_mont(pool: Pool, a: FrArray) -> FrMont:
    """The same scalars in Montgomery form."""
    return FrMont(_times(pool, a.data, MONT_R2_R))


def from_mont(pool: Pool, a: FrMont) -> FrArray:
    """The same scalars in canonical form."""
    return FrArray(_times(pool, a.data, 1))


def add(pool: Pool, a: FrMont, b: FrMont) -> FrMont:
    """a + b, elementwise."""
    return _combine(pool, _add_all, a, b)


def sub(pool: Pool, a: FrMont, b: FrMont) -> FrMont:
    """a - b, elementwise."""
    return _combine(pool, _sub_all, a, b)


def mul(pool: Pool, a: FrMont, b: FrMont) -> FrMont:
    """a b, elementwise."""
    return _combine(pool, _mul_all, a, b)


def scale(pool: Pool, a: FrMont, factor: int) -> FrMont:
    """factor * a, factor any integer (taken mod r)."""
    return FrMont(_times(pool, a.data, (factor << MONT_BITS) % R))


def batch_inverse(pool: Pool, a: FrMont) -> FrMont:
    """1 / a, elementwise. Cost: 3 products per element and an inversion per 4096.

    Raises ZeroDivisionError naming the first zero's index in row-major order.
    """
    out = np.empty_like(a.data)
    zeros: list[int] = []

    def part(first: int, last: int) -> None:
        zero = _invert_all(_address(out, first), _address(a.data, first), last - first)
        if zero >= 0:
            zeros.append(first + zero)

    pool.ranges(_count(a), part, cost_ns=INVERSE_NS, multiple=MIN_RANGE)
    if zeros:
        raise ZeroDivisionError(f"batch_inverse: element {min(zeros)} is zero")
    return FrMont(out)


def powers(pool: Pool, base: int, n: int, first: int = 1) -> FrMont:
    """first * base^i for 0 <= i < n, shape [n]; base and first any integers (taken mod r).

    Raises ValueError for n < 0.
    """
    if n < 0:
        raise ValueError(f"powers: n = {n} is negative")
    out = np.empty((n, FrMont.WORDS), dtype=np.uint64)
    step = FrMont.from_ints([base]).data

    def part(start: int, end: int) -> None:
        leading = FrMont.from_ints([first * pow(base, start, R)]).data
        _powers_all(_address(out, start), _address(leading), _address(step), end - start)

    pool.ranges(n, part, cost_ns=POWER_NS, multiple=MIN_RANGE)
    return FrMont(out)


def fold(pool: Pool, a: FrMont, n: int, level: int) -> FrMont:
    """a(X) mod X^n - level, shape [n]; see `Backend.fold`. Cost: a product per coefficient."""
    require_foldable(a, n)
    out = np.empty((n, FrMont.WORDS), dtype=np.uint64)
    constant, m = FrMont.from_ints([level]).data, len(a)

    def part(first: int, last: int) -> None:
        _fold_all(_address(out), _address(a.data), _address(constant), first, last, n, m)

    pool.ranges(n, part, cost_ns=COST_NS * -(-m // n), multiple=min(MIN_RANGE, n))
    return FrMont(out)


def dot(pool: Pool, a: FrMont, b: FrMont) -> int:
    """sum a_i b_i mod r over all elements, as a canonical integer."""
    _require_equal_shapes(a, b)
    totals: list[int] = []

    def part(first: int, last: int) -> None:
        total = FrMont.zeros(1)
        _dot_all(
            _address(total.data), _address(a.data, first), _address(b.data, first), last - first
        )
        totals.extend(total.to_ints())

    pool.ranges(_count(a), part, cost_ns=COST_NS, multiple=MIN_RANGE)
    return sum(totals) % R
