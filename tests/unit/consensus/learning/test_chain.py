"""The rules of a learning round, without pairings: phases, transactions, statements, blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from functools import cache
from typing import Any

import pytest

from consensus.aggregation.outcome import Cheat, Failure
from consensus.learning.admission import find_admission_fault, find_statement_fault
from consensus.learning.chain import (
    apply,
    beacon_message,
    find_fault,
    proposers,
    start,
)
from consensus.learning.chain_state import NO_MODEL, Absence, ChainState, Phase
from consensus.learning.election import Lapse
from consensus.learning.outcome import list_entries, make_none
from consensus.learning.phase_time import compute_remaining_ms
from consensus.learning.rules import ChainRules
from consensus.learning.steps import STEPS
from consensus.wire.messages import Block, Evidence, Step, Vote
from consensus.wire.outcomes import Aggregate, Edge, Entry, Exclusion
from consensus.wire.transactions import Register, Transaction, permit_bytes
from prover.wire.envelope import Envelope
from tests.support.learning import (
    BLOCK_MS,
    N_SAMPLES,
    PHASES,
    STATEMENT_CHANGES,
    Lab,
    ed25519,
    make_task,
    point,
    public,
)
from tests.support.statements import FIELDS, restate

LAB = Lab()
OTHER = b"\x05" * 32
SENDING = (Phase.REGISTER, Phase.COMMIT, Phase.PROVE, *STEPS)


@cache
def state_at(phase: Phase, learning_round: int = 0) -> ChainState:
    return LAB.reach(phase, learning_round=learning_round)


def fault_of(state: ChainState, *transactions: Transaction, **changes: Any) -> str | None:
    return find_fault(state, LAB.block(state, transactions, **changes))


def with_statement(i: int, state: ChainState, **changes: Any) -> Transaction:
    """A proof of client i, signed by it, whose statement is changed."""
    envelope = Envelope.decode(LAB.prove(i, state).envelope)
    assert envelope is not None
    statement = restate(envelope.statement, **changes)
    return LAB.wrap(i, Envelope(statement=statement, proof=bytes(224)))


# -- phases ----------------------------------------------------------------------------------------


def test_two_rounds_block_by_block() -> None:
    state = start(LAB.genesis)
    seen = [(state.phase, state.learning_round)]
    while state.phase is not Phase.DONE:
        state = LAB.extend(state, LAB.list_due(state))
        seen.append((state.phase, state.learning_round))
    one_round = [
        *(Phase.COMMIT, Phase.BEACON, Phase.PROVE),
        *(Phase.MASK, Phase.UNMASK, Phase.ELECT),
    ]
    assert seen == [
        (Phase.REGISTER, 0),
        *((phase, 0) for phase in one_round),
        *((phase, 1) for phase in one_round),
        (Phase.DONE, 1),
    ]
    after = LAB.extend(LAB.extend(state))
    assert (after.phase, after.height) == (Phase.DONE, state.height + 2)


def test_a_round_starts_anew_from_its_global_model() -> None:
    before = state_at(Phase.ELECT)
    block = LAB.block(before)
    after = apply(before, block)
    assert after.global_model == block.aggregate[0].model_digest != NO_MODEL
    assert (after.commits, after.proofs, after.masked, after.unmasked) == ({}, {}, {}, {})
    assert (after.beacon, after.commit_height) == (b"", 0)
    assert after.clients == before.clients
    assert after.ranking == before.ranking


def test_registration_waits_for_someone_and_then_for_its_deadline() -> None:
    state = start(LAB.genesis)
    for _ in range(10):
        state = LAB.extend(state)
    assert (state.phase, state.phase_ms) == (Phase.REGISTER, 8 * BLOCK_MS)
    state = LAB.extend(state, [LAB.register(1)])
    assert state.phase is Phase.COMMIT
    assert set(state.clients) == {LAB.client(1)}


def test_registration_closes_at_its_deadline_or_when_all_are_in() -> None:
    """The clock begins with height 2, the first that has a time."""
    state = LAB.extend(start(LAB.genesis), [LAB.register(0), LAB.register(1)])
    assert state.phase is Phase.REGISTER
    assert LAB.extend(state, [LAB.register(2)]).phase is Phase.COMMIT
    for height in (2, 3, 4, 5, 6):
        state = LAB.extend(state)
        assert (state.phase is Phase.COMMIT) == (height == 6)


def test_commits_close_at_their_deadline_only_with_one() -> None:
    state = state_at(Phase.COMMIT)
    for _ in range(7):
        state = LAB.extend(state)
    assert state.phase is Phase.COMMIT
    state = LAB.extend(state, [LAB.commit(2)])
    assert state.phase is Phase.BEACON
    assert state.commit_height == state.height
    assert beacon_message(state)


# -- time ------------------------------------------------------------------------------------------


def extend_at(state: ChainState, *times_ms: int) -> ChainState:
    """After an empty block whose parent these validators' clocks saw decided, by index."""
    known = LAB.certify_head(state, signers=range(len(times_ms)), times_ms=times_ms)
    return LAB.extend(state, certificate=known)


