"""Rules of `consensus.state` and `consensus.memory` that are easily broken unnoticed, one by one.

Every message is delivered by hand. At height 1 of the toy chain the proposers are 1, 2, 3, 0 in
turn, at height 2 they are 2, 3, 0, 1.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from consensus import state
from consensus.events import (
    Accuse,
    BlockBuilt,
    BlockChecked,
    Build,
    Check,
    Effect,
    Fetch,
    Held,
    Relay,
    Schedule,
    Send,
    Started,
    TimeoutFired,
)
from consensus.messages import BLANK, NIL, Evidence, Proof, Proposal, Receipt, Refusal, Step, Vote
from consensus.receipts import ReceiptBook
from consensus.votes import Tally
from tests.consensus.stage import (
    PRECOMMIT,
    PREVOTE,
    TIME_MS,
    Stage,
    get_vote,
    lock_on_first,
    open_stage,
)
from tests.consensus.toy_chain import ToyChain, ToyRules, make_block, make_client, make_proof

PROPOSE = Step.PROPOSE
PROOF = make_proof(make_client(0), 0, 7)


def meet_in(stage: Stage, number: int, i: int) -> None:
    """Line 55 by precommits of 0 and 1, so that their prevotes of that round are still to come."""
    for other in (0, 1):
        stage.tell(stage.vote(other, PRECOMMIT, number), i)


def show_polka(stage: Stage, number: int, block_hash: bytes, *nodes: int) -> None:
    height = stage.chain.height + 1
    for i in (0, 1, 2):
        stage.tell(stage.vote(i, PREVOTE, number, block_hash, height), *nodes)


def stage_two_polkas() -> tuple[Stage, Any, Any]:
    """Node 3 in round 2: locked on block a since round 0, with a later polka of b from round 1."""
    stage = lock_on_first(3, 1)
    a, b = stage.sent[1, 0, PROPOSE].block, stage.block(proposer=2, variant=5)
    meet_in(stage, 2, 3)
    stage.tell(stage.propose(2, 1, b), 3)
    show_polka(stage, 1, b.hash, 3)
    s = stage.states[3]
    assert (s.locked_round, s.locked_hash) == (0, a.hash)
    assert (s.valid_round, s.valid_hash) == (1, b.hash)
    return stage, a, b


def prove_stage(chain: ToyChain | None = None) -> Stage:
    """Height 2, a PROVE phase; validator 3 is correct."""
    start = ToyChain(4)
    stage = Stage(correct=(3,), chain=chain or ToyRules().apply(start, make_block(start, 0, ())))
    stage.start()
    return stage


def hold(stage: Stage, proof: Proof, *signers: int) -> list[Effect]:
    """Node 3 finds a proof valid, and hears of receipts for it."""
    effects = stage.feed(3, Held(proof))
    for i in signers:
        receipt = Receipt(
            learning_round=proof.learning_round, transaction_digest=proof.digest, validator=i
        )
        stage.tell(stage.signer.sign(receipt), 3)
    return effects


def list_log(stage: Stage, i: int) -> list[Any]:
    """What a node's log holds: own votes and proposals with their grounds, in order."""
    log: list[Any] = []
    for effect in stage.effects[i]:
        if isinstance(effect, Send) and not isinstance(effect.message, Receipt):
            log.extend([*effect.grounds, stage.signer.sign(effect.message)])
    return log


def restart(stage: Stage, i: int) -> list[Effect]:
    stage.states[i] = state.restore(stage.config(i), stage.chain, None, list_log(stage, i))
    return stage.feed(i, Started())


# -- when a node votes -----------------------------------------------------------------------------


def test_line_36_waits_for_the_own_prevote() -> None:
    """A polka binds who has prevoted; before, a lock and the prevote could contradict."""
    stage = open_stage(3)
    block = stage.block()
    stage.tell(stage.propose(1, 0, block), 3)
    meet_in(stage, 1, 3)
    show_polka(stage, 1, block.hash, 3)
    s = stage.states[3]
    assert (s.step, s.locked_round, s.valid_round) == (PROPOSE, -1, -1)
    assert get_vote(stage, 3, 1, PRECOMMIT) is None
    stage.time_out(PROPOSE, 1, 3)
    s = stage.states[3]
    assert (s.locked_round, s.locked_hash, s.valid_round) == (1, block.hash, 1)
    assert get_vote(stage, 3, 1, PREVOTE) == NIL
    assert get_vote(stage, 3, 1, PRECOMMIT) == block.hash


