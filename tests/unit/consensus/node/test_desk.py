"""What a node keeps of what comes in, what it judges, and what it puts into its blocks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from consensus.learning.chain_state import ChainState, Phase
from consensus.wire.messages import NIL, BeaconShare, Evidence, Step, Vote
from consensus.wire.transactions import Refusal
from prover.wire.envelope import Envelope
from tests.support.desks import LAB, Office, extend, reach
from tests.support.learning import PHASES
from tests.support.statements import restate


@pytest.fixture
def office() -> Office:
    return Office()


# -- what comes in ---------------------------------------------------------------------------------


def test_what_is_valid_is_judged_once_and_proposed(office: Office) -> None:
    chain, txs = reach(Phase.COMMIT), [LAB.commit(i) for i in (2, 0)]
    assert not office.desk.is_anything_due(chain)
    assert office.hold(chain, *txs) == txs
    assert office.desk.judge_pending(chain) == []
    assert office.hold(chain, *txs) == [], "they come again"
    assert office.judge.batches == [txs]
    assert office.desk.is_anything_due(chain)
    assert office.draft(chain).transactions == tuple(txs)
    assert [tx for _, tx in office.desk.list_pending()] == txs
    assert office.measure("verdicts_total", kind="commit", verdict="valid") == 2
    assert office.measure("verdicts_total", kind="commit", verdict="faulty") is None


def test_what_is_faulty_leaves_and_stays_away(office: Office) -> None:
    chain, faulty, right = reach(Phase.COMMIT), LAB.commit(0), LAB.commit(1)
    office.judge.faults[faulty.digest] = "it is false"
    assert office.hold(chain, faulty, right) == [right]
    assert office.desk.add_transaction(chain, faulty) == "it is false"
    assert office.desk.judge_pending(chain) == []
    assert office.judge.batches == [[faulty, right]], "it is not judged again"
    assert [tx for _, tx in office.desk.list_pending()] == [right]
    assert office.draft(chain).transactions == (right,)
    assert office.measure("verdicts_total", kind="commit", verdict="faulty") == 1
    (said,) = office.log.entries
    assert said["event"] == "transaction refused"
    assert said["client"] == LAB.client(0).hex()[:16]
    assert (said["kind"], said["fault"]) == ("commit", "it is false")


def test_what_the_pool_refuses_is_not_judged(office: Office) -> None:
    chain, forged = reach(Phase.COMMIT), replace(LAB.commit(0), signature=bytes(64))
    assert office.desk.add_transaction(chain, forged) == "the signature is not its client's"
    assert office.desk.judge_pending(chain) == []
    assert office.judge.batches == []


def test_what_comes_early_is_judged_when_its_phase_begins(office: Office) -> None:
    chain, early = reach(Phase.COMMIT), [LAB.commit(i, 1) for i in (1, 2)]
    assert office.hold(chain, LAB.commit(0), *early) == [LAB.commit(0)]
    office.desk.move_on(chain, reach(Phase.COMMIT, 1))
    assert office.desk.judge_pending(reach(Phase.COMMIT, 1)) == early
    assert office.judge.batches == [[LAB.commit(0)], early]
    assert office.draft(reach(Phase.COMMIT, 1)).transactions == tuple(early)


def test_the_gauge_of_what_waits_follows(office: Office) -> None:
    chain, txs = reach(Phase.COMMIT), [LAB.commit(i) for i in range(3)]
    office.add(chain, *txs)
    assert office.measure("pending") == 3
    extend(office, chain, txs[1])
    assert office.measure("pending") == 2


def test_a_share_that_counts_for_nothing_is_named(office: Office) -> None:
    share = BeaconShare(learning_round=0, commit_height=2, validator=0, share=bytes(32))
    found = office.desk.add_share(reach(Phase.COMMIT), share)
    assert found == "a share of no beacon that is due"


def accuse(validator: int, second: bytes) -> Evidence:
    votes = (
        Vote(step=int(Step.PREVOTE), height=1, round=0, block_hash=named, validator=validator)
        for named in (NIL, second)
    )
    first, other = (LAB.sign(vote, LAB.validators[validator]) for vote in votes)
    return Evidence(first=first, second=other)


def test_the_first_contradiction_of_a_validator_is_put_on_record(office: Office) -> None:
    chain, first = reach(Phase.COMMIT), accuse(3, b"\x07" * 32)
    for evidence in (first, accuse(3, b"\x08" * 32)):
        office.desk.accuse(evidence)
    assert office.draft(chain).evidence == (first,)
    assert office.desk.is_anything_due(chain)
    assert not office.desk.is_anything_due(replace(chain, offenders=(3,))), "it is on record"
    assert not Office().desk.is_anything_due(replace(chain, offenders=(3,)))
    assert office.measure("evidence_total") == 2
    said = [(entry["event"], entry["validator"]) for entry in office.log.entries]
    assert said == [("votes contradict", 3)] * 2


@pytest.mark.parametrize("phase", PHASES)
def test_a_beacon_and_an_aggregate_are_always_due(office: Office, phase: Phase) -> None:
    chain = LAB.extend(reach(Phase.ELECT, 1)) if phase is Phase.DONE else reach(phase)
    assert office.desk.is_anything_due(chain) == (phase in (Phase.BEACON, Phase.ELECT))


# -- blocks that become final ----------------------------------------------------------------------


def test_what_a_block_holds_is_neither_judged_nor_proposed_again(office: Office) -> None:
    chain, txs = reach(Phase.COMMIT), [LAB.commit(i) for i in range(3)]
    office.hold(chain, *txs[:2])
    office.add(chain, txs[2])
    after = extend(office, chain, txs[0])
    assert office.draft(after).transactions == (txs[1],)
    assert office.desk.judge_pending(after) == [txs[2]], "within a phase the rest waits on"
    assert office.judge.batches == [txs[:2], txs[2:]]
    other = Office()
    other.hold(chain, txs[1])
    other.add(chain, txs[0], txs[2])
    after = extend(other, chain, txs[0])
    assert other.draft(after).transactions == (txs[1],)
    assert other.desk.judge_pending(after) == [txs[2]]
    assert other.judge.batches == [[txs[1]], [txs[2]]]


def test_a_phase_ends_what_is_known_of_it(office: Office) -> None:
    """Also of the next round: the same bytes are judged against another state."""
    chain, commit = reach(Phase.COMMIT), LAB.commit(0)
    office.hold(chain, commit)
    office.judge.faults = {LAB.commit(i).digest: "it is false" for i in (1, 2)}
    office.hold(chain, LAB.commit(1))
    office.add(chain, LAB.commit(2))
    after = reach(Phase.BEACON)
    office.desk.move_on(chain, after)
    assert office.desk.judge_pending(after) == []
    assert office.desk.list_pending() == []
    assert office.draft(reach(Phase.COMMIT)).transactions == ()
    office.desk.move_on(after, chain)
    office.judge.faults.clear()
    assert office.hold(chain, LAB.commit(1)) == [LAB.commit(1)]


def test_a_client_is_heard_again_in_the_next_phase(office: Office) -> None:
    """However many faulty ones it has sent."""
    chain, after = reach(Phase.COMMIT), reach(Phase.COMMIT, 1)
    for t in range(8):
        tx = LAB.commit(0, d_w=bytes(31) + bytes((t,)))
        office.judge.faults[tx.digest] = "it is false"
        office.hold(chain, tx)
    fault = office.desk.add_transaction(chain, LAB.commit(0))
    assert fault == "its client has sent too many faulty ones"
    office.desk.move_on(chain, after)
    assert office.hold(after, LAB.commit(0, 1)) == [LAB.commit(0, 1)]


# -- proofs that do not verify ---------------------------------------------------------------------


def make_elsewhere(chain: ChainState) -> Any:
    """A proof of client 0 that states another height of the commits."""
    envelope = Envelope.decode(LAB.prove(0, chain).envelope)
    assert envelope is not None
    statement = restate(envelope.statement, commit_height=9)
    return LAB.wrap(0, replace(envelope, statement=statement))


def test_the_first_false_proof_of_a_client_is_put_on_record(office: Office) -> None:
    """One that states something else is not the client's chance gone."""
    chain = reach(Phase.PROVE)
    false = [make_elsewhere(chain), LAB.prove(0, chain), LAB.prove(0, chain, claimed=3)]
    office.judge.faults = {tx.digest: "it is false" for tx in false}
    assert office.hold(chain, false[0]) == []
    assert not office.desk.is_anything_due(chain)
    assert office.hold(chain, *false[1:]) == []
    assert office.desk.is_anything_due(chain)
    assert office.draft(chain).transactions == (Refusal(proof=false[1]),)
    after = LAB.extend(chain, [Refusal(proof=false[1])])
    assert not office.desk.is_anything_due(after)
    assert office.draft(after).transactions == ()


def test_a_proof_that_holds_is_not_put_on_record_for_its_deal(office: Office) -> None:
    """Its shares are malformed: its client may send others, and nobody may call it a liar."""
    chain, tx = reach(Phase.PROVE), LAB.prove(0, reach(Phase.PROVE))
    office.judge.faults = {
        tx.digest: "its deal is malformed",
        Refusal(proof=tx).digest: "it refuses a valid proof",
    }
    assert office.hold(chain, tx) == []
    assert not office.desk.is_anything_due(chain)
    assert office.draft(chain).transactions == ()


def test_only_proofs_are_put_on_record(office: Office) -> None:
    chain, commit = reach(Phase.COMMIT), LAB.commit(0)
    office.judge.faults[commit.digest] = "it is false"
    office.hold(chain, commit)
    assert not office.desk.is_anything_due(chain)
    assert office.draft(chain).transactions == ()


def test_a_refusal_does_not_outlive_its_phase(office: Office) -> None:
    chain, false = reach(Phase.PROVE), LAB.prove(0, reach(Phase.PROVE))
    office.judge.faults[false.digest] = "it is false"
    office.hold(chain, false)
    office.desk.move_on(chain, reach(Phase.MASK))
    assert not office.desk.is_anything_due(chain)
