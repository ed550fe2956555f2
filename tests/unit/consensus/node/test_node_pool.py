"""Transactions that wait: who may, how many, and when they go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from consensus.learning.chain import apply, start
from consensus.learning.chain_state import ChainState, Phase
from consensus.learning.steps import STEPS
from consensus.node import pool as pool_module
from consensus.node.pool import PER_CLIENT, Pool
from consensus.wire.gossip_messages import MAX_HELD
from consensus.wire.transactions import Commit, Register, Transaction
from tests.support.learning import Lab, ed25519, point, public

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
            return LAB.contribute(i, phase, learning_round)


def list_current(pool: Pool, state: ChainState) -> list[Transaction]:
    return list(pool.get_current(state).values())


KINDS = (Phase.REGISTER, Phase.COMMIT, Phase.PROVE, *STEPS)


@pytest.mark.parametrize("phase", KINDS)
def test_those_of_the_phase_are_current(phase: Phase) -> None:
    state, pool = reach(phase), Pool()
    txs = [make(phase, i) for i in (2, 0, 1)]
    assert [pool.add(state, tx) for tx in txs] == [None] * 3
    assert list_current(pool, state) == txs, "first come, first"
    assert pool.list_all() == [(tx.digest, tx) for tx in txs]


@pytest.mark.parametrize("phase", KINDS[1:])
def test_early_ones_wait(phase: Phase) -> None:
    """Messages overtake each other; a registered client's keep until their time."""
    state, pool = reach(Phase.COMMIT), Pool()
    later, next_round = make(phase), LAB.commit(0, 1)
    assert pool.add(state, later) is None
    assert pool.add(state, next_round) is None
    assert (later in list_current(pool, state)) == (phase is Phase.COMMIT)
    at_its_time = reach(phase)
    pool.prune(at_its_time)
    assert list_current(pool, at_its_time) == [later]
    assert list_current(pool, reach(Phase.COMMIT, 1)) == [next_round]


@pytest.mark.parametrize("phase", [Phase.ATTEST, Phase.REVEAL])
def test_what_a_dispute_asks_for_waits_while_it_is_open_whether_there_is_one(phase: Phase) -> None:
    """A client may have seen the block that asks before this node has."""
    state, pool = reach(Phase.ELECT), Pool()
    assert pool.add(state, make(phase)) is None
    pool.prune(reach(phase))
    assert list_current(pool, reach(phase)) == [make(phase)]
    over = LAB.extend(reach(phase), LAB.list_due(reach(phase)))
    assert (over.phase, over.closed) == (Phase.ELECT, phase)
    assert pool.add(over, make(phase, 1)) == "its time is over"


@pytest.mark.parametrize("phase", KINDS)
def test_late_ones_do_not_enter(phase: Phase) -> None:
    for learning_round, after in ((0, Phase.ELECT), (1, Phase.COMMIT)):
        if after is Phase.ELECT and phase in (Phase.ATTEST, Phase.REVEAL):
            continue
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
    assert pool.list_all() == [(other.digest, other)]
    assert pool.add(after, mine) == "its time is over"


def test_one_transaction_waits_once() -> None:
    state, pool = reach(Phase.COMMIT), Pool()
    assert pool.add(state, LAB.commit(0)) is None
    assert pool.add(state, LAB.commit(0)) is None
    assert len(pool) == 1


def make_commits(n: int) -> list[Commit]:
    """Different ones of client 0, all of this round."""
    return [LAB.commit(0, d_w=bytes(31) + bytes((t,))) for t in range(n)]


def test_a_client_does_not_crowd_out_others() -> None:
    state, pool = reach(Phase.COMMIT), Pool()
    *first, last = make_commits(PER_CLIENT + 1)
    for tx in first:
        assert pool.add(state, tx) is None
    assert pool.add(state, last) == "its client has too many that wait"
    assert pool.add(state, LAB.commit(1)) is None
    assert pool.add(state, first[0]) is None, "it waits already"
    pool.discard(first[1])
    pool.discard(LAB.commit(2))
    assert pool.add(state, last) is None
    assert len(pool) == PER_CLIENT + 1


def test_nobody_takes_anothers_room() -> None:
    """Eight forged ones of a client leave it all its room."""
    state, pool = reach(Phase.COMMIT), Pool()
    for tx in make_commits(PER_CLIENT):
        forged = LAB.sign(tx, LAB.clients[1])
        assert pool.add(state, forged) == "the signature is not its client's"
        changed = replace(tx, d_w=point(9))
        assert pool.add(state, changed) == "the signature is not its client's"
    assert len(pool) == 0


