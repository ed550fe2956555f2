"""Bounds on updates through whole proofs: who scaled its model has no proof, however it tries."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import count

import numpy as np
import pytest

from kernels.array import FrArray, G1Array
from kernels.backend import get_backend
from kernels.bn254 import R
from kernels.encoding import encode_g1
from prover.circuit.accuracy import compile_accuracy
from prover.circuit.constraints import Group
from prover.circuit.norm.circuit import NormCircuit, compile_norm
from prover.circuit.norm.inputs import UpdateInputs
from prover.circuit.public_inputs import ShardInputs
from prover.errors import KeyMismatch, SelfCheckFailed, ShapeMismatch, UpdateExceeds
from prover.groth16.commitment import Opening
from prover.groth16.setup import setup_accuracy
from prover.groth16.setup_norm import setup_norm
from prover.groth16.verify import verify, verify_updates
from prover.groth16.whole import prove_statement
from prover.keys.card import UpdateCard
from prover.keys.halves import ProvingKey
from prover.model.network import Architecture, QuantizedModel
from prover.model.update import UpdateBounds, clip_update, compute_update
from prover.pedersen.commitment import Blinding, Committer, ModelCommitment, draw_blinding
from prover.pipeline import commit_job, prove_job
from prover.progress import Stages, silent
from prover.updates import ProvedUpdate, compile_norm_for_key, prove_update
from prover.wire.envelope import Envelope, Proof
from prover.wire.statement import Occasion
from prover.wire.update import UpdateEnvelope, UpdateStatement
from prover.wire.verdict import Verdict
from tests.support.models import random_images
from tests.support.tiny_circuits import seeded
from tests.support.updates import assign_update

NETWORK = Architecture.mlp([6, 3])
BOUNDS = UpdateBounds(weight=4, bias=400, squares=60)
OCCASION = Occasion(
    chain_id=b"chain", task_id=b"task", round_index=1, commit_height=2, client_key=b"client"
)
BACKEND = get_backend("cpu")


@cache
def norm() -> NormCircuit:
    return compile_norm(NETWORK, BOUNDS)


@cache
def norm_key() -> ProvingKey:
    return setup_norm(norm(), random_bytes=seeded(5), backend=BACKEND)


@cache
def committer() -> Committer:
    return Committer(NETWORK.n_parameters, BACKEND)


@cache
def origin() -> QuantizedModel:
    """The public global model G."""
    rng = np.random.default_rng(8)
    weights = (rng.integers(-40, 41, size=(3, 6), dtype=np.int8),)
    return QuantizedModel(
        architecture=NETWORK, weights=weights, biases=(np.array([50, -20, 7], dtype=np.int32),)
    )


def move(model: QuantizedModel, *, by: int = 1) -> QuantizedModel:
    """Another model, one weight and one bias away."""
    weights, biases = model.weights[0].copy(), model.biases[0].copy()
    weights[0, 0] += by
    biases[1] -= by
    return QuantizedModel(architecture=NETWORK, weights=(weights,), biases=(biases,))


def scale(model: QuantizedModel, factor: int) -> QuantizedModel:
    """All of it times a factor: every prediction is as before, and it weighs so much more in a
    mean of models."""
    return QuantizedModel(
        architecture=NETWORK,
        weights=(model.weights[0] * np.int8(factor),),
        biases=(model.biases[0] * factor,),
    )


@dataclass(frozen=True)
class Client:
    """A committed model, and whose it is."""

    model: QuantizedModel
    occasion: Occasion = OCCASION
    seed: int = 11

    @cached_property
    def blinding(self) -> Blinding:
        return draw_blinding(seeded(self.seed))

    @cached_property
    def commitment(self) -> ModelCommitment:
        return commit_job(self.model, self.blinding, committer())

    def prove(self, measured_from: QuantizedModel | None = None, **change: object) -> ProvedUpdate:
        ticks = count()
        given = {"commitment": self.commitment, "blinding": self.blinding} | change
        return prove_update(
            norm(),
            norm_key(),
            self.model,
            measured_from or origin(),
            occasion=self.occasion,
            committer=committer(),
            random_bytes=seeded(self.seed + 1),
            backend=BACKEND,
            clock=lambda: float(next(ticks)),
            **given,  # type: ignore[arg-type]
        )

    @property
    def statement(self) -> UpdateStatement:
        """What it would have to prove."""
        return UpdateStatement(
            occasion=self.occasion,
            verifying_key_digest=norm_key().verifying.digest,
            origin_digest=inputs().digest,
            commitment=encode_g1(self.commitment.d),
        )


def inputs(public: QuantizedModel | None = None) -> UpdateInputs:
    return UpdateInputs.of(norm().plan, public or origin(), committer())


def judge(*envelopes: bytes, public: QuantizedModel | None = None) -> list[Verdict]:
    return verify_updates(
        envelopes,
        key=norm_key().verifying,
        inputs=inputs(public),
        random_bytes=seeded(99),
    )


@pytest.fixture(scope="module")
def honest() -> Client:
    return Client(move(origin()))


@pytest.fixture(scope="module")
def proven(honest: Client) -> ProvedUpdate:
    return honest.prove()


@pytest.fixture(scope="module")
def scaled() -> Client:
    return Client(scale(origin(), 3), seed=31)


def forge(
    client: Client, update: list[int], rho: int | None = None, squares: int | None = None
) -> bytes:
    """A proof of the client's statement whose circuit runs over any update at all."""
    forged = assign_update(norm(), update, [2] * norm().n_challenges, squares=squares)
    ticks = count()
    whole = prove_statement(
        norm().circuit,
        norm_key(),
        client.statement,
        inputs(),
        openings=[
            Opening(
                wires=FrArray.from_ints([d % R for d in update]),
                rho=client.blinding.rho if rho is None else rho,
            )
        ],
        advice=forged.scalars(Group.ADVICE),
        random_bytes=seeded(3),
        backend=BACKEND,
        stages=Stages(clock=lambda: float(next(ticks)), report=silent),
    )
    return UpdateEnvelope(statement=client.statement, proof=whole.proof.encode()).encode()


