"""One node by itself: its timers, when it makes a block, what it signs, and how it goes on."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError

from consensus.agreement.events import (
    Accuse,
    BlockChecked,
    Build,
    Check,
    Fetch,
    FinalReceived,
    Relay,
    Schedule,
    Send,
    TimeoutFired,
)
from consensus.learning.chain import apply, start
from consensus.learning.chain_state import Phase
from consensus.learning.steps import list_round_blobs
from consensus.node.node import GATHER_S, LOOK_PAUSE_S, Node
from consensus.node.stream import VOTES
from consensus.wire.messages import Evidence, Proposal, Receipt, Step
from tests.support.certificates import certify
from tests.support.solo import LAB, Part, Solo, hear, list_timers, make_vote, measure
from tests.support.stored import make_finals

PROPOSER, OTHER = 1, 0
"""Of height 1."""
SILENT = 3
"""Its votes are in no certificate."""
WAIT_S = 0.5
"""How long the first block waits for something to be due."""


@pytest.fixture
def solo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Solo]:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    made = Solo(tmp_path)
    yield made
    made.close()


def finish(node: Node) -> None:
    """As if all learning rounds were over."""
    node._state = replace(node._state, chain=replace(node.chain, phase=Phase.DONE))


# -- timers ----------------------------------------------------------------------------------------


def test_a_node_that_starts_waits_for_the_proposer(solo: Solo) -> None:
    node = solo.begin(OTHER)
    assert list_timers(node) == [(0.3 + WAIT_S, TimeoutFired(Step.PROPOSE, 1, 0))]
    assert (measure(node, "round"), measure(node, "pending")) == (0, 0)


@pytest.mark.parametrize(
    ("step", "number", "wait_ms"),
    [
        (Step.PROPOSE, 0, 300 + 500),
        (Step.PROPOSE, 1, 300 + 50),
        (Step.PROPOSE, 3, 300 + 150),
        (Step.PREVOTE, 0, 100),
        (Step.PREVOTE, 2, 100 + 100),
        (Step.PRECOMMIT, 0, 100),
        (Step.PRECOMMIT, 1, 100 + 50),
    ],
)
def test_timeouts_grow_with_the_round(solo: Solo, step: Step, number: int, wait_ms: int) -> None:
    node = solo.begin(OTHER)
    node._timers.clear()
    solo.now = 7.0
    node._carry_out(Schedule(step, 1, number))
    assert list_timers(node) == [(7.0 + wait_ms / 1000, TimeoutFired(step, 1, number))]


def test_no_timer_runs_when_the_chain_is_done(solo: Solo) -> None:
    node = solo.begin(OTHER)
    node._timers.clear()
    finish(node)
    desk = solo.put_desk(node, is_anything_due=True)
    node._carry_out(Schedule(Step.PROPOSE, 1, 0))
    node._mind_due()
    assert list_timers(node) == []
    assert desk.told == []


def test_once_something_is_due_nobody_waits_longer(solo: Solo) -> None:
    node = solo.begin(OTHER)
    node._timers.clear()
    desk = solo.put_desk(node)
    solo.now = 1.0
    node.turn()
    assert list_timers(node) == []
    node._desk = Part(is_anything_due=True, judge_pending=[], list_wanted=[])  # type: ignore[assignment]
    for solo.now in (2.0, 2.1):
        node.turn()
        assert list_timers(node) == [(2.0 + 0.3 + 0.5, TimeoutFired(Step.PROPOSE, 1, 0))]
    assert len(node._desk.list_told("is_anything_due")) == 1  # type: ignore[attr-defined]
    assert len(desk.list_told("is_anything_due")) == 1


def test_a_timer_that_is_due_fires(solo: Solo) -> None:
    node = solo.begin(OTHER)
    solo.now = 0.79
    node.turn()
    assert node._state.step == Step.PROPOSE
    solo.now = 0.8
    node.turn()
    assert node._state.step == Step.PREVOTE
    (said,) = solo.voice.list_told("say")
    assert said == (VOTES, make_vote(OTHER))


def test_a_node_reads_until_something_is_due(solo: Solo) -> None:
    """Milliseconds; at least one, and a quarter of a second at most."""
    node = solo.begin(OTHER)
    waits = {0.0: 250, 0.5: 250, 0.7: 100, 0.79: 10, 0.8: 1, 2.0: 1}
    for solo.now, expected in waits.items():
        assert node._compute_wait_ms() == pytest.approx(expected, abs=1)
    node._timers.clear()
    solo.now = 50.0
    assert node._compute_wait_ms() == 250
    for due_s, expected in ((0.2498, 249), (0.001, 1), (0.0, 1), (-5.0, 1), (0.1001, 100)):
        solo.voice._answers["get_due_time"] = 50.0 + due_s
        assert node._compute_wait_ms() == expected
    asked = [chain for (chain,) in solo.voice.list_told("get_due_time")]
    assert asked == [node.chain] * len(asked)


def test_a_proposer_reads_until_its_block_is_made(solo: Solo) -> None:
    node = solo.begin(PROPOSER)
    solo.now = WAIT_S - 0.1
    assert node._compute_wait_ms() == pytest.approx(100, abs=1)
    node._ready_since = solo.now
    assert node._compute_wait_ms() == pytest.approx(GATHER_S * 1000, abs=1)
    node._build = Build(1, 1)
    assert node._compute_wait_ms() == 1


# -- blocks of its own -----------------------------------------------------------------------------


def test_a_proposer_waits_for_something_to_be_due(solo: Solo) -> None:
    node = solo.begin(PROPOSER)
    block = LAB.block(node.chain, proposer=PROPOSER)
    desk = solo.put_desk(node)
    solo.now = WAIT_S - 0.0002
    node.turn()
    assert desk.list_told("draft") == []
    solo.now = WAIT_S
    for desk._answers["draft"] in (None, block):
        node.turn()
    assert desk.list_told("draft") == [(node.chain, PROPOSER, (), 0)] * 2
    node.turn()
    assert len(desk.list_told("draft")) == 2, "one is enough"
    proposals = [m for _, m in solo.voice.list_told("say") if isinstance(m, Proposal)]
    assert [(m.height, m.round, m.block) for m in proposals] == [(1, 0, block)]


def test_a_proposer_gathers_for_a_moment(solo: Solo) -> None:
    node = solo.begin(PROPOSER)
    desk = solo.put_desk(node, is_anything_due=True)
    solo.now = 0.125
    node.turn()
    solo.now = 0.125 + GATHER_S - 0.001
    node.turn()
    assert desk.list_told("draft") == []
    solo.now = 0.125 + GATHER_S
    node.turn()
    assert len(desk.list_told("draft")) == 1


def test_in_a_later_round_a_proposer_waits_for_nothing(solo: Solo) -> None:
    node = solo.begin(PROPOSER)
    desk = solo.put_desk(node)
    node._build = Build(1, 2)
    node._try_build()
    assert desk.list_told("draft") == [(node.chain, PROPOSER, (), 2)]


def test_no_block_is_made_when_the_chain_is_done(solo: Solo) -> None:
    node = solo.begin(PROPOSER)
    desk = solo.put_desk(node)
    finish(node)
    solo.now = 9.0
    node._try_build()
    assert desk.list_told("draft") == []


def test_who_is_not_asked_makes_no_block(solo: Solo) -> None:
    node = solo.begin(OTHER)
    desk = solo.put_desk(node)
    solo.now = WAIT_S + 0.1
    node.turn()
    assert desk.list_told("draft") == []


# -- blocks in check -------------------------------------------------------------------------------


def test_a_block_is_checked_until_there_is_a_verdict(
    solo: Solo, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = solo.begin(OTHER)
    desk = solo.put_desk(node)
    block = LAB.block(node.chain)
    check, verdict = Check(block, block.hash), BlockChecked(1, block.hash, None)
    taken: list[object] = []
    monkeypatch.setattr(node, "_take", taken.append)
    node._carry_out(check)
    node._check_blocks()
    assert taken == []
    desk._answers["check"] = verdict
    for _ in range(2):
        node._check_blocks()
    assert taken == [verdict]
    assert desk.list_told("check") == [(node.chain, check)] * 2


def test_a_block_of_a_height_that_has_just_ended_is_not_checked(
    solo: Solo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verdict on the first makes it final."""
    node = solo.begin(OTHER)
    first, second = (LAB.block(node.chain, proposer=i) for i in (1, 2))
    desk = solo.put_desk(node, check=BlockChecked(1, first.hash, None))
    for block in (first, second):
        node._carry_out(Check(block, block.hash))
    before = node.chain
    monkeypatch.setattr(node, "_take", lambda event: node._finalize(certify(LAB, first)))
    node._check_blocks()
    node._check_blocks()
    assert desk.list_told("check") == [(before, Check(first, first.hash))]


