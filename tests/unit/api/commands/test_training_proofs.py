"""Proofs of training by the program: setup, prove training, verify; on a tiny recipe, no chain."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from api.console.training import keys as making
from federated.provable.proof_file import TrainingProof, choose_steps
from federated.provable.trajectory import digest_model
from prover.contracts.calldata import encode_call
from prover.errors import DoesNotFit
from prover.keys.folder import VERIFYING_NAME
from prover.keys.training_folder import load_training_halves
from prover.model.zkq import decode_model
from prover.wire.training import ExportEnvelope, StepEnvelope, TrainingProofs
from tests.support.commands import misuse, refuse, run, succeed

ARCH, N_STEPS = "mlp-9-7-3", 7
BEACON, OTHER_BEACON = "00ff", "02ff"


class Lab:
    """A folder with samples, batches, a training, keys of its recipe and a committed model."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.samples, self.batches, self.trained = (
            folder / name for name in ("own.npz", "batches", "trained")
        )
        self.keys, self.commitment = folder / "keys", folder / "trained" / "model.commit"
        rng = np.random.default_rng(1)
        labels = rng.integers(0, 3, 22).astype(np.uint8)
        images = rng.integers(0, 256, (22, 9)).astype(np.uint8)
        np.savez(self.samples, images=images, labels=labels)

    def train(self, out: Path, *more: object) -> dict[str, Any]:
        known = ("--arch", ARCH, "--dataset", self.samples, "--batches", self.batches)
        return succeed("train", "--provable", *known, "--steps", N_STEPS, "--out", out, *more)

    def prove(self, out: Path, *more: object) -> list[object]:
        given = ("--batches", self.batches, "--key", self.keys, "--commitment", self.commitment)
        return ["prove", "training", self.trained, *given, "--out", out, *more]

    def verify(self, proof: Path, *more: object) -> list[object]:
        return ["verify", proof, "--key", self.keys, *more]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    lab = Lab(tmp_path_factory.mktemp("training"))
    commit = ("data", "commit", lab.samples, "--arch", ARCH, "--batch", 4)
    assert succeed(*commit, "--out", lab.batches)["batches"] == 6
    lab.train(lab.trained)
    succeed("setup", lab.trained / "trajectory.commit", "--training", "--out", lab.keys)
    succeed("commit", lab.trained / "model.zkq", "--out", lab.commitment)
    return lab


@pytest.fixture(scope="module")
def full(lab: Lab) -> Path:
    found = succeed(*lab.prove(lab.folder / "full.zkp"))
    assert (found["mode"], found["proven_steps"]) == ("full", list(range(N_STEPS)))
    return lab.folder / "full.zkp"


@pytest.fixture(scope="module")
def sampled(lab: Lab) -> Path:
    more = ("--mode", "sampled", "--q", 2, "--beacon", BEACON)
    result = run(*lab.prove(lab.folder / "sampled.zkp", *more))
    assert result.exit_code == 0, result.output
    assert "2 of 7 steps of mlp-9-7-3" in result.stdout
    assert "WARNING" not in result.output
    return lab.folder / "sampled.zkp"


def change(proof: Path, out: Path, **parts: Any) -> Path:
    """Another file, with these parts in place of its own."""
    out.write_bytes(replace(TrainingProof.decode(proof.read_bytes()), **parts).encode())
    return out


# -- keys ------------------------------------------------------------------------------------------


def test_both_keys_are_made_once(lab: Lab, tmp_path: Path) -> None:
    halves = load_training_halves(lab.keys)
    assert halves.recipe.architecture.name == ARCH
    assert halves.recipe.batch_size == 4
    again = ("setup", ARCH, "--training", "--batch", 4, "--out")
    assert "holds a key" in refuse("file_exists", *again, lab.keys)
    found = succeed(*again, tmp_path / "again")
    assert found["recipe_digest"] == halves.recipe.digest.hex()
    assert found["step"]["circuit_digest"] == halves.step.circuit_digest.hex()
    assert found["key_digest"] != halves.digest.hex()
    assert found["warning"].startswith("WARNING: a setup by one party")
    recipe = tmp_path / "recipe.json"
    recipe.write_bytes(halves.recipe.encode())
    of_file = ("setup", recipe, "--training", "--batch", 8, "--out", tmp_path / "none")
    assert "batches of 4 samples, not of 8" in refuse("bad_format", *of_file)
    misuse("one of --samples, --norm", "setup", ARCH, "--training", "--samples", 3, "--out", "x")
    misuse("is of --training", "setup", ARCH, "--batch", 3, "--out", "x")
    lenet = ("setup", "lenet5", "--training", "--out", tmp_path / "none")
    assert "linear layers" in refuse("recipe_invalid", *lenet)
    (tmp_path / "none.bin").write_bytes(b"none")
    other = ("setup", tmp_path / "none.bin", "--training", "--out", tmp_path / "none")
    assert "trajectory.commit" in refuse("bad_format", *other)
    assert not (tmp_path / "none").exists()