# -- what passes -----------------------------------------------------------------------------------


def test_an_honest_update_passes(honest: Client, proven: ProvedUpdate) -> None:
    assert judge(proven.envelope) == [Verdict.VALID]
    assert proven.statement == honest.statement
    assert set(proven.timings_s) == {
        *("witness 1", "commit", "challenges", "witness 2", "prove", "verify")
    }


def test_no_change_at_all_passes() -> None:
    """Also where the public model is zero, whose commitment is the point at infinity."""
    assert judge(Client(origin()).prove().envelope) == [Verdict.VALID]
    zero = scale(origin(), 0)
    assert not inputs(zero).commitment.data.any()
    assert judge(Client(zero).prove(zero).envelope, public=zero) == [Verdict.VALID]


def test_a_clipped_update_passes(scaled: Client) -> None:
    """What an honest client does whose training went too far."""
    clipped = Client(clip_update(scaled.model, origin(), BOUNDS))
    assert compute_update(clipped.model, origin()).any()
    assert judge(clipped.prove().envelope) == [Verdict.VALID]


# -- the scaled model ------------------------------------------------------------------------------


def test_a_scaled_model_is_as_accurate_and_has_no_proof(scaled: Client) -> None:
    """Its proof of accuracy holds, all samples correct; the proof of bounds cannot be made."""
    accuracy = compile_accuracy(NETWORK, 8)
    key = setup_accuracy(accuracy, random_bytes=seeded(6), backend=BACKEND)
    images = random_images(NETWORK, 8, np.random.default_rng(4))
    labels = origin().logits(images).argmax(axis=1).astype(np.uint8)
    shard = ShardInputs.of(accuracy.public_layout, images, labels)
    ticks = count()
    job = prove_job(
        accuracy,
        key,
        scaled.model,
        images=images,
        labels=labels,
        occasion=OCCASION,
        commitment=scaled.commitment,
        blinding=scaled.blinding,
        random_bytes=seeded(2),
        backend=BACKEND,
        clock=lambda: float(next(ticks)),
    )
    assert job.statement.claimed_correct == 8
    assert (
        verify(job.envelope, key=key.verifying, public_inputs=shard, random_bytes=seeded(1))
        is Verdict.VALID
    )
    with pytest.raises(UpdateExceeds, match="change of a weight"):
        scaled.prove()


def test_the_true_update_of_a_scaled_model_does_not_verify(scaled: Client) -> None:
    """The prover's own check left out: with the true sum of squares, and with one in range."""
    update = compute_update(scaled.model, origin()).tolist()
    for squares in (None, 0):
        assert judge(forge(scaled, update, squares=squares)) == [Verdict.PAIRING_FAILED]


def test_the_update_of_another_model_does_not_verify(scaled: Client, honest: Client) -> None:
    """A witness within the bounds, under the commitment of the scaled model."""
    update = compute_update(honest.model, origin()).tolist()
    for rho in (scaled.blinding.rho, honest.blinding.rho, 0):
        assert judge(forge(scaled, update, rho)) == [Verdict.PAIRING_FAILED]


def test_a_forger_of_the_right_witness_is_none(honest: Client) -> None:
    """The forger's own tools make a valid proof of a true statement: they are not what fails."""
    update = compute_update(honest.model, origin()).tolist()
    assert judge(forge(honest, update)) == [Verdict.VALID]


# -- proofs of others, and of other things ---------------------------------------------------------


