"""Prepared bases of an MSM on a device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels.array import U64, G1Array, G2Array
from kernels.cuda.launch.runtime import Array, Device, Module, grid_for
from kernels.cuda.msm.plan import TableChoice, choose_tables, fixed_bytes

CHUNK = 1 << 18  # points whose multiples are computed at a time
PER_INVERSION = 32  # points that share one inversion
BLOCK = 64
WORK_SHARE = 2  # one in so many bytes of the device is for work


def spare_bytes(device: Device) -> int:
    """What more bases may take, so that work always finds its share of the device."""
    return max(device.free_bytes - device.memory_bytes // WORK_SHARE, 0)


@dataclass(frozen=True, slots=True, eq=False)
class CudaBases:
    """Bases of G1 (degree 1) or G2 (2), on the device or, when they do not fit, on the host.

    table    : uint64[n_tables * n, 8 degree] of the device, record j n + i is 2^(c S j) P_i
    infinite : uint8[n] of the device, 1 for points at infinity
    host     : uint64[n, 8 degree], instead of both: every sum sends them, piece by piece
    tables   : digits that the table fixes; None if it holds no multiples
    """

    n: int
    degree: int
    tables: TableChoice | None = None
    table: Array = None
    infinite: Array = None
    host: U64 | None = None

    def __len__(self) -> int:
        return self.n

    @property
    def is_resident(self) -> bool:
        return self.host is None

    @property
    def n_bytes(self) -> int:
        return fixed_bytes(self.n, self.degree, self.tables.n_tables if self.tables else 1)


def find_infinite(points: U64) -> Any:
    """uint8[n]: 1 for records of zero words."""
    return np.logical_not(points.any(axis=1)).astype(np.uint8)


def prepare_bases(
    device: Device, points: U64, degree: int, max_bytes: int | None = None
) -> CudaBases:
    """Bases for many sums, with multiples if `max_bytes` and the device leave room for them.

    points : uint64[n, 8 degree], affine, 2^256-Montgomery form; ValueError for other shapes
    """
    require_points(points)
    n, spare = len(points), spare_bytes(device)
    if fixed_bytes(n, degree, 1) > spare:
        return CudaBases(n, degree, host=points.copy())
    table, infinite = device.asarray(points), device.asarray(find_infinite(points))
    work_bytes = device.memory_bytes // WORK_SHARE
    tables = choose_tables(n, degree, min(max_bytes or 0, spare), work_bytes=work_bytes)
    if n == 0 or tables is None:
        return CudaBases(n, degree, table=table, infinite=infinite)
    bases, table = table, device.empty((n * tables.n_tables, 8 * degree), np.uint64)
    table[:n] = bases
    module = device.load_module(f"msm_g{degree}")
    _fill_multiples(device, module, table, n, degree, tables)
    return CudaBases(n, degree, tables=tables, table=table, infinite=infinite)


def lend_bases(points: U64, degree: int) -> CudaBases:
    """Bases for one sum, which stay on the host and must not change until it ends."""
    require_points(points)
    return CudaBases(len(points), degree, host=points)


def as_bases(bases: object, degree: int) -> CudaBases:
    """The bases of a sum: prepared ones, or lent ones. Raises TypeError for any others."""
    if isinstance(bases, G1Array | G2Array):
        bases = lend_bases(bases.data, 1 if isinstance(bases, G1Array) else 2)
    if not isinstance(bases, CudaBases) or bases.degree != degree:
        raise TypeError(f"bases prepared for another backend or group: {type(bases).__name__}")
    return bases


def require_points(points: U64) -> None:
    """ValueError for another shape than uint64[n, 8 degree]."""
    if points.ndim != 2:
        raise ValueError(f"bases: expected shape [n], got {list(points.shape[:-1])}")


def _fill_multiples(
    device: Device, module: Module, table: Array, n: int, degree: int, tables: TableChoice
) -> None:
    """table[j n + i] = 2^(c S) table[(j - 1) n + i], 1 <= j < T, chunk by chunk."""
    size = min(n, CHUNK)
    points = device.empty((size, 16 * degree), np.uint64)
    products = device.empty((size, 4 * degree), np.uint64)
    double = module.kernel(f"g{degree}_double_points")
    n_doublings = np.uint32(tables.c * tables.n_sets)
    for row in range(1, tables.n_tables):
        for first in range(0, n, size):
            last = min(first + size, n)
            source = table[(row - 1) * n + first : (row - 1) * n + last]
            target = table[row * n + first : row * n + last]
            arguments = (points, source, np.uint64(last - first), n_doublings)
            double(grid_for(last - first, BLOCK), (BLOCK, 1, 1), arguments)
            normalize_points(module, degree, target, products, points, last - first, PER_INVERSION)


def normalize_points(
    module: Module,
    degree: int,
    out: Array,
    products: Array,
    points: Array,
    n: int,
    per_inversion: int,
) -> None:
    """out = the n points, affine and canonical; `per_inversion` points share an inversion."""
    grid = grid_for(-(-n // per_inversion), BLOCK)
    arguments = (out, products, points, np.uint64(n))
    module.kernel(f"g{degree}_normalize_points")(grid, (BLOCK, 1, 1), arguments)
