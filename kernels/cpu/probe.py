"""What the inner operations of the CPU backend cost, in CPU time of one thread.

Minima over repetitions, so that other load on the machine shows as little as it can.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from kernels.array import U64, FrArray, G1Array, G2Array, ints_from_words, words_from_ints
from kernels.bn254 import G1, G2, P
from kernels.cpu.compile.jit import kernel
from kernels.cpu.compile.memory import address
from kernels.cpu.lanes.choice import choose_lanes, get_lanes
from kernels.cpu.lanes.interface import Lanes, aligned_words
from kernels.cpu.msm.fixed_base import FixedBase
from kernels.cpu.msm.pippenger import Msm
from kernels.cpu.pool import Pool

REPETITIONS = 7
_CHAINS = 16  # blocks that are multiplied in turn: independent products between dependent ones
_STEPS = 1000
_LG_BASES = {"g1": 16, "g2": 14}


def field_product_ns(lanes: str) -> float:
    """Nanoseconds of one Montgomery product in F_p, between memory and memory, on one core.

    16 blocks are multiplied by a constant over and over. The last products are compared with
    Python's; raises BackendUnavailable if the host lacks the lanes, ArithmeticError if one differs.
    """
    chosen = get_lanes(choose_lanes(lanes))
    load, multiply, store = _product_kernels(chosen.name)
    n = _CHAINS * chosen.width
    start = [pow(3, i + 1, P) for i in range(n)]
    factors = [pow(5, i + 1, P) for i in range(chosen.width)]
    words = words_from_ints(start + factors)
    blocks = aligned_words((_CHAINS + 1) * chosen.block // 8)

    def run() -> None:
        load(words, blocks, chosen.p)
        multiply(blocks, _STEPS, chosen.p)

    run()
    store(blocks, words, chosen.p)
    # words in and out are those of x * 2^radix, so y's constant factor is y / 2^radix
    powers = [pow(y * pow(2, -chosen.radix_bits, P), _STEPS, P) for y in factors]
    expected = [x * powers[i % chosen.width] % P for i, x in enumerate(start)]
    if ints_from_words(words[:n]) != expected:
        raise ArithmeticError(f"lanes {chosen.name}: wrong products")
    return _least_ns(lambda: multiply(blocks, _STEPS, chosen.p)) / (n * _STEPS)


def bucket_addition_ns(lanes: str, group: str) -> float:
    """Nanoseconds of one point addition inside an MSM with full-width scalars, on one core.

    group : "g1" (2^16 bases) or "g2" (2^14). The time of all bucket sums, lists and memory
    included, over their number of additions. Raises BackendUnavailable if the host lacks the lanes.
    """
    if group not in _LG_BASES:
        raise ValueError(f"unknown group {group!r}; known: {', '.join(_LG_BASES)}")
    n = 1 << _LG_BASES[group]
    msm = Msm(choose_lanes(lanes), 1 if group == "g1" else 2, Pool(1))
    generator = G1Array.from_ints([G1]) if group == "g1" else G2Array.from_ints([G2])
    points = FixedBase(msm).run(FrArray.from_ints(range(1, n + 1)), generator.data)
    bases, scalars = msm.prepare(points), _scalars(n)
    plan = msm.plan(scalars, bases)
    if plan is None:
        raise AssertionError("full-width scalars are not zero")
    entries = msm.sorted_entries(scalars, bases.infinite, plan)
    sizes = np.diff(entries.offsets, axis=1)
    n_additions = int((sizes - 1)[sizes > 0].sum())

    def run() -> None:
        msm.sum_buckets(entries, bases, lambda done, total: None)

    run()
    return _least_ns(run) / n_additions


def _scalars(n: int) -> U64:
    """n fixed scalars of 253 bits."""
    rng = np.random.default_rng(254)
    words: U64 = rng.integers(0, 1 << 64, (n, 4), dtype=np.uint64)
    words[:, 3] >>= np.uint64(3)
    return words


def _least_ns(run: Callable[[], None]) -> float:
    best = float("inf")
    for _ in range(REPETITIONS):
        start = time.thread_time_ns()
        run()
        best = min(best, time.thread_time_ns() - start)
    return best


class _ProductKernels(NamedTuple):
    load: Callable[[U64, U64, int], None]  # (words, blocks, k)
    multiply: Callable[[U64, int, int], None]  # (blocks, steps, k)
    store: Callable[[U64, U64, int], None]  # (blocks, words, k)


@cache
def _product_kernels(lanes_name: str) -> _ProductKernels:
    """Kernels over the words of 16 blocks and one block of factors."""
    lanes: Lanes = get_lanes(lanes_name)
    o, width, block = lanes.ops_p, lanes.width, lanes.block
    unpack, norm, mul, pack_canonical = o.unpack, o.norm, o.mul, o.pack_canonical
    before, after = lanes.rounding

    @kernel(key=lanes_name, signature="void(uint64[:,::1], uint64[::1], int64)")
    def load(words: U64, blocks: U64, k: int) -> None:
        state = before()
        for i in range(_CHAINS + 1):
            x = address(blocks) + i * block
            unpack(x, address(words) + 32 * width * i, 32, k)
            norm(x, x, k)
        after(state)

    @kernel(key=lanes_name, signature="void(uint64[::1], int64, int64)")
    def multiply(blocks: U64, steps: int, k: int) -> None:
        state = before()
        y = address(blocks) + _CHAINS * block
        for _ in range(steps):
            for i in range(_CHAINS):
                x = address(blocks) + i * block
                mul(x, x, y, k)
        after(state)

    @kernel(key=lanes_name, signature="void(uint64[::1], uint64[:,::1], int64)")
    def store(blocks: U64, words: U64, k: int) -> None:
        state = before()
        for i in range(_CHAINS):
            x = address(blocks) + i * block
            pack_canonical(address(words) + 32 * width * i, 32, x, k)
        after(state)

    return _ProductKernels(load, multiply, store)
