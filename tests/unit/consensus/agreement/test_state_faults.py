"""The rules of `consensus.agreement.state` against what comes early, late, twice or from liars.

Receipts and restarts as well, with every message delivered by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from random import Random
from typing import Any

import pytest

from consensus.agreement import memory, receipts, state
from consensus.agreement.events import (
    Accuse,
    BlockBuilt,
    BlockChecked,
    Config,
    Event,
    Fetch,
    FinalReceived,
    Held,
    Received,
    Relay,
    Send,
    Started,
    TimeoutFired,
)
from consensus.agreement.receipts import QUOTA, ReceiptBook, is_full
from consensus.agreement.votes import Tally
from consensus.learning.chain_state import Phase
from consensus.learning.steps import STEPS
from consensus.wire.codec import MAX_TRANSACTIONS
from consensus.wire.messages import MAX_TRANSACTION_BYTES, NIL, Proposal, Receipt, Step, Vote
from prover.errors import FieldInvalid
from tests.consensus.scenes import list_log, prove_stage
from tests.consensus.simulator import count_memory
from tests.consensus.stage import (
    PRECOMMIT,
    PREVOTE,
    Stage,
    get_vote,
    lock_on_first,
    make_final,
    open_stage,
    skip_to,
)
from tests.consensus.toy_chain import ToyChain, ToyRules, make_block, make_client, make_proof

PROPOSE = Step.PROPOSE


# -- what comes early, late, twice, or from liars --------------------------------------------------


def test_a_new_block_is_its_proposers_own() -> None:
    """Only one that had its polka may be another's."""
    stage = open_stage(3)
    own, foreign = stage.block(1), stage.block(2)
    assert stage.propose(1, 0, own).block.proposer == 1
    with pytest.raises(FieldInvalid, match="a new block is not its proposer's"):
        stage.propose(1, 0, foreign)
    later = stage.propose(1, 4, foreign, valid_round=0)
    assert Proposal.decode(later.encode()) is not None
    renewed = bytearray(later.encode())
    at = 2 + 4 + 8 + 4 + 8 + 4  # valid_round
    assert renewed[at : at + 8] == (1).to_bytes(8, "little")
    renewed[at] = 0
    assert Proposal.decode(bytes(renewed)) is None


def test_messages_of_the_next_height_wait() -> None:
    stage = open_stage(3)
    block = stage.block()
    after = ToyRules().apply(stage.chain, block)
    following = make_block(after, 2, ())
    assert stage.tell(stage.propose(2, 0, following), 3) == []
    stage.feed(3, FinalReceived(make_final(stage, block)))
    assert stage.sent[3, 0, PREVOTE].height == 2


@pytest.mark.parametrize(("height", "number"), [(3, 0), (2, 9)])
def test_whoever_is_behind_asks(height: int, number: int) -> None:
    stage = open_stage(3)
    assert stage.tell(stage.vote(0, PREVOTE, number, height=height), 3) == [Fetch(1)]


def test_whoever_hears_the_next_height_twice_asks() -> None:
    stage = open_stage(3)
    vote = stage.vote(0, PREVOTE, 0, height=2)
    assert stage.tell(vote, 3) == []
    assert stage.tell(vote, 3) == [Fetch(1)]


def test_final_blocks_of_other_places_do_nothing() -> None:
    stage = open_stage(3)
    block = stage.block()
    for elsewhere in (replace(block, parent=bytes(32)), replace(block, height=2)):
        assert stage.feed(3, FinalReceived(make_final(stage, elsewhere))) == []
    final = make_final(stage, block)
    stage.feed(3, FinalReceived(final))
    assert stage.feed(3, FinalReceived(final)) == []
    assert stage.states[3].height == 2


def test_contradiction_is_reported_once_and_in_order() -> None:
    stage = open_stage(3)
    effects = stage.tell(stage.vote(0, PREVOTE, 0, b"\x02" * 32), 3)
    effects += stage.tell(stage.vote(0, PREVOTE, 0, b"\x01" * 32), 3)
    effects += stage.tell(stage.vote(0, PREVOTE, 0), 3)
    accusations = [e for e in effects if isinstance(e, Accuse)]
    assert len(accusations) == 1
    evidence = accusations[0].evidence
    assert (evidence.first.block_hash[0], evidence.second.block_hash[0]) == (1, 2)


