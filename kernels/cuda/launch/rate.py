"""How fast a device multiplies: wide multiply-adds, and products in F_p as a share of that bound.

Both measurements keep one block of 1024 threads busy on every processor, in registers. Their
results are known: `expect_multiply_adds` and `expect_products` compute them on the host.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from kernels.array import U64, words_from_ints
from kernels.bn254 import MONT_BITS, P
from kernels.cuda.launch.runtime import Array, Device

BLOCK = 1024
CHAINS = 8  # of multiply-adds in a thread
PER_STEP = 16  # multiply-adds of a chain in a step
MULTIPLY_ADD_STEPS = 1 << 13  # 20 ms at 32 per processor and cycle
PRODUCT_STEPS = 1 << 14  # 40 ms at that bound
WIDE_PER_PRODUCT = 132  # 128 wide multiply-adds; 8 low products, of which two cost as much as one
FACTOR = 0x9E3779B1
FP_FACTOR = pow(7, 200, P)

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True, eq=False)
class Rate:
    """Work done and how long it took.

    n_operations : of all processors together
    cycles       : the slowest processor's own count
    words        : what was computed, uint64[n_processors * BLOCK, ...]
    """

    n_operations: int
    n_processors: int
    seconds: float
    cycles: int
    words: U64

    @property
    def per_second(self) -> float:
        """The rate of all processors."""
        return self.n_operations / self.seconds

    @property
    def per_cycle(self) -> float:
        """The rate of one processor, by its own clock."""
        return self.n_operations / self.n_processors / self.cycles


def measure_multiply_adds(
    device: Device, n_steps: int = MULTIPLY_ADD_STEPS, clock: Clock = perf_counter
) -> Rate:
    """PER_STEP * n_steps multiply-adds of 32 x 32 + 64 bits in each chain of each thread."""
    with device.active():
        out = device.empty((device.n_processors * BLOCK,), np.uint64)
        arguments = (np.uint32(FACTOR), np.uint32(n_steps))
        per_thread = CHAINS * PER_STEP * n_steps
        return _measure(device, "repeat_multiply_adds", out, arguments, per_thread, clock)


def expect_multiply_adds(n_processors: int, n_steps: int = MULTIPLY_ADD_STEPS) -> U64:
    """`Rate.words` of `measure_multiply_adds`."""
    index = np.arange(1, CHAINS * BLOCK + 1, dtype=np.uint64)
    x, half, factor = index << np.uint64(32) | index, np.uint64(32), np.uint64(FACTOR)
    for _ in range(PER_STEP * n_steps):
        x += (x >> half) * factor
    return np.tile(x.reshape(BLOCK, CHAINS).sum(axis=1), n_processors)


def measure_products(
    device: Device, n_steps: int = PRODUCT_STEPS, clock: Clock = perf_counter
) -> Rate:
    """n_steps Montgomery products in F_p by each thread, each with the last one's result."""
    with device.active():
        out = device.empty((device.n_processors * BLOCK, 4), np.uint64)
        starts = device.asarray(words_from_ints(_starts()))
        factor = device.asarray(words_from_ints([FP_FACTOR]))
        arguments = (starts, factor, np.uint32(n_steps))
        return _measure(device, "repeat_products", out, arguments, n_steps, clock)


def expect_products(n_processors: int, n_steps: int = PRODUCT_STEPS) -> U64:
    """`Rate.words` of `measure_products`."""
    power = pow(FP_FACTOR * pow(2, -MONT_BITS, P), n_steps, P)
    return np.tile(words_from_ints([x * power % P for x in _starts()]), (n_processors, 1))


def _starts() -> list[int]:
    return [pow(3, i + 1, P) for i in range(BLOCK)]


def _measure(
    device: Device,
    name: str,
    out: Array,
    arguments: tuple[object, ...],
    per_thread: int,
    clock: Clock,
) -> Rate:
    n = device.n_processors
    kernel = device.load_module("rate").kernel(name)
    cycles = device.zeros((n,), np.uint64)
    device.synchronize()
    start = clock()
    kernel((n, 1, 1), (BLOCK, 1, 1), (out, cycles, *arguments))
    device.synchronize()
    seconds = clock() - start
    slowest = int(device.to_host(cycles).max())
    return Rate(n * BLOCK * per_thread, n, seconds, slowest, device.to_host(out))