def test_no_key_stays_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **options: Any) -> Any:
        raise DoesNotFit("no room for the second")

    monkeypatch.setattr(making, "setup_step", fail)
    out = tmp_path / "keys"
    setup = ("setup", "mlp-4-2", "--training", "--batch", 2, "--out", out)
    assert "no room" in refuse("plan_refused", *setup)
    assert not out.exists()


# -- valid -----------------------------------------------------------------------------------------


def test_a_full_proof_says_from_where_to_where(lab: Lab, full: Path) -> None:
    found = succeed(*lab.verify(full))
    start = decode_model((lab.trained / "start.zkq").read_bytes())
    assert found["verdict"] == "valid"
    assert (found["mode"], found["steps"], found["batches"]) == ("full", N_STEPS, 6)
    assert found["start_digest"] == digest_model(start).hex()
    assert (found["start_drawn"], found["seed"]) == (True, 0)
    assert found["escape_one_step"] == 0
    assert found["compared"] == []
    commitment = succeed("commit", lab.trained / "model.zkq", "--out", lab.folder / "again.commit")
    assert found["model_commitment"] != commitment["model_commitment"]  # other blinding
    known = (
        *("--commitment", lab.commitment, "--start", lab.trained / "start.zkq", "--seed", 0),
        *("--batches", lab.batches, "--chain", "local", "--q", N_STEPS, "--check-circuit"),
        *("--key-digest", found["key_digest"]),
    )
    again = succeed(*lab.verify(full, *known))
    names = ["batches", "chain_id", "key_digest", "model_commitment", "seed", "start"]
    assert again["compared"] == names
    shown = run(*lab.verify(full)).stdout
    assert "all 7 are proven: no false one escapes" in shown
    assert "drawn from seed 0" in shown


def test_a_sampled_proof_says_how_a_cheater_may_escape(lab: Lab, sampled: Path) -> None:
    found = succeed(*lab.verify(sampled, "--beacon", BEACON, "--share", 0.5))
    assert (found["mode"], len(found["proven_steps"]), found["beacon"]) == ("sampled", 2, BEACON)
    assert found["escape_one_step"] == pytest.approx(5 / 7)
    assert (found["share_steps"], found["escape_share"]) == (4, pytest.approx(3 / 7 * 2 / 6))
    shown = run(*lab.verify(sampled)).stdout
    assert "of which 2 are proven" in shown
    assert "escapes with chance 71.43%" in shown
    assert f"drawn by the beacon {BEACON} (not compared)" in shown


def test_a_beacon_is_worth_what_was_committed_to_before_it(lab: Lab, sampled: Path) -> None:
    """Who knows the beacon draws again with another blinding, so both of them are compared."""
    warning, before = "before anybody knew the beacon", lab.trained / "trajectory.commit"
    for known in ((), ("--beacon", BEACON), ("--trajectory", before)):
        assert warning in " ".join(run(*lab.verify(sampled, *known)).stdout.split())
    for path in (before, lab.trained):
        known = ("--beacon", BEACON, "--trajectory", path)
        assert warning not in " ".join(run(*lab.verify(sampled, *known)).stdout.split())
        assert succeed(*lab.verify(sampled, *known))["compared"] == ["beacon", "trajectory"]
    proof = TrainingProof.decode(sampled.read_bytes())
    path = replace(proof.trajectory, d=proof.trajectory.d[::-1])
    blinded = lab.folder / "blinded.commit"
    blinded.write_bytes(path.encode())
    assert "is the committed trajectory" in refuse(
        "wrong_statement", *lab.verify(sampled, "--trajectory", blinded)
    )
    misuse("is no proof of training", "verify", before, "--key", lab.keys, "--trajectory", before)


def test_a_draw_from_the_commitments_is_told_plainly(lab: Lab, tmp_path: Path) -> None:
    out = tmp_path / "own.zkp"
    result = run(*lab.prove(out, "--mode", "sampled", "--q", 1))
    assert result.exit_code == 0, result.output
    assert "A prover can commit again" in " ".join(result.stderr.split())
    shown = " ".join(run(*lab.verify(out)).stdout.split())
    assert "drawn from the commitments themselves: a prover can commit again" in shown
    assert "by the beacon (none), not 00ff" in refuse(
        "wrong_statement", *lab.verify(out, "--beacon", BEACON)
    )


