"""`EmulatedDevice`: the CUDA sources built by g++ and run on NumPy arrays (`cuda_emulator.hpp`)."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from kernels.cuda.launch.per_thread import Form, PerThread, run_on_host
from kernels.cuda.launch.replay import replay
from kernels.cuda.launch.runtime import Dim, Mark, Module, Threads, check_launch
from kernels.cuda.launch.source import Source, load_source, read_source
from kernels.cuda.launch.tape import Launch
from kernels.errors import BackendUnavailable, DeviceError
from kernels.private_folder import make_private_folder
from tests.support.cuda_meter import METER
from tests.support.cuda_order import COPIES, FIRST, ORDER, SECOND
from tests.support.emulated_array import (
    EmulatedArray,
    refuse_device_array,
    refuse_host_arrays,
)
from tests.support.emulated_memory import (
    NOISE,
    EmulatedMemory,
    NotedLaunch,
    current,
    making_current,
)

T = TypeVar("T")

HEADER = Path(__file__).resolve().with_suffix(".hpp")
FLAGS = ("-std=c++17", "-O2", "-fPIC", "-shared", "-Wall", "-Werror", "-U_FORTIFY_SOURCE")
_ARGUMENTS = re.compile(r"^ZK_KERNEL\(\d+\)\s+(\w+)\(([^)]*)\)", re.MULTILINE)
_QUIET = ("-Wno-unused-function", "-Wno-unknown-pragmas")


class EmulatedDevice:
    """One emulated GPU. `reversed_order` runs blocks and threads backwards; `noise` is what its
    memory is full of."""

    name = "emulated"
    xp: Any = np
    n_processors = 2
    makes_graphs = True

    def __init__(
        self, *, reversed_order: bool = False, memory_bytes: int = 1 << 30, noise: int = NOISE
    ) -> None:
        if shutil.which("g++") is None:
            raise BackendUnavailable("the CUDA emulator needs g++, which is not installed")
        self.reversed_order, self.memory_bytes = reversed_order, memory_bytes
        self._modules: dict[str, EmulatedModule] = {}
        self.memory = EmulatedMemory(memory_bytes, noise)
        self.under_way: list[LateCopy] = []
        self._depth = 0  # of `active`; one thread works on it

    @property
    def free_bytes(self) -> int:
        """All of it: the arrays are NumPy's."""
        return self.memory_bytes

    @contextmanager
    def active(self, of: object | None = None) -> Iterator[None]:
        METER.contexts += self._depth == 0
        self._depth += 1
        run = nullcontext() if of is None else self.memory.arenas.open(of)
        try:
            with making_current(self.memory), run:
                yield
        finally:
            self._depth -= 1

    def load_module(self, name: str) -> Module:
        if name not in self._modules:
            source = load_source(name)
            self._modules[name] = EmulatedModule(source, self.reversed_order, guarded=True)
        return self._modules[name]

    def load_threads(self, kernel: PerThread, form: Form) -> Threads:
        return partial(_run_threads, kernel)

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Filled with noise: a GPU does not clear its memory."""
        return self.memory.allocate(shape, dtype).view(EmulatedArray)

    def zeros(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        METER.note("zeros")
        self.spoil_tape()
        array = self.memory.allocate(shape, dtype)
        array.fill(0)
        return array.view(EmulatedArray)

    def asarray(self, host: npt.NDArray[Any]) -> npt.NDArray[Any]:
        self.spoil_tape()
        return self.upload_constant(host)

    def upload_constant(self, host: npt.NDArray[Any]) -> npt.NDArray[Any]:
        refuse_device_array(host)
        METER.uploads.append(host.nbytes)
        array = self.memory.allocate(host.shape, host.dtype)
        array[...] = host
        return array.view(EmulatedArray)

    def clear(self, array: npt.NDArray[Any]) -> None:
        self.spoil_tape()
        METER.note("clear")
        ORDER.note("clear", writes=(array,))
        array.view(np.uint8).fill(0)

    def address(self, array: npt.NDArray[Any]) -> int:
        return array.ctypes.data

    def beside(self) -> AbstractContextManager[None]:
        return ORDER.within(SECOND)

    def mark(self) -> EmulatedMark:
        self.spoil_tape()
        return EmulatedMark(self, ORDER.mark())

    def copy_aside(
        self, target: npt.NDArray[Any], host: npt.NDArray[Any], *, after: Mark
    ) -> LateCopy:
        """Noise until somebody waits."""
        refuse_device_array(host)
        self.spoil_tape()
        METER.uploads.append(host.nbytes)
        with ORDER.within(COPIES):
            after.wait()
            ORDER.note("copy_aside", writes=(target,))
            target.view(np.uint8).fill(self.memory.noise)
            copy = LateCopy(self, ORDER.mark(), target, host.copy())
        self.under_way.append(copy)
        return copy

    def holds(self, array: Any) -> bool:
        return isinstance(array, EmulatedArray)

    def to_host(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        self.spoil_tape()
        METER.bring_down(array.nbytes)
        ORDER.note("to_host", reads=(array,))
        ORDER.wait_on_host()
        return np.array(array, order="C", copy=True, subok=False)

    def replay(self, name: Hashable, given: Sequence[Any], work: Callable[[Sequence[Any]], T]) -> T:
        return replay(self, self.memory.arenas, name, given, work)

    def spoil_tape(self) -> None:
        if (tape := self.memory.arenas.tape) is not None:
            tape.spoil()

    def fill(self, target: Any, source: Any) -> None:
        METER.note("fill")
        ORDER.note("fill", reads=(source,), writes=(target,))
        np.copyto(target.view(np.ndarray), source.view(np.ndarray))

    def capture(self, launches: Sequence[Launch]) -> Launch | None:
        """See `kernels.cuda.launch.tape.Player`: one launch, if the device `makes_graphs`."""
        if not self.makes_graphs:
            return None
        runs = [launch.run for launch in launches if isinstance(launch, NotedLaunch)]

        def graph() -> None:
            METER.launches["graph"] += 1
            for run in runs:
                run()

        return graph

    def synchronize(self) -> None:
        """Every launch has ended when it returns."""
        self.spoil_tape()
        METER.synchronizations += 1
        for copy in tuple(self.under_way):
            copy.arrive()
        ORDER.wait_on_host(FIRST, SECOND, COPIES)


@dataclass(frozen=True, eq=False)
class EmulatedMark:
    """See `kernels.cuda.launch.runtime.Mark`."""

    device: EmulatedDevice
    clock: Mapping[str, int]

    def wait(self) -> None:
        self.device.spoil_tape()
        ORDER.wait(self.clock)


@dataclass(frozen=True, eq=False)
class LateCopy(EmulatedMark):
    """The mark behind a copy, which arrives as late as can be."""

    target: npt.NDArray[Any]
    host: npt.NDArray[Any]

    def wait(self) -> None:
        super().wait()
        self.arrive()

    def arrive(self) -> None:
        """Fill the array, once."""
        if self not in self.device.under_way:
            return
        self.device.under_way.remove(self)
        if self.target.shape != self.host.shape or self.target.dtype != self.host.dtype:
            raise DeviceError("copy_aside: shapes or types differ")
        self.target.view(np.ndarray)[...] = self.host  # noted when it was started


class EmulatedModule:
    """One source as a shared library. Its kernels run one at a time: a library has one block.

    guarded : refuses arrays of the host
    """

    def __init__(
        self, source: Source, reversed_order: bool = False, *, guarded: bool = False
    ) -> None:
        self.source, self.reversed_order, self.guarded = source, reversed_order, guarded
        self.lock = Lock()

    @cached_property
    def library(self) -> ctypes.CDLL:
        return ctypes.CDLL(str(build_library(self.source)))

    @cached_property
    def constant_arguments(self) -> dict[str, frozenset[int]]:
        """Places of the arguments that each kernel only reads."""
        return {
            name: frozenset(
                i for i, argument in enumerate(arguments.split(",")) if "const " in argument
            )
            for name, arguments in _ARGUMENTS.findall(self.source.text)
        }

    def kernel(self, name: str) -> EmulatedKernel:
        if name not in self.source.kernels:
            raise KeyError(f"{self.source.name}: no kernel {name!r}")
        return EmulatedKernel(self, name)


def load_probe(name: str, *, reversed_order: bool = False) -> EmulatedModule:
    """`NAME.cu` beside this file: kernels that only tests have."""
    return EmulatedModule(read_source(HEADER.with_name(f"{name}.cu")), reversed_order)


class _Launch(ctypes.Structure):
    _fields_ = (
        ("grid", ctypes.c_uint32 * 3),
        ("block", ctypes.c_uint32 * 3),
        ("shared_bytes", ctypes.c_uint64),
        ("is_reversed", ctypes.c_uint32),
    )


class EmulatedKernel:
    """See `kernels.cuda.launch.runtime.Kernel`."""

    def __init__(self, module: EmulatedModule, name: str) -> None:
        self.module, self.name = module, name

    def __call__(
        self,
        grid: Dim,
        block: Dim,
        args: Sequence[Any],
        *,
        shared_bytes: int = 0,
        reads: Sequence[Any] = (),
    ) -> None:
        check_launch(self.name, self.module.source.kernels[self.name], grid, block, args)
        if self.module.guarded:
            refuse_host_arrays(self.name, (*args, *reads))
        if 0 not in grid:
            current().start(
                self.name, partial(self._run, grid, block, tuple(args), shared_bytes, tuple(reads))
            )

    def _run(
        self, grid: Dim, block: Dim, args: Sequence[Any], shared_bytes: int, reads: Sequence[Any]
    ) -> None:
        constant = self.module.constant_arguments[self.name]
        arrays = [(i in constant, a) for i, a in enumerate(args) if isinstance(a, np.ndarray)]
        ORDER.note(
            self.name,
            reads=(*(a for is_constant, a in arrays if is_constant), *reads),
            writes=(a for is_constant, a in arrays if not is_constant),
        )
        function = getattr(self.module.library, f"launch_{self.name}")
        function.restype = ctypes.c_char_p
        cells = [_cell(argument) for argument in args]
        sizes = [0 if isinstance(a, np.ndarray) else a.dtype.itemsize for a in args]
        pointers = (ctypes.c_void_p * len(args))(*(ctypes.addressof(c) for c in cells))
        launch = _Launch(
            (ctypes.c_uint32 * 3)(*grid),
            (ctypes.c_uint32 * 3)(*block),
            shared_bytes,
            int(self.module.reversed_order),
        )
        with self.module.lock:
            fault = function(
                ctypes.byref(launch), len(args), (ctypes.c_int * len(args))(*sizes), pointers
            )
        if fault is not None:
            raise DeviceError(f"{self.name}: {fault.decode()}")


def _run_threads(kernel: PerThread, n: int, arguments: tuple[Any, ...]) -> None:
    current().start(kernel.name, partial(_run_noted, kernel, n, arguments))


def _run_noted(kernel: PerThread, n: int, arguments: tuple[Any, ...]) -> None:
    ORDER.note(kernel.name, writes=(a for a in arguments if isinstance(a, np.ndarray)))
    run_on_host(kernel, n, arguments)


def _cell(argument: Any) -> ctypes.c_uint64 | ctypes.c_uint32:
    if isinstance(argument, np.ndarray):
        return ctypes.c_uint64(argument.ctypes.data)
    if argument.dtype.itemsize == 4:
        return ctypes.c_uint32(int(argument))
    return ctypes.c_uint64(int(argument))


def build_library(source: Source) -> Path:
    """The shared library of a source, built once for each state of it."""
    key = hashlib.sha256(repr((source.digest, HEADER.read_text(), FLAGS)).encode()).hexdigest()
    directory = build_directory()
    library = directory / f"{source.name}-{key[:24]}.so"
    if library.exists():
        return library
    with tempfile.TemporaryDirectory(dir=directory) as work:
        unit, built = Path(work) / f"{source.name}.cpp", Path(work) / "built.so"
        unit.write_text(source.text)
        command = ["g++", *FLAGS, *_QUIET, "-I", str(HEADER.parent), "-o", str(built), str(unit)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise DeviceError(f"{source.name}: g++ refuses the source\n{done.stderr}")
        os.replace(built, library)  # atomic: another process may have built the same
    return library


def build_directory() -> Path:
    """A private directory of this user for what the tests build."""
    path = Path(tempfile.gettempdir()) / f"zkpot-emulator-{os.getuid()}"
    make_private_folder(path)
    return path
