"""`zkpot ceremony` of training: keys of steps and of their export, and where they are asked for."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from consensus.disk.task_keys import load_training_keys
from consensus.errors import BlobUnavailable
from consensus.wire.task_training import TaskTraining
from kernels.files import _Staged
from prover.errors import KeyMismatch
from prover.keys.folder import TRANSCRIPT_NAME, VERIFYING_NAME
from prover.keys.training_folder import EXPORT_NAME, STEP_NAME, load_training_halves
from tests.support.commands import misuse, refuse, run, succeed
from tests.support.known_powers import write_powers
from tests.support.learning import make_task
from tests.support.memory_blobs import MemoryBlobs

ARCH, PARTS = "mlp-9-3", (STEP_NAME, EXPORT_NAME)
POWER = 12
"""Twice the points of a step; the export takes fewer."""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of two steps, a ceremony of two for its recipe, and the keys that it ended in."""
    folder = tmp_path_factory.mktemp("ceremony")
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (8, 9)).astype(np.uint8)
    np.savez(folder / "own.npz", images=images, labels=rng.integers(0, 3, 8).astype(np.uint8))
    known = ("--arch", ARCH, "--dataset", folder / "own.npz", "--batches", folder / "batches")
    commit = ("data", "commit", folder / "own.npz", "--arch", ARCH, "--batch", 4)
    succeed(*commit, "--out", folder / "batches")
    succeed("train", "--provable", *known, "--steps", 2, "--out", folder / "trained")
    succeed("commit", folder / "trained" / "model.zkq", "--out", folder / "model.commit")

    powers = write_powers(folder / "powers.ptau", POWER)
    recipe, begun = folder / "trained" / "trajectory.commit", folder / "begun"
    found = succeed("ceremony", "new", recipe, "--training", "--ptau", powers, "--out", begun)
    assert [found[name]["domain"] for name in PARTS] == [1 << (POWER - 1), 1 << 9]
    for name in ("alice", "bob"):
        after = succeed("ceremony", "contribute", begun, "--name", name)
        assert all(after[x]["places"][:-1] == found[x]["places"] for x in PARTS)
        found = after
    found = succeed("ceremony", "finish", begun, "--beacon", "0a0b", "--out", folder / "keys")
    halves = load_training_halves(folder / "keys")
    assert found["key_digest"] == halves.digest.hex()
    for name, key in zip(PARTS, (halves.step, halves.export), strict=True):
        assert found[name]["key_digest"] == key.digest.hex()
        names = [one["name"] for one in found[name]["contributions"]]
        assert names == ["alice", "bob", "beacon"]
    return folder


@pytest.fixture(scope="module")
def proof(desk: Path) -> Path:
    """Of the training, under the keys of the ceremony."""
    out = desk / "training.zkp"
    given = ("--batches", desk / "batches", "--commitment", desk / "model.commit", "--out", out)
    succeed("prove", "training", desk / "trained", *given, *keys_of(desk / "keys"))
    return out


def keys_of(folder: Path) -> list[object]:
    return ["--key", folder, "--require-ceremony"]


