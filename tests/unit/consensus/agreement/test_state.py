"""The rules of `consensus.agreement.state`, one by one, with every message delivered by hand.

At height 1 of the toy chain the proposers are 1, 2, 3, 0 in turn.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from consensus.agreement import state
from consensus.agreement.events import (
    BlockBuilt,
    BlockChecked,
    Build,
    Check,
    Finalize,
    FinalReceived,
    Relay,
    Schedule,
    Send,
    TimeoutFired,
)
from consensus.agreement.votes import n_faulty, quorum
from consensus.wire.messages import NIL, Proposal, Step, Vote
from prover.errors import FieldInvalid
from tests.consensus.stage import (
    PRECOMMIT,
    PREVOTE,
    TIME_MS,
    Stage,
    get_vote,
    list_final_hashes,
    lock_on_first,
    make_final,
    open_stage,
    play_lone_decision,
    play_old_polka,
    skip_to,
)

PROPOSE = Step.PROPOSE


# -- the happy path --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "f", "needed"), [(1, 0, 1), (4, 1, 3), (6, 1, 3), (7, 2, 5), (100, 33, 67)]
)
def test_quorum(n: int, f: int, needed: int) -> None:
    assert (n_faulty(n), quorum(n)) == (f, needed)


def test_a_block_in_three_steps() -> None:
    stage = open_stage(0, 1, 2, 3)
    assert Build(1, 0) in stage.effects[1]
    assert [e for e in stage.effects[0] if isinstance(e, Build)] == []
    assert Schedule(PROPOSE, 1, 0) in stage.effects[0]
    proposal = stage.sent[1, 0, PROPOSE]
    stage.tell(proposal, 0, 2, 3)
    for step in (PREVOTE, PRECOMMIT):
        for i in range(4):
            vote = stage.sent[i, 0, step]
            assert vote.block_hash == proposal.block.hash
            stage.tell(vote, *(j for j in range(4) if j != i))
    for i in range(4):
        assert stage.finals[i] == [proposal.block.hash]
        assert (stage.states[i].height, stage.states[i].round) == (2, 0)
        assert stage.states[i].chain.head == proposal.block.hash


def test_one_validator_agrees_with_itself() -> None:
    stage = Stage(correct=(0,), n=1)
    stage.checks = False  # or it would never end
    stage.start()
    block = stage.sent[0, 0, PROPOSE].block
    assert get_vote(stage, 0, 0, PREVOTE) is None
    assert stage.states[0].height == 1
    _, effects = state.step(stage.states[0], BlockChecked(1, block.hash, None), 0)
    assert [type(e) for e in effects] == [Send]


def test_certificate_holds_a_quorum_in_order() -> None:
    stage = open_stage(0, 1, 2, 3)
    stage.tell(stage.sent[1, 0, PROPOSE], 3)
    block_hash = stage.sent[1, 0, PROPOSE].block.hash
    for i in (2, 0):
        stage.tell(stage.vote(i, PRECOMMIT, 0, block_hash), 3)
    effects = stage.tell(stage.vote(1, PRECOMMIT, 0, block_hash), 3)
    final = next(e.final for e in effects if isinstance(e, Finalize))
    assert [vote.validator for vote in final.certificate.votes] == [0, 1, 2]


def test_finalize_comes_before_what_follows() -> None:
    stage = open_stage(2)
    effects = stage.feed(2, FinalReceived(make_final(stage, stage.block())))
    assert isinstance(effects[0], Finalize)
    assert effects[1:] == [Schedule(PROPOSE, 2, 0), Build(2, 0), *effects[3:]]


# -- lines 22 to 33 --------------------------------------------------------------------------------


def test_line_22_only_the_proposer_of_the_round() -> None:
    stage = open_stage(3)
    stage.tell(stage.propose(2, 0, stage.block(2)), 3)
    assert get_vote(stage, 3, 0, PREVOTE) is None
    stage.tell(stage.propose(1, 0, stage.block()), 3)
    assert get_vote(stage, 3, 0, PREVOTE) == stage.block().hash


def test_line_23_waits_for_the_check_and_refuses_a_fault() -> None:
    stage = open_stage(3)
    stage.checks = False
    block = stage.block()
    effects = stage.tell(stage.propose(1, 0, block), 3)
    assert effects == [Check(block, block.hash)]
    stage.feed(3, BlockChecked(1, block.hash, "bad aggregate"))
    assert get_vote(stage, 3, 0, PREVOTE) == NIL


def test_line_23_a_locked_node_refuses_another_new_block() -> None:
    stage = lock_on_first(1, 3)
    other = stage.block(variant=3)
    skip_to(stage, 4, 1, 3)
    stage.tell(stage.propose(1, 4, other), 3)
    assert get_vote(stage, 3, 4, PREVOTE) == NIL


def test_line_23_a_locked_node_accepts_its_block_again() -> None:
    stage = lock_on_first(1, 3)
    block = stage.sent[1, 0, PROPOSE].block
    skip_to(stage, 4, 3)
    stage.tell(stage.propose(1, 4, block), 3)
    assert get_vote(stage, 3, 4, PREVOTE) == block.hash


def test_line_28_needs_the_polka_it_names() -> None:
    stage = open_stage(3)
    skip_to(stage, 1, 3)
    block = stage.block()
    stage.tell(stage.propose(2, 1, block, valid_round=0), 3)
    assert get_vote(stage, 3, 1, PREVOTE) is None
    for i in (0, 1):
        stage.tell(stage.vote(i, PREVOTE, 0, block.hash), 3)
    assert get_vote(stage, 3, 1, PREVOTE) is None
    stage.tell(stage.vote(2, PREVOTE, 0, block.hash), 3)
    assert get_vote(stage, 3, 1, PREVOTE) == block.hash


def test_line_29_a_later_polka_unlocks() -> None:
    stage = lock_on_first(3, 1)
    other = stage.block(proposer=2)
    skip_to(stage, 4, 3)
    for i in (0, 1, 2):
        stage.tell(stage.vote(i, PREVOTE, 1, other.hash), 3)
    stage.tell(stage.propose(1, 4, other, valid_round=1), 3)
    assert get_vote(stage, 3, 4, PREVOTE) == other.hash


def test_line_29_an_older_polka_does_not_unlock() -> None:
    stage = play_old_polka()
    assert get_vote(stage, 1, 3, PREVOTE) == NIL
    assert len(list_final_hashes(stage)) == 1


@pytest.mark.parametrize("claimed", [False, True])
def test_a_lone_decision_binds_the_others(claimed: bool) -> None:
    stage = play_lone_decision(claimed_polka=claimed)
    assert get_vote(stage, 1, 3, PREVOTE) in (NIL, None)
    assert len(list_final_hashes(stage)) == 1


# -- lines 34 to 48 --------------------------------------------------------------------------------


def test_line_34_schedules_once() -> None:
    stage = open_stage(3)
    stage.tell(stage.vote(0, PREVOTE, 0), 3)
    stage.tell(stage.propose(1, 0, stage.block()), 3)
    assert Schedule(PREVOTE, 1, 0) not in stage.effects[3]
    stage.tell(stage.vote(1, PREVOTE, 0, stage.block().hash), 3)
    stage.tell(stage.vote(2, PREVOTE, 0, stage.block(2).hash), 3)
    assert stage.effects[3].count(Schedule(PREVOTE, 1, 0)) == 1


def test_line_36_gives_the_grounds_of_the_lock() -> None:
    stage = lock_on_first(1, 3)
    send = next(e for e in stage.effects[3] if isinstance(e, Send) and e.grounds)
    assert isinstance(send.message, Vote)
    assert send.message.step == PRECOMMIT
    proposal, *votes = send.grounds
    assert isinstance(proposal, Proposal)
    assert [v.validator for v in votes if isinstance(v, Vote)] == [0, 1, 3]
    assert {v.block_hash for v in votes if isinstance(v, Vote)} == {proposal.block.hash}


def test_line_42_remembers_without_locking_after_a_nil_precommit() -> None:
    stage = open_stage(3)
    block = stage.block()
    stage.tell(stage.propose(1, 0, block), 3)
    for i in (0, 1):
        stage.tell(stage.vote(i, PREVOTE, 0, NIL if i else block.hash), 3)
    stage.time_out(PREVOTE, 0, 3)
    assert get_vote(stage, 3, 0, PRECOMMIT) == NIL
    stage.tell(stage.vote(2, PREVOTE, 0, block.hash), 3)
    assert (stage.states[3].valid_hash, stage.states[3].locked_round) == (block.hash, -1)


def test_line_42_remembers_a_polka_that_comes_late() -> None:
    stage = open_stage(3)
    block = stage.block()
    skip_to(stage, 1, 3)
    stage.tell(stage.propose(1, 0, block), 3)
    for i in (0, 1, 2):
        stage.tell(stage.vote(i, PREVOTE, 0, block.hash), 3)
    s = stage.states[3]
    assert (s.valid_round, s.valid_hash, s.locked_round) == (0, block.hash, -1)
    skip_to(stage, 2, 3)  # its turn
    assert (stage.sent[3, 2, PROPOSE].block, stage.sent[3, 2, PROPOSE].valid_round) == (block, 1)


def test_line_44_nil_at_once() -> None:
    stage = open_stage(3)
    stage.time_out(PROPOSE, 0, 3)
    for i in (0, 1):
        stage.tell(stage.vote(i, PREVOTE, 0), 3)
    assert get_vote(stage, 3, 0, PRECOMMIT) == NIL


def test_line_47_relays_the_polka() -> None:
    stage = lock_on_first(1, 3)
    stage.tell(stage.vote(0, PRECOMMIT, 0), 3)
    effects = stage.tell(stage.vote(2, PRECOMMIT, 0), 3)
    assert effects[0] == Schedule(PRECOMMIT, 1, 0)
    assert isinstance(effects[1], Relay)
    assert len(effects[1].messages) == 5


# -- lines 49 to 67 --------------------------------------------------------------------------------


def test_line_49_decides_on_an_earlier_round() -> None:
    stage = open_stage(3)
    block = stage.block()
    stage.tell(stage.propose(1, 0, block), 3)
    skip_to(stage, 2, 3)
    for i in range(3):
        stage.tell(stage.vote(i, PRECOMMIT, 0, block.hash), 3)
    assert stage.finals[3] == [block.hash]


def test_line_50_not_an_invalid_block() -> None:
    stage = open_stage(3)
    block = stage.block()
    stage.faults[block.hash] = "bad proof"
    stage.tell(stage.propose(1, 0, block), 3)
    for i in range(3):
        stage.tell(stage.vote(i, PREVOTE, 0, block.hash), 3)
        stage.tell(stage.vote(i, PRECOMMIT, 0, block.hash), 3)
    assert stage.finals[3] == []
    assert get_vote(stage, 3, 0, PRECOMMIT) in (None, NIL)


def test_line_55_needs_two_validators() -> None:
    stage = open_stage(3)
    stage.tell(stage.vote(0, PREVOTE, 2), 3)
    stage.tell(stage.vote(0, PRECOMMIT, 3), 3)
    assert stage.states[3].round == 0
    stage.tell(stage.vote(1, PREVOTE, 900), 3)
    assert stage.states[3].round == 3
    assert Schedule(PROPOSE, 1, 3) in stage.effects[3]


def test_timeouts_of_other_places_do_nothing() -> None:
    stage = open_stage(3)
    before = stage.states[3]
    late = [(s, h, r) for s in Step for h, r in ((0, 0), (2, 0), (1, 1))]
    for step, height, number in [*late, (PREVOTE, 1, 0)]:
        assert stage.feed(3, TimeoutFired(step, height, number)) == []
    assert stage.states[3] == before


def test_line_16_proposes_what_has_a_polka() -> None:
    stage = lock_on_first(2, 1)
    stage.tell(stage.vote(0, PRECOMMIT, 0), 2)
    stage.tell(stage.vote(3, PRECOMMIT, 0), 2)
    stage.time_out(PRECOMMIT, 0, 2)
    again = stage.sent[2, 1, PROPOSE]
    assert (again.block, again.valid_round) == (stage.sent[1, 0, PROPOSE].block, 1)


def test_a_built_block_comes_in_time_or_not_at_all() -> None:
    stage = open_stage(3)
    assert stage.feed(3, BlockBuilt(1, 0, stage.block(3))) == []  # not its turn
    skip_to(stage, 2, 3)
    assert (3, 2, PROPOSE) in stage.sent
    assert stage.feed(3, BlockBuilt(1, 2, stage.block(2))) == []  # it has proposed


# -- certificates and times ------------------------------------------------------------------------


def test_precommits_tell_the_time_and_prevotes_do_not() -> None:
    stage = open_stage(3)
    stage.time_out(PROPOSE, 0, 3)
    stage.tell(stage.vote(0, PREVOTE, 0), 3)
    stage.tell(stage.vote(1, PREVOTE, 0), 3)
    prevote, precommit = stage.sent[3, 0, PREVOTE], stage.sent[3, 0, PRECOMMIT]
    assert (prevote.time_ms, precommit.time_ms) == (0, TIME_MS)
    with pytest.raises(FieldInvalid, match="a prevote has no time"):
        replace(prevote, time_ms=1)


def test_the_certificate_of_the_last_block_grows_by_who_comes_late() -> None:
    """Else a quorum that is always the fastest would hide who else is up."""
    stage = open_stage(3)
    assert stage.states[3].certificate == ()
    block = stage.block()
    stage.feed(3, FinalReceived(make_final(stage, block)))

    def list_validators() -> list[int]:
        return [p.validator for p in stage.states[3].certificate[0].precommits]

    late = stage.vote(3, PRECOMMIT, 0, block.hash)
    assert list_validators() == [0, 1, 2]
    for other in (
        stage.vote(3, PREVOTE, 0, block.hash),
        stage.vote(3, PRECOMMIT, 1, block.hash),
        stage.vote(3, PRECOMMIT, 0),
        stage.propose(1, 0, block),
        stage.vote(2, PRECOMMIT, 0, block.hash),
    ):
        assert stage.tell(other, 3) == []
        assert list_validators() == [0, 1, 2]
    stage.tell(late, 3)
    assert list_validators() == [0, 1, 2, 3]
    assert stage.states[3].certificate[0].votes[3] == late
