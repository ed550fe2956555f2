"""Blocks of rows as CSR matrices, in the one canonical form that the circuit digest hashes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kernels.array import FrMont, SparseMatrix
from kernels.bn254 import R
from kernels.numpy_types import Int64Array
from prover.circuit.linear_form import MAX_EXPONENT, Exponents

_WIDE = SparseMatrix.WIDE
_EXPONENT_BITS = MAX_EXPONENT.bit_length()
_LIMB_BITS = 16
_PIECES = 4  # of 16 bits in an int64
_N_LIMBS = MAX_EXPONENT // _LIMB_BITS + _PIECES + 2  # and room for the carry of a long sum


class RowTerms(NamedTuple):
    """Rows of a matrix.

    counts : int64[n], entries per row
    cols   : uint32, of all rows one after the other
    coeffs : int64, likewise; from 2^62 on places in `wide`, as in `SparseMatrix`
    wide   : coefficients mod r that are no small integers, ascending
    """

    counts: Int64Array
    cols: npt.NDArray[np.uint32]
    coeffs: Int64Array
    wide: tuple[int, ...]


def pack_rows(cols: Int64Array, coeffs: Int64Array, exponents: Exponents | None = None) -> RowTerms:
    """Canonical rows: columns ascending, repeated columns added up, zero coefficients dropped.

    cols, coeffs, exponents : [n, T]; an entry's coefficient is coeffs 2^exponents mod r
    """
    n, width = cols.shape
    if width == 0:
        none = np.zeros(0, dtype=np.int64)
        return RowTerms(np.zeros(n, dtype=np.int64), none.astype(np.uint32), none, ())
    if exponents is not None and not exponents.any():
        exponents = None
    if width > 1:
        order = np.argsort(cols, axis=1, kind="stable")
        cols = np.take_along_axis(cols, order, axis=1)
        coeffs = np.take_along_axis(coeffs, order, axis=1)
        if exponents is not None:
            exponents = np.take_along_axis(exponents, order, axis=1)
    first = np.ones((n, width), dtype=np.bool_)
    first[:, 1:] = cols[:, 1:] != cols[:, :-1]
    flat = cols.reshape(-1)
    values = np.ascontiguousarray(coeffs).reshape(-1)
    rows = np.repeat(np.arange(n, dtype=np.int64), width)
    starts = np.flatnonzero(first)
    wide: tuple[int, ...] = ()
    if exponents is not None:
        values, wide = _add_powers(values, exponents.reshape(-1), starts)
    elif len(starts) < len(flat):
        values = np.add.reduceat(values, starts)
    if len(starts) < len(flat):
        flat, rows = flat[starts], rows[starts]
    kept = values != 0
    if not kept.all():
        flat, values, rows = flat[kept], values[kept], rows[kept]
    counts = np.bincount(rows, minlength=n).astype(np.int64)
    return RowTerms(counts, flat.astype(np.uint32), values, wide)


def stack_rows(blocks: Sequence[RowTerms], *, n_cols: int) -> SparseMatrix:
    """One matrix of all blocks, in their order; its table of wide coefficients ascends."""
    table = sorted({x for block in blocks for x in block.wide})
    places = {x: _WIDE + i for i, x in enumerate(table)}
    counts = np.concatenate([np.zeros(1, dtype=np.int64), *(x.counts for x in blocks)])
    cols = np.concatenate([np.zeros(0, dtype=np.uint32), *(x.cols for x in blocks)])
    coeffs = np.concatenate([np.zeros(0, dtype=np.int64), *(_rename(x, places) for x in blocks)])
    return SparseMatrix(
        indptr=np.cumsum(counts),
        cols=cols,
        coeffs=coeffs,
        n_cols=n_cols,
        wide=FrMont.from_ints(table),
    )


def _rename(block: RowTerms, places: dict[int, int]) -> Int64Array:
    """Coefficients of a block with the places of a common table."""
    if not block.wide:
        return block.coeffs
    coeffs, new = block.coeffs.copy(), np.array([places[x] for x in block.wide], dtype=np.int64)
    is_wide = coeffs >= _WIDE
    coeffs[is_wide] = new[coeffs[is_wide] - _WIDE]
    return coeffs


def _add_powers(
    coeffs: Int64Array, exponents: Exponents, starts: Int64Array
) -> tuple[Int64Array, tuple[int, ...]]:
    """Sums of coeffs 2^exponents over runs that begin at `starts`, as coefficients of a matrix.

    returns : one coefficient a run, small or a place in the table; the table
    cost    : sorts of all entries; integers of any size only for what is distinct
    """
    lengths = np.diff(starts, append=len(coeffs))
    alone = lengths == 1
    single, single_index = _list_powers(coeffs[starts[alone]], exponents[starts[alone]])
    others = np.repeat(~alone, lengths)
    several, several_index = _list_sums(
        coeffs[others], exponents[others], np.cumsum(lengths[~alone]) - lengths[~alone]
    )
    numbers = [_centre(x) for x in (*single, *several)]
    table = tuple(sorted({x % R for x in numbers if abs(x) >= _WIDE}))
    places = {x: _WIDE + i for i, x in enumerate(table)}
    codes = np.array([places.get(x % R, x) for x in numbers], dtype=np.int64)
    index = np.empty(len(starts), dtype=np.int64)
    index[alone] = single_index
    index[~alone] = several_index + len(single)
    return codes[index], table


def _centre(x: int) -> int:
    """x mod r, as the integer of least absolute value."""
    x %= R
    return x - R if x > R // 2 else x


def _list_powers(coeffs: Int64Array, exponents: Exponents) -> tuple[list[int], Int64Array]:
    """Distinct values of coeffs 2^exponents, some perhaps twice, and which one each entry is."""
    factors, which = np.unique(coeffs, return_inverse=True)
    keys, index = np.unique(which << _EXPONENT_BITS | exponents, return_inverse=True)
    mask = (1 << _EXPONENT_BITS) - 1
    values = [int(factors[k >> _EXPONENT_BITS]) << (k & mask) for k in keys.tolist()]
    return values, index.astype(np.int64)


def _list_sums(
    coeffs: Int64Array, exponents: Exponents, starts: Int64Array
) -> tuple[list[int], Int64Array]:
    """Distinct sums of coeffs 2^exponents over runs, and which one each run has.

    holds : pieces of 16 bits, shifted by less than 16, are below 2^31, so int64 holds the sums of
            2^31 of them; then carries make the limbs of equal sums equal
    """
    if not len(starts):
        return [], starts
    at, limb = np.arange(len(coeffs)), exponents.astype(np.int64) // _LIMB_BITS
    limbs = np.zeros((len(coeffs), _N_LIMBS), dtype=np.int64)
    mask = (1 << _LIMB_BITS) - 1
    for i in range(_PIECES):
        piece = coeffs >> (_LIMB_BITS * i)
        if i < _PIECES - 1:
            piece = piece & mask
        limbs[at, limb + i] = piece << (exponents % _LIMB_BITS).astype(np.int64)
    sums = np.add.reduceat(limbs, starts, axis=0)
    for i in range(_N_LIMBS - 1):
        sums[:, i + 1] += sums[:, i] >> _LIMB_BITS
        sums[:, i] &= mask
    distinct, index = np.unique(sums, axis=0, return_inverse=True)
    values = [sum(x << (_LIMB_BITS * i) for i, x in enumerate(row)) for row in distinct.tolist()]
    return values, index.reshape(-1).astype(np.int64)