def test_the_first_block_has_no_time() -> None:
    state = LAB.extend(start(LAB.genesis))
    assert (state.time_ms, state.phase_ms) == (0, 0)
    state = extend_at(state, 500, 600, 700)
    assert (state.time_ms, state.phase_ms) == (600, 0)


def test_the_time_is_the_median_of_the_certificate_and_never_goes_back() -> None:
    state = state_at(Phase.PROVE)
    now = state.time_ms
    assert extend_at(state, now + 9, now + 1, now + 5).time_ms == now + 5
    assert extend_at(state, now + 9, now + 1, now + 5, now + 7).time_ms == now + 5
    assert extend_at(state, 0, 1, 2).time_ms == now
    assert extend_at(state, 0, 1, 2).phase_ms == state.phase_ms


@pytest.mark.parametrize("false", [0, 1 << 62])
@pytest.mark.parametrize("n_votes", [3, 4])
def test_one_of_four_clocks_moves_no_time_beyond_the_others(false: int, n_votes: int) -> None:
    state = state_at(Phase.PROVE)
    honest = [state.time_ms + 10 * i for i in range(n_votes - 1)]
    for place in range(n_votes):
        times = [*honest[:place], false, *honest[place:]]
        assert honest[0] <= extend_at(state, *times).time_ms <= honest[-1]


@pytest.mark.parametrize("n_blocks", [4, 400])
def test_a_phase_lasts_its_time_whatever_the_number_of_blocks(n_blocks: int) -> None:
    state = first = state_at(Phase.PROVE)
    for k in range(1, n_blocks + 1):
        assert state.phase is Phase.PROVE
        now = first.time_ms + LAB.task.prove_ms * k // n_blocks
        state = extend_at(state, now, now, now)
    assert state.phase is not Phase.PROVE


def test_a_chain_that_stood_still_comes_back_to_a_phase_that_still_waits() -> None:
    """A block uses up a quarter of its phase at most."""
    state, now = state_at(Phase.PROVE), state_at(Phase.PROVE).time_ms
    for k in range(1, 5):
        assert state.phase is Phase.PROVE
        assert compute_remaining_ms(state) == LAB.task.prove_ms * (5 - k) // 4
        state = extend_at(state, *[now + k * 86_400_000] * 3)
    assert state.phase is Phase.ELECT
    assert state.time_ms == now + 4 * 86_400_000
    assert compute_remaining_ms(state) is None


def test_a_block_carries_the_certificate_of_its_parent() -> None:
    state = state_at(Phase.PROVE)
    (known,) = LAB.certify_head(state)
    other = LAB.certify(state.height, OTHER)
    foreign = LAB.certify_head(state, keys=(0, 1, 3))
    for certificate, fault in (
        ((), "the certificate of the parent is missing"),
        ((other,), "the certificate is of another block than the parent"),
        ((replace(known, height=1),), "the certificate is of another block than the parent"),
        (LAB.certify_head(state, signers=(0, 1)), "2 precommits are no quorum"),
        (foreign, "the signature is not its validator's"),
        ((replace(known, round=1),), "the signature is not its validator's"),
        (
            (replace(known, precommits=(*known.precommits[:2], *foreign[0].precommits[2:])),),
            "the signature is not its validator's",
        ),
    ):
        assert fault in (fault_of(state, certificate=certificate) or "")
    early = [replace(p, time_ms=p.time_ms + 1) for p in known.precommits]
    moved = replace(known, precommits=tuple(early))
    assert "not its validator's" in (fault_of(state, certificate=(moved,)) or "")
    assert fault_of(state, certificate=LAB.certify_head(state, signers=(0, 2, 3))) is None
    first = start(LAB.genesis)
    named = LAB.certify(1, first.head)
    assert fault_of(first, certificate=(named,)) == "the certificate of the parent is not due"


