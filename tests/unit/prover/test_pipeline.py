"""The whole job on a small network: model and shard in, verified envelope out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kernels.encoding import encode_g1
from kernels.reference import Reference
from prover.circuit.accuracy import AccuracyCircuit, compile_accuracy
from prover.circuit.public_inputs import ShardInputs
from prover.circuit.witness import solve_committed
from prover.errors import (
    KeyMismatch,
    RangeExceeded,
    SelfCheckFailed,
    ShapeMismatch,
    UnsatisfiedConstraint,
)
from prover.groth16.setup import setup_accuracy
from prover.groth16.verify import verify, verify_batch
from prover.model.network import Architecture, QuantizedModel
from prover.pedersen.commitment import Committer, draw_blinding
from prover.pipeline import commit_job, prove_job, require_commitment
from prover.wire.envelope import Envelope
from prover.wire.verdict import Verdict
from tests.support.accuracy_protocol import (
    OCCASION,
    accuracy_key,
    backend,
    committer,
    run_job,
    scene,
    shard_inputs,
)
from tests.support.models import random_images, random_model
from tests.support.tiny_circuits import seeded

STAGES = ["witness 1", "commit", "challenges", "witness 2", "prove", "verify"]


def verdict_of(raw: bytes, inputs: ShardInputs | None = None) -> Verdict:
    return verify(
        raw,
        key=accuracy_key().verifying,
        public_inputs=inputs or shard_inputs(),
        random_bytes=seeded(5),
    )


def test_a_job_gives_a_valid_envelope() -> None:
    job = run_job()
    envelope = Envelope.decode(job.envelope)
    assert envelope is not None
    assert envelope.statement == job.statement
    assert job.statement.claimed_correct == scene().n_correct == 2
    assert job.statement.n_real == 3
    assert job.statement.multipliers == (3,)
    assert verdict_of(job.envelope) is Verdict.VALID
    assert list(job.timings_s) == STAGES
    assert set(job.timings_s.values()) == {1.0}  # the clock of this test ticks once a call


def test_a_job_reports_its_stages() -> None:
    seen: list[str] = []
    run_job(progress=lambda stage, done, total: seen.append(stage))
    assert [s for s in dict.fromkeys(seen) if s in STAGES] == STAGES
    assert {"transforms", "A", "B in G2", "C quotient"} <= set(seen)


@pytest.mark.parametrize("claimed", [0, 1])
def test_a_claim_may_be_lower_than_the_truth(claimed: int) -> None:
    job = run_job(claimed=claimed)
    assert job.statement.claimed_correct == claimed
    assert verdict_of(job.envelope) is Verdict.VALID


def test_a_claim_above_the_truth_is_named_and_tells_nothing_else() -> None:
    with pytest.raises(UnsatisfiedConstraint, match="correctness/count"):
        run_job(claimed=3)


def test_shards_of_one_commitment_verify_as_a_batch() -> None:
    """One D_W, another shard and shard index: all in one batch, each with its own data."""
    s = scene()
    rng = np.random.default_rng(3)
    images = random_images(s.accuracy.architecture, 4, rng)
    labels = s.model.logits(images).argmax(axis=1).astype(np.uint8)
    shards = [
        shard_inputs(),
        ShardInputs.of(s.accuracy.public_layout, images, labels),
    ]
    jobs = [run_job(inputs=inputs, shard_index=i) for i, inputs in enumerate(shards)]
    assert jobs[0].statement.commitments == jobs[1].statement.commitments
    verdicts = verify_batch(
        [j.envelope for j in jobs],
        key=accuracy_key().verifying,
        public_inputs=lambda statement, challenges: shards[statement.shard_index](
            statement, challenges
        ),
        random_bytes=seeded(6),
    )
    assert verdicts == [Verdict.VALID] * 2
    assert verdict_of(jobs[1].envelope) is Verdict.WRONG_STATEMENT


def test_a_proof_that_does_not_verify_does_not_leave() -> None:
    """Another model than the committed one: the witness is fine, the proof is not."""
    stranger = random_model(scene().accuracy.architecture, np.random.default_rng(9))
    with pytest.raises(SelfCheckFailed, match="pairing_failed"):
        run_job(model=stranger, claimed=0)


def test_keys_circuits_and_models_must_belong_together() -> None:
    s, key, source = scene(), accuracy_key(), seeded(2)
    other = compile_accuracy(s.accuracy.architecture, 5)
    stranger = random_model(Architecture.mlp([6, 3]), np.random.default_rng(1))
    wider = random_model(Architecture.mlp([60, 30, 3]), np.random.default_rng(1))
    blinding = draw_blinding(source)
    with pytest.raises(ShapeMismatch, match="a commitment to 1 to"):
        commit_job(wider, blinding, committer())
    commitment = commit_job(s.model, blinding, committer())

    def prove(accuracy: AccuracyCircuit, model: QuantizedModel) -> None:
        prove_job(
            accuracy,
            key,
            model,
            images=s.images,
            labels=s.labels,
            occasion=OCCASION,
            commitment=commitment,
            blinding=blinding,
            random_bytes=source,
            backend=backend(),
            clock=lambda: 0.0,
        )

    with pytest.raises(KeyMismatch, match="made for another circuit"):
        prove(other, s.model)
    with pytest.raises(ShapeMismatch, match="another architecture"):
        prove(s.accuracy, stranger)


def test_one_commitment_serves_circuits_and_keys_alike() -> None:
    """One D_W under keys of 256 and 1,024 samples: each statement names it, each proof holds."""
    s, source = scene(), seeded(5)
    blinding = draw_blinding(source)
    commitment = commit_job(s.model, blinding, committer())
    found = set()
    for n_samples in (256, 1024):
        accuracy = compile_accuracy(s.accuracy.architecture, n_samples)
        key = setup_accuracy(accuracy, random_bytes=source, backend=backend())
        job = prove_job(
            accuracy,
            key,
            s.model,
            images=s.images,
            labels=s.labels,
            occasion=OCCASION,
            commitment=commitment,
            blinding=blinding,
            random_bytes=source,
            backend=backend(),
            clock=lambda: 0.0,
        )
        inputs = ShardInputs.of(accuracy.public_layout, s.images, s.labels)
        verdict = verify(job.envelope, key=key.verifying, public_inputs=inputs, random_bytes=source)
        assert verdict is Verdict.VALID
        found.add((job.statement.commitments, job.statement.verifying_key_digest))
    assert {commitments for commitments, _ in found} == {(encode_g1(commitment.d),)}
    assert len(found) == 2


def test_a_commitment_is_of_one_model_and_blinding() -> None:
    s, blinding = scene(), draw_blinding(seeded(3))
    made = commit_job(s.model, blinding, committer())
    require_commitment(made, s.model, blinding, committer())
    stranger = random_model(s.accuracy.architecture, np.random.default_rng(9))
    for model, other in ((stranger, blinding), (s.model, draw_blinding(seeded(4)))):
        with pytest.raises(KeyMismatch, match="of another model, or the blinding of another"):
            require_commitment(made, model, other, committer())


def test_a_model_out_of_range_is_not_committed() -> None:
    s = scene()
    biases = [b.copy() for b in s.model.biases]
    biases[0][0] = (1 << 23) - 1
    model = replace(s.model, biases=tuple(biases))
    with pytest.raises(RangeExceeded):
        commit_job(model, draw_blinding(seeded(1)), committer())


def test_model_wires_are_those_of_the_witness() -> None:
    s = scene()
    committed = solve_committed(s.accuracy, s.model, s.images, s.labels)
    assert s.model.wires.tolist() == committed.model.tolist()
    assert s.model.wires.any()


def test_backends_agree_on_the_commitment() -> None:
    s, blinding = scene(), draw_blinding(seeded(8))
    slow = Committer(s.model.architecture.n_parameters, Reference())
    fast = commit_job(s.model, blinding, committer())
    assert fast.encode() == commit_job(s.model, blinding, slow).encode()
