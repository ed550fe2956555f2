"""Checking blocks with real proofs: what holds, what is refused, and who is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np
import pytest

from consensus.aggregation.deal import Deal
from consensus.aggregation.masked import Masked
from consensus.aggregation.outcome import Failure
from consensus.aggregation.unmasking import Unmasking
from consensus.learning.aggregate import WEIGHT, GlobalModel, combine
from consensus.learning.chain import apply, find_fault, start
from consensus.learning.chain_state import ChainState, Phase
from consensus.learning.outcome import make_none
from consensus.learning.samples import SamplePool
from consensus.learning.steps import STEPS, list_round_blobs
from consensus.node import verifier as verifier_module
from consensus.node.verifier import BlockVerifier
from consensus.wire.messages import Block
from consensus.wire.transactions import Commit, Proof, Refusal, Transaction
from kernels.array import FrArray, G1Array
from kernels.encoding import decode_g1, encode_g1
from prover.model.network import is_correct
from prover.pedersen.opening import combine_commitments
from prover.wire.envelope import Envelope
from prover.wire.records import Record
from prover.wire.verdict import Verdict
from tests.support.learning import (
    N_SAMPLES,
    PHASES,
    STATEMENT_CHANGES,
    ProvenLab,
    model_of,
    point,
    proven_lab,
    proven_state,
)
from tests.support.memory_blobs import MemoryBlobs
from tests.support.statements import restate
from tests.support.tiny_circuits import seeded

VALID, WRONG, FAILED = Verdict.VALID, Verdict.WRONG_STATEMENT, Verdict.PAIRING_FAILED


def check(
    state: ChainState,
    *transactions: Transaction,
    lab: ProvenLab | None = None,
    verifier: BlockVerifier | None = None,
    **changes: Any,
) -> str | None:
    lab = lab or proven_lab()
    return (verifier or lab.verifier()).check(state, lab.block(state, transactions, **changes))


def envelope_of(proof: Proof) -> Envelope:
    found = Envelope.decode(proof.envelope)
    assert found is not None
    return found


def tamper(i: int, proof: Proof) -> Proof:
    """Another C than the proof's, signed by the client: well formed, false."""
    envelope = envelope_of(proof)
    raw = envelope.proof[:96] + point(5) + envelope.proof[128:]
    return proven_lab().wrap(i, replace(envelope, proof=raw), proof.learning_round)


@pytest.fixture(scope="module")
def proofs() -> list[Proof]:
    state = proven_state(Phase.PROVE)
    return [proven_lab().prove(i, state) for i in range(3)]


def test_two_rounds_with_real_proofs() -> None:
    lab, verifier = proven_lab(), proven_lab().verifier()
    state = start(lab.genesis)
    while state.phase is not Phase.DONE:
        block = lab.block(state, lab.list_due(state))
        assert verifier.check(state, block) is None
        state = apply(state, block)
    assert state.leader == lab.client(0)
    model = GlobalModel.parse(lab.blobs.get(state.global_model))
    assert model.encode() == combine([(model_of(i), WEIGHT) for i in range(3)]).encode()


def test_an_empty_block_is_allowed_in_every_phase() -> None:
    for phase in (Phase.REGISTER, Phase.COMMIT, Phase.PROVE, *STEPS):
        assert check(proven_state(phase)) is None
    assert check(proven_state(Phase.DONE, 1)) is None


def test_what_find_fault_refuses_is_refused() -> None:
    state = proven_state(Phase.COMMIT)
    assert check(state, parent=bytes(32)) == "the parent is another block"


# -- commits ---------------------------------------------------------------------------------------


def combine_commits(first: Commit, second: Commit) -> bytes:
    """2 D_1 + D_2, by somebody who knows neither model."""
    points = decode_g1(first.d_w + second.d_w, 2)
    assert isinstance(points, G1Array)
    return encode_g1(combine_commitments(points, [2, 1]))


