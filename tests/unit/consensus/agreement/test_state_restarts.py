"""What a node that stopped restores from its ledger and its log.

Every message is delivered by hand. At height 1 of the toy chain the proposers are 1, 2, 3, 0 in
turn.
"""

from __future__ import annotations

import pytest

from consensus.agreement import memory, state
from consensus.agreement.events import (
    Check,
    Relay,
    Schedule,
    Started,
)
from consensus.wire.messages import NIL, Receipt
from tests.consensus.scenes import (
    PROOF,
    PROPOSE,
    hold,
    list_log,
    meet_in,
    prove_stage,
    restart,
    show_polka,
)
from tests.consensus.stage import (
    PRECOMMIT,
    PREVOTE,
    TIME_MS,
    Stage,
    get_vote,
    lock_on_first,
    open_stage,
)
from tests.consensus.toy_chain import (
    make_client,
)


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
    s = memory.restore(stage.config(3), stage.chain, None, others)
    assert (s.round, s.step, s.locked_round) == (0, PROPOSE, -1)
    assert s.get_round(2).precommits.n_voters == 2


def test_receipts_in_the_log_restore_nothing() -> None:
    stage = open_stage(3)
    receipt = Receipt(learning_round=0, transaction_digest=PROOF.digest, validator=3)
    config = stage.config(3)
    s = memory.restore(config, stage.chain, None, [stage.signer.sign(receipt)])
    assert s == memory.start(config, stage.chain, None)


def test_a_lock_is_restored_with_its_polka_or_without() -> None:
    """It binds either way; only with the polka can the block be proposed again."""
    stage = lock_on_first(3, 1)
    log = list_log(stage, 3)
    whole = memory.restore(stage.config(3), stage.chain, None, log)
    assert (whole.locked_round, whole.valid_round) == (0, 0)
    assert not whole.get_round(0).proposed  # it was another's turn
    bare = memory.restore(stage.config(3), stage.chain, None, log[-1:])
    assert (bare.locked_round, bare.locked_hash) == (0, whole.locked_hash)
    assert (bare.valid_round, bare.valid_hash) == (-1, NIL)
    assert state.list_repeats(bare) == (log[-1],)


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
