"""Real proofs of models of a simulation: the verifier says what the evaluator does, or is heard."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `federated` (PyTorch) is not installed")

from federated.experiments.accuracy.cases import SIZES
from federated.experiments.accuracy.experiment import EXPERIMENT
from federated.experiments.accuracy.play import play_rounds
from federated.experiments.accuracy.proofs import (
    CASE,
    Kit,
    Verdicts,
    is_proof_cell,
    judge,
    list_proof_cells,
    read_proofs,
)
from federated.experiments.kinds import Finding, Json
from federated.experiments.simulation.interface import View
from federated.experiments.simulation.rules.zkpot import ZkPot
from kernels.backend import get_backend

SIZE = replace(
    SIZES["quick"]["mnist"],
    network="mlp-784-8-10",
    n_train=900,
    n_pool=128,
    n_test=128,
    n_drawn=16,
    n_rounds=1,
)
SHOWN = (0, 9)
"""Clients whose models are proven, a malicious one and an honest one: proofs take their time."""


@cache
def play() -> tuple[View, ZkPot, Kit]:
    rule, setting, rounds = play_rounds(CASE, SIZE, Path("/nowhere"), seed=1)
    assert isinstance(rule, ZkPot)
    (played,) = rounds
    committed = played.view.committed
    few = tuple(model if i in SHOWN else None for i, model in enumerate(committed))
    kit = Kit.make(setting, SIZE.n_drawn, get_backend("cpu"))
    return replace(played.view, committed=few), rule, kit


def test_verifier_and_evaluator_agree() -> None:
    tried = list(judge(*play()))
    assert all(one.by_evaluator == one.by_verifier for one in tried)
    assert {one.is_malicious for one in tried} == {True, False}
    by_kind = {kind: [one for one in tried if one.kind == kind] for kind in {o.kind for o in tried}}
    assert [one.by_verifier for one in by_kind["prove what they have"]] == [True, True]
    for kind in ("pass for one sample more", "pass for all"):
        assert by_kind[kind]
        assert not any(one.by_verifier for one in by_kind[kind])


def test_an_evaluator_that_counts_wrong_is_found_out() -> None:
    view, rule, kit = play()
    wrong = replace(view, proven=view.proven - 1)
    found = [one for one in judge(wrong, rule, kit) if one.kind == "prove what they have"]
    assert [(one.by_evaluator, one.by_verifier) for one in found] == [(True, False)] * 2


def read(*pairs: tuple[bool, bool]) -> Finding:
    tried: list[Json] = [
        asdict(
            Verdicts(
                learning_round=0,
                is_malicious=False,
                kind="pass for all",
                by_evaluator=evaluator,
                by_verifier=verifier,
            )
        )
        for evaluator, verifier in pairs
    ]
    (found,) = read_proofs([{"tried": tried}])
    return found


def test_one_verdict_that_differs_is_said() -> None:
    good, bad = read((True, True), (False, False)), read((True, True), (False, True))
    assert (good.holds, bad.holds) == (True, False)
    assert good.measured.startswith("2 of 2, 0 of them of malicious models")
    assert good.measured.endswith("1 of 2 pass for all")
    assert bad.measured.startswith("1 of 2")
    assert not list(read_proofs([]))


@pytest.mark.parametrize("profile", ["quick", "full"])
def test_their_cell_is_one_of_the_plan_and_changes_no_other(profile: str) -> None:
    cells = EXPERIMENT.plan(profile)  # type: ignore[arg-type]
    (own,) = [cell for cell in cells if is_proof_cell(cell)]
    assert [own] == list_proof_cells(profile)  # type: ignore[arg-type]
    assert len({cell.name for cell in cells}) == len(cells)
