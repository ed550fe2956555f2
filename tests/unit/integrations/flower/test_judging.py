"""The server's side: of every reply whether it counts, and why not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from federated.task_scales import quantize_for_task
from integrations.flower.arrays import list_floats, read_floats
from integrations.flower.judging import SENTENCES, Accepted, Reason, Refusal, Reply
from integrations.flower.proving import ProvenModel
from integrations.flower.tickets import Mode
from kernels.backend import get_backend
from kernels.encoding import encode_g1
from prover.keys.folder import load_proving_key
from prover.model.network import QuantizedModel
from prover.pedersen.commitment import Committer, draw_blinding
from prover.pipeline import commit_job, compile_for_key, prove_job
from prover.wire.envelope import Envelope
from tests.support.flower_task import (
    N_CORRECT,
    N_SAMPLES,
    FlowerLab,
    as_reply,
    draw_arrays,
)
from tests.support.tiny_circuits import seeded


@pytest.fixture(scope="module")
def honest(lab: FlowerLab) -> list[ProvenModel]:
    """Models of the nodes 1, 2 and 3, in the open."""
    prover = lab.make_prover()
    return [prover.prove(draw_arrays(n), lab.make_ticket(), node=n) for n in (1, 2, 3)]


@pytest.fixture(scope="module")
def masked(lab: FlowerLab) -> list[ProvenModel]:
    prover, ticket = lab.make_prover(Mode.MASKED), lab.make_ticket(Mode.MASKED)
    return [prover.prove(draw_arrays(n), ticket, node=n) for n in (1, 2)]


def restate(raw: bytes | None, **changes: object) -> bytes:
    """The envelope with other fields in its statement, or in its occasion."""
    envelope = Envelope.decode(raw or b"")
    assert envelope is not None
    statement = envelope.statement
    own = {k: v for k, v in changes.items() if hasattr(statement, k)}
    occasion = replace(statement.occasion, **{k: v for k, v in changes.items() if k not in own})
    changed = replace(statement, occasion=occasion, **own)  # type: ignore[arg-type]
    return replace(envelope, statement=changed).encode()


def splice(raw: bytes | None, other: bytes) -> bytes:
    """The statement of one envelope with the points of another."""
    envelope, donor = Envelope.decode(raw or b""), Envelope.decode(other)
    assert envelope is not None
    assert donor is not None
    return replace(envelope, proof=donor.proof).encode()


def move(reply: Reply, by: int) -> Reply:
    """The first bias is another."""
    assert reply.arrays is not None
    arrays = [array.copy() for array in reply.arrays]
    arrays[1][0] += by
    return replace(reply, arrays=arrays)


def test_who_is_honest_counts(lab: FlowerLab, honest: list[ProvenModel]) -> None:
    judge = lab.make_judge()
    replies = [as_reply(one, n) for n, one in enumerate(honest, start=1)]
    judged = judge.judge(replies, lab.make_ticket())
    for n, one in enumerate(judged, start=1):
        assert isinstance(one, Accepted)
        assert (one.node, one.n_correct) == (n, N_SAMPLES)
        step = max(lab.task.scales.weights) * 255
        for found, wanted in zip(list_floats(judge.convert(one)), draw_arrays(n), strict=True):
            assert np.abs(found - wanted).max() < step


def make_point() -> bytes:
    """A commitment to other numbers."""
    ones = np.ones(4, dtype=np.int64)
    return encode_g1(Committer(4, get_backend("cpu")).commit(ones, 1))


FAULTS: dict[str, tuple[Reason, Callable[[Reply], Reply]]] = {
    "no proof": (Reason.MISSING, lambda r: replace(r, envelope=None)),
    "no bytes": (Reason.MALFORMED, lambda r: replace(r, envelope=b"")),
    "no arrays": (Reason.MALFORMED, lambda r: replace(r, arrays=None)),
    "no blinding": (Reason.MALFORMED, lambda r: replace(r, blinding=None)),
    "a blinding that is none": (Reason.MALFORMED, lambda r: replace(r, blinding=b"x" * 42)),
    "another shard": (
        Reason.MALFORMED,
        lambda r: replace(r, envelope=restate(r.envelope, shard_index=1)),
    ),
    "fewer samples": (
        Reason.MALFORMED,
        lambda r: replace(r, envelope=restate(r.envelope, n_real=7, claimed_correct=7)),
    ),
    "two commitments": (
        Reason.MALFORMED,
        lambda r: replace(r, envelope=restate(r.envelope, commitments=(bytes(32),) * 2)),
    ),
    "a commitment that is no point": (
        Reason.MALFORMED,
        lambda r: replace(r, envelope=restate(r.envelope, commitments=(b"\xff" * 32,))),
    ),
    "another key": (
        Reason.OTHER_TASK,
        lambda r: replace(r, envelope=restate(r.envelope, verifying_key_digest=bytes(32))),
    ),
    "other samples": (
        Reason.OTHER_TASK,
        lambda r: replace(r, envelope=restate(r.envelope, dataset_digest=bytes(32))),
    ),
    "another task": (
        Reason.OTHER_TASK,
        lambda r: replace(r, envelope=restate(r.envelope, task_id=bytes(32))),
    ),
    "another node's": (Reason.OTHER_CLIENT, lambda r: replace(r, node=4)),
    "another round": (
        Reason.STALE,
        lambda r: replace(r, envelope=restate(r.envelope, round_index=0)),
    ),
    "another nonce": (
        Reason.STALE,
        lambda r: replace(r, envelope=restate(r.envelope, chain_id=bytes(32))),
    ),
    "a claim below the threshold": (
        Reason.BELOW_THRESHOLD,
        lambda r: replace(r, envelope=restate(r.envelope, claimed_correct=N_CORRECT - 1)),
    ),
    "a lesser claim than is proven": (
        Reason.FORGED,
        lambda r: replace(r, envelope=restate(r.envelope, claimed_correct=N_SAMPLES - 1)),
    ),
    "another model": (Reason.OTHER_MODEL, lambda r: move(r, 1)),
    "another commitment": (
        Reason.OTHER_MODEL,
        lambda r: replace(r, envelope=restate(r.envelope, commitments=(make_point(),))),
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_has_its_reason_and_spoils_nothing_else(
    lab: FlowerLab, honest: list[ProvenModel], name: str
) -> None:
    reason, spoil = FAULTS[name]
    replies = [as_reply(one, n) for n, one in enumerate(honest, start=1)]
    judged = lab.make_judge().judge([replies[0], spoil(replies[1]), replies[2]], lab.make_ticket())
    assert [type(one) for one in judged] == [Accepted, Refusal, Accepted]
    assert isinstance(judged[1], Refusal)
    assert judged[1].reason is reason


def test_every_reason_is_told() -> None:
    told = {reason for reason, _ in FAULTS.values()} | {Reason.TWICE}
    assert told == set(Reason) == set(SENTENCES)


def test_a_proof_counts_in_its_own_round_only(lab: FlowerLab, honest: list[ProvenModel]) -> None:
    reply = as_reply(honest[0], 1)
    for ticket in (lab.make_ticket(round_index=2), lab.make_ticket(nonce=8)):
        (one,) = lab.make_judge().judge([reply], ticket)
        assert isinstance(one, Refusal)
        assert one.reason is Reason.STALE


def test_a_copy_does_not_count(lab: FlowerLab, honest: list[ProvenModel]) -> None:
    """Neither as it is, nor restated for the copier, nor behind the copier's own statement."""
    copied = as_reply(honest[0], 2)
    client_key = lab.make_ticket().get_occasion(2).client_key
    restated = replace(copied, envelope=restate(copied.envelope, client_key=client_key))
    own = as_reply(honest[1], 2)
    spliced = replace(own, envelope=splice(own.envelope, honest[0].envelope))
    reasons = []
    for reply in (copied, restated, spliced):
        (one,) = lab.make_judge().judge([reply], lab.make_ticket())
        assert isinstance(one, Refusal)
        reasons.append(one.reason)
    assert reasons == [Reason.OTHER_CLIENT, Reason.FORGED, Reason.FORGED]


