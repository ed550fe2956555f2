"""Faults of other people's packages, said as ours: what failed, and why as far as may be told.

The text of an error is told where it can only speak of code or of the driver: of imports, of
compilers, of launches that the driver refused. Of everything else the class is told alone: its text
might show what it was given.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from kernels.errors import DeviceError
from kernels.versions import find_version

MAX_CHARACTERS = 1000
_OF_IMPORT = (ImportError,)
_OF_CODE = (AttributeError, NameError, SyntaxError)
"""One package does not know another, of another version: these name names, never values."""
_PACKAGES = ("numba", "numba_cuda", "cupy", "cupy_backends", "cuda")
_OF_MEMORY = ("out of memory", "out_of_memory", "memoryallocation")
_OF_DRIVER = ("CUDARuntimeError", "CUDADriverError", "CudaAPIError", "CudaDriverError")


class Stage(StrEnum):
    """What failed."""

    IMPORT = "import"
    COMPILE = "compile"
    LAUNCH = "launch"
    MEMORY = "memory"


def explain(
    who: str, error: BaseException, *, versions: Sequence[str] = (), telling: bool = False
) -> DeviceError:
    """The fault as a DeviceError.

    who      : the package at work, for the text
    versions : packages whose versions the text names when one could not be imported or compiled
    telling  : the caller knows that the error's text speaks of code or of the driver
    """
    stage = find_stage(error)
    told = type(error).__name__
    if telling or _is_telling(error):
        told += f": {' '.join(str(error).split())[:MAX_CHARACTERS]}"
    if stage in (Stage.IMPORT, Stage.COMPILE) and versions:
        told += f" ({', '.join(f'{name} {find_version(name)}' for name in versions)})"
    return DeviceError(f"{who}, {stage.value}: {told}")


def find_stage(error: BaseException) -> Stage:
    """What failed, by the class of the error, and by its text where several have one class."""
    name, text = type(error).__name__, str(error).lower()
    if isinstance(error, _OF_IMPORT):
        return Stage.IMPORT
    if isinstance(error, MemoryError):
        return Stage.MEMORY
    if name in _OF_DRIVER:
        return Stage.MEMORY if any(sign in text for sign in _OF_MEMORY) else Stage.LAUNCH
    if name == "CompileException" or isinstance(error, _OF_CODE) or _is_of_packages(error):
        return Stage.COMPILE
    return Stage.LAUNCH


def _is_telling(error: BaseException) -> bool:
    return isinstance(error, _OF_IMPORT + _OF_CODE) or _is_of_packages(error)


def _is_of_packages(error: BaseException) -> bool:
    """Whether one of the packages defines the error's class."""
    return type(error).__module__.split(".")[0] in _PACKAGES