def test_copies_and_combinations_are_taken_but_earn_nothing() -> None:
    """Client 1 copies client 0's commitment, client 2 combines both others'."""
    lab = ProvenLab()
    state = lab.reach(Phase.COMMIT)
    owner, other = lab.commit(0), lab.commit(1)
    d_w = combine_commits(owner, other)
    copy = lab.commit(1, d_w=owner.d_w)
    mixed = lab.commit(2, d_w=d_w)
    block = lab.block(state, [copy, mixed, owner])
    assert lab.verifier().check(state, block) is None
    state = lab.extend(apply(state, block))
    honest = lab.prove(0, state)
    stolen = [
        lab.wrap(1, envelope_of(honest)),
        # the statement rewritten to the thief's name, or the proof of its own model under the copy
        lab.wrap(1, rename(envelope_of(honest), client_key=lab.client(1))),
        lab.wrap(1, lab.make_envelope(1, state)),
        lab.wrap(1, rename(lab.make_envelope(1, state), commitments=(owner.d_w,))),
        lab.wrap(2, rename(lab.make_envelope(2, state), commitments=(d_w,))),
        lab.wrap(2, rename(envelope_of(honest), client_key=lab.client(2), commitments=(d_w,))),
    ]
    assert lab.verifier().check_proofs(state, [honest, *stolen]) == [
        VALID,
        WRONG,
        FAILED,
        WRONG,
        FAILED,
        FAILED,
        FAILED,
    ]
    state = lab.wait(lab.extend(state, [honest]))
    assert set(state.proofs) == {lab.client(0)}
    assert state.ranking == (lab.client(0),)


def rename(envelope: Envelope, **changes: Any) -> Envelope:
    """Another statement on the same proof."""
    return replace(envelope, statement=restate(envelope.statement, **changes))


# -- beacon ----------------------------------------------------------------------------------------


def test_a_beacon_that_is_not_the_signature_is_refused() -> None:
    state = proven_state(Phase.BEACON)
    assert check(state) is None
    elsewhere = replace(state, commit_height=state.commit_height + 1)
    for forged in (point(3), b"\xff" * 32, proven_lab().compute_beacon(elsewhere)):
        found = check(state, beacon=forged)
        assert found == "the beacon is not the validators' signature"


# -- proofs ----------------------------------------------------------------------------------------


def test_a_false_proof_is_found_among_right_ones(proofs: list[Proof]) -> None:
    state = proven_state(Phase.PROVE)
    assert check(state, *proofs) is None
    for i in range(3):
        mixed = [tamper(j, p) if j == i else p for j, p in enumerate(proofs)]
        expected = [FAILED if j == i else VALID for j in range(3)]
        assert proven_lab().verifier().check_proofs(state, mixed) == expected
        name = proven_lab().client(i).hex()
        found = check(state, *mixed)
        assert found == f"transaction {i} of client {name}: its proof is pairing_failed"


@pytest.mark.parametrize("name", list(STATEMENT_CHANGES))
def test_a_proof_with_another_statement_field_is_refused(name: str, proofs: list[Proof]) -> None:
    """Each field, on the owner's otherwise right proof, signed by it again."""
    state, lab = proven_state(Phase.PROVE), proven_lab()
    value = {"n_real": N_SAMPLES + 1, "client_key": lab.client(1), "claimed_correct": 15}
    change = {name: value.get(name, STATEMENT_CHANGES[name])}
    lie = lab.wrap(0, rename(envelope_of(proofs[0]), **change))
    expected = FAILED if name == "claimed_correct" else WRONG
    assert lab.verifier().check_proofs(state, [lie, proofs[1]]) == [expected, VALID]
    assert check(state, lie, proofs[1]) is not None


@pytest.mark.parametrize(
    "occasion",
    [
        {"chain_id": b"other"},
        {"task_id": b"other"},
        {"round_index": 1},
        {"commit_height": 1},
        {"client_key": b"\x01" * 32},
        {"shard_index": 1},
    ],
)
def test_a_right_proof_of_another_occasion_is_refused(occasion: dict[str, Any]) -> None:
    """It verifies by itself; it is not what the chain asked for."""
    state, lab = proven_state(Phase.PROVE), proven_lab()
    tx = lab.wrap(0, lab.make_envelope(0, state, **occasion))
    assert lab.verifier().check_proofs(state, [tx]) == [WRONG]
    assert check(state, tx) is not None


