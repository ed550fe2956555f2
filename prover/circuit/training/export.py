"""The statement "D_W is the int8 model of the masters behind D_M", as a circuit.

Linked groups: `masters`, M; `model`, weights W and biases beta W_b in the order of the model's
wires. With it the last masters of a round become the model whose accuracy is proven, and are shown
to be in their range. PROTOCOL section 4.6.

    W in [-127, 127], and M its master        two lookups a parameter, and a row a bias
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels.integers import HOST, Integers
from kernels.numpy_types import Int64Array
from prover.circuit.compiled import CompiledCircuit
from prover.circuit.constraints import System
from prover.circuit.gadgets.lookup import build_integer_table
from prover.circuit.sizes import MAX_ROWS
from prover.circuit.training.export_plan import ExportPlan, require_export
from prover.circuit.training.plan import LOOKUP
from prover.circuit.training.range_tables import Ranges
from prover.circuit.training.report import TrainingReport, explain_training
from prover.circuit.training.step import link_tensors, list_tensors, require_rounding
from prover.circuit.training.witness import CommittedWires, solve_wires
from prover.model.layers import WEIGHT_MAX
from prover.training.masters import export, require_masters, round_masters, split_masters
from prover.training.recipe import TrainingRecipe


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExportCircuit(CompiledCircuit):
    """The compiled statement for one recipe."""

    plan: ExportPlan

    @property
    def recipe(self) -> TrainingRecipe:
        return self.plan.recipe

    @property
    def n_challenges(self) -> int:
        return len(self.plan.challenges)

    def explain(self) -> TrainingReport:
        """Rows and wires per part and gadget, and the reasons of the compiler."""
        return explain_training(
            self,
            self.recipe,
            kind="an export",
            groups=("masters", "model"),
            width_reason=self.plan.ranges.reason,
        )


def compile_export(recipe: TrainingRecipe, *, max_rows: int = MAX_ROWS) -> ExportCircuit:
    """The circuit of the export. Raises CircuitTooLarge as `compile_step`.

    holds : a weight wire of the model is the W of its master; a bias wire is beta W_b mod r, an
            integer far below r, of a W_b that is the W of its master
    """
    plan, system = require_export(recipe, max_rows=max_rows), System()
    lookup = system.public(f"challenge/{LOOKUP}")
    ranges = Ranges.build(system, plan.ranges, lookup)
    table = build_integer_table(
        system, "weight table", lookup, np.arange(-WEIGHT_MAX, WEIGHT_MAX + 1)
    )
    masters = link_tensors(system, recipe, "masters")
    model = link_tensors(system, recipe, "model")
    labels = [label for label, _ in list_tensors(recipe)]
    for i, (of_masters, (weights, biases)) in enumerate(zip(masters, model, strict=True)):
        seen = system.advice(f"{labels[2 * i + 1]}/seen", biases.shape)
        system.require(
            f"{labels[2 * i + 1]}/scaled",
            c=biases - seen * recipe.bias_input,
            why="a bias is beta times its weight",
        )
        pairs = zip(labels[2 * i : 2 * i + 2], of_masters, (weights, seen), strict=True)
        for label, fine, coarse in pairs:
            require_rounding(
                recipe, label, masters=fine, weights=coarse, ranges=ranges, table=table
            )
    for each in (*ranges.tables, table):
        each.close()
    return ExportCircuit(plan=plan, circuit=system.build(_list_parameters(plan)))


def solve_export(
    circuit: ExportCircuit, masters: Int64Array, integers: Integers = HOST
) -> CommittedWires:
    """Phase 1 for masters, int64[n_parameters]; phase 2 is `solve_private`.

    raises : ShapeMismatch; RangeExceeded, for the owner's eyes, where they are no masters
    """
    return solve_wires(circuit.circuit, list_export_wires(circuit, masters), integers)


def list_export_wires(circuit: ExportCircuit, masters: Int64Array) -> dict[str, Int64Array]:
    """Linked wires and advice that has no hint, by label."""
    recipe = circuit.recipe
    require_masters(recipe, masters)
    model = export(recipe, masters)
    seen = split_masters(recipe, round_masters(recipe, masters))
    found: dict[str, Int64Array] = {}
    for form, vector in (("masters/{}", masters), ("model/{}", model.wires)):
        for layer, (weights, biases) in enumerate(split_masters(recipe, vector)):
            found[form.format(f"layer {layer}/weights")] = weights
            found[form.format(f"layer {layer}/biases")] = biases
    return found | {f"layer {i}/biases/seen": biases for i, (_, biases) in enumerate(seen)}


def _list_parameters(plan: ExportPlan) -> dict[str, Any]:
    """What the digest covers beside the matrices."""
    return {
        "export": plan.recipe.numbers,
        "challenges": list(plan.challenges),
        "tables": {
            **plan.ranges.parameters,
            "weight": {"least": -WEIGHT_MAX, "greatest": WEIGHT_MAX},
        },
    }