# -- what it is told to do -------------------------------------------------------------------------


def test_what_is_to_be_relayed_fetched_or_accused_is_passed_on(solo: Solo) -> None:
    node = solo.begin(OTHER)
    desk = solo.put_desk(node)
    votes = make_vote(1), make_vote(2)
    evidence = Evidence(first=make_vote(3), second=make_vote(3, block_hash=b"\x07" * 32))
    for effect in (Relay(votes), Fetch(5), Accuse(evidence)):
        node._carry_out(effect)
    assert solo.voice.told[-2:] == [("say", VOTES, *votes), ("fetch", 5)]
    assert desk.told == [("accuse", evidence)]


def test_what_is_signed_is_said_counted_and_heard(solo: Solo) -> None:
    node = solo.begin(OTHER)
    block = LAB.block(node.chain, proposer=OTHER)
    proposal = Proposal(height=1, round=0, valid_round=0, block=block, validator=OTHER)
    receipt = Receipt(learning_round=0, transaction_digest=bytes(32), validator=OTHER)
    votes = [
        make_vote(OTHER),
        make_vote(OTHER, step=int(Step.PRECOMMIT), block_hash=block.hash),
        make_vote(OTHER, round=1, block_hash=block.hash),
    ]
    messages = [LAB.sign(m, LAB.validators[OTHER]) for m in (proposal, *votes, receipt)]
    for message in messages:
        node._carry_out(Send(message))
    assert solo.voice.list_told("say") == [(VOTES, message) for message in messages]
    assert [event.message for event in node._events] == messages  # type: ignore[union-attr]
    counts = [
        measure(node, "votes_total", step=step, choice=choice)
        for step, choice in (
            ("prevote", "nil"),
            ("prevote", "block"),
            ("precommit", "nil"),
            ("precommit", "block"),
        )
    ]
    assert counts == [1, 1, None, 1]
    solo.drop(OTHER)
    again = solo.start(OTHER)
    assert again.ledger.own_votes == tuple(messages[:-1]), "a receipt binds nobody"


