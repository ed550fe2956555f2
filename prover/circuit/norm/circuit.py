"""The statement "this committed update is no greater than the bounds", as a circuit.

The linked group is the update d = W - G, in the order of the model's wires: whoever has a
commitment to W subtracts the public G from it and has the one to d, with the same blinding. One
circuit, hence one key, per (architecture, bounds): it holds no model. PROTOCOL section 4.5.

    every d of a weight in [-B_w, B_w], of a bias in [-B_b, B_b]       a lookup, or limbs, each
    S = sum (255 d)^2 over weights + sum d^2 over biases               a row per square, one sum
    255^2 L - S in [0, 2^bits)                                         limbs
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from kernels.integers import HOST, Integers
from kernels.numpy_types import Int64Array
from prover.circuit.advice import solve_advice
from prover.circuit.compiled import CompiledCircuit, Report
from prover.circuit.constraints import Group, System
from prover.circuit.gadgets.lookup import RangeTable, Table, build_integer_table
from prover.circuit.linear_form import LinearForm
from prover.circuit.norm.plan import KINDS, NormPlan, require_norm
from prover.circuit.sizes import MAX_ROWS
from prover.errors import ShapeMismatch
from prover.model.network import Architecture, label_parameters
from prover.model.update import BIAS_UNIT, UpdateBounds, compute_squares, require_bounds

SQUARES = "update/squares/sum"


@dataclass(frozen=True, slots=True, kw_only=True)
class NormReport(Report):
    """What `inspect` shows of bounds on updates."""

    bounds: dict[str, int]

    @property
    def subject(self) -> str:
        bounds = ", ".join(f"{name} {value}" for name, value in self.bounds.items())
        return f"bounds on updates of {self.architecture} ({bounds})"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NormCircuit(CompiledCircuit):
    """The compiled statement for one architecture and bounds."""

    plan: NormPlan

    @property
    def architecture(self) -> Architecture:
        return self.plan.architecture

    @property
    def bounds(self) -> UpdateBounds:
        return self.plan.bounds

    @property
    def n_challenges(self) -> int:
        return len(self.plan.challenges)

    def explain(self) -> NormReport:
        """Rows and wires per part and gadget, and the reasons of the compiler."""
        return NormReport(
            architecture=self.architecture.name,
            bounds=self.bounds.to_manifest(),
            width_reason=self.plan.widths.reason,
            **self.measure("model"),
        )


def compile_norm(
    architecture: Architecture, bounds: UpdateBounds, *, max_rows: int = MAX_ROWS
) -> NormCircuit:
    """The circuit of bounds on updates.

    raises : CircuitTooLarge for more than `max_rows` rows, before anything is allocated
    cost   : two rows per parameter, and the tables
    """
    return compile_plan(require_norm(architecture, bounds, max_rows=max_rows))


def compile_plan(plan: NormPlan) -> NormCircuit:
    """The circuit of a plan, which `plan_norm` makes the cheapest; any other holds as well."""
    bounds, system = plan.bounds, System()
    lookup = system.public("challenge/lookup")
    ranges = RangeTable.build(system, "range table", lookup, plan.widths.table_bits)
    tables = {
        kind: build_integer_table(
            system,
            f"{kind} table",
            lookup,
            np.arange(-getattr(bounds, kind), getattr(bounds, kind) + 1),
        )
        for kind in plan.tabled
    }
    squares = _add_parameters(system, plan, ranges, tables)
    _add_sum(system, bounds, ranges, squares)
    for table in (ranges.table, *tables.values()):
        table.close()
    return NormCircuit(plan=plan, circuit=system.build(_list_parameters(plan)))


def _add_parameters(
    system: System, plan: NormPlan, ranges: RangeTable, tables: Mapping[str, Table]
) -> LinearForm:
    """Every change within its bound; their squares, each times the weight it has in the sum."""
    squares = LinearForm.zero()
    shapes = zip(plan.architecture.weight_shapes, plan.architecture.bias_shapes, strict=True)
    for index, of_layer in enumerate(shapes):
        labels = label_parameters(index, *of_layer)
        for kind, (label, shape) in zip(KINDS, labels.items(), strict=True):
            if not prod(shape):
                continue  # of a layer without parameters
            change = system.model(label, shape)
            _require_bound(
                f"{label}/bound", change, getattr(plan.bounds, kind), ranges, tables.get(kind)
            )
            square = system.product(f"{label}/square", change, change)
            unit = BIAS_UNIT if kind == "weight" else 1
            squares = squares + square.flat().sum(0) * (unit * unit)
    return squares


def _require_bound(
    label: str, change: LinearForm, bound: int, ranges: RangeTable, table: Table | None
) -> None:
    """change in [-bound, bound].

    holds : B + d is an integer of [0, 2^bits) by an exact range, hence d is an integer; then so is
            B - d, whose range needs no lookup that says it is. B + d >= 0 and B - d >= 0: both are
            far below r, so neither is a negative number mod r.
    """
    why = "a change beyond its bound, or a fraction"
    if table is not None:
        table.lookup(label, change, index=change + bound, why=why)
        return
    bits = (2 * bound).bit_length()
    below, above = change + bound, LinearForm.constant(bound) - change
    ranges.require_range(f"{label}/below", below, bits, exact=True, why=why)
    ranges.require_range(f"{label}/above", above, bits, why=why)


def _add_sum(system: System, bounds: UpdateBounds, ranges: RangeTable, squares: LinearForm) -> None:
    """The sum of squares S is committed, so that its limbs are linear in committed wires.

    holds : changes are integers below 2^24, so S is the sum of squares of fewer than 2^27 of them,
            an integer below 2^90 that does not wrap; L - S in [0, 2^bits) says S <= L.
    """
    total = system.advice(SQUARES, ())
    system.require("update/squares/sum", c=squares - total, why="all squares are in the sum")
    limit = bounds.scaled_squares
    ranges.require_range(
        "update/squares/bound",
        LinearForm.constant(limit) - total,
        limit.bit_length(),
        why="the sum of squares is at most its bound",
    )


def _list_parameters(plan: NormPlan) -> dict[str, Any]:
    """What the digest covers beside the matrices: the choices a reader would ask for."""
    return {
        "bounds": plan.bounds.to_manifest(),
        "bias_unit": BIAS_UNIT,
        "challenges": list(plan.challenges),
        "tables": {
            "range": {"bits": plan.widths.table_bits},
            **{
                kind: {
                    "least": -getattr(plan.bounds, kind),
                    "greatest": getattr(plan.bounds, kind),
                }
                for kind in plan.tabled
            },
        },
    }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CommittedUpdate:
    """All wires that are fixed before the challenges, int64. Private.

    update : W - G; advice : limbs, multiplicities and the sum of squares; where `integers` computes
    """

    update: Int64Array
    advice: Int64Array
    integers: Integers

    def __repr__(self) -> str:
        return f"CommittedUpdate({len(self.update)} changes, {len(self.advice)} advice wires)"


def solve_update(
    norm: NormCircuit, update: Int64Array, integers: Integers = HOST
) -> CommittedUpdate:
    """Phase 1 for an update, int64[n_parameters] on the host; phase 2 is `solve_private`.

    raises : ShapeMismatch; UpdateExceeds, for the owner's eyes, when it leaves a bound
    """
    architecture = norm.architecture
    if update.dtype != np.int64 or update.shape != (architecture.n_parameters,):
        raise ShapeMismatch(
            f"an update must be int64[{architecture.n_parameters}], "
            f"got {update.dtype}{list(update.shape)}"
        )
    require_bounds(architecture, update, norm.bounds)
    inputs = {SQUARES: np.array(compute_squares(architecture, update), dtype=np.int64)}
    at = 0
    for label, block in norm.circuit.wire_blocks.items():
        if block.group == Group.LINKED:
            inputs[label] = update[at : at + block.size].reshape(block.shape)
            at += block.size
    with integers.active():
        values = solve_advice(norm.circuit, inputs, integers)
    r1cs = norm.r1cs
    return CommittedUpdate(
        update=values[r1cs.linked_wires], advice=values[r1cs.advice], integers=integers
    )
