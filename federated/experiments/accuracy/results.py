"""Reading outcomes: a curve for each case and seed, and bands of what is compared."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from federated.experiments.accuracy.cases import Case, read_cell
from federated.experiments.bands import Band, band
from federated.experiments.kinds import Json, Outcomes
from kernels.numpy_types import Float64Array

LAST = 3
"""Rounds at the end whose mean is a run's accuracy, and whose spread its stability."""
LEAST_ROUNDS = 8
"""Of a run whose spread is told."""

Measure = Callable[[Json], float]


def get_final(result: Json) -> float:
    """Mean accuracy over the last rounds."""
    return float(np.mean(result["accuracy"][-LAST:]))


def get_spread(result: Json) -> float:
    """Standard deviation of the accuracy from round to round, over the last half of a run, of what
    is left when its trend, a straight line, is taken out."""
    late = np.array(result["accuracy"][len(result["accuracy"]) // 2 :])
    rounds = np.arange(len(late))
    trend = np.polyval(np.polyfit(rounds, late, 1), rounds)
    return float(np.sqrt(np.mean((late - trend) ** 2)))


class Results:
    """Outcomes by case."""

    def __init__(self, outcomes: Outcomes) -> None:
        self._by_case: dict[Case, dict[int, Json]] = {}
        for cell, result in outcomes:
            case, _ = read_cell(cell.parameters)
            self._by_case.setdefault(case, {})[cell.seed] = result

    def __contains__(self, case: Case) -> bool:
        return case in self._by_case

    @property
    def cases(self) -> list[Case]:
        return list(self._by_case)

    def measure(self, case: Case, measure: Measure) -> Band:
        """Over seeds."""
        return band([measure(result) for result in self._by_case[case].values()])

    def compare(self, first: Case, second: Case, measure: Measure) -> Band:
        """The difference of two cases, seed by seed of both: they share data, partition and
        batches."""
        a, b = self._by_case[first], self._by_case[second]
        return band([measure(a[seed]) - measure(b[seed]) for seed in a if seed in b])

    def get_curves(self, case: Case) -> Float64Array:
        """Accuracy by seed and round, float64[n_seeds, n_rounds]."""
        return np.array([result["accuracy"] for result in self._by_case[case].values()])

    def has_spread(self, case: Case) -> bool:
        """Whether there are rounds enough for a spread: a line through two or three says little."""
        return len(self.get_curves(case)[0]) >= LEAST_ROUNDS

    def get_mean(self, case: Case, name: str) -> float:
        """Of a number of the results."""
        return float(np.mean([result[name] for result in self._by_case[case].values()]))