# -- what cannot be due soon -----------------------------------------------------------------------


@pytest.mark.parametrize("phase", KINDS)
def test_what_cannot_be_due_soon_does_not_wait(phase: Phase) -> None:
    """Kept for a round that never comes, it would stay in every pool for ever."""
    state, pool = reach(phase), Pool()
    for learning_round in (2, 3, 1 << 62):
        assert pool.add(state, LAB.commit(0, learning_round)) is not None
    for kind in KINDS[2:]:
        far = make_of_round(kind, 1)
        assert pool.add(state, far) is not None, "a commit and a beacon come before it"
    last = reach(phase if phase is not Phase.REGISTER else Phase.COMMIT, 1)
    assert pool.add(last, LAB.commit(0, 2)) == "its time is far off", "no such round comes"
    assert len(pool) == 0


def make_of_round(phase: Phase, learning_round: int) -> Transaction:
    """Signed nonsense of a client for a round to come."""
    if phase in STEPS:
        return LAB.contribute(0, phase, learning_round)
    return LAB.sign(
        replace(LAB.prove(0, reach(Phase.PROVE)), learning_round=learning_round), LAB.clients[0]
    )


def test_nothing_waits_when_the_chain_is_done() -> None:
    last, pool = reach(Phase.ELECT, 1), Pool()
    assert pool.add(reach(Phase.COMMIT, 1), LAB.commit(0, 1)) is None
    assert pool.add(reach(Phase.COMMIT, 1), LAB.contribute(1, Phase.MASK, 1)) is None
    done = LAB.extend(last)
    assert done.phase is Phase.DONE
    pool.prune(done)
    assert len(pool) == 0
    assert pool.add(done, LAB.commit(0, 1)) == "its time is over"


def test_who_waits_to_be_registered_may_send_what_comes_next() -> None:
    """Messages overtake blocks; who is not registered in the end leaves with all of it."""
    state, pool = start(LAB.genesis), Pool()
    assert pool.add(state, LAB.commit(0)) == "its client is not registered"
    for i in (0, 1):
        assert pool.add(state, LAB.register(i)) is None
        assert pool.add(state, LAB.commit(i)) is None
    after = state
    while after.phase is Phase.REGISTER:
        after = apply(after, LAB.block(after, [LAB.register(0)] if not after.clients else []))
    pool.prune(after)
    assert pool.list_all() == [(LAB.commit(0).digest, LAB.commit(0))]


class Counted(dict[bytes, Transaction]):
    """Counts how often all that waits is gone through."""

    n_walks = 0

    def __iter__(self) -> Iterator[bytes]:
        Counted.n_walks += 1
        return super().__iter__()

    def values(self) -> Any:
        Counted.n_walks += 1
        return super().values()

    def items(self) -> Any:
        Counted.n_walks += 1
        return super().items()


def test_to_add_one_looks_at_no_other() -> None:
    state, pool = reach(Phase.COMMIT), Pool()
    pool._places[(Phase.COMMIT, 0)] = Counted()  # type: ignore[assignment]
    for i in range(3):
        assert pool.add(state, LAB.commit(i)) is None
    pool.discard(LAB.commit(1))
    assert Counted.n_walks == 0
    assert len(pool) == 2


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


def test_no_more_wait_than_a_task_can_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever gives permits may give many; what waits is held and told by every node."""
    assert pool_module.MAX_CLIENTS * PER_CLIENT == MAX_HELD
    monkeypatch.setattr(pool_module, "MAX_CLIENTS", 3)
    lab = Lab(n_clients=5)
    state, pool = start(lab.genesis), Pool()
    state = lab.extend(state, [lab.register(0)])
    assert [pool.add(state, lab.register(i)) for i in (1, 2)] == [None] * 2
    assert pool.add(state, lab.register(3)) == "too many wait to be registered"
    assert pool.add(state, lab.commit(3)) == "its client is not registered"
    assert pool.add(state, lab.commit(1)) is None
    assert pool.add(state, lab.commit(0)) is None, "who is registered has its place"
    assert pool.add(state, lab.commit(2)) is None
    pool.discard(lab.register(2))
    assert len(pool) == 3, "who is not let in waits for nothing"
    assert pool.add(state, lab.register(3)) is None