def test_a_locked_node_refuses_another_block_before_it_is_checked() -> None:
    """The verdict would change nothing; the round must not wait for it."""
    stage = lock_on_first(3, 1)
    stage.checks = False
    meet_in(stage, 4, 3)
    stage.tell(stage.propose(1, 4, stage.block(variant=3)), 3)
    assert get_vote(stage, 3, 4, PREVOTE) == NIL


def test_line_23_a_locked_node_refuses_a_block_that_it_has_found_valid() -> None:
    """It comes as new, with nothing due: the lock alone forbids it."""
    stage = lock_on_first(3, 1)
    other = stage.block(proposer=2, variant=3)
    for number in (1, 5):
        meet_in(stage, number, 3)
        stage.tell(stage.propose(2, number, other), 3)
        assert get_vote(stage, 3, number, PREVOTE) == NIL
        assert stage.states[3].is_valid(other.hash)


def test_line_44_needs_a_quorum_for_nil() -> None:
    """With f + 1 a block might still get its polka, and the round would be lost for it."""
    stage = open_stage(3)
    stage.time_out(PROPOSE, 0, 3)
    stage.tell(stage.vote(0, PREVOTE, 0), 3)
    assert get_vote(stage, 3, 0, PRECOMMIT) is None
    stage.tell(stage.vote(1, PREVOTE, 0), 3)
    assert get_vote(stage, 3, 0, PRECOMMIT) == NIL


def test_line_44_waits_for_the_own_prevote() -> None:
    stage = open_stage(3)
    show_polka(stage, 0, NIL, 3)
    assert get_vote(stage, 3, 0, PRECOMMIT) is None
    stage.tell(stage.propose(1, 0, stage.block()), 3)
    assert get_vote(stage, 3, 0, PREVOTE) == stage.block().hash
    assert get_vote(stage, 3, 0, PRECOMMIT) == NIL


def test_line_28_hears_of_a_polka_long_ago_when_the_proposal_names_it() -> None:
    """Its round is far behind; without its votes nobody who missed them could follow."""
    stage = open_stage(3)
    meet_in(stage, 9, 3)
    block = stage.block(proposer=1)
    stage.tell(stage.vote(0, PREVOTE, 1, block.hash), 3)  # not kept
    stage.tell(stage.propose(2, 9, block, valid_round=1), 3)
    show_polka(stage, 1, block.hash, 3)
    assert get_vote(stage, 3, 9, PREVOTE) == block.hash


def test_line_34_waits_for_the_own_prevote() -> None:
    stage = open_stage(3)
    for i, variant in ((0, 1), (1, 2), (2, 3)):
        stage.tell(stage.vote(i, PREVOTE, 0, stage.block(variant=variant).hash), 3)
    assert Schedule(PREVOTE, 1, 0) not in stage.effects[3]
    stage.time_out(PROPOSE, 0, 3)
    assert stage.effects[3].count(Schedule(PREVOTE, 1, 0)) == 1


def test_line_34_begins_with_a_quorum() -> None:
    stage = open_stage(3)
    stage.time_out(PROPOSE, 0, 3)
    stage.tell(stage.vote(0, PREVOTE, 0, b"\x05" * 32), 3)
    assert Schedule(PREVOTE, 1, 0) not in stage.effects[3]
    stage.tell(stage.vote(1, PREVOTE, 0), 3)
    assert Schedule(PREVOTE, 1, 0) in stage.effects[3]


def test_line_47_waits_once_in_any_step() -> None:
    stage = open_stage(3)
    for i in (0, 1):
        stage.tell(stage.vote(i, PRECOMMIT, 0), 3)
    assert Schedule(PRECOMMIT, 1, 0) not in stage.effects[3]
    stage.tell(stage.vote(2, PRECOMMIT, 0), 3)
    assert Schedule(PRECOMMIT, 1, 0) in stage.effects[3]
    stage.time_out(PROPOSE, 0, 3)
    stage.time_out(PREVOTE, 0, 3)
    assert get_vote(stage, 3, 0, PRECOMMIT) == NIL
    assert stage.effects[3].count(Schedule(PRECOMMIT, 1, 0)) == 1


