"""What the experiment runs: rules, attacks, data and partitions, and how long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from federated.experiments.kinds import Cell, Profile
from federated.experiments.simulation.partitions import PARTITIONS
from federated.experiments.simulation.rules.catalog import PROVEN_RULES, RULES
from federated.experiments.simulation.sizes import Size

NO_ATTACK = "none"
ATTACKS = ("sign flip", "label flip")
"""Of `federated.experiments.attacks.catalog`: the two that everybody measures."""
MAIN_PARTITION = "dirichlet-0.5"
N_CLIENTS, N_MALICIOUS = 10, 3
SEEDS = (1, 2, 3)
MORE_SEEDS: Mapping[Profile, tuple[int, ...]] = {"quick": (), "full": tuple(range(4, 13))}
"""Of the cases that the reach is read from: FedAvg without attackers, and proofs under all attacks.
A band of three seeds is wider than the point that is asked."""
LEADERLESS_TWINS = ("pow", "pos", "pofl")
"""Whose model is FedAvg's, bit for bit, as long as leaders write the mean: neither attack here
changes what leaders write, so the quick profile runs them without attackers alone."""


CIFAR_RULES = tuple(rule for rule in RULES if rule != "zkpot-training")
"""Of the full profile: training is proven of networks of linear layers alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One line of the result, under all seeds."""

    dataset: str
    partition: str
    rule: str
    attack: str = NO_ATTACK

    @property
    def n_malicious(self) -> int:
        return 0 if self.attack == NO_ATTACK else N_MALICIOUS


_MNIST = Size(
    network="mlp-784-32-10",
    n_public=200,
    n_train=4000,
    n_pool=1024,
    n_test=1024,
    n_drawn=256,
    n_rounds=8,
    steps=20,
    batch_size=32,
    learning_rate=4e-3,
)
_CIFAR = Size(
    network="lenet-small",
    n_public=112,
    n_train=400,
    n_pool=256,
    n_test=192,
    n_drawn=32,
    n_rounds=4,
    steps=8,
    batch_size=16,
    learning_rate=2e-3,
)
SIZES: Mapping[Profile, Mapping[str, Size]] = {
    "quick": {"mnist": _MNIST, "cifar10": _CIFAR},
    "full": {
        "mnist": replace(_MNIST, n_train=5800, n_test=4096, n_rounds=25, steps=30),
        "cifar10": replace(
            _CIFAR,
            n_public=1000,
            n_train=10_000,
            n_pool=1024,
            n_test=4096,
            n_drawn=64,
            n_rounds=10,
            steps=20,
            batch_size=32,
        ),
    },
}
"""`full` takes data of CIFAR-10 that have to be fetched; the others are packaged."""


def list_cases(profile: Profile) -> list[Case]:
    """All cases of a profile, those of one task together."""
    return list(_list_quick() if profile == "quick" else _list_full())


def list_cells(profile: Profile) -> list[Cell]:
    """Every case under its seeds, those of one task and seed together: they share its data."""
    cases = list_cases(profile)
    tasks = dict.fromkeys((case.dataset, case.partition) for case in cases)
    return [
        Cell(seed=seed, parameters={**asdict(case), **SIZES[profile][case.dataset].parameters})
        for task in tasks
        for seed in (*SEEDS, *MORE_SEEDS[profile])
        for case in cases
        if (case.dataset, case.partition) == task and (seed in SEEDS or _is_of_reach(case))
    ]


def _is_of_reach(case: Case) -> bool:
    is_calm = case.rule == "fedavg" and case.attack == NO_ATTACK
    return is_calm or case.rule in PROVEN_RULES


def read_cell(parameters: Mapping[str, Any]) -> tuple[Case, Size]:
    """What a cell of `list_cells` is of."""
    own = {field.name: parameters[field.name] for field in fields(Case)}
    return Case(**own), Size.of(parameters)


def _list_quick() -> Iterator[Case]:
    for attack in (NO_ATTACK, *ATTACKS):
        for rule in RULES:
            if attack == NO_ATTACK or rule not in LEADERLESS_TWINS:
                yield Case(dataset="mnist", partition=MAIN_PARTITION, rule=rule, attack=attack)
    for partition in PARTITIONS:
        if partition != MAIN_PARTITION:
            yield Case(dataset="mnist", partition=partition, rule="fedavg")
            for attack in (NO_ATTACK, "sign flip"):
                yield Case(dataset="mnist", partition=partition, rule="zkpot", attack=attack)
    yield Case(dataset="cifar10", partition=MAIN_PARTITION, rule="fedavg")
    for attack in (NO_ATTACK, "sign flip"):
        yield Case(dataset="cifar10", partition=MAIN_PARTITION, rule="zkpot", attack=attack)


def _list_full() -> Iterator[Case]:
    for partition in PARTITIONS:
        for attack in (NO_ATTACK, *ATTACKS):
            for rule in RULES:
                yield Case(dataset="mnist", partition=partition, rule=rule, attack=attack)
    for attack in (NO_ATTACK, *ATTACKS):
        for rule in CIFAR_RULES:
            yield Case(dataset="cifar10", partition=MAIN_PARTITION, rule=rule, attack=attack)
