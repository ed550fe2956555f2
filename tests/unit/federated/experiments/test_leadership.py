"""Who leads by each rule, on hand-made rounds; and readings of made-up runs that must not hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from federated.data import LabeledImages
from federated.experiments.bands import Band, is_above
from federated.experiments.kinds import Cell, Reading
from federated.experiments.leadership.elections import (
    NOBODY,
    compute_gini,
    compute_spearman,
    draw_lot,
    lead_by_claim,
    lead_by_proof,
)
from federated.experiments.leadership.experiment import EXPERIMENT, SKILLS
from federated.experiments.leadership.learning import (
    blur,
    compute_slopes,
    play_rounds,
    share_out,
)
from federated.experiments.leadership.reading import RULES, read_outcomes
from kernels.numpy_types import Float32Array

BEACON = b"b" * 32


def test_a_lottery_follows_its_weights() -> None:
    generator = np.random.default_rng(3)
    weights = np.array([1.0, 0.0001, 3.0])
    won = np.bincount([draw_lot(weights, generator) for _ in range(4000)], minlength=3) / 4000
    assert won[1] < 0.01
    assert won[2] == pytest.approx(0.75, abs=0.03)


def test_a_claim_leads_and_a_proof_leads_only_where_it_is_true() -> None:
    true = np.array([10, 30, 20])
    claimed = np.array([64, 30, 20])
    assert lead_by_claim(claimed, 64, BEACON) == 0
    assert lead_by_proof(claimed, true, 64, BEACON) == 1
    assert lead_by_proof(true, true, 64, BEACON) == lead_by_claim(true, 64, BEACON) == 1
    assert lead_by_proof(true + 1, true, 64, BEACON) == NOBODY


def test_the_beacon_breaks_ties() -> None:
    even = np.full(4, 7)
    leaders = {lead_by_proof(even, even, 64, bytes([i]) * 32) for i in range(40)}
    assert leaders == {0, 1, 2, 3}


def test_gini_and_correlation_by_hand() -> None:
    assert compute_gini(np.array([0.25] * 4)) == 0
    assert compute_gini(np.array([0.0, 0.0, 0.0, 1.0])) == pytest.approx(0.75)
    up, ties = np.array([1.0, 2.0, 3.0, 9.0]), np.array([0.0, 0.0, 5.0, 5.0])
    assert compute_spearman(up, up**3) == pytest.approx(1)
    assert compute_spearman(up, -up) == pytest.approx(-1)
    assert compute_spearman(up, ties) == pytest.approx(2 / 5**0.5)
    assert compute_spearman(up, np.ones(4)) == 0


def test_slopes_are_derivatives() -> None:
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> Float32Array:
        return rng.normal(size=shape).astype(np.float32)

    tensors = [draw(2, 4, 5), draw(2, 4), draw(2, 3, 4), draw(2, 3)]
    x, labels = draw(2, 6, 5), rng.integers(0, 3, (2, 6), dtype=np.uint8)

    def loss(client: int) -> float:
        w_1, b_1, w_2, b_2 = (t[client].astype(np.float64) for t in tensors)
        z = np.maximum(x[client] @ w_1.T + b_1, 0) @ w_2.T + b_2
        shares = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        return float(-np.log(shares[np.arange(6), labels[client]]).mean())

    slopes = compute_slopes(tensors, x, labels)
    for tensor, slope in zip(tensors, slopes, strict=True):
        place = (1, *(0,) * (tensor.ndim - 1))
        before, step = tensor[place], np.float32(1e-2)
        tensor[place] = before + step
        above = loss(1)
        tensor[place] = before - step
        below = loss(1)
        tensor[place] = before
        assert slope[place] == pytest.approx((above - below) / (2 * float(step)), abs=2e-3)


def test_wrong_labels_are_as_many_as_asked_for() -> None:
    samples = LabeledImages(images=np.zeros((5000, 1), np.uint8), labels=np.full(5000, 3, np.uint8))
    generator = np.random.default_rng(0)
    assert (blur(samples, 0.0, generator).labels == 3).all()
    assert (blur(samples, 0.5, generator).labels == 3).mean() == pytest.approx(0.55, abs=0.03)


def test_clients_of_ascending_amounts() -> None:
    sizes = share_out(6, 1000, ratio=2.0)
    assert sizes.sum() <= 1000
    assert sizes.min() == 15
    assert list(sizes) == sorted(sizes)
    assert len(set(share_out(6, 1000, ratio=1.0).tolist())) == 1


def test_clients_learn_and_wrong_labels_make_them_worse() -> None:
    """Two rounds on digits that are easy to tell: bright rows."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 1200, dtype=np.uint8)
    images = rng.integers(0, 60, (1200, 784), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[78 * int(label) : 78 * int(label) + 60] += 180
    samples = LabeledImages(images=images, labels=labels)
    train, pool = samples.split(900)
    sizes = np.full(3, 200)
    rounds = list(play_rounds(train, pool, sizes, np.array([1.0, 0.5, 0.0]), n_rounds=2, seed=1))
    assert len({played.beacon for played in rounds}) == 2
    last = rounds[-1].counts
    assert last[0] < last[2]
    assert last[2] > 200
    again = play_rounds(train, pool, sizes, np.array([1.0, 0.5, 0.0]), n_rounds=2, seed=1)
    assert [played.counts.tolist() for played in again] == [r.counts.tolist() for r in rounds]


# -- reading ---------------------------------------------------------------------------------------


def make_run(seed: int, **led: list[int]) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    uniform = [25, 25, 25, 25]
    return {
        "origin": "packaged",
        "skills": [1.0, 2.0, 3.0, 4.0],
        "stakes": (rng.permutation(4) + 1.0).tolist(),
        "hash_power": (rng.permutation(4) + 1.0).tolist(),
        "accuracy": [0.5, 0.6, 0.7, 0.8],
        "global_accuracy": 0.8,
        "led": {rule: led.get(rule, uniform) for rule in RULES},
    }


def read(**led: list[int]) -> Reading:
    return read_outcomes(
        [
            (
                Cell(seed=seed, parameters={"skill": skill, "clients": 4, "rounds": 100}),
                make_run(seed, **led),
            )
            for skill in SKILLS
            for seed in range(4)
        ],
        n_liars=1,
    )


def get_holds(reading: Reading, claim: str) -> bool | None:
    (found,) = [f for f in reading.findings if f.claim.startswith(claim)]
    return found.holds


def test_merit_holds_where_the_best_lead_and_fails_where_the_worst_do() -> None:
    merit = "ZKPoT gives leadership to skill, where clients differ in wrong"
    assert get_holds(read(zkpot=[0, 1, 9, 90]), merit) is True
    assert get_holds(read(zkpot=[90, 9, 1, 0]), merit) is False
    assert get_holds(read(), merit) is None


def test_a_leader_that_always_leads_is_held_against_zkpot() -> None:
    claim = "ZKPoT concentrates leadership less than PoS, clients of unequal"
    assert get_holds(read(zkpot=[0, 0, 0, 100], pos=[20, 30, 20, 30]), claim) is False
    assert get_holds(read(pos=[0, 0, 0, 100]), claim) is True


def test_liars_that_lead_are_told(tmp_path: Path) -> None:
    lied = read(pofl_liars=[100, 0, 0, 0], zkpot_liars=[0, 10, 20, 70])
    assert get_holds(lied, "under PoFL") is True
    assert get_holds(lied, "under ZKPoT nobody") is True
    assert get_holds(read(zkpot_liars=[1, 0, 0, 99]), "under ZKPoT nobody") is False
    assert get_holds(read(pofl_liars=[0, 0, 0, 100]), "under PoFL") is False
    for figure in lied.figures:
        path = tmp_path / f"{figure.name}.png"
        figure.draw(path)
        assert path.stat().st_size > 1000


def test_data_of_two_origins_are_both_told() -> None:
    outcomes = [
        (
            Cell(seed=seed, parameters={"skill": skill, "clients": 4, "rounds": 100}),
            {**make_run(seed), "origin": "fetched" if seed else "packaged"},
        )
        for skill in SKILLS
        for seed in range(4)
    ]
    reading = read_outcomes(outcomes, n_liars=1)
    assert reading.conditions["data"] == "MNIST (fetched, packaged)"
    assert all("MNIST (fetched, packaged)" in figure.caption for figure in reading.figures)


def test_a_band_that_holds_the_bound_tells_nothing() -> None:
    assert is_above(Band(0.5, 0.6), 0.0) is None
    assert is_above(Band(0.5, 0.4), 0.0) is True
    assert is_above(Band(-0.5, 0.4), 0.0) is False


def test_the_plan_has_seeds_for_every_skill() -> None:
    cells = EXPERIMENT.plan("quick")
    assert len({cell.name for cell in cells}) == len(cells)
    for skill in SKILLS:
        assert sum(cell.parameters["skill"] == skill for cell in cells) >= 3
    assert all(cell.parameters["rounds"] == 100 for cell in cells)
