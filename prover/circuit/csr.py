"""Blocks of rows as CSR matrices, in the one canonical form that the circuit digest hashes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kernels.array import FrMont, SparseMatrix
from kernels.numpy_types import Int64Array

RowTerms = tuple[Int64Array, npt.NDArray[np.uint32], Int64Array]
"""Entries per row int64[n], then columns and coefficients of all rows one after the other."""


def pack_rows(cols: Int64Array, coeffs: Int64Array) -> RowTerms:
    """Canonical rows: columns ascending, repeated columns added up, zero coefficients dropped.

    cols, coeffs : int64[n, T]
    """
    n, width = cols.shape
    if width == 0:
        return np.zeros(n, dtype=np.int64), np.zeros(0, dtype=np.uint32), np.zeros(0, np.int64)
    if width > 1:
        order = np.argsort(cols, axis=1, kind="stable")
        cols = np.take_along_axis(cols, order, axis=1)
        coeffs = np.take_along_axis(coeffs, order, axis=1)
    first = np.ones((n, width), dtype=np.bool_)
    first[:, 1:] = cols[:, 1:] != cols[:, :-1]
    flat = cols.reshape(-1)
    values = np.ascontiguousarray(coeffs).reshape(-1)
    rows = np.repeat(np.arange(n, dtype=np.int64), width)
    if not first.all():
        starts = np.flatnonzero(first)
        values = np.add.reduceat(values, starts)
        flat, rows = flat[starts], rows[starts]
    kept = values != 0
    if not kept.all():
        flat, values, rows = flat[kept], values[kept], rows[kept]
    return np.bincount(rows, minlength=n).astype(np.int64), flat.astype(np.uint32), values


def stack_rows(blocks: Sequence[RowTerms], *, n_cols: int) -> SparseMatrix:
    """One matrix of all blocks, in their order."""
    counts = np.concatenate([np.zeros(1, dtype=np.int64), *(count for count, _, _ in blocks)])
    cols = np.concatenate([np.zeros(0, dtype=np.uint32), *(c for _, c, _ in blocks)])
    coeffs = np.concatenate([np.zeros(0, dtype=np.int64), *(v for _, _, v in blocks)])
    return SparseMatrix(
        indptr=np.cumsum(counts), cols=cols, coeffs=coeffs, n_cols=n_cols, wide=FrMont.zeros(0)
    )
