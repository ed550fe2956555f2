"""`zkpot data commit` and `zkpot train --provable`, on packaged digits; no PyTorch."""

from __future__ import annotations

import shutil
import stat
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from api.console import provable
from federated.provable import batches as committing
from federated.provable.batches import load_batches
from federated.provable.trajectory import load_trajectory
from prover.model.zkq import decode_model, encode_model
from prover.training.draws import draw_start, order_batches
from tests.support.commands import misuse, refuse, run, succeed

ARCH = "mlp-784-8-10"


@pytest.fixture(autouse=True)
def _packaged_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No fetched data, whatever this machine has."""
    monkeypatch.setenv("ZKPOT_DATA_DIR", str(tmp_path / "no-data"))


def is_private(path: Path) -> bool:
    return stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Committed batches of 200 packaged digits: 6 of 32 samples and one of 8."""
    folder = tmp_path_factory.mktemp("data") / "batches"
    data = "mnist:train[0:200]"
    result = run("data", "commit", data, "--arch", ARCH, "--batch", 32, "--out", folder)
    assert result.exit_code == 0, result.output
    assert "200 samples in 7 batches of up to 32" in result.stdout
    assert "private: readable by you only" in result.stdout
    return folder


def train(folder: Path, out: Path, *more: object) -> list[object]:
    return ["train", "--provable", "--arch", ARCH, "--batches", folder, "--out", out, *more]