# -- beacon ----------------------------------------------------------------------------------------


def test_nobody_signs_a_beacon_before_the_commits_are_final() -> None:
    with pytest.raises(ValueError, match="not final"):
        beacon_message(state_at(Phase.COMMIT))


def test_beacon_messages_name_round_and_height() -> None:
    state = state_at(Phase.BEACON)
    others = [replace(state, learning_round=1), replace(state, commit_height=9)]
    assert len({beacon_message(s) for s in (state, *others)}) == 3


def test_proofs_close_at_their_deadline() -> None:
    """With fewer than three nothing is asked of anybody: a sum would tell of each."""
    state = state_at(Phase.PROVE)
    few = LAB.wait(LAB.extend(state, [LAB.prove(i, state) for i in (1, 2)]))
    assert (few.phase, few.closed) == (Phase.ELECT, Phase.PROVE)
    larger = Lab(n_clients=4)
    state = larger.reach(Phase.PROVE)
    state = larger.wait(larger.extend(state, [larger.prove(i, state) for i in (1, 2, 3)]))
    assert state.phase is Phase.MASK
    state = larger.wait(state)
    assert (state.phase, state.closed) == (Phase.ELECT, Phase.MASK)
    assert list_entries(state) == ()


def test_a_round_without_proofs_keeps_the_model() -> None:
    state = state_at(Phase.PROVE, learning_round=1)
    model = state.global_model
    state = LAB.wait(state)
    assert state.phase is Phase.ELECT
    empty = make_none(state, Failure.TOO_FEW)
    assert fault_of(state, aggregate=(replace(empty, model_digest=OTHER),)) is not None
    assert LAB.extend(state, aggregate=(empty,)).global_model == model


def test_a_first_round_without_proofs_has_no_model() -> None:
    state = LAB.wait(state_at(Phase.PROVE))
    assert LAB.extend(state).global_model == NO_MODEL


# -- the state -------------------------------------------------------------------------------------


def test_every_field_enters_the_digest() -> None:
    state = state_at(Phase.ELECT)
    changes: dict[str, Any] = {
        "genesis": Lab(changes={"threshold": 2}).genesis,
        "height": 9,
        "head": OTHER,
        "phase": Phase.DONE,
        "time_ms": 7,
        "phase_ms": 7,
        "learning_round": 1,
        "order": (3, 2, 1, 0),
        "maker": 2,
        "lapses": (Lapse(1, 1, 9, 0),),
        "clients": {**state.clients, OTHER: 1},
        "accounts": {OTHER: bytes(20)},
        "weights": {OTHER: 1},
        "rewards": {OTHER: 1},
        "batches": {OTHER: OTHER},
        "order_height": 1,
        "order_beacon": OTHER,
        "absences": {OTHER: Absence(1, 2)},
        "bans": {OTHER: Absence(1, 2)},
        "expelled": (OTHER,),
        "debtors": (OTHER,),
        "commits": {},
        "commit_height": 1,
        "beacon": OTHER,
        "proofs": {},
        "refusals": {OTHER: OTHER},
        "closed": Phase.ATTEST,
        "masked": {},
        "unmasked": {},
        "attested": {OTHER: OTHER},
        "revealed": {OTHER: OTHER},
        "excluded": (Exclusion(client_key=OTHER, cheat=Cheat.MASKED),),
        "edges": (Edge(OTHER, OTHER),),
        "global_model": OTHER,
        "ranking": state.ranking[::-1],
        "offenders": (2,),
    }
    assert set(changes) == {f.name for f in fields(ChainState)}
    digests = {replace(state, **{name: value}).digest for name, value in changes.items()}
    assert len(digests | {state.digest}) == 1 + len(changes)


