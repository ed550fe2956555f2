"""From a name on the command line to a backend."""

from functools import cache
from typing import Any

from kernels.backend import Backend, get_backend

CPU = "cpu"
EMULATED = "cuda-emulated"
BACKWARDS = "cuda-emulated-backwards"
DEFAULT = (
    "reference", "cpu-ifma", "cpu-avx2", "cpu-scalar", "cpu-ifma-emulated", "cuda-emulated",
)  # fmt: skip


@cache
def build_backend(name: str, n_threads: int | None = None) -> Backend:
    """The backend of that name; `n_threads` only for the CPU. Raises BackendUnavailable."""
    if name in (EMULATED, BACKWARDS):
        from kernels.cuda.backend import CudaBackend
        from tests.support.cuda_emulator import EmulatedDevice

        return CudaBackend(EmulatedDevice(reversed_order=name == BACKWARDS), build_backend(CPU))
    if name != CPU and not name.startswith(f"{CPU}-"):
        return get_backend(name)
    from kernels.cpu.backend import CpuBackend  # not at import: only where it is asked for

    options: dict[str, Any] = {} if n_threads is None else {"threads": n_threads, "grain_ns": 1}
    if name != CPU:
        options["lanes"] = name.removeprefix(f"{CPU}-")
    return CpuBackend(**options)
