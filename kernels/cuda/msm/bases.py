"""Prepared bases of an MSM on a device."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np

from kernels.array import U64
from kernels.cuda.launch.runtime import Array, Copy, Device, Module, grid_for
from kernels.cuda.msm.plan import TableChoice, choose_tables, count_buffers, fixed_bytes

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
    infinite : uint8[n], 1 for points at infinity, where the points are
    host     : uint64[n, 8 degree], instead of a table: every sum sends them, chunk by chunk
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
    device: Device, module: Module, points: U64, degree: int, max_bytes: int | None
) -> CudaBases:
    """Bases for many sums, with multiples if `max_bytes` and the device leave room for them.

    points : uint64[n, 8 degree], affine, 2^256-Montgomery form; ValueError for other shapes
    """
    if points.ndim != 2:
        raise ValueError(f"bases: expected shape [n], got {list(points.shape[:-1])}")
    n, spare = len(points), spare_bytes(device)
    if fixed_bytes(n, degree, 1) > spare:
        return CudaBases(n, degree, host=points.copy(), infinite=find_infinite(points))
    table, infinite = device.asarray(points), device.asarray(find_infinite(points))
    work_bytes = device.memory_bytes // WORK_SHARE
    tables = choose_tables(n, degree, min(max_bytes or 0, spare), work_bytes=work_bytes)
    if n == 0 or tables is None:
        return CudaBases(n, degree, table=table, infinite=infinite)
    bases, table = table, device.empty((n * tables.n_tables, 8 * degree), np.uint64)
    table[:n] = bases
    _fill_multiples(device, module, table, n, degree, tables)
    return CudaBases(n, degree, tables=tables, table=table, infinite=infinite)


class Chunks:
    """Chunks of bases that stay on the host: each travels while the one before is summed.

    Of two buffers one is summed from, one is filled. `send` k + 1 only after the last result of
    chunk k - 1 has come to the host: then nothing reads its buffer any more. All of it happens
    inside `with`: who leaves early waits for what is under way, for the buffers' memory goes back
    to a pool that knows nothing of copies beside its stream.
    """

    def __init__(self, device: Device, bases: CudaBases, size: int) -> None:
        assert bases.host is not None
        self._device, self._size = device, size
        self._host, self._infinite = bases.host, bases.infinite
        self._buffers = [
            (device.empty((size, 8 * bases.degree), np.uint64), device.empty((size,), np.uint8))
            for _ in range(count_buffers(len(bases), size))
        ]
        self._copies: dict[int, tuple[Copy, Copy]] = {}
        device.synchronize()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._device.synchronize()

    def send(self, k: int) -> None:
        """Start to send chunk k, if there is one."""
        rows = slice(k * self._size, (k + 1) * self._size)
        if points := len(self._host[rows]):
            table, infinite = self._buffer(k, points)
            self._copies[k] = (
                self._device.copy_aside(table, self._host[rows]),
                self._device.copy_aside(infinite, self._infinite[rows]),
            )

    def take(self, k: int) -> tuple[Array, Array]:
        """The points of chunk k, which was sent, and which of them are infinite."""
        for copy in self._copies.pop(k):
            copy.wait()
        return self._buffer(k, len(self._host[k * self._size : (k + 1) * self._size]))

    def _buffer(self, k: int, n: int) -> tuple[Array, Array]:
        table, infinite = self._buffers[k % len(self._buffers)]
        return table[:n], infinite[:n]


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
