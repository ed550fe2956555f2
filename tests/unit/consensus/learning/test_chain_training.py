"""What a chain asks of clients that train: an order drawn once, and what each transaction shows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from consensus.aggregation.outcome import Failure
from consensus.learning import beacon
from consensus.learning.admission import find_admission_fault
from consensus.learning.chain import apply, beacon_message, find_fault, start
from consensus.learning.chain_state import ChainState, Commitment, Phase
from consensus.learning.outcome import find_outcome_fault, make_none
from consensus.learning.pace import compute_wait_ms, is_empty
from consensus.learning.phase_time import compute_remaining_ms
from consensus.learning.rules import ChainRules
from consensus.learning.steps import list_round_blobs
from consensus.node.drafts import BeaconShares
from consensus.node.pool import find_time_fault
from consensus.node.verifier import BlockVerifier
from consensus.wire.messages import BeaconShare
from consensus.wire.transactions import Refusal
from prover.wire.records import encode_fields
from tests.support.learning import Lab, deal_beacon, make_training, point
from tests.support.memory_blobs import MemoryBlobs
from tests.support.tiny_circuits import seeded

LAB = Lab(changes={"training": make_training()})
PLAIN = Lab()
NONE = "training is not shown"
UNDUE = "training is shown that nobody asks for"
OTHER = b"\x07" * 32


def order_state() -> ChainState:
    return LAB.reach(Phase.ORDER)


def fault_of(lab: Lab, state: ChainState, tx: Any, **changes: Any) -> str | None:
    """What the chain says of client 0's transaction with these fields, signed."""
    return find_admission_fault(state, lab.sign(replace(tx, **changes), lab.clients[0]))


# -- the order -------------------------------------------------------------------------------------


def test_orders_are_drawn_once_between_registration_and_the_first_round() -> None:
    walked = [start(LAB.genesis)]
    while walked[-1].phase is not Phase.DONE:
        walked.append(LAB.extend(walked[-1], LAB.list_due(walked[-1])))
    phases = [state.phase for state in walked]
    assert phases[:4] == [Phase.REGISTER, Phase.ORDER, Phase.COMMIT, Phase.BEACON]
    assert phases.count(Phase.ORDER) == 1
    assert phases.count(Phase.COMMIT) == LAB.task.n_rounds


def test_it_begins_at_the_end_of_registration_with_those_who_are_in() -> None:
    state = LAB.extend(start(LAB.genesis), [LAB.register(0), LAB.register(1)])
    assert (state.phase, state.order_height) == (Phase.REGISTER, 0)
    late = LAB.wait(state)
    assert (late.phase, late.order_height, late.phase_ms) == (Phase.ORDER, late.height, 0)
    assert len(late.clients) == 2
    assert LAB.extend(late).phase is Phase.COMMIT


def test_without_training_there_is_none() -> None:
    state = PLAIN.reach(Phase.COMMIT)
    assert (state.order_height, state.order_beacon, state.batches) == (0, b"", {})


def test_the_state_keeps_its_beacon_for_all_rounds() -> None:
    state = order_state()
    assert (state.order_height, state.order_beacon) == (state.height, b"")
    block = LAB.block(state)
    after = apply(state, block)
    assert (after.order_beacon, after.beacon) == (block.beacon, b"")
    later = LAB.reach(Phase.COMMIT, learning_round=1)
    assert later.order_beacon == block.beacon
    assert later.order_height == state.order_height
    assert later.batches == after.batches


def test_its_block_carries_a_beacon_and_no_transaction() -> None:
    state = order_state()
    assert find_fault(state, LAB.block(state)) is None
    assert find_fault(state, LAB.block(state, beacon=b"")) == "the beacon is due"
    at_commit = LAB.reach(Phase.COMMIT)
    early = LAB.block(at_commit, beacon=at_commit.order_beacon)
    assert find_fault(at_commit, early) == "a beacon that is not due"
    for tx in (LAB.register(0), LAB.commit(0)):
        assert find_fault(state, LAB.block(state, [tx])) is not None
    assert not is_empty(LAB.block(state))


def test_it_waits_for_no_client() -> None:
    state = order_state()
    assert compute_remaining_ms(state) is None
    assert not ChainRules().awaits(state, LAB.client(0))
    assert compute_wait_ms(state, (), 0) == LAB.genesis.timeouts.empty_block_ms