def test_a_timeout_is_of_one_step() -> None:
    """Lines 57 and 61: that of another step than the node's moves nothing."""
    stage = open_stage(3)
    stage.time_out(PREVOTE, 0, 3)
    assert stage.states[3].step == PROPOSE
    stage.time_out(PROPOSE, 0, 3)
    stage.time_out(PROPOSE, 0, 3)
    assert (stage.states[3].step, get_vote(stage, 3, 0, PRECOMMIT)) == (PREVOTE, None)


# -- what a node proposes --------------------------------------------------------------------------


def test_a_built_block_is_taken_in_its_place_alone() -> None:
    stage = Stage(correct=(1,))
    waiting, effects = state.step(stage.states[1], Started(), TIME_MS)
    assert Build(1, 0) in effects
    right = stage.block()
    after = make_block(ToyRules().apply(stage.chain, right), 1, ())
    for event in (
        BlockBuilt(1, 0, after),  # the block is of another height than the event says
        BlockBuilt(2, 0, after),
        BlockBuilt(1, 1, right),
    ):
        assert state.step(waiting, event, TIME_MS) == (waiting, ())
    _, effects = state.step(waiting, BlockBuilt(1, 0, right), TIME_MS)
    assert [type(e) for e in effects] == [Send]


def test_a_block_built_twice_is_proposed_once() -> None:
    """While its own block is still under check, too: another would contradict it."""
    stage = open_stage(1)
    s, _ = state.step(state.start(stage.config(1), stage.chain, None), Started(), TIME_MS)
    s, effects = state.step(s, BlockBuilt(1, 0, stage.block()), TIME_MS)
    assert [type(e) for e in effects] == [Send]
    assert s.step == PROPOSE
    assert state.step(s, BlockBuilt(1, 0, stage.block(variant=2)), TIME_MS) == (s, ())


def test_a_block_built_after_the_own_prevote_is_too_late() -> None:
    stage = Stage(correct=(1,))
    s, _ = state.step(stage.states[1], Started(), TIME_MS)
    s, _ = state.step(s, TimeoutFired(PROPOSE, 1, 0), TIME_MS)
    assert s.step == PREVOTE
    assert state.step(s, BlockBuilt(1, 0, stage.block()), TIME_MS) == (s, ())


def test_line_16_takes_the_latest_polka_not_the_lock() -> None:
    """And shows it once more: whoever is locked on another block must be able to follow."""
    stage, _, b = stage_two_polkas()
    stage.time_out(PROPOSE, 2, 3)
    meet_in(stage, 6, 3)  # its turn
    proposal = stage.sent[3, 6, PROPOSE]
    assert (proposal.block, proposal.valid_round) == (b, 2)
    effects = stage.effects[3]
    at = effects.index(Send(replace(proposal, signature=BLANK)))
    relay = effects[at + 1]
    assert isinstance(relay, Relay)
    assert list_polka_of(relay) == (b, [0, 1, 2], 1)


def list_polka_of(relay: Relay) -> tuple[Any, list[int], int]:
    """The block, who prevoted it, and in which round."""
    proposal, *votes = relay.messages
    assert isinstance(proposal, Proposal)
    (number,) = {v.round for v in votes if isinstance(v, Vote)}
    assert {v.block_hash for v in votes if isinstance(v, Vote)} == {proposal.block.hash}
    return proposal.block, [v.validator for v in votes if isinstance(v, Vote)], number


# -- what is said again ----------------------------------------------------------------------------


def test_the_polka_that_leads_is_said_again_and_again() -> None:
    """Relaying it once is not enough where messages are lost."""
    stage, _, b = stage_two_polkas()
    for _ in range(2):
        again = state.list_repeats(stage.states[3])
        assert sum(isinstance(m, Proposal) and m.block == b for m in again) == 1
        votes = [m for m in again if isinstance(m, Vote) and m.block_hash == b.hash]
        assert [(v.step, v.round, v.validator) for v in votes] == [
            (PREVOTE, 1, i) for i in range(3)
        ]


