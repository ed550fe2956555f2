"""A client's guard: one answer for each step of a round, however often it is asked or restarts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from consensus.aggregation import masked as masking
from consensus.aggregation.client_side import RoundClient, RoundSecrets
from consensus.aggregation.deal import Deal
from consensus.aggregation.masked import Masked
from consensus.aggregation.outcome import Cheat, Ending, Outcome
from consensus.aggregation.secrets import agree_pair_seed, derive_mask_private, derive_self_seed
from consensus.aggregation.shamir import recover
from consensus.aggregation.unmasking import Unmasking, list_shares
from consensus.errors import AnswerRefused
from kernels.array import FrArray
from kernels.encoding import encode_fr
from tests.consensus.aggregation_observer import make_players
from tests.consensus.aggregation_rounds import (
    COLLUSION,
    Player,
    Table,
    make_circle,
    masker,
)

# -- differencing ----------------------------------------------------------------------------------


class Unbound(RoundClient):
    """A client that answers for any sets: what the guard is against."""

    def _promise(self, **answers: bytes) -> None:
        return None

    def _require_set(self, clients: Any, name: str) -> None:
        return None


def start_again(player: Player) -> None:
    """From what is on its disk, and nothing else."""
    secrets = RoundSecrets.decode(player.secrets.encode())
    player.client = RoundClient(secrets, player.circle, masker=masker(), save=player._save)


def unmask_twice(table: Table, victim: bytes) -> tuple[frozenset[bytes], dict[bytes, Deal]]:
    """Everybody has answered for U; asked next is U without one, which needs that one's sigma."""
    played = table.play()
    assert played.outcome.ending is Ending.MODEL
    deals = {c: Deal.parse(p.sent["deal"]) for c, p in table.players.items()}
    return played.masked - {victim}, deals


@pytest.mark.parametrize("restarted", [False, True])
def test_a_second_set_is_refused(restarted: bool, rng: Random) -> None:
    players = make_players(rng)
    table, victim = Table(players), players[-1].key
    u, deals = unmask_twice(table, victim)
    for player in players[:-1]:
        if restarted:
            start_again(player)
        with pytest.raises(AnswerRefused, match="another masked was answered"):
            player.client.unmask(accepted=u | {victim}, masked=u, deals=deals)
        again = player.client.unmask(accepted=u | {victim}, masked=u | {victim}, deals=deals)
        assert again.encode() == player.sent["unmask"]


def collect_secret(
    answers: Sequence[tuple[Player, Unmasking]], accepted: frozenset[bytes], victim: Player
) -> int:
    """Which of a client's secrets these answers are of, from as many shares as make it."""
    circle = victim.circle
    shares = {}
    for player, made in answers:
        point = circle.graph.find_position(player.key) + 1
        shares[point] = dict(list_shares(made, circle, player.key, accepted))[victim.key]
    t = circle.graph.threshold
    values = FrArray.from_ints([*shares.values()][:t])
    (secret,) = recover([[*shares][:t]], values, masker().backend)
    return secret


def lay_bare(
    victim: Player, masked: Masked, others: frozenset[bytes], *, sigma: int, b: int
) -> bytes:
    """A masked update without its masks: what no one is to see."""
    circle = victim.circle
    private = derive_mask_private(sigma, circle.place)
    seeds = [(-1, derive_self_seed(b, circle.place))]
    for other in others:
        seed = agree_pair_seed(circle, victim.key, private, other)
        seeds.append((-circle.graph.find_sign(victim.key, other), seed))
    streams = masker().sum_streams(seeds, circle.n_elements)
    return encode_fr(masker().add(masked.scalars, streams))


def test_without_the_guard_the_difference_is_a_model(rng: Random) -> None:
    """U opened, and U without one: sigma and b of that one are both known."""
    players = make_players(rng)
    table, victim = Table(players), players[-1]
    u, deals = unmask_twice(table, victim.key)
    accepted = u | {victim.key}
    answers = []
    for player in players[:-1]:
        unbound = Unbound(player.secrets, table.circle, masker=masker(), save=player._save)
        answers.append((player, unbound.unmask(accepted=accepted, masked=u, deals=deals)))
    sigma = collect_secret(answers, accepted, victim)
    b = victim.own.self_secret  # opened with U
    bare = lay_bare(victim, Masked.parse(victim.sent["mask"]), u, sigma=sigma, b=b)
    assert bare == encode_fr(masking.weigh(victim.model, victim.rho, victim.weight))


def test_two_final_blocks_of_one_height_would_show_a_model(rng: Random) -> None:
    """Why validators are trusted not to make them: each client answers once, some for U, some for
    U without one. None is asked for anything that its guard refuses.
    """
    players = make_players(rng)
    make_circle(players)
    deals = {p.key: p.client.deal() for p in players}
    everyone = frozenset(deals)
    *others, victim = players
    for p in others:
        p.mask(everyone)
    update = Masked.parse(victim.mask(everyone))
    half = len(others) // 2
    u = everyone - {victim.key}
    told = [(others[:half], everyone), (others[half:], u)]
    b, sigma = (
        collect_secret(
            [(p, p.client.unmask(accepted=everyone, masked=m, deals=deals)) for p in some],
            everyone,
            victim,
        )
        for some, m in told
    )
    bare = lay_bare(victim, update, u, sigma=sigma, b=b)
    assert bare == encode_fr(masking.weigh(victim.model, victim.rho, victim.weight))


