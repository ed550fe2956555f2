"""Machine code of `PerThread` kernels: compiled ahead by numba.cuda, linked to cubins, kept.

Nothing of it needs a driver: numba.cuda gives PTX, nvJitLink machine code of one architecture. At
run time there is no numba: a launch is cupy's, with arguments laid out as numba.cuda has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kernels.cpu.compile.jit import source_digest
from kernels.cuda.launch.compiler import OPTIONS, Cubin, keep_code, linker_version, needing_packages
from kernels.cuda.launch.faults import explain
from kernels.cuda.launch.per_thread import Form, PerThread
from kernels.errors import BackendUnavailable
from kernels.versions import find_version

VERSIONS = ("numba-cuda", "numba", "numpy")
"""Packages that must know each other."""


def load_threads(kernel: PerThread, form: Form, arch: str, directory: Path | None = None) -> bytes:
    """The kernel's machine code, from the cache if it is there; its entry has the kernel's name.

    Raises BackendUnavailable without numba-cuda, DeviceError if it refuses the function.
    """
    identity = (kernel.name, form.text, arch, source_digest(), threads_compiler_version())
    return keep_code(
        f"{kernel.name}-{arch}",
        identity,
        lambda: compile_threads(kernel, form, arch).code,
        directory,
    )


def threads_compiler_version() -> str:
    """What else than the sources, types and architecture decides the code."""
    parts = (*VERSIONS, "llvmlite", "nvidia-nvvm")
    return f"{linker_version()} {' '.join(f'{part} {find_version(part)}' for part in parts)}"


def compile_threads(kernel: PerThread, form: Form, arch: str) -> Cubin:
    """Compile a kernel for arguments of a form and an architecture such as "sm_90".

    Raises BackendUnavailable without numba-cuda, DeviceError if it refuses the function.
    """
    with needing_packages():
        from cuda.core import Linker, LinkerOptions, ObjectCode

        from kernels.cuda.launch.entry import compile_ptx
    with numba_faults():
        ptx = compile_ptx(kernel, form, arch)
        code = ObjectCode.from_ptx(ptx.encode(), name=kernel.name)
        options = LinkerOptions(arch=arch, ptxas_options=OPTIONS["ptxas_options"])
        linker = Linker(code, options=options)
        return Cubin(linker.link("cubin").code, linker.get_info_log().replace("\0", ""))


def lay_out(n: int, arguments: Sequence[Any]) -> tuple[Any, ...]:
    """Arguments of a launch as numba.cuda's kernels take them.

    Of an array: two pointers that only numba uses, its size, the bytes of an item, its memory, its
    shape and its strides.
    """
    words: list[Any] = [n]
    for argument in arguments:
        if isinstance(argument, int):
            words.append(argument)
            continue
        item = argument.dtype.itemsize
        strides, step = [], item
        for length in reversed(argument.shape):
            strides.append(step)
            step *= length
        words += (0, 0, argument.size, item, argument, *argument.shape, *reversed(strides))
    return tuple(words)


def require_fitting_packages() -> None:
    """BackendUnavailable, with the remedy, for packages that are known not to know each other: else
    the first kernel that is compiled would say so, in the middle of a proof."""
    found, numpy = find_version("numba-cuda"), find_version("numpy")
    if found.startswith("0.30.") and _release(numpy) >= (2, 5):
        raise BackendUnavailable(
            f"numba-cuda {found} does not know numpy {numpy}; install 'numpy<2.5'"
        )


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())


@contextmanager
def numba_faults() -> Iterator[None]:
    """Every fault of numba.cuda as a DeviceError that tells what failed, and no values."""
    try:
        yield
    except Exception as error:  # numba has no common class for errors of its compiler
        raise explain("numba.cuda", error, versions=VERSIONS) from error
