"""What a node remembers, and what it asks of proposers.

Every message is delivered by hand. At height 1 of the toy chain the proposers are 1, 2, 3, 0 in
turn, at height 2 they are 2, 3, 0, 1.
"""

from __future__ import annotations

import pytest

from consensus.agreement import memory, state
from consensus.agreement.events import (
    BlockChecked,
    Check,
    Config,
    Fetch,
    FinalReceived,
    Held,
    Send,
    Started,
)
from consensus.agreement.receipts import ReceiptBook
from consensus.wire.messages import NIL, QuorumCertificate, Receipt, Vote
from consensus.wire.transactions import Proof, Refusal
from tests.consensus.scenes import (
    PROOF,
    hold,
    meet_in,
    prove_stage,
    show_polka,
    stage_two_polkas,
)
from tests.consensus.stage import (
    PRECOMMIT,
    PREVOTE,
    TIME_MS,
    make_final,
    open_stage,
)
from tests.consensus.toy_chain import (
    ToyRules,
    make_block,
    make_client,
    make_proof,
)

# -- what is remembered ----------------------------------------------------------------------------


def test_votes_of_the_locked_round_still_decide() -> None:
    """However far the rounds have gone on, and whichever polka came later."""
    stage, a, b = stage_two_polkas()
    meet_in(stage, 20, 3)
    assert set(stage.states[3].rounds) >= {0, 1}
    assert {a.hash, b.hash} <= set(stage.states[3].candidates)
    stage.tell(stage.vote(0, PRECOMMIT, 0, a.hash), 3)
    assert stage.finals[3] == []
    stage.tell(stage.vote(1, PRECOMMIT, 0, a.hash), 3)  # with its own that is a quorum
    assert stage.finals[3] == [a.hash]


def test_a_polka_of_a_block_that_is_not_here_is_none() -> None:
    stage, block = open_stage(3), b"\x05" * 32
    show_polka(stage, 0, block, 3)
    assert stage.states[3].get_round(0).prevotes.count(block) == 3
    assert not memory.has_polka(stage.states[3], 0, block)


@pytest.mark.parametrize("is_here", [False, True])
def test_line_42_remembers_no_polka_of_a_block_that_is_not_valid_here(is_here: bool) -> None:
    stage = open_stage(3)
    block = stage.block()
    stage.faults[block.hash] = "bad proof"
    if is_here:
        stage.tell(stage.propose(1, 0, block), 3)
    meet_in(stage, 1, 3)
    show_polka(stage, 0, block.hash, 3)
    assert stage.states[3].get_round(0).prevotes.count(block.hash) == 3
    assert (stage.states[3].valid_round, stage.states[3].valid_hash) == (-1, NIL)


def test_votes_of_the_round_of_the_latest_polka_still_decide() -> None:
    stage, _, b = stage_two_polkas()
    meet_in(stage, 20, 3)
    for i in (0, 1, 2):
        stage.tell(stage.vote(i, PRECOMMIT, 1, b.hash), 3)
    assert stage.finals[3] == [b.hash]


def test_a_block_that_others_named_stays() -> None:
    """A second block of its proposer, which f + 1 prevoted: it may still become final."""
    stage = open_stage(3)
    first, second = stage.block(), stage.block(variant=2)
    stage.tell(stage.propose(1, 0, first), 3)
    for i in (0, 1):
        stage.tell(stage.vote(i, PREVOTE, 0, second.hash), 3)
    stage.tell(stage.propose(1, 0, second), 3)
    meet_in(stage, 3, 3)
    assert stage.states[3].is_valid(second.hash)
    for i in (0, 1, 2):
        stage.tell(stage.vote(i, PRECOMMIT, 0, second.hash), 3)
    assert stage.finals[3] == [second.hash]


@pytest.mark.parametrize(("number", "kept"), [(5, False), (6, True), (14, True), (15, False)])
def test_rounds_near_the_own_are_kept(number: int, kept: bool) -> None:
    stage = open_stage(3)
    meet_in(stage, 10, 3)
    stage.tell(stage.vote(0, PREVOTE, number), 3)
    assert stage.states[3].get_round(number).prevotes.count(NIL) == kept
    proposer = stage.states[3].get_proposer(number)
    block = stage.block(proposer)
    stage.tell(stage.propose(proposer, number, block), 3)
    assert (block.hash in stage.states[3].candidates) == kept


