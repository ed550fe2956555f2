"""Lagrange bases at tau from powers of tau: transforms over points.

    L_i = 1/n sum_j w^(-ij) tau^j,      i, j < n = 2^k, w a primitive n-th root of one

by Cooley and Tukey: k rounds of n/2 multiples and n sums. Every point is multiplied by a scalar of
its own, of full size, so this takes as long as it does with snarkjs's `powersoftau prepare phase2`
for this one domain; a file that is prepared spares it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np

from kernels.array import FrArray, G1Array, G2Array
from kernels.backend import Backend, Progress
from kernels.bn254 import R, root_of_unity
from kernels.cpu.backend import CpuBackend
from kernels.cpu.words.group import add_g1, neg_g1
from kernels.cpu.words.point_rows import PointRows
from kernels.numpy_types import Int64Array
from prover.formats.ptau import Powers, Prepared
from prover.progress import StageProgress

Points = TypeVar("Points", G1Array, G2Array)
SumRows = Callable[[PointRows, Points], Points]
_MINUS_ONE = R - 1


def compute_prepared(powers: Powers, backend: Backend, progress: StageProgress) -> Prepared:
    """What a prepared file would have. The backend makes the scalars; points are the CPU's."""
    n, cpu = powers.n, CpuBackend()
    root = pow(root_of_unity(powers.lg_n), -1, R)
    constant = backend.from_mont(backend.powers(1, n, first=pow(n, -1, R)))
    v = pow(root_of_unity(powers.lg_n + 1), -1, R)
    halved = backend.from_mont(backend.powers(1, n, first=pow(2 * n, -1, R)))
    turned = backend.from_mont(backend.powers(v, n, first=pow(2 * n, -1, R)))
    roots = backend.from_mont(backend.powers(root, max(n // 2, 1)))

    def transform(name: str, points: G1Array, scales: FrArray) -> G1Array:
        return _transform(points, scales, roots, cpu.sum_rows_g1, partial(progress, name))

    return Prepared(
        tau_1=transform("Lagrange of tau", powers.tau_1[:n], constant),
        alpha_1=transform("Lagrange of alpha tau", powers.alpha_1, constant),
        beta_1=transform("Lagrange of beta tau", powers.beta_1, constant),
        odd=transform("Lagrange on the odd coset", fold_powers(powers), turned),
        even=transform("Lagrange on the even coset", fold_even(powers), halved)
        if powers.doubled
        else None,
        tau_2=_transform(
            powers.tau_2,
            constant,
            roots,
            cpu.sum_rows_g2,
            partial(progress, "Lagrange of tau in G2"),
        ),
    )


def fold_powers(powers: Powers) -> G1Array:
    """tau^i - tau^(n+i) for i < n: the powers mod X^n + 1, as the odd coset has them."""
    n = powers.n
    return add_g1(powers.tau_1[:n], neg_g1(powers.tau_1[n:]))


def fold_even(powers: Powers) -> G1Array:
    """tau^i + tau^(n+i) for i < n: the powers mod X^n - 1, as the even points of 2n have them."""
    n = powers.n
    return add_g1(powers.tau_1[:n], powers.tau_1[n:])


def _transform(
    points: Points, scales: FrArray, roots: FrArray, sum_rows: SumRows[Points], progress: Progress
) -> Points:
    """out[i] = sum_j w^(ij) scales[j] points[j], roots w^0 ... w^(n/2-1). Natural order."""
    n = len(points)
    n_rounds = n.bit_length()  # and one for the scales
    progress(0, n_rounds)
    data = sum_rows(_diagonal(np.arange(n), scales), points)[_reverse_bits(n)]
    progress(1, n_rounds)
    for k in range(n.bit_length() - 1):
        half = 1 << k
        first = np.arange(n).reshape(-1, 2, half)[:, 0].reshape(-1)  # of each pair; half apart
        second = first + half
        turned = data[second]
        if k:
            exponents = (first % half) * (n // (2 * half))
            turned = sum_rows(_diagonal(np.arange(n // 2), roots[exponents]), turned)
        data = _combine(data, turned, first, second, sum_rows)
        progress(2 + k, n_rounds)
    return data


def _combine(
    data: Points, turned: Points, first: Int64Array, second: Int64Array, sum_rows: SumRows[Points]
) -> Points:
    """data[first] + turned at first, data[first] - turned at second."""
    n = len(data)
    column = np.empty((n, 2), dtype=np.uint32)
    is_minus = np.zeros(n, dtype=np.bool_)
    for target in (first, second):
        column[target, 0] = first
        column[target, 1] = n + np.arange(n // 2)
    is_minus[second] = True
    signs = FrArray.from_ints([1, _MINUS_ONE])[is_minus.astype(np.int64)]
    ones = FrArray(np.broadcast_to(FrArray.from_ints([1]).data, (n, 4)))
    scalars = FrArray(np.stack([ones.data, signs.data], axis=1).reshape(-1, 4))
    rows = PointRows(np.arange(0, 2 * n + 1, 2, dtype=np.int64), column.reshape(-1), scalars)
    return sum_rows(rows, type(data).concat([data, turned]))


def _diagonal(columns: Int64Array, scalars: FrArray) -> PointRows:
    """Row i: the i-th scalar times a point."""
    starts = np.arange(len(columns) + 1, dtype=np.int64)
    return PointRows(starts, columns.astype(np.uint32), scalars)


def _reverse_bits(n: int) -> Int64Array:
    """The permutation of 0 ... n - 1 that reads each number's bits backwards."""
    order = np.zeros(1, dtype=np.int64)
    while len(order) < n:
        order = np.concatenate([2 * order, 2 * order + 1])
    return order
