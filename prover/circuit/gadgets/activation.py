"""Requantization and clamp: q = floor((m z + 2^(s-1)) / 2^s), y = clamp(q) (PROTOCOL 1 and 4.2).

Three rows per activation, one for rem in [0, 2^s) and two for the pair (q, y) in the clamp table,
and one per pack for the accumulators' share of the Freivalds sum (`linear.sum_outputs`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kernels.numpy_types import Int64Array
from prover.circuit.constraints import System
from prover.circuit.gadgets.lookup import RangeTable, Table
from prover.circuit.linear_form import LinearForm
from prover.errors import TableCollision


def compute_clamp_rows(
    q_range: tuple[int, int], y_range: tuple[int, int]
) -> tuple[Int64Array, Int64Array]:
    """(q - q_min, clamp(q)) of every q of the range, both inclusive: the rows of a clamp table."""
    q = np.arange(q_range[0], q_range[1] + 1, dtype=np.int64)
    return q - q_range[0], np.clip(q, *y_range)


def build_pair_table(
    system: System,
    label: str,
    challenge: LinearForm,
    g: LinearForm,
    rows: tuple[Int64Array, Int64Array],
) -> Table:
    """A table of pairs (u, v), looked up as u + g * v.

    g     : a wire whose value is a challenge. With a constant in its place, some wrong pair would
            have the sum of a right one; at a random g two pairs agree with chance 1/r.
    raises: TableCollision when a first column repeats; two rows with distinct first columns have
            the same sum for at most one g
    """
    first, second = rows
    if len(np.unique(first)) != len(first):
        raise TableCollision(f"table {label!r} holds a first column twice")
    return Table(system, label, challenge, g * second + first)


@dataclass(frozen=True, slots=True, eq=False)
class Quotient:
    """Wires of a requantized layer, each of shape (N, ...): m z + 2^(s-1) = q 2^s + rem."""

    q: LinearForm
    rem: LinearForm

    def scale_back(self, shift: int) -> LinearForm:
        """q 2^s + rem."""
        return self.q * (1 << shift) + self.rem


def build_quotient(
    system: System, label: str, *, shape: tuple[int, ...], shift: int, ranges: RangeTable
) -> Quotient:
    """Advice q and rem with rem in [0, 2^shift), a multiple of a power of two in it at least.

    q is for its caller to bound.
    """
    found = Quotient(system.advice(f"{label}/q", shape), system.advice(f"{label}/rem", shape))
    ranges.require_range(f"{label}/remainder", found.rem, shift, why="0 <= rem < 2^shift")
    return found


def build_clamp(
    system: System, label: str, *, q: LinearForm, q_min: int, clamp: Table, g: LinearForm
) -> LinearForm:
    """Advice y with (q, y) in the clamp table.

    holds : q is an integer of the table. Together with q 2^s + rem = m z + 2^(s-1), an equation of
            integers in q and z, rem is an integer as well, so its scaled lookup pins
            0 <= rem < 2^s, and (q, rem) is the one result of a division with remainder. Unscaled,
            rem could reach past 2^s and q would not be unique.
    """
    y = system.advice(f"{label}/y", q.shape)
    # y is small and often 0, hence on the B side; g * y is 0 wherever y is.
    part = system.product(f"{label}/clamp second", g, y, why="pairs need a challenge between them")
    index = q - q_min
    clamp.lookup(f"{label}/clamp", index + part, index=index, why="y = clamp(q)")
    return y
