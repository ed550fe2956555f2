"""A sparse matrix times points: digits of scalars, edge scalars and points, both groups."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from kernels.array import FrArray, G1Array, G2Array, ints_from_words
from kernels.bn254 import G1, G2, R
from kernels.cpu.backend import CpuBackend
from kernels.cpu.words.point_rows import PointRows, find_digits
from kernels.errors import ShapeError
from kernels.reference import mul_g1, mul_g2

EDGES = [0, 1, 2, 3, R - 1, R - 2, R // 2, R // 2 + 1, 1 << 63, 1 << 64, (1 << 128) - 1, 1 << 252]


def make_rows(rows: list[list[tuple[int, int]]]) -> PointRows:
    """Of (column, scalar) by row."""
    entries = [entry for row in rows for entry in row]
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    cols = np.array([c for c, _ in entries], dtype=np.uint32)
    return PointRows(starts, cols, FrArray.from_ints([s for _, s in entries]))


def test_digits_are_the_shorter_scalar_in_non_adjacent_form(rng: Random) -> None:
    scalars = [*EDGES, *(rng.randrange(R) for _ in range(200))]
    digits = find_digits(FrArray.from_ints(scalars).data)
    plus, minus = ints_from_words(digits[:, :4]), ints_from_words(digits[:, 4:])
    for s, p, m in zip(scalars, plus, minus, strict=True):
        assert (p - m - s) % R == 0
        assert abs(p - m) <= R // 2
        used = p | m
        assert p & m == 0 == used & (used >> 1)


def test_sums_are_those_of_the_logarithms(rng: Random) -> None:
    """Empty rows, infinity, a point and its negative, a doubling, scalars of every length."""
    logs = [1, 0, R - 1, 1, 5, rng.randrange(R)]
    rows = [
        [],
        [(0, 1), (2, 1)],  # G - G
        [(0, 1), (3, 1)],  # G + G
        [(1, 7)],
        [(5, 0)],
        *([(4, s), (5, R - 1), (0, 2)] for s in EDGES),
        [(c, rng.randrange(R)) for c in range(6)],
        [(c % 6, rng.randrange(1 << 16)) for c in range(40)],
    ]
    expected = [sum(s * logs[c] for c, s in row) % R for row in rows]
    matrix, backend = make_rows(rows), CpuBackend(threads=2, grain_ns=1)
    g1 = backend.sum_rows_g1(matrix, G1Array.from_ints([mul_g1(k, G1) for k in logs]))
    assert g1.to_ints() == [mul_g1(k, G1) for k in expected]
    g2 = backend.sum_rows_g2(matrix, G2Array.from_ints([mul_g2(k, G2) for k in logs]))
    assert g2.to_ints() == [mul_g2(k, G2) for k in expected]


def test_no_rows_and_columns_without_points() -> None:
    backend = CpuBackend(threads=1)
    assert len(backend.sum_rows_g1(make_rows([]), G1Array.zeros(0))) == 0
    with pytest.raises(ShapeError, match="column 1 of 1"):
        backend.sum_rows_g1(make_rows([[(1, 1)]]), G1Array.zeros(1))
