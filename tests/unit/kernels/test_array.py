"""Typed arrays: shape and form are checked on construction, conversions are exact."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.array import (
    FrArray,
    FrMont,
    G1Array,
    G2Array,
    SparseMatrix,
    ints_from_words,
    words_from_ints,
)
from kernels.bn254 import G1, G2, MONT_R_P, P, R
from kernels.errors import ShapeError

TYPES = [FrArray, FrMont, G1Array, G2Array]
EDGES = [0, 1, 2, R - 1, R - 2, R, R + 1, -1, 1 << 64, 1 << 128, 1 << 255, -(1 << 300)]


@pytest.mark.parametrize("kind", TYPES)
def test_other_shapes_and_dtypes_are_refused(kind: type[FrArray]) -> None:
    words = kind.WORDS
    for bad, found in [
        (np.zeros((8, words), dtype=np.int64), rf"int64\[8, {words}\]"),
        (np.zeros((8, words + 1), dtype=np.uint64), rf"uint64\[8, {words + 1}\]"),
        (np.zeros(words, dtype=np.uint64), rf"uint64\[{words}\]"),
    ]:
        with pytest.raises(ShapeError, match=rf"{kind.__name__}: expected .* got {found}"):
            kind(bad)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="got list"):
        kind([[0] * words])  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [FrArray, FrMont])
def test_scalars_round_trip_mod_r(kind: type[FrArray] | type[FrMont]) -> None:
    assert kind.from_ints(EDGES).to_ints() == [v % R for v in EDGES]
    assert len(kind.from_ints([])) == 0
    assert kind.from_ints([]).to_ints() == []


def test_montgomery_words() -> None:
    assert ints_from_words(FrMont.from_ints([1]).data) == [(1 << 256) % R]
    assert ints_from_words(FrArray.from_ints([1]).data) == [1]
    assert ints_from_words(G1Array.from_ints([G1]).data.reshape(-1, 4)) == [
        MONT_R_P,
        2 * MONT_R_P % P,
    ]


def test_points_round_trip_and_zero_words_are_infinity() -> None:
    assert G1Array.from_ints([G1, None, G1]).to_ints() == [G1, None, G1]
    assert G2Array.from_ints([None, G2]).to_ints() == [None, G2]
    assert G1Array.zeros(2).to_ints() == [None, None]
    assert G2Array.zeros(1).to_ints() == [None]
    # a coordinate that is zero does not make a point infinite
    assert G2Array.from_ints([((0, 0), (0, 5))]).to_ints() == [((0, 0), (0, 5))]


@settings(derandomize=True, deadline=None, database=None, max_examples=50)
@given(st.lists(st.integers(0, (1 << 256) - 1), max_size=5))
def test_words_round_trip(values: list[int]) -> None:
    assert ints_from_words(words_from_ints(values)) == values


def test_words_refuse_what_does_not_fit() -> None:
    with pytest.raises(OverflowError):
        words_from_ints([1 << 256])
    with pytest.raises(OverflowError):
        words_from_ints([-1])


def test_shapes_slices_and_concatenation() -> None:
    a = FrArray.from_ints(range(6))
    assert (len(a), a.shape) == (6, (6,))
    assert FrArray.zeros(2, 3).shape == (2, 3)
    assert a[1:3].to_ints() == [1, 2]
    assert a[np.array([5, 0])].to_ints() == [5, 0]
    assert a[np.array([True, False, False, True, False, False])].to_ints() == [0, 3]
    assert FrArray.concat([a[:2], a[4:]]).to_ints() == [0, 1, 4, 5]
    assert a[::2].data.flags.c_contiguous  # kernels rely on it


def test_equality_needs_the_same_type_and_words() -> None:
    a = FrArray.from_ints([0, 1])
    assert a.equals(FrArray.from_ints([R, R + 1]))
    assert not a.equals(FrArray.from_ints([0, 2]))
    assert not a.equals(FrArray.from_ints([0]))
    zero, zero_mont = FrArray.from_ints([0]), FrMont.from_ints([0])
    assert not zero.equals(zero_mont)  # type: ignore[arg-type]


def matrix(
    indptr: list[int], cols: list[int], coeffs: list[int], n_cols: int = 4, n_wide: int = 0
) -> SparseMatrix:
    return SparseMatrix(
        indptr=np.array(indptr, dtype=np.int64),
        cols=np.array(cols, dtype=np.uint32),
        coeffs=np.array(coeffs, dtype=np.int64),
        n_cols=n_cols,
        wide=FrMont.zeros(n_wide),
    )


def test_sparse_matrix_knows_its_size() -> None:
    m = matrix([0, 2, 2, 3], [0, 3, 1], [1, -1, SparseMatrix.WIDE], n_wide=1)
    assert (m.n_rows, m.nnz, m.n_cols) == (3, 3, 4)
    empty = matrix([0], [], [], n_cols=0)
    assert (empty.n_rows, empty.nnz) == (0, 0)


@pytest.mark.parametrize(
    ("indptr", "cols", "coeffs", "message"),
    [
        ([], [], [], "run from 0 to nnz"),
        ([1, 2], [0, 0], [1, 1], "run from 0 to nnz"),
        ([0, 1], [0, 0], [1, 1], "run from 0 to nnz"),
        ([0, 2, 1, 2], [0, 0], [1, 1], "must not decrease"),
        ([0, 1], [4], [1], "column 4 of 4"),
        ([0, 1], [0], [1, 1], "as long as cols"),
        ([0, 1], [0], [SparseMatrix.WIDE + 1], "past the wide table"),
        ([0, 1], [0], [-SparseMatrix.WIDE], "below -2\\^62"),
    ],
)
def test_sparse_matrix_refuses(
    indptr: list[int], cols: list[int], coeffs: list[int], message: str
) -> None:
    with pytest.raises(ShapeError, match=message):
        matrix(indptr, cols, coeffs, n_wide=1)


def test_sparse_matrix_refuses_other_dtypes() -> None:
    good = matrix([0, 1], [0], [1])
    with pytest.raises(ShapeError, match="indptr must be int64"):
        SparseMatrix(
            indptr=good.indptr.astype(np.int32),
            cols=good.cols,
            coeffs=good.coeffs,
            n_cols=4,
            wide=good.wide,
        )
