"""A round's proofs of training by the client's own machine, under keys that lie in two folders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from federated.errors import ProvingFailed
from federated.provable.training_prover import OwnTrainingProver, TrainingRequest
from prover.circuit.training.inputs import ExportInputs, StepInputs
from prover.errors import KeyMismatch
from prover.groth16.verify_training import TrainingKeys, verify_trainings
from prover.keys.folder import save_key
from prover.keys.training_card import ExportCard, StepCard
from prover.wire.training import StepEnvelope, TrainingProofs
from prover.wire.verdict import Verdict
from tests.support.tiny_circuits import seeded
from tests.support.training_rounds import trained
from tests.support.trajectories import (
    BACKEND,
    OCCASION,
    commit,
    committer,
    export_circuit,
    export_key,
    step_circuit,
    step_key,
)

KEYS = TrainingKeys(
    step=step_key().verifying,
    step_inputs=StepInputs(plan=step_circuit().plan),
    export=export_key().verifying,
    export_inputs=ExportInputs(plan=export_circuit().plan),
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("keys")
    save_key(step_key(), folder / "step", StepCard.of(step_circuit()))
    save_key(export_key(), folder / "export", ExportCard.of(export_circuit()))
    return folder / "step", folder / "export"


def load(step: Path, export: Path, step_digest: bytes | None = None) -> OwnTrainingProver:
    return OwnTrainingProver.load(
        step,
        export,
        step_key=step_digest or step_key().verifying.digest,
        export_key=export_key().verifying.digest,
        committer=committer(),
        random_bytes=seeded(7),
        backend=BACKEND,
    )


def ask(*drawn: int) -> TrainingRequest:
    mine = trained()
    return TrainingRequest(
        committed=mine.trajectory,
        batches=mine.batches,
        drawn=drawn,
        of_model=mine.model,
        occasion=OCCASION,
    )


def test_drawn_steps_and_the_export_are_proven(folders: tuple[Path, Path]) -> None:
    proofs = TrainingProofs.decode(load(*folders).prove(ask(0, 3)))
    assert proofs is not None
    envelopes = [StepEnvelope.decode(raw) for raw in proofs.steps]
    assert [e and e.statement.step for e in envelopes] == [0, 3]
    assert verify_trainings([proofs], keys=KEYS, random_bytes=seeded(8)) == [Verdict.VALID]


def test_only_the_keys_that_were_asked_for_are_taken(folders: tuple[Path, Path]) -> None:
    with pytest.raises(KeyMismatch):
        load(*folders, step_digest=b"\x01" * 32)
    with pytest.raises(KeyMismatch):
        load(*reversed(folders))


def test_a_model_that_is_not_the_export_is_not_proven(folders: tuple[Path, Path]) -> None:
    """What went wrong is said without a number of the model or of its blinding."""
    other = commit(trained().trajectory.trajectory.get_masters(0), 5)
    with pytest.raises(ProvingFailed, match="own prover of training failed") as failed:
        load(*folders).prove(replace(ask(1), of_model=other))
    assert str(other.blinding.rho) not in str(failed.value)


def test_what_is_asked_for_is_not_shown() -> None:
    shown = repr(ask(0))
    assert str(trained().model.blinding.rho) not in shown
    assert "masters" not in shown
