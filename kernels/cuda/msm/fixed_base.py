"""Many multiples of one base on a device: s_i P for every i (key generation).

The multiples d 2^(c w) P of all digits d and windows w form a table, which the CPU makes; a thread
adds one record of it per window.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kernels.array import U64, FrArray
from kernels.backend import Progress
from kernels.bn254 import R
from kernels.cuda.launch.runtime import Array, Device, Module, grid_for
from kernels.cuda.msm.bases import BLOCK, PER_INVERSION, normalize_points
from kernels.errors import DoesNotFit

Multiply = Callable[[FrArray], U64]
"""scalars -> their multiples of the base, affine records: what makes the table."""

LEAST_SCALARS = {8: 1 << 12, 4: 1 << 6}  # from how many scalars on a width pays; below: 2


def choose_width(n: int) -> int:
    """Bits of a digit: 2, 4 or 8, which divide a limb."""
    return next((width for width, least in LEAST_SCALARS.items() if n >= least), 2)


def table_scalars(width: int) -> FrArray:
    """d 2^(c w) for every record (w, d); 0 where canonical scalars have no such digit."""
    values = [d << width * w for w in range(256 // width) for d in range(1 << width)]
    return FrArray.from_ints(v if v < R else 0 for v in values)


def chunk_scalars(free_bytes: int, degree: int) -> int:
    """How many multiples are computed at a time. Raises DoesNotFit if not even one."""
    each = 32 + degree * (128 + 64 + 32)  # scalar, XYZZ, affine, product
    size = free_bytes // (2 * each)
    if size < 1:
        raise DoesNotFit(what="a multiple of a base", needed=2 * each, granted=free_bytes)
    return size


class FixedBase:
    """Multiples of single bases in one group (degree 1: G1, 2: G2) on one device."""

    def __init__(self, device: Device, degree: int) -> None:
        self.device, self.degree = device, degree
        self.module: Module = device.load_module(f"msm_g{degree}")

    def run(self, scalars: FrArray, multiply: Multiply, progress: Progress | None = None) -> U64:
        """s_i P as affine records, uint64[n, 8 degree]; `multiply` knows the base P.

        scalars : shape [n], canonical
        """
        n, degree = len(scalars), self.degree
        report = progress or (lambda done, total: None)
        out = np.zeros((n, 8 * degree), np.uint64)
        if n == 0:
            report(0, 0)
            return out
        width = choose_width(n)
        table = self.device.asarray(multiply(table_scalars(width)))
        size = min(chunk_scalars(self.device.free_bytes, degree), n)
        words = scalars.data
        for first in range(0, n, size):
            last = min(first + size, n)
            out[first:last] = self._multiply(words[first:last], table, width)
            report(last, n)
        return out

    def _multiply(self, words: U64, table: Array, width: int) -> U64:
        device, degree, n = self.device, self.degree, len(words)
        points = device.empty((n, 16 * degree), np.uint64)
        lg_width = np.uint32(width.bit_length() - 1)
        arguments = (points, device.asarray(words), table, np.uint64(n), lg_width)
        kernel = self.module.kernel(f"g{degree}_multiply_base")
        kernel(grid_for(n, BLOCK), (BLOCK, 1, 1), arguments)
        affine = device.empty((n, 8 * degree), np.uint64)
        products = device.empty((n, 4 * degree), np.uint64)
        normalize_points(self.module, degree, affine, products, points, n, PER_INVERSION)
        host: U64 = device.to_host(affine)
        return host
