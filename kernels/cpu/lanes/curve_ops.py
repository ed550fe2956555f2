"""Batched affine point addition over lanes, for G1 (coordinates in F_p) and G2 (in F_p2).

A *record* is a packed affine point: x then y, 32 bytes per F_p component, at base + 64 d * index
with d the extension degree. A *reference* is an int64: index << 1 | negate. Indices are relative to
one base address and may be negative, so references reach prepared bases and scratch records alike.

`add_batch` computes n affine sums at the price of one inversion (Montgomery's trick in W chains
whose ends are joined in scalars): 5 products and 1 square each. It reports a vanishing denominator
instead of dividing by it; `kernels.cpu.msm.runs` then sorts out equal and opposite points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, TypeAlias

import numpy as np

from kernels.bn254 import P
from kernels.cpu.compile.emit import words_of
from kernels.cpu.compile.jit import kernel
from kernels.cpu.compile.memory import load_word, prefetch, store_word
from kernels.cpu.lanes.choice import get_lanes
from kernels.cpu.lanes.interface import Binary, Lanes, Ternary
from kernels.cpu.words.scalar64 import copy, fp_inverse, fp_mul, is_zero

_AHEAD = 6  # groups between the fetch of records from memory and their use
TEMPS = 16  # blocks of scratch of the field operations
_ADD_BATCH = f"int64({', '.join(['int64'] * 9)})"


# add_batch(base, a, b, n, out, work, k, one, doubling), see `get_curve_ops`
AddBatch: TypeAlias = Callable[[int, int, int, int, int, int, int, int, int], int]
Invert: TypeAlias = Callable[[int, int, int], bool]  # (x, t, k)


@dataclass(frozen=True, slots=True, eq=False)
class CurveOps:
    """Kernels of one group in one kind of lanes (numba functions over addresses)."""

    lanes: Lanes
    degree: int
    record: int  # bytes
    block: int  # bytes of one vector of coordinates
    add_batch: AddBatch


class FieldOps(NamedTuple):
    """Arithmetic of F_p or F_p2 on blocks of coordinates; t: scratch blocks, k: constants."""

    mul: Callable[[int, int, int, int, int], None]  # (d, x, y, t, k)
    sqr: Callable[[int, int, int, int], None]  # (d, x, t, k)
    add: Binary
    sub: Binary
    sub_fold: Binary
    sub2_fold: Ternary
    add_normal: Binary
    gather: Callable[[int, int, int, int], None]  # (d, base, refs, k): x of W records
    gather_y: Callable[[int, int, int, int], None]  # the same of y, negated where ref & 1
    pack: Callable[[int, int, int, int], None]  # (p, x, y, k): W records at p
    set_one: Callable[[int, int], None]  # (d, one), `one` a block of ones of F_p
    invert: Invert  # False if a lane is zero


def _make_invert_lanes(lanes: Lanes) -> Invert:
    """invert(x, words, temps, k) -> False if a lane is zero; else x = 1/x in every lane."""
    width = lanes.width
    pack_canonical, unpack, norm = lanes.ops_p.pack_canonical, lanes.ops_p.unpack, lanes.ops_p.norm
    # Words of x * 2^radix are the 2^256-Montgomery words of b = x * 2^(radix - 256). Wanted are the
    # words of 2^radix / x = those of b^-1 * 2^(2 (radix - 256)).
    s0, s1, s2, s3 = words_of((1 << (2 * (lanes.radix_bits - 256) + 256)) % P, 4)

    @kernel(key=lanes.name)
    def invert(x: int, words: int, k: int) -> bool:
        pack_canonical(words, 32, x, k)
        prefix = words + 32 * width
        copy(prefix, words)
        for i in range(1, width):
            fp_mul(prefix + 32 * i, prefix + 32 * (i - 1), words + 32 * i)
        last = prefix + 32 * (width - 1)
        if is_zero(last):
            return False
        run, tmp = prefix + 32 * width, prefix + 32 * width + 32
        fp_inverse(run, last)
        store_word(tmp, s0)
        store_word(tmp + 8, s1)
        store_word(tmp + 16, s2)
        store_word(tmp + 24, s3)
        fp_mul(run, run, tmp)
        for j in range(width - 1):
            i = width - 1 - j
            fp_mul(tmp, run, prefix + 32 * (i - 1))
            fp_mul(run, run, words + 32 * i)
            copy(words + 32 * i, tmp)
        copy(words, run)
        unpack(x, words, 32, k)
        norm(x, x, k)
        return True

    return invert


def _field_ops(lanes: Lanes, degree: int) -> FieldOps:
    """Arithmetic of F_p (degree 1) or F_p2 (degree 2, u^2 = -1)."""
    return _prime_field_ops(lanes) if degree == 1 else _quadratic_field_ops(lanes)


def _prime_field_ops(lanes: Lanes) -> FieldOps:
    o, block = lanes.ops_p, lanes.block
    mul_, sqr_, pack_folded_ = o.mul, o.sqr, o.pack_folded
    gather_, gather_signed_ = o.gather, o.gather_signed

    @kernel(key=f"{lanes.name}.1")
    def mul(d: int, x: int, y: int, t: int, k: int) -> None:
        mul_(d, x, y, k)

    @kernel(key=f"{lanes.name}.1")
    def sqr(d: int, x: int, t: int, k: int) -> None:
        sqr_(d, x, k)

    @kernel(key=f"{lanes.name}.1")
    def gather(d: int, base: int, refs: int, k: int) -> None:
        gather_(d, base, refs, 0, 64, k)

    @kernel(key=f"{lanes.name}.1")
    def gather_y(d: int, base: int, refs: int, k: int) -> None:
        gather_signed_(d, base, refs, 32, 64, k)

    @kernel(key=f"{lanes.name}.1")
    def pack(p: int, x: int, y: int, k: int) -> None:
        pack_folded_(p, 64, x, k)
        pack_folded_(p + 32, 64, y, k)

    @kernel(key=f"{lanes.name}.1")
    def set_one(d: int, one: int) -> None:
        for i in range(block // 8):
            store_word(d + 8 * i, load_word(one + 8 * i))

    return FieldOps(
        mul=mul,
        sqr=sqr,
        add=o.add,
        sub=o.sub,
        sub_fold=o.sub_fold,
        sub2_fold=o.sub2_fold,
        add_normal=o.add_normal,
        gather=gather,
        gather_y=gather_y,
        pack=pack,
        set_one=set_one,
        invert=_make_invert_lanes(lanes),
    )


def _on_both(name: str, op: Binary, lanes: Lanes) -> Binary:
    """An operation of F_p on both components."""
    h = lanes.block

    @kernel(key=f"{lanes.name}.2.{name}")
    def both(d: int, x: int, y: int, k: int) -> None:
        op(d, x, y, k)
        op(d + h, x + h, y + h, k)

    return both


def _quadratic_field_ops(lanes: Lanes) -> FieldOps:
    o = lanes.ops_p
    mul_, sqr_, add_, sub_, norm_ = o.mul, o.sqr, o.add, o.sub, o.norm
    sub_fold_, sub2_fold_, add_normal_ = o.sub_fold, o.sub2_fold, o.add_normal
    sub_normal_, sub2_normal_ = o.sub_normal, o.sub2_normal
    gather_, gather_signed_, pack_folded_ = o.gather, o.gather_signed, o.pack_folded
    invert_lanes, h = _make_invert_lanes(lanes), lanes.block

    @kernel(key=f"{lanes.name}.2")
    def mul(d: int, x: int, y: int, t: int, k: int) -> None:
        """Karatsuba, 3 products: x lazy, y normal -> normal.

        Sums of components: of x within 48 q, of y within 16 q. Ifma52 folds every product here, so
        those of y are at most 2 q, and x is at most twice a difference (18 q each) or the 30 q +
        16 q of a doubling. Fma52, where bounds add up: batches reach 7.4 q in each component of y
        (acc = den * acc with |den| <= 4 q has the fixed point 6.3 q, inv = acc * acc' 7.4 q).
        """
        norm_(t, x, k)
        norm_(t + h, x + h, k)
        mul_(t + 2 * h, t, y, k)
        mul_(t + 3 * h, t + h, y + h, k)
        add_(t, t, t + h, k)
        add_normal_(t + h, y, y + h, k)
        mul_(t + 4 * h, t, t + h, k)
        sub_normal_(d, t + 2 * h, t + 3 * h, k)
        sub2_normal_(d + h, t + 4 * h, t + 2 * h, t + 3 * h, k)

    @kernel(key=f"{lanes.name}.2")
    def sqr(d: int, x: int, t: int, k: int) -> None:
        """(a + bu)^2 = (a + b)(a - b) + 2ab u, 2 products; a + b within 16 q.

        Fma52: of the slope, which is within 4.3 q + 8.1 u q. Result: within 10.1 q (Ifma52).
        """
        add_normal_(t, x, x + h, k)
        sub_(t + h, x, x + h, k)
        mul_(t + 2 * h, x, x + h, k)
        mul_(d, t + h, t, k)
        add_normal_(d + h, t + 2 * h, t + 2 * h, k)

    @kernel(key=f"{lanes.name}.2")
    def sub2_fold(d: int, x: int, y: int, z: int, k: int) -> None:
        sub2_fold_(d, x, y, z, k)
        sub2_fold_(d + h, x + h, y + h, z + h, k)

    @kernel(key=f"{lanes.name}.2")
    def gather(d: int, base: int, refs: int, k: int) -> None:
        gather_(d, base, refs, 0, 128, k)
        gather_(d + h, base, refs, 32, 128, k)

    @kernel(key=f"{lanes.name}.2")
    def gather_y(d: int, base: int, refs: int, k: int) -> None:
        gather_signed_(d, base, refs, 64, 128, k)
        gather_signed_(d + h, base, refs, 96, 128, k)

    @kernel(key=f"{lanes.name}.2")
    def pack(p: int, x: int, y: int, k: int) -> None:
        pack_folded_(p, 128, x, k)
        pack_folded_(p + 32, 128, x + h, k)
        pack_folded_(p + 64, 128, y, k)
        pack_folded_(p + 96, 128, y + h, k)

    @kernel(key=f"{lanes.name}.2")
    def set_one(d: int, one: int) -> None:
        for i in range(h // 8):
            store_word(d + 8 * i, load_word(one + 8 * i))
            store_word(d + h + 8 * i, 0)

    @kernel(key=f"{lanes.name}.2")
    def invert(x: int, t: int, k: int) -> bool:
        """1/(a + bu) = (a - bu) / (a^2 + b^2)."""
        sqr_(t, x, k)
        sqr_(t + h, x + h, k)
        add_normal_(t, t, t + h, k)
        if not invert_lanes(t, t + 2 * h, k):
            return False
        mul_(x, x, t, k)
        mul_(x + h, x + h, t, k)
        sub_(t + h, x + h, x + h, k)  # zero, whatever the lowering's representation
        norm_(t + h, t + h, k)
        sub_fold_(x + h, t + h, x + h, k)
        return True

    return FieldOps(
        mul=mul,
        sqr=sqr,
        add=_on_both("add", o.add, lanes),
        sub=_on_both("sub", o.sub, lanes),
        sub_fold=_on_both("sub_fold", o.sub_fold, lanes),
        sub2_fold=sub2_fold,
        add_normal=_on_both("add_normal", o.add_normal, lanes),
        gather=gather,
        gather_y=gather_y,
        pack=pack,
        set_one=set_one,
        invert=invert,
    )


@cache
def get_curve_ops(lanes_name: str, degree: int) -> CurveOps:
    """The group kernels for these lanes; degree 1 for G1, 2 for G2."""
    lanes = get_lanes(lanes_name)
    f = _field_ops(lanes, degree)
    mul, sqr, add, sub, sub_fold, sub2_fold = f.mul, f.sqr, f.add, f.sub, f.sub_fold, f.sub2_fold
    add_normal, gather, gather_y = f.add_normal, f.gather, f.gather_y
    pack, set_one, invert = f.pack, f.set_one, f.invert
    before, after = lanes.rounding
    width, size, record = lanes.width, degree * lanes.block, 64 * degree

    @kernel(key=f"{lanes.name}.{degree}")
    def fetch_ahead(base: int, refs: int) -> None:
        for lane in range(width):
            at = base + (np.int64(load_word(refs + 8 * lane)) >> 1) * record
            for line in range(degree):
                prefetch(at + 64 * line)

    @kernel(key=f"{lanes.name}.{degree}", signature=_ADD_BATCH)
    def add_batch(
        base: int, a: int, b: int, n: int, out: int, work: int, k: int, one: int, doubling: int
    ) -> int:
        """n records at `out` = point(a_i) + point(b_i), or 2 point(a_i) when `doubling`.

        a, b   : addresses of n references, readable up to the next multiple of W (valid ones)
        out    : room for n rounded up to a multiple of W records
        work   : TEMPS + 2 * ceil(n / W) blocks of coordinates, aligned to 64 bytes
        returns: 0, with nothing usable at `out`, if a denominator vanishes, else 1
        """
        state = before()
        t, x1, y1, x2, y2 = work, work + 6 * size, work + 7 * size, work + 8 * size, work + 9 * size
        acc, inv, lam, lam2 = work + 10 * size, work + 11 * size, work + 12 * size, work + 13 * size
        saved = work + 16 * size
        n_groups = (n + width - 1) // width
        set_one(acc, one)
        for g in range(n_groups):
            den, prefix = saved + 2 * size * g, saved + 2 * size * g + size
            if doubling != 0:
                gather_y(y1, base, a + 8 * width * g, k)
                add(den, y1, y1, k)
            else:
                if g + _AHEAD < n_groups:
                    fetch_ahead(base, a + 8 * width * (g + _AHEAD))
                    fetch_ahead(base, b + 8 * width * (g + _AHEAD))
                gather(x1, base, a + 8 * width * g, k)
                gather(x2, base, b + 8 * width * g, k)
                sub(den, x2, x1, k)
            for i in range(size // 8):
                store_word(prefix + 8 * i, load_word(acc + 8 * i))
            mul(acc, den, acc, t, k)
        if not invert(acc, t, k):
            after(state)
            return 0
        for j in range(n_groups):
            g = n_groups - 1 - j
            den, prefix = saved + 2 * size * g, saved + 2 * size * g + size
            mul(inv, acc, prefix, t, k)
            mul(acc, den, acc, t, k)
            gather(x1, base, a + 8 * width * g, k)
            gather_y(y1, base, a + 8 * width * g, k)
            if doubling != 0:
                sqr(lam2, x1, t, k)
                add_normal(x2, lam2, lam2, k)
                add(y2, x2, lam2, k)
                mul(lam, y2, inv, t, k)
                gather(x2, base, a + 8 * width * g, k)
            else:
                gather(x2, base, b + 8 * width * g, k)
                gather_y(y2, base, b + 8 * width * g, k)
                sub(y2, y2, y1, k)
                mul(lam, y2, inv, t, k)
            sqr(lam2, lam, t, k)
            sub2_fold(x2, lam2, x1, x2, k)
            sub(x1, x1, x2, k)
            mul(lam2, x1, lam, t, k)
            sub_fold(y2, lam2, y1, k)
            pack(out + record * width * g, x2, y2, k)
        after(state)
        return 1

    return CurveOps(lanes=lanes, degree=degree, record=record, block=size, add_batch=add_batch)
