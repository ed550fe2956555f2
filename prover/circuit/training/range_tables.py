"""Ranges of a training circuit: a table of its own for what is checked often, one for the rest.

All are exact: what passes is an integer, so no equation of the circuit has to say so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kernels.bn254 import R
from prover.circuit.constraints import System
from prover.circuit.gadgets.lookup import RangeTable, Table
from prover.circuit.linear_form import LinearForm
from prover.circuit.sizing.counting import Counts
from prover.circuit.sizing.widths import RangeDemand

MAX_TABLE_BITS = 16
assert 1 << (2 * MAX_TABLE_BITS) < R


@dataclass(frozen=True, slots=True, kw_only=True)
class RangePlan:
    """Which ranges have tables of their own.

    table_bits : of the table whose limbs serve all other ranges
    own        : bits of the ranges that have one, ascending; never `table_bits`
    n_rows     : of all tables and lookups
    """

    table_bits: int
    own: tuple[int, ...]
    n_rows: int

    @property
    def tables(self) -> tuple[int, ...]:
        """Bits of all tables, ascending."""
        return tuple(sorted({self.table_bits, *self.own}))

    @property
    def names(self) -> tuple[str, ...]:
        """Of all tables, in the order of `tables`."""
        return tuple(f"range {bits}" for bits in self.tables)

    @property
    def parameters(self) -> dict[str, Any]:
        """For the circuit's digest."""
        return {f"range {bits}": {"bits": bits} for bits in self.tables}

    @property
    def reason(self) -> str:
        """For people, in one line."""
        own = ", ".join(f"2^{bits}" for bits in self.own) or "none"
        return (
            f"a range table of 2^{self.table_bits} rows, and for single ranges {own}: "
            f"{self.n_rows} rows with their lookups"
        )

    def count(self, counts: Counts, n: int, bits: int, *, terms: int) -> None:
        """n values of so many terms in [0, 2^bits)."""
        if bits in self.tables:
            counts.look_up(f"range {bits}", n, terms=terms)
        else:
            counts.require_range(n, bits, terms=terms, exact=True)

    def close(self, counts: Counts) -> None:
        """The tables themselves. Lookups of limbs are the shared table's, too."""
        shared = f"range {self.table_bits}"
        limbs = counts.lookups.pop("range", 0)
        counts.lookups[shared] = counts.lookups.get(shared, 0) + limbs
        for name, bits in zip(self.names, self.tables, strict=True):
            counts.close(name, name, 1 << bits, terms=(1 << bits) - 1)  # the row of 0 has no term


def plan_ranges(demands: Sequence[RangeDemand]) -> RangePlan:
    """The plan with the fewest rows; the narrower shared table on a tie."""
    counts: dict[int, int] = {}
    for demand in demands:
        counts[demand.bits] = counts.get(demand.bits, 0) + demand.count
    plans = [_plan(counts, bits) for bits in range(1, MAX_TABLE_BITS + 1)]
    return min((plan for plan in plans if plan is not None), key=lambda plan: plan.n_rows)


def _plan(counts: Mapping[int, int], table_bits: int) -> RangePlan | None:
    """With a shared table of this width; None where no range would use it."""
    own, n_rows, is_used = [], 1 << table_bits, False
    for bits, n in sorted(counts.items()):
        demand = RangeDemand(what="", count=n, bits=bits, exact=True)
        shared, alone = demand.count_lookups(table_bits), n + (1 << bits)
        if bits != table_bits and bits <= MAX_TABLE_BITS and alone < shared:
            own.append(bits)
            n_rows += alone
        else:
            is_used = True
            n_rows += shared
    return RangePlan(table_bits=table_bits, own=tuple(own), n_rows=n_rows) if is_used else None


@dataclass(frozen=True, slots=True, eq=False)
class Ranges:
    """The tables of a plan, in a circuit under construction."""

    plan: RangePlan
    by_bits: Mapping[int, RangeTable]

    @classmethod
    def build(cls, system: System, plan: RangePlan, challenge: LinearForm) -> Ranges:
        """challenge : the wire X that all tables share"""
        return cls(
            plan,
            {
                bits: RangeTable.build(system, f"{name} table", challenge, bits)
                for name, bits in zip(plan.names, plan.tables, strict=True)
            },
        )

    def require(self, label: str, value: LinearForm, bits: int, *, why: str) -> None:
        """value is an integer of [0, 2^bits), exactly.

        value : linear in committed wires
        holds : it is a row of a table of 2^bits rows; or its limbs are of the shared one, the
                lowest both scaled and as it is (`RangeTable.require_range`)
        """
        table = self.by_bits.get(bits, self.by_bits[self.plan.table_bits])
        table.require_range(label, value, bits, exact=True, why=why)

    @property
    def tables(self) -> list[Table]:
        return [ranges.table for ranges in self.by_bits.values()]
