"""Outcomes of cells by what was set up, and differences of two of them, seed by seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

from federated.experiments.bands import Band, band
from federated.experiments.kinds import Cell, Json, Outcomes

NO_ATTACK = "none"
Measure = Callable[[Json], float]


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


def get_accuracy(result: Json) -> float:
    """Share of test samples that the last global model gets right."""
    return float(result["accuracy"][-1])


def get_success(attack: str) -> Measure:
    """The success of an attack on the last global model."""
    return lambda result: float(result["success"][attack])


def get_admitted(result: Json) -> float:
    """Share of the attacker's models that entered the global model, over all rounds."""
    return float(result["admitted"])


def get_led(result: Json) -> float:
    """Share of rounds that the attacker led."""
    return float(result["led"])


class Results:
    """The results of a run by case and seed."""

    def __init__(self, outcomes: Outcomes) -> None:
        self._found: dict[Case, dict[int, Json]] = {}
        for cell, result in outcomes:
            self._found.setdefault(Case.of(cell), {})[cell.seed] = result

    def __contains__(self, case: Case) -> bool:
        return case in self._found

    @property
    def cases(self) -> list[Case]:
        """In the order in which they ran."""
        return list(self._found)

    def measure(self, case: Case, measure: Measure) -> Band:
        """The band over the seeds of a case."""
        return band([measure(result) for result in self._found[case].values()])

    def compare(self, case: Case, measure: Measure, other: Case, other_measure: Measure) -> Band:
        """The band of the differences, case less other, of runs of equal seeds: equal data, start
        and draws."""
        mine, others = self._found[case], self._found[other]
        return band(
            [measure(mine[seed]) - other_measure(others[seed]) for seed in mine if seed in others]
        )

    def has_success(self, case: Case, attack: str) -> bool:
        """Whether the success of this attack was measured in a case."""
        found = self._found.get(case, {})
        return bool(found) and all(attack in result["success"] for result in found.values())

    def count_seeds(self) -> int:
        """Of the case that ran with fewest."""
        return min((len(found) for found in self._found.values()), default=0)
