"""When a node votes, proposes, accuses and says things again: rules easily broken unnoticed.

Every message is delivered by hand. At height 1 of the toy chain the proposers are 1, 2, 3, 0 in
turn, at height 2 they are 2, 3, 0, 1.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from consensus.agreement import memory, state
from consensus.agreement.events import (
    Accuse,
    BlockBuilt,
    BlockChecked,
    Build,
    Effect,
    Relay,
    Schedule,
    Send,
    Started,
    TimeoutFired,
)
from consensus.agreement.votes import Tally
from consensus.wire.codec import BLANK
from consensus.wire.messages import NIL, Evidence, Proposal, Step, Vote
from tests.consensus.scenes import (
    PROPOSE,
    list_polka_of,
    meet_in,
    show_polka,
    stage_two_polkas,
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
    ToyRules,
    make_block,
)

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


def test_a_block_that_leaves_out_a_model_is_refused_unless_others_took_it() -> None:
    """As with what has receipts: a new one is prevoted nil, one with a polka is not."""
    stage = open_stage(3)
    stage.checks = False
    block = stage.block()
    stage.tell(stage.propose(1, 0, block), 3)
    stage.feed(3, BlockChecked(1, block.hash, None, leaves_out=True))
    assert get_vote(stage, 3, 0, PREVOTE) == NIL
    show_polka(stage, 0, block.hash, 3)
    meet_in(stage, 5, 3)
    stage.tell(stage.propose(2, 5, block, valid_round=0), 3)
    assert get_vote(stage, 3, 5, PREVOTE) == block.hash


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
    s, _ = state.step(memory.start(stage.config(1), stage.chain, None), Started(), TIME_MS)
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


def test_a_polka_of_the_first_round_is_said_again_too() -> None:
    stage = lock_on_first(3, 1)
    block = stage.sent[1, 0, PROPOSE].block
    meet_in(stage, 5, 3)
    proposal, *votes = state.list_repeats(stage.states[3])
    assert isinstance(proposal, Proposal)
    assert proposal.block == block
    assert [v.validator for v in votes if isinstance(v, Vote)] == [0, 1, 2, 3]


def test_who_only_observes_repeats_nothing() -> None:
    stage = open_stage(1, 3)
    stage.states[3] = replace(stage.states[3], config=replace(stage.config(3), validator=None))
    stage.tell(stage.sent[1, 0, PROPOSE], 3)
    show_polka(stage, 0, stage.sent[1, 0, PROPOSE].block.hash, 3)
    assert stage.states[3].valid_round == 0
    assert state.list_repeats(stage.states[3]) == ()


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
