"""Reading outcomes: a curve for each case and seed, and bands of what is compared."""

from __future__ import annotations

import numpy as np

from federated.experiments import results
from federated.experiments.accuracy.cases import Case, read_cell
from federated.experiments.kinds import Json, Outcomes
from kernels.numpy_types import Float64Array

LEAST_ROUNDS = 8
"""Of a run whose spread is told."""


def get_spread(result: Json) -> float:
    """Standard deviation of the accuracy from round to round, over the last half of a run, of what
    is left when its trend, a straight line, is taken out."""
    late = np.array(result["accuracy"][len(result["accuracy"]) // 2 :])
    rounds = np.arange(len(late))
    trend = np.polyval(np.polyfit(rounds, late, 1), rounds)
    return float(np.sqrt(np.mean((late - trend) ** 2)))


class Results(results.Results[Case]):
    """Outcomes by case."""

    def __init__(self, outcomes: Outcomes) -> None:
        super().__init__(
            (read_cell(cell.parameters)[0], cell.seed, result) for cell, result in outcomes
        )

    def get_curves(self, case: Case) -> Float64Array:
        """Accuracy by seed and round, float64[n_seeds, n_rounds]."""
        return np.array([result["accuracy"] for result in self.list_results(case)])

    def has_spread(self, case: Case) -> bool:
        """Whether there are rounds enough for a spread: a line through two or three says little."""
        return len(self.get_curves(case)[0]) >= LEAST_ROUNDS

    def get_mean(self, case: Case, name: str) -> float:
        """Of a number of the results."""
        return float(np.mean([result[name] for result in self.list_results(case)]))
