"""The rounding mode that lanes of doubles need, set for the time of a kernel (x86 only)."""

from __future__ import annotations

from llvmlite import ir

from kernels.cpu.compile.emit import I64, Emitter, Function, Routine, Value, declare
from kernels.cpu.lanes.interface import Rounding

_I32, _BYTES = ir.IntType(32), ir.IntType(8).as_pointer()
_TOWARD_ZERO = 0x6000  # MXCSR rounding control


def _mxcsr(e: Emitter, instruction: str, slot: Value) -> None:
    function = declare(e.module, f"llvm.x86.sse.{instruction}", ir.VoidType(), [_BYTES])
    e.builder.call(function, [e.builder.bitcast(slot, _BYTES)])


def _round_toward_zero(e: Emitter) -> Value:
    """Set this thread's MXCSR to round toward zero; returns the previous state."""
    slot = e.builder.alloca(_I32)
    _mxcsr(e, "stmxcsr", slot)
    before = e.builder.load(slot)
    e.builder.store(e.builder.or_(before, _I32(_TOWARD_ZERO)), slot)
    _mxcsr(e, "ldmxcsr", slot)
    return e.builder.zext(before, I64)


def _restore_rounding(e: Emitter, before: Value) -> None:
    """Set this thread's MXCSR to a state that `_round_toward_zero` returned."""
    slot = e.builder.alloca(_I32)
    e.builder.store(e.builder.trunc(before, _I32), slot)
    _mxcsr(e, "ldmxcsr", slot)


TOWARD_ZERO = Rounding(
    before=Function("round_toward_zero", "", _round_toward_zero, inline=True).intrinsic(),
    after=Routine("restore_rounding", "i", _restore_rounding, inline=True).intrinsic(),
)
# for lanes without floating point
AS_IT_IS = Rounding(
    before=Function("no_rounding_before", "", lambda e: I64(0), inline=True).intrinsic(),
    after=Routine("no_rounding_after", "i", lambda e, before: None, inline=True).intrinsic(),
)
