"""Transforms on arrays of a device: tables, passes and buffers around `src/ntt.cu`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

import numpy as np

from kernels.bn254 import R, root_of_unity
from kernels.cuda.launch.runtime import Array, Device
from kernels.cuda.plan import ELEMENT_BYTES, INNER_ROOTS, LG_TILE, NttPlan, ntt_of_rows, plan_ntt
from kernels.cuda.pointwise import powers

SCALE_IN, SCALE_OUT, FACTOR_OUT, REVERSED_OUT = 1, 2, 4, 8  # as in src/ntt.cu
TABLE_SHARE = 4  # tables are kept while together they take at most 1/4 of the memory

_Key = tuple[int, int, int]  # base, length, first


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
            return a.copy()
        plan = ntt_of_rows(lg_n, rows, self._lg_tile)
        roots = self._table(root_of_unity(lg_n), n)
        inner = self._table(root_of_unity(LG_TILE), INNER_ROOTS)
        first, last, scale = self._scale(n, inverse, shift)
        kernel = self.device.load_module("ntt").kernel("ntt_pass")
        buffers = [self.device.empty(a.shape, np.uint64) for _ in range(plan.n_buffers - 1)]
        source = a
        for i, step in enumerate(plan.passes):
            options = (first if i == 0 else 0) | (last if i == len(plan.passes) - 1 else 0)
            target = buffers[i % len(buffers)]
            sizes = (options, lg_n, step.lg_l, step.lg_r, step.lg_columns)
            words = tuple(np.uint32(v) for v in sizes)
            kernel(
                step.grid,
                step.block,
                (target, source, roots, inner, roots if scale is None else scale, *words),
                shared_bytes=step.shared_bytes,
            )
            source = target
            if report is not None:
                report(i + 1, len(plan.passes))
        return source

    def _scale(self, n: int, inverse: bool, shift: int) -> tuple[int, int, Array | None]:
        """Options of the first and of the last pass, and the table they read."""
        if not inverse:
            return (SCALE_IN, 0, self._table(shift, n)) if shift != 1 else (0, 0, None)
        start = pow(n, -1, R)
        if shift == 1:
            return 0, FACTOR_OUT | REVERSED_OUT, self._table(1, 1, start)
        return 0, SCALE_OUT | REVERSED_OUT, self._table(pow(shift, -1, R), n, start)

    def _table(self, base: int, n: int, first: int = 1) -> Array:
        """first * base^i for i < n, kept; the least recently used ones make room."""
        key = base, n, first
        with self._lock:
            if key not in self._tables:
                self._tables[key] = powers(self.device, base, n, first)
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
