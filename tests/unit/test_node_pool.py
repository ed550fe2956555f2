"""Transactions that wait: who may, how many, and when they go."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consensus.chain import ChainState, Phase, apply, start
from consensus.messages import Register, Transaction
from consensus.pool import PER_CLIENT, Pool
from tests.support.learning import Lab, ed25519, public

LAB = Lab()


def reach(phase: Phase, learning_round: int = 0) -> ChainState:
    return LAB.reach(phase, learning_round=learning_round)


def make(phase: Phase, i: int = 0, learning_round: int = 0) -> Transaction:
    match phase:
        case Phase.REGISTER:
            return LAB.register(i)
        case Phase.COMMIT:
            return LAB.commit(i, learning_round)
        case Phase.PROVE:
            return LAB.prove(i, reach(Phase.PROVE, learning_round))
        case _:
            return LAB.update(i, learning_round)


KINDS = (Phase.REGISTER, Phase.COMMIT, Phase.PROVE, Phase.UPDATE)


@pytest.mark.parametrize("phase", KINDS)
def test_those_of_the_phase_are_current(phase: Phase) -> None:
    state, pool = reach(phase), Pool()
    txs = [make(phase, i) for i in (2, 0, 1)]
    assert [pool.add(state, tx) for tx in txs] == [None] * 3
    assert list(pool.list_current(state)) == txs, "first come, first"
    assert list(pool.list_all()) == txs


@pytest.mark.parametrize("phase", [Phase.COMMIT, Phase.PROVE, Phase.UPDATE])
def test_early_ones_wait(phase: Phase) -> None:
    """Messages overtake each other; a registered client's keep until their time."""
    state, pool = reach(Phase.COMMIT), Pool()
    later, next_round = make(phase), LAB.commit(0, 1)
    assert pool.add(state, later) is None
    assert pool.add(state, next_round) is None
    assert (later in pool.list_current(state)) == (phase is Phase.COMMIT)
    at_its_time = reach(phase)
    pool.prune(at_its_time)
    assert list(pool.list_current(at_its_time)) == [later]
    assert list(pool.list_current(reach(Phase.COMMIT, 1))) == [next_round]


@pytest.mark.parametrize("phase", KINDS)
def test_late_ones_do_not_enter(phase: Phase) -> None:
    for learning_round, after in ((0, Phase.ELECT), (1, Phase.COMMIT)):
        state, pool = reach(after, learning_round), Pool()
        assert pool.add(state, make(phase)) == "its time is over"
        assert len(pool) == 0


@pytest.mark.parametrize("phase", KINDS)
def test_those_in_a_final_block_leave(phase: Phase) -> None:
    state, pool = reach(phase), Pool()
    mine, other = make(phase, 0), make(phase, 1)
    pool.add(state, mine)
    pool.add(state, other)
    after = apply(state, LAB.block(state, [mine]))
    pool.prune(after)
    assert list(pool.list_all()) == [other]
    assert pool.add(after, mine) == "its time is over"


def test_one_transaction_waits_once() -> None:
    state, pool = reach(Phase.COMMIT), Pool()
    assert pool.add(state, LAB.commit(0)) is None
    assert pool.add(state, LAB.commit(0)) is None
    assert len(pool) == 1


def test_a_client_does_not_crowd_out_others() -> None:
    state, pool = reach(Phase.COMMIT), Pool()
    for t in range(PER_CLIENT):
        assert pool.add(state, LAB.commit(0, t)) is None
    assert pool.add(state, LAB.commit(0, PER_CLIENT)) == "its client has too many that wait"
    assert pool.add(state, LAB.commit(1)) is None
    assert pool.add(state, LAB.commit(0, 0)) is None, "it waits already"
    pool.discard([LAB.commit(0, 1), LAB.commit(2)])
    assert pool.add(state, LAB.commit(0, PER_CLIENT)) is None
    assert len(pool) == PER_CLIENT + 1


def test_nobody_takes_anothers_room() -> None:
    """Eight forged ones of a client leave it all its room."""
    state, pool = reach(Phase.COMMIT), Pool()
    for t in range(PER_CLIENT):
        forged = LAB.sign(LAB.commit(0, t), LAB.clients[1])
        assert pool.add(state, forged) == "the signature is not its client's"
        changed = replace(LAB.commit(0, t), d_w=bytes(32))
        assert pool.add(state, changed) == "the signature is not its client's"
    assert len(pool) == 0


def test_only_the_registered_and_the_admitted_wait() -> None:
    stranger = ed25519(500)
    commit = LAB.sign(replace(LAB.commit(0), client_key=public(stranger)), stranger)
    assert Pool().add(reach(Phase.COMMIT), commit) == "its client is not registered"
    register = replace(LAB.register(0), client_key=public(stranger))
    signed = LAB.sign(register, stranger)
    assert isinstance(signed, Register)
    state = start(LAB.genesis)
    assert Pool().add(state, signed) == "the permit is not the admission key's"
    assert Pool().add(state, replace(signed, permit=bytes(64))) is not None
    assert Pool().add(state, LAB.register(0)) is None
