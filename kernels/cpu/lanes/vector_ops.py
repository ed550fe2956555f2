"""The vector lanes as numba intrinsics: memory-to-memory instructions over blocks of W elements.

Every operand is an address (int64), a block's a multiple of 8 W. Bodies are LLVM functions, emitted
once per compiled module and called, so that code stays small and compiles fast; kernels are plain
numba loops over them. What normal, wide, lazy and folded elements are, and the bounds of each
operation: `kernels.cpu.lanes.emit52`. `k` is a field's constant table. `d` may be one of the
operands.

    mul(d, x, y, k)        d = x y / 2^260            x lazy, y normal
    sqr(d, x, k)           d = x^2 / 2^260            x normal
    add, sub(d, x, y, k)   lazy
    norm(d, x, k)          lazy -> wide
    fold(d, x, k)          wide -> folded
    sub_fold(d, x, y, k), sub2_fold(d, x, y, z, k)                   x - y (- z) -> folded
    add_normal, sub_normal(d, x, y, k), sub2_normal(d, x, y, z, k)   x +- y (- z) -> wide
    butterfly(x, y, w, k)  (x, y) = (x + w y, x - w y), w one canonical element for all lanes
    butterfly_one(x, y, k) the same for w = 1, 0 <= y < 2^256
    gather(d, base, refs, offset, stride, k)
                           packed elements at base + (ref >> 1) * stride + offset; refs: W words
    gather_signed          the same, negated where ref & 1
    unpack(d, p, stride, k)          W plain elements (4 words each, stride bytes apart) -> lazy
    unpack_packed(d, p, stride, k)   W packed elements -> wide
    pack(p, stride, x, k)            wide -> W packed elements
    pack_folded(p, stride, x, k)     folded (the result of a fold) -> W packed elements
    pack_canonical(p, stride, x, k)  wide -> W plain elements in [0, q)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from kernels.array import U64
from kernels.bn254 import P, R
from kernels.cpu.lanes.emit52 import (
    I64,
    K_FROM_256,
    K_ONE,
    K_PLAIN,
    K_ROWS,
    K_TO_256,
    LIMBS,
    Element,
    Emitter52,
    Value,
    constant_rows,
)
from kernels.cpu.lanes.interface import Lanes, aligned_words

Body = Callable[..., None]


def lane_op(name: str, n_args: int, body: Body) -> Any:
    """An intrinsic of `n_args` addresses that calls the LLVM function `name` with that body."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        module = builder.module
        fn = module.globals.get(name)
        if fn is None:
            fn = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64] * n_args), name)
            fn.linkage = "internal"
            for attribute in ("noinline", "nounwind"):
                fn.attributes.add(attribute)
            inner = ir.IRBuilder(fn.append_basic_block("entry"))
            body(inner, *fn.args)
            inner.ret_void()
        builder.call(fn, args)
        return context.get_dummy_value()

    typed = types.void(*[types.int64] * n_args), codegen
    # numba reads the parameter list of an intrinsic, so each arity is spelled out
    arities: dict[int, Callable[..., Any]] = {
        3: lambda context, a, b, c: typed,
        4: lambda context, a, b, c, d: typed,
        5: lambda context, a, b, c, d, e: typed,
        6: lambda context, a, b, c, d, e, f: typed,
    }
    return intrinsic(arities[n_args])


def _pointer(b: ir.IRBuilder, address: Value, kind: ir.Type) -> Value:
    return b.inttoptr(address, kind.as_pointer())


