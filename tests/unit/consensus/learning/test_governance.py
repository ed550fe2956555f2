"""Weights of clients: a decaying sum in whole numbers."""

from __future__ import annotations

from consensus.aggregation.outcome import Ending, Failure
from consensus.learning.governance import UNIT, compute_weights, update_weights
from consensus.wire.outcomes import Aggregate, Entry

A, B = b"a" * 32, b"b" * 32


def aggregate(t: int, **weights: int) -> Aggregate:
    entries = tuple(
        Entry(client_key=name.encode() * 32, proven=weight) for name, weight in weights.items()
    )
    return Aggregate(
        learning_round=t,
        ending=Ending.MODEL if entries else Ending.NONE,
        reason=() if entries else (Failure.TOO_FEW,),
        model_digest=bytes(32),
        entries=entries,
    )


def test_a_contribution_counts_by_its_proven_accuracy() -> None:
    weights = compute_weights([aggregate(0, a=96, b=50)], n_samples=100)
    assert weights == {A: 960_000, B: 500_000}


def test_weights_decay_by_an_eighth_per_round() -> None:
    rounds = [aggregate(0, a=100), aggregate(1), aggregate(2)]
    assert compute_weights(rounds, n_samples=100) == {A: 765_625}
    assert UNIT * 7 // 8 * 7 // 8 == 765_625


def test_steady_clients_tend_to_a_bound() -> None:
    weights = compute_weights([aggregate(t, a=100) for t in range(200)], n_samples=100)
    assert 7 * UNIT < weights[A] <= 8 * UNIT


def test_who_stops_is_forgotten_in_the_end() -> None:
    weights = {A: UNIT}
    for t in range(200):
        weights = update_weights(weights, aggregate(t, b=1), n_samples=100)
    assert set(weights) == {B}


def test_the_rule_is_a_fold() -> None:
    rounds = [aggregate(0, a=7, b=3), aggregate(1, b=9), aggregate(2, a=1)]
    step = compute_weights(rounds[:2], n_samples=10)
    assert update_weights(step, rounds[2], n_samples=10) == compute_weights(rounds, n_samples=10)
    assert compute_weights([], n_samples=10) == {}
