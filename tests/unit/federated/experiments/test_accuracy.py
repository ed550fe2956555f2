"""The experiment on accuracy: what it plans, one cell in small, and the reading of made-up ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import get_args

import pytest

pytest.importorskip("torch", reason="the extra `federated` (PyTorch) is not installed")

from federated.experiments.accuracy.cases import (
    ATTACKS,
    LEADERLESS_TWINS,
    MAIN_PARTITION,
    NO_ATTACK,
    SIZES,
    Case,
    list_cases,
    list_cells,
    read_cell,
)
from federated.experiments.accuracy.experiment import EXPERIMENT
from federated.experiments.accuracy.play import play_case
from federated.experiments.accuracy.results import get_spread
from federated.experiments.bands import Band, is_at_most, is_more
from federated.experiments.catalog import load_experiment
from federated.experiments.kinds import Cell, Finding, Json, Profile, Reading
from federated.experiments.results import get_final
from federated.experiments.simulation.rules.catalog import RULES

TINY = replace(
    SIZES["quick"]["mnist"],
    network="mlp-784-12-10",
    n_train=1500,
    n_pool=256,
    n_test=256,
    n_drawn=128,
    n_rounds=4,
    steps=10,
)
NOWHERE = Path("no-such-folder")


def make_case(rule: str, attack: str = NO_ATTACK) -> Case:
    return Case(dataset="mnist", partition=MAIN_PARTITION, rule=rule, attack=attack)


@pytest.mark.parametrize("profile", get_args(Profile))
def test_every_case_runs_under_three_seeds_or_more(profile: Profile) -> None:
    cases, cells = list_cases(profile), list_cells(profile)
    assert len(set(cases)) == len(cases)
    assert len({cell.name for cell in cells}) == len(cells)
    seeds = Counter(read_cell(cell.parameters)[0] for cell in cells)
    assert set(seeds) == set(cases)
    assert set(seeds.values()) == ({3} if profile == "quick" else {3, 12})
    for cell in cells:
        case, size = read_cell(cell.parameters)
        assert case in cases
        assert size == SIZES[profile][case.dataset]
    assert {case.rule for case in cases} == set(RULES)
    assert {case.attack for case in cases} == {NO_ATTACK, *ATTACKS}


def test_it_is_the_experiment_of_its_name() -> None:
    assert load_experiment("accuracy") is EXPERIMENT


def test_sign_flips_break_a_mean_and_not_what_is_proven() -> None:
    calm, broken, proven = (
        play_case(case, TINY, NOWHERE, seed=1)
        for case in (
            make_case("fedavg"),
            make_case("fedavg", "sign flip"),
            make_case("zkpot", "sign flip"),
        )
    )
    assert len(calm["accuracy"]) == TINY.n_rounds
    assert get_final(broken) < 0.6 * get_final(calm)
    assert get_final(proven) > get_final(calm) - 0.1
    assert (calm["honest"], calm["malicious"]) == (1.0, None)
    assert (broken["honest"], broken["malicious"]) == (1.0, 1.0)
    assert proven["malicious"] < 0.5 < proven["honest"]


def test_chains_whose_leaders_write_the_mean_are_fedavg_to_the_last_bit() -> None:
    """So the quick profile need not run them under attacks that leave the leader alone."""
    for attack in ATTACKS:
        size = replace(TINY, n_rounds=2)
        expected = play_case(make_case("fedavg", attack), size, NOWHERE, seed=2)
        for rule in LEADERLESS_TWINS:
            assert play_case(make_case(rule, attack), size, NOWHERE, seed=2) == expected


# -- reading ---------------------------------------------------------------------------------------


def invent(
    finals: Mapping[tuple[str, str], tuple[float, float, float]], *, honest: float = 1.0
) -> list[tuple[Cell, Json]]:
    """Outcomes with these final accuracies under three seeds."""
    made: list[tuple[Cell, Json]] = []
    for (rule, attack), values in finals.items():
        case = make_case(rule, attack)
        for seed, value in enumerate(values):
            cell = Cell(seed=seed, parameters={**asdict(case), **asdict(TINY)})
            result: Json = {
                "accuracy": [0.1, value, value, value],
                "honest": honest,
                "malicious": 0.0 if case.n_malicious else None,
                "void": 0,
            }
            made.append((cell, result))
    return made


def read(finals: Mapping[tuple[str, str], tuple[float, float, float]]) -> Reading:
    return EXPERIMENT.read("quick", invent(finals))


def get(reading: Reading, *words: str) -> Finding:
    (found,) = [f for f in reading.findings if all(word in f.claim for word in words)]
    return found


@pytest.mark.parametrize(
    ("zkpot", "holds"),
    [
        ((0.901, 0.899, 0.896), True),
        ((0.80, 0.81, 0.80), False),
        ((0.90, 0.80, 0.99), None),
    ],
)
def test_the_reach_holds_where_the_band_says_so(
    zkpot: tuple[float, float, float], holds: bool | None
) -> None:
    reading = read({("fedavg", NO_ATTACK): (0.9, 0.9, 0.9), ("zkpot", "sign flip"): zkpot})
    assert get(reading, "zkpot", "sign flip", "within 1 point").holds is holds


def test_seeds_are_compared_one_by_one() -> None:
    """Seeds differ by 20 points, the rules under each of them by none."""
    spread = (0.7, 0.8, 0.9)
    reading = read({("fedavg", NO_ATTACK): spread, ("zkpot", "label flip"): spread})
    assert get(reading, "zkpot", "label flip", "within 1 point").holds is True


def test_a_rule_of_ours_that_loses_is_shown_to_lose() -> None:
    reading = read(
        {
            ("fedavg", NO_ATTACK): (0.9, 0.9, 0.9),
            ("fedavg", "sign flip"): (0.85, 0.86, 0.85),
            ("median", "sign flip"): (0.88, 0.89, 0.88),
            ("zkpot", "sign flip"): (0.5, 0.5, 0.5),
            ("zkpot", NO_ATTACK): (0.7, 0.7, 0.7),
        }
    )
    assert get(reading, "zkpot", "median").holds is False
    assert get(reading, "cost FedAvg").holds is False
    price = get(reading, "zkpot costs")
    assert price.holds is False
    assert "20.0 ± 0.0 points" in price.measured


def test_bands_on_both_sides_of_a_limit_tell_nothing() -> None:
    assert is_at_most(Band(0.0, 0.02), 0.01) is None
    assert is_more(Band(0.0, 0.02), 0.01) is None
    assert (is_at_most(Band(0.0, 0.01), 0.01), is_more(Band(0.0, 0.01), 0.01)) == (True, False)
    assert (is_at_most(Band(0.1, 0.01), 0.01), is_more(Band(0.1, 0.01), 0.01)) == (False, True)


def test_a_trend_is_no_instability() -> None:
    assert get_spread({"accuracy": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]}) < 1e-9
    assert get_spread({"accuracy": [0.5, 0.5, 0.5, 0.4, 0.6, 0.4, 0.6, 0.4]}) > 0.05


def test_tables_and_pictures_show_every_case(tmp_path: Path) -> None:
    reading = read(
        {
            ("fedavg", NO_ATTACK): (0.9, 0.9, 0.9),
            ("zkpot", NO_ATTACK): (0.9, 0.89, 0.9),
            ("zkpot", "sign flip"): (0.8, 0.89, 0.9),
        }
    )
    accuracy, spread, accepted = reading.tables
    assert accuracy.columns == ("rule", "none", "3 sign flip", "3 label flip")
    assert accuracy.rows[0] == ("fedavg", "90.0 ± 0.0 %", "-", "-")
    assert [row[0] for row in accuracy.rows] == ["fedavg", "zkpot"]
    assert len(spread.rows) == 2
    assert accepted.rows[1][2] == "100%, 0% of malicious"
    (figure,) = reading.figures
    assert "mlp-784-32-10" in figure.caption
    assert "3 seeds" in figure.caption
    figure.draw(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_runs_of_few_rounds_have_no_stability() -> None:
    """Four rounds leave two, which a line goes through."""
    calm = {("fedavg", NO_ATTACK): (0.9, 0.9, 0.9), ("zkpot", "sign flip"): (0.9, 0.9, 0.9)}
    short = read(calm)
    assert not [f for f in short.findings if "spreads" in f.claim]
    assert short.tables[1].rows[0][1] == "-"
    outcomes = [(c, {**r, "accuracy": [*r["accuracy"]] * 2}) for c, r in invent(calm)]
    assert get(EXPERIMENT.read("quick", outcomes), "spreads").holds is True
