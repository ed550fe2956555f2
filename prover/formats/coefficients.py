"""Coefficients of sparse matrices: field elements in files, small signed integers in memory.

Circuits are written with coefficients like 1, -1 and 2^k, so `SparseMatrix` keeps an int64 for each
and a table of field elements for the others; the files keep 32 bytes for every one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kernels.array import U64, FrArray, SparseMatrix, words_from_ints
from kernels.backend import Backend
from kernels.bn254 import R

_R_WORDS = words_from_ints([R])[0]
_SMALL = np.uint64(SparseMatrix.WIDE)


def build_matrix(
    rows: npt.NDArray[np.uint32],
    cols: npt.NDArray[np.uint32],
    values: FrArray,
    *,
    n_rows: int,
    n_cols: int,
    backend: Backend,
) -> SparseMatrix:
    """The n_rows x n_cols matrix with the given entries, in any order; repeated ones add up.

    rows, cols : [nnz], already checked to be below n_rows and n_cols
    values     : [nnz], canonical
    """
    if len(rows) and np.any(rows[1:] < rows[:-1]):
        order = np.argsort(rows, kind="stable")
        rows, cols, values = rows[order], cols[order], values[order]
    indptr = np.zeros(n_rows + 1, dtype=np.int64)
    np.cumsum(np.bincount(rows, minlength=n_rows), out=indptr[1:])
    coeffs, wide = _shorten(values)
    return SparseMatrix(
        indptr=indptr,
        cols=np.ascontiguousarray(cols, dtype=np.uint32),
        coeffs=coeffs,
        n_cols=n_cols,
        wide=backend.to_mont(wide),
    )


def list_rows(m: SparseMatrix) -> npt.NDArray[np.uint32]:
    """The row of each entry: uint32[nnz]."""
    return np.repeat(np.arange(m.n_rows, dtype=np.uint32), np.diff(m.indptr))


def list_values(m: SparseMatrix, backend: Backend) -> FrArray:
    """The coefficient of each entry as a field element: FrArray[nnz]."""
    words = np.zeros((m.nnz, 4), dtype=np.uint64)
    words[:, 0] = np.abs(m.coeffs).astype(np.uint64)
    negative = m.coeffs < 0
    words[negative] = _negate(words[negative])
    is_wide = m.coeffs >= SparseMatrix.WIDE
    if is_wide.any():
        wide = backend.from_mont(m.wide).data
        words[is_wide] = wide[m.coeffs[is_wide] - SparseMatrix.WIDE]
    return FrArray(words)


def _shorten(values: FrArray) -> tuple[npt.NDArray[np.int64], FrArray]:
    """int64[n] as `SparseMatrix.coeffs` wants it, and the table of those that are not small."""
    words = values.data
    is_small = _is_small(words)
    coeffs = np.where(is_small, words[:, 0], np.uint64(0)).astype(np.int64)
    others = np.flatnonzero(~is_small)
    negated = _negate(words[others])
    is_small = _is_small(negated)
    coeffs[others] = -negated[:, 0].astype(np.int64)
    wide = others[~is_small]
    coeffs[wide] = SparseMatrix.WIDE + np.arange(len(wide), dtype=np.int64)
    return coeffs, FrArray(words[wide])


def _is_small(words: U64) -> npt.NDArray[np.bool_]:
    """Per element: below 2^62."""
    high = words[:, 1] | words[:, 2] | words[:, 3]
    small: npt.NDArray[np.bool_] = (high == 0) & (words[:, 0] < _SMALL)
    return small


def _negate(words: U64) -> U64:
    """r - x for canonical x (r itself for 0): subtraction word by word with a borrow."""
    out = np.empty_like(words)
    borrow = np.zeros(len(words), dtype=np.uint64)
    for j in range(4):
        subtrahend = words[:, j]
        difference = _R_WORDS[j] - subtrahend
        out[:, j] = difference - borrow
        borrow = ((_R_WORDS[j] < subtrahend) | (difference < borrow)).astype(np.uint64)
    return out
