"""Rounds of secure aggregation with clients that drop out, cheat and collude.

Every round ends in the exact sum over its entries, or in a named failure; whoever did what it
should is never excluded, and never named.
"""

from __future__ import annotations

from itertools import combinations
from random import Random

import pytest

from consensus.aggregation.outcome import Ending, Failure
from tests.consensus.aggregation_rounds import (
    COLLUSION,
    N_CLIENTS,
    STEPS,
    Played,
    Player,
    Table,
    make_silent,
    sum_models,
)

SOME = [c for k in range(COLLUSION + 1) for c in combinations(range(N_CLIENTS), k)]


def make_keys(rng: Random) -> list[bytes]:
    return [rng.randbytes(32) for _ in range(N_CLIENTS)]


def check(players: list[Player], played: Played) -> None:
    """What holds for every round."""
    by_key = {p.key: p for p in players}
    outcome = played.outcome
    honest = {p.key for p in players if p.is_honest}
    excluded = {client for client, _ in outcome.excluded}
    assert not excluded & honest
    assert not set(outcome.names) & honest
    if outcome.ending is Ending.MODEL:
        entered = [client for client, _ in outcome.entries]
        assert entered == sorted(played.masked - excluded)
        assert outcome.entries == tuple((c, by_key[c].weight) for c in entered)
        assert outcome.sums is not None
        assert outcome.sums.tolist() == sum_models(by_key[c] for c in entered)
    else:
        assert outcome.ending is Ending.NONE
        assert outcome.sums is None


def test_an_honest_round_is_the_exact_sum(rng: Random) -> None:
    players = [Player(key, rng) for key in make_keys(rng)]
    played = Table(players).play()
    check(players, played)
    assert played.endings == [Ending.MODEL]
    assert len(played.outcome.entries) == N_CLIENTS


@pytest.mark.parametrize("step", STEPS[:3])
@pytest.mark.parametrize("gone", SOME, ids=str)
def test_whoever_drops_out_of_a_step(gone: tuple[int, ...], step: str, rng: Random) -> None:
    """Every combination up to the threshold: the sum is that of those who were in time."""
    players = [
        make_silent(step)(key, rng) if i in gone else Player(key, rng)
        for i, key in enumerate(make_keys(rng))
    ]
    played = Table(players).play()
    check(players, played)
    assert played.endings == [Ending.MODEL]
    n_entered = N_CLIENTS if step == "unmask" else N_CLIENTS - len(gone)
    assert len(played.outcome.entries) == n_entered


@pytest.mark.parametrize("gone", [c for c in SOME if len(c) == COLLUSION], ids=str)
def test_others_drop_out_of_each_step(gone: tuple[int, ...], rng: Random) -> None:
    """One before its proof, one before its update, one before its shares: 4 of 7 stay."""
    first, second = gone
    third = next(i for i in range(N_CLIENTS) if i not in gone)
    kinds = {first: "deal", second: "mask", third: "unmask"}
    players = [
        make_silent(kinds[i])(key, rng) if i in kinds else Player(key, rng)
        for i, key in enumerate(make_keys(rng))
    ]
    played = Table(players).play()
    check(players, played)
    assert played.endings == [Ending.MODEL]
    assert len(played.outcome.entries) == N_CLIENTS - 2


def test_with_too_few_shares_there_is_no_sum(rng: Random) -> None:
    """Each secret needs C + 1 = 3 shares of the dealer's neighbours: with 3 senders those who send
    have 2."""
    silent = make_silent("unmask")
    keys = make_keys(rng)
    players = [(silent if i < 4 else Player)(key, rng) for i, key in enumerate(keys)]
    played = Table(players).play()
    check(players, played)
    assert played.outcome.reason is Failure.SHARES_MISSING
    assert played.outcome.names == tuple(sorted(keys[:4]))


@pytest.mark.parametrize("step", STEPS[:2])
def test_too_few_clients_have_no_sum(step: str, rng: Random) -> None:
    silent = make_silent(step)
    players = [(silent if i < 4 else Player)(key, rng) for i, key in enumerate(make_keys(rng))]
    played = Table(players).play()
    check(players, played)
    assert played.outcome.reason is Failure.TOO_FEW
    assert "unmask" not in played.answered