def test_a_second_vote_counts_only_with_support() -> None:
    stage = open_stage(3)
    a, b = b"\x01" * 32, b"\x02" * 32
    tally = Tally().add(stage.vote(0, PREVOTE, 0, a), support=2)
    assert tally.add(stage.vote(0, PREVOTE, 0, b), support=2) is tally
    for i in (1, 2):
        tally = tally.add(stage.vote(i, PREVOTE, 0, b), support=2)
    tally = tally.add(stage.vote(0, PREVOTE, 0, b), support=2)
    assert (tally.count(a), tally.count(b), tally.n_voters) == (1, 3, 3)
    assert tally.add(stage.vote(0, PREVOTE, 0, b), support=2) is tally


def test_a_second_proposal_counts_only_with_support() -> None:
    stage = open_stage(3)
    first, second = stage.block(), stage.block(variant=2)
    stage.tell(stage.propose(1, 0, first), 3)
    stage.tell(stage.propose(1, 0, second), 3)
    assert second.hash not in stage.states[3].candidates
    for i in (0, 1):
        stage.tell(stage.vote(i, PREVOTE, 0, second.hash), 3)
    stage.tell(stage.propose(1, 0, second), 3)
    assert second.hash in stage.states[3].candidates
    assert get_vote(stage, 3, 0, PREVOTE) == first.hash
    stage.tell(stage.vote(2, PREVOTE, 0, second.hash), 3)
    assert get_vote(stage, 3, 0, PRECOMMIT) == second.hash


def test_memory_is_bounded(rng: Random) -> None:
    """One liar sends whatever it can sign; twice as many messages change no size."""
    stage = open_stage(3)
    sizes = []
    for _ in range(2):
        for _ in range(QUOTA):
            number = rng.choice((rng.randrange(8), rng.randrange(1 << 40)))
            block_hash = rng.randbytes(32)
            height = rng.choice((1, 1, 2, 2, 3))
            stage.tell(
                stage.vote(0, rng.choice((PREVOTE, PRECOMMIT)), number, block_hash, height), 3
            )
            receipt = Receipt(learning_round=0, transaction_digest=block_hash, validator=0)
            stage.tell(stage.signer.sign(receipt), 3)
        for number in range(100):
            stage.tell(stage.propose(0, number, stage.block(0, number)), 3)
        s = stage.states[3]
        sizes.append((count_memory(s), len(s.rounds), len(s.ahead), s.book.n_signed[0]))
    assert sizes[0] == sizes[1]
    assert sizes[0][0] <= 30
    assert s.book.n_signed[0] == QUOTA


def test_rounds_gone_by_are_forgotten() -> None:
    stage = open_stage(3)
    for number in range(200):
        skip_to(stage, number, 3)
        proposer = (number + 1) % 4
        stage.tell(stage.propose(proposer, number, stage.block(proposer, number)), 3)
    assert len(stage.states[3].rounds) <= 10
    assert len(stage.states[3].candidates) <= 10


def test_an_observer_follows_and_says_nothing() -> None:
    stage = Stage(correct=(1, 2))
    config = Config(n_validators=4, validator=None, rules=ToyRules())
    stage.states[2] = memory.start(config, stage.chain, None)
    stage.start()
    stage.tell(stage.sent[1, 0, PROPOSE], 2)
    for i in (0, 1, 3):
        stage.tell(stage.vote(i, PREVOTE, 0, stage.sent[1, 0, PROPOSE].block.hash), 2)
        stage.tell(stage.vote(i, PRECOMMIT, 0, stage.sent[1, 0, PROPOSE].block.hash), 2)
    assert len(stage.finals[2]) == 1
    assert [e for e in stage.effects[2] if isinstance(e, Send)] == []


def test_step_is_pure_and_total(rng: Random) -> None:
    """Events in any order: no exception, no change to the state before, the same result twice."""
    stage = Stage(correct=(3,))
    blocks = [stage.block(i) for i in range(3)]
    s = stage.states[3]
    for _ in range(3_000):
        block = rng.choice(blocks)
        event = draw_event(stage, block, rng)
        kept = replace(s)
        first, second = state.step(s, event, 5), state.step(s, event, 5)
        assert first == second
        assert s == kept
        s = first[0]
    assert s.round > 0


def draw_event(stage: Stage, block: Any, rng: Random) -> Event:
    i, number, height = rng.randrange(4), rng.randrange(4), rng.randrange(3)
    block_hash = rng.choice((NIL, block.hash))
    choices: list[Callable[[], Event]] = [
        lambda: Received(stage.vote(i, PREVOTE, number, block_hash, height)),
        lambda: Received(stage.vote(i, PRECOMMIT, number, NIL, height)),
        lambda: Received(stage.propose(block.proposer, number, block, number - 1)),
        lambda: TimeoutFired(Step(rng.randrange(3)), height, number),
        lambda: BlockBuilt(height, number, block),
        lambda: BlockChecked(height, block.hash, rng.choice((None, "bad"))),
        lambda: Held(make_proof(make_client(i), 0, 1)),
        Started,
    ]
    return rng.choice(choices)()


