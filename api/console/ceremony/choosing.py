"""Which circuits a ceremony is for: of a command's words, and of a card."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from api.console.ceremony.parts import WHOLE
from prover.circuit.accuracy import AccuracyCircuit, compile_accuracy
from prover.circuit.norm.circuit import NormCircuit, compile_norm
from prover.circuit.training.export import ExportCircuit, compile_export
from prover.circuit.training.export_plan import require_export
from prover.circuit.training.sizes import require_step
from prover.circuit.training.step import StepCircuit, compile_step
from prover.errors import KeyMismatch
from prover.keys.card import Card, KeyCard, UpdateCard
from prover.keys.training_card import ExportCard, StepCard
from prover.keys.training_folder import EXPORT_NAME, STEP_NAME

if TYPE_CHECKING:
    from prover.circuit.r1cs import R1CS
    from prover.model.network import Architecture


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A circuit that is asked for.

    name       : of its part in the folder (`parts`)
    compile_it : its card and rows
    """

    name: str
    compile_it: Callable[[], tuple[Card, R1CS]]


def choose_circuit(model: str, samples: int | None, norm: str | None) -> Choice:
    """The circuit of accuracy, or of bounds; errors as `find_architecture` has."""
    from api.console.model_files import find_architecture, require_norm_plan
    from api.console.refusals import meaning
    from prover.circuit.norm.circuit import compile_plan
    from prover.circuit.sizes import require_circuit
    from prover.errors import ArchitectureInvalid
    from prover.plan import USUAL_SAMPLES

    if norm is not None:
        if samples is not None:
            raise typer.BadParameter("give --samples or --norm, not both")
        plan = require_norm_plan(model, norm)

        def compile_bounds() -> tuple[Card, R1CS]:
            bounds = compile_plan(plan)
            return UpdateCard.of(bounds), bounds.r1cs

        return Choice(name=WHOLE, compile_it=compile_bounds)
    architecture: Architecture = find_architecture(model)
    n_samples = samples or USUAL_SAMPLES
    with meaning("--samples", ArchitectureInvalid):
        require_circuit(architecture, n_samples)

    def compile_samples() -> tuple[Card, R1CS]:
        circuit = compile_accuracy(architecture, n_samples)
        return KeyCard.of(circuit), circuit.r1cs

    return Choice(name=WHOLE, compile_it=compile_samples)


def choose_recipe(subject: str, batch_size: int | None) -> tuple[Choice, Choice]:
    """The circuits of training: of a step, which takes more powers, and of the export.

    subject : as `find_recipe` takes it, which says what is raised; CircuitTooLarge
    """
    from api.console.training.recipes import find_recipe

    recipe = find_recipe(subject, batch_size)
    require_step(recipe)
    require_export(recipe)

    def compile_first() -> tuple[Card, R1CS]:
        step = compile_step(recipe)
        return StepCard.of(step), step.r1cs

    def compile_last() -> tuple[Card, R1CS]:
        export = compile_export(recipe)
        return ExportCard.of(export), export.r1cs

    return (
        Choice(name=STEP_NAME, compile_it=compile_first),
        Choice(name=EXPORT_NAME, compile_it=compile_last),
    )


def compile_card(card: Card) -> R1CS:
    """The rows of a card's circuit. Raises KeyMismatch for a card that names another circuit."""
    circuit: AccuracyCircuit | NormCircuit | StepCircuit | ExportCircuit
    match card:
        case KeyCard():
            circuit = compile_accuracy(card.architecture, card.n_samples)
        case UpdateCard():
            circuit = compile_norm(card.architecture, card.bounds)
        case StepCard():
            circuit = compile_step(card.recipe)
        case ExportCard():
            circuit = compile_export(card.recipe)
        case _:
            raise AssertionError(f"a card of another kind: {type(card).__name__}")
    if circuit.digest != card.circuit_digest:
        raise KeyMismatch("the card names another circuit than the one that it describes")
    return circuit.r1cs
