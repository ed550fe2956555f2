"""Square roots in F_p of many, on the lanes: what hashing to G1 spends its time on."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TypeAlias

import numpy as np

from kernels.array import U64
from kernels.cpu.compile.jit import kernel
from kernels.cpu.compile.memory import address, load_word, store_word
from kernels.cpu.lanes.choice import get_lanes
from kernels.cpu.lanes.interface import aligned_words
from kernels.cpu.words.svdw import ROOT_DIGITS, WINDOW, Roots

_SIGNATURE = "void(int64, int64, int64, uint64[::1], int64, int64)"
Power: TypeAlias = Callable[[int, int, int, U64, int, int], None]
_TABLE = 1 << WINDOW
_BLOCKS = _TABLE + 2  # the table, the base, the power


@cache
def _get_power(lanes_name: str) -> Power:
    """power(source, target, n, work, k, one): a^((p + 1)/4) of n plain elements."""
    lanes = get_lanes(lanes_name)
    width, block = lanes.width, lanes.block
    unpack, mul, sqr = lanes.ops_p.unpack, lanes.ops_p.mul, lanes.ops_p.sqr
    pack_canonical = lanes.ops_p.pack_canonical
    before, after = lanes.rounding
    row, from_256, to_256 = 8 * width, lanes.row_from_256, lanes.row_to_256

    @kernel(key=lanes_name, signature=_SIGNATURE)
    def power(source: int, target: int, n: int, work: U64, k: int, one: int) -> None:
        """Elements are in 2^256-Montgomery form; n is rounded up to W: both have room."""
        state = before()
        table = address(work)
        base, x = table + _TABLE * block, table + (_TABLE + 1) * block
        for i in range(block // 8):
            store_word(table + 8 * i, load_word(one + 8 * i))
        for g in range((n + width - 1) // width):
            unpack(x, source + 32 * width * g, 32, k)
            mul(base, x, k + row * from_256, k)
            for i in range(_TABLE - 1):
                mul(table + (i + 1) * block, table + i * block, base, k)
            for i in range(block // 8):
                store_word(x + 8 * i, load_word(table + ROOT_DIGITS[0] * block + 8 * i))
            for i in range(1, len(ROOT_DIGITS)):
                for _ in range(WINDOW):
                    sqr(x, x, k)
                if ROOT_DIGITS[i] != 0:
                    mul(x, x, table + ROOT_DIGITS[i] * block, k)
            mul(x, x, k + row * to_256, k)
            pack_canonical(target + 32 * width * g, 32, x, k)
        after(state)

    return power


def make_roots(lanes_name: str) -> Roots:
    """`kernels.cpu.words.svdw.take_roots` in these lanes: 2 us each on IFMA, of 10."""
    lanes, power = get_lanes(lanes_name), _get_power(lanes_name)

    def take(a: U64) -> U64:
        n, padded = len(a), -(-len(a) // lanes.width) * lanes.width
        source, target = aligned_words(4 * padded), aligned_words(4 * padded)
        source[: 4 * n] = a.reshape(-1)
        work = aligned_words(_BLOCKS * lanes.block // 8)
        power(source.ctypes.data, target.ctypes.data, n, work, lanes.p, lanes.one_p)
        return np.ascontiguousarray(target[: 4 * n].reshape(n, 4))

    return take
