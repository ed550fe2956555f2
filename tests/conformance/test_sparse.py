"""m z over F_r: rows of every length, coefficients of every kind."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.array import FrMont, SparseMatrix
from kernels.backend import Backend
from kernels.bn254 import R
from kernels.reference import Reference
from tests.conformance.inputs import EDGES, PROPERTY, mont, random_field

WIDE = SparseMatrix.WIDE
SMALL = [0, 1, -1, 2, -2, 127, -128, 1 << 31, -(1 << 31), 1 << 32, WIDE - 1, 1 - WIDE]


def build(rows: list[list[tuple[int, int]]], n_cols: int, wide: list[int]) -> SparseMatrix:
    """Rows of (column, coefficient); a coefficient from WIDE on is an index into `wide`."""
    entries = [entry for row in rows for entry in row]
    return SparseMatrix(
        indptr=np.cumsum([0, *map(len, rows)], dtype=np.int64),
        cols=np.array([col for col, _ in entries], dtype=np.uint32),
        coeffs=np.array([c for _, c in entries], dtype=np.int64),
        n_cols=n_cols,
        wide=FrMont.from_ints(wide),
    )


def product(rows: list[list[tuple[int, int]]], wide: list[int], z: list[int]) -> list[int]:
    def value(c: int) -> int:
        return wide[c - WIDE] if c >= WIDE else c

    return [sum(value(c) * z[col] for col, c in row) % R for row in rows]


def random_rows(n_rows: int, n_cols: int, n_wide: int, seed: int) -> list[list[tuple[int, int]]]:
    """A third of the rows empty, most coefficients +-1, some rows long."""
    rng = random.Random(f"matrix {n_rows} {n_cols} {seed}")

    def coefficient() -> int:
        kinds = [rng.choice([1, -1]), rng.choice(SMALL), rng.randrange(-(1 << 20), 1 << 20)]
        kinds.append(WIDE + rng.randrange(n_wide) if n_wide else 1)
        return rng.choices(kinds, [60, 15, 15, 10])[0]

    lengths = [rng.choice([0, 1, 3]) if i % 50 else 200 for i in range(n_rows)]
    return [[(rng.randrange(n_cols), coefficient()) for _ in range(k)] for k in lengths]


def test_each_kind_of_coefficient_on_each_edge(backend: Backend) -> None:
    coefficients = [*SMALL, *(WIDE + i for i in range(len(EDGES)))]
    rows = [[(col, c)] for col in range(len(EDGES)) for c in coefficients]
    m = build(rows, len(EDGES), EDGES)
    assert backend.matvec(m, mont(EDGES)).equals(mont(product(rows, EDGES, EDGES)))


def test_rows_without_entries(backend: Backend) -> None:
    z = random_field(3)
    matrices: list[list[list[tuple[int, int]]]] = [
        [],
        [[]],
        [[], [], []],
        [[], [(2, 1)], []],
        [[(0, -1)], [], []],
    ]
    for rows in matrices:
        expected = mont(product(rows, [], z))
        assert backend.matvec(build(rows, 3, []), mont(z)).equals(expected)


def test_no_column(backend: Backend) -> None:
    assert backend.matvec(build([[], []], 0, []), FrMont.zeros(0)).equals(mont([0, 0]))


def test_a_column_may_repeat_and_cancel(backend: Backend) -> None:
    rows = [[(1, 1), (1, 1), (0, 5), (1, -2)], [(1, 1), (1, -1)], [(0, WIDE - 1)] * 40]
    z = [R - 1, R - 2]
    assert backend.matvec(build(rows, 2, []), mont(z)).equals(mont(product(rows, [], z)))


@pytest.mark.parametrize("n_rows", [1, 7, 8, 9, 60, pytest.param(3000, marks=pytest.mark.bulk)])
def test_random_matrices(backend: Backend, n_rows: int) -> None:
    n_cols = n_rows // 2 + 3
    wide, z = random_field(5), random_field(n_cols, 2)
    rows = random_rows(n_rows, n_cols, len(wide), seed=1)
    m, vector = build(rows, n_cols, wide), mont(z)
    before = vector.data.copy()
    result = backend.matvec(m, vector)
    assert result.equals(mont(product(rows, wide, z)))
    assert result.equals(Reference().matvec(m, vector))
    assert result.data.any()
    assert (vector.data == before).all()


def test_no_wide_table(backend: Backend) -> None:
    rows, z = random_rows(20, 9, 0, seed=3), random_field(9)
    assert backend.matvec(build(rows, 9, []), mont(z)).equals(mont(product(rows, [], z)))


@pytest.mark.parametrize("n", [0, 2, 4])
def test_the_vector_must_fit(backend: Backend, n: int) -> None:
    with pytest.raises(ValueError, match=r"\b3\b"):
        backend.matvec(build([[(0, 1)]], 3, []), FrMont.zeros(n))


@PROPERTY
@given(st.integers(0, 40), st.integers(1, 12), st.integers(0, 3), st.integers(0, 1 << 20))
def test_any_matrix(backend: Backend, n_rows: int, n_cols: int, n_wide: int, seed: int) -> None:
    rows = random_rows(n_rows, n_cols, n_wide, seed)
    wide, z = random_field(n_wide, seed), random_field(n_cols, seed + 1)
    assert backend.matvec(build(rows, n_cols, wide), mont(z)).equals(mont(product(rows, wide, z)))
