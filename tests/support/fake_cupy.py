"""The part of cupy that `kernels.cuda.launch.device` uses, late on purpose.

Copies wait in a queue until somebody waits for them: code that reuses a buffer or reads a result
too early gets wrong values every time, not once in a thousand runs.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace, TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt


class CUDARuntimeError(RuntimeError):
    """As cupy's."""


class CUDADriverError(RuntimeError):
    """As cupy's."""


class OutOfMemoryError(MemoryError):
    """As cupy's."""


class CompileException(Exception):
    """As cupy's."""


class FakeArray:
    """Memory of the device: only `data` reaches it."""

    def __init__(self, host: npt.NDArray[Any]) -> None:
        self.host, self.shape, self.dtype, self.flags = host, host.shape, host.dtype, host.flags
        self.size, self.ndim, self.nbytes = host.size, host.ndim, host.nbytes


class FakeCupy:
    """One driver with `n_devices`. `faults` makes the next operation of a kind fail."""

    ndarray = FakeArray

    def __init__(self, n_devices: int = 1) -> None:
        self.queue: list[Callable[[], object]] = []  # of the main stream
        self.streams = [self.queue]  # those that are current, innermost last
        self.current: list[int] = []
        self.entered: list[int] = []  # all that became current, one after the other
        self.loaded: list[bytes] = []
        self.launched: list[tuple[Any, ...]] = []
        self.fail_launch: Exception | None = None
        self.fail_capture: Exception | None = None
        self.captured: list[tuple[Any, ...]] | None = None
        self.limit = self.n_failing_mallocs = 0
        self.allocators: list[Any] = []  # those that are current, innermost last
        runtime = SimpleNamespace(
            getDeviceCount=lambda: self._count(n_devices),
            getDeviceProperties=lambda i: {
                "name": b"Fake GPU", "multiProcessorCount": 7, "major": 9, "minor": 0,
                "uuid": b"fake",
            },
            deviceGetPCIBusId=lambda i: f"0000:{i:02X}:00.0",
            memGetInfo=lambda: (1000, 2000),
            CUDARuntimeError=CUDARuntimeError,
        )  # fmt: skip
        fake = self

        class Event(_Event):
            cupy = fake

        class Stream(_Stream):
            cupy = fake

        class Module(_Module):
            cupy = fake

        class Device(_Device):
            cupy = fake

        self.cuda = SimpleNamespace(
            runtime=runtime,
            driver=SimpleNamespace(CUDADriverError=CUDADriverError),
            memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
            compiler=SimpleNamespace(CompileException=CompileException),
            function=SimpleNamespace(Module=Module),
            Device=Device,
            Event=Event,
            Stream=Stream,
            MemoryPool=lambda: SimpleNamespace(
                malloc=self._malloc, set_limit=self._set_limit, used_bytes=lambda: 100
            ),
            UnownedMemory=_UnownedMemory,
            MemoryPointer=lambda memory, offset: _Pointer(self, memory.raw, offset, memory),
            alloc_pinned_memory=lambda n: bytearray(n),
            using_allocator=self._using_allocator,
            get_current_stream=lambda: SimpleNamespace(
                synchronize=self.run_all, wait_event=self._wait_event
            ),
        )

    def _count(self, n: int) -> int:
        if n == 0:
            raise CUDARuntimeError("cudaErrorNoDevice")
        return n

    def _set_limit(self, *, size: int) -> None:
        self.limit = size

    @contextmanager
    def _using_allocator(self, malloc: object) -> Iterator[None]:
        self.allocators.append(malloc)
        yield
        self.allocators.pop()

    def _malloc(self, n_bytes: int) -> _Pointer:
        if self.n_failing_mallocs or (self.limit and n_bytes > self.limit):
            self.n_failing_mallocs -= self.n_failing_mallocs > 0
            raise OutOfMemoryError("out of memory")
        return _Pointer(self, np.full(n_bytes, 0xA5, np.uint8), 0)

    def run_all(self) -> None:
        """The work of the current stream."""
        while self.streams[-1]:
            self.streams[-1].pop(0)()

    def _wait_event(self, event: _Event) -> None:
        self.streams[-1].append(event.synchronize)

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Any:
        if not self.current:
            raise AssertionError("no device is current")
        n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        pointer = self.allocators[-1](n_bytes)
        raw = pointer.raw[pointer.offset : pointer.offset + n_bytes]
        array: Any = FakeArray(raw.view(dtype).reshape(shape))
        array.data = pointer
        return array

    def zeros(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Any:
        array = self.empty(shape, dtype)
        array.host[...] = 0
        return array

    def ascontiguousarray(self, array: Any) -> Any:
        return array


class _UnownedMemory:
    """Somebody's memory, by its address."""

    def __init__(self, ptr: int, size: int, owner: object, device_id: int) -> None:
        self.owner = owner
        self.raw = np.frombuffer((ctypes.c_uint8 * size).from_address(ptr), np.uint8)


class _Pointer:
    def __init__(
        self, cupy: FakeCupy, raw: npt.NDArray[np.uint8], offset: int, owner: object = None
    ) -> None:
        self.cupy, self.raw, self.offset, self.owner = cupy, raw, offset, owner

    @property
    def ptr(self) -> int:
        return int(self.raw.ctypes.data) + self.offset

    def __add__(self, offset: int) -> _Pointer:
        return _Pointer(self.cupy, self.raw, self.offset + offset, self.owner)

    def copy_from_device_async(self, source: _Pointer, size: int) -> None:
        target = self.raw[self.offset : self.offset + size]
        given = source.raw[source.offset : source.offset + size]
        self.cupy.streams[-1].append(lambda: np.copyto(target, given))

    def memset_async(self, value: int, size: int) -> None:
        target = self.raw[self.offset : self.offset + size]
        self.cupy.streams[-1].append(lambda: target.fill(value))

    def copy_from_host_async(self, address: int, size: int) -> None:
        target = self.raw[self.offset : self.offset + size]
        self.cupy.streams[-1].append(lambda: ctypes.memmove(target.ctypes.data, address, size))

    def copy_to_host_async(self, address: int, size: int) -> None:
        source = self.raw[self.offset : self.offset + size]
        self.cupy.streams[-1].append(lambda: ctypes.memmove(address, source.ctypes.data, size))


class _Event:
    cupy: FakeCupy

    def __init__(self, *, disable_timing: bool) -> None:
        self.is_over = True
        self.queue: list[Callable[[], object]] = []

    def _happen(self) -> None:
        self.is_over = True

    def record(self) -> None:
        self.is_over, self.queue = False, self.cupy.streams[-1]
        self.queue.append(self._happen)

    def synchronize(self) -> None:
        while not self.is_over:
            self.queue.pop(0)()


class _Stream:
    """Its work is done when an event of it is waited for."""

    cupy: FakeCupy

    def __init__(self, *, non_blocking: bool) -> None:
        assert non_blocking  # it would wait for the main stream
        self.queue: list[Callable[[], object]] = []

    def __enter__(self) -> _Stream:
        self.cupy.streams.append(self.queue)
        return self

    def begin_capture(self) -> None:
        if self.cupy.fail_capture is not None:
            raise self.cupy.fail_capture
        self.cupy.captured = []

    def end_capture(self) -> _Graph:
        kept, self.cupy.captured = self.cupy.captured, None
        if kept is None:
            raise RuntimeError("no capture was begun")
        return _Graph(self.cupy, kept)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.cupy.streams.pop()


class _Graph:
    """What was launched between the ends of a capture, not started then."""

    def __init__(self, cupy: FakeCupy, launches: list[tuple[Any, ...]]) -> None:
        self.cupy, self.launches = cupy, launches

    def launch(self) -> None:
        self.cupy.launched.append(("graph", *self.launches))


class _Device:
    cupy: FakeCupy

    def __init__(self, ordinal: int) -> None:
        self.ordinal = ordinal

    def __enter__(self) -> None:
        self.cupy.current.append(self.ordinal)
        self.cupy.entered.append(self.ordinal)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.cupy.current.pop()

    def synchronize(self) -> None:
        self.cupy.run_all()


class _Module:
    cupy: FakeCupy

    def load(self, code: bytes) -> None:
        self.cupy.loaded.append(code)

    def get_function(self, name: str) -> Callable[..., None]:
        def launch(grid: Any, block: Any, args: Any, *, shared_mem: int) -> None:
            if self.cupy.fail_launch is not None:
                raise self.cupy.fail_launch
            target = self.cupy.launched if self.cupy.captured is None else self.cupy.captured
            target.append((name, grid, block, args, shared_mem, *self.cupy.current))

        return launch
