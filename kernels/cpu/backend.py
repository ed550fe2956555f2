"""The CPU backend: every method of `kernels.backend.Backend` on the lanes this host has."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TypeVar

import numpy as np

from kernels.array import U64, FrArray, FrMont, G1Array, G2Array, SparseMatrix
from kernels.backend import (
    BackendInfo,
    FixedG1,
    FixedG2,
    G1Sum,
    G2Sum,
    Progress,
    Rows,
    SumProgress,
    sum_one_by_one,
)
from kernels.cpu.compile.jit import cache_directory
from kernels.cpu.lanes.choice import choose_lanes
from kernels.cpu.msm import membership, short_scalars
from kernels.cpu.msm.fixed_base import FixedBase
from kernels.cpu.msm.pippenger import Msm, PreparedBases
from kernels.cpu.msm.scaling import scale_g1
from kernels.cpu.pool import GRAIN_NS, Pool
from kernels.cpu.scalars import pointwise, sparse
from kernels.cpu.scalars.ntt import Ntt
from kernels.cpu.words import group
from kernels.cpu.words.point_rows import ROW_NS as POINT_ROW_NS
from kernels.cpu.words.point_rows import PointRows
from kernels.host import HostArrays
from kernels.machine import bound_threads, count_processors
from kernels.numpy_types import BoolArray

Points = TypeVar("Points", G1Array, G2Array)
_PARTS_A_THREAD = 16


class CpuBackend(HostArrays):
    """F_r, transforms and groups in numba kernels.

    lanes   : auto, ifma, avx2, scalar (see `kernels.cpu.lanes.choice`); default `$ZKPOT_LANES`,
              else auto
    threads : default the processors this process may use, and no more than `$ZKPOT_THREADS`
    grain_ns : see `Pool`

    Raises BackendUnavailable when the host lacks what the lanes need.
    """

    def __init__(
        self,
        lanes: str | None = None,
        threads: int | None = None,
        grain_ns: int = GRAIN_NS,
    ) -> None:
        self._lanes = find_lanes(lanes)
        self._pool = Pool(threads or choose_threads(), grain_ns=grain_ns)

    @cached_property
    def _g1(self) -> Msm:
        return Msm(self._lanes, 1, self._pool)

    @cached_property
    def _g2(self) -> Msm:
        return Msm(self._lanes, 2, self._pool)

    @cached_property
    def _ntt(self) -> Ntt:
        return Ntt(self._lanes, self._pool)

    def info(self) -> BackendInfo:
        """Lanes, threads and where compiled kernels are kept."""
        return BackendInfo(
            name="cpu",
            lanes=self._lanes,
            n_threads=self._pool.n_threads,
            detail={"kernel_cache": str(cache_directory())},
        )

    # -- F_r ---------------------------------------------------------------------------------------
    def to_mont(self, a: FrArray) -> FrMont:
        """x -> x * 2^256 mod r."""
        return pointwise.to_mont(self._pool, a)

    def from_mont(self, a: FrMont) -> FrArray:
        """x * 2^256 mod r -> x."""
        return pointwise.from_mont(self._pool, a)

    def add(self, a: FrMont, b: FrMont) -> FrMont:
        """Elementwise a + b."""
        return pointwise.add(self._pool, a, b)

    def sub(self, a: FrMont, b: FrMont) -> FrMont:
        """Elementwise a - b."""
        return pointwise.sub(self._pool, a, b)

    def mul(self, a: FrMont, b: FrMont) -> FrMont:
        """Elementwise a b."""
        return pointwise.mul(self._pool, a, b)

    def scale(self, a: FrMont, factor: int) -> FrMont:
        """factor * a."""
        return pointwise.scale(self._pool, a, factor)

    def batch_inverse(self, a: FrMont) -> FrMont:
        """Elementwise 1/a; ZeroDivisionError names the first zero."""
        return pointwise.batch_inverse(self._pool, a)

    def powers(self, base: int, n: int, *, first: int = 1) -> FrMont:
        """first * base^i for 0 <= i < n."""
        return pointwise.powers(self._pool, base, n, first)

    def dot(self, a: FrMont, b: FrMont) -> int:
        """sum a_i b_i mod r."""
        return pointwise.dot(self._pool, a, b)

    def fold(self, a: FrMont, n: int, level: int) -> FrMont:
        """a(X) mod X^n - level."""
        return pointwise.fold(self._pool, a, n, level)

    def matvec(self, m: SparseMatrix, z: FrMont, *, rows: Sequence[Rows] | None = None) -> FrMont:
        """m z, or some of its rows."""
        parts = [m] if rows is None else [m.rows(*part) for part in rows]
        products = [sparse.matvec(self._pool, part, z) for part in parts]
        return products[0] if len(products) == 1 else FrMont.concat([FrMont.zeros(0), *products])

    # -- transforms --------------------------------------------------------------------------------
    def ntt(
        self,
        a: FrMont,
        *,
        inverse: bool = False,
        shift: int = 1,
        progress: Progress | None = None,
    ) -> FrMont:
        """See `Backend.ntt`."""
        return self._ntt.run(a, inverse=inverse, shift=shift, progress=progress)

    # -- groups ------------------------------------------------------------------------------------
    def msm_g1(
        self, scalars: FrArray, bases: G1Array | FixedG1, *, progress: Progress | None = None
    ) -> G1Array:
        """sum s_i P_i."""
        prepared = self.fix_g1(bases) if isinstance(bases, G1Array) else bases
        return G1Array(_sum(self._g1, scalars, prepared, progress))

    def msm_g2(
        self, scalars: FrArray, bases: G2Array | FixedG2, *, progress: Progress | None = None
    ) -> G2Array:
        """sum s_i Q_i."""
        prepared = self.fix_g2(bases) if isinstance(bases, G2Array) else bases
        return G2Array(_sum(self._g2, scalars, prepared, progress))

    def msm_all(
        self,
        g1: Iterable[G1Sum],
        g2: Iterable[G2Sum] = (),
        *,
        progress: SumProgress | None = None,
    ) -> tuple[list[G1Array], list[G2Array]]:
        """One sum after the other."""
        return sum_one_by_one(self, g1, g2, progress)

    def fix_g1(self, bases: G1Array, *, max_bytes: int | None = None) -> FixedG1:
        """Bases in the lanes' form, with precomputed multiples if `max_bytes` is given."""
        return _fix(self._g1, bases.data, max_bytes)

    def fix_g2(self, bases: G2Array, *, max_bytes: int | None = None) -> FixedG2:
        """Bases in the lanes' form, with precomputed multiples if `max_bytes` is given."""
        return _fix(self._g2, bases.data, max_bytes)

    def fixed_base_g1(
        self, scalars: FrArray, base: G1Array, *, progress: Progress | None = None
    ) -> G1Array:
        """s_i * base for every i."""
        return G1Array(FixedBase(self._g1).run(scalars, base.data, progress))

    def fixed_base_g2(
        self, scalars: FrArray, base: G2Array, *, progress: Progress | None = None
    ) -> G2Array:
        """s_i * base for every i."""
        return G2Array(FixedBase(self._g2).run(scalars, base.data, progress))

    def scale_g1(self, factor: int, points: G1Array) -> G1Array:
        """factor * P_i for every i, for points that are not fixed; of this backend alone."""
        return scale_g1(factor, points, self._g1)

    def sum_rows_g1(self, rows: PointRows, points: G1Array) -> G1Array:
        """A sparse matrix times points; of this backend alone. ShapeError for too few points."""
        out = self._sum_rows(rows, points, rows.sum_g1)
        return G1Array(out)

    def sum_rows_g2(self, rows: PointRows, points: G2Array) -> G2Array:
        """As `sum_rows_g1`."""
        out = self._sum_rows(rows, points, rows.sum_g2)
        return G2Array(out)

    def _sum_rows(
        self,
        rows: PointRows,
        points: Points,
        run: Callable[[Points, U64, int, int], None],
    ) -> U64:
        rows.require_points(len(points))
        out = np.empty((len(rows), points.WORDS), dtype=np.uint64)
        n_parts = self._pool.count(len(rows), POINT_ROW_NS) * _PARTS_A_THREAD
        size = max(1, -(-len(rows) // n_parts))  # rows differ: a part that is short is soon done
        parts = [(i, min(i + size, len(rows))) for i in range(0, len(rows), size)]
        self._pool.each(parts, lambda first, last: run(points, out, first, last))
        return out

    def is_on_curve_g1(self, points: G1Array) -> BoolArray:
        """Per point, on all threads."""
        out = np.zeros(len(points), np.bool_)

        def part(first: int, last: int) -> None:
            out[first:last] = group.is_on_curve_g1(points[first:last])

        self._pool.ranges(len(points), part, cost_ns=200)
        return out

    def is_in_subgroup_g2(self, points: G2Array) -> BoolArray:
        """Per point, on all threads."""
        out = np.zeros(len(points), np.bool_)

        def part(first: int, last: int) -> None:
            out[first:last] = group.is_in_subgroup_g2(points[first:last])

        self._pool.ranges(len(points), part, cost_ns=50_000)
        return out

    def are_all_in_subgroup_g2(self, points: G2Array, random_bytes: Callable[[int], bytes]) -> bool:
        """All points at once; see `kernels.cpu.msm.membership`."""
        return membership.are_all_in_subgroup_g2(self._g2, points, random_bytes)


def find_lanes(wanted: str | None = None) -> str:
    """The name of the lanes wanted, or of `$ZKPOT_LANES`, or the first that the host has.

    Raises BackendUnavailable when the host lacks what they need.
    """
    return choose_lanes(wanted or os.environ.get("ZKPOT_LANES") or "auto")


def choose_threads(wanted: str | None = None, n_processors: int | None = None) -> int:
    """Threads for this process: `wanted` bounds them, and so does the machine.

    wanted       : default `$ZKPOT_THREADS`; empty: unset
    n_processors : default those that affinity and control groups allow
    """
    most = count_processors() if n_processors is None else n_processors
    return bound_threads(os.environ.get("ZKPOT_THREADS", "") if wanted is None else wanted, most)


def _fix(msm: Msm, points: U64, max_bytes: int | None) -> PreparedBases:
    if points.ndim != 2:
        raise ValueError(f"bases: expected shape [n], got {list(points.shape[:-1])}")
    return msm.prepare(points) if max_bytes is None else msm.prepare_tables(points, max_bytes)


def _sum(msm: Msm, scalars: FrArray, bases: object, progress: Progress | None) -> U64:
    if not isinstance(bases, PreparedBases):
        raise TypeError(f"bases prepared by another backend: {type(bases).__name__}")
    if len(scalars.shape) != 1:
        raise ValueError(f"MSM: expected scalars of shape [n], got {list(scalars.shape)}")
    return short_scalars.run(msm, scalars, bases, progress).reshape(1, -1)