def test_votes_of_this_round_and_the_one_before_are_said_again() -> None:
    stage = open_stage(3)
    for number in range(3):
        stage.time_out(PROPOSE, number, 3)
        stage.time_out(PREVOTE, number, 3)
        stage.time_out(PRECOMMIT, number, 3)
    stage.time_out(PROPOSE, 3, 3)
    again = state.list_repeats(stage.states[3])
    places = [(m.round, m.step) for m in again if isinstance(m, Vote)]
    assert places == [(2, PREVOTE), (2, PRECOMMIT), (3, PREVOTE)]
    assert [m.round for m in again if isinstance(m, Proposal)] == [2]  # its own
    assert {m.validator for m in again if isinstance(m, Vote | Proposal)} == {3}


def test_a_failing_round_relays_its_polka_once() -> None:
    stage = lock_on_first(3, 1)
    stage.tell(stage.vote(0, PRECOMMIT, 0), 3)
    stage.tell(stage.vote(2, PRECOMMIT, 0), 3)
    stage.time_out(PRECOMMIT, 0, 3)
    meet_in(stage, 4, 3)
    relays = [e for e in stage.effects[3] if isinstance(e, Relay)]
    assert [list_polka_of(r)[1:] for r in relays] == [([0, 1, 2, 3], 0)]


def test_a_round_that_is_left_relays_its_polka() -> None:
    """Whoever is locked by it was perhaps alone in seeing it."""
    stage = lock_on_first(3, 1)
    assert not any(isinstance(e, Relay) for e in stage.effects[3])
    meet_in(stage, 4, 3)
    relays = [e for e in stage.effects[3] if isinstance(e, Relay)]
    assert [list_polka_of(r)[1:] for r in relays] == [([0, 1, 2, 3], 0)]


def test_a_polka_seen_after_the_round_has_failed_is_relayed() -> None:
    stage = open_stage(3)
    block = stage.block()
    stage.tell(stage.propose(1, 0, block), 3)
    for i in (0, 1, 2):
        stage.tell(stage.vote(i, PRECOMMIT, 0), 3)
    assert Schedule(PRECOMMIT, 1, 0) in stage.effects[3]
    assert not any(isinstance(e, Relay) for e in stage.effects[3])
    for i in (0, 1):
        effects = stage.tell(stage.vote(i, PREVOTE, 0, block.hash), 3)
    relays = [e for e in effects if isinstance(e, Relay)]
    assert [list_polka_of(r) for r in relays] == [(block, [0, 1, 3], 0)]


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


def test_a_verdict_is_for_a_block_that_is_here() -> None:
    stage = open_stage(3)
    before = stage.states[3]
    for event in (BlockChecked(1, b"\x01" * 32, None), BlockChecked(2, stage.block().hash, None)):
        assert stage.feed(3, event) == []
    assert stage.states[3] == before


def test_line_55_takes_the_highest_round_that_f_plus_1_have_reached() -> None:
    stage = open_stage(3)
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


# -- evidence --------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [PREVOTE, PRECOMMIT])
@pytest.mark.parametrize("nil_first", [True, False])
def test_nil_and_a_block_contradict(step: Step, nil_first: bool) -> None:
    stage = open_stage(3)
    pair = [stage.vote(0, step, 0), stage.vote(0, step, 0, b"\x05" * 32)]
    effects: list[Effect] = []
    for vote in pair if nil_first else reversed(pair):
        effects = stage.tell(vote, 3)
    assert [e for e in effects if isinstance(e, Accuse)] == [
        Accuse(Evidence(first=pair[0], second=pair[1]))
    ]


def test_votes_of_other_places_do_not_contradict() -> None:
    stage = open_stage(3)
    effects: list[Effect] = []
    effects += stage.tell(stage.vote(0, PREVOTE, 0, b"\x05" * 32), 3)
    effects += stage.tell(stage.vote(0, PRECOMMIT, 0), 3)
    effects += stage.tell(stage.vote(0, PREVOTE, 1), 3)
    effects += stage.tell(stage.vote(0, PREVOTE, 0, b"\x05" * 32), 3)
    effects += stage.tell(stage.vote(1, PREVOTE, 0), 3)
    assert not any(isinstance(e, Accuse) for e in effects)


def test_nil_is_no_block() -> None:
    stage, tally = open_stage(3), Tally()
    for i in (0, 1, 2):
        tally = tally.add(stage.vote(i, PREVOTE, 0), support=2)
    assert (tally.count(NIL), tally.find_block(3)) == (3, None)


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