def list_files(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def copy_keys(desk: Path, out: Path, files: Mapping[str, Path]) -> Path:
    """The keys of the ceremony, with other files in the place of their own."""
    shutil.copytree(desk / "keys", out)
    for place, source in files.items():
        shutil.copy(source, out / place)
    return out


def test_everybody_verifies_both(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it; who made the powers, which both are of, is asked once."""
    asked = []
    monkeypatch.setattr(
        "prover.ceremony.history.require_history", lambda *_, **__: asked.append(True)
    )
    begun = succeed("ceremony", "verify", desk / "begun")
    places = [x for name in PARTS for place in begun[name]["places"] for x in ("--place", place)]
    powers = ("--ptau", desk / "powers.ptau")
    found = succeed("ceremony", "verify", desk / "keys", *powers, *places)
    assert asked == [True]
    assert found["key_digest"] == load_training_halves(desk / "keys").digest.hex()
    assert found["not_verified"] == []
    alone = succeed("ceremony", "verify", desk / "keys" / STEP_NAME)
    assert alone["places"] == found[STEP_NAME]["places"]
    wrong = ("--place", "00" * 32)
    assert "place" in refuse("ceremony_invalid", "ceremony", "verify", desk / "keys", *wrong)
    said = run("ceremony", "verify", desk / "keys").stdout
    assert "place 1 of export, contribution of 'alice'" in said


def test_a_server_takes_one_of_the_two(desk: Path) -> None:
    misuse("a server takes one ceremony", "ceremony", "serve", desk / "begun", "--without-keys")


def test_both_are_taken_into_the_ceremony_or_neither(desk: Path, tmp_path: Path) -> None:
    own, returned = tmp_path / "own", tmp_path / "returned"
    shutil.copytree(desk / "begun", own)
    shutil.copytree(desk / "begun", returned)
    told = succeed("ceremony", "contribute", returned, "--name", "carol")
    state = returned / EXPORT_NAME / "state-3.key"
    kept, raw = list_files(own), state.read_bytes()
    accept = ("ceremony", "accept", returned, "--into", own)
    state.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    refuse("bad_format", *accept)
    assert list_files(own) == kept  # not the step's either, whose state holds
    state.write_bytes(raw)
    places = [x for name in PARTS for x in ("--place", told[name]["places"][-1])]
    found = succeed(*accept, *places)
    assert all((found[x]["accepted"], found[x]["places"]) == (1, told[x]["places"]) for x in PARTS)
    assert list_files(own) == list_files(returned)


def test_killed_between_the_two_it_is_run_again(
    desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step's transcript is in its place, and the export's is not."""
    own, returned = tmp_path / "own", tmp_path / "returned"
    shutil.copytree(desk / "begun", own)
    shutil.copytree(desk / "begun", returned)
    told = succeed("ceremony", "contribute", returned, "--name", "carol")
    accept = ("ceremony", "accept", returned, "--into", own)
    place = _Staged.place

    def place_one(one: _Staged) -> None:
        if one.path.name == TRANSCRIPT_NAME and one.path.parent.name == EXPORT_NAME:
            raise OSError(errno.EIO, "Killed")
        place(one)

    with monkeypatch.context() as patched:
        patched.setattr(_Staged, "place", place_one)
        refuse("io_error", *accept)
    for name in PARTS:  # both hold as they are
        succeed("ceremony", "verify", own / name)
    found = succeed(*accept)
    assert [found[name]["accepted"] for name in PARTS] == [0, 1]
    assert all(found[name]["places"] == told[name]["places"] for name in PARTS)
    assert "no contribution" in refuse("ceremony_invalid", *accept)


def test_who_contributed_to_the_step_alone_has_not_finished(desk: Path, tmp_path: Path) -> None:
    own, returned = tmp_path / "own", tmp_path / "returned"
    shutil.copytree(desk / "begun", own)
    shutil.copytree(desk / "begun", returned)
    succeed("ceremony", "contribute", returned / STEP_NAME, "--name", "carol")
    kept = list_files(own)
    said = refuse("ceremony_invalid", "ceremony", "accept", returned, "--into", own)
    assert "no contribution" in said
    assert list_files(own) == kept


def test_a_proof_of_training_under_keys_of_a_ceremony(desk: Path, proof: Path) -> None:
    found = succeed("verify", proof, *keys_of(desk / "keys"))
    assert (found["steps"], found["proven_steps"]) == (2, [0, 1])
    assert "forgot its shares" in found["not_proven"][-1]
    assert "trapdoors" in succeed("verify", proof, "--key", desk / "keys")["not_proven"][-1]


def test_a_key_of_one_party_among_them_is_refused(desk: Path, proof: Path, tmp_path: Path) -> None:
    """One of the two suffices, as proofs are under both; so does a transcript that is not there."""
    alone = tmp_path / "alone"
    succeed("setup", desk / "trained" / "trajectory.commit", "--training", "--out", alone)
    for name in PARTS:
        mixed = tmp_path / f"mixed-{name}"
        shutil.copytree(desk / "keys", mixed)
        shutil.rmtree(mixed / name)
        shutil.copytree(alone / name, mixed / name)
        assert "one party" in refuse("ceremony_invalid", "verify", proof, *keys_of(mixed))
        assert "one party" in refuse("ceremony_invalid", "ceremony", "verify", mixed)
        bare = copy_keys(desk, tmp_path / f"bare-{name}", {})
        (bare / name / TRANSCRIPT_NAME).unlink()
        refuse("bad_format", "verify", proof, *keys_of(bare))


def test_a_transcript_of_another_circuit_is_refused(
    desk: Path, proof: Path, tmp_path: Path
) -> None:
    """The step's under the export's key and the other way round, and those of another recipe."""
    of = {name: f"{name}/{TRANSCRIPT_NAME}" for name in PARTS}
    for name, other in (PARTS, PARTS[::-1]):
        swapped = {of[name]: desk / "keys" / of[other]}
        keys = copy_keys(desk, tmp_path / f"swapped-{name}", swapped)
        reason = refuse("ceremony_invalid", "verify", proof, *keys_of(keys))
        assert "not the one that the key names" in reason
        begun = tmp_path / f"begun-{name}"
        shutil.copytree(desk / "begun", begun)
        shutil.copy(desk / "begun" / of[other], begun / of[name])
        reason = refuse("bad_format", "ceremony", "contribute", begun)
        assert "another circuit than the transcript's" in reason


def test_a_key_that_names_a_transcript_of_another_circuit_is_refused(
    desk: Path, proof: Path, tmp_path: Path
) -> None:
    """Written anew by who forges, with the export's transcript beside it: it leads elsewhere."""
    swapped = {f"{STEP_NAME}/{TRANSCRIPT_NAME}": desk / "keys" / EXPORT_NAME / TRANSCRIPT_NAME}
    keys = copy_keys(desk, tmp_path / "forged", swapped)
    halves = load_training_halves(keys)
    forged = replace(halves.step, ceremony_digest=halves.export.ceremony_digest)
    (keys / STEP_NAME / VERIFYING_NAME).write_bytes(forged.encode())
    reason = refuse("ceremony_invalid", "verify", proof, *keys_of(keys))
    assert "leads to another key" in reason


def test_parts_of_two_recipes_are_refused(desk: Path, tmp_path: Path) -> None:
    """Each holds; together they are of no training."""
    begun, powers = tmp_path / "begun", ("--ptau", desk / "powers.ptau")
    command = ("ceremony", "new", ARCH, "--training", "--batch", 3)
    succeed(*command, *powers, "--out", begun)
    assert "holds a ceremony" in refuse("file_exists", *command, *powers, "--out", begun)
    shutil.rmtree(begun / EXPORT_NAME)
    refuse("bad_format", "ceremony", "verify", begun)
    shutil.copytree(desk / "begun" / EXPORT_NAME, begun / EXPORT_NAME)
    for name in ("verify", "contribute"):
        assert "one recipe" in refuse("key_mismatch", "ceremony", name, begun)
    shutil.rmtree(begun / EXPORT_NAME)
    shutil.copytree(begun / STEP_NAME, begun / EXPORT_NAME)
    assert "one recipe" in refuse("key_mismatch", "ceremony", "verify", begun)


def test_none_is_begun_where_one_can_not(desk: Path, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    few = write_powers(tmp_path / "few.ptau", 10)  # enough for the export alone
    start = ("ceremony", "new", ARCH, "--out", begun, "--ptau", few)
    assert "2^10 rows" in refuse("bad_format", *start, "--training", "--batch", 4)
    misuse("one of --samples, --norm", *start, "--training", "--samples", 3)
    misuse("is of --training", *start, "--batch", 3)
    assert not begun.exists()


def test_a_node_takes_keys_of_training_with_their_transcripts(desk: Path) -> None:
    """A genesis names them behind that of accuracy, in the order of the keys."""
    blobs, halves = MemoryBlobs(), load_training_halves(desk / "keys")
    training = TaskTraining.of(
        halves.step_card,
        halves.export_card,
        step_key=blobs.put(halves.step.encode()),
        export_key=blobs.put(halves.export.encode()),
        n_steps=4,
        n_drawn=4,
    )
    transcripts = [(desk / "keys" / name / TRANSCRIPT_NAME).read_bytes() for name in PARTS]
    of_step, of_export = (sha256(raw).digest() for raw in transcripts)
    task = make_task(
        architecture=halves.recipe.architecture,
        training=training,
        ceremonies=(bytes(32), of_step, of_export),
    )
    with pytest.raises(BlobUnavailable):
        load_training_keys(task, blobs)
    for raw in transcripts:
        blobs.put(raw)
    assert load_training_keys(task, blobs).export.digest == halves.export.digest
    for wrong in ((of_export, of_step), (of_step, of_step), (bytes(32), of_export)):
        with pytest.raises(KeyMismatch, match="of another ceremony, or of none"):
            load_training_keys(replace(task, ceremonies=(bytes(32), *wrong)), blobs)