def test_the_blinding_of_another_opens_nothing(lab: FlowerLab, honest: list[ProvenModel]) -> None:
    reply = replace(as_reply(honest[0], 1), blinding=honest[1].blinding)
    (one,) = lab.make_judge().judge([reply], lab.make_ticket())
    assert isinstance(one, Refusal)
    assert one.reason is Reason.OTHER_MODEL


def test_a_node_answers_once(lab: FlowerLab, honest: list[ProvenModel]) -> None:
    """The first answer counts, or does not: a second does not make up for it."""
    good = as_reply(honest[0], 1)
    bad = replace(good, envelope=None)
    for pair, wanted in (
        ([good, good], [Accepted, Refusal]),
        ([bad, good], [Refusal, Refusal]),
    ):
        judged = lab.make_judge().judge(pair, lab.make_ticket())
        assert [type(one) for one in judged] == wanted
        assert isinstance(judged[1], Refusal)
        assert judged[1].reason is Reason.TWICE


def test_a_true_proof_of_too_few_does_not_count(lab: FlowerLab) -> None:
    """By a client that left out the check on its own side."""
    task, ticket = lab.task, lab.make_ticket(Mode.MASKED)
    backend = get_backend("cpu")
    model = read_model(lab)
    blinding = draw_blinding(seeded(9))
    committer = Committer(task.architecture.n_parameters, backend)
    proved = prove_job(
        compile_for_key(task.card, task.key),
        load_proving_key(lab.folder / "key", task.key),
        model,
        images=task.inputs.images,
        labels=task.inputs.labels,
        occasion=ticket.get_occasion(1),
        commitment=commit_job(model, blinding, committer),
        blinding=blinding,
        random_bytes=seeded(10),
        backend=backend,
        clock=lambda: 0.0,
        claimed=N_CORRECT - 1,
    )
    (one,) = lab.make_judge().judge([Reply(node=1, envelope=proved.envelope)], ticket)
    assert isinstance(one, Refusal)
    assert one.reason is Reason.BELOW_THRESHOLD
    assert f"{N_CORRECT - 1} of {N_CORRECT}" in str(one)


