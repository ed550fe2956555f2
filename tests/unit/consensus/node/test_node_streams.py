"""One node by itself: what it takes of what comes over the streams, and what a final block ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from consensus.agreement.events import Build, Check, FinalReceived, TimeoutFired
from consensus.disk.snapshots import Snapshot
from consensus.errors import LedgerError
from consensus.node.node import Node
from consensus.node.stream import BLOBS, FINAL, TRANSACTIONS, VOTES, Incoming
from consensus.wire.gossip_messages import BlobPart, BlobRequest, HeldState, Holdings
from consensus.wire.messages import BeaconShare, BlockRequest, FinalBlock, Proposal, Receipt, Step
from tests.support.solo import LAB, Part, Solo, hear, list_timers, make_vote, measure
from tests.support.stored import list_steps, make_finals

FORGOTTEN = "own vote was forgotten: sits this height out"


@pytest.fixture
def solo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Solo]:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    made = Solo(tmp_path)
    yield made
    made.close()


@pytest.fixture
def node(solo: Solo) -> Node:
    """Validator 3, whose votes are in no certificate here; its transport notes what it forgets."""
    made = solo.begin(3)
    made._transport = Part(read=[])  # type: ignore[assignment]
    return made


def list_forgotten(node: Node) -> list[bytes]:
    transport: Any = node._transport
    return [raw for (raw,) in transport.list_told("forget")]


def count_refused(node: Node, stream: str) -> float:
    return measure(node, "refused_messages_total", stream=stream) or 0.0


def sign(message: Any) -> Any:
    """By the validator that it names."""
    return LAB.sign(message, LAB.validators[message.validator])


# -- transactions ----------------------------------------------------------------------------------


def test_what_is_no_transaction_is_refused(solo: Solo, node: Node) -> None:
    desk = solo.put_desk(node)
    hear(node, TRANSACTIONS, b"", b"noise", make_vote(0))
    assert count_refused(node, TRANSACTIONS) == 3
    assert (desk.told, list_forgotten(node)) == ([], [])


def test_a_transaction_goes_to_the_desk_and_is_noted(solo: Solo, node: Node) -> None:
    desk = solo.put_desk(node)
    hear(node, TRANSACTIONS, LAB.register(0))
    assert desk.list_told("add_transaction") == [(node.chain, LAB.register(0))]
    assert solo.voice.list_told("note") == [(LAB.register(0),)]
    assert (count_refused(node, TRANSACTIONS), list_forgotten(node)) == (0, [])


def test_one_that_the_desk_refuses_may_come_again(solo: Solo, node: Node) -> None:
    solo.put_desk(node, add_transaction="its client is not registered")
    hear(node, TRANSACTIONS, LAB.commit(0))
    assert list_forgotten(node) == [LAB.commit(0).encode()]
    assert solo.voice.list_told("note") == []
    assert count_refused(node, TRANSACTIONS) == 1


# -- what validators say ---------------------------------------------------------------------------

RECEIPT = Receipt(learning_round=0, transaction_digest=b"\x07" * 32, validator=2)
HOLDINGS = Holdings(number=0, transactions=b"", receipts=b"", validator=2)
SHARE = BeaconShare(learning_round=0, commit_height=2, validator=2, share=bytes(32))


@pytest.mark.parametrize("raw", [b"", b"\xfe", b"\xfe" * 20, make_vote(0).encode()[:-1]])
def test_what_is_no_message_is_refused(node: Node, raw: bytes) -> None:
    hear(node, VOTES, raw)
    assert count_refused(node, VOTES) == 1


def test_a_vote_is_taken_and_its_height_noted(solo: Solo, node: Node) -> None:
    hear(node, VOTES, make_vote(2), make_vote(1, height=9))
    assert node._state.get_round(0).prevotes.n_voters == 1
    assert measure(node, "peer_height", peer="2") == 1
    assert measure(node, "peer_height", peer="1") == 9
    assert count_refused(node, VOTES) == 0
    assert solo.voice.list_told("note") == []


def test_a_receipt_is_noted_and_taken(solo: Solo, node: Node) -> None:
    book = node._state.book
    hear(node, VOTES, sign(RECEIPT))
    assert solo.voice.list_told("note") == [(sign(RECEIPT),)]
    assert node._state.book != book
    assert measure(node, "peer_height", peer="2") is None
    assert count_refused(node, VOTES) == 0


def test_holdings_are_answered(solo: Solo, node: Node) -> None:
    state, pending = node._state, [(LAB.register(0).digest, LAB.register(0))]
    solo.put_desk(node, list_pending=pending)
    hear(node, VOTES, sign(HOLDINGS))
    assert solo.voice.told == [("answer_holdings", sign(HOLDINGS), state, pending)]
    assert node._state is state
    assert count_refused(node, VOTES) == 0


@pytest.mark.parametrize("message", [make_vote(2), RECEIPT, HOLDINGS])
def test_what_its_validator_did_not_sign_does_nothing(solo: Solo, node: Node, message: Any) -> None:
    state = node._state
    hear(node, VOTES, replace(message, signature=bytes(64)))
    assert node._state is state
    assert solo.voice.told == []
    assert measure(node, "peer_height", peer="2") is None
    assert count_refused(node, VOTES) == 1


@pytest.mark.parametrize("fault", [None, "a share of no beacon that is due"])
def test_a_share_goes_to_the_desk(solo: Solo, node: Node, fault: str | None) -> None:
    desk = solo.put_desk(node, add_share=fault)
    hear(node, VOTES, sign(SHARE))
    assert desk.told == [("add_share", node.chain, sign(SHARE))]
    assert count_refused(node, VOTES) == (0 if fault is None else 1)


@pytest.mark.parametrize("signer", [None, 1])
def test_a_share_that_its_validator_did_not_sign_is_dropped(
    solo: Solo, node: Node, signer: int | None
) -> None:
    """Anybody can write to the streams: nothing is computed for it."""
    desk = solo.put_desk(node)
    hear(node, VOTES, SHARE if signer is None else LAB.sign(SHARE, LAB.validators[signer]))
    assert desk.told == []
    assert count_refused(node, VOTES) == 1


def test_requests_go_to_the_voice(solo: Solo, node: Node) -> None:
    of_block = BlockRequest(height=4)
    of_blob = BlobRequest(digest=bytes(32), part=0, validator=3)
    hear(node, VOTES, of_block, of_blob)
    assert solo.voice.told == [("answer", of_block), ("answer_blob", of_blob)]
    assert count_refused(node, VOTES) == 0


def test_a_turn_hears_looks_for_blobs_and_checks(solo: Solo, node: Node) -> None:
    """What came is taken before anything is looked for or checked."""
    block = LAB.block(node.chain, proposer=1)
    proposal = Proposal(height=1, round=0, valid_round=0, block=block, validator=1)
    desk = solo.put_desk(node)
    said = [Incoming(VOTES, sign(message).encode()) for message in (proposal, RECEIPT)]
    node._transport = Part(read=said)  # type: ignore[assignment]
    node.turn()
    told = [call[0] for call in desk.told]
    expected = ["list_wanted", "look_again", "judge_pending", "check"]
    assert [name for name in told if name != "is_anything_due"] == expected
    assert desk.list_told("check") == [(node.chain, Check(block, block.hash))]


# -- votes of its own that it does not know --------------------------------------------------------


def list_sat_out(solo: Solo, index: int = 3) -> list[int]:
    """Heights that the node said it sits out."""
    return [e["height"] for e in solo.list_events(index) if e["event"] == FORGOTTEN]


def test_a_vote_that_was_forgotten_is_told_once(solo: Solo, node: Node) -> None:
    hear(node, VOTES, *(make_vote(i) for i in range(3)))
    assert list_sat_out(solo) == []
    hear(node, VOTES, make_vote(3), make_vote(3))
    assert list_sat_out(solo) == [1]
    solo.now = 5.0
    node.turn()
    assert solo.voice.list_told("say") == [], "it may have said something else there"


def test_votes_of_others_are_no_reason_to_be_silent(solo: Solo, node: Node) -> None:
    hear(node, VOTES, *(make_vote(i) for i in range(3)))
    solo.now = 0.8
    node.turn()
    assert solo.voice.list_told("say")[0] == (VOTES, make_vote(3))
    assert list_sat_out(solo) == []


def test_an_own_vote_in_a_certificate_shows_what_was_forgotten(solo: Solo) -> None:
    node = solo.begin(0)
    (final,) = make_finals(LAB, 1)
    hear(node, FINAL, final)
    assert list_sat_out(solo, 0) == [1]


def test_an_observer_has_forgotten_nothing(solo: Solo) -> None:
    node = solo.begin(7, observes=True)
    (final,) = make_finals(LAB, 1)
    hear(node, VOTES, make_vote(0), make_vote(3))
    hear(node, FINAL, final)
    assert node.chain.height == 1
    assert list_sat_out(solo, 7) == []


# -- final blocks ----------------------------------------------------------------------------------


def test_the_next_block_is_taken_and_told(solo: Solo, node: Node) -> None:
    before, (final, second) = node.chain, make_finals(LAB, 2)
    hear(node, FINAL, final)
    assert node.chain.height == node.ledger.height == 1
    assert node.ledger.get(1) == final
    assert measure(node, "height") == 1
    assert solo.voice.list_told("say_final") == [(final, before, node.chain)]
    assert solo.voice.list_told("fetch") == []
    (said,) = [e for e in solo.list_events(3) if e["event"] == "block is final"]
    expected = {
        "height": 1,
        "hash": final.block.hash.hex()[:16],
        "phase": "commit",
        "transactions": 3,
    }
    assert expected.items() <= said.items()
    assert (count_refused(node, FINAL), list_forgotten(node)) == (0, [])
    hear(node, FINAL, second)
    assert measure(node, "height") == 2
    assert measure(node, "learning_round") == 0


def test_blocks_that_it_has_are_nothing_new(solo: Solo, node: Node) -> None:
    """Whoever signed them: nothing is computed for them."""
    finals = make_finals(LAB, 2)
    hear(node, FINAL, *finals)
    told = list(solo.voice.told)
    for final in finals:
        blank = [replace(v, signature=bytes(64)) for v in final.certificate.votes]
        forged = replace(final, certificate=type(final.certificate).of(blank))
        hear(node, FINAL, final, forged)
    assert node.chain.height == 2
    assert solo.voice.told == told
    assert (count_refused(node, FINAL), list_forgotten(node)) == (0, [])


def test_what_is_no_final_block_is_refused(solo: Solo, node: Node) -> None:
    (final,) = make_finals(LAB, 1)
    blank = [replace(v, signature=bytes(64)) for v in final.certificate.votes]
    forged = FinalBlock(block=final.block, certificate=type(final.certificate).of(blank))
    hear(node, FINAL, b"", b"noise", forged)
    assert node.chain.height == 0
    assert solo.voice.told == []
    assert count_refused(node, FINAL) == 3


def test_a_later_block_is_kept_in_mind_and_the_next_one_asked_for(solo: Solo, node: Node) -> None:
    finals = make_finals(LAB, 4)
    hear(node, FINAL, finals[0])
    catch_up = Part()
    node._catch_up = catch_up  # type: ignore[assignment]
    for final in finals[2:]:
        hear(node, FINAL, final)
    assert node.chain.height == 1
    assert list_forgotten(node) == [final.encode() for final in finals[2:]]
    assert catch_up.told == [("expect", final, 1) for final in finals[2:]]
    assert solo.voice.list_told("fetch") == [(2,), (2,)]
    assert count_refused(node, FINAL) == 0


def test_leaders_are_counted_when_they_change(solo: Solo, node: Node) -> None:
    hear(node, FINAL, *make_finals(LAB, 10))
    assert node.chain.leader == LAB.client(0)
    assert measure(node, "leader_changes_total") == 1
    assert measure(node, "learning_round") == 1


def test_models_that_no_block_names_any_more_are_let_go(
    solo: Solo, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, kept = solo.blobs.put(b"gone"), solo.blobs.put(b"kept")
    append = node.ledger.append

    def append_and_forget(final: FinalBlock) -> tuple[bytes, ...]:
        append(final)
        return (gone,)

    monkeypatch.setattr(node.ledger, "append", append_and_forget)
    hear(node, FINAL, *make_finals(LAB, 1))
    assert list(solo.blobs._blobs) == [kept]


def test_a_final_block_ends_what_was_under_way(solo: Solo, node: Node) -> None:
    """Timers, the block in the making, those in check, and what was due."""
    (final,) = make_finals(LAB, 1)
    block = LAB.block(node.chain, proposer=2)
    desk = solo.put_desk(node, is_anything_due=True)
    node._mind_due()
    node._carry_out(Build(1, 0))
    node._carry_out(Check(block, block.hash))
    before, solo.now = node.chain, 5.0
    node._take(FinalReceived(final))
    assert desk.list_told("move_on") == [(before, node.chain)]
    (timer,) = list_timers(node)
    assert timer == (5.0 + 0.3 + 0.5, TimeoutFired(Step.PROPOSE, 2, 0))
    node._check_blocks()
    node._try_build()
    assert desk.list_told("check") == desk.list_told("draft") == []
    node._mind_due()
    assert len(desk.list_told("is_anything_due")) == 2, "what is due is asked anew"


def test_the_wait_for_the_next_block_begins_with_the_height(solo: Solo) -> None:
    """Of validator 2, who proposes height 2."""
    node = solo.begin(2)
    desk = solo.put_desk(node)
    solo.now = 5.0
    hear(node, FINAL, *make_finals(LAB, 1))
    for solo.now, n_drafts in ((5.0, 0), (5.49, 0), (5.5, 1)):
        node._try_build()
        assert len(desk.list_told("draft")) == n_drafts


# -- blobs -----------------------------------------------------------------------------------------


def make_part(raw: bytes) -> BlobPart:
    digest = sha256(raw).digest()
    return BlobPart(digest=digest, part=0, size=len(raw), data=raw, validator=2)


def test_a_part_of_a_blob_goes_to_who_asked_for_it(solo: Solo, node: Node) -> None:
    desk, part = solo.put_desk(node), sign(make_part(b"a blob"))
    hear(node, BLOBS, part)
    assert desk.told == [], "it is not whole"
    solo.voice._answers["take_part"] = b"a blob"
    hear(node, BLOBS, part)
    assert solo.voice.list_told("take_part") == [(part,)] * 2
    assert desk.told == [("keep_blob", b"a blob")]
    assert count_refused(node, BLOBS) == 0


def test_a_part_that_its_validator_did_not_sign_is_refused(solo: Solo, node: Node) -> None:
    desk = solo.put_desk(node)
    hear(node, BLOBS, b"", b"noise", make_part(b"a blob"))
    assert (desk.told, solo.voice.told) == ([], [])
    assert count_refused(node, BLOBS) == 3


# -- states of peers -------------------------------------------------------------------------------


def hold(height: int) -> tuple[HeldState, Snapshot]:
    *_, (state, final) = list_steps(LAB, height + 1)
    return HeldState(state=state.encode()), Snapshot(state, final)


def expect(node: Node, answer: Snapshot | None) -> Part:
    catch_up = Part(take=answer)
    node._catch_up = catch_up  # type: ignore[assignment]
    return catch_up


def test_a_state_that_no_block_names_may_come_again(solo: Solo, node: Node) -> None:
    held, _ = hold(3)
    catch_up = expect(node, None)
    hear(node, FINAL, held)
    assert catch_up.told == [("take", held, 0)]
    assert list_forgotten(node) == [held.encode()]
    assert count_refused(node, FINAL) == 1
    assert node.chain.height == node.ledger.height == 0


@pytest.mark.parametrize("index", [0, 3])
def test_a_node_goes_on_from_a_state(solo: Solo, index: int) -> None:
    """Everything begins anew there, and an own vote that it does not know is noticed."""
    node = solo.begin(index)
    held, snapshot = hold(6)
    desk = solo.put_desk(node)
    expect(node, snapshot)
    before, solo.now = node.chain, 5.0
    hear(node, FINAL, held)
    assert count_refused(node, FINAL) == 0
    assert node.chain == node.ledger.state
    assert node.chain.height == node.ledger.height == 7
    assert node.ledger.get(7) == snapshot.final
    assert measure(node, "height") == 7
    assert measure(node, "learning_round") == 1
    assert desk.list_told("move_on") == [(before, node.chain)]
    assert [fired.height for _, fired in list_timers(node)] == [8]
    said = [e["height"] for e in solo.list_events(index) if "snapshot" in e["event"]]
    assert said == [7]
    assert list_sat_out(solo, index) == ([7] if index == 0 else [])


def test_an_archive_stays_where_it_is(solo: Solo, node: Node, tmp_path: Path) -> None:
    held, snapshot = hold(6)
    expect(node, snapshot)
    error = LedgerError(tmp_path, "an archive cannot go on", "name a new folder")
    node.ledger.jump = Part(jump=error).jump  # type: ignore[method-assign]
    hear(node, FINAL, held)
    assert count_refused(node, FINAL) == 0
    assert node.chain.height == 0
    assert measure(node, "height") == 0
    (said,) = [e for e in solo.list_events(3) if e["event"] == "stays where it is"]
    assert (said["why"], said["next_step"]) == ("an archive cannot go on", "name a new folder")