def test_a_right_proof_on_other_samples_of_the_pool_is_refused() -> None:
    state, lab = proven_state(Phase.PROVE), proven_lab()
    chosen = replace(state, beacon=point(8))
    tx = lab.prove(0, chosen)
    assert find_fault(state, lab.block(state, [tx])) is None  # the pool decides
    assert lab.verifier().check_proofs(state, [tx]) == [WRONG]
    assert check(state, tx) is not None


def test_a_claim_above_the_truth_is_refused(proofs: list[Proof]) -> None:
    lab, state = proven_lab(), proven_state(Phase.PROVE)
    raised = lab.wrap(2, rename(envelope_of(proofs[2]), claimed_correct=N_SAMPLES))
    assert lab.verifier().check_proofs(state, [raised]) == [FAILED]


def test_malformed_proofs_are_named_so(proofs: list[Proof]) -> None:
    lab, state = proven_lab(), proven_state(Phase.PROVE)
    noise = lab.sign(replace(proofs[0], envelope=b"noise"), lab.clients[0])
    points = lab.wrap(1, replace(envelope_of(proofs[1]), proof=b"\xff" * 224))
    assert lab.verifier().check_proofs(state, [noise, points, proofs[2]]) == [
        Verdict.MALFORMED,
        Verdict.MALFORMED,
        VALID,
    ]
    off_curve = replace(
        envelope_of(proofs[1]), proof=b"\xff" * 32 + envelope_of(proofs[1]).proof[32:]
    )
    assert lab.verifier().check_proofs(state, [lab.wrap(1, off_curve)]) == [Verdict.MALFORMED]


def test_verdicts_are_remembered(proofs: list[Proof], monkeypatch: pytest.MonkeyPatch) -> None:
    state, verifier = proven_state(Phase.PROVE), proven_lab().verifier()
    lie = tamper(1, proofs[1])
    assert verifier.check_proofs(state, [proofs[0], lie]) == [VALID, FAILED]
    checked: list[int] = []

    def count(raws: list[bytes], **_: Any) -> list[Verdict]:
        checked.append(len(raws))
        return [VALID] * len(raws)

    monkeypatch.setattr(verifier_module, "verify_batch", count)
    assert verifier.check_proofs(state, [proofs[0], lie, proofs[2]]) == [VALID, FAILED, VALID]
    assert checked == [1]


def test_a_remembered_verdict_does_not_outlive_its_state(proofs: list[Proof]) -> None:
    """The same transaction after another beacon asks about other samples."""
    state, verifier = proven_state(Phase.PROVE), proven_lab().verifier()
    assert verifier.check_proofs(state, proofs[:1]) == [VALID]
    assert verifier.check_proofs(replace(state, beacon=point(9)), proofs[:1]) == [WRONG]
    late = replace(state, commit_height=9)
    assert verifier.check_proofs(late, proofs[:1]) == [WRONG]


def test_memory_is_bounded() -> None:
    memory: verifier_module._Memory[int] = verifier_module._Memory(3)
    for i in range(10):
        memory.put(bytes((i,)), i)
    assert [memory.get(bytes((i,))) for i in range(10)] == [None] * 7 + [7, 8, 9]


def reach_a_model_that_errs(margin: int) -> tuple[ProvenLab, ChainState, int]:
    """A lab in its second round, and how many of the drawn samples the global model gets right.

    Which ones are drawn hangs on every byte of the genesis, so some are tried.
    """
    for threshold in range(1, 8):
        lab = ProvenLab(changes={"margin": margin, "threshold": threshold})
        state = lab.reach(Phase.PROVE, learning_round=1)
        model = GlobalModel.parse(lab.blobs.get(state.global_model)).rounded()
        images, labels = lab.pool.draw(state.beacon, N_SAMPLES)
        n_global = int(np.count_nonzero(is_correct(model.logits(images), labels)))
        if 0 < n_global < N_SAMPLES:
            return lab, state, n_global
    raise AssertionError("the global model is right about every sample that was drawn")