# -- restarts --------------------------------------------------------------------------------------


def test_the_lock_that_is_restored_is_the_last() -> None:
    stage = lock_on_first(3, 1)
    b = stage.block(proposer=2, variant=5)
    meet_in(stage, 1, 3)
    stage.tell(stage.propose(2, 1, b), 3)
    assert get_vote(stage, 3, 1, PREVOTE) == NIL
    show_polka(stage, 1, b.hash, 3)
    assert get_vote(stage, 3, 1, PRECOMMIT) == b.hash
    restart(stage, 3)
    s = stage.states[3]
    assert (s.locked_round, s.locked_hash) == (1, b.hash)
    assert (s.valid_round, s.valid_hash) == (1, b.hash)
    assert (s.round, s.step) == (1, PRECOMMIT)


@pytest.mark.parametrize("number", [2, 6, 42])
def test_a_proposal_after_the_last_vote_is_remembered(number: int) -> None:
    """It stopped between its proposal and its prevote, and must not make another."""
    stage = open_stage(3)
    stage.time_out(PROPOSE, 0, 3)
    stage.checks = False
    meet_in(stage, number, 3)
    proposal = stage.sent.pop((3, number, PROPOSE))
    effects = restart(stage, 3)
    assert (stage.states[3].round, stage.states[3].step) == (number, PROPOSE)
    assert stage.states[3].get_round(number).proposed
    assert effects == [
        Check(proposal.block, proposal.block.hash),
        Schedule(PROPOSE, 1, number),
        Relay(state.list_repeats(stage.states[3])),
    ]
    assert (3, number, PROPOSE) not in stage.sent


def test_the_locked_block_is_restored_whichever_round_brought_it() -> None:
    """Proposed in round 0 and locked in round 1, whose own proposal never came."""
    stage = open_stage(3)
    block = stage.block()
    stage.tell(stage.propose(1, 0, block), 3)
    meet_in(stage, 1, 3)
    stage.time_out(PROPOSE, 1, 3)
    show_polka(stage, 1, block.hash, 3)
    assert stage.states[3].locked_round == 1
    meet_in(stage, 9, 3)
    stage.time_out(PROPOSE, 9, 3)
    stage.sent.clear()
    restart(stage, 3)
    s = stage.states[3]
    assert (s.round, s.step, s.locked_round, s.valid_round) == (9, PREVOTE, 1, 1)
    assert s.is_valid(block.hash)
    meet_in(stage, 10, 3)  # its turn
    assert stage.sent[3, 10, PROPOSE].block == block
    for i in (0, 1):
        stage.tell(stage.vote(i, PRECOMMIT, 1, block.hash), 3)
    assert stage.finals[3] == [block.hash]


def test_a_node_that_has_prevoted_proposes_nothing_after_a_restart() -> None:
    """Its round goes on by what the others do; it was too slow to build a block."""
    stage = Stage(correct=(1,))
    stage.states[1], _ = state.step(stage.states[1], Started(), TIME_MS)  # its turn
    stage.time_out(PROPOSE, 0, 1)
    effects = restart(stage, 1)
    assert effects == [Relay((stage.sent[1, 0, PREVOTE],))]


def test_votes_of_others_in_the_log_are_nobodys_own() -> None:
    """The grounds of a lock: they set neither the round nor the step, and lock nothing."""
    stage = open_stage(3)
    others = [stage.vote(i, PRECOMMIT, 2, b"\x05" * 32) for i in (0, 1)]
    s = state.restore(stage.config(3), stage.chain, None, others)
    assert (s.round, s.step, s.locked_round) == (0, PROPOSE, -1)
    assert s.get_round(2).precommits.n_voters == 2


def test_a_nil_precommit_restores_no_lock() -> None:
    stage = open_stage(3)
    stage.time_out(PROPOSE, 0, 3)
    stage.time_out(PREVOTE, 0, 3)
    restart(stage, 3)
    s = stage.states[3]
    assert (s.round, s.step, s.locked_round, s.locked_hash) == (0, PRECOMMIT, -1, NIL)


def test_what_is_due_is_known_after_a_start() -> None:
    stage = prove_stage()
    hold(stage, PROOF, 0, 1)
    assert stage.states[3].due == ()
    stage.feed(3, Started())
    assert stage.states[3].due == (make_client(0),)
