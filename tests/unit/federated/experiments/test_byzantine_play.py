"""Attacks in small rounds on real digits: each does what it is for, and is met as its rule says."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from federated.experiments.attacks.adaptive import DataOnly, Stealthy, Truthful
from federated.experiments.attacks.catalog import ATTACKS
from federated.experiments.byzantine.cases import PARTITION, UNPROVEN
from federated.experiments.byzantine.play import adapt, find_rule, play
from federated.experiments.byzantine.results import Case
from federated.experiments.kinds import Json
from federated.experiments.simulation.interface import Setting
from federated.experiments.simulation.loop import run_rounds
from federated.experiments.simulation.rules.means import FedAvg
from federated.experiments.simulation.sizes import Size
from federated.experiments.simulation.tasks import make_setting

SMALL = Size(
    network="mlp-784-16-10",
    n_public=100,
    n_train=900,
    n_pool=256,
    n_test=256,
    n_drawn=128,
    n_rounds=3,
    steps=20,
    batch_size=32,
    learning_rate=5e-3,
)


def make_malicious() -> Setting:
    """Three of ten."""
    plan = replace(SMALL.plan("mnist", PARTITION, n_clients=10), n_malicious=3)
    return make_setting(plan, Path("/nowhere"), seed=1)


@cache
def run(rule: str, attack: str = "none", share: float = 0.0, n_names: int = 0) -> Json:
    case = Case(dataset="mnist", rule=rule, attack=attack, share=share, n_names=n_names)
    return play(case, SMALL, Path("/nowhere"), seed=1)


def test_without_attackers_models_learn_and_have_no_backdoor() -> None:
    calm = run("fedavg")
    assert len(calm["accuracy"]) == 3
    assert calm["accuracy"][-1] > 0.6
    assert set(calm["success"]) == {
        "targeted flip",
        "backdoor",
        "clean-label backdoor",
        "model replacement",
        "colluding leader",
    }
    assert calm["success"]["backdoor"] < 0.1
    assert (calm["admitted"], calm["excluded"], calm["led"]) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("attack", "share"),
    [("sign flip", 0.3), ("gaussian model", 0.3), ("label flip", 0.6), ("zero model", 0.6)],
)
def test_fedavg_breaks(attack: str, share: float) -> None:
    broken = run("fedavg", attack, share)
    assert broken["accuracy"][-1] < run("fedavg")["accuracy"][-1] - 0.1
    assert broken["admitted"] == 1.0


def test_targeted_flip_moves_its_class() -> None:
    before = run("fedavg")["success"]["targeted flip"]
    assert run("fedavg", "targeted flip", 0.6)["success"]["targeted flip"] > before + 0.2


def test_backdoors_enter_and_scaling_makes_them_stronger() -> None:
    plain = run("fedavg", "backdoor", 0.3)["success"]["backdoor"]
    scaled = run("fedavg", "model replacement", 0.3)["success"]["model replacement"]
    assert scaled > max(plain, 0.3)


def test_clean_labels_carry_a_backdoor() -> None:
    found = run("fedavg", "clean-label backdoor", 0.6)
    calm = run("fedavg")["success"]["clean-label backdoor"]
    assert found["success"]["clean-label backdoor"] > calm + 0.1
    assert found["accuracy"][-1] > 0.5


def test_leaders_write_their_model_where_nobody_adds_up() -> None:
    believed = run("pofl", "colluding leader", 0.3)
    added_up = run("fedavg", "backdoor", 0.3)
    assert believed["led"] == 1.0
    assert believed["success"]["colluding leader"] > added_up["success"]["backdoor"] + 0.2


def test_zkpot_refuses_an_attack_as_it_is_and_lets_pass_what_knows_it() -> None:
    """Of the first, no model enters; of the second, all do."""
    rule, setting = find_rule("zkpot", make_malicious(), SMALL.training, seed=1)
    flip = ATTACKS["sign flip"]
    outcomes = {}
    for attack in (Truthful(flip), adapt(flip, rule)):
        rounds = run_rounds(
            setting, rule, attack, n_rounds=3, training=SMALL.training, n_drawn=128, seed=1
        )
        outcomes[type(attack)] = np.stack([one.closing.accepted[:3] for one in rounds])
    assert not outcomes[Truthful].any()
    assert outcomes[Stealthy].all()


def test_proven_training_refuses_what_was_not_trained() -> None:
    assert run("zkpot-training", "copied model", 0.3)["admitted"] == 0.0
    poisoned = run("zkpot-training", "model replacement", 0.3)
    assert poisoned["admitted"] > 0.0
    same = run("zkpot-training", "backdoor", 0.3)
    assert same["success"]["backdoor"] == poisoned["success"]["model replacement"]
    assert same["accuracy"] == poisoned["accuracy"]


def test_poisoners_of_proven_training_pass_with_less() -> None:
    """All labels flipped are refused from the first mean on."""
    found = run("zkpot-training", "label flip", 0.3)
    assert found["poisoned"] is not None
    assert run("zkpot", "label flip", 0.3)["poisoned"] is None
    setting = make_malicious()
    rule, exact = find_rule("zkpot-training", setting, SMALL.training, seed=1)
    rounds = run_rounds(
        exact,
        rule,
        DataOnly(ATTACKS["label flip"]),
        n_rounds=3,
        training=SMALL.training,
        n_drawn=128,
        seed=1,
    )
    whole = [one.accuracy for one in rounds]
    assert np.mean(found["accuracy"]) <= np.mean(whole), "the worst of what it tries"


def test_unproven_steps_take_any_model() -> None:
    assert run(UNPROVEN, "model replacement", 0.3)["admitted"] == 1.0


def test_attackers_adapt_to_what_is_asked_of_them() -> None:
    names = ("zkpot", "zkpot-training")
    rules = {name: find_rule(name, make_malicious(), SMALL.training, seed=1)[0] for name in names}
    found = {
        (name, attack): type(adapt(ATTACKS[attack], rule))
        for name, rule in rules.items()
        for attack in ("sign flip", "label flip", "copied model")
    }
    assert found == {
        ("zkpot", "sign flip"): Stealthy,
        ("zkpot", "label flip"): Stealthy,
        ("zkpot", "copied model"): Truthful,
        ("zkpot-training", "sign flip"): Truthful,
        ("zkpot-training", "label flip"): DataOnly,
        ("zkpot-training", "copied model"): Truthful,
    }
    assert adapt(ATTACKS["sign flip"], FedAvg()) is ATTACKS["sign flip"]


def test_many_names_enter_more_often_than_one() -> None:
    one, many = (run("zkpot", "backdoor", 0.1, n) for n in (1, 9))
    assert many["success"]["backdoor"] > one["success"]["backdoor"] + 0.2


def test_a_case_is_a_function_of_its_seed() -> None:
    gaussian = Case(dataset="mnist", rule="fedavg", attack="gaussian model", share=0.3)
    again = play(gaussian, SMALL, Path("/nowhere"), seed=1)
    assert again == run("fedavg", "gaussian model", 0.3)
    other = play(gaussian, SMALL, Path("/nowhere"), seed=2)
    assert other["accuracy"] != again["accuracy"]
