"""Verification of training steps and exports: `prover.groth16.verify` for the other statements.

Nothing here imports the proving half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from prover.circuit.training.inputs import ExportInputs, StepInputs, Trajectory
from prover.groth16.verify import Claim, admit, equations_hold, judge_admitted
from prover.keys.halves import VerifyingKey
from prover.randomness import RandomBytes
from prover.wire.training import ExportEnvelope, StepEnvelope, TrainingProofs
from prover.wire.verdict import Verdict


def verify_steps(
    raws: Sequence[bytes], *, key: VerifyingKey, inputs: StepInputs, random_bytes: RandomBytes
) -> list[Verdict]:
    """The verdict on each `StepEnvelope` by itself, all under one key.

    Whether the steps follow each other, and are on the batches that were drawn, is for
    `verify_trajectory` to say.
    cost : as `verify_batch`
    Raises KeyMismatch when `inputs` are of another circuit than the key's.
    """
    admitted = [admit(StepEnvelope.decode(x), key=key, public_inputs=inputs) for x in raws]
    return judge_admitted(admitted, key=key, random_bytes=random_bytes)


def verify_exports(
    raws: Sequence[bytes], *, key: VerifyingKey, inputs: ExportInputs, random_bytes: RandomBytes
) -> list[Verdict]:
    """The verdict on each `ExportEnvelope`, all under one key. Raises as `verify_steps`."""
    admitted = [admit(ExportEnvelope.decode(x), key=key, public_inputs=inputs) for x in raws]
    return judge_admitted(admitted, key=key, random_bytes=random_bytes)


def verify_trajectory(
    raws: Sequence[bytes],
    *,
    key: VerifyingKey,
    inputs: StepInputs,
    expected: Trajectory,
    random_bytes: RandomBytes,
) -> tuple[Verdict, int | None]:
    """VALID when the envelopes prove all steps of a trajectory; else the first fault found.

    returns : (verdict, step); the step is None where the pairings fail for several together
    cost    : one product of pairings, none when a step falls before that
    Raises KeyMismatch as `verify_steps`.
    """
    envelopes = [StepEnvelope.decode(raw) for raw in raws]
    statements = []
    for step, envelope in enumerate(envelopes):
        if envelope is None:
            return Verdict.MALFORMED, step
        statements.append(envelope.statement)
    broken = expected.find_break(statements)
    if broken is not None:
        return Verdict.WRONG_STATEMENT, broken
    claims: list[Claim] = []
    for step, envelope in enumerate(envelopes):
        admitted = admit(envelope, key=key, public_inputs=inputs)
        if isinstance(admitted, Verdict):
            return admitted, step
        claims.append(admitted)
    if not claims or equations_hold(claims, key=key, random_bytes=random_bytes):
        return Verdict.VALID, None
    return Verdict.PAIRING_FAILED, 0 if len(claims) == 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingKeys:
    """What the steps and the exports of a task are proven under. The inputs are of their keys."""

    step: VerifyingKey
    step_inputs: StepInputs
    export: VerifyingKey
    export_inputs: ExportInputs


def verify_trainings(
    found: Sequence[TrainingProofs], *, keys: TrainingKeys, random_bytes: RandomBytes
) -> list[Verdict]:
    """The verdict on each client's proofs: VALID when all hold; else its first that is not.

    Whether they are of what the client has committed to, and of the steps that were drawn, is for
    `consensus.learning.training` to say.
    cost : two batches, one of all steps of all clients and one of their exports
    Raises KeyMismatch as `verify_steps`.
    """
    steps = verify_steps(
        [raw for proofs in found for raw in proofs.steps],
        key=keys.step,
        inputs=keys.step_inputs,
        random_bytes=random_bytes,
    )
    exports = verify_exports(
        [proofs.export for proofs in found],
        key=keys.export,
        inputs=keys.export_inputs,
        random_bytes=random_bytes,
    )
    rest = iter(steps)
    return [
        next(
            (v for v in (*islice(rest, len(proofs.steps)), export) if v is not Verdict.VALID),
            Verdict.VALID,
        )
        for proofs, export in zip(found, exports, strict=True)
    ]
