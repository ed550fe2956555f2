"""Which lanes the CPU backend computes in: 8 x 52-bit IFMA, 4 x 52-bit FMA, or one 64-bit scalar.

    ifma            AVX-512 IFMA                     fastest
    avx2            AVX2 and FMA                     every x86-64 server since 2015
    scalar          any CPU
    ifma-emulated   the ifma formulas on any CPU     slow, for tests

`auto` takes the first that the host has. Lanes are values: several can live in one process.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from kernels.backend import BackendUnavailable
from kernels.bn254 import P, R
from kernels.cpu.lanes.emit52 import (
    K_FROM_256,
    K_ONE,
    K_PLAIN,
    K_ROWS,
    K_TO_256,
    LIMBS,
    Emitter52,
    constant_rows,
)
from kernels.cpu.lanes.fma52 import Fma52
from kernels.cpu.lanes.ifma52 import Ifma52, Ifma52Emulated
from kernels.cpu.lanes.vector_ops import VectorOps

U64 = npt.NDArray[np.uint64]

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


def aligned_words(n: int) -> U64:
    """n zero words that start on a multiple of 128 bytes (a G2 record, two cache lines)."""
    raw = np.zeros(n + 15, dtype=np.uint64)
    skip = (-raw.ctypes.data % 128) // 8
    return raw[skip : skip + n]


@dataclass(frozen=True, slots=True, eq=False)
class Lanes:
    """One lowering: its operations and the constant tables of both fields.

    ops_p, ops_r  the intrinsics over F_p and F_r (`VectorOps`, or scalar ones of the same names)
    width         elements per block
    block         bytes per block
    limbs         words per element inside a block
    radix_bits    elements stand for x * 2^radix_bits
    packed_offset added to every packed element (four words)
    row_one, row_from_256, row_to_256   rows of the constant tables: 1, and the factors (as
                  elements) that take x * 2^256 to x * 2^radix and back
    fold_stages   butterflies an element survives between two folds, starting below 2^256
    """

    name: str
    ops_p: Any
    ops_r: Any
    width: int
    block: int
    limbs: int
    radix_bits: int
    packed_offset: int
    fold_stages: int
    row_one: int
    row_from_256: int
    row_to_256: int
    table_p: U64
    table_r: U64

    @property
    def p(self) -> int:
        """Address of the constants mod p."""
        return int(self.table_p.ctypes.data)

    @property
    def r(self) -> int:
        """Address of the constants mod r."""
        return int(self.table_r.ctypes.data)

    @property
    def one_p(self) -> int:
        """Address of a block of ones in F_p."""
        return self.p + 8 * self.width * self.row_one

    def splat_words(self, values: list[int], modulus: int) -> U64:
        """Elements as `butterfly` takes them: uint64[n, limbs] with the words of x * 2^radix."""
        return _splat_words(self, values, modulus)


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
    if name == "scalar":
        from kernels.cpu.lanes.scalar_ops import make_scalar_lanes

        return make_scalar_lanes()
    emitter = _VECTOR[name]
    signed = issubclass(emitter, Fma52)
    ops = VectorOps(emitter)
    return Lanes(
        name=name,
        ops_p=ops,
        ops_r=ops,
        width=emitter.width,
        block=8 * LIMBS * emitter.width,
        limbs=LIMBS,
        radix_bits=260,
        packed_offset=emitter.packed_offset,
        fold_stages=(48 - 6) // emitter.butterfly_growth,  # 2^256 < 6 q
        row_one=K_ONE,
        row_from_256=K_FROM_256,
        row_to_256=K_TO_256,
        table_p=_constant_table(emitter.width, P, signed),
        table_r=_constant_table(emitter.width, R, signed),
    )


def _constant_table(width: int, modulus: int, signed: bool) -> U64:
    table = aligned_words(K_ROWS * width)
    rows = table.reshape(K_ROWS, width)
    for i, value in enumerate(constant_rows(modulus, signed=signed)):
        is_word = not signed or K_PLAIN <= i < K_PLAIN + LIMBS
        rows[i] = value if is_word else np.float64(value).view(np.uint64)
    return table


def _splat_words(lanes: Lanes, values: list[int], modulus: int) -> U64:
    from kernels.cpu.lanes.emit52 import balanced_digits, centered, unsigned_digits

    scaled = [(v << lanes.radix_bits) % modulus for v in values]
    if lanes.name == "avx2":
        digits = np.array([balanced_digits(centered(v, modulus)) for v in scaled], dtype=np.int64)
        return np.ascontiguousarray(digits.astype(np.float64).view(np.uint64))
    if lanes.limbs == LIMBS:
        return np.array([unsigned_digits(v) for v in scaled], dtype=np.uint64)
    return np.array(
        [[(v >> (64 * i)) & (2**64 - 1) for i in range(4)] for v in scaled], dtype=np.uint64
    )


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
