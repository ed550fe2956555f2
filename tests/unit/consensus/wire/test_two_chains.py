"""Two chains of one name, with the same validators and clients: nothing signed passes over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consensus.agreement.authentication import authenticate
from consensus.disk.identity import sign
from consensus.learning import beacon
from consensus.learning.admission import find_admission_fault, find_statement_fault
from consensus.learning.chain import beacon_message, find_fault, start
from consensus.learning.chain_state import Phase
from consensus.learning.steps import STEPS
from consensus.wire.messages import NIL, BeaconShare, Block, Evidence, Proposal, Receipt, Step, Vote
from consensus.wire.transactions import permit_bytes
from prover.wire.envelope import Envelope
from tests.support.learning import Lab, deal_beacon

OLD, NEW = Lab(), Lab(changes={"threshold": 2})


def test_they_differ_in_their_genesis_alone() -> None:
    assert OLD.genesis.chain_id == NEW.genesis.chain_id
    assert OLD.genesis.validators == NEW.genesis.validators
    assert OLD.genesis.digest != NEW.genesis.digest
    assert OLD.genesis.name != NEW.genesis.name


@pytest.mark.parametrize("phase", [Phase.REGISTER, Phase.COMMIT, *STEPS])
def test_an_old_transaction_is_refused(phase: Phase) -> None:
    here, there = OLD.reach(phase), NEW.reach(phase)
    for tx in OLD.list_due(here):
        assert find_admission_fault(here, tx) is None
        assert find_admission_fault(there, tx) is not None


def test_an_old_permit_lets_nobody_in() -> None:
    permit = OLD.register(0).permit
    tx = NEW.sign(replace(NEW.register(0), permit=permit), NEW.clients[0])
    assert find_admission_fault(start(NEW.genesis), tx) == "the permit is not the admission key's"
    assert permit_bytes(OLD.genesis.digest, OLD.client(0)) not in (
        permit_bytes(NEW.genesis.digest, NEW.client(0)),
        permit_bytes(OLD.genesis.chain_id, OLD.client(0)),
    )


def test_an_old_proof_is_refused_signed_anew_as_well() -> None:
    here, there = OLD.reach(Phase.PROVE), NEW.reach(Phase.PROVE)
    old = OLD.prove(0, here)
    assert find_admission_fault(here, old) is None
    envelope = Envelope.decode(old.envelope)
    assert envelope is not None
    fault = "statement: chain_id is another"
    assert find_statement_fault(there, NEW.client(0), envelope.statement) == fault
    assert find_admission_fault(there, NEW.wrap(0, envelope)) == fault


def test_an_old_share_and_beacon_are_none_here() -> None:
    here, there = OLD.reach(Phase.BEACON), NEW.reach(Phase.BEACON)
    assert here.commit_height == there.commit_height
    assert beacon_message(here) != beacon_message(there)
    secret = deal_beacon(4).secrets[0]
    share = BeaconShare(
        learning_round=0,
        commit_height=here.commit_height,
        validator=0,
        share=beacon.sign_share(secret, beacon_message(here)),
    )
    share = sign(OLD.validators[0], share, OLD.genesis.digest)
    assert authenticate(share, OLD.genesis) is None
    assert authenticate(share, NEW.genesis) == "the signature is not its validator's"
    assert beacon.verify_share(OLD.genesis.share_points[:1], beacon_message(here), share.share)
    assert not beacon.verify_share(NEW.genesis.share_points[:1], beacon_message(there), share.share)


def make_vote(lab: Lab, block_hash: bytes) -> Vote:
    vote = Vote(step=int(Step.PREVOTE), height=1, round=0, block_hash=block_hash, validator=2)
    return sign(lab.validators[2], vote, lab.genesis.digest)


def test_what_validators_said_there_is_said_by_nobody_here() -> None:
    block: Block = OLD.block(start(OLD.genesis))
    unsigned = (
        Vote(step=int(Step.PREVOTE), height=1, round=0, block_hash=NIL, validator=0),
        Proposal(height=1, round=0, valid_round=0, block=block, validator=0),
        Receipt(learning_round=0, transaction_digest=bytes(32), validator=0),
    )
    for message in unsigned:
        signed = sign(OLD.validators[0], message, OLD.genesis.digest)
        assert authenticate(signed, OLD.genesis) is None
        assert authenticate(signed, NEW.genesis) == "the signature is not its validator's"


def test_two_honest_votes_on_two_chains_are_no_evidence() -> None:
    """Neither here nor there: each of them is signed for one of the two."""
    evidence = Evidence(first=make_vote(OLD, NIL), second=make_vote(NEW, bytes([9]) * 32))
    for lab in (OLD, NEW):
        state = lab.reach(Phase.COMMIT)
        fault = find_fault(state, lab.block(state, evidence=(evidence,)))
        assert fault == "evidence: a vote is not signed by its validator"
        twice = Evidence(first=make_vote(lab, NIL), second=make_vote(lab, bytes([9]) * 32))
        assert find_fault(state, lab.block(state, evidence=(twice,))) is None
