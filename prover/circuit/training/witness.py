"""The committed wires of a training step, from what the integer evaluator has computed."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from kernels.array import FrArray
from kernels.integers import HOST, Integers
from kernels.numpy_types import Int64Array
from prover.circuit.advice import solve_advice
from prover.circuit.constraints import Circuit
from prover.circuit.training.step import StepCircuit
from prover.errors import ShapeMismatch
from prover.training.masters import split_masters
from prover.training.step import StepTrace


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CommittedWires:
    """All wires that are fixed before the challenges, int64, where `integers` computes. Private.

    linked : of each group, in the order of their commitments
    """

    linked: tuple[Int64Array, ...]
    advice: Int64Array
    integers: Integers

    def __repr__(self) -> str:
        return f"CommittedWires({len(self.linked)} groups, {len(self.advice)} advice wires)"

    @property
    def linked_scalars(self) -> list[FrArray]:
        return [self.integers.to_scalars(wires) for wires in self.linked]

    @property
    def advice_scalars(self) -> FrArray:
        return self.integers.to_scalars(self.advice)


def solve_step(step: StepCircuit, trace: StepTrace, integers: Integers = HOST) -> CommittedWires:
    """Phase 1 of a step that `train_step` has made; phase 2 is `solve_private`.

    raises : ShapeMismatch for the step of another recipe
    """
    return solve_wires(step.circuit, list_step_wires(step, trace), integers)


def list_step_wires(step: StepCircuit, trace: StepTrace) -> dict[str, Int64Array]:
    """Linked wires and all advice that has no hint, by label."""
    recipe = step.recipe
    if trace.batch.images.shape != (recipe.batch_size, recipe.widths[0]) or trace.before.shape != (
        recipe.architecture.n_parameters,
    ):
        raise ShapeMismatch("the step is of another recipe than the circuit")
    found: dict[str, Int64Array] = {}
    for form, masters in (
        ("before/{}", trace.before),
        ("after/{}", trace.after),
        ("{}/seen", trace.weights),
    ):
        for layer, (weights, biases) in enumerate(split_masters(recipe, masters)):
            found[form.format(f"layer {layer}/weights")] = weights
            found[form.format(f"layer {layer}/biases")] = biases
    found |= {"data/images": trace.batch.images.astype(np.int64), "data/y": trace.batch.y}
    for layer, x in enumerate(trace.hidden):
        found |= {
            f"layer {layer}/activation/{name}": getattr(x, name)
            for name in ("q", "rem", "a", "gate")
        }
        found |= {
            f"layer {layer}/error/{name}": getattr(x, name) for name in ("w", "w_rem", "delta")
        }
    loss = {f.name: getattr(trace.loss, f.name) for f in fields(trace.loss)}
    return found | {
        "loss/labels/hit": loss["hit"],
        "loss/error/delta": loss["delta"],
        **{
            f"loss/softmax/{name}": loss[name]
            for name in ("top", "step", "excess", "rem", "share", "p", "p_rem")
        },
    }


def solve_wires(
    circuit: Circuit, wires: dict[str, Int64Array], integers: Integers = HOST
) -> CommittedWires:
    """Linked and advice wires from labelled host arrays and the circuit's hints."""
    with integers.active():
        values = solve_advice(circuit, wires, integers)
        r1cs = circuit.r1cs
        return CommittedWires(
            linked=tuple(values[group] for group in r1cs.linked_groups),
            advice=values[r1cs.advice],
            integers=integers,
        )