def test_commits_that_come_while_it_is_drawn_wait_for_their_phase() -> None:
    state = order_state()
    assert find_time_fault(state, LAB.commit(0)) is None
    assert find_time_fault(state, LAB.register(0)) == "its time is over"
    assert not ChainRules().takes(state, LAB.commit(0))


# -- its beacon ------------------------------------------------------------------------------------


def test_its_message_is_of_genesis_and_height_and_of_no_round() -> None:
    state = order_state()
    message = beacon_message(state)
    height = state.order_height.to_bytes(8, "little")
    assert message == encode_fields((b"zkpot order beacon v1", LAB.genesis.digest, height))
    assert message == beacon.compute_order_message(
        LAB.genesis.digest, register_height=state.order_height
    )
    others = (
        beacon_message(replace(state, order_height=state.order_height + 1)),
        beacon_message(replace(state, genesis=PLAIN.genesis)),
        beacon.compute_message(
            LAB.genesis.digest, learning_round=0, commit_height=state.order_height
        ),
    )
    assert len({message, *others}) == 4


def make_share(state: ChainState, signed: ChainState, **changes: Any) -> BeaconShare:
    """Validator 1's share for what is due at a state, over the message of another."""
    assert state.beacon_height is not None
    share = BeaconShare(
        learning_round=state.learning_round,
        commit_height=state.beacon_height,
        validator=1,
        share=beacon.sign_share(deal_beacon(4).secrets[1], beacon_message(signed)),
    )
    return replace(share, **changes)


def test_shares_are_of_the_beacon_that_is_due() -> None:
    at_order, at_beacon = order_state(), LAB.reach(Phase.BEACON)
    for state, other in ((at_order, at_beacon), (at_beacon, at_order)):
        shares = BeaconShares(LAB.genesis)
        assert shares.add(state, make_share(state, state)) is None
        assert shares.add(state, make_share(other, other)) == "a share of no beacon that is due"
        spoiled = BeaconShares(LAB.genesis)
        assert spoiled.add(state, make_share(state, other)) is None
        true = beacon.sign_share(deal_beacon(4).secrets[2], beacon_message(state))
        assert spoiled.add(state, make_share(state, state, validator=2, share=true)) is None
        assert spoiled.combine(state) is None
        assert spoiled.liars == {1}
        moved = make_share(state, state, learning_round=1)
        assert shares.add(state, moved) == "a share of no beacon that is due"
    assert at_order.beacon_height == at_order.order_height
    assert at_beacon.beacon_height == at_beacon.commit_height
    assert LAB.reach(Phase.COMMIT).beacon_height is None


def test_only_its_own_signature_draws_orders() -> None:
    state = order_state()
    block = LAB.block(state)
    verifier = BlockVerifier(LAB.genesis, MemoryBlobs(), seeded(1))
    assert verifier.check(state, block) is None
    of_round = LAB.block(LAB.reach(Phase.BEACON)).beacon
    for beacon_of in (of_round, point(3)):
        forged = replace(block, beacon=beacon_of)
        assert verifier.check(state, forged) == "the beacon is not the validators' signature"


# -- what transactions show ------------------------------------------------------------------------


def list_cases() -> list[tuple[Phase, dict[str, bytes]]]:
    """Per phase the fields that its transactions have for training."""
    return [
        (Phase.REGISTER, {"batches": OTHER}),
        (Phase.COMMIT, {"trajectory": OTHER, "d_m": point(77)}),
        (Phase.PROVE, {"training": OTHER}),
    ]


def make(lab: Lab, phase: Phase) -> tuple[ChainState, Any]:
    state = lab.reach(phase)
    made = {Phase.REGISTER: lab.register, Phase.COMMIT: lab.commit}
    return state, lab.prove(0, state) if phase is Phase.PROVE else made[phase](0)


@pytest.mark.parametrize(("phase", "fields"), list_cases())
def test_a_task_that_asks_for_training_is_shown_it(phase: Phase, fields: dict[str, bytes]) -> None:
    state, tx = make(LAB, phase)
    assert fault_of(LAB, state, tx) is None
    assert fault_of(LAB, state, tx, **fields) is None
    for name in fields:
        assert fault_of(LAB, state, tx, **{name: b""}) == NONE
    assert fault_of(LAB, state, tx, **dict.fromkeys(fields, b"")) == NONE


