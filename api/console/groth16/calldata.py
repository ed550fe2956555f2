"""What of a file of proofs a contract is called with."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from federated.provable.files import read_bounded
from federated.provable.proof_file import TrainingProof, is_training_proof
from prover.contracts.calldata import encode_call
from prover.errors import FormatError
from prover.wire.training import ExportEnvelope, StepEnvelope, TrainingProofs

T = TypeVar("T")


def find_call(path: Path, step: int | None) -> bytes:
    """The calldata for the proof of a step; None: for that of the export.

    path : a proof of training, or the proofs of a round's training
    Raises FormatError for another file and for a step that it does not prove, OSError.
    """
    proofs = _read(path)
    if step is None:
        return encode_call(_require(ExportEnvelope.decode(proofs.export), path, "export"))
    for raw in proofs.steps:
        found = _require(StepEnvelope.decode(raw), path, "step")
        if found.statement.step == step:
            return encode_call(found)
    raise FormatError(
        f"it has no proof of step {step}",
        where=str(path),
        next_step="`zkpot inspect` says which steps it proves",
    )


def _read(path: Path) -> TrainingProof | TrainingProofs:
    if is_training_proof(path):
        return TrainingProof.decode(read_bounded(path, TrainingProof.MAX_BYTES), where=str(path))
    found = TrainingProofs.decode(read_bounded(path, TrainingProofs.MAX_BYTES))
    return _require(found, path, "file")


def _require(found: T | None, path: Path, what: str) -> T:
    if found is None:
        raise FormatError(
            f"the {what} is no proof of training of this version",
            where=str(path),
            next_step="give a file that `zkpot prove training` or a training job wrote",
        )
    return found
