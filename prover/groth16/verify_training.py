"""Verification of training steps and exports: `prover.groth16.verify` for the other statements.

Nothing here imports the proving half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from prover.circuit.training.inputs import ExportInputs, StepInputs, Trajectory
from prover.groth16.verify import Claim, admit, equations_hold, judge_admitted, judge_whole
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

    returns : (verdict, step); no step where all are valid
    cost    : as `verify_all`
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
    return judge_whole(claims, key=key, random_bytes=random_bytes)


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
    """The verdict on each client's proofs: VALID when all hold; else what the first is refused for
    before the pairings, or PAIRING_FAILED.

    Whether they are of what the client has committed to, and of the steps that were drawn, is for
    `consensus.learning.training` to say.
    cost : two products of pairings, one of all steps of all clients and one of their exports; with
           f clients at fault about 4 f log2(n) more: which of a client's steps is false is not
           asked, so a thousand false ones cost no more than one
    Raises KeyMismatch as `verify_steps`.
    """
    verdicts = [Verdict.VALID] * len(found)
    shown: dict[int, _Shown] = {}
    for client, proofs in enumerate(found):
        admitted = _admit_training(proofs, keys)
        if isinstance(admitted, Verdict):
            verdicts[client] = admitted
        else:
            shown[client] = admitted
    for client in _find_failing(shown, keys, random_bytes):
        verdicts[client] = Verdict.PAIRING_FAILED
    return verdicts


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a client shows, admitted; the pairings decide."""

    steps: list[Claim]
    export: Claim


def _admit_training(proofs: TrainingProofs, keys: TrainingKeys) -> _Shown | Verdict:
    """Everything before the pairings; the verdict on the first envelope that falls there."""
    steps = []
    for raw in proofs.steps:
        step = admit(StepEnvelope.decode(raw), key=keys.step, public_inputs=keys.step_inputs)
        if isinstance(step, Verdict):
            return step
        steps.append(step)
    export = admit(
        ExportEnvelope.decode(proofs.export), key=keys.export, public_inputs=keys.export_inputs
    )
    return export if isinstance(export, Verdict) else _Shown(steps, export)


def _find_failing(
    shown: Mapping[int, _Shown], keys: TrainingKeys, random_bytes: RandomBytes
) -> list[int]:
    """The clients of whose equations one is false; by halves, as `prover.groth16.verify.judge`."""
    steps = [claim for one in shown.values() for claim in one.steps]
    exports = [one.export for one in shown.values()]
    if not shown or (
        equations_hold(steps, key=keys.step, random_bytes=random_bytes)
        and equations_hold(exports, key=keys.export, random_bytes=random_bytes)
    ):
        return []
    if len(shown) == 1:
        return [*shown]
    halves = (islice(shown.items(), len(shown) // 2), islice(shown.items(), len(shown) // 2, None))
    return [client for half in halves for client in _find_failing(dict(half), keys, random_bytes)]
