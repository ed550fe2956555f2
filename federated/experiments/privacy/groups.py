"""Outcomes of one setting over its seeds, as bands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from federated.experiments.bands import Band, band
from federated.experiments.kinds import Json, Outcomes
from federated.experiments.privacy.membership import ATTACKS, ONE_PERCENT
from federated.experiments.privacy.reveals import Reveal, list_reveals
from federated.experiments.privacy.rows import GUESSED

COIN = 0.5
"""AUC of guessing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Group:
    """Results of one part and number of a client's own samples, one a seed.

    parameters : of its cells, all but the seed
    """

    parameters: dict[str, Any]
    results: tuple[Json, ...]

    @property
    def n_own(self) -> int:
        return int(self.parameters["n_own"])

    @property
    def noises(self) -> tuple[float, ...]:
        return tuple(map(float, self.parameters["noises"].split()))

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(map(int, self.parameters["numbers"].split()))

    @property
    def reveals(self) -> list[Reveal]:
        """Those that a rule shows, in the order of tables."""
        return list_reveals(self.noises, self.numbers)

    def find_band(self, pick: Callable[[Json], float]) -> Band:
        """Over the seeds, of one number of each result."""
        return band([pick(result) for result in self.results])

    def find_auc(self, name: str, attack: str) -> Band:
        return self.find_band(lambda result: result["reveals"][name][attack]["auc"])

    def find_strongest(self, name: str, attacks: Sequence[str] = ATTACKS) -> str:
        """The attack of greatest mean AUC on a reveal, chosen afterwards: the attacker's favour."""
        there = [a for a in attacks if a in self.results[0]["reveals"][name]]
        return max(there, key=lambda attack: self.find_auc(name, attack).mean)

    def find_strongest_auc(self, name: str, attacks: Sequence[str] = ATTACKS) -> Band:
        return self.find_auc(name, self.find_strongest(name, attacks))

    def find_tpr(self, name: str) -> Band:
        """True positives of the strongest attack at 1 % false ones."""
        attack = self.find_strongest(name)
        return self.find_band(lambda r: r["reveals"][name][attack]["curve"][ONE_PERCENT])

    def find_accuracy(self, name: str) -> Band:
        return self.find_band(lambda result: result["accuracy"][name])

    def find_psnr(self, name: str) -> Band:
        return self.find_band(lambda result: result["reveals"][name]["psnr"])

    def find_ssim(self, name: str) -> Band:
        return self.find_band(lambda result: result["reveals"][name]["ssim"])

    def find_gain(self, name: str) -> Band:
        """dB of a reveal's reconstructions above those that are class means, seed by seed."""
        return self.find_band(lambda r: r["reveals"][name]["psnr"] - r["reveals"][GUESSED]["psnr"])

    def find_fall(self, name: str, other: str) -> Band:
        """By how much the strongest attack on one reveal has the greater AUC, seed by seed."""
        ours, theirs = self.find_strongest(name), self.find_strongest(other)
        return self.find_band(
            lambda r: r["reveals"][name][ours]["auc"] - r["reveals"][other][theirs]["auc"]
        )

    def find_silence(self, attacks: Sequence[str]) -> int | None:
        """The least n from which on no mean of n models tells members from others by these attacks,
        as far as n was measured; None where the last still does."""
        found = None
        for n in sorted(self.numbers, reverse=True):
            if self.find_strongest_auc(f"sum-{n}", attacks).low > COIN:
                break
            found = n
        return found


def group_outcomes(outcomes: Outcomes, part: str) -> list[Group]:
    """The groups of a part, by the number of own samples."""
    found: dict[int, list[tuple[dict[str, Any], Json]]] = {}
    for cell, result in outcomes:
        if cell.parameters["part"] == part:
            n_own = int(cell.parameters["n_own"])
            found.setdefault(n_own, []).append((dict(cell.parameters), result))
    return [
        Group(parameters=pairs[0][0], results=tuple(result for _, result in pairs))
        for _, pairs in sorted(found.items())
    ]
