"""What a cell of the experiment is, and what is read of its result."""

from __future__ import annotations

from dataclasses import dataclass, fields

from federated.experiments import results
from federated.experiments.kinds import Cell, Json, Outcomes
from federated.experiments.results import Measure

NO_ATTACK = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a cell is, but for its seed.

    share   : of persons that are malicious
    n_names : under which one of them takes part; 0: everybody has one name
    """

    dataset: str
    rule: str
    attack: str = NO_ATTACK
    share: float = 0.0
    n_names: int = 0

    def to_cell(self, seed: int, **conditions: str | int | float | bool) -> Cell:
        """The cell of a seed; conditions: further ones that its result depends on."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        return Cell(seed=seed, parameters={**own, **conditions})

    @classmethod
    def of(cls, cell: Cell) -> Case:
        """What a cell is, without its further conditions."""
        return cls(**{field.name: cell.parameters[field.name] for field in fields(cls)})  # type: ignore[arg-type]


def get_success(attack: str) -> Measure:
    """The success of an attack on the last global model."""
    return lambda result: float(result["success"][attack])


def get_admitted(result: Json) -> float:
    """Share of the attacker's models that entered the global model, over all rounds."""
    return float(result["admitted"])


def get_led(result: Json) -> float:
    """Share of rounds that the attacker led."""
    return float(result["led"])


def get_poisoned(result: Json) -> float | None:
    """Share of what the attack poisons at most that was poisoned; None: it is not chosen."""
    found: float | None = result["poisoned"]
    return found


class Results(results.Results[Case]):
    """Outcomes by case."""

    def __init__(self, outcomes: Outcomes) -> None:
        super().__init__((Case.of(cell), cell.seed, result) for cell, result in outcomes)

    def has_success(self, case: Case, attack: str) -> bool:
        """Whether the success of this attack was measured in a case."""
        return case in self and all(attack in one["success"] for one in self.list_results(case))
