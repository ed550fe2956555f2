"""Hash to G1 of many messages: `kernels.hash_to_curve`, in batches on 64-bit words.

A batch shares two inversions: one for the denominators of the map, one for the sums of its two
images. The rest is square roots, 1.75 for each image on average, each a power of 252 bits: a batch
asks for those of all first candidates, then of the second ones where the first is on no point, then
of the third. Whoever has wider arithmetic than words hands in its own way to take them.
Not constant-time: what is hashed here is public.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from kernels import hash_to_curve as one
from kernels.array import U64, G1Array, words_from_ints
from kernels.bn254 import MONT_BITS, P
from kernels.cpu.compile.jit import kernel
from kernels.cpu.compile.memory import address, load_word, stack, store_word
from kernels.cpu.words.affine_sum import CHUNK, addition_workspace, batch_add, fp_set_one, pop, push
from kernels.cpu.words.group import fp_add_b
from kernels.cpu.words.scalar64 import (
    copy,
    fp_add,
    fp_from_mont,
    fp_inverse,
    fp_mul,
    fp_neg,
    fp_sqr,
    fp_sub,
    fp_to_mont,
    is_equal,
    is_zero,
)
from kernels.numpy_types import Int64Array

Roots: TypeAlias = Callable[[U64], U64]
"""uint64[n, 4] to the powers (p + 1)/4, canonical in Montgomery form both."""

UNIFORM_BYTES = 2 * one.FIELD_BYTES  # what `expand_message_xmd` gives for each message
_BATCH = 2 * CHUNK  # field elements: the two of each sum
WINDOW = 4  # bits of an exponent's digit
_EXPONENT = (P + 1) // 4  # p = 3 mod 4: of a square, this power is a root
ROOT_DIGITS = np.array(
    [_EXPONENT >> i & (1 << WINDOW) - 1 for i in range(0, _EXPONENT.bit_length(), WINDOW)][::-1]
)
_CONSTANTS = words_from_ints(
    (value << MONT_BITS) % P for value in (one.C1, one.C2, one.C3, one.C4, one.Z, 1 << 192)
)


@kernel(signature="void(uint64[:,::1], uint64[:,::1])")
def _take_roots(out: U64, a: U64) -> None:
    """out[i] = a[i]^((p + 1)/4), which is a root of a[i] if it has any."""
    table = stack(64)
    for i in range(len(a)):
        base, root = address(a) + 32 * i, address(out) + 32 * i
        fp_set_one(table)
        for j in range(15):
            fp_mul(table + 32 * (j + 1), table + 32 * j, base)
        copy(root, table + 32 * ROOT_DIGITS[0])
        for j in range(1, len(ROOT_DIGITS)):
            for _ in range(WINDOW):
                fp_sqr(root, root)
            if ROOT_DIGITS[j] != 0:
                fp_mul(root, root, table + 32 * ROOT_DIGITS[j])


def take_roots(a: U64) -> U64:
    """`Roots` on 64-bit words: 10 us each."""
    out = np.empty_like(a)
    _take_roots(out, a)
    return out


@kernel(signature="void(uintp, uintp, uintp)")
def _reduce(out: int, raw: int, shift: int) -> None:
    """out = the number of 6 words at `raw` mod p, in Montgomery form; shift is 2^192 in it."""
    low, high = stack(4), stack(4)
    for i in range(3):
        store_word(low + 8 * i, load_word(raw + 8 * i))
        store_word(high + 8 * i, load_word(raw + 24 + 8 * i))
    store_word(low + 24, 0)
    store_word(high + 24, 0)
    fp_to_mont(low, low)
    fp_to_mont(high, high)
    fp_mul(high, high, shift)
    fp_add(out, low, high)


@kernel(signature="uint64(uintp)")
def _is_odd(a: int) -> np.uint64:
    """sgn0 of RFC 9380."""
    canonical = stack(4)
    fp_from_mont(canonical, a)
    return load_word(canonical) & np.uint64(1)


@kernel(signature="void(uintp, uintp, uintp, uintp, uintp, uintp)")
def _set_candidates(x: int, u: int, t1: int, t2: int, t3: int, k: int) -> None:
    """x1, x2, x3 of section 6.6.1 from its line 6 on: t3 = inv0(t1 t2) is there."""
    t4 = stack(4)
    fp_mul(t4, u, t1)
    fp_mul(t4, t4, t3)
    fp_mul(t4, t4, k + 64)
    fp_sub(x, k + 32, t4)
    fp_add(x + 32, k + 32, t4)
    fp_sqr(t4, t2)
    fp_mul(t4, t4, t3)
    fp_sqr(t4, t4)
    fp_mul(t4, t4, k + 96)
    fp_add(x + 64, t4, k + 128)


@kernel(signature="void(uint64[:,::1], uint64[:,::1], uint64[:,::1], uint64[:,::1])")
def _list_candidates(raw: U64, xs: U64, work: U64, constants: U64) -> None:
    """Three x for each number, the first of which on the curve is its image's.

    raw  : uint64[m, 6]; xs : uint64[m, 12]
    work : uint64[m, 21], rows of (product so far, denominator or 1, u, t1, t2, whether it is 0)
    """
    running, t3, k = stack(4), stack(4), address(constants)
    fp_set_one(running)
    for i in range(len(raw)):
        row = address(work) + 168 * i
        den, u, t1, t2 = row + 32, row + 64, row + 96, row + 128
        _reduce(u, address(raw) + 48 * i, k + 160)
        fp_sqr(t1, u)
        fp_mul(t1, t1, k)
        fp_add(t2, k + 128, t1)
        fp_sub(t1, k + 128, t1)
        fp_mul(den, t1, t2)
        store_word(row + 160, is_zero(den))
        if is_zero(den):
            fp_set_one(den)
        push(row, running)
    fp_inverse(running, running)
    for j in range(len(raw)):
        i = len(raw) - 1 - j
        row = address(work) + 168 * i
        pop(t3, row, running)
        if load_word(row + 160) != 0:
            fp_sub(t3, t3, t3)
        _set_candidates(address(xs) + 96 * i, row + 64, row + 96, row + 128, t3, k)


@kernel(signature="void(uint64[:,::1], uint64[:,::1], int64[::1], int64)")
def _evaluate(squares: U64, xs: U64, index: Int64Array, which: int) -> None:
    """squares[j] = x^3 + 3 for x the candidate `which` of number index[j]."""
    for j in range(len(index)):
        x, square = address(xs) + 96 * index[j] + 32 * which, address(squares) + 32 * j
        fp_sqr(square, x)
        fp_mul(square, square, x)
        fp_add_b(square, square)


@kernel(
    signature="int64(uint64[:,::1], uint64[:,::1], uint64[:,::1], uint64[:,::1], uint64[:,::1], "
    "int64[::1], int64)"
)
def _accept(
    points: U64, xs: U64, work: U64, squares: U64, roots: U64, index: Int64Array, which: int
) -> int:
    """points[index[j]] = (x, y), y of the parity of u, where roots[j] is a root of squares[j].

    Returns how many are left; they come first in `index`.
    """
    square, left = stack(4), 0
    for j in range(len(index)):
        i, root = index[j], address(roots) + 32 * j
        fp_sqr(square, root)
        if not is_equal(square, address(squares) + 32 * j):
            index[left] = i
            left += 1
            continue
        point = address(points) + 64 * i
        copy(point, address(xs) + 96 * i + 32 * which)
        copy(point + 32, root)
        if _is_odd(point + 32) != _is_odd(address(work) + 168 * i + 64):
            fp_neg(point + 32, point + 32)
    return left


def _map_all(raw: U64, points: U64, memory: tuple[U64, U64], roots: Roots) -> None:
    """A point for each number: uint64[m, 6] to uint64[m, 8].

    memory : candidates and work of `_list_candidates`
    """
    xs, work = memory
    _list_candidates(raw, xs, work, _CONSTANTS)
    index = np.arange(len(raw))
    for which in range(3):  # the third is on the curve where the others are not
        squares = np.empty((len(index), 4), np.uint64)
        _evaluate(squares, xs, index, which)
        index = index[: _accept(points, xs, work, squares, roots(squares), index, which)]
        if not len(index):
            return


def map_to_g1(uniform: bytes, roots: Roots = take_roots) -> G1Array:
    """A point for every `UNIFORM_BYTES` bytes: the sum of the images of its two numbers.

    roots : how square roots are taken; all ways give the same points
    cost  : about 36 us each on words and one thread; the GIL is released meanwhile
    Raises ValueError for bytes of another length.
    """
    if len(uniform) % UNIFORM_BYTES:
        raise ValueError(f"{len(uniform)} bytes are no multiple of {UNIFORM_BYTES}")
    big_endian = np.frombuffer(uniform, dtype=">u8").reshape(-1, 6)
    numbers = np.ascontiguousarray(big_endian[:, ::-1], dtype=np.uint64)
    out = np.empty((len(numbers) // 2, 8), dtype=np.uint64)
    images = np.empty((_BATCH, 8), np.uint64)
    memory = np.empty((_BATCH, 12), np.uint64), np.empty((_BATCH, 21), np.uint64)
    pairs, sums = addition_workspace()
    for first in range(0, len(numbers), _BATCH):
        part = numbers[first : first + _BATCH]
        n = len(part) // 2
        _map_all(part, images, memory, roots)
        pairs[:n] = _list_sums(out, first // 2, images, n)
        batch_add(pairs, n, sums)
    return G1Array(out)


def _list_sums(out: U64, first: int, images: U64, n: int) -> Int64Array:
    """Addresses (out, left, right) of the sums of neighbours."""
    k = np.arange(n)
    targets = out.ctypes.data + 64 * (first + k)
    return np.stack([targets, images.ctypes.data + 128 * k, images.ctypes.data + 128 * k + 64], 1)
