"""What the code around the kernels may use of a device: memory, modules, launches, faults.

Two devices exist: `kernels.cuda.launch.device.CupyDevice` (a GPU) and `EmulatedDevice` of the tests
(the same sources built by g++, on NumPy arrays). Code that launches kernels is written against the
protocols below and never imports cupy:

    module = device.load_module("ntt")              # src/ntt.cu; compiled once, then kept
    out = device.empty((n, 4), np.uint64)           # cupy.ndarray or numpy.ndarray
    a = device.asarray(host_array)                  # always a copy
    module.kernel("butterflies")((grid, 1, 1), (256, 1, 1), (out, a, np.uint64(n)), shared_bytes=0)
    host = device.to_host(out)                      # waits for the work before it

Rules
 * Kernel arguments are device arrays (C-contiguous) and scalars of exactly the type that the kernel
   declares: np.uint32 or np.uint64. A Python int is refused: its width would be a guess.
 * A method of the backend works inside `with device.active():`, which makes the device, its memory
   pool and its stream those of the thread; glue outside would go to another device.
 * Two more streams work beside: one for `copy_aside`, one for what is launched inside `beside()`.
   What crosses from one stream to another is behind a `Mark` of the one for which the other has
   waited: what it reads, and what is written over what it read. Inside `beside()` nothing is
   allocated, and nothing that it uses is dropped before the device's own stream has waited for it.
 * Arrays of a device are made by that device. `device.xp` is numpy or cupy, for glue that both do
   alike (slices, cumsum, arange, reshape); arithmetic on words wraps, so keep it to counts.
 * A kernel starts in the order of the launches, after the launches before it. Arrays may be dropped
   at any time: memory goes back to a pool in the same order.
 * Everything that goes wrong on the device is a DeviceError. After one, build a new device.
 * Launch sizes: grid and block are (x, y, z); a grid with a zero starts nothing. A kernel is never
   launched with more threads per block than its source's ZK_KERNEL(n).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from kernels.cuda.launch.per_thread import Form, PerThread

T = TypeVar("T")

Dim = tuple[int, int, int]
Array = Any
"""cupy.ndarray on a GPU, numpy.ndarray in the emulator."""


class Kernel(Protocol):
    """One kernel of a module."""

    def __call__(
        self,
        grid: Dim,
        block: Dim,
        args: Sequence[Any],
        *,
        shared_bytes: int = 0,
        reads: Sequence[Array] = (),
    ) -> None:
        """Start it. Raises TypeError for arguments of a wrong kind, DeviceError for a fault.

        reads : arrays that it reads by addresses which are in its arguments
        """
        ...


class Module(Protocol):
    """One compiled source."""

    def kernel(self, name: str) -> Kernel:
        """The kernel of that name. Raises KeyError if the source exports none."""
        ...


class Threads(Protocol):
    """A `kernels.cuda.launch.per_thread.PerThread` kernel, compiled."""

    def __call__(self, n: int, arguments: tuple[Any, ...], /) -> None:
        """Start n >= 1 threads on arguments of its form. Raises DeviceError."""
        ...


class Mark(Protocol):
    """All that a stream had to do at one time."""

    def wait(self) -> None:
        """What the current stream is given from now on finds it done; the host does not wait."""
        ...


class Device(Protocol):
    """One GPU, or its emulation."""

    @property
    def name(self) -> str: ...

    @property
    def xp(self) -> Any:
        """numpy or cupy."""
        ...

    @property
    def n_processors(self) -> int:
        """Streaming multiprocessors: how many blocks make the device busy."""
        ...

    @property
    def memory_bytes(self) -> int:
        """The cap under which all arrays of this device together stay."""
        ...

    @property
    def free_bytes(self) -> int:
        """What the cap leaves for new arrays now."""
        ...

    def active(self, of: object | None = None) -> AbstractContextManager[None]:
        """Make this the thread's current device, and every fault inside a DeviceError.

        of : what is done inside is done again and again for this object, which can be referred to
             weakly: it finds its arrays at the same addresses, while the object lives
        """
        ...

    def load_module(self, name: str) -> Module:
        """`src/NAME.cu`, compiled (or taken from the cache) at the first call."""
        ...

    def load_threads(self, kernel: PerThread, form: Form) -> Threads:
        """The kernel for arguments of a form, compiled (or taken from the cache) at the first."""
        ...

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array: ...
    def zeros(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array: ...

    def clear(self, array: Array) -> None:
        """Zero bytes."""
        ...

    def asarray(self, host: npt.NDArray[Any]) -> Array:
        """A copy on the device."""
        ...

    def upload_constant(self, host: npt.NDArray[Any]) -> Array:
        """`asarray` of what is the same whenever a phase is done: a tape keeps it."""
        ...

    def address(self, array: Array) -> int:
        """Where the array begins, for kernels that are given it in an argument."""
        ...

    def beside(self) -> AbstractContextManager[None]:
        """What is launched inside goes to a second stream, beside the work of the first."""
        ...

    def mark(self) -> Mark:
        """What the current stream has been given so far."""
        ...

    def copy_aside(self, target: Array, host: npt.NDArray[Any], *, after: Mark) -> Mark:
        """Start to fill an array of the device beside the work that it has.

        host  : of the same shape and type; it may change as soon as this returns
        after : behind which nothing uses the array until the mark that this returns. (New arrays
                are used before: their memory may have been another's.)
        """
        ...

    def holds(self, array: Array) -> bool:
        """Whether the array is one of a device, not of the host."""
        ...

    def to_host(self, array: Array) -> npt.NDArray[Any]:
        """A copy on the host, after all work started before."""
        ...

    def synchronize(self) -> None:
        """Wait for all work. Raises DeviceError if any of it failed."""
        ...

    def replay(
        self, name: Hashable, given: Sequence[Array], work: Callable[[Sequence[Array]], T]
    ) -> T:
        """work(given): launches that depend on nothing but the name, and on the given arrays' sizes
        and values. Inside `active(of)` they are recorded once and started again then; the result
        is good until the next time. A phase that uploads, clears, waits or brings something down
        is done each time; operations of `xp` are no launches and must not be in it.
        """
        ...

    def spoil_tape(self) -> None:
        """What is done now, beside launches, is not to be replayed: keep no record of it."""
        ...


def check_launch(kernel: str, max_threads: int, grid: Dim, block: Dim, args: Sequence[Any]) -> None:
    """What both devices refuse before a launch: these are our own mistakes, so TypeError."""
    if len(grid) != 3 or len(block) != 3 or min(*grid, *block) < 0:
        raise TypeError(f"{kernel}: grid {grid} and block {block} must be three sizes each")
    n_threads = block[0] * block[1] * block[2]
    if not 1 <= n_threads <= max_threads:
        raise TypeError(f"{kernel}: {n_threads} threads per block, {max_threads} at most")
    if grid[0] >= 1 << 31 or max(grid[1:]) >= 1 << 16:
        raise TypeError(f"{kernel}: grid {grid} is larger than any device takes")
    for i, argument in enumerate(args):
        if isinstance(argument, np.uint32 | np.uint64):
            continue
        if not hasattr(argument, "flags") or not argument.flags.c_contiguous:
            kind = type(argument).__name__
            raise TypeError(f"{kernel}: argument {i} is {kind}, neither a word nor a whole array")


def ceil_div(a: int, b: int) -> int:
    """The least integer that is at least a / b."""
    return -(-a // b)


def grid_for(n: int, block: int) -> Dim:
    """Blocks of `block` threads for n threads in one dimension."""
    return ceil_div(n, block), 1, 1