def test_training_from_a_model_shows_it(lab: Lab, tmp_path: Path) -> None:
    """As --start of a second training, whose order is of another seed."""
    out, proof = tmp_path / "further", tmp_path / "further.zkp"
    lab.train(out, "--start", lab.trained / "model.zkq", "--seed", 5)
    succeed("commit", out / "model.zkq", "--out", out / "model.commit")
    more = ("--mode", "sampled", "--q", 1, "--beacon", BEACON)
    given = ("--batches", lab.batches, "--key", lab.keys, "--commitment", out / "model.commit")
    command = ["prove", "training", out / "trajectory", *given, "--out", proof, *more]
    succeed(*command)
    found = succeed(*lab.verify(proof, "--start", lab.trained / "model.zkq"))
    assert (found["start_drawn"], found["seed"]) == (False, None)
    assert "order of the prover's choice" in run(*lab.verify(proof)).stdout
    assert succeed(*command, "--seed", 5)["proven_steps"] == found["proven_steps"]
    assert succeed(*lab.verify(proof))["seed"] == 5
    (out / "start.zkq").unlink()
    refuse("io_error", *command)
    elsewhere = ("--start", lab.trained / "start.zkq")
    assert "not the model that training started" in refuse("bad_format", *command, *elsewhere)
    assert "this seed draws" in refuse("bad_format", *command, "--seed", 1)


