"""Whoever sends in time is in: with clients that are slow, and with leaders that want them out."""

from __future__ import annotations

import pytest

from consensus.learning.chain_state import Phase
from tests.consensus.crowd import PHASE_MS, Captor, Crowd, Down, make_lab


def test_a_captor_that_leads_keeps_nobody_out() -> None:
    """Its client is the best, so that it proposes first from the first proofs on."""
    for seed in range(2):
        lab = make_lab(4, 4)
        world = Crowd(seed, lab, ready_ms=(0, 100, 400, 700), byzantine=[0], make_byzantine=Captor)
        world.run()
        assert len(world.head.clients) == 4
        proposers = [final.block.proposer for final in world.finals.values()]
        assert proposers.count(0) > 2, "the captor never led"


def test_two_captors_of_seven() -> None:
    world = Crowd(
        1,
        make_lab(7, 7, n_rounds=2),
        ready_ms=(0, 0, 200, 300, 400, 500, 800),
        byzantine=[0, 1],
        make_byzantine=Captor,
    )
    world.run()
    assert len(world.head.unmasked) == 7


def test_sixty_clients_one_after_the_other_are_all_in() -> None:
    lab = make_lab(4, 60, n_rounds=1)
    world = Crowd(0, lab, ready_ms=[16 * i for i in range(60)])
    world.run()
    last = world.head
    assert len(last.clients) == len(last.commits) == len(last.proofs) == 60
    assert len(last.masked) == len(last.unmasked) == 60


@pytest.mark.soak
@pytest.mark.parametrize("n", [4, 7])
def test_captors_over_many_seeds(n: int) -> None:
    for seed in range(60):
        world = Crowd(
            seed,
            make_lab(n, n),
            ready_ms=[(i * 7919 + seed * 104729) % (PHASE_MS - 300) for i in range(n)],
            byzantine=[seed % n] if n == 4 else [seed % n, (seed + 1) % n],
            make_byzantine=Captor,
        )
        world.run()
        assert world.head.phase is Phase.DONE


# -- who is silent ---------------------------------------------------------------------------------


def test_a_leaders_validator_that_is_down_costs_few_turns() -> None:
    """Client 0 is the best and its home is validator 0: it was a failed turn at every height."""
    world = Crowd(
        3, make_lab(4, 4), ready_ms=(0, 100, 200, 400), byzantine=[0], make_byzantine=Down
    )
    world.run()
    assert world.head.leader == world.lab.client(0)
    assert len(world.finals) > 60
    assert sum(final.certificate.round > 0 for final in world.finals.values()) <= 6


def test_a_silent_client_costs_two_of_five_rounds_their_time() -> None:
    """Client 2 registers and says nothing more; in round 1 nobody waits for it."""
    lab = make_lab(4, 4, n_rounds=3)
    world = Crowd(
        5,
        lab,
        ready_ms=(0, 40, 40, 80),
        is_silent=lambda client, place: client == 2 and place[0] is not Phase.REGISTER,
    )
    world.run()
    lasted = {
        place: world.places[Phase.BEACON, place[1]] - begun
        for place, begun in world.places.items()
        if place[0] is Phase.COMMIT
    }
    slow = [place[1] for place, length in sorted(lasted.items()) if length >= PHASE_MS]
    assert slow == [0, 2]
    assert max(lasted[Phase.COMMIT, 1], 0) < PHASE_MS // 2


def test_a_client_that_comes_back_is_in_whoever_leads() -> None:
    """Silent in round 0, slow from then on; the validator that leads wants it out."""
    lab = make_lab(4, 4, n_rounds=4)
    world = Crowd(
        6,
        lab,
        ready_ms=(0, 0, 0, 700),
        is_silent=lambda client, place: client == 3 and place == (Phase.COMMIT, 0),
        byzantine=[0],
        make_byzantine=Captor,
    )
    world.run()
    served = [final.block.aggregate[0] for final in world.finals.values() if final.block.aggregate]
    rounds = [lab.client(3) in {e.client_key for e in aggregate.entries} for aggregate in served]
    assert rounds == [False, False, True, True]
