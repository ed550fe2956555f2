"""Both keys of a recipe on disk: of one recipe, known by one digest, or refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from prover.circuit.training.export import compile_export
from prover.errors import FormatError, KeyMismatch
from prover.groth16.setup_training import setup_export
from prover.keys.folder import save_key
from prover.keys.training_card import ExportCard, StepCard
from prover.keys.training_folder import EXPORT_NAME, STEP_NAME, load_training_halves
from tests.support.tiny_circuits import seeded
from tests.support.training import make_small_recipe
from tests.support.trajectories import (
    BACKEND,
    export_circuit,
    export_key,
    recipe,
    step_circuit,
    step_key,
)


def save(folder: Path) -> None:
    save_key(step_key(), folder / STEP_NAME, StepCard.of(step_circuit()))
    save_key(export_key(), folder / EXPORT_NAME, ExportCard.of(export_circuit()))


def test_both_come_back_under_one_digest(tmp_path: Path) -> None:
    save(tmp_path)
    found = load_training_halves(tmp_path)
    assert found.recipe == recipe()
    assert (found.step.digest, found.export.digest) == (
        step_key().verifying.digest,
        export_key().verifying.digest,
    )
    parts = [b"zkpot training keys v1", found.step.digest, found.export.digest]
    raw = b"".join(len(part).to_bytes(4, "little") + part for part in parts)
    assert found.digest == hashlib.sha256(raw).digest()
    assert load_training_halves(tmp_path, expected_digest=found.digest).digest == found.digest
    with pytest.raises(KeyMismatch, match=found.digest.hex()):
        load_training_halves(tmp_path, expected_digest=found.step.digest)


def test_one_key_missing_swapped_or_of_another_recipe_is_refused(tmp_path: Path) -> None:
    save(tmp_path)
    (tmp_path / EXPORT_NAME).rename(tmp_path / "away")
    with pytest.raises(FormatError, match="not there"):
        load_training_halves(tmp_path)
    (tmp_path / STEP_NAME).rename(tmp_path / EXPORT_NAME)
    (tmp_path / "away").rename(tmp_path / STEP_NAME)
    with pytest.raises(FormatError, match="card"):
        load_training_halves(tmp_path)
    other = compile_export(make_small_recipe([4, 2, 2]))
    key = setup_export(other, random_bytes=seeded(7), backend=BACKEND)
    save(tmp_path / "two")
    save_key(key, tmp_path / "two" / EXPORT_NAME, ExportCard.of(other))
    with pytest.raises(KeyMismatch, match="two recipes"):
        load_training_halves(tmp_path / "two")
