"""`CupyDevice`: one GPU through cupy. The only module that imports cupy.

One order: every launch, copy and release of memory goes to the device's default stream, which is
also that of cupy's own functions. So memory that is dropped while a kernel still reads it is handed
out again only behind that kernel. What goes to another stream (`beside`, `copy_aside`) keeps to the
order by marks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from kernels.cpu.compile.jit import lend_directory
from kernels.cuda.launch.active import Active
from kernels.cuda.launch.compiler import load_cubin
from kernels.cuda.launch.memory import CupyMemory
from kernels.cuda.launch.per_thread import BLOCK, Form, PerThread
from kernels.cuda.launch.replay import replay
from kernels.cuda.launch.runtime import Array, Dim, Mark, check_launch, grid_for
from kernels.cuda.launch.source import Source, load_source
from kernels.cuda.launch.staging import Staging
from kernels.cuda.launch.tape import Launch
from kernels.cuda.launch.threads import lay_out, load_threads, require_fitting_packages
from kernels.errors import BackendUnavailable
from kernels.versions import find_version

MEMORY_SHARE = 0.9  # of what is free when the device is opened
PLAIN_SHARED_BYTES = 48 << 10  # more must be asked for

T = TypeVar("T")

LoadCubin = Callable[[Source, str], bytes]
LoadThreads = Callable[[PerThread, Form, str], bytes]


@dataclass(frozen=True, slots=True)
class FoundDevice:
    """A GPU that the process sees.

    ordinal  : among those; another process may see another one under it
    identity : of the GPU, or of the part of one, in the same words in every process
    address  : on the bus of this machine, as `nvidia-smi --id` takes it
    """

    ordinal: int
    name: str
    identity: str
    address: str


def list_devices(cupy: Any = None) -> tuple[FoundDevice, ...]:
    """What could be opened; nothing is. Raises BackendUnavailable without cupy or a driver."""
    cupy = load_cupy() if cupy is None else cupy
    runtime = cupy.cuda.runtime
    try:
        return tuple(_find(runtime, ordinal) for ordinal in range(int(runtime.getDeviceCount())))
    except _fault_types(cupy) as error:
        raise BackendUnavailable(f"CUDA devices cannot be listed: {error}") from error


def _find(runtime: Any, ordinal: int) -> FoundDevice:
    properties = runtime.getDeviceProperties(ordinal)
    address = str(runtime.deviceGetPCIBusId(ordinal)).lower()
    # Parts of one GPU share its address; cupy cuts what it gives for a UUID at a zero byte.
    identity = hashlib.sha256(f"{address} {properties.get('uuid')!r}".encode()).hexdigest()[:32]
    return FoundDevice(ordinal, str(properties["name"].decode()), identity, address)


def open_device(
    ordinal: int = 0, *, memory_bytes: int | None = None, synchronous: bool = False
) -> CupyDevice:
    """The GPU of that ordinal among those that the process sees.

    memory_bytes : cap for all arrays together; default MEMORY_SHARE of what is free
    synchronous  : wait after every launch, so that a fault is reported by the launch that made it

    Raises BackendUnavailable without cupy, a driver or that GPU, or with packages that do not fit
    together.
    """
    require_fitting_packages()
    return CupyDevice(load_cupy(), ordinal, memory_bytes=memory_bytes, synchronous=synchronous)


def load_cupy() -> Any:
    """The package, with a cache for its kernels that this user can write, be there a home or not.

    Raises BackendUnavailable, whatever keeps it from being imported.
    """
    lend_directory("cupy", variable="CUPY_CACHE_DIR", without="CUPY_CACHE_IN_MEMORY")
    try:
        import cupy
    except ModuleNotFoundError as error:
        raise BackendUnavailable(f"no cupy: {error}; install zkpot[gpu]") from error
    except Exception as error:
        raise BackendUnavailable(
            f"cupy cannot be imported ({type(error).__name__}: {error}); "
            f"CUPY_CACHE_DIR must be a folder that can be written, and numpy "
            f"{find_version('numpy')} one that this cupy knows"
        ) from error
    return cupy


class CupyDevice:
    """See `kernels.cuda.launch.runtime.Device`."""

    def __init__(
        self,
        cupy: Any,
        ordinal: int = 0,
        *,
        memory_bytes: int | None = None,
        synchronous: bool = False,
        load: LoadCubin = load_cubin,
        load_ahead: LoadThreads = load_threads,
    ) -> None:
        self.xp, self.ordinal, self.synchronous = cupy, ordinal, synchronous
        self.faults = _fault_types(cupy)
        self._load, self._modules, self._lock = load, dict[str, CupyModule](), Lock()
        self._load_ahead, self._threads = load_ahead, dict[tuple[str, str], CupyThreads]()
        try:
            n_devices = int(cupy.cuda.runtime.getDeviceCount())
            if not 0 <= ordinal < n_devices:
                raise BackendUnavailable(f"no CUDA device {ordinal}: there are {n_devices}")
            self._device = cupy.cuda.Device(ordinal)
            with self._device:
                properties = cupy.cuda.runtime.getDeviceProperties(ordinal)
                free, _ = cupy.cuda.runtime.memGetInfo()
                self.memory_bytes = memory_bytes or int(MEMORY_SHARE * free)
                self._memory = CupyMemory(cupy, ordinal, self.memory_bytes)
                self._staging, self._staging_aside = Staging(cupy), Staging(cupy)
                self._aside = cupy.cuda.Stream(non_blocking=True)
                self._beside = cupy.cuda.Stream(non_blocking=True)
        except self.faults as error:
            raise BackendUnavailable(f"CUDA device {ordinal} cannot be used: {error}") from error
        self.name = str(properties["name"].decode())
        self.n_processors = int(properties["multiProcessorCount"])
        self.arch = f"sm_{properties['major']}{properties['minor']}"

    @property
    def free_bytes(self) -> int:
        """See `kernels.cuda.launch.memory.CupyMemory.free_bytes`."""
        return self._memory.free_bytes

    def active(self, of: object | None = None) -> AbstractContextManager[None]:
        """Make this the thread's device, its memory the thread's, and every fault a DeviceError.

        Inside itself it costs nothing: a proof enters once, and its thousands of steps find it so.
        """
        return Active(self) if of is None else self._run_of(of)

    @contextmanager
    def _run_of(self, of: object) -> Iterator[None]:
        with Active(self), self._memory.arenas.open(of):
            yield

    def enter(self, stack: ExitStack) -> None:
        """Make this the thread's device and its memory the thread's, until the stack is closed."""
        stack.enter_context(self._device)
        stack.enter_context(self.xp.cuda.using_allocator(self._memory.allocate))

    def load_module(self, name: str) -> CupyModule:
        """`src/NAME.cu` for this GPU's architecture."""
        with self._lock:
            if name not in self._modules:
                self._modules[name] = CupyModule(self, load_source(name))
            return self._modules[name]

    def load_code(self, source: Source) -> Any:
        """cupy's module of a source."""
        with self.active():
            return self._load_module(self._load(source, self.arch))

    def load_threads(self, kernel: PerThread, form: Form) -> CupyThreads:
        """See `kernels.cuda.launch.runtime.Device.load_threads`."""
        key = kernel.name, form.text
        if key not in self._threads:
            with self._lock, self.active():
                module = self._load_module(self._load_ahead(kernel, form, self.arch))
                self._threads[key] = CupyThreads(self, module.get_function(kernel.name))
        return self._threads[key]

    def _load_module(self, code: bytes) -> Any:
        module = self.xp.cuda.function.Module()
        module.load(code)
        return module

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """Not cleared."""
        with self.active():
            return self.xp.empty(shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """Cleared."""
        self.spoil_tape()
        with self.active():
            return self.xp.zeros(shape, dtype)

    def clear(self, array: Array) -> None:
        """Zero bytes, by the current stream."""
        self.spoil_tape()
        with self.active():
            array.data.memset_async(0, array.nbytes)

    def asarray(self, host: npt.NDArray[Any]) -> Array:
        """A copy on the device; `host` may change as soon as this returns."""
        self.spoil_tape()
        return self.upload_constant(host)

    def upload_constant(self, host: npt.NDArray[Any]) -> Array:
        """See `kernels.cuda.launch.runtime.Device.upload_constant`."""
        host = np.asarray(host, order="C")
        with self.active():
            array = self.xp.empty(host.shape, host.dtype)
            with self._lock:
                self._staging.upload(array, host)
            return array

    def address(self, array: Array) -> int:
        """Where it begins."""
        return int(array.data.ptr)

    @contextmanager
    def beside(self) -> Iterator[None]:
        """See `kernels.cuda.launch.runtime.Device.beside`."""
        with self.active(), self._beside:
            yield

    def mark(self) -> CupyMark:
        """See `kernels.cuda.launch.runtime.Device.mark`."""
        self.spoil_tape()
        with self.active():
            event = self.xp.cuda.Event(disable_timing=True)
            event.record()
        return CupyMark(self, event)

    def copy_aside(self, target: Array, host: npt.NDArray[Any], *, after: Mark) -> CupyMark:
        """See `kernels.cuda.launch.runtime.Device.copy_aside`."""
        self.spoil_tape()
        host = np.ascontiguousarray(host)
        with self.active(), self._lock, self._aside:
            after.wait()
            self._staging_aside.upload(target, host)
            return self.mark()

    def holds(self, array: Array) -> bool:
        """Whether it is cupy's."""
        return isinstance(array, self.xp.ndarray)

    def to_host(self, array: Array) -> npt.NDArray[Any]:
        """A copy on the host, after all work started before."""
        self.spoil_tape()
        host: npt.NDArray[Any] = np.empty(array.shape, array.dtype)
        with self.active():
            whole = self.xp.ascontiguousarray(array)
            with self._lock:
                self._staging.download(host, whole)
        return host

    def synchronize(self) -> None:
        """Wait for all work."""
        self.spoil_tape()
        with self.active():
            self._device.synchronize()

    def start(self, launch: Launch) -> None:
        """Start a launch, and note it if the thread records."""
        with self.active():
            launch()
            if (tape := self._memory.arenas.tape) is not None:
                tape.add(launch)
            if self.synchronous:
                self.synchronize()

    def replay(
        self, name: Hashable, given: Sequence[Array], work: Callable[[Sequence[Array]], T]
    ) -> T:
        """See `kernels.cuda.launch.runtime.Device.replay`."""
        with self.active():
            return replay(self, self._memory.arenas, name, given, work)

    def spoil_tape(self) -> None:
        """See `kernels.cuda.launch.runtime.Device.spoil_tape`."""
        if (tape := self._memory.arenas.tape) is not None:
            tape.spoil()

    def fill(self, target: Array, source: Array) -> None:
        """See `kernels.cuda.launch.tape.Player`."""
        target.data.copy_from_device_async(source.data, source.nbytes)

    def capture(self, launches: Sequence[Launch]) -> Launch | None:
        """A CUDA graph, made beside the stream that all work is in, which cannot be captured. None
        where the driver or cupy makes none: then the launches themselves say what is wrong."""
        failures: tuple[type[BaseException], ...] = (*self.faults, RuntimeError, AttributeError)
        try:
            with self.xp.cuda.Stream(non_blocking=True) as stream:
                stream.begin_capture()
                try:
                    for launch in launches:
                        launch()
                finally:
                    graph = stream.end_capture()
        except failures:
            return None
        found: Launch = graph.launch
        return found


class CupyMark:
    """See `kernels.cuda.launch.runtime.Mark`."""

    def __init__(self, device: CupyDevice, event: Any) -> None:
        self._device, self._event = device, event

    def wait(self) -> None:
        """The current stream waits, the host does not."""
        self._device.spoil_tape()
        with self._device.active():
            self._device.xp.cuda.get_current_stream().wait_event(self._event)


class CupyModule:
    """The machine code of one source on one device."""

    def __init__(self, device: CupyDevice, source: Source) -> None:
        self.device, self.source = device, source
        self._code = device.load_code(source)

    def kernel(self, name: str) -> CupyKernel:
        """The kernel of that name."""
        if name not in self.source.kernels:
            raise KeyError(f"{self.source.name}: no kernel {name!r}")
        with self.device.active():
            function = self._code.get_function(name)
        return CupyKernel(self.device, name, self.source.kernels[name], function)


class CupyKernel:
    """See `kernels.cuda.launch.runtime.Kernel`."""

    def __init__(self, device: CupyDevice, name: str, max_threads: int, function: Any) -> None:
        self.device, self.name, self.max_threads = device, name, max_threads
        self._function = function

    def __call__(
        self,
        grid: Dim,
        block: Dim,
        args: Sequence[Any],
        *,
        shared_bytes: int = 0,
        reads: Sequence[Array] = (),
    ) -> None:
        check_launch(self.name, self.max_threads, grid, block, args)
        if shared_bytes > PLAIN_SHARED_BYTES:
            raise TypeError(f"{self.name}: {shared_bytes} bytes of shared memory are not planned")
        if 0 in grid:
            return
        self.device.start(
            partial(self._function, grid, block, tuple(args), shared_mem=shared_bytes)
        )


class CupyThreads:
    """See `kernels.cuda.launch.runtime.Threads`."""

    def __init__(self, device: CupyDevice, function: Any) -> None:
        self._device, self._function = device, function

    def __call__(self, n: int, arguments: tuple[Any, ...], /) -> None:
        grid, block = grid_for(n, BLOCK), (BLOCK, 1, 1)
        self._device.start(
            partial(self._function, grid, block, lay_out(n, arguments), shared_mem=0)
        )


def _fault_types(cupy: Any) -> tuple[type[BaseException], ...]:
    return (
        cupy.cuda.runtime.CUDARuntimeError,
        cupy.cuda.driver.CUDADriverError,
        cupy.cuda.memory.OutOfMemoryError,
        cupy.cuda.compiler.CompileException,
        ImportError,  # of libraries that cupy loads when it first needs them
    )
