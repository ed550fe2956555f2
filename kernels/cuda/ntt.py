"""Transforms on arrays of a device: tables, passes and buffers around `src/ntt.cu`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from threading import Lock
from typing import NamedTuple

import numpy as np

from kernels.array import FrMont
from kernels.bn254 import TWO_ADICITY, R, root_of_unity
from kernels.cuda.launch.runtime import Array, Device
from kernels.cuda.plan import ELEMENT_BYTES, INNER_ROOTS, LG_TILE, NttPlan, ntt_of_rows, plan_ntt
from kernels.cuda.pointwise import powers
from kernels.cuda.witness import join

SCALE_IN, SCALE_OUT, REVERSED_OUT = 1, 2, 4  # as in src/ntt.cu
TABLE_SHARE = 4  # tables are kept while together they take at most 1/4 of the memory

_Key = tuple[int, int, int]  # base, length, first
_INNER = root_of_unity(LG_TILE), INNER_ROOTS, 1


class Factors(NamedTuple):
    """What one pass multiplies by. tables: those of `roots` and `scale`, None where unread."""

    options: int
    tables: tuple[_Key | None, _Key | None]


@lru_cache(maxsize=256)
def choose_factors(lg_n: int, n_passes: int, i: int, inverse: bool, shift: int) -> Factors:
    """The factors of pass i. An inverse has its 1/n in the last roots if it has no other place.

    shift : 0 < shift < r
    holds : together at most two tables of n elements, for `NttPlan.table_bytes`
    """
    n, first, last = 1 << lg_n, i == 0, i == n_passes - 1
    start = pow(n, -1, R) if inverse and last else 1
    scale: _Key | None = None
    options = REVERSED_OUT if inverse and last else 0
    if inverse and shift != 1:
        if last:
            options, scale = options | SCALE_OUT, (pow(shift, -1, R), n, start)
        start = 1
    elif first and (shift != 1 or start != 1):  # the shift, or 1/n where one pass has no roots
        options, scale = options | SCALE_IN, (shift, n, start)
    return Factors(options, (None if first else (root_of_unity(lg_n), n, start), scale))


class Ntt:
    """Transforms on one device. Keeps the tables of the sizes and shifts it met."""

    def __init__(self, device: Device, lg_tile: int = LG_TILE) -> None:
        self.device, self._lg_tile = device, lg_tile
        self._tables: OrderedDict[_Key, Array] = OrderedDict()
        self._lock = Lock()

    def plan(self, lg_n: int, n_rows: int) -> NttPlan:
        """How many of n_rows transforms `run` takes at a time. Raises DoesNotFit."""
        return plan_ntt(lg_n, n_rows, self.device.free_bytes)

    def run(
        self,
        a: Array,
        *,
        inverse: bool = False,
        shift: int = 1,
        report: Callable[[int, int], None] | None = None,
    ) -> Array:
        """See `Backend.ntt`.

        a       : uint64[rows, 2^lg_n, 4] of this device, left as it is; rows <= MAX_GRID_Y
        shift   : 0 < shift < r
        report  : report(done, total) in passes started
        returns : a new array
        """
        rows, n, _ = a.shape
        lg_n = n.bit_length() - 1
        if rows == 0 or lg_n == 0:  # one element is its own transform
            out = self.device.empty(a.shape, np.uint64)
            if rows > 0:
                join(self.device, [a.reshape(rows * n, -1)], out.reshape(rows * n, -1))
            return out
        plan = ntt_of_rows(lg_n, rows, self._lg_tile)
        inner = self._table(_INNER)
        kernel = self.device.load_module("ntt").kernel("ntt_pass")
        buffers = [self.device.empty(a.shape, np.uint64) for _ in range(plan.n_buffers - 1)]
        source = a
        for i, step in enumerate(plan.passes):
            factors = choose_factors(lg_n, len(plan.passes), i, inverse, shift)
            roots, scale = (inner if k is None else self._table(k) for k in factors.tables)
            target = buffers[i % len(buffers)]
            sizes = (factors.options, lg_n, step.lg_l, step.lg_r, step.lg_columns)
            words = tuple(np.uint32(v) for v in sizes)
            arguments = (target, source, roots, inner, scale, *words)
            kernel(step.grid, step.block, arguments, shared_bytes=step.shared_bytes)
            source = target
            if report is not None:
                report(i + 1, len(plan.passes))
        return source

    def _table(self, key: _Key) -> Array:
        """first * base^i for i < n, kept; the least recently used ones make room."""
        with self._lock:
            if key not in self._tables:
                self._tables[key] = powers(self.device, *key)
            self._tables.move_to_end(key)
            while len(self._tables) > 1 and self._table_bytes() > self._table_limit():
                self._tables.popitem(last=False)
            return self._tables[key]

    def _table_bytes(self) -> int:
        return ELEMENT_BYTES * sum(n for _, n, _ in self._tables)

    def _table_limit(self) -> int:
        return self.device.memory_bytes // TABLE_SHARE

    def forget_tables(self) -> None:
        """Give the tables' memory back."""
        with self._lock:
            self._tables.clear()


def require_transform(a: FrMont, shift: int) -> int:
    """The length of the transforms. Raises ValueError for what `Backend.ntt` excludes."""
    if len(a.shape) > 2:
        raise ValueError(f"ntt: expected shape [n] or [batch, n], got {list(a.shape)}")
    n = a.shape[-1]
    if n == 0 or n & (n - 1):
        raise ValueError(f"ntt: length {n} is not a power of two")
    if n > 1 << TWO_ADICITY:
        raise ValueError(f"ntt: length {n} exceeds 2^{TWO_ADICITY}, the largest in F_r")
    if shift % R == 0:
        raise ValueError("ntt: a coset shift must not be 0 mod r")
    return n
