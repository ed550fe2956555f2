"""Transforms on CPU lanes: tables, passes and threads around `kernels.cpu.scalars.ntt_kernels`."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from kernels.array import U64, FrMont, words_from_ints
from kernels.backend import Progress
from kernels.bn254 import TWO_ADICITY, R, root_of_unity
from kernels.cpu.lanes.choice import get_lanes
from kernels.cpu.lanes.interface import Lanes
from kernels.cpu.pool import Pool
from kernels.cpu.scalars.ntt_kernels import Batch, Pass, RunPass, get_ntt_ops
from kernels.numpy_types import Int64Array

ELEMENT_NS = 100  # of a pass, for the pool to go by


class Ntt:
    """Transforms over F_r on one kind of lanes."""

    def __init__(self, lanes_name: str, pool: Pool) -> None:
        self.lanes = get_lanes(lanes_name)
        self.pool = pool
        self.ops = get_ntt_ops(lanes_name)
        small = self.lanes.width > 1
        self._small = Ntt("scalar", pool) if small else None

    def run(
        self, a: FrMont, *, inverse: bool, shift: int, progress: Progress | None = None
    ) -> FrMont:
        """See `Backend.ntt`."""
        if len(a.shape) > 2:
            raise ValueError(f"ntt: expected shape [n] or [batch, n], got {list(a.shape)}")
        n = a.shape[-1]
        if n == 0 or n & (n - 1):
            raise ValueError(f"ntt: length {n} is not a power of two")
        lg_n = n.bit_length() - 1
        if lg_n > TWO_ADICITY:
            raise ValueError(f"ntt: length 2^{lg_n} exceeds 2^{TWO_ADICITY}, the largest in F_r")
        shift %= R
        if shift == 0:
            raise ValueError("ntt: a coset shift must not be 0 mod r")
        if self._small is not None and n < self.lanes.width**2:
            return self._small.run(a, inverse=inverse, shift=shift, progress=progress)
        n_items = a.shape[0] if len(a.shape) == 2 else 1
        report = progress or (lambda done, total: None)
        middle, out = np.empty_like(a.data), np.empty_like(a.data)
        columns, rows = _tables(self.lanes.name, lg_n, inverse, shift)
        n1, n2, width = columns.n1, columns.n2, self.lanes.width
        n_first, n_second = n_items * n1 // width, n_items * n2 // width
        total = n_first + n_second
        first = Batch(a.data.ctypes.data, middle.ctypes.data, n_first, np.zeros(1, np.int64))
        second = Batch(middle.ctypes.data, out.ctypes.data, n_second, np.zeros(1, np.int64))
        self._run(self.ops.columns, columns, first, n2, lambda done: report(done, total))
        self._run(self.ops.rows, rows, second, n1, lambda done: report(n_first + done, total))
        report(total, total)
        return FrMont(out)

    def _run(
        self, run: RunPass, one: Pass, batch: Batch, n_blocks: int, report: Callable[[int], None]
    ) -> None:
        """One pass on all threads; a group has n_blocks blocks."""

        def work() -> None:
            buffer = np.empty((n_blocks + 2) * self.lanes.block // 8 + 16, np.uint64)
            run(one, batch, buffer, self.lanes.r)

        self.pool.workers(
            batch.n_groups,
            work,
            lambda: report(min(int(batch.next_group[0]), batch.n_groups)),
            cost_ns=n_blocks * self.lanes.width * ELEMENT_NS,
        )


@lru_cache(maxsize=32)
def _tables(lanes_name: str, lg_n: int, inverse: bool, shift: int) -> tuple[Pass, Pass]:
    """Both passes of a transform: columns, then rows."""
    lanes, lg1 = get_lanes(lanes_name), lg_n // 2
    lg2 = lg_n - lg1
    n1, n2 = 1 << lg1, 1 << lg2
    root = root_of_unity(lg_n)
    if inverse:
        root = pow(root, -1, R)
    start = pow(1 << lg_n, -1, R) if inverse else 1
    inner_shift = 1 if inverse else shift  # of column i1: shift^i1, its i2 go by shift^n1
    back = pow(shift, -1, R) if inverse else 1
    columns = Pass(
        n1=n1,
        n2=n2,
        twiddles=_twiddles(lanes, lg2, pow(root, n1, R), pow(inner_shift, n1, R)),
        reversal=_bit_reversal(lg2),
        first=_sequence(lanes, start, inner_shift, n1),
        ratio=_sequence(lanes, 1, root, n1),
        trivial=int(inner_shift == 1),
        scaled=1,
    )
    rows = Pass(
        n1=n1,
        n2=n2,
        twiddles=_twiddles(lanes, lg1, pow(root, n2, R), 1),
        reversal=_bit_reversal(lg1),
        first=_sequence(lanes, 1, back, n2 if back != 1 else 0),
        ratio=_constant(lanes, pow(back, n2, R), n2 if back != 1 else 0),
        trivial=1,
        scaled=int(back != 1),
    )
    return columns, rows


def _twiddles(lanes: Lanes, lg_n: int, root: int, shift: int) -> U64:
    """Row m + j: shift^(n / 2m) w_2m^j for each half size m, as `butterfly` takes them."""
    n = 1 << lg_n
    values = [1] * max(n, 1)
    m = 1
    while m < n:
        w, value = pow(root, n // (2 * m), R), pow(shift, n // (2 * m), R)
        for j in range(m):
            values[m + j] = value
            value = value * w % R
        m *= 2
    return lanes.splat_words(values, R)


def _powers(first: int, base: int, n: int) -> list[int]:
    out = []
    for _ in range(n):
        out.append(first)
        first = first * base % R
    return out


def _sequence(lanes: Lanes, first: int, base: int, n: int) -> U64:
    """Plain words of the elements first * base^i, i < n."""
    scale = (1 << lanes.radix_bits) % R
    return words_from_ints(v * scale % R for v in _powers(first, base, n))


def _constant(lanes: Lanes, value: int, n: int) -> U64:
    return np.repeat(_sequence(lanes, value, 1, 1), n, axis=0)


def _bit_reversal(lg_n: int) -> Int64Array:
    out = np.zeros(1, np.int64)
    for _ in range(lg_n):
        out = np.concatenate([2 * out, 2 * out + 1])
    return out
