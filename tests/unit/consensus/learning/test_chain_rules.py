"""Each rule of admission where it alone forbids, and what a block does to the state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from consensus.aggregation.outcome import Cheat
from consensus.learning.admission import find_admission_fault
from consensus.learning.chain import apply, find_fault, proposers, start
from consensus.learning.chain_state import Absence, ChainState, Phase
from consensus.learning.phase_time import compute_remaining_ms
from consensus.wire.outcomes import Edge, Exclusion
from consensus.wire.transactions import Refusal, Transaction
from prover.wire.envelope import Envelope
from tests.support.learning import N_SAMPLES, Lab, point
from tests.support.statements import restate

LAB = Lab()


def without(known: Any, *clients: int) -> dict[bytes, Any]:
    gone = {LAB.client(i) for i in clients}
    return {key: value for key, value in known.items() if key not in gone}


def at(phase: Phase, **changes: Any) -> ChainState:
    """The first state of a phase of the round after the first, with changes."""
    learning_round = 0 if phase is Phase.REGISTER else 1
    return replace(LAB.reach(phase, learning_round=learning_round), **changes)


def signed(tx: Any, **changes: Any) -> Transaction:
    made: Transaction = LAB.sign(replace(tx, **changes), LAB.clients[0])
    return made


def claim(state: ChainState, **changes: Any) -> Transaction:
    """Client 0's proof with another statement."""
    envelope = Envelope.decode(LAB.prove(0, state).envelope)
    assert envelope is not None
    return LAB.wrap(0, replace(envelope, statement=restate(envelope.statement, **changes)), 1)


def contribute(state: ChainState) -> Transaction:
    """Client 0's, to the step under way."""
    return LAB.contribute(0, state.phase, state.learning_round)


