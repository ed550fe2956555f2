"""The scalar lanes: the operations of the vector lanes for one element of 4 x 64 bits.

Every element is canonical and in 2^256-Montgomery form, in blocks as in packed form, so conversions
are copies and every sum is normal. The constant table `k` only serves the kernels' own rows (one,
factors).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from kernels.array import words_from_ints
from kernels.bn254 import MONT_BITS, P, R
from kernels.cpu.compile.emit import I64, POINTER, Emitter
from kernels.cpu.lanes.interface import Lanes, aligned_words
from kernels.cpu.lanes.vector_ops import lane_op
from kernels.cpu.words.scalar64 import FP, FR, I256, FieldRoutines

Value = Any
_ROW_ONE, _ROW_SAME = 0, 4  # 2^256 mod q both: x * 2^256 / 2^256 leaves x as it is


class ScalarOps:
    """Intrinsics of one field under the names that `VectorOps` has."""

    def __init__(self, routines: FieldRoutines) -> None:
        self.f = routines
        f = routines
        self.mul = self._op("mul", 4, lambda e, d, x, y, k: f.mul(e, d, x, y))
        self.sqr = self._op("sqr", 3, lambda e, d, x, k: f.sqr(e, d, x))
        self.add = self._op("add", 4, lambda e, d, x, y, k: f.add(e, d, x, y))
        self.sub = self._op("sub", 4, lambda e, d, x, y, k: f.sub(e, d, x, y))
        self.add_normal, self.sub_fold, self.sub_normal = self.add, self.sub, self.sub
        self.sub2_fold = self._op("sub2", 5, self._sub2)
        self.sub2_normal = self.sub2_fold
        self.norm = self._op("copy", 3, lambda e, d, x, k: e.copy(d, x, 4))
        self.fold = self.norm
        self.butterfly = self._op("butterfly", 4, self._butterfly)
        self.butterfly_one = self._op("butterfly_one", 3, self._butterfly_one)
        self.gather = self._op("gather", 6, self._gather)
        self.gather_signed = self._op("gather_signed", 6, self._gather_signed)
        self.unpack = self._op("unpack", 4, lambda e, d, p, stride, k: e.copy(d, p, 4))
        self.unpack_packed = self.unpack
        self.pack = self._op("pack", 4, lambda e, p, stride, x, k: e.copy(p, x, 4))
        self.pack_folded, self.pack_canonical = self.pack, self.pack

    def _op(self, name: str, n_args: int, body: Any) -> Any:
        def wrapped(b: ir.IRBuilder, *args: Value) -> None:
            body(Emitter(b), *(b.inttoptr(a, POINTER) for a in args))

        return lane_op(f"zkpot_scalar_{self.f.tag}_{name}", n_args, wrapped)

    def _sub2(self, e: Emitter, d: Value, x: Value, y: Value, z: Value, k: Value) -> None:
        slot = e.builder.bitcast(e.builder.alloca(I256), POINTER)
        self.f.sub(e, slot, x, y)
        self.f.sub(e, d, slot, z)

    def _butterfly(self, e: Emitter, x: Value, y: Value, w: Value, k: Value) -> None:
        slot = e.builder.bitcast(e.builder.alloca(I256), POINTER)
        self.f.mul(e, slot, y, w)
        self.f.sub(e, y, x, slot)
        self.f.add(e, x, x, slot)

    def _butterfly_one(self, e: Emitter, x: Value, y: Value, k: Value) -> None:
        slot = e.builder.bitcast(e.builder.alloca(I256), POINTER)
        e.copy(slot, y, 4)
        self.f.sub(e, y, x, slot)
        self.f.add(e, x, x, slot)

    def _source(
        self, e: Emitter, base: Value, refs: Value, offset: Value, stride: Value
    ) -> tuple[Value, Value]:
        b = e.builder
        base, offset, stride = (b.ptrtoint(v, I64) for v in (base, offset, stride))
        ref = b.load(refs)
        index = b.ashr(ref, I64(1))
        return b.inttoptr(b.add(b.add(base, offset), b.mul(index, stride)), POINTER), ref

    def _gather(
        self, e: Emitter, d: Value, base: Value, refs: Value, offset: Value, stride: Value, k: Value
    ) -> None:
        source, _ = self._source(e, base, refs, offset, stride)
        e.copy(d, source, 4)

    def _gather_signed(
        self, e: Emitter, d: Value, base: Value, refs: Value, offset: Value, stride: Value, k: Value
    ) -> None:
        source, ref = self._source(e, base, refs, offset, stride)
        b = e.builder
        slot = b.bitcast(b.alloca(I256), POINTER)
        self.f.neg(e, slot, source)
        odd = b.trunc(ref, ir.IntType(1))
        e.copy(d, b.select(odd, slot, source), 4)


def make_scalar_lanes() -> Lanes:
    """The scalar lanes of both fields."""
    return Lanes(
        name="scalar",
        ops_p=ScalarOps(FP),
        ops_r=ScalarOps(FR),
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


def _table(modulus: int) -> Any:
    table = aligned_words(8)
    one = (1 << MONT_BITS) % modulus
    for i in range(8):
        table[i] = (one >> (64 * (i % 4))) & (2**64 - 1)
    return table
