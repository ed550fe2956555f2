"""Which lanes the CPU backend computes in: 8 x 52-bit IFMA, 4 x 52-bit FMA, or one 64-bit scalar.

    ifma            AVX-512 IFMA                     fastest
    avx2            AVX2 and FMA                     every x86-64 server since 2015
    scalar          any CPU
    ifma-emulated   the ifma formulas on any CPU     slow, for tests

`auto` takes the first that the host has. Lanes are values: several can live in one process.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from kernels.backend import BackendUnavailable
from kernels.cpu.lanes.emit52 import Emitter52
from kernels.cpu.lanes.fma52 import Fma52
from kernels.cpu.lanes.ifma52 import Ifma52, Ifma52Emulated
from kernels.cpu.lanes.interface import Lanes
from kernels.cpu.lanes.scalar_ops import make_scalar_lanes
from kernels.cpu.lanes.vector_ops import make_vector_lanes

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


_TOWARD_ZERO = 0x6000  # MXCSR rounding control


def _mxcsr(b: Any, name: str, slot: Any) -> None:
    pointer = ir.IntType(8).as_pointer()
    fn = b.module.globals.get(name)
    if fn is None:
        fn = ir.Function(b.module, ir.FunctionType(ir.VoidType(), [pointer]), name)
    b.call(fn, [b.bitcast(slot, pointer)])


@intrinsic
def round_toward_zero(typing_context: Any) -> Any:
    """Set this thread's MXCSR to round toward zero; returns the previous state (x86 only)."""

    def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
        slot = b.alloca(ir.IntType(32))
        _mxcsr(b, "llvm.x86.sse.stmxcsr", slot)
        before = b.load(slot)
        b.store(b.or_(before, ir.Constant(ir.IntType(32), _TOWARD_ZERO)), slot)
        _mxcsr(b, "llvm.x86.sse.ldmxcsr", slot)
        return before

    return types.uint32(), codegen


@intrinsic
def restore_rounding(typing_context: Any, before: Any) -> Any:
    """Set this thread's MXCSR to a state that `round_toward_zero` returned."""

    def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
        slot = b.alloca(ir.IntType(32))
        b.store(args[0], slot)
        _mxcsr(b, "llvm.x86.sse.ldmxcsr", slot)
        return context.get_dummy_value()

    return types.void(types.uint32), codegen


@intrinsic
def no_rounding_before(typing_context: Any) -> Any:
    """`round_toward_zero` for lanes without floating point."""
    return types.uint32(), lambda context, b, signature, args: ir.Constant(ir.IntType(32), 0)


@intrinsic
def no_rounding_after(typing_context: Any, before: Any) -> Any:
    """`restore_rounding` for lanes without floating point."""
    return types.void(types.uint32), lambda context, b, signature, args: context.get_dummy_value()


def rounding_of(lanes_name: str) -> tuple[Any, Any]:
    """The intrinsics that a kernel calls before and after vector arithmetic."""
    if lanes_name == "avx2":
        return round_toward_zero, restore_rounding
    return no_rounding_before, no_rounding_after
