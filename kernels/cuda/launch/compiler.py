"""Cubins: compiled by NVRTC (no driver, no GPU needed), kept in a checked cache.

A cubin is machine code of one architecture; PTX would leave the slow half of the compilation to
the driver, in every process. Needs the packages of the extra `gpu`; those of
`cubins` suffice to compile.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kernels.cpu.compile.jit import cache_directory
from kernels.cuda.launch.source import Source
from kernels.errors import BackendUnavailable, DeviceError
from kernels.files import PRIVATE, write_whole

OPTIONS = {"std": "c++17", "ptxas_options": ["-v"]}
_CHECKSUM_BYTES = 32


@dataclass(frozen=True, slots=True)
class Cubin:
    """Machine code, and what ptxas says of it (registers, spills, stack)."""

    code: bytes
    log: str


def compile_cubin(source: Source, arch: str) -> Cubin:
    """Compile a module for an architecture such as "sm_90".

    Raises BackendUnavailable without the compiler's packages, DeviceError if it refuses the source.
    """
    with needing_packages():
        from cuda.core import Program, ProgramOptions
    log = io.StringIO()
    try:
        program = Program(
            source.text, "c++", ProgramOptions(name=source.name, arch=arch, **OPTIONS)
        )
        code: bytes = program.compile("cubin", logs=log).code
    except Exception as error:  # the package's own tree has no narrower public name
        raise DeviceError(f"{source.name} does not compile for {arch}: {error}") from error
    return Cubin(code, log.getvalue().replace("\0", ""))


def compiler_version() -> str:
    """What else than source and architecture decides the code. Raises BackendUnavailable."""
    with needing_packages():
        from cuda import core
        from cuda.bindings import nvrtc

        _, major, minor = nvrtc.nvrtcVersion()  # loads the library
    return f"nvrtc {major}.{minor} {core.__version__} {sorted(OPTIONS.items())}"


def linker_version() -> str:
    """What links PTX to machine code. Raises BackendUnavailable."""
    with needing_packages():
        from cuda import core
        from cuda.bindings import nvjitlink

        major, minor = nvjitlink.version()  # loads the library
    return f"nvjitlink {major}.{minor} {core.__version__} {OPTIONS['ptxas_options']}"


@contextlib.contextmanager
def needing_packages() -> Iterator[None]:
    """Whatever keeps a compiler from being loaded, as BackendUnavailable."""
    try:
        yield
    except Exception as error:
        raise BackendUnavailable(
            f"no CUDA compiler ({type(error).__name__}: {error}); "
            "install zkpot[gpu] or zkpot[cubins]"
        ) from error


def load_cubin(source: Source, arch: str, directory: Path | None = None) -> bytes:
    """The module's machine code, from the cache if it is there; see `keep_code`."""
    identity = source.digest, arch, compiler_version()
    name = f"{source.name}-{arch}"
    return keep_code(name, identity, lambda: compile_cubin(source, arch).code, directory)


def keep_code(
    name: str, identity: tuple[str, ...], make: Callable[[], bytes], directory: Path | None
) -> bytes:
    """What `make` returns, or what it returned before for this identity.

    directory : default that of `kernels.cpu.compile.jit.cache_directory`, which only this user can
                write
    holds     : an entry's name has a digest of the identity, and it carries its own checksum: one
                that is stale, truncated or altered is never loaded
    """
    directory = directory or cache_directory()
    if directory is None:
        return make()
    digest = hashlib.sha256(repr(identity).encode()).hexdigest()[:32]
    path = directory / f"{name}-{digest}.cubin"
    with contextlib.suppress(OSError):
        raw = path.read_bytes()
        if hashlib.sha256(raw[_CHECKSUM_BYTES:]).digest() == raw[:_CHECKSUM_BYTES]:
            return raw[_CHECKSUM_BYTES:]
    code = make()
    with contextlib.suppress(OSError):  # a full disk costs the next process a compilation
        write_whole(path, [hashlib.sha256(code).digest(), code], mode=PRIVATE, is_cache=True)
    return code
