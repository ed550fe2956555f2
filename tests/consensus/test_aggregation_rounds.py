"""Rounds of secure aggregation with clients that drop out, cheat and collude.

Every round ends in the exact sum over its entries, or in a named failure; whoever did what it
should is never excluded, and never named.
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from random import Random

import pytest

from consensus.aggregation.outcome import Cheat, Ending, Failure
from tests.consensus.aggregation_cheats import (
    HABITS,
    Accomplice,
    Cheater,
    Conspirator,
    Loner,
    draw_habits,
)
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

N_QUICK = 100
CHUNK = 50
SOME = [c for k in range(COLLUSION + 1) for c in combinations(range(N_CLIENTS), k)]


def make_keys(rng: Random) -> list[bytes]:
    return [rng.randbytes(32) for _ in range(N_CLIENTS)]


def check(players: list[Player], played: Played) -> None:
    """What holds for every round."""
    by_key = {p.key: p for p in players}
    outcome = played.outcome
    honest = {p.key for p in players if p.is_honest}
    excluded = {client for client, _ in outcome.excluded}
    assert excluded <= {p.key for p in players if p.is_cheater}
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


# -- clients that cheat ----------------------------------------------------------------------------


def play_with(rng: Random, *cheaters: Player) -> Played:
    """The others are honest. Checks what holds always."""
    honest = [Player(rng.randbytes(32), rng) for _ in range(N_CLIENTS - len(cheaters))]
    players = [*cheaters, *honest]
    played = Table(players).play()
    check(players, played)
    return played


def make_cheater(rng: Random, **habits: str) -> Cheater:
    cheater = Cheater(rng.randbytes(32), rng)
    cheater.habits = habits
    return cheater


@pytest.mark.parametrize(("step", "habit"), [(s, h) for s, hs in HABITS.items() for h in hs])
def test_each_habit_by_itself(step: str, habit: str, rng: Random) -> None:
    """One cheater never prevents the sum of the others: nobody else is silent."""
    wrong = {} if step in ("deal", "mask", "unmask") else {"mask": "mask_noise"}
    cheater = make_cheater(rng, **wrong, **{step: habit})
    played = play_with(rng, cheater)
    if step in ("attest", "reveal"):
        assert played.endings[0] is Ending.DISPUTE
        return
    assert played.outcome.ending is Ending.MODEL
    assert len(played.outcome.entries) >= N_CLIENTS - 1


WRONG_UPDATES = ("mask_noise", "mask_another_model", "mask_without_a_pair", "mask_twice")


@pytest.mark.parametrize("habit", WRONG_UPDATES)
def test_a_wrong_update_is_excluded(habit: str, rng: Random) -> None:
    cheater = make_cheater(rng, mask=habit)
    played = play_with(rng, cheater)
    assert played.endings == [Ending.DISPUTE, Ending.REVEAL, Ending.MODEL]
    assert played.outcome.excluded == ((cheater.key, Cheat.MASKED),)


@pytest.mark.parametrize(
    "habit", ["deal_garbage_to_all", "deal_another_self_digest", "deal_another_sigma"]
)
def test_a_bad_deal_is_excluded(habit: str, rng: Random) -> None:
    """Of who is in U its b; of who drops out, its sigma."""
    cheater = make_cheater(rng, deal=habit)
    if habit == "deal_another_sigma":
        cheater.habits = {"deal": habit, "mask": "mask_late"}
    played = play_with(rng, cheater)
    assert played.endings == [Ending.DISPUTE, Ending.REVEAL, Ending.MODEL]
    assert played.outcome.excluded == ((cheater.key, Cheat.DEAL),)
    assert len(played.outcome.entries) == N_CLIENTS - 1


def test_complaints_of_all_who_collude_convict_nobody(rng: Random) -> None:
    cheaters = [make_cheater(rng, unmask="unmask_complaining") for _ in range(COLLUSION)]
    played = play_with(rng, *cheaters)
    assert played.endings == [Ending.MODEL]
    assert len(played.outcome.entries) == N_CLIENTS


@pytest.mark.parametrize(("n_late", "ending"), [(0, Ending.MODEL), (1, Ending.NONE)])
def test_garbage_for_as_many_as_collude(n_late: int, ending: Ending, rng: Random) -> None:
    """Their complaints convict nobody; beside it the others who collude are silent. With 3C + 1
    clients in U the rest have the threshold of shares, with one less they have not."""
    cheater, silent = (make_cheater(rng) for _ in range(2))
    cheater.habits, silent.habits = {"deal": "deal_garbage_to_two"}, {"unmask": "nothing"}
    late = [make_silent("mask")(rng.randbytes(32), rng) for _ in range(n_late)]
    cheater.spared = {silent.key, *(p.key for p in late)}
    played = play_with(rng, cheater, silent, *late)
    assert len(played.masked) == 3 * COLLUSION + 1 - n_late
    assert played.endings == [ending]
    if ending is Ending.NONE:
        assert played.outcome.reason is Failure.SHARES_MISSING
        assert played.outcome.names == (silent.key,)


def test_who_lies_and_attests_nothing_is_named_not_excluded(rng: Random) -> None:
    cheater = make_cheater(rng, mask="mask_noise", attest="nothing")
    outcome = play_with(rng, cheater).outcome
    assert (outcome.reason, outcome.names) == (Failure.UNRESOLVED, (cheater.key,))
    assert outcome.excluded == ()


def test_what_is_put_on_a_pair_is_asked_for(rng: Random) -> None:
    """Its own equation holds; but it knows no seed of the stream that it attests."""
    cheater = make_cheater(rng, mask="mask_noise", attest="attest_what_fits")
    played = play_with(rng, cheater)
    assert played.endings == [Ending.DISPUTE, Ending.REVEAL, Ending.NONE]
    assert played.outcome.names == (cheater.key,)


def make_plot(rng: Random, kind: type[Cheater]) -> tuple[Conspirator, Cheater]:
    first, second = Conspirator(rng.randbytes(32), rng), kind(rng.randbytes(32), rng)
    first.plot(second)
    if isinstance(second, Accomplice):
        second.plot(first)
    return first, second


def test_two_with_one_false_mask(rng: Random) -> None:
    """Both attest it: the equation of the one that did not use it fails."""
    first, second = make_plot(rng, Accomplice)
    played = play_with(rng, first, second)
    assert played.endings == [Ending.DISPUTE, Ending.REVEAL, Ending.MODEL]
    assert played.outcome.excluded == ((second.key, Cheat.MASKED),)
    assert len(played.outcome.entries) == N_CLIENTS - 1


def test_two_with_different_masks(rng: Random) -> None:
    """Each attests what it used: both equations hold, both seeds are revealed, both are in."""
    played = play_with(rng, *make_plot(rng, Cheater))
    assert played.endings == [Ending.DISPUTE, Ending.REVEAL, Ending.MODEL]
    assert played.outcome.excluded == ()
    assert len(played.outcome.entries) == N_CLIENTS


def test_who_differs_from_more_than_collude_is_excluded(rng: Random) -> None:
    """Honest pairs agree. Else many of these would list more edges than a block may, for ever."""
    loners = [Loner(rng.randbytes(32), rng) for _ in range(COLLUSION)]
    played = play_with(rng, *loners)
    assert played.endings == [Ending.DISPUTE, Ending.REVEAL, Ending.MODEL]
    assert played.outcome.excluded == tuple(sorted((p.key, Cheat.MASKED) for p in loners))
    assert {other for _, other in played.edges} == {p.key for p in loners}


def run_seed(seed: int) -> Played:
    """A round with cheaters up to the bound, and clients that drop out, as the seed says."""
    rng = Random(f"aggregation {seed}")
    cheaters: list[Cheater] = []
    if rng.random() < 0.25:
        cheaters += make_plot(rng, rng.choice((Accomplice, Cheater)))
    else:
        cheaters += [
            Cheater(rng.randbytes(32), rng) for _ in range(rng.randrange(1, COLLUSION + 1))
        ]
    for cheater in cheaters:
        if cheater.partner is None or rng.random() < 0.3:
            cheater.habits = draw_habits(rng)
    players: list[Player] = [*cheaters]
    while len(players) < N_CLIENTS:
        kind = make_silent(rng.choice(STEPS)) if rng.random() < 0.08 else Player
        players.append(kind(rng.randbytes(32), rng))
    played = Table(players).play()
    check(players, played)
    return played


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "first_of_many" in metafunc.fixturenames:
        seeds = range(N_QUICK, metafunc.config.getoption("--seeds"), CHUNK)
        metafunc.parametrize("first_of_many", seeds)


@pytest.mark.soak
def test_many_seeds(first_of_many: int) -> None:
    """1,000 seeds take 2 minutes of processor time: pytest tests/consensus --seeds 1000"""
    for seed in range(first_of_many, first_of_many + CHUNK):
        run_seed(seed)


def test_the_seeds_see_what_they_are_for() -> None:
    """Each way that a round can end, over the quick seeds."""
    seen: Counter[object] = Counter()
    for seed in range(N_QUICK):
        played = run_seed(seed)
        outcome = played.outcome
        seen.update([tuple(played.endings), outcome.reason])
        seen.update({cheat for _, cheat in outcome.excluded})
    assert seen[Ending.MODEL,] > 10
    assert seen[Ending.DISPUTE, Ending.REVEAL, Ending.MODEL] > 10
    assert seen[Ending.DISPUTE, Ending.REVEAL, Ending.NONE] > 0
    assert seen[Ending.DISPUTE, Ending.NONE] > 0
    assert all(seen[reason] for reason in Failure if reason is not Failure.LOST)
    assert all(seen[cheat] for cheat in Cheat)
