"""What circuits of training have in common, and what `explain` says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prover.circuit.compiled import CompiledCircuit, Report
from prover.training.recipe import TrainingRecipe


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingReport(Report):
    """What `inspect` shows of training.

    kind : "a training step" or "an export"
    """

    kind: str
    training: dict[str, int]

    @property
    def subject(self) -> str:
        numbers = ", ".join(f"{name} {value}" for name, value in self.training.items())
        return f"{self.kind} of {self.architecture} ({numbers})"


def explain_training(
    compiled: CompiledCircuit,
    recipe: TrainingRecipe,
    *,
    kind: str,
    groups: Sequence[str],
    width_reason: str,
) -> TrainingReport:
    """Rows and wires per part and gadget. groups : names of the linked groups, in their order"""
    return TrainingReport(
        kind=kind,
        architecture=recipe.architecture.name,
        training=recipe.numbers,
        width_reason=width_reason,
        **compiled.measure(*groups),
    )
