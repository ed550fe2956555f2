"""One cell: the rounds of a case under a seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from federated.experiments.accuracy.cases import N_CLIENTS, NO_ATTACK, Case
from federated.experiments.attacks.adaptive import Truthful
from federated.experiments.attacks.catalog import ATTACKS
from federated.experiments.kinds import Json
from federated.experiments.simulation.interface import Attack, Rule, Setting
from federated.experiments.simulation.loop import Round, run_rounds
from federated.experiments.simulation.rules.catalog import make_rule
from federated.experiments.simulation.sizes import Size
from federated.experiments.simulation.tasks import TaskPlan, make_setting


def play_case(case: Case, size: Size, data_dir: Path, *, seed: int) -> Json:
    """The rounds of a case.

    accuracy  : of the global model on the test samples after each round, 0 to 1
    honest    : share of the honest clients' models that were accepted, over all rounds
    malicious : of the others'; None where there are none
    void      : rounds without enough accepted models
    """
    rounds = list(play_rounds(case, size, data_dir, seed=seed)[2])
    return {
        "accuracy": [one.accuracy for one in rounds],
        "honest": _share(rounds, malicious=False),
        "malicious": _share(rounds, malicious=True) if case.n_malicious else None,
        "void": sum(not one.closing.accepted.any() for one in rounds),
    }


def play_rounds(
    case: Case, size: Size, data_dir: Path, *, seed: int
) -> tuple[Rule, Setting, Iterator[Round]]:
    """The rule of a case, the setting it runs in, and the rounds, one after the other."""
    plan = size.plan(case.dataset, case.partition, n_clients=N_CLIENTS)
    setting = replace(_make_setting(plan, data_dir, seed), n_malicious=case.n_malicious)
    rule, setting = make_rule(case.rule, setting, size.training, seed=seed)
    rounds = run_rounds(
        setting,
        rule,
        _find_attack(case.attack, claims_truly=rule.is_verified),
        n_rounds=size.n_rounds,
        training=size.training,
        n_drawn=size.n_drawn,
        seed=seed,
    )
    return rule, setting, rounds


@lru_cache(maxsize=1)
def _make_setting(plan: TaskPlan, data_dir: Path, seed: int) -> Setting:
    """Cells of one task come one after the other."""
    return make_setting(plan, data_dir, seed=seed)


def _find_attack(name: str, *, claims_truly: bool) -> Attack | None:
    """Where claims need proofs, an attacker that boasts is refused for that alone; so it claims
    what is true, and has a proof of it."""
    if name == NO_ATTACK:
        return None
    attack = ATTACKS[name]
    return Truthful(attack) if claims_truly else attack


def _share(rounds: list[Round], *, malicious: bool) -> float:
    accepted = np.stack([one.closing.accepted for one in rounds])
    return float(accepted[:, rounds[0].view.is_malicious == malicious].mean())