@pytest.mark.parametrize(("phase", "fields"), list_cases())
def test_a_task_that_does_not_is_shown_nothing(phase: Phase, fields: dict[str, bytes]) -> None:
    state, tx = make(PLAIN, phase)
    assert fault_of(PLAIN, state, tx) is None
    assert fault_of(PLAIN, state, tx, **fields) == UNDUE
    for name, value in fields.items():
        assert fault_of(PLAIN, state, tx, **{name: value}) == UNDUE


def test_what_is_shown_is_signed() -> None:
    for phase, fields in list_cases():
        state, tx = make(LAB, phase)
        assert (
            find_admission_fault(state, replace(tx, **fields))
            == "the signature is not its client's"
        )


def test_masters_are_committed_to_by_a_point() -> None:
    state, tx = make(LAB, Phase.COMMIT)
    none = b"\xff" * 32
    assert fault_of(LAB, state, tx, d_m=none) == (
        "its commitment to masters is no point of the curve"
    )
    assert fault_of(LAB, state, tx, d_w=none) == "its commitment is no point of the curve"
    assert fault_of(LAB, state, tx, d_m=LAB.commit(1).d_m) is None  # a copy shuts nobody out
    state, tx = make(PLAIN, Phase.COMMIT)
    assert fault_of(PLAIN, state, tx, trajectory=OTHER, d_m=none) == UNDUE


@pytest.mark.parametrize("lab", [LAB, PLAIN])
def test_bounds_are_asked_for_apart(lab: Lab) -> None:
    state, tx = make(lab, Phase.PROVE)
    assert fault_of(lab, state, tx, norm=b"\x01") == "bounds are proven that nobody asks for"


def test_a_barred_client_is_told_so_whatever_it_shows() -> None:
    state = replace(LAB.reach(Phase.COMMIT), expelled=(LAB.client(0),))
    assert fault_of(LAB, state, LAB.commit(0)) == "the client is expelled"


def test_a_proof_that_shows_nothing_cannot_be_refused_on_record() -> None:
    """Nobody but its client could have signed it, and no block could have held it."""
    state, tx = make(LAB, Phase.PROVE)
    assert find_admission_fault(state, Refusal(proof=tx)) is None
    bare = LAB.sign(replace(tx, training=b""), LAB.clients[0])
    assert find_admission_fault(state, Refusal(proof=bare)) == NONE


# -- what is kept of it ----------------------------------------------------------------------------


def test_the_state_keeps_what_was_shown() -> None:
    state = LAB.reach(Phase.MASK)
    client = LAB.client(1)
    commit = LAB.commit(1)
    assert dict(state.batches) == {LAB.client(i): LAB.register(i).batches for i in range(3)}
    assert state.commits[client] == Commitment(
        commit.d_w, commit.mask_key, commit.share_key, commit.trajectory, commit.d_m
    )
    assert state.proofs[client].training == LAB.make_up(b"steps of 1 in 0")
    assert ChainState.decode(state.encode(), LAB.genesis) == state


def test_masters_are_summed_where_there_are_any() -> None:
    for lab, summed in ((LAB, LAB.commit(2).d_m), (PLAIN, PLAIN.commit(2).d_w)):
        assert lab.reach(Phase.BEACON).commits[lab.client(2)].summed == summed
    assert LAB.commit(2).d_w == PLAIN.commit(2).d_w


def test_a_sum_needs_nothing_of_training() -> None:
    """So no round ends for what nobody has any more of it."""
    state = LAB.reach(Phase.UNMASK)
    electing = LAB.extend(state, LAB.list_due(state))
    assert (electing.phase, electing.closed) == (Phase.ELECT, Phase.UNMASK)
    client = LAB.client(0)
    shown = (
        electing.batches[client],
        electing.commits[client].trajectory,
        electing.proofs[client].training,
    )
    assert not set(shown) & set(list_round_blobs(electing))
    for lost in shown:
        aggregate = make_none(electing, Failure.LOST, lost=lost)
        fault = find_outcome_fault(electing, aggregate)
        assert fault == "the aggregate lacks a blob that it does not need"


def test_every_round_is_shown_anew() -> None:
    state = LAB.reach(Phase.COMMIT, learning_round=1)
    assert (dict(state.commits), dict(state.proofs)) == ({}, {})
    after = LAB.extend(state, LAB.list_due(state))
    first = LAB.reach(Phase.BEACON)
    for client, commitment in after.commits.items():
        assert commitment.trajectory != first.commits[client].trajectory
