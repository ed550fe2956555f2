"""The experiment: which cells each profile has, and which part measures each.

Quick takes the packaged samples of MNIST and CIFAR-10; full takes more models, seeds and steps, and
of MNIST all that was fetched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from federated.experiments.kinds import Cell, Json, Lab, Outcomes, Profile, Reading
from federated.experiments.privacy.matching import Search, measure_matching
from federated.experiments.privacy.membership import MembershipSizes, measure_membership
from federated.experiments.privacy.reading import read_outcomes
from federated.experiments.privacy.rows import InversionSizes, measure_rows
from federated.experiments.privacy.stack import Schedule

Parameters = dict[str, str | int | float | bool]
_LOCAL: Parameters = {
    "architecture": "mlp-784-128-10",
    "n_public": 800,
    "n_epochs": 10,
    "batch_size": 16,
    "learning_rate": 0.1,
    "noises": "0.01 0.1",
}
"""How the clients of MNIST train, alike in both parts and under every rule: long enough to fit
their few samples, as the literature on these attacks has it."""
_MEMBERSHIP: dict[Profile, tuple[tuple[int, int, Parameters], ...]] = {
    "quick": (
        (5, 32, {"n_targets": 128, "n_others": 208, "n_elsewhere": 2400}),
        (3, 128, {"n_targets": 64, "n_others": 208, "n_elsewhere": 2400}),
    ),
    "full": tuple(
        (10, n_own, {"n_targets": 256, "n_others": 1024, "n_elsewhere": 25_000})
        for n_own in (32, 128, 512)
    ),
}
"""Seeds, samples of a client, and sizes."""
_N_SEEDS: dict[Profile, int] = {"quick": 5, "full": 10}
_MATCHING: dict[Profile, tuple[int, Parameters]] = {
    "quick": (3, {"n_targets": 3, "n_others": 27, "n_steps": 200}),
    "full": (10, {"n_targets": 8, "n_others": 72, "n_steps": 2000}),
}


@dataclass(frozen=True, slots=True)
class PrivacyExperiment:
    """Membership inference and inversion, by what each rule reveals."""

    name: str = "privacy"
    title: str = "membership inference and inversion against what each rule reveals"
    version: int = 1
    is_parallel: bool = True

    def plan(self, profile: Profile) -> Sequence[Cell]:
        """Membership inference, inversion by rows, inversion by search."""
        numbers = "2 3 9 10 50 100" if profile == "quick" else "2 3 9 10 50 100 200 500"
        cells = []
        for n_seeds, n_own, sizes in _MEMBERSHIP[profile]:
            cells += _repeat(
                n_seeds,
                {**_LOCAL, **sizes, "n_own": n_own, "numbers": numbers, "n_shard": 256},
                part="membership",
            )
        for n_own in (1, 8, 32):
            sizes = {"n_own": n_own, "n_targets": 16, "n_others": 98, "numbers": "3 10 50"}
            cells += _repeat(_N_SEEDS[profile], {**_LOCAL, **sizes}, part="rows", n_pictures=3)
        n_seeds, sizes = _MATCHING[profile]
        own: Parameters = {
            "architecture": "lenet-small",
            "n_public": 384,
            "n_own": 1,
            "learning_rate": 0.1,
            "noises": "0.01",
            "numbers": "3 10",
        }
        return [*cells, *_repeat(n_seeds, {**own, **sizes}, part="matching", n_pictures=3)]

    def run(self, cell: Cell, lab: Lab) -> Json:
        """One seed of one part."""
        given: dict[str, Any] = dict(cell.parameters)
        given["noises"] = tuple(map(float, given["noises"].split()))
        given["numbers"] = tuple(map(int, given["numbers"].split()))
        part, architecture = given.pop("part"), given.pop("architecture")
        rate = given.pop("learning_rate")
        if part == "matching":
            search = Search(n_steps=given.pop("n_steps"))
            sizes = InversionSizes(**given)
            return measure_matching(
                sizes, architecture, search, learning_rate=rate, seed=cell.seed, lab=lab
            )
        schedule = Schedule(
            n_epochs=given.pop("n_epochs"),
            batch_size=given.pop("batch_size"),
            learning_rate=rate,
        )
        if part == "rows":
            sizes = InversionSizes(**given)
            return measure_rows(sizes, architecture, schedule, seed=cell.seed, lab=lab)
        return measure_membership(
            MembershipSizes(**given), architecture, schedule, seed=cell.seed, lab=lab
        )

    def read(self, profile: Profile, outcomes: Outcomes) -> Reading:
        """Findings, tables and figures of all parts."""
        return read_outcomes(outcomes)


def _repeat(n_seeds: int, parameters: Parameters, *, part: str, n_pictures: int = 0) -> list[Cell]:
    """Cells of one setting; of inversions the first seed keeps pictures, for the figure."""
    cells = []
    for seed in range(n_seeds):
        own: Parameters = {**parameters, "part": part}
        if part != "membership":
            own["n_pictures"] = n_pictures if seed == 0 else 0
        cells.append(Cell(seed=seed, parameters=own))
    return cells


EXPERIMENT = PrivacyExperiment()
