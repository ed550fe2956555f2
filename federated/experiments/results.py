"""Outcomes of cells by what was set up, and differences of two of them, seed by seed."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

import numpy as np

from federated.experiments.bands import Band, band
from federated.experiments.kinds import Json

LAST = 3
"""Rounds at the end whose mean is a run's accuracy."""

Measure = Callable[[Json], float]
Case = TypeVar("Case", bound=Hashable)


def get_final(result: Json) -> float:
    """Mean accuracy over the last rounds: of one alone, much is chance."""
    return float(np.mean(result["accuracy"][-LAST:]))


class Results(Generic[Case]):
    """The results of a run by case and seed.

    Case : what a cell is, but for its seed and its size
    """

    def __init__(self, found: Iterable[tuple[Case, int, Json]]) -> None:
        """found: cases with their seeds and results, in the order in which they ran"""
        self._found: dict[Case, dict[int, Json]] = {}
        for case, seed, result in found:
            self._found.setdefault(case, {})[seed] = result

    def __contains__(self, case: Case) -> bool:
        return case in self._found

    @property
    def cases(self) -> list[Case]:
        """In the order in which they ran."""
        return list(self._found)

    def list_results(self, case: Case) -> list[Json]:
        """Of all seeds of a case."""
        return list(self._found[case].values())

    def measure(self, case: Case, measure: Measure) -> Band:
        """The band over the seeds of a case."""
        return band([measure(result) for result in self.list_results(case)])

    def compare(
        self, case: Case, measure: Measure, other: Case, other_measure: Measure | None = None
    ) -> Band:
        """The band of the differences, case less other, of runs of equal seeds: equal data, start
        and draws.

        other_measure : of the other one; None: the same
        """
        theirs = measure if other_measure is None else other_measure
        mine, others = self._found[case], self._found[other]
        return band([measure(mine[seed]) - theirs(others[seed]) for seed in mine if seed in others])

    def count_seeds(self) -> int:
        """Of the case that ran with fewest."""
        return min((len(found) for found in self._found.values()), default=0)
