"""Kernels of one shape: the same Python function for every index, one thread each.

For a GPU numba.cuda compiles the function ahead, without a driver (`kernels.cuda.launch.threads`),
and the code is launched as that of the CUDA C++ kernels is; for the emulated device numba compiles
it for the host, index after index. Both compile the same source, so what the tests run is what a
GPU runs. (Under NUMBA_ENABLE_CUDASIM=1 numba.cuda's simulator runs it, in Python.)

A function is written for both: all arithmetic in int64, no arrays of its own, no barriers, and
atomics only through the function that it is built with:

    def build(jit, atomic_add):       # atomic_add(array, index, amount) -> value before
        def body(i, counts, values):  # thread i
            atomic_add(counts, values[i], 1)
        return body

    count = PerThread("count", build, "uint32[:], int64[:]")
    count(device, n, counts, values)
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numba import njit

from kernels.cpu.compile.jit import kernel as keep_compiled
from kernels.cuda.launch.runtime import Device

BLOCK = 256
INTEGER = "int64"
_ARGUMENT = re.compile(r"^([a-z]+\d+)(\[:(?:,:)*\])?$")

Body = Callable[..., None]
AtomicAdd = Callable[[Any, Any, Any], Any]
Jit = Callable[[Any], Any]
Build = Callable[[Jit, AtomicAdd], Body]
Key = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Form:
    """Types of a kernel's arguments.

    text : as numba writes them, "uint32[:,:], int64": arrays, C-contiguous, and integers
    key  : the name of each type and its dimensions; 0 for an integer
    """

    text: str
    key: Key

    @classmethod
    def parse(cls, text: str) -> Form:
        """Raises ValueError for anything but arrays and `int64`."""
        key = []
        for argument in text.split(", "):
            match = _ARGUMENT.match(argument)
            if match is None or (match[2] is None and argument != INTEGER):
                raise ValueError(f"{argument!r} is no type of an argument")
            key.append((match[1], len((match[2] or "").split(",")) if match[2] else 0))
        return cls(text, tuple(key))


class PerThread:
    """A kernel: `kernel(device, n, *arguments)` runs its function for 0 <= i < n.

    forms     : types of arguments that it is compiled for
    arguments : arrays of the device, C-contiguous, and Python ints (int64 in the kernel); TypeError
                for those of no form
    errors    : DeviceError; what fails later on the GPU is reported by the device's next copy
    """

    def __init__(self, name: str, build: Build, *forms: str) -> None:
        self.name, self.build = name, build
        self.forms = {form.key: form for form in map(Form.parse, forms)}

    def __call__(self, device: Device, n: int, *arguments: Any) -> None:
        form = self._find_form(device, arguments)
        if n > 0:
            device.load_threads(self, form)(n, arguments)

    def _find_form(self, device: Device, arguments: tuple[Any, ...]) -> Form:
        key = []
        for argument in arguments:
            if isinstance(argument, int):
                key.append((INTEGER, 0))
            elif device.holds(argument) and argument.flags.c_contiguous:
                key.append((argument.dtype.name, argument.ndim))
            else:
                raise TypeError(
                    f"{self.name}: arguments are whole arrays of the kernel's device and integers"
                )
        form = self.forms.get(tuple(key))
        if form is None:
            shown = ", ".join(f"{name}[{dimensions}]" for name, dimensions in key)
            raise TypeError(f"{self.name}: not compiled for {shown}")
        return form

    @cached_property
    def on_host(self) -> Callable[..., None]:
        """The form for the emulated device: `on_host(n, *arguments)`, of NumPy's arrays."""
        body = njit(self.build(njit, plain_add))

        def run(n: Any, *arguments: Any) -> None:
            for i in range(n):
                body(i, *arguments)

        return keep_compiled(
            run, key=f"{self.build.__module__}.{self.build.__qualname__} {self.name}"
        )


@njit
def plain_add(array: Any, index: Any, amount: Any) -> Any:
    """`atomic_add` of one thread."""
    before = array[index]
    array[index] = before + amount
    return before


def run_on_host(kernel: PerThread, n: int, arguments: tuple[Any, ...]) -> None:
    """The kernel on arrays that NumPy reads."""
    plain = (np.int64(a) if isinstance(a, int) else np.asarray(a) for a in arguments)
    kernel.on_host(np.int64(n), *plain)