# -- a client's other refusals ---------------------------------------------------------------------


def play_to_updates(rng: Random) -> tuple[list[Player], frozenset[bytes], dict[bytes, Deal]]:
    players = make_players(rng)
    make_circle(players)
    deals = {p.key: p.client.deal() for p in players}
    everyone = frozenset(deals)
    for p in players:
        p.mask(everyone)
    return players, everyone, deals


def test_a_second_update_is_refused(rng: Random) -> None:
    """Of another model, another weight, or for another S; also after a restart."""
    players, everyone, _ = play_to_updates(rng)
    player = players[0]
    same = {"rho": player.rho, "weight": player.weight, "accepted": everyone}
    first = player.client.mask(player.model, **same).encode()
    for _ in range(2):
        with pytest.raises(AnswerRefused, match="another vector"):
            player.client.mask(player.model + 1, **same)
        with pytest.raises(AnswerRefused, match="another vector"):
            player.client.mask(player.model, **(same | {"weight": player.weight + 1}))
        with pytest.raises(AnswerRefused, match="another accepted"):
            player.client.mask(player.model, **(same | {"accepted": everyone - {players[1].key}}))
        start_again(player)
    assert player.client.mask(player.model, **same).encode() == first


def test_sets_that_do_not_hide_are_refused(rng: Random) -> None:
    players, everyone, deals = play_to_updates(rng)
    player = players[0]
    few = frozenset(p.key for p in players[: COLLUSION + 1])
    for accepted, masked, why in (
        (everyone, few, "U is too small to hide it"),
        (everyone, everyone - {player.key}, "it is not in U"),
        (everyone - {players[1].key}, everyone, "U is not of S"),
        (everyone - {players[1].key}, everyone - {players[1].key}, "it masked for another S"),
        (everyone, everyone - {players[1].key} | {bytes(32)}, "U is too small to hide it"),
    ):
        with pytest.raises(AnswerRefused, match=why):
            player.client.unmask(accepted=accepted, masked=masked, deals=deals)


def test_seeds_of_too_many_are_refused(rng: Random) -> None:
    """Honest pairs attest alike: who asks for more seeds of the kept than collude is lying."""
    players, everyone, _ = play_to_updates(rng)
    player, others = players[0], [p.key for p in players[1:]]

    def ask(n: int, **changes: Any) -> Outcome:
        edges = tuple((player.key, other) for other in others[:n])
        return Outcome(**{"ending": Ending.REVEAL, "edges": edges} | changes)

    with pytest.raises(AnswerRefused, match="more than collude"):
        player.client.reveal(ask(COLLUSION + 1), masked=everyone)
    gone = tuple((other, Cheat.MASKED) for other in others[:4])
    with pytest.raises(AnswerRefused, match="too small to hide it"):
        player.client.reveal(ask(4, excluded=gone), masked=everyone)
    strange = ((player.key, bytes(32)),)
    with pytest.raises(AnswerRefused, match="a seed that it does not have"):
        player.client.reveal(ask(0, edges=strange), masked=everyone)
    revealed = player.client.reveal(ask(1), masked=everyone)
    assert len(revealed.list_seeds()) == 1
    start_again(player)
    with pytest.raises(AnswerRefused, match="another revealed"):
        player.client.reveal(ask(2), masked=everyone)


def test_another_round_or_other_keys_are_refused(rng: Random) -> None:
    players = make_players(rng)
    circle = make_circle(players)
    player = players[0]
    fresh = RoundSecrets.draw(
        genesis_digest=circle.genesis_digest,
        learning_round=circle.learning_round,
        client_key=player.key,
        random_bytes=rng.randbytes,
    )
    with pytest.raises(AnswerRefused, match="other keys"):
        RoundClient(fresh, circle, masker=masker(), save=player._save)
    player.client.deal()
    other_circle = make_circle([*players[:-1], Player(rng.randbytes(32), rng)])
    with pytest.raises(AnswerRefused, match="another circle"):
        RoundClient(player.secrets, other_circle, masker=masker(), save=player._save).deal()


def test_other_bounds_are_refused_in_every_step(rng: Random) -> None:
    """The same clients and keys, and a graph that says fewer collude."""
    players, everyone, deals = play_to_updates(rng)
    player, circle = players[0], players[0].circle
    lower = replace(circle, graph=replace(circle.graph, collusion=1, threshold=2))
    client = RoundClient(player.secrets, lower, masker=masker(), save=player._save)
    with pytest.raises(AnswerRefused, match="another circle"):
        client.deal()
    with pytest.raises(AnswerRefused, match="another circle"):
        client.unmask(accepted=everyone, masked=everyone, deals=deals)
    with pytest.raises(AnswerRefused, match="another circle"):
        client.reveal(Outcome(ending=Ending.REVEAL), masked=everyone)
    kept = player.client.unmask(accepted=everyone, masked=everyone, deals=deals)
    assert len(kept.shares) == len(players) - 1


def test_secrets_do_not_show_in_words(rng: Random) -> None:
    player = make_players(rng)[0]
    shown = repr(player.secrets) + repr(player.secrets.derive())
    assert player.secrets.root.hex() not in shown
    assert repr(player.secrets.root) not in shown
