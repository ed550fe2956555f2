"""Proofs of training: that committed masters are one step from others, and what model they are.

    commit_values  masters, or a batch            ──commit──> D_M(t), D_X              once each
    prove_step     a step that `train_step` made
                     │ witness 1   its numbers, limbs and multiplicities
                     │ ...         as `prover.groth16.whole` has it, three commitments linked
                     │ verify      its own proof, with the verifier's code
                     v
                   envelope: statement and 224 bytes
    prove_export   likewise, from D_M to the D_W that accuracy is proven of: 224 bytes

Steps are proven one by one, in any order; `verify_trajectory` says whether they are a chain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from kernels.array import FrArray
from kernels.backend import Backend
from kernels.encoding import encode_g1
from kernels.machine import count_memory
from kernels.numpy_types import Int64Array
from prover.circuit.constraints import Circuit
from prover.circuit.training.export import (
    ExportCircuit,
    compile_export,
    solve_export,
)
from prover.circuit.training.export_plan import require_export
from prover.circuit.training.inputs import ExportInputs, StepInputs
from prover.circuit.training.sizes import require_step
from prover.circuit.training.step import StepCircuit, compile_step
from prover.circuit.training.witness import solve_step
from prover.errors import KeyMismatch
from prover.groth16.commitment import Opening
from prover.groth16.verify_training import verify_exports, verify_steps
from prover.groth16.whole import prove_statement, require_same, require_valid
from prover.keys.halves import ProvingKey, VerifyingKey
from prover.keys.training_card import ExportCard, StepCard
from prover.pedersen.commitment import Blinding, Committer, ModelCommitment, SecretCommitment
from prover.progress import Clock, StageProgress, Stages, silent
from prover.randomness import RandomBytes
from prover.training.step import StepTrace
from prover.wire.envelope import AnyStatement
from prover.wire.statement import Occasion
from prover.wire.training import ExportEnvelope, ExportStatement, StepEnvelope, StepStatement
from prover.wire.verdict import Verdict

S = TypeVar("S", bound=AnyStatement)
PUBLIC = Blinding(rho=0)
"""Of masters that everybody knows, such as those of a round's start: anybody commits alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvedStep:
    """What a proof of a step publishes, and how long its stages took."""

    envelope: bytes
    statement: StepStatement
    timings_s: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvedExport:
    """What a proof of an export publishes, and how long its stages took."""

    envelope: bytes
    statement: ExportStatement
    timings_s: dict[str, float]


def commit_values(values: Int64Array, blinding: Blinding, committer: Committer) -> SecretCommitment:
    """The commitment to masters, to the wires of a batch, or to those of a model.

    Raises ShapeMismatch when there are more than the committer bases.
    """
    public = ModelCommitment(d=committer.commit(values, blinding.rho))
    return SecretCommitment(public=public, blinding=blinding)


def prove_step(
    step: StepCircuit,
    key: ProvingKey,
    trace: StepTrace,
    *,
    t: int,
    occasion: Occasion,
    before: SecretCommitment,
    after: SecretCommitment,
    data: SecretCommitment,
    random_bytes: RandomBytes,
    backend: Backend,
    clock: Clock,
    progress: StageProgress | None = None,
) -> ProvedStep:
    """One verified proof of a training step.

    trace               : by `train_step`, under the circuit's recipe
    t                   : which step of the round it is
    before, after, data : commitments to its masters and to the wires of its batch
    raises              : KeyMismatch, ShapeMismatch; SelfCheckFailed where a commitment is of
                          something else
    """
    require_same(step.digest, StepCard.of(step).digest, key)
    stages, inputs = Stages(clock=clock, report=progress or silent), StepInputs(plan=step.plan)
    secrets = (before, after, data)

    with backend.integers.active(key):  # entered once, by both halves of the witness
        with stages.stage("witness 1"):
            solved = solve_step(step, trace, backend.integers)
            openings = _open(solved.linked_scalars, secrets)
            advice = solved.advice_scalars

        statement = StepStatement(
            occasion=occasion,
            verifying_key_digest=key.verifying.digest,
            step=t,
            n_real=trace.batch.n_real,
            before=encode_g1(before.public.d),
            after=encode_g1(after.public.d),
            data=encode_g1(data.public.d),
        )
        envelope = _prove(
            step.circuit,
            key,
            statement,
            inputs,
            openings=openings,
            advice=advice,
            seal=lambda proof: StepEnvelope(statement=statement, proof=proof).encode(),
            judge=lambda raw: verify_steps(
                [raw], key=key.verifying, inputs=inputs, random_bytes=random_bytes
            )[0],
            random_bytes=random_bytes,
            backend=backend,
            stages=stages,
        )
    return ProvedStep(envelope=envelope, statement=statement, timings_s=stages.timings_s)


