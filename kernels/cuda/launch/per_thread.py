"""numba.cuda kernels of one shape: the same Python function for every index, one thread each.

On a GPU the function is compiled by numba.cuda; on the emulated device by numba for the host, index
after index. Both compile the same source, so what the tests run is what a GPU runs. (Under
NUMBA_ENABLE_CUDASIM=1 numba.cuda itself runs it, in Python.)

A function is written for both: all arithmetic in int64, no arrays of its own, no barriers, and
atomics only through the function that it is built with:

    def build(atomic_add):            # atomic_add(array, index, amount) -> value before
        def body(i, counts, values):  # thread i
            atomic_add(counts, values[i], 1)
        return body

    count = PerThread(build)
    count(device, n, counts, values)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
from numba import cuda, njit  # the simulator finds `cuda` among a function's globals
from numba.core import config

from kernels.cuda.launch.faults import explain
from kernels.cuda.launch.runtime import Device, ceil_div

BLOCK = 256
VERSIONS = ("numba-cuda", "numba", "numpy")
"""Packages that must know each other."""

# Small grids are what small inputs need: a warning at each such launch tells nobody anything.
config.CUDA_LOW_OCCUPANCY_WARNINGS = 0

Body = Callable[..., None]
AtomicAdd = Callable[[Any, Any, Any], Any]
Jit = Callable[[Any], Any]
Build = Callable[[Jit, AtomicAdd], Body]


class PerThread:
    """A kernel: `kernel(device, n, *arguments)` runs its function for 0 <= i < n.

    arguments : arrays of the device, C-contiguous, and Python ints (int64 in the kernel)
    errors    : DeviceError; what fails later on the GPU is reported by the device's next copy
    """

    def __init__(self, build: Build) -> None:
        self._build = build

    def __call__(self, device: Device, n: int, *arguments: Any) -> None:
        if not all(isinstance(a, int) or device.holds(a) for a in arguments):
            raise TypeError("a kernel's arguments are arrays of its device and integers")
        if n == 0:
            return
        if device.emulated:
            self._on_host(np.int64(n), *map(_plain, arguments))
            return
        with numba_faults():
            launch_on_gpu(self._on_gpu, n, [_foreign(a) for a in arguments])

    @cached_property
    def _on_host(self) -> Any:
        body = njit(self._build(njit, plain_add))

        def run(n: Any, *arguments: Any) -> None:
            for i in range(n):
                body(i, *arguments)

        return njit(run)

    @cached_property
    def _on_gpu(self) -> Any:
        return compile_for_gpu(self._build)


@njit
def plain_add(array: Any, index: Any, amount: Any) -> Any:
    """`atomic_add` of one thread."""
    before = array[index]
    array[index] = before + amount
    return before


def compile_for_gpu(build: Build) -> Any:
    """The kernel `(n, (arguments))` of numba.cuda. Works under the CUDA simulator as well.

    A tuple because numba.cuda launches no kernel with `*arguments`: it would drop all but one.
    """

    @cuda.jit(device=True)
    def atomic_add(array: Any, index: Any, amount: Any) -> Any:
        return cuda.atomic.add(array, index, amount)

    body = cuda.jit(device=True)(build(cuda.jit(device=True), atomic_add))

    @cuda.jit
    def run(n: Any, arguments: tuple[Any, ...]) -> None:
        i = cuda.grid(1)
        if i < n:
            body(i, *arguments)

    return run


def launch_on_gpu(kernel: Any, n: int, arguments: list[Any], block: int = BLOCK) -> None:
    """Start n threads on CUDA's default stream, the one that cupy uses."""
    kernel[ceil_div(n, block), block](np.int64(n), tuple(arguments))


@contextmanager
def numba_faults() -> Iterator[None]:
    """Every fault of numba.cuda as a DeviceError that tells what failed, and no values."""
    try:
        yield
    except Exception as error:  # numba has no common class for errors of driver and compiler
        raise explain("numba.cuda", error, versions=VERSIONS) from error


def _plain(argument: Any) -> Any:
    return np.int64(argument) if isinstance(argument, int) else np.asarray(argument)


def _foreign(argument: Any) -> Any:
    """cupy's memory as numba's array, without waiting: both work in the same stream."""
    if isinstance(argument, int):
        return np.int64(argument)
    return cuda.as_cuda_array(argument, sync=False)
