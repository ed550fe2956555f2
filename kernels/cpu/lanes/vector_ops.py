"""The vector lanes: the formulas of a lowering as operations over blocks, elements and their words.

Bodies are LLVM functions, emitted once per compiled module and called, so that code stays small and
compiles fast; kernels are plain numba loops over them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from llvmlite import ir

from kernels.array import U64
from kernels.bn254 import P, R
from kernels.cpu.compile.emit import I64, Body, Emitter, Routine, Value
from kernels.cpu.lanes.emit52 import (
    K_FROM_256,
    K_ONE,
    K_PLAIN,
    K_ROWS,
    K_TO_256,
    LIMBS,
    Element,
    Emitter52,
    constant_rows,
)
from kernels.cpu.lanes.interface import LaneOps, Lanes, aligned_words
from kernels.cpu.lanes.rounding import AS_IT_IS, TOWARD_ZERO

_ROW = ir.VectorType(I64, 4)


def make_vector_ops(emitter: type[Emitter52]) -> LaneOps:
    """The operations of one lowering."""

    def op(name: str, params: str, body: Body) -> Callable[..., None]:
        """body(f, *operands) over the formulas f; the last parameter is the constant table."""

        def start(e: Emitter, *operands: Value) -> None:
            *others, k = operands
            body(emitter(e.builder, k), *others)

        return Routine(f"{emitter.name}.{name}", params, start).intrinsic()

    def on_blocks(
        name: str, formula: Callable[..., Element], n_operands: int
    ) -> Callable[..., None]:
        def body(f: Emitter52, d: Value, *operands: Value) -> None:
            f.store(d, formula(f, *(f.load(x) for x in operands)))

        return op(name, "p" * (n_operands + 2), body)

    return LaneOps(
        mul=on_blocks("mul", emitter.mul, 2),
        sqr=on_blocks("sqr", emitter.sqr, 1),
        add=on_blocks("add", emitter.add, 2),
        sub=on_blocks("sub", emitter.sub, 2),
        norm=on_blocks("norm", emitter.norm, 1),
        fold=on_blocks("fold", emitter.fold, 1),
        sub_fold=on_blocks("sub_fold", emitter.sub_fold, 2),
        sub2_fold=on_blocks("sub2_fold", emitter.sub2_fold, 3),
        add_normal=on_blocks("add_normal", emitter.add_normal, 2),
        sub_normal=on_blocks("sub_normal", emitter.sub_normal, 2),
        sub2_normal=on_blocks("sub2_normal", emitter.sub2_normal, 3),
        butterfly=op("butterfly", "pppp", _butterfly),
        butterfly_one=op("butterfly_one", "ppp", _butterfly_one),
        gather=op("gather", "pipiip", _gather),
        gather_signed=op("gather_signed", "pipiip", _gather_signed),
        unpack=op("unpack", "piip", _unpack(packed=False)),
        unpack_packed=op("unpack_packed", "piip", _unpack(packed=True)),
        pack=op("pack", "iipp", _pack(emitter.pack)),
        pack_folded=op("pack_folded", "iipp", _pack(emitter.pack_folded)),
        pack_canonical=op("pack_canonical", "iipp", _pack(emitter.pack_canonical)),
    )


def _butterfly(f: Emitter52, x: Value, y: Value, w: Value) -> None:
    t = f.mul(f.load(y), f.splat(w))
    plus, minus = f.butterfly(f.load(x), t)
    f.store(x, plus)
    f.store(y, minus)


def _butterfly_one(f: Emitter52, x: Value, y: Value) -> None:
    plus, minus = f.butterfly(f.load(x), f.load(y))
    f.store(x, plus)
    f.store(y, minus)


def _gather(f: Emitter52, d: Value, base: Value, refs: Value, offset: Value, stride: Value) -> None:
    f.store(d, _gathered(f, base, _references(f, refs), offset, stride))


def _gather_signed(
    f: Emitter52, d: Value, base: Value, refs: Value, offset: Value, stride: Value
) -> None:
    ref = _references(f, refs)
    x = _gathered(f, base, ref, offset, stride)
    mask = f.b.sub(f.ints(0), f.b.and_(ref, f.ints(1)))
    f.store(d, f.negate_where(x, mask))


def _unpack(*, packed: bool) -> Body:
    def body(f: Emitter52, d: Value, p: Value, stride: Value) -> None:
        words = _load_words(f, _strided(f, p, stride))
        f.store(d, f.from_digits(f.split_words(words), packed=packed))

    return body


def _pack(to_words: Callable[[Emitter52, Element], list[Value]]) -> Body:
    def body(f: Emitter52, p: Value, stride: Value, x: Value) -> None:
        _store_words(f, to_words(f, f.load(x)), _strided(f, p, stride))

    return body


# -- words in memory: four 64-bit words of each lane are adjacent ----------------------------------


def _references(f: Emitter52, refs: Value) -> Value:
    return f.b.load(f.b.bitcast(refs, f.vi.as_pointer()), align=8)


def _gathered(f: Emitter52, base: Value, ref: Value, offset: Value, stride: Value) -> Element:
    b = f.b
    index = b.ashr(ref, f.ints(1))
    start = b.add(base, offset)
    addresses = []
    for lane in range(f.width):
        one = b.extract_element(index, ir.Constant(ir.IntType(32), lane))
        addresses.append(b.add(start, b.mul(one, stride)))
    return f.from_digits(f.split_words(_load_words(f, addresses)), packed=True)


def _load_words(f: Emitter52, addresses: list[Value]) -> list[Value]:
    rows = [f.b.load(_row_at(f, a), align=8) for a in addresses]
    halves = [_transpose(f, rows[i : i + 4]) for i in range(0, f.width, 4)]
    if len(halves) == 1:
        return halves[0]
    join = _lanes(range(8))
    return [f.b.shuffle_vector(u, v, join) for u, v in zip(*halves, strict=True)]


def _store_words(f: Emitter52, words: list[Value], addresses: list[Value]) -> None:
    for first in range(0, f.width, 4):
        part = words
        if f.width > 4:
            part = [f.b.shuffle_vector(w, w, _lanes(range(first, first + 4))) for w in words]
        for lane, vec in enumerate(_transpose(f, part)):
            f.b.store(vec, _row_at(f, addresses[first + lane]), align=8)


def _row_at(f: Emitter52, address: Value) -> Value:
    return f.b.inttoptr(address, _ROW.as_pointer())


def _strided(f: Emitter52, p: Value, stride: Value) -> list[Value]:
    out = [p]
    for _ in range(f.width - 1):
        out.append(f.b.add(out[-1], stride))
    return out


def _lanes(indices: Sequence[int]) -> Value:
    return ir.Constant(ir.VectorType(ir.IntType(32), len(indices)), list(indices))


def _transpose(f: Emitter52, r: list[Value]) -> list[Value]:
    """Four vectors of four words, transposed (unpack, then swap 128-bit halves)."""
    even, odd = _lanes((0, 4, 2, 6)), _lanes((1, 5, 3, 7))
    low, high = _lanes((0, 1, 4, 5)), _lanes((2, 3, 6, 7))
    t0, t1 = f.b.shuffle_vector(r[0], r[1], even), f.b.shuffle_vector(r[0], r[1], odd)
    t2, t3 = f.b.shuffle_vector(r[2], r[3], even), f.b.shuffle_vector(r[2], r[3], odd)
    return [
        f.b.shuffle_vector(t0, t2, low),
        f.b.shuffle_vector(t1, t3, low),
        f.b.shuffle_vector(t0, t2, high),
        f.b.shuffle_vector(t1, t3, high),
    ]


# -- lanes ----------------------------------------------------------------------------------------


def make_vector_lanes(emitter: type[Emitter52]) -> Lanes:
    """The lanes of one lowering; one set of operations serves both fields."""
    ops = make_vector_ops(emitter)
    return Lanes(
        name=emitter.name,
        ops_p=ops,
        ops_r=ops,
        rounding=TOWARD_ZERO if emitter.signed else AS_IT_IS,
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
