"""Powers in F_p of whole numbers, for the square roots of points on the wire: `kernels.encoding`.

Not constant-time: what is decoded is public.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from kernels.bn254 import P
from kernels.cpu.compile.jit import kernel
from kernels.cpu.compile.memory import stack
from kernels.cpu.words.affine_sum import fp_set_one
from kernels.cpu.words.scalar64 import copy, fp_from_mont, fp_mul, fp_sqr, fp_to_mont
from kernels.numpy_types import Int64Array

_WINDOW = 4  # bits of an exponent's digit


@kernel(signature="void(uintp, int64[::1])")
def _power(a: int, digits: Int64Array) -> None:
    """a becomes its power, plain words both; digits of the exponent, the greatest first."""
    table, t = stack(64), stack(4)
    fp_set_one(table)
    fp_to_mont(t, a)
    for i in range(15):
        fp_mul(table + 32 * (i + 1), table + 32 * i, t)
    copy(t, table + 32 * digits[0])
    for i in range(1, len(digits)):
        for _ in range(_WINDOW):
            fp_sqr(t, t)
        if digits[i] != 0:
            fp_mul(t, t, table + 32 * digits[i])
    fp_from_mont(a, t)


@lru_cache(maxsize=16)
def _list_digits(exponent: int) -> Int64Array:
    places = range(0, max(exponent.bit_length(), 1), _WINDOW)
    digits = [exponent >> place & (1 << _WINDOW) - 1 for place in places]
    return np.array(digits[::-1], dtype=np.int64)


def power_fp(a: int, exponent: int) -> int:
    """a^exponent mod p, for 0 <= a < p and an exponent that is not negative.

    cost : 12 us for 254 bits, an eighth of Python's
    Raises ValueError for another number.
    """
    if not 0 <= a < P or exponent < 0:
        raise ValueError("a power is of a number in [0, p), with an exponent of at least 0")
    words = np.frombuffer(a.to_bytes(32, "little"), dtype=np.uint64).copy()
    _power(words.ctypes.data, _list_digits(exponent))
    return int.from_bytes(words.tobytes(), "little")