def test_the_first_proposal_of_a_round_stays() -> None:
    stage = open_stage(3)
    first, second = stage.block(), stage.block(variant=2)
    for block in (first, second):
        stage.tell(stage.propose(1, 4, block), 3)
    known = stage.states[3].get_round(4)
    assert known.proposal is not None
    assert (known.proposal.block, known.proposal_hash) == (first, first.hash)


def test_a_block_is_checked_once_however_often_it_is_proposed() -> None:
    stage = open_stage(3)
    block = stage.block()
    for number in (0, 0, 4):
        stage.tell(stage.propose(1, number, block), 3)
    assert stage.effects[3].count(Check(block, block.hash)) == 1
    assert stage.states[3].candidates[block.hash].round == 0


def test_a_block_that_does_not_count_is_not_checked() -> None:
    """A check costs pairings: whoever may not propose must not choose what is checked."""
    stage = open_stage(3)
    stage.tell(stage.propose(1, 0, stage.block()), 3)
    for proposal in (
        stage.propose(1, 0, stage.block(variant=2)),  # a second one
        stage.propose(2, 0, stage.block(proposer=2)),  # not its turn
        stage.propose(1, 8, stage.block(variant=3)),  # too far on
    ):
        assert stage.tell(proposal, 3) == []


def test_verdicts_are_forgotten_with_their_blocks() -> None:
    stage = open_stage(3)
    for number in range(0, 60, 4):  # the turns of validator 1
        meet_in(stage, number, 3)
        stage.tell(stage.propose(1, number, stage.block(variant=1 + number)), 3)
    s = stage.states[3]
    assert set(s.faults) == set(s.candidates)
    assert len(s.candidates) <= 3


def test_a_verdict_is_for_a_block_that_is_here() -> None:
    stage = open_stage(3)
    stage.checks = False
    block = stage.block()
    stage.tell(stage.propose(1, 0, block), 3)
    before = stage.states[3]
    for event in (BlockChecked(1, b"\x01" * 32, None), BlockChecked(2, block.hash, None)):
        assert stage.feed(3, event) == []
    assert stage.states[3] == before


def test_line_55_takes_the_highest_round_that_f_plus_1_have_reached() -> None:
    stage = open_stage(3)
    stage.tell(stage.vote(1, PREVOTE, 0), 3)  # its own round is not ahead
    assert stage.states[3].ahead == {}
    stage.tell(stage.vote(0, PREVOTE, 7), 3)
    stage.tell(stage.vote(0, PREVOTE, 2), 3)  # no step back
    stage.tell(stage.propose(2, 5, stage.block(2)), 3)
    assert stage.states[3].round == 5
    assert stage.states[3].ahead == {0: 7, 2: 5}


@pytest.mark.parametrize("number", [0, 1])
def test_the_first_rounds_of_the_next_height_wait(number: int) -> None:
    stage = open_stage(3)
    assert stage.tell(stage.vote(0, PREVOTE, number, height=2), 3) == []
    assert stage.tell(stage.vote(0, PRECOMMIT, number, height=2), 3) == []
    assert stage.tell(stage.vote(0, PREVOTE, 2, height=2), 3) == [Fetch(1)]
    assert len(stage.states[3].early) == 2


def test_what_waited_for_a_height_makes_room_for_the_next() -> None:
    stage = open_stage(3)
    stage.tell(stage.vote(0, PREVOTE, 0, height=2), 3)
    stage.feed(3, FinalReceived(make_final(stage, stage.block())))
    s = stage.states[3]
    assert (s.height, s.early, s.get_round(0).prevotes.count(NIL)) == (2, {}, 1)
    assert stage.tell(stage.vote(0, PREVOTE, 0, height=3), 3) == []
    assert len(stage.states[3].early) == 1


# -- receipts --------------------------------------------------------------------------------------


def test_no_receipt_for_what_the_next_block_may_not_hold() -> None:
    """Its signers would wait for it in block after block that cannot have it."""
    early = open_stage(3)  # the phase of the beacon
    assert hold(early, PROOF) == []
    stage = prove_stage()
    proven = ToyRules().apply(stage.chain, make_block(stage.chain, 2, (PROOF,)))
    late = prove_stage(proven)
    assert hold(late, make_proof(make_client(0), 0, 8)) == []
    assert hold(late, make_proof(make_client(1), 1, 8)) == []
    assert len(hold(late, make_proof(make_client(1), 0, 8))) == 1