def test_the_digest_does_not_depend_on_who_came_first() -> None:
    state = start(LAB.genesis)
    one = LAB.extend(state, [LAB.register(0), LAB.register(1)])
    two = replace(one, clients=dict(reversed(one.clients.items())))
    assert one.digest == two.digest


def test_states_are_not_changed_by_what_follows() -> None:
    state = state_at(Phase.COMMIT)
    digest = state.digest
    LAB.extend(state, [LAB.commit(0)])
    assert replace(state).digest == digest
    with pytest.raises(TypeError):
        state.clients[OTHER] = 1  # type: ignore[index]


# -- blocks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"height": 9}, "height 9 after height 1"),
        ({"parent": OTHER}, "parent"),
        ({"state_root": OTHER}, "state root"),
        ({"proposer": 4}, "no validator"),
        ({"beacon": OTHER}, "beacon that is not due"),
        (
            {"aggregate": (make_none(state_at(Phase.COMMIT), Failure.TOO_FEW),)},
            "aggregate that is not due",
        ),
    ],
)
def test_a_block_has_its_place(change: dict[str, Any], fault: str) -> None:
    found = fault_of(state_at(Phase.COMMIT), **change)
    assert found is not None
    assert fault in found


def test_beacon_and_aggregate_are_due_in_their_blocks() -> None:
    assert fault_of(state_at(Phase.BEACON), beacon=b"") == "the beacon is due"
    assert fault_of(state_at(Phase.ELECT), aggregate=()) == "the aggregate is due"


@pytest.mark.parametrize(
    "change",
    [
        lambda a: replace(a, learning_round=1),
        lambda a: replace(a, entries=(Entry(client_key=OTHER, proven=1), *a.entries)),
        lambda a: replace(a, entries=a.entries[1:]),
        lambda a: replace(a, entries=(replace(a.entries[0], proven=99), *a.entries[1:])),
    ],
)
def test_an_aggregate_has_the_due_entries(change: Callable[[Aggregate], Aggregate]) -> None:
    state = state_at(Phase.ELECT)
    assert fault_of(state) is None
    assert fault_of(state, aggregate=(change(LAB.aggregate(state)),)) is not None


def test_entries_are_the_proofs_of_who_masked_by_key() -> None:
    state = state_at(Phase.MASK)
    state = LAB.extend(state, [LAB.contribute(i, Phase.MASK) for i in (2, 0)])
    weights = {LAB.client(i): N_SAMPLES - i for i in (0, 2)}
    assert [(e.client_key, e.proven) for e in list_entries(state)] == sorted(weights.items())
    assert [e.client_key for e in list_entries(state, [LAB.client(0)])] == [LAB.client(2)]


@pytest.mark.parametrize("phase", PHASES)
def test_each_phase_takes_its_own_transactions_only(phase: Phase) -> None:
    state = state_at(phase, 1 if phase is Phase.DONE else 0)
    t = state.learning_round
    proving = state_at(Phase.PROVE, t)
    for home, tx in {
        Phase.REGISTER: LAB.register(0),
        Phase.COMMIT: LAB.commit(0, t),
        Phase.PROVE: LAB.prove(0, proving),
        Phase.MASK: LAB.contribute(0, Phase.MASK, t),
        Phase.UNMASK: LAB.contribute(0, Phase.UNMASK, t),
        Phase.ATTEST: LAB.contribute(0, Phase.ATTEST, t),
        Phase.REVEAL: LAB.contribute(0, Phase.REVEAL, t),
    }.items():
        assert (find_admission_fault(state, tx) is None) == (phase is home)
        assert (fault_of(state, tx) is None) == (phase is home)


@pytest.mark.parametrize("phase", SENDING)
def test_a_client_sends_once(phase: Phase) -> None:
    state = state_at(phase)
    tx = LAB.list_due(state)[0]
    assert fault_of(state, tx, tx) == "transaction 1: a second one of its client"
    after = LAB.extend(state, [tx])
    assert find_admission_fault(after, tx) is not None