def test_a_margin_asks_for_more_than_the_global_model() -> None:
    lab, state, n_global = reach_a_model_that_errs(1)
    first = lab.reach(Phase.PROVE, learning_round=0)
    assert lab.verifier().check_proofs(first, [lab.prove(2, first)]) == [VALID]  # no model yet
    verifier = lab.verifier()
    claims = {k: lab.prove(0, state, claimed=k) for k in (n_global, n_global + 1)}
    assert verifier.check_proofs(state, list(claims.values())) == [WRONG, VALID]
    assert verifier.check_proofs(state, list(claims.values())) == [WRONG, VALID]


@pytest.mark.parametrize("margin", [0, -1])
def test_a_margin_may_let_proofs_show_as_many_or_fewer(margin: int) -> None:
    lab, state, n_global = reach_a_model_that_errs(margin)
    claims = [n_global + margin - 1, n_global + margin, n_global]
    proofs = [lab.prove(0, state, claimed=k) for k in claims if k >= lab.genesis.task.threshold]
    expected = [WRONG, VALID, VALID][3 - len(proofs) :]
    assert lab.verifier().check_proofs(state, proofs) == expected
    assert WRONG in expected, "the margin refused one"


# -- payloads --------------------------------------------------------------------------------------


def lying(phase: Phase, make: Callable[[Record], bytes]) -> tuple[ProvenLab, ChainState, Proof]:
    """A lab and its state, with what client 1 sends when its payload is another."""
    lab = ProvenLab()
    state = lab.reach(phase)
    if phase is Phase.PROVE:
        raw = make(lab.take_part(1, state).deal())
        made: Any = replace(lab.prove(1, state), deal=lab.blobs.put(raw))
    else:
        raw = make(lab.make_payload(1, state))
        made = replace(lab.make_due(1, state), payload=lab.blobs.put(raw))
    return lab, state, lab.sign(made, lab.clients[1])


def cut(payload: Record) -> bytes:
    return payload.encode()[:-1]


def lengthen(payload: Record) -> bytes:
    """In its form, with one scalar more than it should have."""
    assert isinstance(payload, Masked | Unmasking)
    name = "scalars" if isinstance(payload, Masked) else "shares"
    scalars = FrArray.concat([getattr(payload, name), FrArray.from_ints([1])])
    changes: dict[str, Any] = {name: scalars}
    return replace(payload, **changes).encode()


def falsify(payload: Record) -> bytes:
    """A share that nobody dealt."""
    assert isinstance(payload, Unmasking)
    first, *others = payload.shares.to_ints()
    return replace(payload, shares=FrArray.from_ints([first + 1, *others])).encode()


def orphan(payload: Record) -> bytes:
    """A deal for nobody."""
    assert isinstance(payload, Deal)
    none: dict[str, Any] = dict.fromkeys(("ciphertexts", "self_digests", "pair_digests"), b"")
    return replace(payload, **none).encode()


@pytest.mark.parametrize(
    ("phase", "make", "fault"),
    [
        (Phase.PROVE, cut, "its deal is malformed"),
        (Phase.PROVE, orphan, "its deal has shares for more or fewer neighbours"),
        (Phase.MASK, cut, "its payload is malformed"),
        (Phase.MASK, lengthen, "its payload has not 44 scalars"),
        (Phase.UNMASK, cut, "its payload is malformed"),
        (Phase.UNMASK, lengthen, "its payload has more or fewer shares"),
        (Phase.UNMASK, falsify, "its payload has a share that its dealer did not deal"),
        (Phase.ATTEST, cut, "its payload is malformed"),
        (Phase.REVEAL, cut, "its payload is malformed"),
    ],
)
def test_a_payload_that_is_none_is_refused_and_its_client_named(
    phase: Phase, make: Callable[[Record], bytes], fault: str
) -> None:
    lab, state, tx = lying(phase, make)
    others = [due for due in lab.list_due(state) if due.client_key != lab.client(1)]
    found = check(state, *others, tx, lab=lab)
    assert found is not None
    assert f"of client {lab.client(1).hex()}: {fault}" in found
    assert check(state, *others, lab=lab) is None
    verifier = lab.verifier()
    for _ in range(2):  # what is remembered is the same
        faults = verifier.judge(state, [*others, tx])
        assert [one is None for one in faults] == [True, True, False]


