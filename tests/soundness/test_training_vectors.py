"""The committed vectors of training: a definition by numbers, and proofs that stay valid."""

from __future__ import annotations

import json

import numpy as np

from federated.provable.judging import ProvenTraining, Wanted, judge_training
from prover.circuit.training.inputs import Drawn, StepInputs, Trajectory
from prover.groth16.verify_training import verify_trajectory
from prover.keys.halves import VerifyingKey
from prover.keys.training_card import ExportCard, StepCard
from prover.keys.training_folder import TrainingHalves
from prover.model.network import Architecture
from prover.pedersen.commitment import Committer
from prover.training.masters import export
from prover.training.recipe import TrainingRecipe
from prover.training.step import train_step
from prover.wire.training import StepEnvelope
from prover.wire.verdict import Verdict
from tests.support.tiny_circuits import seeded
from tests.support.training import step_slowly
from tests.support.training_vectors import (
    TRAINING,
    TRAINING_FILE,
    encode,
    make_files,
    make_training,
)
from tests.support.trajectories import BACKEND


def test_the_file_is_what_its_seeds_make() -> None:
    assert TRAINING.read_text(encoding="ascii") == encode(make_training())


def test_steps_by_two_evaluators() -> None:
    """From the file alone."""
    vectors = json.loads(TRAINING.read_text(encoding="ascii"))
    recipe = TrainingRecipe.from_manifest(vectors["recipe"])
    assert recipe.digest.hex() == vectors["recipe_digest"]
    masters = vectors["start"]
    for step in vectors["steps"]:
        images, labels = np.array(step["images"], np.uint8), np.array(step["labels"], np.uint8)
        trace = train_step(recipe, np.array(masters), images, labels)
        assert step["after"] == trace.after.tolist()
        assert step["after"] == step_slowly(recipe, masters, step["images"], step["labels"])
        assert step["batch_wires"] == trace.batch.wires.tolist()
        assert step["logits"] == trace.logits.tolist()
        assert step["delta"] == trace.loss.delta.tolist()
        masters = step["after"]
    assert export(recipe, np.array(masters)).wires.tolist() == vectors["export"]


def test_proofs_of_the_file_verify() -> None:
    """By the key and the card of the file; each as the step that it says it is."""
    vectors = json.loads(TRAINING.read_text(encoding="ascii"))
    key = VerifyingKey.decode(bytes.fromhex(vectors["verifying_key"]))
    card = StepCard.decode(vectors["card"].encode())
    card.require_key(key)
    assert card.architecture == Architecture.from_manifest(vectors["recipe"]["architecture"])
    raws = [bytes.fromhex(step["envelope"]) for step in vectors["steps"]]
    statements = []
    for raw, step in zip(raws, vectors["steps"], strict=True):
        envelope = StepEnvelope.decode(raw)
        assert envelope is not None
        assert envelope.statement.encode().hex() == step["statement"]
        statements.append(envelope.statement)
    expected = Trajectory(
        occasion=statements[0].occasion,
        start=statements[0].before,
        batches=tuple(Drawn(data=s.data, n_real=s.n_real) for s in statements),
    )
    inputs = StepInputs(plan=card.plan)
    found = verify_trajectory(
        raws, key=key, inputs=inputs, expected=expected, random_bytes=seeded(4)
    )
    assert found == (Verdict.VALID, None)


def test_the_files_are_what_their_seeds_make() -> None:
    assert TRAINING_FILE.read_text(encoding="ascii") == encode(make_files())


def test_proofs_as_files_verify() -> None:
    """By the keys and cards of the file alone."""
    vectors = json.loads(TRAINING_FILE.read_text(encoding="ascii"))
    keys = TrainingHalves(
        step=VerifyingKey.decode(bytes.fromhex(vectors["step_key"])),
        step_card=StepCard.decode(vectors["step_card"].encode()),
        export=VerifyingKey.decode(bytes.fromhex(vectors["export_key"])),
        export_card=ExportCard.decode(vectors["export_card"].encode()),
    )
    keys.step_card.require_key(keys.step)
    keys.export_card.require_key(keys.export)
    assert keys.digest.hex() == vectors["keys_digest"]
    beacon, chosen = bytes.fromhex(vectors["beacon"]), {}
    for name in ("full", "sampled", "drawn"):
        found = judge_training(
            bytes.fromhex(vectors[name]),
            keys=keys,
            wanted=Wanted(beacon=beacon if name == "sampled" else None),
            get_committer=lambda n: Committer(n, BACKEND),
            random_bytes=seeded(2),
        )
        assert isinstance(found, ProvenTraining), found
        chosen[name] = list(found.chosen)
    assert chosen["full"] == [0, 1, 2, 3, 4]
    assert chosen["sampled"] == vectors["sampled_steps"]
