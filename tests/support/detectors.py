"""What mutation tests miss: rows that hold for anything, and witnesses that are free.

Both work on small circuits, over integers mod r.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from random import Random

import numpy as np

from kernels.array import FrMont, SparseMatrix
from kernels.bn254 import R
from kernels.reference import Reference
from prover.circuit.constraints import Circuit, Rule
from prover.circuit.r1cs import R1CS
from prover.circuit.witness import find_failing_rows

Row = dict[int, int]


def vacuous(circuit: Circuit, rng: Random) -> list[str]:
    """Labels of blocks with a row that holds for a uniformly random assignment.

    A row that says anything holds with chance at most 2/r.
    """
    values = [1, *(rng.randrange(R) for _ in range(circuit.r1cs.n_wires - 1))]
    failing = find_failing_rows(circuit, FrMont.from_ints(values), Reference())
    holding = np.setdiff1d(np.arange(circuit.r1cs.n_rows), failing)
    return sorted({circuit.locate(int(row))[0] for row in holding})


def undetermined(circuit: Circuit) -> list[str]:
    """Labels of blocks with a row that does not define its private wire by wires before it.

    Where there is none, committed wires and challenges leave one candidate for the private wires,
    whatever is committed, but for denominators that are zero: the Jacobian is triangular, with ones
    and denominators on its diagonal.
    """
    sides = [_rows(m) for m in circuit.r1cs.matrices]
    found, new = [], circuit.r1cs.private.start
    for block in circuit.row_blocks:
        if block.defines is None:
            continue
        first = new
        for row in range(block.start, block.stop):
            before = new if block.rule is Rule.POWERS else first
            if not _defines(block.rule, new, before, [side[row] for side in sides]):
                found.append(block.label)
            new += 1
        if circuit.columns(block.defines) != slice(first, new):
            found.append(block.label)
    return list(dict.fromkeys(found)) if new == circuit.r1cs.n_wires else ["wires without a row"]


def _defines(rule: Rule | None, new: int, before: int, sides: list[Row]) -> bool:
    """Whether a row says what wire `new` is, by wires whose columns are less than `before`."""
    alone = sides[0 if rule is Rule.QUOTIENT else 2]
    others = [{c for c, v in side.items() if v % R and c != new} for side in sides]
    if sum(new in side for side in sides) != 1 or max(set().union(*others), default=0) >= before:
        return False
    if rule is Rule.TOTAL:
        return (alone.get(new, 0) + 1) % R == 0
    return alone == {new: 1}


def private_freedom(circuit: Circuit, z: FrMont) -> int:
    """Dimension of the kernel of d(rows)/d(private wires) at z; 0 = locally unique witness."""
    private = circuit.r1cs.private
    basis = _Echelon()
    for row in _jacobian(circuit.r1cs, z):
        basis.insert({col: v for col, v in row.items() if private.start <= col})
    return circuit.r1cs.n_private - len(basis.pivots)


def committed_freedom(circuit: Circuit, draws: Sequence[FrMont]) -> int:
    """Dimension of the directions of model and advice wires that some private wires follow.

    draws : assignments with the same committed wires under different challenges; a direction counts
            when it is free under ALL of them, as the challenges come after the commitment. One draw
            adds few equations: take about as many as there are committed wires.
    Two lookups of the same table row are free to first order (their values may part in opposite
    directions), so a witness for this detector looks up every row at most once.
    """
    r1cs = circuit.r1cs
    first, last = r1cs.linked_wires.start, r1cs.advice.stop
    joint = _Echelon()
    for z in draws:
        own = _Echelon()
        for row in _jacobian(r1cs, z):
            own.insert({col: v for col, v in row.items() if col >= first})
        for pivot, row in own.pivots.items():
            if pivot < last:
                joint.insert(row)
    return int(last - first) - len(joint.pivots)


class _Echelon:
    """Rows in echelon form, each led by its greatest column: private wires are eliminated first."""

    def __init__(self) -> None:
        self.pivots: dict[int, Row] = {}

    def insert(self, row: Row) -> None:
        row = {col: v for col, v in row.items() if v}
        while row:
            lead = max(row)
            pivot = self.pivots.get(lead)
            if pivot is None:
                inverse = pow(row[lead], -1, R)
                self.pivots[lead] = {col: v * inverse % R for col, v in row.items()}
                return
            factor = row[lead]
            for col, v in pivot.items():
                value = (row.get(col, 0) - factor * v) % R
                if value:
                    row[col] = value
                else:
                    row.pop(col, None)


def _jacobian(r1cs: R1CS, z: FrMont) -> list[Row]:
    """Rows of d(Az o Bz - Cz)/dz at z."""
    values = z.to_ints()
    a, b, c = (_rows(m) for m in (r1cs.a, r1cs.b, r1cs.c))
    out = []
    for row_a, row_b, row_c in zip(a, b, c, strict=True):
        at_a = sum(v * values[col] for col, v in row_a.items()) % R
        at_b = sum(v * values[col] for col, v in row_b.items()) % R
        row: Row = {}
        for factor, side in ((at_b, row_a), (at_a, row_b), (-1, row_c)):
            for col, v in side.items():
                row[col] = (row.get(col, 0) + factor * v) % R
        out.append(row)
    return out


def _rows(m: SparseMatrix) -> list[Row]:
    ends, wide = m.indptr.tolist(), m.wide.to_ints()
    cols = m.cols.tolist()
    coeffs = [c if c < m.WIDE else wide[c - m.WIDE] for c in m.coeffs.tolist()]
    return [dict(zip(cols[i:j], coeffs[i:j], strict=True)) for i, j in pairwise(ends)]
