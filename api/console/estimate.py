"""Seconds of one proof, part by part: what `prover.costs` counts, shared out over a circuit's rows
and wires.

a row            its share of the quotient's sum, and of four transforms
a private wire   its shares of the sums A and C where it occurs, full-size scalars
committed        what the rest takes: small scalars, the witness, sparse products
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prover.circuit.compiled import ReportLine
from prover.circuit.sizes import CircuitSizes
from prover.costs import Machine, Unit, count_additions, count_proving


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Seconds of one proof; lines_s in the order of `CircuitReport.lines`."""

    lines_s: tuple[float, ...]
    padding_s: float
    committed_s: float

    @property
    def total_s(self) -> float:
        return sum(self.lines_s) + self.padding_s + self.committed_s


def estimate(sizes: CircuitSizes, lines: Sequence[ReportLine], machine: Machine) -> Estimate:
    """The seconds of `Plan`, shared out. Private wires share their sums evenly."""
    work, n = count_proving(sizes), sizes.domain
    wires = count_additions(sizes.n_private_in_a) + count_additions(sizes.n_private)
    rows_s = machine.time({Unit.ADD_G1: count_additions(n), Unit.BUTTERFLY: work[Unit.BUTTERFLY]})
    wires_s = machine.time({Unit.ADD_G1: wires})
    row_s, wire_s = rows_s / n, wires_s / max(sizes.n_private, 1)
    lines_s = tuple(line.rows * row_s + line.private_wires * wire_s for line in lines)
    padding_s = (n - sizes.n_rows) * row_s
    return Estimate(
        lines_s=lines_s,
        padding_s=padding_s,
        committed_s=max(0.0, machine.time(work) - sum(lines_s) - padding_s),
    )