# -- receipts --------------------------------------------------------------------------------------


def give_receipts(stage: Stage, proof: Any, *signers: int) -> None:
    for i in signers:
        receipt = Receipt(learning_round=0, transaction_digest=proof.digest, validator=i)
        stage.tell(stage.signer.sign(receipt), 3)


PROOF = make_proof(make_client(0), 0, 7)


def test_a_valid_proof_earns_one_receipt() -> None:
    stage = prove_stage()
    sent = [e for e in stage.feed(3, Held(PROOF)) if isinstance(e, Send)]
    assert [type(e.message) for e in sent] == [Receipt]
    assert stage.feed(3, Held(PROOF)) == []
    assert stage.feed(3, Held(make_proof(make_client(0), 0, 8))) == []
    assert stage.feed(3, Held(make_proof(make_client(1), 1, 8))) == []
    own = [m for m in state.list_repeats(stage.states[3]) if isinstance(m, Receipt)]
    assert [m.transaction_digest for m in own] == [PROOF.digest]
    block = make_block(stage.chain, 2, (PROOF,))
    stage.tell(stage.propose(2, 0, block), 3)
    for i in (0, 1, 2):
        stage.tell(stage.vote(i, PRECOMMIT, 0, block.hash, height=2), 3)
    assert stage.finals[3] == [block.hash]
    assert [m for m in state.list_repeats(stage.states[3]) if isinstance(m, Receipt)] == []


@pytest.mark.parametrize(
    ("signers", "holds", "included", "vote_nil"),
    [
        ((0, 1), True, False, True),
        ((0, 1), True, True, False),
        ((0,), True, False, False),  # with its own no quorum
        ((0, 1, 2), False, False, False),  # receipts for what it has not seen
    ],
)
def test_censorship(signers: tuple[int, ...], holds: bool, included: bool, vote_nil: bool) -> None:
    stage = prove_stage()
    if holds:
        stage.feed(3, Held(PROOF))
    give_receipts(stage, PROOF, *signers)
    proposer = stage.states[3].get_proposer(2)
    block = make_block(stage.chain, proposer, (PROOF,) if included else ())
    for i in (0, 1):
        stage.tell(stage.vote(i, PREVOTE, 2, height=2), 3)
    stage.tell(stage.propose(proposer, 2, block), 3)
    assert stage.sent[3, 2, PREVOTE].block_hash == (NIL if vote_nil else block.hash)


def test_receipts_in_the_round_itself_come_too_late() -> None:
    stage = prove_stage()
    stage.feed(3, Held(PROOF))
    give_receipts(stage, PROOF, 0, 1)
    block = make_block(stage.chain, 2, ())
    stage.tell(stage.propose(stage.states[3].get_proposer(0), 0, block), 3)
    assert stage.sent[3, 0, PREVOTE].block_hash == block.hash


def test_censorship_yields_to_a_polka() -> None:
    """Or a node locked on that block and those that refuse it would wait for each other."""
    stage = prove_stage()
    stage.feed(3, Held(PROOF))
    give_receipts(stage, PROOF, 0, 1)
    block = make_block(stage.chain, 2, ())
    for i in (0, 1, 2):
        stage.tell(stage.vote(i, PREVOTE, 0, block.hash, height=2), 3)
    for i in (0, 1):
        stage.tell(stage.vote(i, PREVOTE, 2, height=2), 3)
    proposer = stage.states[3].get_proposer(2)
    stage.tell(stage.propose(proposer, 2, block, valid_round=0), 3)
    assert stage.sent[3, 2, PREVOTE].block_hash == block.hash


