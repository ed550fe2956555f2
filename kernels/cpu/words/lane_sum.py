"""Sums of many streams of long integers, reduced mod r once at the end.

An element of a stream is 48 bytes, little-endian: 12 words of 32 bits. A sum keeps each word in a
signed lane of 64 bits, so that adding is adding lanes, without carries, and a machine's widest
registers do it. 2^30 streams fit.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kernels.array import U64, FrArray, words_from_ints
from kernels.bn254 import MONT_BITS, R
from kernels.cpu.compile.jit import kernel
from kernels.cpu.compile.memory import stack, store_word
from kernels.cpu.words.scalar64 import fr_add, fr_mul
from kernels.numpy_types import Int64Array

ELEMENT_BYTES = 48
LANES = ELEMENT_BYTES // 4
MAX_STREAMS = 1 << 30
_LOW = (1 << 32) - 1
_FACTORS = words_from_ints((pow(2, MONT_BITS, R), pow(2, 2 * MONT_BITS, R)))
_MODULUS = words_from_ints((R,))


@kernel(signature="void(int64[::1], uint32[::1], int64)")
def _add_all(lanes: Int64Array, words: npt.NDArray[np.uint32], n: int) -> None:
    for i in range(n):
        lanes[i] += np.int64(words[i])


@kernel(signature="void(int64[::1], uint32[::1], int64)")
def _sub_all(lanes: Int64Array, words: npt.NDArray[np.uint32], n: int) -> None:
    for i in range(n):
        lanes[i] -= np.int64(words[i])


@kernel(signature="void(uintp, int64[::1], uintp, uint64[:,::1], int64)")
def _reduce_all(out: int, lanes: Int64Array, factors: int, modulus: U64, n: int) -> None:
    """out_e = sum_i lanes_(12 e + i) 2^(32 i) mod r.

    holds : the sum is low + 2^256 high with 0 <= low < 2^256 and |high| < 2^160; high + r is
            positive and below 2r. fr_mul(low, 2^256 mod r) = low mod r, since
            2^256 mod r < 0.3 r keeps the product below 5 r^2; fr_mul(high + r, 2^512 mod r) is the
            rest.
    """
    low, high = stack(4), stack(4)
    words = np.empty(8, dtype=np.uint64)
    for e in range(n):
        carry = np.int64(0)
        for i in range(6):
            first = lanes[12 * e + 2 * i] + carry
            second = lanes[12 * e + 2 * i + 1] + (first >> 32)
            words[i] = np.uint64(first & _LOW) | (np.uint64(second & _LOW) << np.uint64(32))
            carry = second >> 32
        words[6], words[7] = np.uint64(carry), np.uint64(carry >> 63)
        over = np.uint64(0)
        for i in range(4):
            store_word(low + 8 * i, np.int64(words[i]))
            part = words[4 + i] + over
            over = np.uint64(part < over)
            part += modulus[0, i]
            over += np.uint64(part < modulus[0, i])
            store_word(high + 8 * i, np.int64(part))
        fr_mul(low, low, factors)
        fr_mul(high, high, factors + 32)
        fr_add(out + 32 * e, low, high)


def reduce_lanes(lanes: Int64Array) -> FrArray:
    """sum_i 2^(32 i) lanes_ei mod r for every element e, shape [n].

    lanes : int64[n * LANES], LANES for each element, below 2^62 in absolute value
    """
    n = len(lanes) // LANES
    out = np.empty((n, 4), dtype=np.uint64)
    _reduce_all(out.ctypes.data, lanes, _FACTORS.ctypes.data, _MODULUS, n)
    return FrArray(out)


class LaneSum:
    """A sum of n elements, at first zero. Not for use by two threads at once."""

    def __init__(self, n: int) -> None:
        self._lanes = np.zeros(n * LANES, dtype=np.int64)

    def add(self, stream: npt.NDArray[np.uint32], *, sign: int) -> None:
        """Adds sign (1 or -1) times a stream: uint32[12 n], little-endian words."""
        if len(stream) != len(self._lanes):
            raise ValueError(f"a stream of {len(stream)} words for a sum of {len(self._lanes)}")
        (_add_all if sign > 0 else _sub_all)(self._lanes, stream, len(stream))

    def reduce(self) -> FrArray:
        """The sum mod r, shape [n]."""
        return reduce_lanes(self._lanes)