def test_a_passed_place_is_not_signed_again(solo: Solo) -> None:
    """The same message is; another one at or before that place is not."""
    node = solo.begin(OTHER)
    first = make_vote(OTHER, round=2)
    for _ in range(2):
        node._carry_out(Send(first))
    assert solo.voice.list_told("say") == [(VOTES, first)] * 2
    for other in (make_vote(OTHER, round=2, block_hash=b"\x07" * 32), make_vote(OTHER, round=1)):
        node._carry_out(Send(other))
    assert len(solo.voice.list_told("say")) == 2
    said = [e for e in solo.list_events(OTHER) if e["event"] == "not signed again"]
    assert [(e["height"], e["round"]) for e in said] == [(1, 2), (1, 1)]
    receipt = Receipt(learning_round=0, transaction_digest=bytes(32), validator=OTHER)
    node._carry_out(Send(receipt))
    assert solo.voice.list_told("say")[2:] == [(VOTES, LAB.sign(receipt, LAB.validators[OTHER]))]


def test_the_gauge_of_the_round_follows(solo: Solo) -> None:
    node = solo.begin(OTHER)
    hear(node, VOTES, *(make_vote(i, round=3) for i in (1, 2)))
    assert node._state.round == 3
    assert measure(node, "round") == 3


# -- pending transactions and blobs ----------------------------------------------------------------