REGISTER, COMMIT, BEACON = at(Phase.REGISTER), at(Phase.COMMIT), at(Phase.BEACON)
PROVE, MASK, UNMASK, ELECT = map(at, (Phase.PROVE, Phase.MASK, Phase.UNMASK, Phase.ELECT))
ATTEST, REVEAL = at(Phase.ATTEST), at(Phase.REVEAL)
HOMES = {LAB.client(1): 1, LAB.client(2): 2}
NEW = replace(MASK, proofs=without(MASK.proofs, 0))  # client 0 might still prove
CHEATER = (Exclusion(client_key=LAB.client(0), cheat=Cheat.DEAL),)
FULL = HOMES | {bytes(32): 0}
FAULTS: dict[str, tuple[ChainState, Callable[[], Transaction]]] = {
    "registration is closed": (replace(COMMIT, clients=HOMES), lambda: LAB.register(0)),
    "the client is registered": (
        replace(REGISTER, clients={LAB.client(0): 0}),
        lambda: LAB.register(0),
    ),
    "the task is full": (replace(REGISTER, clients=FULL), lambda: LAB.register(0)),
    "its home is no validator": (REGISTER, lambda: signed(LAB.register(0), validator=4)),
    "the permit is not the admission key's": (
        REGISTER,
        lambda: signed(LAB.register(0), permit=LAB.register(1).permit),
    ),
    "commits are closed": (replace(BEACON, commits={}), lambda: LAB.commit(0, 1)),
    "a commit of another round": (COMMIT, lambda: LAB.commit(0, 0)),
    "the client is not registered": (replace(COMMIT, clients=HOMES), lambda: LAB.commit(0, 1)),
    "the client has committed": (
        replace(COMMIT, commits={LAB.client(0): BEACON.commits[LAB.client(0)]}),
        lambda: LAB.commit(0, 1),
    ),
    "its commitment is no point of the curve": (
        COMMIT,
        lambda: signed(LAB.commit(0, 1), d_w=b"\xff" * 32),
    ),
    "proofs are closed": (NEW, lambda: LAB.prove(0, NEW)),
    "a proof of another round": (PROVE, lambda: signed(LAB.prove(0, PROVE), learning_round=0)),
    "the client has not committed": (
        replace(PROVE, commits=without(PROVE.commits, 0)),
        lambda: LAB.prove(0, PROVE),
    ),
    "the client has a proof": (replace(PROVE, proofs=MASK.proofs), lambda: LAB.prove(0, PROVE)),
    "the envelope is malformed": (PROVE, lambda: signed(LAB.prove(0, PROVE), envelope=b"x")),
    "statement: claimed_correct is below the threshold": (
        PROVE,
        lambda: claim(PROVE, claimed_correct=0),
    ),
    "statement: n_real is another": (  # whatever it claims of them
        PROVE,
        lambda: claim(PROVE, n_real=N_SAMPLES + 1, claimed_correct=N_SAMPLES + 1),
    ),
    "the client has a refusal": (
        replace(PROVE, refusals={LAB.client(0): bytes(32)}),
        lambda: Refusal(proof=LAB.prove(0, PROVE)),
    ),
    "an exchange key is none": (COMMIT, lambda: signed(LAB.commit(0, 1), mask_key=bytes(32))),
    "the client is expelled": (
        replace(COMMIT, expelled=(LAB.client(0),)),
        lambda: LAB.commit(0, 1),
    ),
    "the client left a dispute unresolved: it sits out until round 2": (
        replace(COMMIT, bans={LAB.client(0): Absence(1, 2)}),
        lambda: LAB.commit(0, 1),
    ),
    "nobody is asked to mask now": (
        replace(UNMASK, masked=without(UNMASK.masked, 0)),
        lambda: LAB.contribute(0, Phase.MASK, 1),
    ),
    "nobody is asked to unmask now": (
        replace(ELECT, unmasked=without(ELECT.unmasked, 0)),
        lambda: LAB.contribute(0, Phase.UNMASK, 1),
    ),
    "nobody is asked to attest now": (UNMASK, lambda: LAB.contribute(0, Phase.ATTEST, 1)),
    "nobody is asked to reveal now": (ATTEST, lambda: LAB.contribute(0, Phase.REVEAL, 1)),
    "a contribution to another round": (MASK, lambda: LAB.contribute(0, Phase.MASK, 0)),
    "the client is not asked to mask": (NEW, lambda: LAB.contribute(0, Phase.MASK, 1)),
    "the client is not asked to unmask": (
        replace(UNMASK, masked=without(UNMASK.masked, 0)),
        lambda: LAB.contribute(0, Phase.UNMASK, 1),
    ),
    "the client is not asked to attest": (
        replace(ATTEST, excluded=CHEATER),
        lambda: LAB.contribute(0, Phase.ATTEST, 1),
    ),
    "the client is not asked to reveal": (
        replace(REVEAL, edges=(Edge(LAB.client(1), LAB.client(0)),)),
        lambda: LAB.contribute(0, Phase.REVEAL, 1),
    ),
    "the client has contributed": (
        replace(MASK, masked=UNMASK.masked),
        lambda: LAB.contribute(0, Phase.MASK, 1),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_rule_forbids_alone(fault: str) -> None:
    """Also when the signature is wrong: what costs least is asked first."""
    state, make = FAULTS[fault]
    tx = make()
    assert find_admission_fault(state, tx) == fault
    unsigned: Any = tx.proof if isinstance(tx, Refusal) else tx
    unsigned = replace(unsigned, signature=bytes(64))
    forged = Refusal(proof=unsigned) if isinstance(tx, Refusal) else unsigned
    assert find_admission_fault(state, forged) == fault


def test_few_samples_are_named_before_a_low_claim() -> None:
    few = claim(PROVE, n_real=N_SAMPLES - 1, claimed_correct=0)
    assert find_admission_fault(PROVE, few) == "statement: n_real is another"


@pytest.mark.parametrize(
    ("state", "make"),
    [
        (replace(REGISTER, clients=HOMES), lambda: LAB.register(0)),  # the last place
        (REGISTER, lambda: signed(LAB.register(0), validator=3)),
        (COMMIT, lambda: LAB.commit(0, 1)),
        (COMMIT, lambda: LAB.commit(0, 1, d_w=point(3))),
        (PROVE, lambda: claim(PROVE, claimed_correct=1)),
        (PROVE, lambda: claim(PROVE, claimed_correct=N_SAMPLES)),
        (replace(PROVE, refusals={LAB.client(0): bytes(32)}), lambda: LAB.prove(0, PROVE)),
        (PROVE, lambda: Refusal(proof=LAB.prove(0, PROVE))),
        (replace(COMMIT, bans={LAB.client(0): Absence(1, 1)}), lambda: LAB.commit(0, 1)),
        (replace(COMMIT, expelled=(LAB.client(1),)), lambda: LAB.commit(0, 1)),
        (replace(ATTEST, attested={LAB.client(1): bytes(32)}), lambda: contribute(ATTEST)),
        (replace(REVEAL, edges=(Edge(LAB.client(0), LAB.client(1)),)), lambda: contribute(REVEAL)),
    ],
)
def test_the_last_value_passes(state: ChainState, make: Callable[[], Transaction]) -> None:
    assert find_admission_fault(state, make()) is None


def test_a_chain_starts_with_nothing() -> None:
    state = start(LAB.genesis)
    assert (state.head, state.beacon) == (LAB.genesis.digest, b"")
    numbers = (state.height, state.time_ms, state.phase_ms, state.learning_round)
    assert (*numbers, state.commit_height, state.maker) == (0, 0, 0, 0, 0, 0)


def test_the_head_is_the_last_block() -> None:
    """Else a block would name a parent that is not the one before it."""
    state = REGISTER
    for _ in range(3):
        block = LAB.block(state)
        assert block.parent == state.head
        state = apply(state, block)
        assert (state.height, state.head) == (block.height, block.hash)


def test_a_phase_that_is_overdue_waits_for_no_more_time() -> None:
    """It waits for somebody to come; phases that wait for nobody have no time."""
    length = LAB.task.register_ms
    assert compute_remaining_ms(REGISTER) == length
    assert compute_remaining_ms(replace(REGISTER, phase_ms=length - 1)) == 1
    assert compute_remaining_ms(replace(REGISTER, phase_ms=length + 5)) == 0
    assert (compute_remaining_ms(BEACON), compute_remaining_ms(ELECT)) == (None, None)


def test_a_block_leaves_in_the_state_who_made_it_and_whose_turn_it_was() -> None:
    after = apply(REGISTER, LAB.block(REGISTER, proposer=2))
    assert (after.maker, after.order) == (2, proposers(REGISTER))
    assert proposers(after) != proposers(REGISTER)


def test_a_block_leaves_in_the_state_what_it_carries() -> None:
    block = LAB.block(BEACON)
    assert block.beacon
    assert apply(BEACON, block).beacon == block.beacon
    block = LAB.block(ELECT)
    assert apply(ELECT, block).global_model == block.aggregate[0].model_digest
    closing = LAB.block(COMMIT, LAB.list_due(COMMIT))
    assert apply(COMMIT, closing).commit_height == closing.height


def test_whoever_led_leads_on_through_blocks_without_proofs() -> None:
    assert len(PROVE.ranking) == 3
    after = apply(PROVE, LAB.block(PROVE))
    assert (after.ranking, dict(after.proofs)) == (PROVE.ranking, {})
    proven = apply(after, LAB.block(after, [LAB.prove(2, after)]))
    assert proven.ranking == (LAB.client(2),)


@pytest.mark.parametrize(
    "state", [REGISTER, COMMIT, PROVE, MASK, UNMASK, ATTEST, REVEAL], ids=lambda s: s.phase
)
def test_one_client_alone_closes_no_phase(state: ChainState) -> None:
    """Others have the whole time of the phase to come."""
    first, *others = LAB.list_due(state)
    one = LAB.extend(state, [first])
    assert one.phase is state.phase
    assert LAB.extend(one, others).phase is not state.phase
    late = LAB.wait(one)
    assert late.phase is not state.phase
    assert late.phase_ms == 0


def test_a_block_registers_no_more_than_there_is_room_for() -> None:
    lab = Lab(n_clients=5, changes={"n_expected": 3})
    state = lab.extend(start(lab.genesis), [lab.register(0)])
    two, three = ([lab.register(i) for i in range(1, n)] for n in (3, 4))
    assert find_fault(state, lab.block(state, two)) is None
    assert find_fault(state, lab.block(state, three)) == "transaction 2: the task is full"
    again = lab.block(state, [*two, two[0]])
    assert find_fault(state, again) == "transaction 2: a second one of its client"
