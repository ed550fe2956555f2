"""READ FIRST: one proof from model and data to bytes, one call per stage.

    commit_job   model ──ranges──> model wires ──commit──> D_W               once per model
    prove_job    model, shard
                   │ witness 1   integer inference: every wire that is fixed before the challenges
                   │ commit      D_A; D' in the basis of the key, and pi, which links it to D_W
                   │ challenges  from statement | D' | pi | D_A; public wires as verifiers do
                   │ witness 2   products and inverses
                   │ prove       quotient, A, B, C
                   │ verify      its own proof, with the verifier's code
                   v
                 envelope: statement and 224 bytes

`make_proof` does all but the last stage, for those who verify beside the next proof. Time,
randomness and the device are arguments. A proof that does not verify never leaves.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from kernels.backend import Backend
from kernels.encoding import encode_g1
from kernels.machine import count_memory
from kernels.numpy_types import UInt8Array
from prover.circuit.accuracy import AccuracyCircuit, compile_accuracy
from prover.circuit.constraints import Circuit
from prover.circuit.public_inputs import ShardInputs
from prover.circuit.sizes import require_circuit
from prover.circuit.witness import solve_committed
from prover.errors import KeyMismatch
from prover.groth16.commitment import Opening
from prover.groth16.verify import verify
from prover.groth16.whole import WholeProof, prove_statement, require_same, require_valid
from prover.keys.card import KeyCard
from prover.keys.halves import ProvingKey, VerifyingKey
from prover.model.network import QuantizedModel
from prover.model.ranges import compute_ranges
from prover.pedersen.commitment import Blinding, Committer, ModelCommitment, commit_model
from prover.pedersen.opening import opens
from prover.progress import Clock, StageProgress, Stages, silent
from prover.randomness import RandomBytes, fork
from prover.wire.envelope import Envelope
from prover.wire.statement import Occasion, Statement
from prover.wire.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvedJob:
    """What a job publishes, and how long its stages took."""

    envelope: bytes
    statement: Statement
    timings_s: dict[str, float]


def commit_job(model: QuantizedModel, blinding: Blinding, committer: Committer) -> ModelCommitment:
    """D_W of a model that can be proven on every sample of every dataset, under every key.

    raises : RangeExceeded (for the owner's eyes) before anything is committed; ShapeMismatch when
             the committer is for fewer wires
    """
    compute_ranges(model)
    return commit_model(model, blinding, committer)


def require_commitment(
    commitment: ModelCommitment, model: QuantizedModel, blinding: Blinding, committer: Committer
) -> None:
    """KeyMismatch unless the commitment is of this model, with this blinding.

    cost : a second commitment; without it the fault would show after the whole proof
    """
    if not opens(commitment.d, model.wires, blinding.rho, committer):
        raise KeyMismatch("the commitment is of another model, or the blinding of another one")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MadeProof:
    """A proof that nobody has verified yet: it leaves by `check`, or by `verify` and `conclude`.

    random_bytes : for the verifier's weights; a source of its own, so that the next proof can be
                   made meanwhile
    """

    envelope: bytes
    statement: Statement
    inputs: ShardInputs
    whole: WholeProof
    circuit: Circuit
    key: VerifyingKey
    backend: Backend
    random_bytes: RandomBytes
    stages: Stages

    def verify(self) -> Verdict:
        """What verifiers will say. For any thread: it takes nothing of the device."""
        with self.stages.stage("verify"):
            return verify(
                self.envelope,
                key=self.key,
                public_inputs=self.inputs,
                random_bytes=self.random_bytes,
            )

    def conclude(self, verdict: Verdict) -> ProvedJob:
        """What is published; SelfCheckFailed or UnsatisfiedConstraint, which the device finds, for
        a verdict that is not VALID."""
        require_valid(self.whole, verdict, self.circuit, self.backend)
        return ProvedJob(
            envelope=self.envelope, statement=self.statement, timings_s=self.stages.timings_s
        )

    def check(self, device: AbstractContextManager[object] | None = None) -> ProvedJob:
        """Both in turn. device : entered where the device has to be asked"""
        verdict = self.verify()
        is_valid = verdict is Verdict.VALID
        with nullcontext() if is_valid or device is None else device:
            return self.conclude(verdict)


def prove_job(
    accuracy: AccuracyCircuit,
    key: ProvingKey,
    model: QuantizedModel,
    *,
    images: UInt8Array,
    labels: UInt8Array,
    occasion: Occasion,
    commitment: ModelCommitment,
    blinding: Blinding,
    random_bytes: RandomBytes,
    backend: Backend,
    clock: Clock,
    shard_index: int = 0,
    claimed: int | None = None,
    progress: StageProgress | None = None,
) -> ProvedJob:
    """One verified proof about one shard, under a commitment made before.

    images, labels : uint8[n_real, ...] and uint8[n_real], n_real <= the circuit's samples
    raises         : as `make_proof`; SelfCheckFailed
    """
    made = make_proof(
        accuracy,
        key,
        model,
        inputs=ShardInputs.of(accuracy.public_layout, images, labels),
        occasion=occasion,
        commitment=commitment,
        blinding=blinding,
        random_bytes=random_bytes,
        backend=backend,
        clock=clock,
        shard_index=shard_index,
        claimed=claimed,
        progress=progress,
    )
    return made.check()


def make_proof(
    accuracy: AccuracyCircuit,
    key: ProvingKey,
    model: QuantizedModel,
    *,
    inputs: ShardInputs,
    occasion: Occasion,
    commitment: ModelCommitment,
    blinding: Blinding,
    random_bytes: RandomBytes,
    backend: Backend,
    clock: Clock,
    shard_index: int = 0,
    claimed: int | None = None,
    progress: StageProgress | None = None,
) -> MadeProof:
    """A proof about one shard, not verified.

    inputs     : of the circuit's public layout
    commitment : by `commit_job`, of this model with this blinding; it serves every shard, and
                 every key
    claimed    : how many correct samples to claim; default all that are
    raises     : KeyMismatch, ShapeMismatch, UnsatisfiedConstraint (by label, without values)
    """
    require_same_circuit(accuracy, key)
    stages = Stages(clock=clock, report=progress or silent)

    with backend.integers.active(key):
        with stages.stage("witness 1"):
            committed = solve_committed(
                accuracy,
                model,
                inputs.images,
                inputs.labels,
                claimed=claimed,
                integers=backend.integers,
            )
            opening = Opening(wires=committed.model_scalars, rho=blinding.rho)
            advice = committed.advice_scalars

        statement = build_statement(
            accuracy,
            key,
            inputs,
            occasion,
            commitment,
            shard_index=shard_index,
            claimed=committed.claimed,
        )
        whole = prove_statement(
            accuracy.circuit,
            key,
            statement,
            inputs,
            openings=[opening],
            advice=advice,
            random_bytes=random_bytes,
            backend=backend,
            stages=stages,
        )
    return MadeProof(
        envelope=Envelope(statement=statement, proof=whole.proof.encode()).encode(),
        statement=statement,
        inputs=inputs,
        whole=whole,
        circuit=accuracy.circuit,
        key=key.verifying,
        backend=backend,
        random_bytes=fork(random_bytes),  # now that all bytes are fixed
        stages=stages,
    )


def build_statement(
    accuracy: AccuracyCircuit,
    key: ProvingKey,
    inputs: ShardInputs,
    occasion: Occasion,
    commitment: ModelCommitment,
    *,
    shard_index: int,
    claimed: int,
) -> Statement:
    """The statement that a prover makes and every verifier reads from the envelope."""
    return Statement(
        occasion=occasion,
        verifying_key_digest=key.verifying.digest,
        shard_index=shard_index,
        n_real=len(inputs.labels),
        dataset_digest=inputs.digest,
        multipliers=accuracy.architecture.multipliers,
        claimed_correct=claimed,
        commitments=(encode_g1(commitment.d),),
    )


def compile_for_key(card: KeyCard, key: VerifyingKey) -> AccuracyCircuit:
    """The circuit that the card describes; KeyMismatch when the key was made for another.

    Raises CircuitTooLarge, before anything is allocated, for one that this machine cannot hold.
    """
    require_circuit(card.architecture, card.n_samples, max_bytes=count_memory())
    accuracy = compile_accuracy(card.architecture, card.n_samples)
    if accuracy.digest != key.circuit_digest:
        raise KeyMismatch(
            f"the key was made for another circuit than {card.architecture.name} "
            f"on {card.n_samples} samples"
        )
    return accuracy


def require_same_circuit(accuracy: AccuracyCircuit, key: ProvingKey) -> None:
    """KeyMismatch unless the key was set up for this very circuit, with these multipliers."""
    require_same(accuracy.digest, KeyCard.of(accuracy).digest, key)