@pytest.mark.parametrize("phase", SENDING)
def test_transactions_are_signed_by_their_client(phase: Phase) -> None:
    state = state_at(phase)
    tx = LAB.list_due(state)[0]
    for forged in (
        replace(tx, signature=bytes(64)),  # type: ignore[type-var]
        LAB.sign(tx, LAB.clients[1]),
        replace(tx, signature=LAB.list_due(state)[1].signature),  # type: ignore[type-var]
    ):
        assert find_admission_fault(state, forged) == "the signature is not its client's"
    other_chain = LAB.clients[0].sign(tx.sign_bytes(b"other"))
    assert find_admission_fault(state, replace(tx, signature=other_chain)) is not None  # type: ignore[type-var]


def test_registration_needs_permit_home_and_room() -> None:
    state = start(LAB.genesis)
    tx = LAB.register(0)
    stranger = ed25519(7)
    own_permit = stranger.sign(permit_bytes(LAB.genesis.digest, LAB.client(0)))
    for change in (
        {"permit": own_permit},
        {"permit": LAB.register(1).permit},
        {"permit": bytes(64)},
        {"validator": 4},
    ):
        changed = LAB.sign(replace(tx, **change), LAB.clients[0])  # type: ignore[arg-type]
        assert find_admission_fault(state, changed) is not None
    permit = LAB.admission.sign(permit_bytes(LAB.genesis.digest, public(stranger)))
    fourth = Register(client_key=public(stranger), validator=0, permit=permit)
    fourth = LAB.sign(fourth, stranger)
    three = [LAB.register(i) for i in range(3)]
    assert fault_of(state, *three, fourth) == "transaction 3: the task is full"
    assert fault_of(state, *three[:2], fourth) is None


def test_commits_are_of_registered_clients_of_this_round_on_the_curve() -> None:
    state = state_at(Phase.COMMIT)
    without = replace(state, clients={LAB.client(1): 1})
    assert find_admission_fault(without, LAB.commit(0)) == "the client is not registered"
    assert find_admission_fault(state, LAB.commit(0, 1)) == "a commit of another round"
    bad = LAB.commit(0, d_w=b"\xff" * 32)
    assert find_admission_fault(state, bad) == "its commitment is no point of the curve"


def test_a_commitment_seen_before_is_taken() -> None:
    """Else whoever copies it first would shut its owner out."""
    state = state_at(Phase.COMMIT)
    same = [LAB.commit(i, d_w=point(5)) for i in range(3)]
    assert LAB.extend(state, same).phase is Phase.BEACON


def test_exchange_keys_give_secrets() -> None:
    """With the others an exchange gives zero, or they are second encodings."""
    state = state_at(Phase.COMMIT)
    p = 2**255 - 19
    faults = [
        find_admission_fault(
            state,
            LAB.sign(replace(LAB.commit(0), **{name: key}), LAB.clients[0]),  # type: ignore[arg-type]
        )
        for name in ("mask_key", "share_key")
        for key in (bytes(32), p.to_bytes(32, "little"), (p - 1).to_bytes(32, "little"))
    ]
    assert faults == ["an exchange key is none"] * 6


def test_contributions_are_of_clients_that_are_asked_for_them() -> None:
    lab = Lab(n_clients=5)
    state = lab.reach(Phase.PROVE)
    state = lab.wait(lab.extend(state, [lab.prove(i, state) for i in (0, 1, 2, 3)]))
    mask = [lab.contribute(i, Phase.MASK) for i in range(5)]
    assert [find_admission_fault(state, tx) for tx in mask[:4]] == [None] * 4
    assert find_admission_fault(state, mask[4]) == "the client is not asked to mask"
    other = lab.contribute(0, Phase.MASK, 1)
    assert find_admission_fault(state, other) == "a contribution to another round"
    state = lab.wait(lab.extend(state, mask[:3]))
    unmask = [lab.contribute(i, Phase.UNMASK) for i in range(5)]
    assert state.phase is Phase.UNMASK
    assert [find_admission_fault(state, tx) for tx in unmask[:3]] == [None] * 3
    assert find_admission_fault(state, unmask[3]) == "the client is not asked to unmask"
    assert find_admission_fault(state, mask[3]) == "nobody is asked to mask now"


