"""Lies against a real chain: all are refused, honest ones are not, and a count would show it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from federated.errors import BelowThreshold
from federated.experiments.chains.play import Play
from federated.experiments.claims.accuracy import (
    LIAR,
    N_CLIENTS,
    VICTIM,
    AccuracyLies,
    commit_all,
)
from federated.experiments.claims.bending import flip_bits
from federated.experiments.claims.experiment import EXPERIMENT, _deal_again
from federated.experiments.claims.kits import AccuracyKit, Kits
from federated.experiments.claims.people import (
    Digits,
    deal_chain,
    load_digits,
    make_people,
    train_model,
)
from federated.experiments.claims.reading import read_outcomes
from federated.experiments.claims.tally import (
    ENCODING,
    EQUATIONS,
    RULES,
    STOPS,
    Attempt,
    find_stop,
    judge_all,
)
from federated.experiments.kinds import Cell, Json, Lab, Reading
from kernels.backend import get_backend

NETWORK = "mlp-784-2-10"
BACKEND = get_backend("cpu")


@pytest.fixture(scope="module")
def kit() -> AccuracyKit:
    return Kits(BACKEND).get_accuracy(NETWORK)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Digits:
    return load_digits(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def play(kit: AccuracyKit, digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> Play:
    folder = tmp_path_factory.mktemp("chains") / "chain"
    chain = deal_chain(folder, kit, digits.pool, n_clients=N_CLIENTS)
    models = [
        train_model(kit.recipe, digits.train, n_steps=n_steps, seed=1) for n_steps in (4, 6, 8, 60)
    ]
    game = Play(chain, make_people(chain, kit, models))
    commit_all(game)
    return game


def test_lies_about_accuracy_are_refused_and_honest_claims_are_not(
    play: Play, kit: AccuracyKit
) -> None:
    lies = AccuracyLies(play, kit, np.random.default_rng(1), n_flips=2)
    found = judge_all(play, lies.attempt(), second=lies.audit)
    for kind, count in found.items():
        assert count["accepted"] == (count["tried"] if count["honest"] else 0), kind
        assert count["tried"] > 0
        assert count["accepted"] + sum(count[stop] for stop in STOPS) == count["tried"]
    k = lies.shown[LIAR].envelope.statement.claimed_correct
    assert found["higher claim over the own proof"]["tried"] == 64 - k
    assert found["higher claim over the own proof"][EQUATIONS] == 64 - k
    under = [kind for kind in found if kind.endswith("under the own statement")]
    assert len(under) >= 7
    assert all(found[kind][EQUATIONS] == found[kind]["tried"] for kind in under)


def test_an_accepted_lie_is_counted(play: Play, kit: AccuracyKit) -> None:
    """A true proof that is called a lie shows that the count can be other than 0."""
    lies = AccuracyLies(play, kit, np.random.default_rng(1), n_flips=1)
    true = lies.shown[VICTIM].transaction
    attempt = Attempt(kind="called a lie", is_honest=False, transaction=true)
    assert judge_all(play, [attempt])["called a lie"]["accepted"] == 1


def test_either_verifier_that_accepts_a_lie_counts_and_both_must_an_honest_one(
    play: Play, kit: AccuracyKit
) -> None:
    lies = AccuracyLies(play, kit, np.random.default_rng(1), n_flips=1)
    true = lies.shown[VICTIM].transaction
    bad = play.chain.sign(replace(true, envelope=true.envelope[:-1]), play.players[VICTIM].key)
    attempts = [
        Attempt(kind="lie", is_honest=False, transaction=bad),
        Attempt(kind="honest", is_honest=True, transaction=true),
    ]
    credulous = judge_all(play, attempts, second=lambda tx: True)
    assert [count["accepted"] for count in credulous.values()] == [1, 1]
    strict = judge_all(play, attempts, second=lambda tx: False)
    assert [count["accepted"] for count in strict.values()] == [0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("family", ["bounds", "training"])
def test_lies_about_updates_and_training_are_refused(family: str, tmp_path: Path) -> None:
    lab = Lab(
        data_dir=tmp_path / "data",
        scratch=tmp_path / "scratch",
        backend=BACKEND,
        progress=lambda title, done, of: None,
    )
    cell = Cell(seed=2, parameters={"family": family, "network": NETWORK, "flips": 1})
    result = EXPERIMENT.run(cell, lab)
    assert not list(lab.scratch.iterdir()), "keys of a chain lie about"
    for kind, count in result["kinds"].items():
        assert count["accepted"] == (count["tried"] if count["honest"] else 0), kind
    stopped = {kind for kind, count in result["kinds"].items() if count[EQUATIONS]}
    wanted = {
        "bounds": {
            "clipped update under the own commitment",
            "bounds of the clipped model, under the own statement",
            "proof of looser bounds, under the own statement",
        },
        "training": {"model from elsewhere", "last step skipped", "one weight one unit off"},
    }
    assert wanted[family] <= stopped


def test_a_chain_with_a_client_that_has_nothing_to_claim_is_dealt_again(tmp_path: Path) -> None:
    folders = []

    def play(folder: Path) -> Json:
        folder.mkdir()
        folders.append(folder)
        if len(folders) < 3:
            raise BelowThreshold(0, 64, 1)
        return {"found": len(folders)}

    assert _deal_again(play, tmp_path) == {"found": 3}
    assert len(set(folders)) == 3
    assert not list(tmp_path.iterdir())
    folders.clear()
    with pytest.raises(ZeroDivisionError):  # any other fault is one
        _deal_again(lambda folder: {"found": 1 // len(folders)}, tmp_path)


def test_what_refuses_is_told_from_a_nodes_words() -> None:
    head = "transaction 0 of client ab: "
    assert find_stop(head + "its proof is pairing_failed") == EQUATIONS
    assert find_stop(head + "its proof is not_on_curve") == ENCODING
    assert find_stop("transaction 0: the envelope is malformed") == ENCODING
    assert find_stop("transaction 0: statement: round_index is another") == RULES
    assert find_stop(head + "its proof is wrong_statement") == RULES


def test_bits_are_flipped_one_at_a_time() -> None:
    raw = bytes(3)
    flipped = list(flip_bits(raw, None, np.random.default_rng(0)))
    assert len(set(flipped)) == 24
    assert all(sum(byte.bit_count() for byte in one) == 1 for one in flipped)
    assert len(set(flip_bits(raw, 5, np.random.default_rng(0)))) == 5


# -- reading ---------------------------------------------------------------------------------------


def count(honest: bool, tried: int, accepted: int) -> dict[str, Any]:
    rest = tried - accepted
    return {
        "honest": honest, "tried": tried, "accepted": accepted,
        RULES: 0, ENCODING: 0, EQUATIONS: rest,
    }  # fmt: skip


def read(lies_accepted: int, honest_accepted: int) -> Reading:
    kinds = {"a lie": count(False, 5, lies_accepted), "a truth": count(True, 4, honest_accepted)}
    return read_outcomes(
        [
            (
                Cell(seed=seed, parameters={"family": family, "network": NETWORK, "flips": 1}),
                {"origin": "packaged", "kinds": kinds},
            )
            for family in ("accuracy", "bounds", "training")
            for seed in range(3)
        ]
    )


def holds(reading: Reading) -> list[bool | None]:
    return [finding.holds for finding in reading.findings]


def test_the_reading_follows_the_counts(tmp_path: Path) -> None:
    reading = read(0, 4)
    assert holds(reading) == [True] * 4
    assert reading.findings[0].measured == "0 of 15 accepted, of 1 kinds"
    assert reading.tables[0].rows[-1] == ("all honest", "12", "12", "0", "0", "0")
    reading.figures[0].draw(tmp_path / "stops.png")
    assert (tmp_path / "stops.png").stat().st_size > 1000


def test_one_accepted_lie_fails_its_claim() -> None:
    assert holds(read(1, 4)) == [False, False, False, True]


def test_a_verifier_that_refuses_everything_has_shown_nothing() -> None:
    assert holds(read(0, 0)) == [None, None, None, False]


def test_the_plan_has_three_seeds_of_each_family() -> None:
    cells = EXPERIMENT.plan("quick")
    for family in ("accuracy", "bounds", "training"):
        seeds = {cell.seed for cell in cells if cell.parameters["family"] == family}
        assert len(seeds) >= 3
    assert len({cell.name for cell in cells}) == len(cells)