def test_a_full_block_leaves_out_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has no room is no censoring; it enters the next block."""
    stage = prove_stage()
    stage.feed(3, Held(PROOF))
    give_receipts(stage, PROOF, 0, 1)
    for i in (0, 1):
        stage.tell(stage.vote(i, PREVOTE, 2, height=2), 3)
    proposer = stage.states[3].get_proposer(2)
    other = make_proof(make_client(1), 0, 7)
    block = make_block(stage.chain, proposer, (other,))
    monkeypatch.setattr(ToyRules, "is_full", lambda rules, chain, block: is_full(block))
    monkeypatch.setattr(receipts, "MAX_TRANSACTIONS", 1)
    stage.tell(stage.propose(proposer, 2, block), 3)
    assert stage.sent[3, 2, PREVOTE].block_hash == block.hash


def test_a_block_is_full_by_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    block = make_block(ToyChain(4), 0, ())
    assert not is_full(block)
    large = replace(block, transactions=(PROOF, PROOF))
    room = 2 * (len(PROOF.encode()) + 8) + MAX_TRANSACTION_BYTES
    monkeypatch.setattr(receipts, "ROOM_BYTES", room)
    assert not is_full(large)
    monkeypatch.setattr(receipts, "ROOM_BYTES", room - 1)
    assert is_full(large)


def test_receipts_of_who_is_a_phase_ahead_count_when_it_begins() -> None:
    """They are of the same learning round; what was held is of the phase before."""
    book = ReceiptBook(learning_round=0).hold(b"client", b"old")
    receipt = Receipt(learning_round=0, transaction_digest=bytes(32), validator=0)
    after = book.record(receipt).enter_phase()
    assert (after.held, list(after.receipts)) == ({}, [bytes(32)])
    assert after.hold(b"client", bytes(32)).list_due(1) == (b"client",)


def test_receipts_of_another_learning_round_are_dropped() -> None:
    book = ReceiptBook(learning_round=4)
    receipt = Receipt(learning_round=3, transaction_digest=bytes(32), validator=0)
    assert book.record(receipt) is book


def test_receipts_of_every_client_in_every_phase_of_a_round_count() -> None:
    """Also in the last ones, where silence is held against a client."""
    clients = [b"%d" % i for i in range(MAX_TRANSACTIONS)]
    book = ReceiptBook(learning_round=0)
    for phase in (Phase.REGISTER, Phase.COMMIT, Phase.PROVE, *STEPS):
        book = book.enter_phase()
        for client in clients:
            digest = sha256(phase.encode() + client).digest()
            receipt = Receipt(learning_round=0, transaction_digest=digest, validator=0)
            book = book.record(receipt)
    last = {c: sha256(Phase.REVEAL.encode() + c).digest() for c in clients}
    assert set(replace(book, held=last).list_due(1)) == set(clients)


# -- restart ---------------------------------------------------------------------------------------


def test_a_restarted_node_keeps_its_lock_and_its_block() -> None:
    stage = lock_on_first(3, 1)
    log = list_log(stage, 3)
    before = stage.states[3]
    after = memory.restore(stage.config(3), stage.chain, None, log)
    for name in ("height", "round", "step", "locked_round", "locked_hash", "valid_hash"):
        assert getattr(after, name) == getattr(before, name), name
    stage.states[3] = after
    effects = stage.feed(3, Started())
    assert [e for e in effects if isinstance(e, Send)] == []
    skip_to(stage, 2, 3)  # its turn: it proposes what it is locked on
    assert stage.sent[3, 2, PROPOSE].block.hash == before.locked_hash
    assert stage.sent[3, 2, PROPOSE].valid_round == 1


def test_a_restarted_node_contradicts_none_of_its_votes() -> None:
    stage = open_stage(3)
    stage.time_out(PROPOSE, 0, 3)  # prevoted nil
    log = list_log(stage, 3)
    stage.states[3] = memory.restore(stage.config(3), stage.chain, None, log)
    stage.sent.clear()
    stage.feed(3, Started())
    stage.tell(stage.propose(1, 0, stage.block()), 3)
    assert stage.sent == {}


def test_a_restarted_proposer_does_not_propose_again() -> None:
    stage = open_stage(1)
    stage.checks = False
    log = [stage.sent[1, 0, PROPOSE]]
    stage.states[1] = memory.restore(stage.config(1), stage.chain, None, log)
    stage.sent.clear()
    effects = stage.feed(1, Started())
    assert stage.sent == {}
    assert Relay((log[0],)) in effects


@pytest.mark.parametrize("n_kept", range(5))
def test_a_torn_log_restores_to_less(n_kept: int) -> None:
    """Grounds without the vote that they were for bind nobody: that vote never left."""
    stage = lock_on_first(3, 1)
    log = list_log(stage, 3)
    at = next(i for i, m in enumerate(log) if isinstance(m, Vote) and m.step == PRECOMMIT)
    after = memory.restore(stage.config(3), stage.chain, None, log[: at - 4 + n_kept])
    assert (after.locked_round, after.step) == (-1, PREVOTE)


def test_the_log_of_another_height_is_skipped() -> None:
    stage = lock_on_first(3, 1)
    chain = ToyRules().apply(stage.chain, stage.block())
    after = memory.restore(stage.config(3), chain, None, list_log(stage, 3))
    assert (after.height, after.round, after.rounds) == (2, 0, {})
