"""What numba has no words for: memory by address, the stack, atomic additions, leading zeros."""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.base import BaseContext
from numba.core.typing import Context, Signature
from numba.extending import intrinsic

from kernels.cpu.compile.emit import (
    I64,
    Builder,
    Emitter,
    Function,
    Routine,
    Typed,
    Value,
    declare,
)

I1, I32, BYTES = ir.IntType(1), ir.IntType(32), ir.IntType(8).as_pointer()


def _prefetch(e: Emitter, at: Value) -> None:
    prefetch = declare(e.module, "llvm.prefetch.p0i8", ir.VoidType(), [BYTES, I32, I32, I32])
    read, keep, data = I32(0), I32(3), I32(1)
    e.builder.call(prefetch, [e.builder.bitcast(at, BYTES), read, keep, data])


# load_word(address): the 64-bit word there
load_word = Function("load", "p", lambda e, at: e.builder.load(at), inline=True).intrinsic()
# store_word(address, word)
store_word = Routine(
    "store", "pi", lambda e, at, word: e.builder.store(word, at), inline=True
).intrinsic()
# leading_zeros(word): 0 to 64
leading_zeros = Function(
    "leading_zeros", "i", lambda e, word: e.builder.ctlz(word, I1(0)), inline=True
).intrinsic()
# prefetch(address): brings its cache line closer; any address will do
prefetch = Routine("prefetch", "p", _prefetch, inline=True).intrinsic()


@intrinsic
def stack(_typing: Context, n_words: types.Type) -> Typed | None:
    """Address of `n_words` (a literal) words that live until the calling kernel returns.

    One call site gives one address, also inside a loop.
    """
    if not isinstance(n_words, types.IntegerLiteral):
        return None
    size = n_words.literal_value

    def emit(
        _context: BaseContext, b: Builder, _Signature: Signature, _values: Sequence[Value]
    ) -> Value:
        return b.ptrtoint(cgutils.alloca_once(b, I64, size=size), I64)

    return types.uintp(n_words), emit


@intrinsic
def address(_typing: Context, array: types.Type) -> Typed | None:
    """The address of a contiguous array's first element, as int64."""
    if not isinstance(array, types.Array):
        return None

    def emit(context: BaseContext, b: Builder, called: Signature, values: Sequence[Value]) -> Value:
        return b.ptrtoint(_data(context, b, called, values), I64)

    return types.int64(array), emit


@intrinsic
def fetch_add(_typing: Context, array: types.Type, index: types.Type, amount: types.Type) -> Typed:
    """Atomically add to an int64 array's element; returns the value before."""

    def emit(context: BaseContext, b: Builder, called: Signature, values: Sequence[Value]) -> Value:
        at = b.gep(_data(context, b, called, values), [values[1]])
        return b.atomic_rmw("add", at, values[2], "seq_cst")

    return types.int64(array, types.int64, types.int64), emit


def _data(context: BaseContext, b: Builder, called: Signature, values: Sequence[Value]) -> Value:
    """Where the elements of the first argument, an array, begin."""
    return context.make_array(called.args[0])(context, b, values[0]).data