class VectorOps:
    """Builds the intrinsics of one lowering."""

    def __init__(self, emitter: type[Emitter52]) -> None:
        self.emitter = emitter
        self.width = emitter.width
        self.vector = ir.VectorType(emitter.word, emitter.width)
        for name in ("add", "sub", "mul", "sub_fold", "sub_normal", "add_normal"):
            setattr(self, name, self._binary(name))
        for name in ("sub2_fold", "sub2_normal"):
            setattr(self, name, self._ternary(name))
        for name in ("sqr", "norm", "fold"):
            setattr(self, name, self._unary(name))
        self.butterfly = self._op("butterfly", 4, self._butterfly)
        self.butterfly_one = self._op("butterfly_one", 3, self._butterfly_one)
        self.gather = self._op("gather", 6, self._gather)
        self.gather_signed = self._op("gather_signed", 6, self._gather_signed)
        self.unpack = self._op("unpack", 4, self._unpack)
        self.unpack_packed = self._op("unpack_packed", 4, self._unpack_packed)
        self.pack = self._op("pack", 4, self._pack)
        self.pack_folded = self._op("pack_folded", 4, self._pack_folded)
        self.pack_canonical = self._op("pack_canonical", 4, self._pack_canonical)

    def _op(self, name: str, n_args: int, body: Body) -> Any:
        return lane_op(f"zkpot_{self.emitter.name}_{name}", n_args, body)

    def _start(self, b: ir.IRBuilder, k: Value) -> Emitter52:
        return self.emitter(b, _pointer(b, k, self.vector))

    def _at(self, b: ir.IRBuilder, address: Value) -> Value:
        return _pointer(b, address, self.vector)

    def _binary(self, name: str) -> Any:
        def body(b: ir.IRBuilder, d: Value, x: Value, y: Value, k: Value) -> None:
            e = self._start(b, k)
            result = getattr(e, name)(e.load(self._at(b, x)), e.load(self._at(b, y)))
            e.store(self._at(b, d), result)

        return self._op(name, 4, body)

    def _ternary(self, name: str) -> Any:
        def body(b: ir.IRBuilder, d: Value, x: Value, y: Value, z: Value, k: Value) -> None:
            e = self._start(b, k)
            operands = [e.load(self._at(b, v)) for v in (x, y, z)]
            e.store(self._at(b, d), getattr(e, name)(*operands))

        return self._op(name, 5, body)

    def _unary(self, name: str) -> Any:
        def body(b: ir.IRBuilder, d: Value, x: Value, k: Value) -> None:
            e = self._start(b, k)
            e.store(self._at(b, d), getattr(e, name)(e.load(self._at(b, x))))

        return self._op(name, 3, body)

    def _splat(self, b: ir.IRBuilder, e: Emitter52, w: Value) -> Element:
        return e.splat(_pointer(b, w, self.emitter.word))

    def _butterfly(self, b: ir.IRBuilder, x: Value, y: Value, w: Value, k: Value) -> None:
        e = self._start(b, k)
        t = e.mul(e.load(self._at(b, y)), self._splat(b, e, w))
        plus, minus = e.butterfly(e.load(self._at(b, x)), t)
        e.store(self._at(b, x), plus)
        e.store(self._at(b, y), minus)

    def _butterfly_one(self, b: ir.IRBuilder, x: Value, y: Value, k: Value) -> None:
        e = self._start(b, k)
        plus, minus = e.butterfly(e.load(self._at(b, x)), e.load(self._at(b, y)))
        e.store(self._at(b, x), plus)
        e.store(self._at(b, y), minus)

    # -- words in memory: four 64-bit words of each lane are adjacent ------------------------------
    def _load_words(self, b: ir.IRBuilder, addresses: list[Value]) -> list[Value]:
        row = ir.VectorType(I64, 4)
        rows = [b.load(_pointer(b, a, row), align=8) for a in addresses]
        halves = [_transpose(b, rows[i : i + 4]) for i in range(0, self.width, 4)]
        if len(halves) == 1:
            return halves[0]
        join = _lanes(range(8))
        return [b.shuffle_vector(u, v, join) for u, v in zip(*halves, strict=True)]

    def _store_words(self, b: ir.IRBuilder, words: list[Value], addresses: list[Value]) -> None:
        row = ir.VectorType(I64, 4)
        for first in range(0, self.width, 4):
            part = words
            if self.width > 4:
                part = [b.shuffle_vector(w, w, _lanes(range(first, first + 4))) for w in words]
            for lane, vec in enumerate(_transpose(b, part)):
                b.store(vec, _pointer(b, addresses[first + lane], row), align=8)

    def _strided(self, b: ir.IRBuilder, p: Value, stride: Value) -> list[Value]:
        out = [p]
        for _ in range(self.width - 1):
            out.append(b.add(out[-1], stride))
        return out

    def _refs(self, b: ir.IRBuilder, refs: Value) -> Value:
        lanes = ir.VectorType(I64, self.width)
        return b.load(_pointer(b, refs, lanes), align=8)

    def _gathered(
        self, b: ir.IRBuilder, e: Emitter52, base: Value, ref: Value, offset: Value, stride: Value
    ) -> Element:
        index = b.ashr(ref, e.ints(1))
        start = b.add(base, offset)
        addresses = []
        for lane in range(self.width):
            one = b.extract_element(index, ir.Constant(ir.IntType(32), lane))
            addresses.append(b.add(start, b.mul(one, stride)))
        return e.from_digits(e.split_words(self._load_words(b, addresses)), packed=True)

    def _gather(
        self,
        b: ir.IRBuilder,
        d: Value,
        base: Value,
        refs: Value,
        offset: Value,
        stride: Value,
        k: Value,
    ) -> None:
        e = self._start(b, k)
        ref = self._refs(b, refs)
        e.store(self._at(b, d), self._gathered(b, e, base, ref, offset, stride))

    def _gather_signed(
        self,
        b: ir.IRBuilder,
        d: Value,
        base: Value,
        refs: Value,
        offset: Value,
        stride: Value,
        k: Value,
    ) -> None:
        e = self._start(b, k)
        ref = self._refs(b, refs)
        x = self._gathered(b, e, base, ref, offset, stride)
        mask = b.sub(e.ints(0), b.and_(ref, e.ints(1)))
        e.store(self._at(b, d), e.negate_where(x, mask))

    def _unpacked(
        self, b: ir.IRBuilder, d: Value, p: Value, stride: Value, k: Value, packed: bool
    ) -> None:
        e = self._start(b, k)
        words = self._load_words(b, self._strided(b, p, stride))
        e.store(self._at(b, d), e.from_digits(e.split_words(words), packed=packed))

    def _unpack(self, b: ir.IRBuilder, d: Value, p: Value, stride: Value, k: Value) -> None:
        self._unpacked(b, d, p, stride, k, packed=False)

    def _unpack_packed(self, b: ir.IRBuilder, d: Value, p: Value, stride: Value, k: Value) -> None:
        self._unpacked(b, d, p, stride, k, packed=True)

    def _pack(self, b: ir.IRBuilder, p: Value, stride: Value, x: Value, k: Value) -> None:
        e = self._start(b, k)
        self._store_words(b, e.pack(e.load(self._at(b, x))), self._strided(b, p, stride))

    def _pack_folded(self, b: ir.IRBuilder, p: Value, stride: Value, x: Value, k: Value) -> None:
        e = self._start(b, k)
        words = e.pack_folded(e.load(self._at(b, x)))
        self._store_words(b, words, self._strided(b, p, stride))

    def _pack_canonical(self, b: ir.IRBuilder, p: Value, stride: Value, x: Value, k: Value) -> None:
        e = self._start(b, k)
        words = e.pack_canonical(e.load(self._at(b, x)))
        self._store_words(b, words, self._strided(b, p, stride))