def read_model(lab: FlowerLab) -> QuantizedModel:
    floats = read_floats(draw_arrays(1), lab.task.architecture, lab.task.scales)
    return quantize_for_task(floats, lab.task.architecture, lab.task.scales)


def test_masked_models_are_judged_by_their_proofs_alone(
    lab: FlowerLab, masked: list[ProvenModel]
) -> None:
    first, second = (as_reply(one, n) for n, one in enumerate(masked, start=1))
    more = replace(second, envelope=restate(second.envelope, claimed_correct=N_CORRECT + 1))
    judged = lab.make_judge().judge([first, more], lab.make_ticket(Mode.MASKED))
    assert isinstance(judged[0], Accepted)
    assert (judged[0].n_correct, judged[0].model) == (N_CORRECT, None)
    assert isinstance(judged[1], Refusal)
    assert judged[1].reason is Reason.FORGED


def test_no_bytes_raise(lab: FlowerLab, honest: list[ProvenModel], rng: Random) -> None:
    judge, reply = lab.make_judge(), as_reply(honest[0], 1)
    assert reply.envelope is not None
    assert reply.blinding is not None
    for _ in range(60):
        envelope, blinding = bytearray(reply.envelope), bytearray(reply.blinding)
        spoilt = rng.choice([envelope, blinding])
        spoilt[rng.randrange(len(spoilt))] ^= 1 << rng.randrange(8)
        cut = rng.choice([len(envelope), rng.randrange(len(envelope))])
        changed = replace(reply, envelope=bytes(envelope[:cut]), blinding=bytes(blinding))
        (one,) = judge.judge([changed], lab.make_ticket())
        assert isinstance(one, Refusal)


def test_a_refusal_tells_nothing_private(lab: FlowerLab, honest: list[ProvenModel]) -> None:
    reply = as_reply(honest[0], 1)
    (one,) = lab.make_judge().judge([move(reply, 1)], lab.make_ticket())
    assert str(one) == f"node 1: other_model: {SENTENCES[Reason.OTHER_MODEL]}"
    assert "arrays" not in repr(reply)
    assert "blinding" not in repr(reply)
