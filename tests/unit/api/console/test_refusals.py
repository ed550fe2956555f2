"""Proofs that do not verify, on record: who may be refused, and that nobody waits for them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from api.http.chain.history import ChainHistory
from consensus.learning.admission import find_admission_fault
from consensus.learning.chain import apply, find_fault, start
from consensus.learning.chain_state import ChainState, Phase
from consensus.node.desk import Desk
from consensus.node.metrics import NodeMetrics
from consensus.wire.messages import Block
from consensus.wire.transactions import Proof, Refusal, decode_transaction
from federated.attacks import raise_claim
from prover.wire.envelope import Envelope
from tests.support.histories import certify, grow
from tests.support.learning import (
    N_SAMPLES,
    STATEMENT_CHANGES,
    Lab,
    ProvenLab,
    proven_lab,
    proven_state,
)
from tests.support.statements import restate

LAB = Lab()


class Silent:
    """A log that nobody reads."""

    def __getattr__(self, name: str) -> object:
        return lambda *_, **__: None


@pytest.fixture
def state() -> ChainState:
    return LAB.reach(Phase.PROVE)


@pytest.fixture(scope="module")
def lab() -> ProvenLab:
    return proven_lab()


@pytest.fixture(scope="module")
def proving(lab: ProvenLab) -> ChainState:
    return proven_state(Phase.PROVE)


@pytest.fixture(scope="module")
def lie(lab: ProvenLab, proving: ChainState) -> Proof:
    """Client 2, whose model errs on the draw, claims one more than it has proven."""
    deal = lab.prove(2, proving).deal
    return lab.wrap(2, raise_claim(lab.make_envelope(2, proving), extra=1), deal=deal)


def refuse(i: int, state: ChainState) -> Refusal:
    return Refusal(proof=LAB.prove(i, state))


def test_clients_cannot_send_one(state: ChainState) -> None:
    """It stands in blocks only, where the proposer answers for it."""
    refusal = refuse(0, state)
    assert Refusal.decode(refusal.encode()) == refusal
    assert decode_transaction(refusal.encode()) is None
    block = LAB.block(state, [refusal])
    assert Block.decode(block.encode()) == block


def test_it_is_for_the_phase_and_for_what_could_count(state: ChainState) -> None:
    refusal = refuse(0, state)
    assert find_admission_fault(state, refusal) is None
    for phase in (Phase.COMMIT, Phase.BEACON, Phase.MASK):
        assert find_admission_fault(LAB.reach(phase), refusal) == "proofs are closed"
    after = LAB.extend(state, [refusal])
    assert find_admission_fault(after, refusal) == "the client has a refusal"
    other = Refusal(proof=LAB.prove(0, state, claimed=3))
    assert find_admission_fault(after, other) == "the client has a refusal"
    proven = LAB.extend(state, [LAB.prove(0, state)])
    assert find_admission_fault(proven, refusal) == "the client has a proof"


def test_only_its_client_could_have_signed_it(state: ChainState) -> None:
    """Or anyone could have a client refused, by a proof that it never sent."""
    proof = LAB.prove(0, state)
    foreign = LAB.sign(replace(proof, signature=bytes(64)), LAB.clients[1])
    assert (
        find_admission_fault(state, Refusal(proof=foreign)) == "the signature is not its client's"
    )


@pytest.mark.parametrize("field", [n for n in STATEMENT_CHANGES if n != "dataset_digest"])
def test_what_is_about_something_else_is_no_ground(state: ChainState, field: str) -> None:
    """A proof of another round or task, signed again by nobody, says nothing of this one."""
    envelope = Envelope.decode(LAB.prove(0, state).envelope)
    assert envelope is not None
    changes = {field: STATEMENT_CHANGES[field]}
    statement = restate(envelope.statement, **changes)
    other = LAB.wrap(0, Envelope(statement=statement, proof=bytes(224)))
    assert str(find_admission_fault(state, Refusal(proof=other))).startswith(f"statement: {field}")


def test_nobody_waits_for_who_was_refused(state: ChainState) -> None:
    state = LAB.extend(state, [LAB.prove(0, state), LAB.prove(1, state)])
    assert state.phase is Phase.PROVE
    after = LAB.extend(state, [refuse(2, state)])
    assert (after.phase, after.closed) == (Phase.ELECT, Phase.PROVE), "two make no sum"
    assert set(after.proofs) == {LAB.client(0), LAB.client(1)}
    assert set(after.refusals) == {LAB.client(2)}
    assert LAB.client(2) not in after.ranking
    assert after.digest != replace(after, refusals={}).digest


def test_a_round_in_which_all_were_refused_ends(state: ChainState) -> None:
    after = LAB.extend(state, [refuse(i, state) for i in range(3)])
    assert after.phase is Phase.ELECT
    after = LAB.extend(after)
    assert (after.learning_round, dict(after.refusals)) == (1, {})


def test_who_was_refused_may_still_prove(state: ChainState) -> None:
    """While others are waited for; and counts once."""
    state = LAB.extend(state, [refuse(0, state), LAB.prove(1, state)])
    proof = LAB.prove(0, state)
    both = LAB.block(state, [proof, refuse(0, state)])
    assert find_fault(state, both) == "transaction 1: a second one of its client"
    after = LAB.extend(state, [proof])
    assert after.phase is Phase.PROVE  # for client 2
    assert set(after.proofs) == {LAB.client(0), LAB.client(1)}
    assert LAB.extend(after, [LAB.prove(2, state)]).phase is Phase.MASK


def test_validators_see_whether_the_proof_is_none(
    lab: ProvenLab, proving: ChainState, lie: Proof
) -> None:
    """One batch of valid proofs and refused ones; a valid proof cannot be refused."""
    verifier = lab.verifier()
    block = lab.block(proving, [lab.prove(0, proving), Refusal(proof=lie)])
    assert verifier.check(proving, block) is None
    wrong = lab.block(proving, [Refusal(proof=lab.prove(0, proving))])
    assert "client " + lab.client(0).hex() in str(verifier.check(proving, wrong))
    assert str(verifier.check(proving, wrong)).endswith("it refuses a valid proof")
    other_data = raise_claim(lab.make_envelope(1, proving), extra=0)
    statement = replace(other_data.statement, dataset_digest=STATEMENT_CHANGES["dataset_digest"])
    elsewhere = lab.wrap(1, replace(other_data, statement=statement))
    assert verifier.check(proving, lab.block(proving, [Refusal(proof=elsewhere)])) is None


def make_desk(lab: ProvenLab) -> Desk:
    return Desk(lab.genesis, lab.verifier(), lab.blobs, metrics=NodeMetrics(), log=Silent())


def test_a_proposer_puts_what_it_found_on_record(
    lab: ProvenLab, proving: ChainState, lie: Proof
) -> None:
    desk = make_desk(lab)
    assert desk.add_transaction(proving, lie) is None
    assert desk.judge_pending(proving) == []
    assert desk.is_anything_due(proving)
    block = desk.draft(proving, proposer=0, certificate=lab.certify_head(proving))
    assert block is not None
    assert block.transactions == (Refusal(proof=lie),)
    assert lab.verifier().check(proving, block) is None
    after = apply(proving, block)
    desk.move_on(proving, after)
    assert not desk.is_anything_due(after)  # once is enough


def test_a_proposer_prefers_the_valid_proof(
    lab: ProvenLab, proving: ChainState, lie: Proof
) -> None:
    desk = make_desk(lab)
    honest = lab.prove(2, proving)
    for tx in (lie, honest):
        assert desk.add_transaction(proving, tx) is None
    assert desk.judge_pending(proving) == [honest]
    block = desk.draft(proving, proposer=0, certificate=lab.certify_head(proving))
    assert block is not None
    assert block.transactions == (honest,)


def test_what_states_something_else_is_put_on_no_record(
    lab: ProvenLab, proving: ChainState
) -> None:
    desk = make_desk(lab)
    elsewhere = lab.wrap(1, lab.make_envelope(1, proving, commit_height=9))
    assert desk.add_transaction(proving, elsewhere) is None
    assert desk.judge_pending(proving) == []
    assert not desk.is_anything_due(proving)


def test_the_trail_of_a_client_shows_it(state: ChainState) -> None:
    history = ChainHistory(LAB.genesis)
    grow(history, start(LAB.genesis), Phase.PROVE)
    block = LAB.block(state, [refuse(2, state)])
    history.append(certify(block), apply(state, block))
    client = history.get_client(LAB.client(2).hex())
    assert client is not None
    assert client.rounds[0].refused_at == block.height
    assert client.rounds[0].proven_at is None
    shown = history.get_block(block.height)
    assert shown is not None
    assert shown.transactions[0].kind == "refusal"
    assert shown.transactions[0].claimed_correct == N_SAMPLES - 2