def restate(raw: bytes, **change: object) -> bytes:
    envelope = UpdateEnvelope.decode(raw)
    assert envelope is not None
    return replace(envelope, statement=replace(envelope.statement, **change)).encode()  # type: ignore[arg-type]


def test_a_proof_from_another_public_model_is_refused(proven: ProvedUpdate) -> None:
    other = move(origin(), by=2)
    assert judge(proven.envelope, public=other) == [Verdict.WRONG_STATEMENT]
    renamed = restate(proven.envelope, origin_digest=inputs(other).digest)
    assert judge(renamed, public=other) == [Verdict.PAIRING_FAILED]


def test_a_proof_for_another_commitment_is_refused(proven: ProvedUpdate, scaled: Client) -> None:
    for d in (encode_g1(scaled.commitment.d), encode_g1(G1Array.zeros(1))):
        assert judge(restate(proven.envelope, commitment=d)) == [Verdict.PAIRING_FAILED]


def test_a_proof_of_the_update_itself_is_refused(honest: Client) -> None:
    """A commitment to W - G instead of W: subtracting G again leaves another vector."""
    update = compute_update(honest.model, origin())
    d = committer().commit(update, honest.blinding.rho)
    mistaken = replace(honest.statement, commitment=encode_g1(d))
    raw = forge(honest, update.tolist())
    assert judge(restate(raw, commitment=mistaken.commitment)) == [Verdict.PAIRING_FAILED]


@pytest.mark.parametrize(
    "change",
    [{"client_key": b"thief"}, {"chain_id": b"other"}, {"round_index": 2}, {"commit_height": 3}],
)
def test_a_proof_on_another_occasion_is_refused(
    change: dict[str, object], proven: ProvedUpdate
) -> None:
    occasion = replace(OCCASION, **change)  # type: ignore[arg-type]
    assert judge(restate(proven.envelope, occasion=occasion)) == [Verdict.PAIRING_FAILED]


def test_another_key_and_another_kind_are_refused(proven: ProvedUpdate) -> None:
    assert judge(restate(proven.envelope, verifying_key_digest=bytes(32))) == [Verdict.WRONG_KEY]
    assert Envelope.decode(proven.envelope) is None
    assert judge(b"zkpotprf" + proven.envelope[8:], b"") == [Verdict.MALFORMED] * 2


def test_points_of_another_proof_do_not_fit(proven: ProvedUpdate) -> None:
    envelope = UpdateEnvelope.decode(proven.envelope)
    again = UpdateEnvelope.decode(Client(move(origin()), seed=51).prove().envelope)
    assert envelope is not None
    assert again is not None
    mine, theirs = (Proof.decode(e.proof) for e in (envelope, again))
    assert isinstance(mine, Proof)
    assert isinstance(theirs, Proof)
    for name in ("a", "b", "c", "own", "link", "d_a"):
        mixed = replace(mine, **{name: getattr(theirs, name)})
        raw = replace(envelope, proof=mixed.encode()).encode()
        assert judge(raw) == [Verdict.PAIRING_FAILED], name


def test_each_of_a_batch_has_its_own_verdict(proven: ProvedUpdate, scaled: Client) -> None:
    forged = forge(scaled, [0] * NETWORK.n_parameters)
    other = Client(move(origin(), by=-1), seed=61).prove().envelope
    found = judge(proven.envelope, forged, other, b"?")
    valid, failed = Verdict.VALID, Verdict.PAIRING_FAILED
    assert found == [valid, failed, valid, Verdict.MALFORMED]


# -- what the prover refuses -----------------------------------------------------------------------


def test_what_does_not_belong_together_is_refused(honest: Client, scaled: Client) -> None:
    with pytest.raises(SelfCheckFailed):
        honest.prove(commitment=scaled.commitment)
    with pytest.raises(SelfCheckFailed):
        honest.prove(blinding=scaled.blinding)
    looser = compile_norm(NETWORK, replace(BOUNDS, weight=5))
    loose_key = setup_norm(looser, random_bytes=seeded(5), backend=BACKEND)
    with pytest.raises(KeyMismatch, match="another circuit"):
        compile_norm_for_key(UpdateCard.of(norm()), loose_key.verifying)
    assert compile_norm_for_key(UpdateCard.of(looser), loose_key.verifying).digest == looser.digest
    wide = Architecture.mlp([7, 3])
    with pytest.raises(ShapeMismatch, match="another architecture"):
        UpdateInputs.of(compile_norm(wide, BOUNDS).plan, origin(), committer())


def test_challenges_of_another_circuit_are_the_callers_mistake(proven: ProvedUpdate) -> None:
    inputs = UpdateInputs.of(norm().plan, origin(), committer())
    with pytest.raises(KeyMismatch, match="2 challenges"):
        inputs(proven.statement, [3, 5])