def test_the_model_of_a_training_is_that_of_a_proof_of_accuracy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One D_W, two statements; a proof of accuracy of another model is refused."""
    monkeypatch.setenv("ZKPOT_DATA_DIR", str(tmp_path / "no-data"))
    arch, batches, trained = "mlp-784-2-10", tmp_path / "batches", tmp_path / "trained"
    data = ("--arch", arch, "--batch", 2, "--out", batches)
    succeed("data", "commit", "mnist:train[0:4]", *data)
    more = ("--steps", 1, "--batches", batches, "--out", trained)
    succeed("train", "--provable", "--arch", arch, *more)
    keys, key = tmp_path / "keys", tmp_path / "key"
    succeed("setup", trained / "trajectory.commit", "--training", "--out", keys)
    succeed("setup", trained / "model.zkq", "--samples", 4, "--out", key)
    for name in ("model", "start"):
        succeed("commit", trained / f"{name}.zkq", "--out", tmp_path / name)
    given = ("--batches", batches, "--key", keys, "--commitment", tmp_path / "model")
    training = tmp_path / "training.zkp"
    succeed("prove", "training", trained, *given, "--out", training)
    digits = ("--dataset", "mnist:test[0:4]")
    for name in ("model", "start"):
        known = ("--key", key, "--commitment", tmp_path / name, *digits)
        succeed("prove", trained / f"{name}.zkq", *known, "--out", tmp_path / f"{name}.zkp")
    verify = ("verify", training, "--key", keys, "--accuracy")
    assert succeed(*verify, tmp_path / "model.zkp")["accuracy"]["verified"] is False
    assert "not verified here" in run(*verify, tmp_path / "model.zkp").stdout
    found = succeed(*verify, tmp_path / "model.zkp", "--accuracy-key", key, *digits)
    assert found["accuracy"]["verified"]
    assert found["accuracy"]["samples"] == 4
    assert (
        "of 4 samples of mnist"
        in run(*verify, tmp_path / "model.zkp", "--accuracy-key", key, *digits).stdout
    )
    other = refuse("wrong_statement", *verify, tmp_path / "start.zkp")
    assert "the training ends at" in other
    others = ("--accuracy-key", key, "--dataset", "mnist:test[4:8]")
    assert "other samples" in refuse("wrong_statement", *verify, tmp_path / "model.zkp", *others)
    refuse("malformed", *verify, training)
    misuse("go with --accuracy", "verify", training, "--key", keys, *digits)


# -- inspect ---------------------------------------------------------------------------------------


def test_inspect_shows_both_circuits_part_by_part(lab: Lab) -> None:
    found = succeed("inspect", ARCH, "--training", "--batch", 4)
    halves = load_training_halves(lab.keys)
    for name, key in (("step", halves.step), ("export", halves.export)):
        assert found[name]["circuit_digest"] == key.circuit_digest.hex()
        assert sum(line["rows"] for line in found[name]["lines"]) == found[name]["rows"]
        assert found[name]["plan"]["rows"] == found[name]["rows"]
    assert {line["part"] for line in found["step"]["lines"]} >= {"data", "loss", "layer 0"}
    of_keys = succeed("inspect", lab.keys)
    assert of_keys["export"]["rows"] == found["export"]["rows"]
    assert of_keys["step"]["key_digest"] == halves.step.digest.hex()
    one = run("inspect", lab.keys / "export")
    assert f"key digest {halves.export.digest.hex()}" in one.stdout
    assert "an export of mlp-9-7-3" in one.stdout
    misuse("one of --samples, --norm", "inspect", ARCH, "--training", "--norm", "1,2,3")


def test_inspect_says_what_files_say_and_nothing_private(
    lab: Lab, full: Path, sampled: Path, tmp_path: Path
) -> None:
    found = succeed("inspect", sampled)
    assert (found["mode"], len(found["proven_steps"]), found["beacon"]) == ("sampled", 2, BEACON)
    verified = succeed(*lab.verify(sampled))
    assert found["export"]["model"] == verified["model_commitment"]
    assert found["trajectory"]["digest"] == verified["trajectory_digest"]
    assert found["batches"]["digest"] == verified["batches_digest"]
    proof = TrainingProof.decode(full.read_bytes())
    for name, raw in {"step": proof.steps[2], "export": proof.export}.items():
        (tmp_path / name).write_bytes(raw)
        assert name in succeed("inspect", tmp_path / name)["what"]
    (tmp_path / "round").write_bytes(
        TrainingProofs(steps=proof.steps[2:4], export=proof.export).encode()
    )
    assert succeed("inspect", tmp_path / "round")["proven_steps"] == [2, 3]
    path = succeed("inspect", lab.trained / "trajectory.commit")
    assert (path["steps"], path["start_digest"]) == (N_STEPS, verified["start_digest"])
    data = succeed("inspect", lab.batches / "batches.commit")
    assert (data["batches"], data["batch_size"]) == (6, 4)
    for private in ("trajectory", "trajectory.blindings"):
        said = succeed("inspect", lab.trained / private)
        assert "private" in said["what"]
        assert said["steps"] == N_STEPS
        assert set(said) <= {*path, "digest_of_commitments"}
    secret = succeed("inspect", lab.batches / "batches.secret")
    names = {"what", "digest_of_commitments", "batches", "samples"}
    assert set(secret) == names
    refuse("bad_format", "inspect", lab.trained / "model.commit.blinding")
    (tmp_path / "step").write_bytes(proof.steps[2][:-1])
    refuse("bad_format", "inspect", tmp_path / "step")
    refuse("bad_format", "inspect", tmp_path)


# -- contracts -------------------------------------------------------------------------------------


def test_a_contract_of_the_keys_is_called_with_proofs_of_the_file(
    lab: Lab, sampled: Path, tmp_path: Path
) -> None:
    proof = TrainingProof.decode(sampled.read_bytes())
    last, end = StepEnvelope.decode(proof.steps[-1]), ExportEnvelope.decode(proof.export)
    assert last is not None
    assert end is not None
    step, out = last.statement.step, tmp_path / "it.sol"
    for name, envelope, more in (("step", last, ("--step", step)), ("export", end, ())):
        assert succeed("groth16", "solidity", lab.keys / name, out)["n_public"] in (1, 3)
        assert envelope.statement.verifying_key_digest.hex() in out.read_text()
        found = succeed("groth16", "calldata", sampled, *more)
        assert found == {"calldata": f"0x{encode_call(envelope).hex()}"}
    (unproven, *_) = set(range(N_STEPS)) - set(proof.chosen)
    told = refuse("bad_format", "groth16", "calldata", sampled, "--step", unproven)
    assert f"no proof of step {unproven}" in told
    refuse("bad_format", "groth16", "calldata", lab.batches / "batches.commit")


# -- refused ---------------------------------------------------------------------------------------


def find_other_draw(proof: TrainingProof) -> bytes:
    """A beacon that draws other steps: commitments are random, so any one may draw the same."""
    beacons = (bytes([i, 0xFF]) for i in range(1, 256))
    return next(
        beacon
        for beacon in beacons
        if choose_steps(proof.trajectory, proof.n_drawn, beacon)
        != choose_steps(proof.trajectory, proof.n_drawn, proof.beacon)
    )


def test_what_is_proven_of_something_else_is_refused(
    lab: Lab, full: Path, sampled: Path, tmp_path: Path
) -> None:
    wrong = "wrong_statement"
    whole = TrainingProof.decode(full.read_bytes())
    path, out = whole.trajectory, tmp_path / "changed.zkp"
    order = replace(path, numbers=path.numbers[::-1].copy())
    assert "than the seed draws" in refuse(wrong, *lab.verify(change(full, out, trajectory=order)))
    chosen = change(full, out, trajectory=order, seed=b"", start=read_start(lab))
    assert "of something else" in refuse(wrong, *lab.verify(chosen))
    other = (lab.trained / "model.zkq").read_bytes()
    assert "starts from another" in refuse(wrong, *lab.verify(change(full, out, start=other)))
    assert "starts from the model" in refuse(
        wrong, *lab.verify(full, "--start", lab.trained / "model.zkq")
    )
    swapped = (whole.steps[1], whole.steps[0], *whole.steps[2:])
    assert "step 0 is of something" in refuse(wrong, *lab.verify(change(full, out, steps=swapped)))
    left_out = full.read_bytes().replace(whole.steps[3], whole.steps[3][:-1])
    out.write_bytes(left_out)
    refuse("malformed", *lab.verify(out))
    assert "beacon 00ff, not 02ff" in refuse(wrong, *lab.verify(sampled, "--beacon", OTHER_BEACON))
    drawn = TrainingProof.decode(sampled.read_bytes())
    redrawn = change(sampled, out, beacon=find_other_draw(drawn))
    assert "of something else" in refuse(wrong, *lab.verify(redrawn))
    assert "2 steps are proven, not 3" in refuse(wrong, *lab.verify(sampled, "--q", 3))
    for option, value in (("--chain", "another"), ("--client", "aa"), ("--round", 3)):
        assert "the proof is for" in refuse(wrong, *lab.verify(full, option, value))
    assert "has the order of seed" in refuse(wrong, *lab.verify(full, "--seed", 1))


def read_start(lab: Lab) -> bytes:
    return (lab.trained / "start.zkq").read_bytes()


def test_other_batches_and_another_model_are_refused(lab: Lab, full: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "batches"
    commit = ("data", "commit", lab.samples, "--arch", ARCH, "--batch", 4)
    succeed(*commit, "--out", elsewhere)
    wrong, out = "wrong_statement", tmp_path / "out.zkp"
    assert "is on the committed batches" in refuse(wrong, *lab.verify(full, "--batches", elsewhere))
    other = lab.folder / "other.commit"
    succeed("commit", lab.trained / "start.zkq", "--out", other)
    assert "ends at the model commitment" in refuse(wrong, *lab.verify(full, "--commitment", other))
    command = lab.prove(out)
    swapped = [elsewhere if x == lab.batches else x for x in command]
    assert "other committed batches" in refuse("bad_format", *swapped)
    swapped = [other if x == lab.commitment else x for x in command]
    assert "commitment is of another model" in refuse("key_mismatch", *swapped)
    keys = tmp_path / "keys"
    succeed("setup", ARCH, "--training", "--batch", 2, "--out", keys)
    swapped = [keys if x == lab.keys else x for x in command]
    assert "--training" in refuse("key_mismatch", *swapped)
    assert "another recipe" in refuse("wrong_key", "verify", full, "--key", keys)
    shutil.rmtree(keys / "export")
    shutil.copytree(lab.keys / "export", keys / "export")
    assert "of two recipes" in refuse("key_mismatch", "verify", full, "--key", keys)
    digest = load_training_halves(lab.keys).step.digest.hex()
    assert "digest of both" in refuse("key_mismatch", *lab.verify(full, "--key-digest", digest))
    (keys / "step" / VERIFYING_NAME).unlink()
    refuse("bad_format", "verify", full, "--key", keys)
    assert not out.exists()


def test_wrong_use_is_told(lab: Lab, full: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.zkp"
    misuse("go together", *lab.prove(out, "--mode", "sampled"))
    misuse("go together", *lab.prove(out, "--q", 3))
    misuse("none is drawn", *lab.prove(out, "--beacon", "00"))
    misuse("1 to 64 bytes", *lab.prove(out, "--mode", "sampled", "--q", 1, "--beacon", "zz"))
    misuse("no folder", *lab.prove(tmp_path / "no" / "out"))
    plain = tmp_path / "plain"
    plain.write_bytes(b"no proof")
    misuse("takes --dataset", "verify", plain, "--key", lab.keys)
    misuse("of such proofs", "verify", plain, "--key", lab.keys, "--q", 3)
    assert not out.exists()


def test_prove_goes_on_as_before(tmp_path: Path) -> None:
    """As a command of its own, with usage and faults of its own."""
    shown = run("prove", "--help").stdout
    assert "zkpot prove [OPTIONS] {model}" in shown
    assert "zkpot prove training" in shown
    assert "zkpot prove training [OPTIONS]" in run("prove", "training", "--help").stdout
    misuse("Missing argument 'model'", "prove")
    misuse("does not exist", "prove", tmp_path / "training")
