"""One case under one seed: a setting, its attackers as the rule finds them, and all its rounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from federated.accuracy import count_correct
from federated.experiments.attacks.adaptive import DataOnly, Stealthy, Truthful
from federated.experiments.attacks.catalog import ATTACKS
from federated.experiments.attacks.identities import multiply
from federated.experiments.attacks.labels import LabelFlip, TargetedFlip
from federated.experiments.attacks.triggers import Backdoor
from federated.experiments.attacks.updates import CopiedModel, ReturnedModel
from federated.experiments.byzantine.cases import N_CLIENTS, PARTITION, UNPROVEN
from federated.experiments.byzantine.fitting import fit
from federated.experiments.byzantine.results import NO_ATTACK, Case
from federated.experiments.kinds import Json
from federated.experiments.simulation.batches import LocalTraining
from federated.experiments.simulation.interface import Attack, Rule, Setting, Sight
from federated.experiments.simulation.loop import Round, run_rounds
from federated.experiments.simulation.rules.catalog import make_rule
from federated.experiments.simulation.rules.means import FedAvg
from federated.experiments.simulation.rules.zkpot import ZkPot
from federated.experiments.simulation.sizes import Size
from federated.experiments.simulation.tasks import make_setting
from federated.experiments.simulation.vectors import to_model
from kernels.numpy_types import Float32Array


class UnprovenTraining(FedAvg):
    """FedAvg of clients that train by the integer steps of proven training, and prove nothing: what
    poisoned samples do there, whatever anybody checks."""

    name = UNPROVEN
    label = "FedAvg of integer steps"
    trains_exactly = True


def play(case: Case, size: Size, data_dir: Path, *, seed: int) -> Json:
    """What a case came to: JSON values, as `results` reads them."""
    setting = _set_up(case, size, data_dir, seed=seed)
    rule, own = find_rule(case.rule, setting, size.training, seed=seed)
    attack = None if case.attack == NO_ATTACK else adapt(ATTACKS[case.attack], rule)

    def run(attack: Attack | None) -> Json:
        rounds = list(
            run_rounds(
                own,
                rule,
                attack,
                n_rounds=size.n_rounds,
                training=size.training,
                n_drawn=size.n_drawn,
                seed=seed,
            )
        )
        return _sum_up(own, rounds, attack)

    if isinstance(attack, DataOnly):
        return fit(attack, run)
    return {**run(attack), "poisoned": None}


def _sum_up(setting: Setting, rounds: list[Round], attack: Attack | None) -> Json:
    """What all rounds of a run came to."""
    return {
        "accuracy": [one.accuracy for one in rounds],
        "success": measure_successes(setting, rounds[-1], attack),
        "admitted": _share(rounds, lambda one: one.closing.accepted[one.view.is_malicious]),
        "excluded": _share(rounds, lambda one: ~one.closing.accepted[~one.view.is_malicious]),
        "led": _share(rounds, lambda one: [0 <= one.closing.leader < setting.n_malicious]),
    }


def find_rule(
    name: str, setting: Setting, training: LocalTraining, *, seed: int
) -> tuple[Rule, Setting]:
    """The rule of a name and the setting to run it in, as `make_rule`, with `UnprovenTraining`."""
    if name != UNPROVEN:
        return make_rule(name, setting, training, seed=seed)
    _, exact = make_rule("zkpot-training", setting, training, seed=seed)
    return UnprovenTraining(), exact


def adapt(attack: Attack, rule: Rule) -> Attack:
    """The attack as it is where claims are believed; else the form that knows the rule.

    Free riders have nothing to adapt. Where training is proven, who has poisoned data trains on
    it, and is fitted by `fitting`; who has none sends what is refused: that harms more than to
    train honestly.
    """
    if not isinstance(rule, ZkPot):
        return attack
    poisons = isinstance(attack, LabelFlip | TargetedFlip | Backdoor)
    if rule.trains_exactly:
        return DataOnly(attack) if poisons else Truthful(attack)
    if isinstance(attack, ReturnedModel | CopiedModel):
        return Truthful(attack)
    return Stealthy(attack, make_test(rule))


def make_test(rule: ZkPot) -> Callable[[Float32Array, Sight], bool]:
    """Whether the rule would accept a model of an attacker's, on the samples that it draws: of one
    run, as attacks are made for."""

    least: dict[int, int] = {}  # of each round, for all its attackers

    def is_passing(model: Float32Array, sight: Sight) -> bool:
        setting, learning_round = sight.setting, sight.learning_round
        if learning_round not in least:
            least[learning_round] = rule.find_least(setting, sight.origin)
        committed = rule.commit(model, setting, sight.origin)
        if committed is None:
            return False
        return count_correct(committed, setting.shard) >= least[learning_round]

    return is_passing


def measure_successes(setting: Setting, last: Round, attack: Attack | None) -> dict[str, float]:
    """Of the attack, by its name; without one, of all that have an aim: what a model does of
    itself."""
    model = to_model(last.closing.model, setting.architecture, setting.scales)
    tried = ATTACKS.values() if attack is None else (attack,)
    found = {one.name: one.succeed(model, setting) for one in tried}
    return {name: success for name, success in found.items() if success is not None}


def _set_up(case: Case, size: Size, data_dir: Path, *, seed: int) -> Setting:
    """The setting of a case; of sybils: with one attacker, under its names."""
    setting = _load(case.dataset, size, data_dir, seed)
    setting = replace(setting, n_malicious=round(case.share * N_CLIENTS))
    return multiply(setting, n_identities=case.n_names) if case.n_names else setting


@lru_cache(maxsize=2)
def _load(dataset: str, size: Size, data_dir: Path, seed: int) -> Setting:
    """All of a data set and a seed that its cases have in common, the trained start included."""
    plan = size.plan(dataset, PARTITION, n_clients=N_CLIENTS)
    return make_setting(plan, data_dir, seed=seed)


def _share(rounds: list[Round], find: Callable[[Round], object]) -> float:
    """The share of true ones of what is found in all rounds; 0 of none."""
    flags = np.concatenate([np.asarray(find(one), dtype=np.bool_) for one in rounds])
    return float(flags.mean()) if len(flags) else 0.0