def test_batches_are_committed_and_kept(folder: Path, tmp_path: Path) -> None:
    batches = load_batches(folder)
    assert (batches.n_batches, batches.n_samples, batches.public.batch_size) == (7, 200, 32)
    assert is_private(folder / "batches.secret")
    assert not is_private(folder / "batches.commit")
    again = ["data", "commit", "mnist", "--out", folder]
    assert "without its secret" in refuse("file_exists", *again)
    misuse("mlp-784-128-10", "data", "commit", "mnist", "--arch", "none", "--out", tmp_path)
    refuse("bad_data", "data", "commit", "cifar10", "--arch", ARCH, "--out", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_own_arrays_are_committed(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    images, labels = rng.integers(0, 256, (9, 28, 28), dtype=np.uint8), np.arange(9)
    np.savez(tmp_path / "own.npz", images=images, labels=labels)
    out = tmp_path / "out"
    found = succeed("data", "commit", tmp_path / "own.npz", "--batch", 4, "--out", out)
    assert (found["samples"], found["batches"]) == (9, 3)
    assert load_batches(out).public.digest.hex() == found["digest"]


def test_a_trajectory_and_its_model_are_left(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    out = tmp_path / "out"
    # Batches of 32, and the recipe's own are of 64: the folder decides.
    found = succeed(*train(folder, out, "--steps", 9, "--seed", 3))
    committed, batches = load_trajectory(out), load_batches(folder)
    recipe = committed.trajectory.get_recipe()
    model = decode_model((out / "model.zkq").read_bytes())
    assert encode_model(committed.trajectory.export()) == encode_model(model)
    first = draw_start(recipe, (3).to_bytes(8, "little"))
    assert (out / "start.zkq").read_bytes() == encode_model(first)
    order = order_batches((3).to_bytes(8, "little"), n_batches=7, n_steps=9)
    assert committed.public.numbers.tolist() == order.tolist()
    assert committed.public.batches == batches.public.digest
    assert (found["steps"], found["digest"]) == (9, committed.public.digest.hex())
    assert found["recipe_digest"] == recipe.digest.hex()
    assert found["tested_on"] == "2048 packaged samples"
    for name in ("trajectory", "trajectory.blindings", "model.zkq"):
        assert is_private(out / name), name
    assert "without its blindings" in refuse("file_exists", *train(folder, out))


def test_more_steps_from_the_model_before_do_better(folder: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    result = run(*train(folder, one, "--steps", 2))
    assert result.exit_code == 0, result.output
    assert "for 2 steps in exact integers, on 7 committed batches" in result.stdout
    first = float(result.stdout.split("accuracy ")[1].split("%")[0]) / 100
    found = succeed(*train(folder, two, "--epochs", 8, "--start", one / "model.zkq"))
    assert found["steps"] == 56
    assert (two / "start.zkq").read_bytes() == (one / "model.zkq").read_bytes()
    assert found["accuracy"] > first + 0.1


def test_what_cannot_be_is_refused(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    misuse("--batches", "train", "--provable", "--out", out)
    misuse("of --provable", "train", "--steps", 3, "--out", out)
    misuse("not both", *train(folder, out, "--steps", 3, "--epochs", 1))
    wider = ["train", "--provable", "--arch", "mlp-100-10", "--batches", folder, "--out", out]
    assert "--batch or --arch" in refuse("bad_format", *wider)
    lenet = ["train", "--provable", "--arch", "lenet5", "--batches", folder, "--out", out]
    assert "linear layers" in refuse("recipe_invalid", *lenet)
    assert "65536" in refuse("shape_mismatch", *train(folder, out, "--steps", 70_000))
    assert not out.exists()


def test_data_that_no_accuracy_is_told_of_are_refused_before_training(tmp_path: Path) -> None:
    """Other classes, other samples: known before the first step, and about --dataset."""
    rng = np.random.default_rng(1)
    for width, arch in ((784, "mlp-784-4-5"), (20, "mlp-20-4-10")):
        labels = rng.integers(0, 5, 9, dtype=np.uint8)
        samples = {"images": rng.integers(0, 256, (9, width), dtype=np.uint8), "labels": labels}
        np.savez(tmp_path / "own.npz", **samples)
        folder = tmp_path / arch
        succeed("data", "commit", tmp_path / "own.npz", "--arch", arch, "--out", folder)
        out = tmp_path / "out"
        command = ["train", "--provable", "--arch", arch, "--batches", folder, "--out", out]
        misuse(f"{arch} does not fit it", *command)
        assert not out.exists()


def test_an_architecture_that_the_start_is_not_of_is_refused(folder: Path, tmp_path: Path) -> None:
    """It was left out of sight once: training went on with the start's."""
    one, two = tmp_path / "one", tmp_path / "two"
    succeed(*train(folder, one, "--steps", 1))
    known = ["train", "--provable", "--batches", folder, "--start", one / "start.zkq"]
    known += ["--steps", 1, "--out", two]
    misuse("--arch asks for mlp-784-9-10", *known, "--arch", "mlp-784-9-10")
    assert not two.exists()
    assert succeed(*known)["architecture"] == ARCH


def test_accuracy_is_told_on_own_samples(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 9).astype(np.uint8)
    samples = tmp_path / "own.npz"
    np.savez(samples, images=rng.integers(0, 256, (9, 6)).astype(np.uint8), labels=labels)
    given = ["--arch", "mlp-6-3", "--batch", 4, "--out", tmp_path / "batches"]
    succeed("data", "commit", samples, *given)
    command = ["train", "--provable", "--arch", "mlp-6-3", "--batches", tmp_path / "batches"]
    found = succeed(*command, "--dataset", samples, "--out", tmp_path / "out")
    assert found["tested_on"] == "9 given samples"
    misuse("does not fit it; name samples", *command, "--out", tmp_path / "none")
    none = [*command, "--dataset", tmp_path / "none.npz", "--out", tmp_path / "none"]
    refuse("bad_data", *none)


# -- what another command wrote meanwhile ----------------------------------------------------------


def test_a_second_commitment_to_one_folder_leaves_the_secret_of_the_first(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both began before either had written: a commitment must not lose its secret."""
    out, commit = tmp_path / "out", committing.commit_batches

    def be_slow(*arguments: Any, **named: Any) -> Any:
        shutil.copytree(folder, out)
        return commit(*arguments, **named)

    monkeypatch.setattr(committing, "commit_batches", be_slow)
    again = ["data", "commit", "mnist:train[0:9]", "--arch", ARCH, "--out", out]
    refuse("io_error", *again)
    assert load_batches(out).n_samples == 200


def test_a_second_training_to_one_folder_leaves_the_first(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, out, commit = tmp_path / "first", tmp_path / "out", provable.commit_trajectory
    succeed(*train(folder, first, "--steps", 1))

    def be_slow(*arguments: Any, **named: Any) -> Any:
        out.mkdir()
        # As far as the first has come: its last secret, and nothing that would be found before.
        shutil.copy(first / "trajectory.blindings", out)
        return commit(*arguments, **named)

    monkeypatch.setattr(provable, "commit_trajectory", be_slow)
    refuse("io_error", *train(folder, out, "--steps", 1))
    assert [path.name for path in out.iterdir()] == ["trajectory.blindings"]