def test_a_proof_that_is_in_a_block_is_due_no_more() -> None:
    stage = prove_stage()
    hold(stage, PROOF, 0, 1)
    block = make_block(stage.chain, 2, (PROOF,))
    stage.tell(stage.propose(2, 0, block), 3)
    for i in (0, 1, 2):
        stage.tell(stage.vote(i, PRECOMMIT, 0, block.hash, height=2), 3)
    s = stage.states[3]
    assert (s.height, s.due) == (3, (make_client(0),))
    following = make_block(s.chain, s.get_proposer(0), ())
    stage.tell(stage.propose(s.get_proposer(0), 0, following), 3)
    assert stage.sent[3, 0, PREVOTE].block_hash == following.hash


def test_the_locked_block_is_taken_whatever_is_due() -> None:
    """It was new before; others may be locked on it too, and none of them could go on."""
    stage = prove_stage()
    block = make_block(stage.chain, 2, ())
    stage.tell(stage.propose(2, 0, block), 3)
    show_polka(stage, 0, block.hash, 3)
    assert stage.states[3].locked_hash == block.hash
    hold(stage, PROOF, 0, 1)
    for i in (0, 1):
        stage.tell(stage.vote(i, PRECOMMIT, 4, height=2), 3)
    assert stage.states[3].due == (make_client(0),)
    stage.tell(stage.propose(2, 4, block), 3)
    assert stage.sent[3, 4, PREVOTE].block_hash == block.hash


def test_who_only_observes_signs_no_receipt() -> None:
    stage = prove_stage()
    config = Config(n_validators=4, validator=None, rules=ToyRules())
    stage.states[3] = memory.start(config, stage.chain, None)
    assert hold(stage, PROOF, 0, 1, 2) == []
    stage.feed(3, Started())
    assert stage.states[3].due == (make_client(0),)


def test_a_receipt_that_was_not_kept_is_not_said_again() -> None:
    stage = prove_stage()
    s, effects = state.step(stage.states[3], Held(PROOF), TIME_MS)
    assert [type(e) for e in effects] == [Send]
    assert [m for m in state.list_repeats(s) if not isinstance(m, Vote)] == []


def test_receipts_do_not_outlive_their_learning_round() -> None:
    stage = prove_stage()
    hold(stage, PROOF, 0, 1)
    chain, block = stage.chain, stage.block()
    while chain.learning_round == 0:
        block = make_block(chain, 0, ())
        chain = ToyRules().apply(chain, block)
    votes = [stage.vote(i, PRECOMMIT, 0, block.hash, block.height) for i in range(3)]
    certificate = QuorumCertificate.of(votes)
    after = memory.enter_height(stage.states[3], chain, certificate)
    assert after.book == ReceiptBook(learning_round=1)


def test_what_is_held_does_not_outlive_its_phase() -> None:
    """Receipts do: they may be of who is a phase ahead."""
    stage = prove_stage()
    hold(stage, PROOF, 0, 1)
    chain, block = stage.chain, stage.block()
    votes = [stage.vote(i, PRECOMMIT, 0, block.hash, block.height) for i in range(3)]
    certificate = QuorumCertificate.of(votes)
    while chain.phase == stage.chain.phase:
        assert memory.enter_height(stage.states[3], chain, certificate).book.held
        chain = ToyRules().apply(chain, make_block(chain, 0, ()))
    book = memory.enter_height(stage.states[3], chain, certificate).book
    assert (book.held, book.receipts) == ({}, stage.states[3].book.receipts)


def test_a_receipt_counts_once() -> None:
    stage, book = prove_stage(), ReceiptBook(learning_round=0)
    receipt = Receipt(learning_round=0, transaction_digest=PROOF.digest, validator=1)
    once = book.record(receipt)
    assert once.n_signed == {1: 1}
    assert once.record(stage.signer.sign(receipt)) is once


@pytest.mark.parametrize("other", [None, make_proof(make_client(0), 0, 8)])
def test_a_refusal_stands_in_for_no_proof_that_is_due(other: Proof | None) -> None:
    """A client with two proofs, one false, must not be shut out by the false one."""
    stage = prove_stage()
    hold(stage, PROOF, 0, 1)
    for i in (0, 1):
        stage.tell(stage.vote(i, PRECOMMIT, 4, height=2), 3)
    block = make_block(stage.chain, 2, (Refusal(proof=other or PROOF),))
    assert block.transactions
    stage.tell(stage.propose(2, 4, block), 3)
    assert stage.sent[3, 4, PREVOTE].block_hash == NIL
