"""Convolutions by Freivalds' check over samples and positions (PROTOCOL 4.1).

Beside the weights w_n of samples (`linear.py`) an output at (i, j) has the weight x^i y^j, x and y
challenges of their own: a sum of packed errors over samples and positions is a polynomial in s, x
and y, and zero at random ones only if every error is. On the other side of the equation the weights
move to the numbers that windows meet (`prover.circuit.sizing.sliding`). With T = sum_n w_n A[n]

    sum_ij x^i y^j T[c, i t + ky - p, j t + kx - p]
        = x^-floor(ky/t) y^-floor(kx/t) * sum over what (ky, kx) meets of X[c,u,v]
    X[c,u,v] = x^floor((u + p)/t) y^floor((v + p)/t) T[c,u,v]

So every number is multiplied once, whatever the kernel, and what a place of the kernel meets is a
linear form: these sums are the inputs of a linear layer with the weights W[o, c, ky, kx].

Where errors of pw columns share a pack, j has the weight y^(j div pw) C^(p (j mod pw)), and numbers
are packed as well, once for every column kx of the kernel:

    X[c,u,kx,b] = x^floor((u + p)/t) y^b sum_j C^(p j) T[c, u, (pw b + j) t + kx - p]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from kernels.numpy_types import Int64Array
from prover.circuit.constraints import System
from prover.circuit.linear_form import LinearForm
from prover.circuit.sizing.packing import Packing
from prover.circuit.sizing.positions import PositionShapes, inverse_shape
from prover.circuit.sizing.sliding import Sliding


@dataclass(frozen=True, slots=True, eq=False)
class Positions:
    """grid[i, j] = x^i y^j; inverses[a, b] = x^-a y^-b."""

    grid: LinearForm
    inverses: LinearForm

    @classmethod
    def build(
        cls, system: System, challenges: Mapping[str, LinearForm], shapes: PositionShapes
    ) -> Positions:
        """challenges : those of `shapes.axes`"""
        grids, inverses = [], []
        for axis, n, n_inverse in zip("xy", shapes.grid, shapes.inverses, strict=True):
            base, inverse = challenges.get(axis), None
            grids.append(_build_powers(system, f"positions/powers/{axis}", base, n))
            if n_inverse > 1 and base is not None:
                one = LinearForm.constant(1)
                inverse = system.quotient(f"positions/inverses/1 over {axis}", one, base)
            inverses.append(_build_powers(system, f"positions/inverses/{axis}", inverse, n_inverse))
        return cls(
            grid=_multiply_out(system, "positions/powers/grid", *grids),
            inverses=_multiply_out(system, "positions/inverses/grid", *inverses),
        )


def _build_powers(system: System, label: str, base: LinearForm | None, n: int) -> LinearForm:
    """1, base, ..., base^(n-1); no base for the first one alone."""
    if base is None or n == 1:
        return LinearForm.constant([1])
    return system.powers(label, base, n)


def _multiply_out(system: System, label: str, x: LinearForm, y: LinearForm) -> LinearForm:
    """x[i] y[j], a wire each; the constant one alone for a single pair."""
    if x.shape == y.shape == (1,):
        return LinearForm.constant([1])[None]
    return system.product(label, x[:, None], y[None, :])


def build_window_sums(
    system: System,
    label: str,
    *,
    combined: LinearForm,
    positions: Positions,
    sliding: Sliding,
    packing: Packing,
    has_grid: bool,
    is_committed: bool,
) -> LinearForm:
    """The weighted sum of T at what every place of the kernel meets: wires [C, kh, kw].

    combined     : T of what windows meet, LinearForm[C, used rows, used columns]
    has_grid     : whether outputs have weights beside constants
    is_committed : T is linear in committed wires, which are small and stand on the B side
    """
    rows = sliding.rows
    if packing.columns == 1:
        numbers, (column_index, column_kept) = combined, sliding.columns.windows
        exponents = sliding.columns.exponents
    else:
        numbers, exponents = _pack_meetings(combined, sliding, packing)
        n_blocks = packing.count_blocks(sliding.columns.n_out)
        column_index = np.arange(len(exponents)).reshape(sliding.columns.kernel, n_blocks)
        column_kept = np.ones_like(column_index)
    if has_grid:
        weights = positions.grid[rows.exponents[:, None], exponents][None]
        sides = (weights, numbers) if is_committed else (numbers, weights)
        numbers = system.product(
            f"{label}/positioned", *sides, why="weights of positions, whatever the kernel"
        )
    row_index, row_kept = rows.windows
    kept = row_kept[:, None, :, None] * column_kept[None, :, None, :]
    met = numbers[:, row_index[:, None, :, None], column_index[None, :, None, :]] * kept[None]
    sums = met.reshape((*met.shape[:3], prod(met.shape[3:]))).sum(3)
    # On the C side alone, so that as few wires as there are places have one on the A side.
    totals = system.total(f"{label}/window", sums, why="one sum for each place of the kernel")
    if inverse_shape(sliding, packing) == (1, 1):
        return totals
    column_inverses = sliding.columns.inverses * (packing.columns == 1)
    inverses = positions.inverses[rows.inverses[:, None], column_inverses]
    return system.product(f"{label}/moved window", totals, inverses[None])


def _pack_meetings(
    combined: LinearForm, sliding: Sliding, packing: Packing
) -> tuple[LinearForm, Int64Array]:
    """sum_j C^(p j) T[c, u, (pw b + j) t + kx - p], [C, used rows, kw * blocks], and b of each."""
    index, inside = sliding.columns.meetings
    packs = packing.pack_columns(combined[:, :, index] * inside, axis=3)
    channels, height, width, n_blocks = packs.shape
    blocks = np.tile(np.arange(n_blocks), width)
    return packs.reshape((channels, height, width * n_blocks)), blocks
