"""Whole rounds on a sparse graph: each client has a few neighbours, and nothing else changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest

from consensus.aggregation.circle import Circle
from consensus.aggregation.graph import Graph
from consensus.aggregation.outcome import Cheat, Ending, Failure
from tests.consensus.aggregation_cheats import Cheater
from tests.consensus.aggregation_rounds import (
    Played,
    Player,
    Table,
    make_silent,
    sum_models,
)

N = 14


def thin_out(circle: Circle) -> Circle:
    """The same clients in the same order, each with three neighbours on either side."""
    graph = Graph(order=circle.graph.order, collusion=1, degree=6, threshold=3, ahead=2)
    return replace(circle, graph=graph)


def play(players: Sequence[Player]) -> Played:
    table = Table(players, collusion=1)
    table.circle = thin_out(table.circle)
    for player in players:
        player.enter(table.circle)
    return table.play()


def make_players(rng: Random, *first: Player) -> list[Player]:
    return [*first, *(Player(rng.randbytes(32), rng) for _ in range(N - len(first)))]


def test_an_honest_round(rng: Random) -> None:
    players = make_players(rng)
    outcome = play(players).outcome
    assert outcome.ending is Ending.MODEL
    assert outcome.sums is not None
    assert outcome.sums.tolist() == sum_models(players)


@pytest.mark.parametrize("step", ["deal", "mask", "unmask"])
@pytest.mark.parametrize("seed", range(5))
def test_dropouts(step: str, seed: int) -> None:
    rng = Random(seed)
    silent = make_silent(step)
    players = make_players(rng, *(silent(rng.randbytes(32), rng) for _ in range(2)))
    played = play(players)
    outcome = played.outcome
    if outcome.ending is Ending.MODEL:
        entered = [p for p in players if p.key in dict(outcome.entries)]
        assert len(entered) == (N if step == "unmask" else N - 2)
        assert outcome.sums is not None
        assert outcome.sums.tolist() == sum_models(entered)
    else:
        graph = played.circle.graph
        silents = {p.key for p in players[:2]}
        assert outcome.reason is Failure.TOO_FEW
        assert not graph.is_enough(set(graph.order) - silents)


def test_who_has_no_neighbours_left_is_not_shown(rng: Random) -> None:
    """Its successors drop out: the round has no sum, though 10 of 14 are there."""
    keys = [rng.randbytes(32) for _ in range(N)]
    beacon_seed = rng.getrandbits(64)
    trial = [Player(key, Random(beacon_seed)) for key in keys]
    order = Table(trial, collusion=1).circle.graph.order
    gone = set(order[1:4])
    silent = make_silent("mask")
    again = [(silent if key in gone else Player)(key, Random(beacon_seed)) for key in keys]
    played = play(again)
    assert played.circle.graph.order == order
    assert played.outcome.reason is Failure.TOO_FEW
    assert "unmask" not in played.answered


@pytest.mark.parametrize(
    ("habits", "cheat"),
    [({"mask": "mask_noise"}, Cheat.MASKED), ({"deal": "deal_garbage_to_all"}, Cheat.DEAL)],
    ids=str,
)
def test_a_dispute(habits: dict[str, str], cheat: Cheat, rng: Random) -> None:
    cheater = Cheater(rng.randbytes(32), rng)
    cheater.habits = habits
    players = make_players(rng, cheater)
    played = play(players)
    assert played.endings == [Ending.DISPUTE, Ending.REVEAL, Ending.MODEL]
    assert played.outcome.excluded == ((cheater.key, cheat),)
    assert played.outcome.sums is not None
    assert played.outcome.sums.tolist() == sum_models(players[1:])
    asked = {owner for owner, _ in played.edges}
    assert asked == set(played.circle.graph.list_neighbours(cheater.key))
