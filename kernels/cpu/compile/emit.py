"""Routines over words in memory, emitted as LLVM IR once per module, callable from numba kernels.

A `Routine` is a function body written with an `Emitter`. Calling it inside another body emits a
call (the first call in an LLVM module also emits the body, never inlined), so a tower of fields
costs one small function per operation instead of one large copy per use: that is what keeps
compilation in seconds. `Routine.intrinsic()` makes it callable in numba code.

Operands are addresses of 64-bit little-endian words (numba type `uintp`), results are written
through the first operand. Every routine reads what it needs before it overwrites it, so operands
may coincide (but not overlap in part), unless its own docstring says otherwise.

`stack`, `load_word`, `store_word`, `leading_zeros` are the few things numba has no words for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

# Routines may hold inline assembly, which numba's set-up of LLVM alone would not assemble.
llvm.initialize_native_target()
llvm.initialize_native_asmparser()

I64 = ir.IntType(64)
POINTER = I64.as_pointer()
MASK64 = (1 << 64) - 1


def words_of(value: int, n_words: int) -> list[int]:
    """Little-endian 64-bit words of 0 <= value < 2^(64 n_words)."""
    return [value >> (64 * i) & MASK64 for i in range(n_words)]


class Emitter:
    """Writes one routine's body: loads, stores, temporaries, constants."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder
        self.module = builder.module

    def at(self, pointer: Any, n_words: int) -> Any:
        """The address `n_words` words further on."""
        return self.builder.gep(pointer, [I64(n_words)]) if n_words else pointer

    def temp(self, n_words: int) -> Any:
        """Fresh uninitialized words on the stack."""
        return self.builder.alloca(I64, size=n_words)

    def load_words(self, pointer: Any, n_words: int = 4) -> list[Any]:
        return [self.builder.load(self.at(pointer, i)) for i in range(n_words)]

    def load(self, pointer: Any, n_words: int = 4) -> Any:
        """The words at `pointer` as one integer of 64 n_words bits."""
        return self.join(self.load_words(pointer, n_words), 64 * n_words)

    def store(self, pointer: Any, value: Any, n_words: int = 4) -> None:
        for i in range(n_words):
            word = self.builder.lshr(value, value.type(64 * i)) if i else value
            self.builder.store(self.builder.trunc(word, I64), self.at(pointer, i))

    def join(self, words: Sequence[Any], n_bits: int) -> Any:
        """Words, least significant first, as one integer of n_bits."""
        wide = ir.IntType(n_bits)
        total = None
        for i, word in enumerate(words):
            part = self.builder.zext(word, wide)
            part = self.builder.shl(part, wide(64 * i)) if i else part
            total = part if total is None else self.builder.or_(total, part)
        return total

    def constant(self, values: Sequence[int]) -> Any:
        """Address of read-only words with these values; one copy per module."""
        name = "zkpot.const." + "".join(f"{v:016x}" for v in values)
        found = self.module.globals.get(name)
        if found is None:
            array = ir.ArrayType(I64, len(values))
            found = ir.GlobalVariable(self.module, array, name)
            found.initializer = ir.Constant(array, list(values))
            found.global_constant = True
            found.linkage = "internal"
        return self.builder.bitcast(found, POINTER)

    def copy(self, out: Any, source: Any, n_words: int) -> None:
        words = self.load_words(source, n_words)
        for i, word in enumerate(words):
            self.builder.store(word, self.at(out, i))


class Routine:
    """A named body over addresses ("p") and 64-bit integers ("i").

    name   : unique among all routines and a full description: equal names mean equal bodies
    params : one letter per operand, e.g. "ppp"
    body   : body(emitter, *operands) emits the code; its value is returned iff `returns`
    """

    def __init__(
        self, name: str, params: str, body: Callable[..., Any], *, returns: bool = False
    ) -> None:
        self.name, self.params, self.body, self.returns = f"zkpot.{name}", params, body, returns

    def __call__(self, e: Emitter, *operands: Any) -> Any:
        return e.builder.call(self._function_in(e.module), operands)

    def _function_in(self, module: Any) -> Any:
        found = module.globals.get(self.name)
        if found is not None:
            return found
        result = I64 if self.returns else ir.VoidType()
        operands = [POINTER if p == "p" else I64 for p in self.params]
        function = ir.Function(module, ir.FunctionType(result, operands), self.name)
        function.linkage = "linkonce_odr"  # equal bodies of linked kernels merge into one
        function.attributes.add("noinline")
        function.attributes.add("nounwind")
        emitter = Emitter(ir.IRBuilder(function.append_basic_block()))
        value = self.body(emitter, *function.args)
        if self.returns:
            emitter.builder.ret(value)
        else:
            emitter.builder.ret_void()
        return function

    def intrinsic(self) -> Callable[..., Any]:
        """This routine as a function for numba code: addresses as `uintp`, integers as `int64`."""
        result = types.uint64 if self.returns else types.void
        signature = result(*(types.uintp if p == "p" else types.int64 for p in self.params))

        def emit(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
            operands = [
                builder.inttoptr(v, POINTER) if p == "p" else v
                for v, p in zip(values, self.params, strict=True)
            ]
            value = builder.call(self._function_in(builder.module), operands)
            return value if self.returns else context.get_dummy_value()

        # numba takes the number of operands from the text of the function it is given.
        def typed2(_typing: Any, a: Any, b: Any) -> Any:
            return signature, emit

        def typed1(_typing: Any, a: Any) -> Any:
            return signature, emit

        def typed3(_typing: Any, a: Any, b: Any, c: Any) -> Any:
            return signature, emit

        def typed4(_typing: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
            return signature, emit

        def typed5(_typing: Any, a: Any, b: Any, c: Any, d: Any, e: Any) -> Any:
            return signature, emit

        typed = (typed1, typed2, typed3, typed4, typed5)[len(self.params) - 1]
        made: Callable[..., Any] = intrinsic(typed)
        return made


@intrinsic
def stack(_typing: Any, n_words: Any) -> Any:
    """Address of `n_words` (a literal) words that live until the calling kernel returns.

    One call site gives one address, also inside a loop.
    """
    if not isinstance(n_words, types.IntegerLiteral):
        return None
    size = n_words.literal_value

    def emit(_context: Any, builder: Any, _signature: Any, _values: Any) -> Any:
        area = cgutils.alloca_once(builder, I64, size=size)
        return builder.ptrtoint(area, I64)

    return types.uintp(n_words), emit


@intrinsic
def load_word(_typing: Any, address: Any) -> Any:
    """The 64-bit word at `address`."""

    def emit(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.load(builder.inttoptr(values[0], POINTER))

    return types.uint64(types.uintp), emit


@intrinsic
def store_word(_typing: Any, address: Any, value: Any) -> Any:
    """Write the 64-bit word at `address`."""

    def emit(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        builder.store(values[1], builder.inttoptr(values[0], POINTER))
        return context.get_dummy_value()

    return types.void(types.uintp, types.uint64), emit


@intrinsic
def leading_zeros(_typing: Any, word: Any) -> Any:
    """Number of leading zero bits of a 64-bit word; 64 for zero."""

    def emit(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.ctlz(values[0], ir.IntType(1)(0))

    return types.uint64(types.uint64), emit