# -- statements ------------------------------------------------------------------------------------


def test_every_field_of_a_statement_is_tested() -> None:
    assert set(STATEMENT_CHANGES) == FIELDS


@pytest.mark.parametrize("name", list(STATEMENT_CHANGES))
def test_a_statement_with_another_field_is_refused(name: str) -> None:
    state = state_at(Phase.PROVE)
    assert find_admission_fault(state, LAB.prove(0, state)) is None
    changed = with_statement(0, state, **{name: STATEMENT_CHANGES[name]})
    envelope = Envelope.decode(changed.envelope)  # type: ignore[union-attr]
    assert envelope is not None
    fault = find_statement_fault(state, LAB.client(0), envelope.statement, bytes(32))
    assert fault is not None
    assert fault.startswith(f"statement: {name} is")
    if name != "dataset_digest":  # whose value needs the pool: `consensus.node.verifier`
        assert find_admission_fault(state, changed) == fault


def test_a_proof_of_fewer_samples_is_refused() -> None:
    state = state_at(Phase.PROVE)
    fewer = with_statement(0, state, n_real=8, claimed_correct=8)
    assert find_admission_fault(state, fewer) == "statement: n_real is another"


def test_a_claim_below_the_threshold_is_refused() -> None:
    lab = Lab(changes={"threshold": 10})
    state = lab.reach(Phase.PROVE)
    assert find_admission_fault(state, lab.prove(0, state, claimed=10)) is None
    found = find_admission_fault(state, lab.prove(0, state, claimed=9))
    assert found == "statement: claimed_correct is below the threshold"


def test_proofs_of_clients_without_commit_are_refused() -> None:
    state = LAB.wait(LAB.extend(state_at(Phase.COMMIT), [LAB.commit(0), LAB.commit(1)]))
    state = LAB.extend(state)
    assert state.phase is Phase.PROVE
    tx = with_statement(0, state, client_key=LAB.client(2))
    stolen = LAB.sign(replace(tx, client_key=LAB.client(2)), LAB.clients[2])  # type: ignore[type-var, call-arg]
    assert find_admission_fault(state, stolen) == "the client has not committed"


def test_another_clients_proof_signed_as_ones_own_is_refused() -> None:
    state = state_at(Phase.PROVE)
    tx = LAB.prove(0, state)
    stolen = LAB.sign(replace(tx, client_key=LAB.client(1)), LAB.clients[1])
    assert find_admission_fault(state, stolen) == "statement: client_key is another"


@pytest.mark.parametrize("raw", [b"x", b"zkpotprf", bytes(500)])
def test_an_envelope_that_is_none_is_refused(raw: bytes) -> None:
    state = state_at(Phase.PROVE)
    tx = LAB.sign(replace(LAB.prove(0, state), envelope=raw), LAB.clients[0])
    assert find_admission_fault(state, tx) == "the envelope is malformed"


# -- leaders ---------------------------------------------------------------------------------------


def test_the_best_proof_leads_until_a_block_brings_another() -> None:
    state = state_at(Phase.PROVE)
    assert proposers(state) == (0, 1, 2, 3)  # no proof yet: turns, by the height 4
    state = LAB.extend(state, [LAB.prove(1, state), LAB.prove(2, state, claimed=3)])
    assert state.leader == LAB.client(1)
    assert proposers(state)[:2] == (1, 2)
    state = LAB.extend(state, [LAB.prove(0, state)])
    assert state.ranking == tuple(LAB.client(i) for i in (0, 1, 2))
    ahead = state
    while ahead.learning_round == 0:
        ahead = LAB.extend(ahead, LAB.list_due(ahead))
    assert (ahead.phase, ahead.learning_round) == (Phase.COMMIT, 1)
    assert proposers(ahead)[:3] == (0, 1, 2)


