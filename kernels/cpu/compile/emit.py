"""Routines over words in memory, emitted as LLVM IR once per module, callable from numba kernels.

A `Routine` is a function body written with an `Emitter`; a `Function` is one that returns a word.
Calling it inside another body emits a call (the first call in an LLVM module also emits the body,
never inlined), so a tower of fields costs one small function per operation instead of one large
copy per use: that is what keeps compilation in seconds. `intrinsic()` makes it callable in numba
code. Both halves of the CPU backend, words and lanes, wrap what they emit in this one way.

Operands are addresses of 64-bit little-endian words (numba type `uintp`), results are written
through the first operand. Every routine reads what it needs before it overwrites it, so operands
may coincide (but not overlap in part), unless its own docstring says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import Parameter
from inspect import Signature as Parameters
from typing import Generic, TypeAlias, TypeVar

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core.base import BaseContext
from numba.core.typing import Context, Signature
from numba.extending import intrinsic

# Routines may hold inline assembly, which numba's set-up of LLVM alone would not assemble.
llvm.initialize_native_target()
llvm.initialize_native_asmparser()

# llvmlite and numba ship no types: to mypy each of these names is anything, to a reader it is not.
Value: TypeAlias = ir.Value  # what an instruction of the code to be gives: a word, an address
Builder: TypeAlias = ir.IRBuilder
Body: TypeAlias = Callable[..., None]  # body(emitter, *operands)
# What numba asks of an intrinsic: the types of a call, and what writes it, given its operands.
Lowering: TypeAlias = Callable[[BaseContext, Builder, Signature, Sequence[Value]], Value]
Typed: TypeAlias = tuple[Signature, Lowering]
Result = TypeVar("Result")

I64 = ir.IntType(64)
POINTER = I64.as_pointer()
MASK64 = (1 << 64) - 1


def words_of(value: int, n_words: int) -> list[int]:
    """Little-endian 64-bit words of 0 <= value < 2^(64 n_words)."""
    return [value >> (64 * i) & MASK64 for i in range(n_words)]


def declare(
    module: ir.Module, name: str, result: ir.Type, operands: Sequence[ir.Type]
) -> ir.Function:
    """The function of that name, which LLVM knows (`llvm.*`) or a linked module defines."""
    found = module.globals.get(name)
    return found or ir.Function(module, ir.FunctionType(result, operands), name)


class Emitter:
    """Writes one routine's body: loads, stores, temporaries, constants."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.module = builder.module

    def at(self, pointer: Value, n_words: int) -> Value:
        """The address `n_words` words further on."""
        return self.builder.gep(pointer, [I64(n_words)]) if n_words else pointer

    def temp(self, n_words: int) -> Value:
        """Fresh uninitialized words on the stack."""
        return self.builder.alloca(I64, size=n_words)

    def load_words(self, pointer: Value, n_words: int = 4) -> list[Value]:
        return [self.builder.load(self.at(pointer, i)) for i in range(n_words)]

    def load(self, pointer: Value, n_words: int = 4) -> Value:
        """The words at `pointer` as one integer of 64 n_words bits."""
        return self.join(self.load_words(pointer, n_words), 64 * n_words)

    def store(self, pointer: Value, value: Value, n_words: int = 4) -> None:
        for i in range(n_words):
            word = self.builder.lshr(value, value.type(64 * i)) if i else value
            self.builder.store(self.builder.trunc(word, I64), self.at(pointer, i))

    def join(self, words: Sequence[Value], n_bits: int) -> Value:
        """Words, least significant first, as one integer of n_bits."""
        wide = ir.IntType(n_bits)
        total = None
        for i, word in enumerate(words):
            part = self.builder.zext(word, wide)
            part = self.builder.shl(part, wide(64 * i)) if i else part
            total = part if total is None else self.builder.or_(total, part)
        return total

    def constant(self, values: Sequence[int]) -> Value:
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

    def copy(self, out: Value, source: Value, n_words: int) -> None:
        words = self.load_words(source, n_words)
        for i, word in enumerate(words):
            self.builder.store(word, self.at(out, i))


class _Named(Generic[Result]):
    """A routine or function: a named body over addresses ("p") and 64-bit integers ("i").

    name   : unique among all routines and a full description: equal names mean equal bodies
    params : one letter per operand, e.g. "ppp"
    inline : the body is emitted in place of every call: for those of a few instructions, without
             `temp`, which takes more stack at every turn of a caller's loop
    """

    ir_result: ir.Type
    numba_result: types.Type

    def __init__(
        self, name: str, params: str, body: Callable[..., Value | None], *, inline: bool = False
    ) -> None:
        self.name, self.params, self.body, self.inline = f"zkpot.{name}", params, body, inline

    def __call__(self, e: Emitter, *operands: Value) -> Value:
        if self.inline:
            return self.body(e, *operands)
        return e.builder.call(self._function_in(e.module), operands)

    def _function_in(self, module: ir.Module) -> ir.Function:
        found = module.globals.get(self.name)
        if found is not None:
            return found
        operands = [POINTER if p == "p" else I64 for p in self.params]
        function = ir.Function(module, ir.FunctionType(self.ir_result, operands), self.name)
        function.linkage = "linkonce_odr"  # equal bodies of linked kernels merge into one
        function.attributes.add("noinline")
        function.attributes.add("nounwind")
        emitter = Emitter(ir.IRBuilder(function.append_basic_block()))
        value = self.body(emitter, *function.args)
        if self.ir_result is I64:
            emitter.builder.ret(value)
        else:
            emitter.builder.ret_void()
        return function

    def intrinsic(self) -> Callable[..., Result]:
        """This routine for numba code: addresses as `uintp`, integers as `int64`."""
        operands = [types.uintp if p == "p" else types.int64 for p in self.params]

        def emit(
            context: BaseContext, builder: Builder, _called: Signature, values: Sequence[Value]
        ) -> Value:
            pairs = zip(values, self.params, strict=True)
            cast = [builder.inttoptr(v, POINTER) if p == "p" else v for v, p in pairs]
            value = self(Emitter(builder), *cast)
            return context.get_dummy_value() if self.numba_result is types.void else value

        def typed(_typing: Context, *_operands: types.Type) -> Typed:
            return self.numba_result(*operands), emit

        # numba counts the operands of a function that it is given
        names = ["typing", *(f"operand{i}" for i in range(len(operands)))]
        typed.__signature__ = Parameters(  # type: ignore[attr-defined]
            [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in names]
        )
        made: Callable[..., Result] = intrinsic(typed)
        return made


class Routine(_Named[None]):
    """Code that works on memory."""

    ir_result, numba_result = ir.VoidType(), types.void


class Function(_Named[np.uint64]):
    """Code that returns a 64-bit word: its body returns the value."""

    ir_result, numba_result = I64, types.uint64


class SignedFunction(_Named[int]):
    """The same for a word that is a signed integer."""

    ir_result, numba_result = I64, types.int64
