"""Which lanes the CPU backend computes in: 8 x 52-bit IFMA, 4 x 52-bit FMA, or one 64-bit scalar.

    ifma            AVX-512 IFMA                     fastest
    avx2            AVX2 and FMA                     every x86-64 server since 2015
    scalar          any CPU
    ifma-emulated   the ifma formulas on any CPU     slow, for tests

`auto` takes the first that the host has. Lanes are values: several can live in one process.
"""

from __future__ import annotations

from functools import cache

import llvmlite.binding as llvm

from kernels.cpu.lanes.emit52 import Emitter52
from kernels.cpu.lanes.fma52 import Fma52
from kernels.cpu.lanes.ifma52 import Ifma52, Ifma52Emulated
from kernels.cpu.lanes.interface import Lanes
from kernels.cpu.lanes.scalar_ops import make_scalar_lanes
from kernels.cpu.lanes.vector_ops import make_vector_lanes
from kernels.errors import BackendUnavailable

_FEATURES = {
    "ifma": ("avx512ifma", "avx512vl", "avx512dq", "avx512f"),
    "avx2": ("avx2", "fma"),
    "scalar": (),
    "ifma-emulated": (),
}
_AUTO = ("ifma", "avx2", "scalar")
_VECTOR: dict[str, type[Emitter52]] = {
    "ifma": Ifma52,
    "avx2": Fma52,
    "ifma-emulated": Ifma52Emulated,
}


def host_features() -> frozenset[str]:
    """CPU features of this host as LLVM names them."""
    return frozenset(name for name, has in llvm.get_host_cpu_features().items() if has)


def choose_lanes(wanted: str = "auto") -> str:
    """The name of the lanes to use; raises BackendUnavailable when the host lacks a feature."""
    features = host_features()
    if wanted == "auto":
        return next(n for n in _AUTO if features.issuperset(_FEATURES[n]))
    if wanted not in _FEATURES:
        raise BackendUnavailable(f"unknown lanes {wanted!r}; known: auto, {', '.join(_FEATURES)}")
    missing = [f for f in _FEATURES[wanted] if f not in features]
    if missing:
        raise BackendUnavailable(f"lanes {wanted!r} need CPU feature {', '.join(missing)}")
    return wanted


@cache
def get_lanes(name: str) -> Lanes:
    """The lanes of that name (not `auto`: see `choose_lanes`)."""
    return make_scalar_lanes() if name == "scalar" else make_vector_lanes(_VECTOR[name])
