"""How clients of a task train: the recipe, how many steps of it are proven, and under which keys.

In the genesis: the recipe's numbers as in the card of its keys, digests in hexadecimal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from consensus.errors import GenesisInvalid
from consensus.wire.reading import read_hex, read_object, require, require_bytes, require_number
from prover.errors import ArchitectureInvalid, RecipeInvalid
from prover.keys.training_card import ExportCard, StepCard
from prover.model.network import Architecture
from prover.training.recipe import TrainingRecipe
from prover.wire.kinds import DIGEST_BYTES
from prover.wire.training import MAX_ROUND_STEPS

MAX_MASTER_BITS = 16
"""A global model has 16 bits below the point: the mean of masters must fit it exactly."""
_WHERE = "task.training"
_DIGESTS = ("step_circuit", "step_key", "export_circuit", "export_key")
_COUNTS = ("n_steps", "n_drawn")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingTerms:
    """What a task asks of training.

    n_steps              : T, steps of a round, 1 to MAX_ROUND_STEPS
    n_drawn              : q, how many of them are proven, 1 to T
    step_key, export_key : sha256 of the verifying keys, both of the recipe
    raises               : GenesisInvalid
    """

    recipe: TrainingRecipe
    n_steps: int
    n_drawn: int
    step_key: bytes
    export_key: bytes

    def __post_init__(self) -> None:
        _require_counts(self.n_steps, self.n_drawn)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskTraining:
    """Training of a task. Raises GenesisInvalid.

    numbers                      : of the recipe, by ascending name (`TrainingRecipe.numbers`)
    n_steps, n_drawn             : T and q, as in `TrainingTerms`; with q = T every step is proven
    step_circuit, export_circuit : circuit digests of the keys
    step_key, export_key         : sha256 of the `verifying.key`s whose cards are made here
    """

    numbers: tuple[tuple[str, int], ...]
    n_steps: int
    n_drawn: int
    step_circuit: bytes
    step_key: bytes
    export_circuit: bytes
    export_key: bytes

    def __post_init__(self) -> None:
        for name in _DIGESTS:
            require_bytes(f"{_WHERE}.{name}", getattr(self, name), DIGEST_BYTES)
        _require_counts(self.n_steps, self.n_drawn)
        ascending = self.numbers == tuple(sorted(self.numbers))
        require(f"{_WHERE}.numbers", ascending, "are not by ascending name")

    @classmethod
    def of(
        cls,
        step: StepCard,
        export: ExportCard,
        *,
        step_key: bytes,
        export_key: bytes,
        n_steps: int,
        n_drawn: int,
    ) -> Self:
        """Training under keys of these cards. Raises GenesisInvalid for cards of two recipes."""
        require(_WHERE, step.recipe == export.recipe, "has keys of two recipes")
        return cls(
            numbers=tuple(sorted(step.recipe.numbers.items())),
            n_steps=n_steps,
            n_drawn=n_drawn,
            step_circuit=step.circuit_digest,
            step_key=step_key,
            export_circuit=export.circuit_digest,
            export_key=export_key,
        )

    @property
    def key_digests(self) -> tuple[bytes, bytes]:
        """Of the keys of a step, and of the export."""
        return self.step_key, self.export_key

    def require_recipe(self, architecture: Architecture) -> None:
        """GenesisInvalid for numbers that no key is of, or whose masters have no exact mean."""
        try:
            recipe = self.make_recipe(architecture)
            self.make_step_card(architecture).require_circuit()
            self.make_export_card(architecture).require_circuit()
        except (RecipeInvalid, ArchitectureInvalid) as error:
            raise GenesisInvalid(f"{_WHERE}.numbers", str(error)) from None
        fits = recipe.master_bits <= MAX_MASTER_BITS
        require(f"{_WHERE}.numbers", fits, f"have more than {MAX_MASTER_BITS} master bits")

    def make_recipe(self, architecture: Architecture) -> TrainingRecipe:
        """The recipe of clients. RecipeInvalid where `require_recipe` refuses it."""
        return TrainingRecipe.of(architecture, dict(self.numbers))

    def make_terms(self, architecture: Architecture) -> TrainingTerms:
        """What the rules of a round read."""
        return TrainingTerms(
            recipe=self.make_recipe(architecture),
            n_steps=self.n_steps,
            n_drawn=self.n_drawn,
            step_key=self.step_key,
            export_key=self.export_key,
        )

    def make_step_card(self, architecture: Architecture) -> StepCard:
        """The card that the verifying key of a step must name."""
        recipe = self.make_recipe(architecture)
        return StepCard(architecture=architecture, recipe=recipe, circuit_digest=self.step_circuit)

    def make_export_card(self, architecture: Architecture) -> ExportCard:
        """The card that the verifying key of an export must name."""
        recipe = self.make_recipe(architecture)
        return ExportCard(
            architecture=architecture, recipe=recipe, circuit_digest=self.export_circuit
        )

    def to_json(self) -> dict[str, Any]:
        digests = {name: getattr(self, name).hex() for name in _DIGESTS}
        counts = {name: getattr(self, name) for name in _COUNTS}
        return {"numbers": dict(self.numbers), **counts, **digests}

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Inverse of `to_json`. GenesisInvalid for every other value."""
        fields = read_object(_WHERE, value, cls.__dataclass_fields__.keys())
        numbers = fields["numbers"]
        require(f"{_WHERE}.numbers", isinstance(numbers, dict), "are no object")
        digests = {name: read_hex(f"{_WHERE}.{name}", fields[name]) for name in _DIGESTS}
        return cls(**fields | digests | {"numbers": tuple(sorted(numbers.items()))})


def _require_counts(n_steps: int, n_drawn: int) -> None:
    require_number(f"{_WHERE}.n_steps", n_steps, 1, MAX_ROUND_STEPS)
    require_number(f"{_WHERE}.n_drawn", n_drawn, 1, n_steps)
