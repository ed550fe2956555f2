"""Sparse products over F_r on the CPU, and transposition, against Python integers."""

from fractions import Fraction
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kernels.array import FrMont, SparseMatrix, ints_from_words, words_from_ints
from kernels.bn254 import R
from kernels.cpu.compile.jit import kernel
from kernels.cpu.pool import Pool
from kernels.cpu.scalars import sparse

WIDE = SparseMatrix.WIDE
EDGES = [0, 1, 2, R - 1, R - 2, (R - 1) // 2, (R + 1) // 2, 1 << 253, (1 << 253) - 1, 1 << 192]
SMALL = [0, 1, -1, 2, -2, 127, 1 << 32, -(1 << 32), WIDE - 1, 1 - WIDE, 2 - WIDE]

Row = list[tuple[int, int]]
"""(column, coefficient) pairs; a coefficient from 2^62 on points into the wide table."""


@pytest.fixture(params=[1, 2, 3], scope="module")
def pool(request: pytest.FixtureRequest) -> Pool:
    return Pool(request.param, grain_ns=1)


def build(rows: list[Row], n_cols: int, wide: list[int]) -> SparseMatrix:
    entries = [entry for row in rows for entry in row]
    return SparseMatrix(
        indptr=np.cumsum([0, *map(len, rows)], dtype=np.int64),
        cols=np.array([col for col, _ in entries], dtype=np.uint32),
        coeffs=np.array([c for _, c in entries], dtype=np.int64),
        n_cols=n_cols,
        wide=FrMont.from_ints(wide),
    )


def rows_of(m: SparseMatrix) -> list[Row]:
    entries = list(zip(m.cols.tolist(), m.coeffs.tolist(), strict=True))
    return [entries[a:b] for a, b in zip(m.indptr[:-1], m.indptr[1:], strict=True)]


def product(rows: list[Row], wide: list[int], z: list[int]) -> FrMont:
    def value(c: int) -> int:
        return wide[c - WIDE] if c >= WIDE else c

    return FrMont.from_ints(sum(value(c) * z[col] for col, c in row) for row in rows)


def words(values: list[int]) -> FrMont:
    """Elements whose stored words, not values, are the given ones."""
    return FrMont(words_from_ints(values))


def random_rows(rng: Random, n_rows: int, n_cols: int, n_wide: int) -> list[Row]:
    def coefficient() -> int:
        wide = WIDE + rng.randrange(n_wide) if n_wide else -1
        return rng.choice([1, -1, 1, -1, rng.choice(SMALL), rng.randrange(1 - WIDE, WIDE), wide])

    lengths = [rng.choice([0, 1, 2, 3, 3, 9]) for _ in range(n_rows)]
    return [[(rng.randrange(n_cols), coefficient()) for _ in range(k)] for k in lengths]


# -- the reduction --------------------------------------------------------------------------------


@kernel(signature="void(uintp, uintp)")
def reduce_one(out: int, sums: int) -> None:
    sparse.reduce_sums(out, sums)


def reduced(positive: int, negative: int) -> int:
    sums, out = words_from_ints([positive, negative], 6), words_from_ints([1])
    reduce_one(out.ctypes.data, sums.ctypes.data)
    return ints_from_words(out)[0]


def test_totals_are_reduced_up_to_their_stated_bound(rng: Random) -> None:
    bound = (1 << 373) - 1
    multiples = [k * R for k in (1, 2, 3, 1 << 57, 1 << 58, (1 << 58) - 1, 1 << 116, bound // R)]
    around = [m + d for m in multiples for d in (-2, -1, 0, 1, 2) if m + d <= bound]
    powers = [v for e in range(1, 374) for v in ((1 << e) - 1, (1 << e) // 3)]
    uniform = [rng.randrange(bound) for _ in range(200)]
    by_length = [rng.getrandbits(rng.randrange(1, 373)) for _ in range(200)]
    for total in [0, bound, *around, *powers, *uniform, *by_length]:
        assert reduced(total, 0) == total % R
        assert reduced(0, total) == -total % R
    assert reduced(bound, bound) == 0
    assert reduced(bound - 3, bound) == R - 3


def test_the_stated_bounds_hold() -> None:
    """The inequalities of the module's docstring."""
    total, entries = 1 << 373, 1 << 57
    assert entries * (WIDE - 1) * (R - 1) < total < sparse.LIFT
    assert sparse.LIFT + total < 1 << 375
    assert 1 << sparse.QUOTIENT_SHIFT < R < 1 << sparse.QUOTIENT_SHIFT + 1
    assert sparse.RECIPROCAL < 1 << 64
    exact = Fraction(1 << sparse.QUOTIENT_SHIFT + 64, R)
    for value in ((sparse.LIFT + total) >> sparse.SHIFT, R << sparse.SHIFT):
        top = value >> sparse.QUOTIENT_SHIFT
        assert top < 1 << 64
        cut = Fraction(1 << sparse.QUOTIENT_SHIFT, R) + (exact - sparse.RECIPROCAL) * top / (
            1 << 64
        )
        assert cut + 1 < 2
    assert 2 * R < 1 << 256


# -- products -------------------------------------------------------------------------------------


@pytest.mark.parametrize("build_vector", [FrMont.from_ints, words], ids=["values", "words"])
def test_each_kind_of_coefficient_on_each_edge(pool: Pool, build_vector: Any) -> None:
    coefficients = [*SMALL, *(WIDE + i for i in range(len(EDGES)))]
    rows = [[(col, c)] for col in range(len(EDGES)) for c in coefficients]
    z = build_vector(EDGES)
    result = sparse.matvec(pool, build(rows, len(EDGES), EDGES), z)
    assert result.equals(product(rows, EDGES, z.to_ints()))


def test_the_largest_terms_of_either_sign(pool: Pool) -> None:
    for c in (WIDE - 1, 1 - WIDE):
        rows = [[(1, c)] * n for n in (1, 2, 63, 64, 1000)]
        rows.append([(1, c), (1, -c)] * 300 + [(1, -c)])
        vector = words([0, R - 1])
        z = vector.to_ints()
        assert sparse.matvec(pool, build(rows, 2, []), vector).equals(product(rows, [], z))


def test_random_rows(pool: Pool, rng: Random) -> None:
    for n_rows in (1, 2, 7, 400):
        n_cols = n_rows // 2 + 3
        wide, z = [rng.randrange(R) for _ in range(5)], [rng.randrange(R) for _ in range(n_cols)]
        rows = random_rows(rng, n_rows, n_cols, len(wide))
        m = build(rows, n_cols, wide)
        assert sparse.matvec(pool, m, FrMont.from_ints(z)).equals(product(rows, wide, z))


def test_no_rows_no_entries_no_columns(pool: Pool) -> None:
    z = FrMont.from_ints([5, 6, 7])
    cases: list[list[Row]] = [[], [[]], [[]] * 9, [[], [(2, 3)], []], [[(0, -1)], [], []]]
    for rows in cases:
        result = sparse.matvec(pool, build(rows, 3, []), z)
        assert result.equals(product(rows, [], [5, 6, 7]))
    assert sparse.matvec(pool, build([[], []], 0, []), FrMont.zeros(0)).equals(FrMont.zeros(2))


@pytest.mark.parametrize("shape", [(2,), (4,), (0,), (1, 3)])
def test_the_vector_must_fit(pool: Pool, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="3 columns"):
        sparse.matvec(pool, build([[(0, 1)]], 3, []), FrMont.zeros(*shape))


def test_arrays_may_be_read_only_or_strided_or_unaligned(pool: Pool) -> None:
    rows: list[Row] = [[(0, 2), (1, -1)], [(1, WIDE)], []]
    m, z = build(rows, 2, [9]), FrMont.from_ints([3, 4])
    for array in (m.indptr, m.cols, m.coeffs, m.wide.data, z.data):
        array.flags.writeable = False
    expected = product(rows, [9], [3, 4])
    assert sparse.matvec(pool, m, z).equals(expected)
    strided = SparseMatrix(
        indptr=np.repeat(m.indptr, 2)[::2],
        cols=np.repeat(m.cols, 2)[::2],
        coeffs=np.repeat(m.coeffs, 3)[::3],
        n_cols=2,
        wide=m.wide,
    )
    assert sparse.matvec(pool, strided, z).equals(expected)
    unaligned = SparseMatrix(
        indptr=np.frombuffer(b"?" + m.indptr.tobytes(), dtype=np.int64, offset=1),
        cols=np.frombuffer(b"?" + m.cols.tobytes(), dtype=np.uint32, offset=1),
        coeffs=np.frombuffer(b"?" + m.coeffs.tobytes(), dtype=np.int64, offset=1),
        n_cols=2,
        wide=m.wide,
    )
    assert sparse.matvec(pool, unaligned, z).equals(expected)


def test_work_is_cut_by_entries() -> None:
    """A thousand short rows after one long: the long row is a part of its own."""
    lengths = np.array([0, 0, 3000, *[2] * 1000, 0])
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    parts = sparse._cut_rows(indptr, 4)
    rows = [i for first, last in parts for i in range(first, last)]
    assert rows == list(range(len(lengths)))
    assert 2 <= len(parts) <= 4
    costs = [int(indptr[last] - indptr[first]) + last - first for first, last in parts]
    assert max(costs) <= (int(indptr[-1]) + len(lengths)) // 4 + 3001
    assert min(costs) > 0
    assert sparse._cut_rows(np.zeros(1, dtype=np.int64), 4) == []


# -- transposition --------------------------------------------------------------------------------


def transposed(rows: list[Row], n_cols: int) -> list[Row]:
    out: list[Row] = [[] for _ in range(n_cols)]
    for i, row in enumerate(rows):
        for col, c in row:
            out[col].append((i, c))
    return out


@pytest.mark.parametrize(("n_rows", "n_cols"), [(0, 0), (0, 3), (4, 0), (1, 1), (60, 7), (30, 200)])
def test_transpose(n_rows: int, n_cols: int, rng: Random) -> None:
    rows = random_rows(rng, n_rows, n_cols, 3) if n_cols else [[]] * n_rows
    m = build(rows, n_cols, [4, 5, 6])
    t = m.transposed()
    assert (t.n_rows, t.n_cols, t.wide) == (n_cols, n_rows, m.wide)
    assert rows_of(t) == transposed(rows, n_cols)
    assert rows_of(t.transposed()) == [sorted(row, key=lambda entry: entry[0]) for row in rows]


def test_transpose_of_columns_past_16_bits(rng: Random) -> None:
    columns = [0, 1, (1 << 16) - 1, 1 << 16, (1 << 16) + 1, 3 << 16, (3 << 16) + 1]
    rows = [[(rng.choice(columns), rng.choice(SMALL)) for _ in range(3)] for _ in range(50)]
    n_cols = max(columns) + 1
    expected = transposed(rows, n_cols)
    assert rows_of(build(rows, n_cols, []).transposed()) == expected


def test_more_rows_than_columns_can_number_are_refused() -> None:
    matrix: Any = SimpleNamespace(n_rows=(1 << 32) + 1)
    with pytest.raises(ValueError, match="4294967297"):
        SparseMatrix.transposed(matrix)