def test_a_deal_is_at_fault_and_not_the_proof() -> None:
    """Nobody can put on record that the proof does not verify."""
    lab, state, tx = lying(Phase.PROVE, cut)
    assert lab.verifier().check_proofs(state, [tx]) == [VALID]
    assert lab.verifier().judge(state, [Refusal(proof=tx)]) == ["it refuses a valid proof"]


@pytest.mark.parametrize("phase", [Phase.PROVE, Phase.MASK, Phase.UNMASK])
def test_a_payload_that_is_not_here_is_named(phase: Phase) -> None:
    lab, state = proven_lab(), proven_state(phase)
    tx: Any = lab.list_due(state)[0]
    name = "deal" if phase is Phase.PROVE else "payload"
    tx = lab.sign(replace(tx, **{name: b"\x07" * 32}), lab.clients[0])
    found = check(state, tx)
    assert found is not None
    assert f"blob {'07' * 32} is not here" in found
    block = lab.block(state, [tx])
    assert b"\x07" * 32 in lab.verifier().list_needed_blobs(state, block)


# -- aggregate -------------------------------------------------------------------------------------


def test_another_aggregate_is_refused() -> None:
    lab, state = proven_lab(), proven_state(Phase.ELECT)
    right = lab.aggregate(state)
    assert check(state, aggregate=(right,)) is None
    wrong = replace(right, model_digest=sha256(b"other").digest())
    assert check(state, aggregate=(wrong,)) == "the aggregate is not what the payloads come to"
    none = make_none(state, Failure.SHARES_MISSING)
    assert check(state, aggregate=(none,)) == "the aggregate is not what the payloads come to"
    dispute = lab.dispute(state)
    assert check(state, aggregate=(dispute,)) == "the aggregate is not what the payloads come to"


def test_a_loss_is_taken_whatever_is_here() -> None:
    """Who has the blob prevotes nil while the block is new: `consensus.learning.absence`."""
    state = proven_state(Phase.ELECT)
    for lost in list_round_blobs(state):
        assert check(state, aggregate=(make_none(state, Failure.LOST, lost=lost),)) is None
    other = make_none(state, Failure.LOST, lost=bytes(32))
    assert check(state, aggregate=(other,)) == "the aggregate lacks a blob that it does not need"


def test_an_aggregate_is_due_in_its_phase_only() -> None:
    with pytest.raises(ValueError, match="no aggregate is due"):
        proven_lab().verifier().build_aggregate(proven_state(Phase.PROVE))


def test_a_round_that_nobody_proves_in_keeps_its_model() -> None:
    lab = ProvenLab()
    state = lab.reach(Phase.PROVE)
    state = lab.wait(state)
    made = lab.verifier().build_aggregate(state)
    assert (made.model_digest, made.entries) == (state.global_model, ())
    assert check(state, lab=lab) is None


# -- blobs and keys --------------------------------------------------------------------------------


def tainted(lab: ProvenLab, digest: bytes, raw: bytes | None) -> BlockVerifier:
    """A verifier whose store gives other bytes for a digest, or none."""
    blobs = MemoryBlobs()
    blobs._blobs = dict(lab.blobs._blobs)
    if raw is None:
        del blobs._blobs[digest]
    else:
        blobs._blobs[digest] = raw
    return BlockVerifier(lab.genesis, blobs, seeded(1))


@pytest.mark.parametrize("name", ["verifying_key_digest", "pool"])
def test_missing_blobs_are_named(name: str, proofs: list[Proof]) -> None:
    lab, state = proven_lab(), proven_state(Phase.PROVE)
    digest = lab.task.pools[0] if name == "pool" else getattr(lab.task, name)
    block = lab.block(state, proofs)
    assert digest in lab.verifier().list_needed_blobs(state, block)
    found = tainted(lab, digest, None).check(state, block)
    assert found == f"blob {digest.hex()} is not here"


