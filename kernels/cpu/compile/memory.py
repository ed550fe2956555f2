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
    SignedFunction,
    Typed,
    Value,
    declare,
)

I1, I32, BYTES = ir.IntType(1), ir.IntType(32), ir.IntType(8).as_pointer()


def _prefetch(e: Emitter, at: Value) -> None:
    prefetch = declare(e.module, "llvm.prefetch.p0i8", ir.VoidType(), [BYTES, I32, I32, I32])
    read, keep, data = I32(0), I32(3), I32(1)
    e.builder.call(prefetch, [e.builder.bitcast(at, BYTES), read, keep, data])


def _fetch_add(e: Emitter, at: Value, amount: Value) -> Value:
    return e.builder.atomic_rmw("add", at, amount, "seq_cst")


# load_word(address): the 64-bit word there; store_word(address, word)
load_word = Function("load", "p", lambda e, at: e.builder.load(at), inline=True).intrinsic()
store_word = Routine("set", "pi", lambda e, at, w: e.builder.store(w, at), inline=True).intrinsic()
# leading_zeros(word): 0 to 64
leading_zeros = Function("clz", "i", lambda e, w: e.builder.ctlz(w, I1(0)), inline=True).intrinsic()
# prefetch(address): brings its cache line closer; any address will do
prefetch = Routine("prefetch", "p", _prefetch, inline=True).intrinsic()
# fetch_add(address, amount): atomically adds to the word there; returns the word before
fetch_add = SignedFunction("fetch_add", "pi", _fetch_add, inline=True).intrinsic()


@intrinsic
def stack(_typing: Context, n_words: types.Type) -> Typed | None:
    """Address of `n_words` (a literal) words that live until the calling kernel returns.

    One call site gives one address, also inside a loop.
    """
    if not isinstance(n_words, types.IntegerLiteral):
        return None
    size = n_words.literal_value

    def emit(_: BaseContext, b: Builder, _called: Signature, _values: Sequence[Value]) -> Value:
        return b.ptrtoint(cgutils.alloca_once(b, I64, size=size), I64)

    return types.uintp(n_words), emit


@intrinsic
def address(_typing: Context, array: types.Type) -> Typed | None:
    """The address of a contiguous array's first element, as int64."""
    if not isinstance(array, types.Array):
        return None

    def emit(context: BaseContext, b: Builder, called: Signature, values: Sequence[Value]) -> Value:
        view = context.make_array(called.args[0])(context, b, values[0])
        return b.ptrtoint(view.data, I64)

    return types.int64(array), emit
