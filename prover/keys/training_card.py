"""`circuit.json` of keys of training: which recipe the key is for (`prover.keys.card`).

training, export    `TrainingRecipe.numbers`: of a step, of the export of its masters
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from prover.circuit.training.export_plan import ExportPlan, plan_export, require_export
from prover.circuit.training.plan import StepPlan, plan_step
from prover.circuit.training.sizes import require_step
from prover.keys.card import Card
from prover.model.network import Architecture
from prover.training.recipe import TrainingRecipe

if TYPE_CHECKING:
    from prover.circuit.training.export import ExportCircuit
    from prover.circuit.training.step import StepCircuit


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingCard(Card):
    """What both kinds say: the numbers of a recipe for the card's architecture."""

    WORDS: ClassVar[str] = "another recipe of training"
    recipe: TrainingRecipe

    @property
    def public_sizes(self) -> tuple[int, int]:
        return self.plan.n_public, len(self.plan.challenges)

    @property
    @abstractmethod
    def plan(self) -> StepPlan | ExportPlan:
        """Tables, challenges and public wires."""

    def to_field(self) -> object:
        return self.recipe.numbers

    @classmethod
    def from_field(cls, architecture: Architecture, circuit_digest: bytes, value: Any) -> Self:
        recipe = TrainingRecipe.of(architecture, value)
        return cls(architecture=architecture, circuit_digest=circuit_digest, recipe=recipe)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCard(TrainingCard):
    """What a key of a training step is for."""

    FIELD: ClassVar[str] = "training"
    N_LINKED: ClassVar[int] = 3

    @classmethod
    def of(cls, step: StepCircuit) -> StepCard:
        """The card of every key of this circuit."""
        recipe = step.recipe
        return cls(architecture=recipe.architecture, recipe=recipe, circuit_digest=step.digest)

    @property
    def plan(self) -> StepPlan:
        return plan_step(self.recipe)

    def require_circuit(self) -> None:
        require_step(self.recipe)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportCard(TrainingCard):
    """What a key of an export is for."""

    FIELD: ClassVar[str] = "export"
    N_LINKED: ClassVar[int] = 2

    @classmethod
    def of(cls, circuit: ExportCircuit) -> ExportCard:
        """The card of every key of this circuit."""
        recipe = circuit.recipe
        return cls(architecture=recipe.architecture, recipe=recipe, circuit_digest=circuit.digest)

    @property
    def plan(self) -> ExportPlan:
        return plan_export(self.recipe)

    def require_circuit(self) -> None:
        require_export(self.recipe)
