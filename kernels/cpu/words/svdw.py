"""Hash to G1 of many messages: `kernels.hash_to_curve`, in batches on 64-bit words.

A batch shares two inversions: one for the denominators of the map, one for the sums of its two
images. The rest is square roots, 1.75 for each image on average, each a power of 252 bits.
Not constant-time: what is hashed here is public.
"""

from __future__ import annotations

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

UNIFORM_BYTES = 2 * one.FIELD_BYTES  # what `expand_message_xmd` gives for each message
_BATCH = 2 * CHUNK  # field elements: the two of each sum
_WINDOW = 4  # bits of an exponent's digit
_EXPONENT = (P + 1) // 4  # p = 3 mod 4: of a square, this power is a root
_DIGITS = np.array(
    [_EXPONENT >> i & (1 << _WINDOW) - 1 for i in range(0, _EXPONENT.bit_length(), _WINDOW)][::-1]
)
_CONSTANTS = words_from_ints(
    (value << MONT_BITS) % P for value in (one.C1, one.C2, one.C3, one.C4, one.Z, 1 << 192)
)


@kernel(signature="uint64(uintp, uintp)")
def fp_sqrt(out: int, a: int) -> np.uint64:
    """out = a^((p + 1)/4); whether that is a root of a. The two do not coincide."""
    table, square = stack(64), stack(4)
    fp_set_one(table)
    for i in range(15):
        fp_mul(table + 32 * (i + 1), table + 32 * i, a)
    copy(out, table + 32 * _DIGITS[0])
    for i in range(1, len(_DIGITS)):
        for _ in range(_WINDOW):
            fp_sqr(out, out)
        if _DIGITS[i] != 0:
            fp_mul(out, out, table + 32 * _DIGITS[i])
    fp_sqr(square, out)
    return is_equal(square, a)


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


@kernel(signature="uint64(uintp, uintp, uintp)")
def _lift(point: int, x: int, u: int) -> int:
    """point = (x, y) with y of u's parity; whether there is such a point of the curve."""
    square = stack(4)
    fp_sqr(square, x)
    fp_mul(square, square, x)
    fp_add_b(square, square)
    if not fp_sqrt(point + 32, square):
        return 0
    copy(point, x)
    if _is_odd(point + 32) != _is_odd(u):
        fp_neg(point + 32, point + 32)
    return 1


@kernel(signature="void(uintp, uintp, uintp, uintp, uintp, uintp)")
def _map(point: int, u: int, t1: int, t2: int, t3: int, k: int) -> None:
    """The map of section 6.6.1 from its line 6 on: t3 = inv0(t1 t2) is there."""
    t4, x = stack(4), stack(4)
    fp_mul(t4, u, t1)
    fp_mul(t4, t4, t3)
    fp_mul(t4, t4, k + 64)
    fp_sub(x, k + 32, t4)
    if _lift(point, x, u):
        return
    fp_add(x, k + 32, t4)
    if _lift(point, x, u):
        return
    fp_sqr(x, t2)
    fp_mul(x, x, t3)
    fp_sqr(x, x)
    fp_mul(x, x, k + 96)
    fp_add(x, x, k + 128)
    _lift(point, x, u)


@kernel(signature="void(uint64[:,::1], uint64[:,::1], uint64[:,::1], uint64[:,::1])")
def _map_all(raw: U64, points: U64, work: U64, constants: U64) -> None:
    """A point for each number: uint64[m, 6] to uint64[m, 8].

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
        _map(address(points) + 64 * i, row + 64, row + 96, row + 128, t3, k)


def map_to_g1(uniform: bytes) -> G1Array:
    """A point for every `UNIFORM_BYTES` bytes: the sum of the images of its two numbers.

    cost : about 36 us each, on one thread; the GIL is released meanwhile
    Raises ValueError for bytes of another length.
    """
    if len(uniform) % UNIFORM_BYTES:
        raise ValueError(f"{len(uniform)} bytes are no multiple of {UNIFORM_BYTES}")
    big_endian = np.frombuffer(uniform, dtype=">u8").reshape(-1, 6)
    numbers = np.ascontiguousarray(big_endian[:, ::-1], dtype=np.uint64)
    out = np.empty((len(numbers) // 2, 8), dtype=np.uint64)
    images, work = np.empty((_BATCH, 8), np.uint64), np.empty((_BATCH, 21), np.uint64)
    pairs, sums = addition_workspace()
    for first in range(0, len(numbers), _BATCH):
        part = numbers[first : first + _BATCH]
        n = len(part) // 2
        _map_all(part, images, work, _CONSTANTS)
        pairs[:n] = _list_sums(out, first // 2, images, n)
        batch_add(pairs, n, sums)
    return G1Array(out)


def _list_sums(out: U64, first: int, images: U64, n: int) -> Int64Array:
    """Addresses (out, left, right) of the sums of neighbours."""
    k = np.arange(n)
    targets = out.ctypes.data + 64 * (first + k)
    return np.stack([targets, images.ctypes.data + 128 * k, images.ctypes.data + 128 * k + 64], 1)
