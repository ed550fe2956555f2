"""Whoever sends in time is in: with clients that are slow, and with leaders that want them out."""

from __future__ import annotations

import pytest

from consensus.chain import Phase
from tests.consensus.crowd import PHASE_MS, Captor, Crowd, make_lab


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
    assert len(world.head.updates) == 7


def test_sixty_clients_one_after_the_other_are_all_in() -> None:
    lab = make_lab(4, 60, n_rounds=1)
    world = Crowd(0, lab, ready_ms=[16 * i for i in range(60)])
    world.run()
    last = world.head
    assert len(last.clients) == len(last.commits) == len(last.proofs) == len(last.updates) == 60


@pytest.mark.soak
@pytest.mark.parametrize("n", [4, 7])
def test_captors_over_many_seeds(n: int) -> None:
    for seed in range(200):
        world = Crowd(
            seed,
            make_lab(n, n),
            ready_ms=[(i * 7919 + seed * 104729) % (PHASE_MS - 300) for i in range(n)],
            byzantine=[seed % n] if n == 4 else [seed % n, (seed + 1) % n],
            make_byzantine=Captor,
        )
        world.run()
        assert world.head.phase is Phase.DONE
