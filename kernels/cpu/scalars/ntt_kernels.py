"""Number-theoretic transform kernels: two passes over n = n1 n2 values, W columns or rows at once.

With j = i1 + n1 i2 and k = k2 + n2 k1 (Cooley and Tukey 1965, Bailey's two-pass form):

    X[k] = sum_i1 w_n1^(i1 k1) * ( w_n^(i1 k2) * sum_i2 w_n2^(i2 k2) a[j] )

Pass 1 transforms W neighbouring columns i1 (contiguous loads), multiplies by the inner factor,
which runs through a geometric sequence in k2, and stores row k2; pass 2 transforms W neighbouring
rows k2 and stores columns k1. Input and output are in natural order; the bit reversal happens while
a column is loaded. Evaluation on a coset costs nothing: the shift is folded into the twiddles and
the inner factors.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple, TypeAlias

from numba import types

from kernels.array import U64
from kernels.cpu.compile.jit import kernel
from kernels.cpu.compile.memory import address, fetch_add
from kernels.cpu.lanes.choice import get_lanes
from kernels.numpy_types import Int64Array

_IN_L1 = 128  # blocks transformed stage by stage before the wide stages


class Pass(NamedTuple):
    """What depends on the size n = n1 n2, the direction and the shift of a transform.

    twiddles     : as `butterfly` takes them, row m + j for the factors of half size m
    reversal     : where in a buffer an element goes
    first, ratio : plain words of the factor of an output and of its growth
    trivial      : the first stage's twiddle is one
    scaled       : outputs have factors; those of pass 1 always do
    """

    n1: int
    n2: int
    twiddles: U64
    reversal: Int64Array
    first: U64
    ratio: U64
    trivial: int
    scaled: int


class Batch(NamedTuple):
    """What one pass reads and writes, in n_groups groups of W that threads take.

    source, target : addresses of the values before and after
    next_group     : int64[1], the counter from which threads take
    """

    source: int
    target: int
    n_groups: int
    next_group: Int64Array


RunPass: TypeAlias = Callable[[Pass, Batch, U64, int], None]  # (pass, batch, buffer, k)
_INT, _INTS, _ROWS = types.int64, types.int64[::1], types.uint64[:, ::1]
_PASS = types.NamedTuple((_INT, _INT, _ROWS, _INTS, _ROWS, _ROWS, _INT, _INT), Pass)
_BATCH = types.NamedTuple((_INT, _INT, _INT, _INTS), Batch)
_RUN = types.void(_PASS, _BATCH, types.uint64[::1], types.int64)


class NttOps(NamedTuple):
    """Compiled passes for one kind of lanes: they take groups until none is left.

    buffer : a thread's own, of n2 + 2 (rows: n1 + 2) blocks and 16 words; k: constants of F_r
    """

    columns: RunPass
    rows: RunPass


@cache
def get_ntt_ops(lanes_name: str) -> NttOps:
    """The transform kernels for these lanes."""
    lanes = get_lanes(lanes_name)
    o = lanes.ops_r
    butterfly, butterfly_one, fold, norm, mul = o.butterfly, o.butterfly_one, o.fold, o.norm, o.mul
    unpack, unpack_packed = o.unpack, o.unpack_packed
    pack, pack_canonical = o.pack, o.pack_canonical
    before, after = lanes.rounding
    width, size, fold_stages, limbs = lanes.width, lanes.block, lanes.fold_stages, lanes.limbs
    key = lanes_name

    @kernel(key=key, signature="void(int64, int64, int64, int64, int64)")
    def stage(buf: int, count: int, m: int, twiddles: int, k: int) -> None:
        """One decimation-in-time stage over `count` blocks: halves of m, twiddles[m + j]."""
        for start in range(0, count, 2 * m):
            for j in range(m):
                x = buf + (start + j) * size
                butterfly(x, x + m * size, twiddles + (m + j) * limbs * 8, k)

    @kernel(key=key, signature="void(int64, int64, int64, int64, int64)")
    def transform(buf: int, n: int, twiddles: int, trivial: int, k: int) -> None:
        """Decimation in time over n blocks in bit-reversed order, 0 <= x < 2^256 on entry.

        trivial: the first stage's twiddle is one.
        """
        part = min(n, _IN_L1)
        for start in range(0, n, part):
            base, m, done = buf + start * size, 1, 0
            while m < part:
                if m == 1 and trivial != 0:
                    for j in range(0, part, 2):
                        butterfly_one(base + j * size, base + (j + 1) * size, k)
                else:
                    stage(base, part, m, twiddles, k)
                m *= 2
                done += 1
                if done % fold_stages == 0 and m < n:
                    for j in range(part):
                        fold(base + j * size, base + j * size, k)
        m, done = part, 0
        while 1 << done < part:
            done += 1
        while m < n:
            stage(buf, n, m, twiddles, k)
            m *= 2
            done += 1
            if done % fold_stages == 0 and m < n:
                for j in range(n):
                    fold(buf + j * size, buf + j * size, k)

    @kernel(key=key, signature=_RUN)
    def columns(p: Pass, batch: Batch, buffer: U64, k: int) -> None:
        """Pass 1 for groups of W columns until none is left; group g of a batch of n1 / W.

        first[i1], ratio[i1]: the factor at k2 = 0 and from one k2 to the next
        """
        state, n1, n2 = before(), p.n1, p.n2
        factor = (address(buffer) + 127) // 128 * 128
        step, buf = factor + size, factor + 2 * size
        per_item = n1 // width
        while True:
            g = fetch_add(address(batch.next_group), 1)
            if g >= batch.n_groups:
                break
            item, i1 = g // per_item, g % per_item * width
            at = 32 * (item * n1 * n2 + i1)
            for i2 in range(n2):
                x = buf + size * p.reversal[i2]
                unpack(x, batch.source + at + 32 * n1 * i2, 32, k)
                norm(x, x, k)
            transform(buf, n2, address(p.twiddles), p.trivial, k)
            unpack(factor, address(p.first) + 32 * i1, 32, k)
            norm(factor, factor, k)
            unpack(step, address(p.ratio) + 32 * i1, 32, k)
            norm(step, step, k)
            for k2 in range(n2):
                x = buf + size * k2
                mul(x, x, factor, k)
                mul(factor, factor, step, k)
                pack(batch.target + at + 32 * n1 * k2, 32, x, k)
        after(state)

    @kernel(key=key, signature=_RUN)
    def rows(p: Pass, batch: Batch, buffer: U64, k: int) -> None:
        """Pass 2 for groups of W rows until none is left; group g of a batch of n2 / W."""
        state, n1, n2 = before(), p.n1, p.n2
        factor = (address(buffer) + 127) // 128 * 128
        step, buf = factor + size, factor + 2 * size
        per_item = n2 // width
        while True:
            g = fetch_add(address(batch.next_group), 1)
            if g >= batch.n_groups:
                break
            item, k2 = g // per_item, g % per_item * width
            whole = 32 * item * n1 * n2
            at = whole + 32 * k2 * n1
            for i1 in range(n1):
                unpack_packed(buf + size * p.reversal[i1], batch.source + at + 32 * i1, 32 * n1, k)
            transform(buf, n1, address(p.twiddles), p.trivial, k)
            if p.scaled != 0:
                unpack(factor, address(p.first) + 32 * k2, 32, k)
                norm(factor, factor, k)
                unpack(step, address(p.ratio) + 32 * k2, 32, k)
                norm(step, step, k)
            for k1 in range(n1):
                x = buf + size * k1
                if p.scaled != 0:
                    mul(x, x, factor, k)
                    mul(factor, factor, step, k)
                pack_canonical(batch.target + whole + 32 * (k2 + n2 * k1), 32, x, k)
        after(state)

    return NttOps(columns, rows)
