"""Tables and ranges by LogUp: one sum of fractions per table (PROTOCOL 4.2; eprint 2022/1530).

    sum_i 1/(X + f_i)  =  sum_j m_j/(X + t_j),      X drawn after all f_i and m_j are committed

As rational functions of X, the left side has a pole at every -f_i (fewer than r lookups, so no pole
cancels), the right side only at the -t_j: each f_i is some t_j. At a random X the two sides of a
wrong claim agree with chance (lookups + rows)/r. For that reason looked-up values and
multiplicities are linear in COMMITTED wires, or products of those with a challenge; and table rows
are distinct.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from kernels.numpy_types import Int64Array
from prover.circuit.constraints import System
from prover.circuit.derivations import Limbs, Multiplicities
from prover.circuit.linear_form import LinearForm
from prover.circuit.sizing.widths import split_widths
from prover.errors import TableCollision


@dataclass(slots=True, eq=False)
class Table:
    """A table under construction: collects lookups, then `close` states the sum.

    challenge : the wire X
    values    : the rows t_j, LinearForm[n]; distinct, which the caller's constructor checks
    """

    system: System
    label: str
    challenge: LinearForm
    values: LinearForm
    _inverses: list[LinearForm] = field(default_factory=list)
    _indices: list[LinearForm] = field(default_factory=list)

    @property
    def n_rows(self) -> int:
        return self.values.shape[0]

    def lookup(self, label: str, value: LinearForm, *, index: LinearForm, why: str = "") -> None:
        """value is a row of the table. One row and one private wire per lookup.

        index : which row it is when the owner is honest, over committed wires; not a constraint
        """
        one = LinearForm.constant(1)
        # The inverse has full size and stands on the A side; the committed value on the B side.
        inverse = self.system.quotient(label, one, self.challenge + value, why=why)
        self._inverses.append(inverse.flat())
        self._indices.append(index.flat())
        self.system.record_lookup(label, index, self.n_rows)

    def close(self) -> None:
        """Multiplicities, one row per table row, and the one sum."""
        if not self._inverses:
            raise ValueError(f"table {self.label!r} is never used: its challenge would be free")
        counts = self.system.advice(
            f"{self.label}/multiplicity",
            (self.n_rows,),
            hint=Multiplicities(indices=tuple(self._indices), n_rows=self.n_rows),
        )
        shares = self.system.quotient(
            f"{self.label}/row",
            counts,
            self.challenge + self.values,
            why=f"a table of {self.n_rows} rows costs as many",
        )
        total = LinearForm.zero()
        for inverse in self._inverses:
            total = total + inverse.sum(0)
        self.system.require(f"{self.label}/sum", c=total - shares.sum(0))


def build_integer_table(
    system: System, label: str, challenge: LinearForm, values: Sequence[int] | Int64Array
) -> Table:
    """A table of public integers. TableCollision when two are equal."""
    numbers = np.asarray(values, dtype=np.int64)
    if len(np.unique(numbers)) != len(numbers):
        raise TableCollision(f"table {label!r} holds a value twice")
    return Table(system, label, challenge, LinearForm.constant(numbers))


@dataclass(slots=True, eq=False)
class RangeTable:
    """All ranges of a circuit in one table [0, 2^table_bits)."""

    system: System
    table: Table
    table_bits: int

    @classmethod
    def build(cls, system: System, label: str, challenge: LinearForm, bits: int) -> RangeTable:
        table = build_integer_table(system, label, challenge, np.arange(1 << bits, dtype=np.int64))
        return cls(system, table, bits)

    def require_range(
        self, label: str, value: LinearForm, bits: int, *, exact: bool = False, why: str = ""
    ) -> None:
        """value * 2^a is an integer of [0, 2^(bits + a)), a = table_bits - lowest limb's width.

        value : linear in committed wires; full limbs become advice, the lowest is what is left
        exact : adds an unscaled lookup of the lowest limb, so that value itself is an integer of
                [0, 2^bits)
        holds : full limbs are integers of the table; the lowest limb x is looked up as 2^a x, so it
                is j / 2^a with 0 <= j < 2^table_bits. Callers that leave `exact` out say why a
                fraction does no harm, or what else makes value an integer.
        """
        widths = split_widths(bits, self.table_bits)
        low = value
        if len(widths) > 1:
            shifts = np.cumsum(np.array(widths, dtype=np.int64))[:-1]
            limbs = self.system.advice(
                f"{label}/limbs",
                (*value.shape, len(shifts)),
                hint=Limbs(value=value, shifts=shifts, bits=self.table_bits),
            )
            self.table.lookup(f"{label}/high", limbs, index=limbs, why=why)
            low = value - (limbs * (1 << shifts)).sum(len(value.shape))
        scaled = low * (1 << (self.table_bits - widths[0]))
        self.table.lookup(f"{label}/low", scaled, index=scaled, why=why)
        if exact and widths[0] < self.table_bits:
            self.table.lookup(
                f"{label}/whole", low, index=low, why="the lowest limb is no fraction"
            )