def prove_export(
    circuit: ExportCircuit,
    key: ProvingKey,
    masters: Int64Array,
    *,
    occasion: Occasion,
    of_masters: SecretCommitment,
    of_model: SecretCommitment,
    random_bytes: RandomBytes,
    backend: Backend,
    clock: Clock,
    progress: StageProgress | None = None,
) -> ProvedExport:
    """One verified proof that a committed model is the export of committed masters.

    of_masters, of_model : commitments to the masters, and to the wires of their export
    raises               : RangeExceeded, for the owner's eyes; else as `prove_step`
    """
    require_same(circuit.digest, ExportCard.of(circuit).digest, key)
    stages, inputs = Stages(clock=clock, report=progress or silent), ExportInputs(plan=circuit.plan)

    with backend.integers.active(key):  # entered once, by both halves of the witness
        with stages.stage("witness 1"):
            solved = solve_export(circuit, masters, backend.integers)
            openings = _open(solved.linked_scalars, (of_masters, of_model))
            advice = solved.advice_scalars

        statement = ExportStatement(
            occasion=occasion,
            verifying_key_digest=key.verifying.digest,
            masters=encode_g1(of_masters.public.d),
            model=encode_g1(of_model.public.d),
        )
        envelope = _prove(
            circuit.circuit,
            key,
            statement,
            inputs,
            openings=openings,
            advice=advice,
            seal=lambda proof: ExportEnvelope(statement=statement, proof=proof).encode(),
            judge=lambda raw: verify_exports(
                [raw], key=key.verifying, inputs=inputs, random_bytes=random_bytes
            )[0],
            random_bytes=random_bytes,
            backend=backend,
            stages=stages,
        )
    return ProvedExport(envelope=envelope, statement=statement, timings_s=stages.timings_s)


def _prove(
    circuit: Circuit,
    key: ProvingKey,
    statement: S,
    inputs: Callable[[S, Sequence[int]], FrArray | None],
    *,
    openings: Sequence[Opening],
    advice: FrArray,
    seal: Callable[[bytes], bytes],
    judge: Callable[[bytes], Verdict],
    random_bytes: RandomBytes,
    backend: Backend,
    stages: Stages,
) -> bytes:
    """The envelope of a proof that its own verifier has judged.

    seal : the envelope of a proof's bytes; judge : what the verifier says of it
    """
    whole = prove_statement(
        circuit,
        key,
        statement,
        inputs,
        openings=openings,
        advice=advice,
        random_bytes=random_bytes,
        backend=backend,
        stages=stages,
    )
    envelope = seal(whole.proof.encode())
    with stages.stage("verify"):
        require_valid(whole, judge(envelope), circuit, backend)
    return envelope


def compile_step_for_key(card: StepCard, key: VerifyingKey) -> StepCircuit:
    """The circuit that the card describes; KeyMismatch when the key was made for another.

    Raises CircuitTooLarge, before anything is allocated, for one that this machine cannot hold.
    """
    require_step(card.recipe, max_bytes=count_memory())
    step = compile_step(card.recipe)
    _require_digest(step.digest, key, f"a training step of {card.architecture.name}")
    return step


def compile_export_for_key(card: ExportCard, key: VerifyingKey) -> ExportCircuit:
    """Likewise, of an export."""
    require_export(card.recipe, max_bytes=count_memory())
    circuit = compile_export(card.recipe)
    _require_digest(circuit.digest, key, f"an export of {card.architecture.name}")
    return circuit


def _open(wires: Sequence[FrArray], secrets: Sequence[SecretCommitment]) -> list[Opening]:
    return [
        Opening(wires=part, rho=secret.blinding.rho)
        for part, secret in zip(wires, secrets, strict=True)
    ]


def _require_digest(digest: bytes, key: VerifyingKey, what: str) -> None:
    if digest != key.circuit_digest:
        raise KeyMismatch(f"the key was made for another circuit than {what}")