def _lanes(indices: Any) -> ir.Constant:
    chosen = list(indices)
    return ir.Constant(ir.VectorType(ir.IntType(32), len(chosen)), chosen)


def _transpose(b: ir.IRBuilder, r: list[Value]) -> list[Value]:
    """Four vectors of four words, transposed (unpack, then swap 128-bit halves)."""
    even, odd = _lanes((0, 4, 2, 6)), _lanes((1, 5, 3, 7))
    low, high = _lanes((0, 1, 4, 5)), _lanes((2, 3, 6, 7))
    t0, t1 = b.shuffle_vector(r[0], r[1], even), b.shuffle_vector(r[0], r[1], odd)
    t2, t3 = b.shuffle_vector(r[2], r[3], even), b.shuffle_vector(r[2], r[3], odd)
    return [
        b.shuffle_vector(t0, t2, low),
        b.shuffle_vector(t1, t3, low),
        b.shuffle_vector(t0, t2, high),
        b.shuffle_vector(t1, t3, high),
    ]


# -- lanes ----------------------------------------------------------------------------------------


def make_vector_lanes(emitter: type[Emitter52]) -> Lanes:
    """The lanes of one lowering; one set of operations serves both fields."""
    ops = VectorOps(emitter)
    return Lanes(
        name=emitter.name,
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
        table_p=_constant_table(emitter, P),
        table_r=_constant_table(emitter, R),
        limb_words=emitter.limb_words,
    )


def _constant_table(emitter: type[Emitter52], modulus: int) -> U64:
    table = aligned_words(K_ROWS * emitter.width)
    rows = table.reshape(K_ROWS, emitter.width)
    for i, value in enumerate(constant_rows(modulus, signed=emitter.signed)):
        is_word = not emitter.signed or K_PLAIN <= i < K_PLAIN + LIMBS
        rows[i] = value if is_word else np.float64(value).view(np.uint64)
    return table