def test_what_the_desk_finds_valid_gets_a_receipt(solo: Solo) -> None:
    node = solo.begin(OTHER)
    tx = LAB.register(0)
    solo.put_desk(node, judge_pending=[tx])
    node.turn()
    ((_, receipt),) = solo.voice.list_told("say")
    assert isinstance(receipt, Receipt)
    assert receipt.transaction_digest == tx.digest


def test_blobs_are_looked_for_now_and_then(solo: Solo) -> None:
    node = solo.begin(OTHER)
    desk = solo.put_desk(node, list_wanted=[bytes(32)])
    for solo.now, n_looked in ((0.0, 1), (LOOK_PAUSE_S / 2, 1), (LOOK_PAUSE_S, 2)):
        node._look_for_blobs()
        assert len(desk.list_told("look_again")) == n_looked
    assert desk.list_told("list_wanted") == [(node.chain,)] * 2
    assert solo.voice.list_told("want_blobs") == [((bytes(32),),)] * 2


# -- the process -----------------------------------------------------------------------------------


def test_a_turn_repeats_what_matters_first(solo: Solo) -> None:
    node = solo.begin(OTHER)
    node.turn()
    assert [told[0] for told in solo.voice.told[:2]] == ["watch_streams", "repeat"]
    state, list_pending = solo.voice.list_told("repeat")[0]
    assert state is node._state
    assert list_pending() == []


def test_a_node_runs_until_told_to_stop(solo: Solo, monkeypatch: pytest.MonkeyPatch) -> None:
    node = solo.begin(OTHER)
    node._timers.clear()
    turns: list[int] = []
    monkeypatch.setattr(node, "turn", lambda: turns.append(1))
    stops = iter([False, False, True])
    node.run(lambda: next(stops))
    assert len(turns) == 2
    assert list_timers(node) == [(0.3 + WAIT_S, TimeoutFired(Step.PROPOSE, 1, 0))], "it started"
    assert solo.list_events(OTHER)[0] | {"log_level": ""} == {
        "event": "node is up",
        "height": 0,
        "torn": 0,
        "log_level": "",
    }


def test_a_transport_that_is_down_is_mended_and_waited_for(
    solo: Solo, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = solo.begin(OTHER)
    slept: list[float] = []
    mended: list[int] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(node, "turn", Part(turn=ConnectionError("down")).turn)
    stops = iter([False, False, True])
    node.run(lambda: next(stops), mend=lambda: mended.append(1))
    assert slept == [0.25] * 2
    assert len(mended) == 2
    assert solo.voice.list_told("begin_again") == [(0.25,)] * 2
    said = [e for e in solo.list_events(OTHER) if e["event"] == "transport unreachable"]
    assert [e["error"] for e in said] == ["ConnectionError"] * 2


def begin_after(solo: Solo, n_blocks: int) -> Node:
    """A node whose ledger holds so many blocks already."""
    node = solo.begin(SILENT)
    for final in make_finals(LAB, n_blocks):
        node.ledger.append(final)
    solo.drop(SILENT)
    return solo.begin(SILENT)


def test_a_node_that_starts_tells_where_it_is(solo: Solo) -> None:
    """Also when no block comes any more."""
    node = begin_after(solo, 9)
    assert measure(node, "height") == 9
    assert measure(node, "learning_round") == node.chain.learning_round == 1


def test_a_node_that_starts_asks_for_what_its_ledger_names(solo: Solo) -> None:
    again = begin_after(solo, 6)
    again._look_for_blobs()
    assert again.chain.phase is Phase.ELECT
    ((wanted,),) = solo.voice.list_told("want_blobs")
    assert list(wanted) == list(list_round_blobs(again.chain))


def test_waits_grow_with_empty_blocks(solo: Solo) -> None:
    """Also over a restart."""
    node, chain = solo.begin(OTHER), start(LAB.genesis)
    for n_empty in (1, 2):
        block = LAB.block(chain)
        node._take(FinalReceived(certify(LAB, block)))
        chain = apply(chain, block)
        fired = TimeoutFired(Step.PROPOSE, n_empty + 1, 0)
        assert list_timers(node) == [(0.3 + WAIT_S * 2**n_empty, fired)]
    solo.drop(OTHER)
    assert list_timers(solo.begin(OTHER)) == [(0.3 + 4 * WAIT_S, fired)]