def test_needed_blobs_are_those_that_are_read() -> None:
    """A store with only these is enough in every phase."""
    lab = proven_lab()
    verifier = lab.verifier()
    for phase, t in walk_phases():
        state = proven_state(phase, t)
        block = lab.block(state, lab.list_due(state))
        blobs = MemoryBlobs()
        for digest in verifier.list_needed_blobs(state, block):
            blobs.put(lab.blobs.get(digest))
        assert BlockVerifier(lab.genesis, blobs, seeded(1)).check(state, block) is None


def walk_phases() -> Iterator[tuple[Phase, int]]:
    yield Phase.REGISTER, 0
    for t in (0, 1):
        for phase in PHASES:
            if phase not in (Phase.REGISTER, Phase.DONE):
                yield phase, t
    yield Phase.DONE, 1


def test_a_pool_of_other_samples_or_too_few_is_named(proofs: list[Proof]) -> None:
    lab, state = proven_lab(), proven_state(Phase.PROVE)
    pool = lab.pool
    small = SamplePool.of(images=pool.images[:8], labels=pool.labels[:8])
    wide = SamplePool.of(images=pool.images[:, :5], labels=pool.labels)
    salted = replace(pool, salt=b"s" * 32)
    for raw in (small.encode(), wide.encode(), salted.encode(), b"noise"):
        found = tainted(lab, lab.task.pools[0], raw).check(state, lab.block(state, proofs))
        assert found is not None


def test_sealed_pools_are_opened_when_their_round_proves() -> None:
    lab = ProvenLab(salt=b"s" * 32)
    state = lab.reach(Phase.PROVE)
    tx = lab.prove(0, state)
    verifier = lab.verifier()
    closed = lab.blobs._blobs.pop(lab.task.pools[0])
    block = lab.block(state, [tx])
    found = verifier.check(state, block)
    assert found is not None
    assert "is not here" in found
    lab.blobs.put(closed)
    assert verifier.check(state, block) is None


def test_judge_says_what_may_enter_the_next_block(proofs: list[Proof]) -> None:
    lab, state = proven_lab(), proven_state(Phase.PROVE)
    early = lab.contribute(0, Phase.MASK)
    pending = [lab.commit(0), proofs[0], tamper(1, proofs[1]), proofs[2], early]
    assert lab.verifier().judge(state, pending) == [
        "commits are closed",
        None,
        "its proof is pairing_failed",
        None,
        "nobody is asked to mask now",
    ]


def test_blocks_survive_their_bytes(proofs: list[Proof]) -> None:
    lab, state = proven_lab(), proven_state(Phase.PROVE)
    again = Block.decode(lab.block(state, proofs).encode())
    assert again is not None
    assert lab.verifier().check(state, again) is None


def test_who_follows_old_rounds_may_lack_what_clients_sent_for_sums() -> None:
    """Nodes let it go. All else is checked: a false proof or beacon is seen as ever."""
    lab = proven_lab()
    blobs = MemoryBlobs()
    for digest in (lab.task.verifying_key_digest, *lab.task.pools):
        blobs.put(lab.blobs.get(digest))
    strict = BlockVerifier(lab.genesis, blobs, seeded(1))
    lenient = BlockVerifier(lab.genesis, blobs, seeded(1), may_lack_payloads=True)
    for phase in (Phase.PROVE, *STEPS, Phase.ELECT):
        state = proven_state(phase)
        block = lab.block(state, lab.list_due(state))
        assert "is not here" in str(strict.check(state, block))
        assert lenient.check(state, block) is None
    assert lenient.n_sums_unchecked == 1
    state = proven_state(Phase.PROVE)
    false = lab.block(state, [tamper(0, lab.prove(0, state))])
    assert "its proof is pairing_failed" in str(lenient.check(state, false))