def test_a_weak_late_proof_does_not_unseat_the_best() -> None:
    state = state_at(Phase.PROVE)
    state = LAB.extend(state, [LAB.prove(0, state)])
    state = LAB.extend(state, [LAB.prove(1, state, claimed=1)])
    assert state.leader == LAB.client(0)


def test_ties_follow_the_beacon() -> None:
    lab = Lab()
    state = lab.reach(Phase.PROVE)
    orders = set()
    for i in range(32):
        drawn = replace(state, beacon=bytes((i,)) * 32)
        txs = [lab.prove(c, drawn, claimed=5) for c in range(3)]
        orders.add(apply(drawn, lab.block(drawn, txs)).ranking)
    assert len(orders) == 6


# -- evidence --------------------------------------------------------------------------------------


def make_evidence(
    validator: int = 2, *, signer: int | None = None, genesis_digest: bytes | None = None
) -> Evidence:
    key = LAB.validators[validator % 4 if signer is None else signer]
    votes = []
    for block_hash in (b"", OTHER):
        vote = Vote(
            step=int(Step.PREVOTE), height=1, round=0, block_hash=block_hash, validator=validator
        )
        signature = key.sign(vote.sign_bytes(genesis_digest or LAB.genesis.digest))
        votes.append(replace(vote, signature=signature))
    return Evidence(first=votes[0], second=votes[1])


def test_evidence_is_taken_once_per_validator() -> None:
    state = state_at(Phase.COMMIT)
    evidence = make_evidence()
    after = LAB.extend(state, evidence=(evidence,))
    assert after.offenders == (2,)
    assert fault_of(after, evidence=(evidence,)) is not None
    assert fault_of(state, evidence=(evidence, evidence)) is not None
    assert LAB.extend(after, evidence=(make_evidence(1),)).offenders == (1, 2)


@pytest.mark.parametrize(
    "evidence",
    [
        make_evidence(signer=1),
        make_evidence(genesis_digest=OTHER),
        make_evidence(4),
        replace(make_evidence(), second=replace(make_evidence().second, signature=bytes(64))),
    ],
)
def test_evidence_that_proves_nothing_is_refused(evidence: Evidence) -> None:
    found = fault_of(state_at(Phase.COMMIT), evidence=(evidence,))
    assert found is not None
    assert found.startswith("evidence:")


def test_blocks_of_a_chain_replay_to_the_same_state() -> None:
    """What a light client does: decode each block, check it, apply it."""
    state = start(LAB.genesis)
    raws = []
    while state.phase is not Phase.DONE:
        block = LAB.block(state, LAB.list_due(state))
        raws.append(block.encode())
        state = apply(state, block)
    again = start(LAB.genesis)
    for raw in raws:
        decoded = Block.decode(raw)
        assert decoded is not None
        assert find_fault(again, decoded) is None
        again = apply(again, decoded)
    assert again.digest == state.digest


def test_another_genesis_refuses_the_first_block() -> None:
    other = start(Lab(changes={"threshold": 2}).genesis)
    assert find_fault(other, LAB.block(start(LAB.genesis))) == "the parent is another block"
    assert make_task(threshold=2) != make_task()


# -- what the next block takes ---------------------------------------------------------------------


def test_every_phase_awaits_its_clients_until_they_are_in() -> None:
    """What receipts can force into a block."""
    rules = ChainRules()
    for phase in SENDING:
        state = state_at(phase)
        first, *others = LAB.list_due(state)
        assert rules.takes(state, first)
        after = LAB.extend(state, [first])
        assert not rules.takes(after, first)
        assert not rules.awaits(after, first.client_key)
        assert all(rules.takes(after, tx) for tx in others)
        later = LAB.wait(after)
        assert not any(rules.takes(later, tx) for tx in others)


def test_a_task_without_room_leaves_nobody_out() -> None:
    """More clients than expected may have a permit, and receipts."""
    lab = Lab(n_clients=5, changes={"n_expected": 3})
    state = start(lab.genesis)
    rules = ChainRules()
    assert not rules.is_full(state, lab.block(state, [lab.register(0), lab.register(1)]))
    assert rules.is_full(state, lab.block(state, [lab.register(i) for i in range(3)]))
