"""Outcomes of attacks, made up, and what is read out of them: also that a claim does not hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from federated.experiments.bands import Band, is_at_least, is_at_most, join
from federated.experiments.byzantine.cases import CORE_SEEDS, MANY, N_SEEDS, list_runs
from federated.experiments.byzantine.experiment import EXPERIMENT
from federated.experiments.byzantine.results import (
    Case,
    Results,
    get_admitted,
    get_success,
)
from federated.experiments.kinds import ASSUMED, Cell, Finding, Json, Profile, Reading
from federated.experiments.results import get_final

SEEDS = range(3)
AIMS = ("backdoor", "model replacement", "colluding leader")


def make_result(
    *,
    accuracy: float,
    success: float = 0.0,
    admitted: float = 0.0,
    led: float = 0.0,
    poisoned: float | None = None,
) -> Json:
    return {
        "accuracy": [0.5, *[accuracy] * 3],
        "success": dict.fromkeys(AIMS, success),
        "admitted": admitted,
        "excluded": 0.0,
        "led": led,
        "poisoned": poisoned,
    }


def outcomes_of(made: dict[Case, Json]) -> list[tuple[Cell, Json]]:
    """Each case under three seeds, between which accuracy moves by a tenth of a point."""
    return [
        (case.to_cell(seed), {**result, "accuracy": [result["accuracy"][-1] + seed / 1000] * 3})
        for case, result in made.items()
        for seed in SEEDS
    ]


def case(rule: str, attack: str = "none", share: float = 0.0, n_names: int = 0) -> Case:
    return Case(dataset="mnist", rule=rule, attack=attack, share=share, n_names=n_names)


CALM = {case(rule): make_result(accuracy=0.9, success=0.02) for rule in ("fedavg", "zkpot")}


def read(made: dict[Case, Json]) -> Reading:
    return EXPERIMENT.read("quick", outcomes_of({**CALM, **made}))


def find(findings: Sequence[Finding], words: str) -> Finding:
    """The one finding whose claim has these words."""
    (found,) = [finding for finding in findings if words in finding.claim]
    return found


def test_bounds_of_bands() -> None:
    below, across, above = Band(0.0, 0.01), Band(0.1, 0.05), Band(0.3, 0.05)
    assert [is_at_most(band, 0.1) for band in (below, across, above)] == [True, None, False]
    assert [is_at_least(band, 0.1) for band in (below, across, above)] == [False, None, True]
    assert is_at_most(Band(0.0, 0.0), 0.0) is True
    assert (join([True, None]), join([None, False]), join([True, True])) == (None, False, True)


def test_differences_are_seed_by_seed() -> None:
    results = Results(outcomes_of({**CALM, case("krum"): make_result(accuracy=0.8)}))
    lost = results.compare(case("fedavg"), get_final, case("krum"), get_final)
    assert lost.mean == pytest.approx(0.1)
    assert lost.half == pytest.approx(0.0, abs=1e-12), "seeds move both alike"
    alone = results.measure(case("krum"), get_final)
    assert alone.mean == pytest.approx(0.801)
    assert alone.half == pytest.approx(0.00248, abs=1e-5)
    assert results.measure(case("fedavg"), get_success("backdoor")) == Band(0.02, 0.0)
    assert results.measure(case("fedavg"), get_admitted) == Band(0.0, 0.0)
    assert results.count_seeds() == 3
    assert results.has_success(case("fedavg"), "backdoor")
    assert not results.has_success(case("fedavg"), "label flip")
    assert not results.has_success(case("median"), "backdoor")


def test_claims_hold_where_bands_say_so() -> None:
    findings = read(
        {
            case("fedavg", "sign flip", 0.3): make_result(accuracy=0.1),
            case("zkpot", "sign flip", 0.3): make_result(accuracy=0.895),
            case("krum", "sign flip", 0.3): make_result(accuracy=0.7),
        }
    ).findings
    assert find(findings, "cost plain FedAvg").holds is True
    assert find(findings, "cost plain FedAvg").measured == "sign flip: 80.0 ± 0.0 points"
    assert find(findings, "ZKPoT with 30 % malicious clients who know").holds is True
    duel = find(findings, "no worse than rules of distances")
    assert (duel.holds, duel.measured) == (True, "sign flip, than Krum: 19.5 ± 0.0 points")
    assert find(findings, "Krum that is told").holds is False


def test_our_rules_are_said_to_fail_where_they_do() -> None:
    findings = read(
        {
            case("fedavg", "sign flip", 0.3): make_result(accuracy=0.89),
            case("zkpot", "sign flip", 0.3): make_result(accuracy=0.6),
            case("zkpot", "label flip", 0.3): make_result(accuracy=0.9),
            case("zkpot", "backdoor", 0.3): make_result(accuracy=0.9, success=0.95),
            case("zkpot", "copied model", 0.3): make_result(accuracy=0.9, admitted=1.0),
            case("zkpot", "returned model", 0.3): make_result(accuracy=0.9, admitted=0.0),
            case("zkpot", "backdoor", 0.1, 1): make_result(accuracy=0.9, success=0.2),
            case("zkpot", "backdoor", 0.1, 14): make_result(accuracy=0.9, success=0.9),
        }
    ).findings
    assert find(findings, "cost plain FedAvg").holds is False
    assert find(findings, "ZKPoT with 30 % malicious clients who know").holds is False
    backdoor = find(findings, "ZKPoT stops attacks that keep accuracy")
    assert (backdoor.holds, backdoor.measured) == (False, "backdoor: 93.0 ± 0.0 points")
    assert find(findings, "copied from its owner").holds is False
    assert find(findings, "sent back").holds is True
    sybils = find(findings, "many names")
    assert sybils.holds is False
    assert sybils.measured == "with one name: 20.0 ± 0.0, more with 14: 70.0 ± 0.0 points"


def test_what_entered_is_told_and_how_much_was_poisoned() -> None:
    findings = read(
        {
            case("zkpot", "sign flip", 0.3): make_result(accuracy=0.9, admitted=1.0),
            case("zkpot-training", "label flip", 0.3): make_result(
                accuracy=0.88, admitted=0.6, poisoned=0.375
            ),
        }
    ).findings
    known = find(findings, "ZKPoT with 30 % malicious clients who know the rule loses")
    assert known.measured == "sign flip (100 % entered): 0.0 ± 0.0 points"
    poisoned = find(findings, "ZKPoT with proven training with 30 % malicious clients who fit")
    assert poisoned.measured == "label flip (60 % entered with 38 % poisoned): 2.0 ± 0.0 points"


def test_what_cannot_be_otherwise_is_said_to_be_assumed() -> None:
    findings = read(
        {
            case(rule, attack, 0.3): make_result(accuracy=0.9)
            for rule in ("zkpot", "zkpot-training")
            for attack in ("sign flip", "copied model")
        }
    ).findings
    assumed = {finding.claim: ASSUMED in finding.measured for finding in findings}
    for words, expected in (
        ("ZKPoT with 30 %", False),
        ("ZKPoT with proven training with 30 %", True),
        ("under ZKPoT, a model that was copied", False),
        ("under ZKPoT with proven training, a model that was copied", True),
    ):
        assert [told for claim, told in assumed.items() if words in claim] == [expected]


@pytest.mark.parametrize(("success", "holds"), [(0.5, True), (0.8, False), (0.61, None)])
def test_proven_training_is_compared_with_poisoned_data(success: float, holds: bool | None) -> None:
    made = {
        case("zkpot-training", "model replacement", 0.3): make_result(
            accuracy=0.9, success=success
        ),
        case("fedavg", "backdoor", 0.3): make_result(accuracy=0.9, success=0.6),
    }
    outcomes = outcomes_of({**CALM, **made})
    if holds is None:  # as much more as less, over the seeds
        outcomes = [
            (cell, {**result, "success": {**result["success"], "backdoor": 0.58 + cell.seed / 50}})
            if cell.parameters["rule"] == "fedavg" and cell.parameters["attack"] == "backdoor"
            else (cell, result)
            for cell, result in outcomes
        ]
    found = EXPERIMENT.read("quick", outcomes).findings
    assert find(found, "under FedAvg (of floats").holds is holds


def test_scaling_is_compared_with_the_same_backdoor() -> None:
    findings = read(
        {
            case("zkpot", "backdoor", 0.3): make_result(accuracy=0.9, success=0.4),
            case("zkpot", "model replacement", 0.3): make_result(accuracy=0.9, success=0.7),
            case("zkpot-training", "backdoor", 0.3): make_result(accuracy=0.9, success=0.9),
            case("zkpot-training", "model replacement", 0.3): make_result(
                accuracy=0.9, success=0.9
            ),
        }
    ).findings
    added = find(findings, "under ZKPoT scaled updates add nothing")
    assert (added.holds, added.measured) == (False, "30 % malicious: 30.0 ± 0.0 points")
    assert not [f for f in findings if "proven training scaled updates" in f.claim], "none to send"


@pytest.mark.parametrize(("success", "holds"), [(0.9, True), (0.3, False)])
def test_leaders_that_write_are_compared_with_those_that_cannot(
    success: float, holds: bool
) -> None:
    findings = read(
        {
            case("pow", "colluding leader", 0.3): make_result(accuracy=0.9, success=success),
            case("zkpot", "colluding leader", 0.3): make_result(accuracy=0.9, success=0.3),
        }
    ).findings
    assert find(findings, "a leader that writes").holds is holds


def test_tables_show_what_ran() -> None:
    reading = read(
        {
            case("zkpot", "backdoor", 0.3): make_result(accuracy=0.8, success=0.5, admitted=1),
            case("zkpot", "copied model", 0.3): make_result(accuracy=0.8, admitted=0.25),
            case("zkpot", "backdoor", 0.1, 4): make_result(accuracy=0.8, success=0.4, led=0.125),
        }
    )
    by_title = {table.title.split(": ", 1)[1][:8]: table for table in reading.tables}
    accuracy = by_title["accuracy"]
    assert accuracy.columns == ("rule", "none", "backdoor, 30%", "copied model, 30%")
    assert accuracy.rows[0] == ("fedavg", "90.1 ± 0.2", "-", "-")
    success = by_title["success "]
    assert success.columns == ("rule", "backdoor", "backdoor, 30%")
    assert success.rows[1] == ("zkpot", "2.0 ± 0.0", "50.0 ± 0.0")
    remedies = by_title["what get"]
    assert [row[:2] for row in remedies.rows] == [
        ("backdoor, 30%", "50.0 ± 0.0"),
        ("copied model, 30%", "25.0 ± 0.0"),
    ]
    assert by_title["one pers"].rows == (("zkpot", "4", "40.0 ± 0.0", "12.5 ± 0.0"),)


def test_figures_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    reading = read(
        {
            case("zkpot", "backdoor", share): make_result(accuracy=0.8, success=0.5)
            for share in (0.3, 0.6)
        }
    )
    assert [figure.name for figure in reading.figures] == ["mnist-accuracy", "mnist-success"]
    for figure in reading.figures:
        assert "10 clients" in figure.caption
        path = tmp_path / f"{figure.name}.png"
        figure.draw(path)
        assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("profile", ["quick", "full"])
def test_cells_are_of_one_case_and_seed_each(profile: Profile) -> None:
    cells, runs = EXPERIMENT.plan(profile), list_runs(profile)
    assert len({cell.name for cell in cells}) == len(cells)
    assert [(Case.of(cell), cell.seed) for cell in cells] == runs
    seeds: dict[Case, list[int]] = {}
    for one, seed in runs:
        seeds.setdefault(one, []).append(seed)
    assert all(own in ([*range(N_SEEDS)], [*range(CORE_SEEDS)]) for own in seeds.values())
    assert {c.share for c in seeds if not c.n_names} >= {0.0, 0.3, 0.6}
    assert not any(c.rule == "trimmed-mean" and c.share >= 0.5 for c in seeds)


def test_what_the_reach_asks_for_runs_first_and_under_more_seeds() -> None:
    runs = list_runs("full")
    n_core = next(at for at, (_, seed) in enumerate(runs) if seed == CORE_SEEDS - 1)
    core = {one for one, seed in runs if seed == CORE_SEEDS - 1}
    assert all(one in core for one, _ in runs[:n_core])
    assert all(one.share in (0.0, MANY) for one in core)
    for dataset in ("mnist", "cifar10"):
        assert Case(dataset=dataset, rule="fedavg") in core
        for rule in ("zkpot", "zkpot-bounds"):
            for attack in ("label flip", "sign flip"):
                assert Case(dataset=dataset, rule=rule, attack=attack, share=MANY) in core
