"""Rewards: the rule by hand, and that blocks move weights and rewards as the rules say."""

from __future__ import annotations

from dataclasses import replace

from consensus.aggregation.outcome import Ending, Failure
from consensus.learning.chain_state import ChainState, Phase
from consensus.learning.governance import update_weights
from consensus.learning.outcome import make_none
from consensus.learning.rewards import OF_LEADER, ROUND, update_rewards
from consensus.wire.outcomes import Aggregate, Entry
from tests.support.learning import N_SAMPLES, Lab

LAB = Lab(n_bound=2)
A, B, C = (bytes([i]) * 32 for i in (1, 2, 3))


def model(**proven: int) -> Aggregate:
    keys = {"a": A, "b": B, "c": C}
    entries = tuple(Entry(client_key=keys[k], proven=n) for k, n in proven.items())
    return Aggregate(learning_round=0, ending=Ending.MODEL, model_digest=bytes(32), entries=entries)


def test_a_round_is_shared_by_proven_counts() -> None:
    after = update_rewards({B: 5}, model(a=10, b=5), leader=A)
    assert after == {A: 250_000 + 500_000, B: 5 + 250_000}
    assert sum(after.values()) - 5 == ROUND


def test_what_floors_leave_is_paid_to_nobody() -> None:
    after = update_rewards({}, model(a=1, b=1, c=5), leader=C)
    assert after == {A: 107_142, B: 107_142, C: 535_714 + OF_LEADER}
    assert sum(after.values()) == ROUND - 2


def test_who_leads_without_entering_is_not_paid() -> None:
    assert update_rewards({}, model(a=3), leader=B) == {A: ROUND - OF_LEADER}
    assert update_rewards({}, model(a=3), leader=None) == {A: ROUND - OF_LEADER}


def test_a_round_without_a_model_pays_nothing() -> None:
    state = LAB.reach(Phase.ELECT)
    none = make_none(state, Failure.TOO_FEW)
    assert update_rewards({A: 7}, none, leader=A) == {A: 7}


def test_counts_of_zero_earn_nothing() -> None:
    assert update_rewards({}, model(a=0, b=0), leader=A) == {A: OF_LEADER}


def test_blocks_move_them_when_a_round_ends() -> None:
    elect = LAB.reach(Phase.ELECT)
    assert not elect.weights
    assert not elect.rewards
    aggregate = LAB.aggregate(elect)
    after = LAB.extend(elect)
    assert after.weights == update_weights({}, aggregate, n_samples=N_SAMPLES)
    assert after.rewards == update_rewards({}, aggregate, leader=after.leader)
    assert after.rewards[LAB.client(0)] > OF_LEADER
    again = ChainState.decode(after.encode(), LAB.genesis)
    assert again == after


def test_a_dispute_moves_nothing() -> None:
    elect = LAB.reach(Phase.ELECT)
    after = LAB.extend(elect, aggregate=(LAB.dispute(elect),))
    assert after.phase is Phase.ATTEST
    assert not after.weights
    assert not after.rewards


def test_a_round_that_ends_without_a_model_lets_weights_decay() -> None:
    elect = LAB.reach(Phase.ELECT, learning_round=1)
    none = make_none(elect, Failure.SHARES_MISSING)
    after = LAB.extend(elect, aggregate=(replace(none, silent=(LAB.client(0),)),))
    assert after.weights == {c: w * 7 // 8 for c, w in elect.weights.items()}
    assert after.rewards == elect.rewards
