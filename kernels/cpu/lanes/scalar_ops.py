"""The scalar lanes: the operations of the vector lanes for one element of 4 x 64 bits.

Every element is canonical and in 2^256-Montgomery form, in blocks as in packed form, so conversions
are copies and every sum is normal. The constant table `k` only serves the kernels' own rows (one,
factors).
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from kernels.array import U64, words_from_ints
from kernels.bn254 import MONT_BITS, P, R
from kernels.cpu.compile.emit import I64, POINTER, Body, Emitter, Routine, Value
from kernels.cpu.lanes.interface import LaneOps, Lanes, aligned_words
from kernels.cpu.lanes.rounding import AS_IT_IS
from kernels.cpu.words.scalar64 import FP, FR, FieldRoutines

_ROW_ONE, _ROW_SAME = 0, 4  # 2^256 mod q both: x * 2^256 / 2^256 leaves x as it is


def make_scalar_ops(f: FieldRoutines) -> LaneOps:
    """The operations of one field. Those that need no room of their own are part of the caller."""

    def op(name: str, params: str, body: Body, *, inline: bool = True) -> Callable[..., None]:
        return Routine(f"lane.{f.tag}.{name}", params, body, inline=inline).intrinsic()

    def sub2(e: Emitter, d: Value, x: Value, y: Value, z: Value, k: Value) -> None:
        slot = e.temp(4)
        f.sub(e, slot, x, y)
        f.sub(e, d, slot, z)

    def butterfly(e: Emitter, x: Value, y: Value, w: Value, k: Value) -> None:
        slot = e.temp(4)
        f.mul(e, slot, y, w)
        f.sub(e, y, x, slot)
        f.add(e, x, x, slot)

    def butterfly_one(e: Emitter, x: Value, y: Value, k: Value) -> None:
        slot = e.temp(4)
        e.copy(slot, y, 4)
        f.sub(e, y, x, slot)
        f.add(e, x, x, slot)

    def gather(
        e: Emitter, d: Value, base: Value, refs: Value, offset: Value, stride: Value, k: Value
    ) -> None:
        e.copy(d, _source(e, base, e.builder.load(refs), offset, stride), 4)

    def gather_signed(
        e: Emitter, d: Value, base: Value, refs: Value, offset: Value, stride: Value, k: Value
    ) -> None:
        ref, slot = e.builder.load(refs), e.temp(4)
        source = _source(e, base, ref, offset, stride)
        f.neg(e, slot, source)
        odd = e.builder.trunc(ref, ir.IntType(1))
        e.copy(d, e.builder.select(odd, slot, source), 4)

    add = op("add", "pppp", lambda e, d, x, y, k: f.add(e, d, x, y))
    sub = op("sub", "pppp", lambda e, d, x, y, k: f.sub(e, d, x, y))
    sub_twice = op("sub2", "ppppp", sub2, inline=False)
    copy = op("copy", "ppp", lambda e, d, x, k: e.copy(d, x, 4))
    unpack = op("unpack", "ppip", lambda e, d, p, stride, k: e.copy(d, p, 4))
    pack = op("pack", "pipp", lambda e, p, stride, x, k: e.copy(p, x, 4))
    return LaneOps(
        mul=op("mul", "pppp", lambda e, d, x, y, k: f.mul(e, d, x, y)),
        sqr=op("sqr", "ppp", lambda e, d, x, k: f.sqr(e, d, x)),
        add=add,
        sub=sub,
        norm=copy,
        fold=copy,
        sub_fold=sub,
        sub2_fold=sub_twice,
        add_normal=add,
        sub_normal=sub,
        sub2_normal=sub_twice,
        butterfly=op("butterfly", "pppp", butterfly, inline=False),
        butterfly_one=op("butterfly_one", "ppp", butterfly_one, inline=False),
        gather=op("gather", "pipiip", gather),
        gather_signed=op("gather_signed", "pipiip", gather_signed, inline=False),
        unpack=unpack,
        unpack_packed=unpack,
        pack=pack,
        pack_folded=pack,
        pack_canonical=pack,
    )


def _source(e: Emitter, base: Value, ref: Value, offset: Value, stride: Value) -> Value:
    """Where the element of a reference is."""
    b = e.builder
    index = b.ashr(ref, I64(1))
    return b.inttoptr(b.add(b.add(base, offset), b.mul(index, stride)), POINTER)


def make_scalar_lanes() -> Lanes:
    """The scalar lanes of both fields."""
    return Lanes(
        name="scalar",
        ops_p=make_scalar_ops(FP),
        ops_r=make_scalar_ops(FR),
        rounding=AS_IT_IS,
        width=1,
        block=32,
        limbs=4,
        radix_bits=MONT_BITS,
        packed_offset=0,
        fold_stages=64,
        row_one=_ROW_ONE,
        row_from_256=_ROW_SAME,
        row_to_256=_ROW_SAME,
        table_p=_table(P),
        table_r=_table(R),
        limb_words=lambda values, modulus: words_from_ints(values),
    )


def _table(modulus: int) -> U64:
    table = aligned_words(8)
    table.reshape(2, 4)[:] = words_from_ints([(1 << MONT_BITS) % modulus])
    return table
