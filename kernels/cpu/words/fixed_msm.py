"""Sums in G1 over bases that stay: their multiples by powers of 2^c are kept, so all windows share
one set of buckets.

    sum_i s_i P_i = sum_j j sum of the (+-2^(c w) P_i) with |d_wi| = j,     s_i = sum_w d_wi 2^(c w)

Half as many additions as without, for the memory of two points a digit. Buckets are folded in rows
of ROW, side by side: with S_v = sum_j j bucket(v, j) and T_v = sum_j bucket(v, j), the sum is

    sum_v S_v + ROW sum_v v T_v
"""

from __future__ import annotations

import numpy as np

from kernels.array import U64, FrArray, G1Array
from kernels.bn254 import R
from kernels.cpu.compile.jit import kernel
from kernels.cpu.compile.memory import stack
from kernels.cpu.words.affine_sum import CHUNK
from kernels.cpu.words.group import add_g1, g1_add_affine, g1_double, g1_to_affine, neg_g1
from kernels.cpu.words.scalar64 import copy
from kernels.cpu.words.small_msm import Buckets, small_msm_g1
from kernels.errors import ShapeError

_LG_ROW = 4
ROW = 1 << _LG_ROW  # buckets
_LEAST_BITS = _LG_ROW + 1  # of a window: one row
MOST_BITS = _LG_ROW + CHUNK.bit_length() - 1  # its rows take two additions each of a batch
MAX_BASES = 1 << 12  # that are tabulated: 10 MiB


@kernel(signature="void(uintp, uint64[:,:,::1])")
def _join_rows(out: int, sums: U64) -> None:
    """out = sum_v S_v + ROW sum_v v T_v with S and T in the first two rows, bit by bit of v."""
    t, base, n_rows = stack(12), sums.ctypes.data, sums.shape[1] - 1
    for k in range(3):
        copy(t + 32 * k, base + 64 * n_rows)
    bit = 1
    while bit < n_rows:
        bit *= 2
    while bit > 0:
        g1_double(t)
        for v in range(n_rows):
            if v & bit:
                g1_add_affine(t, base + 64 * (n_rows + 1 + v))
        bit //= 2
    for _ in range(_LG_ROW):
        g1_double(t)
    for v in range(n_rows):
        g1_add_affine(t, base + 64 * v)
    g1_to_affine(out, t)


def choose_bits(n: int) -> int:
    """Bits c of a window for n points: the fewest additions, windows * n + 2^c."""
    widths = range(_LEAST_BITS, MOST_BITS + 1)
    return min(widths, key=lambda c: (R.bit_length() // c + 1) * n + (1 << c))


class FixedBases:
    """Bases of many sums. The first one is done without a table, which takes as long as a dozen; so
    are all over more than MAX_BASES.
    """

    def __init__(self, bases: G1Array) -> None:
        """bases : on the curve, infinity included."""
        self._bases, self._c = bases, choose_bits(len(bases))
        self._has_summed = False
        self._tables: tuple[U64, U64] | None = None

    def sum(self, scalars: FrArray) -> G1Array:
        """sum s_i P_i as a G1Array of length 1. Raises ShapeError when the lengths differ."""
        if scalars.shape != self._bases.shape:
            raise ShapeError(
                f"FixedBases: {list(scalars.shape)} scalars, {list(self._bases.shape)} bases"
            )
        is_first, self._has_summed = not self._has_summed, True
        if is_first or len(self._bases) > MAX_BASES:
            return small_msm_g1(scalars, self._bases)
        if self._tables is None:
            self._tables = self._tabulate()
        buckets = Buckets(scalars, *self._tables, self._c)
        out = np.empty((1, 8), dtype=np.uint64)
        _join_rows(out.ctypes.data, buckets.fold(ROW))
        return G1Array(out)

    def _tabulate(self) -> tuple[U64, U64]:
        """2^(c w) P_i and their negatives, uint64[n_windows, n, 8]."""
        rows = [self._bases]
        for _ in range(R.bit_length() // self._c):
            point = rows[-1]
            for _ in range(self._c):
                point = add_g1(point, point)
            rows.append(point)
        return (
            np.stack([row.data for row in rows]),
            np.stack([neg_g1(row).data for row in rows]),
        )
