"""`zkpot chain init --training` and `zkpot client join` of a task that asks for proofs of it."""

from __future__ import annotations

import hashlib
import json
import stat
import sys
from pathlib import Path

import numpy as np
import pytest

from api.console.task_parts import TrainingOptions
from consensus.content.blobs import FileBlobs
from consensus.disk.development import ADMISSION, BLOBS, GENESIS
from consensus.disk.identity import create_key
from consensus.disk.task_keys import check_task_keys, load_training_keys
from consensus.wire.genesis import Genesis
from federated.provable.batches import PUBLIC_NAME, SECRET_NAME
from kernels.backend import get_backend
from prover.circuit.training.export import compile_export
from prover.circuit.training.step import compile_step
from prover.groth16.setup_training import setup_export, setup_step
from prover.keys.card import KeyCard
from prover.keys.folder import save_key
from prover.keys.training_card import ExportCard, StepCard
from prover.keys.training_folder import EXPORT_NAME, STEP_NAME
from prover.model.presets import parse_architecture
from prover.training.recipe import TrainingRecipe
from tests.support import training_lab
from tests.support.commands import run
from tests.support.learning import accuracy, proving_key
from tests.support.tiny_circuits import seeded
from tests.support.training_lab import N_STEPS, TrainingLab

N_SAMPLES = 256


@pytest.fixture(autouse=True)
def _packaged_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No fetched data and no keys, whatever this machine has; and no PyTorch: steps need none."""
    monkeypatch.setenv("ZKPOT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setitem(sys.modules, "torch", None)


# -- init ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of accuracy, and of training, for the smallest network that reads MNIST."""
    folder, backend = tmp_path_factory.mktemp("keys"), get_backend("cpu")
    made = run("setup", "mlp-784-10", "--samples", N_SAMPLES, "--out", folder / "accuracy")
    assert made.exit_code == 0, made.output
    recipe = TrainingRecipe(architecture=parse_architecture("mlp-784-10"), batch_size=2)
    step, export = compile_step(recipe), compile_export(recipe)
    training = folder / "training"
    step_key = setup_step(step, random_bytes=seeded(1), backend=backend)
    save_key(step_key, training / STEP_NAME, StepCard.of(step))
    export_key = setup_export(export, random_bytes=seeded(2), backend=backend)
    save_key(export_key, training / EXPORT_NAME, ExportCard.of(export))
    return folder


def init(folder: Path, keys: Path, *options: object) -> tuple[int, str]:
    result = run(
        *("chain", "init", folder, "--key", keys / "accuracy", "--dataset", "mnist:test[0:300]"),
        *options,
    )
    assert "Traceback" not in result.output
    return result.exit_code, " ".join(result.output.replace("│", " ").split())


def test_its_keys_may_have_to_be_of_ceremonies(
    keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of training, too; the genesis names their transcripts in the order of its keys."""

    class Heard:
        def __init__(self, folder: Path, *_: object) -> None:
            self.folder = folder

        def encode(self) -> bytes:
            return str(self.folder).encode()

    def ask() -> tuple[int, str]:
        training = ("--training", "full", "--training-keys", keys / "training")
        return init(tmp_path / "chain", keys, *training, "--require-ceremony")

    code, said = ask()
    assert (code, "refused (ceremony_invalid)" in said) == (1, True), said
    closed: list[Heard] = []
    monkeypatch.setattr("prover.ceremony.own.finish.require_ceremony", Heard)
    monkeypatch.setattr("prover.ceremony.own.check.require_beacon", closed.append)
    assert ask()[0] == 0
    task = Genesis.decode((tmp_path / "chain" / GENESIS).read_bytes()).task
    folders = ("accuracy", "training/step", "training/export")
    expected = [hashlib.sha256(str(keys / x).encode()).digest() for x in folders]
    assert [one.folder for one in closed] == [keys / x for x in folders]  # none is pinned
    assert list(task.ceremonies) == expected
    assert task.training is not None
    assert task.find_ceremony(task.training.export_key) == expected[-1]


@pytest.mark.parametrize(
    ("options", "n_steps", "n_drawn", "words"),
    [
        (["full"], 4, 4, "4 steps a round, each proven"),
        (["sampled", "--steps", 8, "--drawn", 2], 8, 2, "away with it with chance 75%"),
    ],
)
def test_a_task_may_ask_for_training(
    options: list[object], n_steps: int, n_drawn: int, words: str, keys: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "chain"
    code, said = init(folder, keys, "--training", *options, "--training-keys", keys / "training")
    assert (code, words in said) == (0, True), said
    task = Genesis.decode((folder / GENESIS).read_bytes()).task
    assert task.training is not None
    assert (task.training.n_steps, task.training.n_drawn) == (n_steps, n_drawn)
    blobs = FileBlobs(folder / BLOBS)
    check_task_keys(task, blobs)
    assert load_training_keys(task, blobs).step.digest == task.training.step_key


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--steps", 4], "are of --training sampled or full"),
        (["--training", "full"], "--training-keys"),
        (["--training", "sampled", "--training-keys", "KEYS"], "how many of 4 steps are drawn"),
        (
            ["--training", "sampled", "--drawn", 4, "--training-keys", "KEYS"],
            "fewer than all",
        ),
        (["--training", "full", "--drawn", 3, "--training-keys", "KEYS"], "every step is proven"),
        (
            ["--training", "full", "--warm-up", "mnist:train[0:9]", "--training-keys", "KEYS"],
            "without --training",
        ),
        (["--training", "some"], "--training"),
    ],
)
def test_options_that_contradict_each_other_are_usage_errors(
    options: list[object], words: str, keys: Path, tmp_path: Path
) -> None:
    given = [keys / "training" if option == "KEYS" else option for option in options]
    code, said = init(tmp_path / "chain", keys, *given)
    assert (code, words in said) == (2, True), said
    assert not (tmp_path / "chain").exists()


def test_keys_of_another_network_are_refused(keys: Path, tmp_path: Path) -> None:
    save_training_keys(tmp_path / "other")
    options = ("--training", "full", "--training-keys", tmp_path / "other")
    code, said = init(tmp_path / "chain", keys, *options)
    assert (code, "another architecture" in said) == (1, True), said
    assert not list((tmp_path / "chain").rglob("*.key"))


def test_what_a_lie_about_one_step_risks_is_said() -> None:
    options = TrainingOptions(mode="sampled", keys=Path("keys"), steps=10, drawn=4)
    assert "away with it with chance 60%" in options.describe()


# -- join ------------------------------------------------------------------------------------------


def save_training_keys(folder: Path) -> None:
    step, export = training_lab.step_circuit(), training_lab.export_circuit()
    save_key(training_lab.step_key(), folder / STEP_NAME, StepCard.of(step))
    save_key(training_lab.export_key(), folder / EXPORT_NAME, ExportCard.of(export))


@pytest.fixture
def lab(tmp_path: Path) -> TrainingLab:
    """A chain's folder as `zkpot chain init --training full` leaves it, without nodes."""
    chain = tmp_path / "chain"
    chain.mkdir(mode=0o700)
    lab = TrainingLab(blobs=FileBlobs(chain / BLOBS))  # type: ignore[arg-type]
    (chain / GENESIS).write_bytes(lab.genesis.encode())
    create_key(chain, lab.admission.private_bytes_raw(), ADMISSION)
    save_key(proving_key(), tmp_path / "key", KeyCard.of(accuracy()))
    np.savez(
        tmp_path / "own.npz",
        images=np.arange(60, dtype=np.uint8).reshape(10, 6),
        labels=np.arange(10) % 3,
    )
    return lab


def join(tmp_path: Path, *options: object) -> tuple[int, str]:
    result = run(
        *("client", "join", "--genesis", tmp_path / "chain" / GENESIS),
        *("--data", tmp_path / "own.npz", "--key", tmp_path / "key"),
        *("--blobs", tmp_path / "chain" / BLOBS, "--patience", 1, *options),
    )
    assert "Traceback" not in result.output
    return result.exit_code, result.output


def test_samples_are_committed_to_before_a_client_registers(
    lab: TrainingLab, tmp_path: Path
) -> None:
    """Once, however often it is started; the commitments go where others look for them."""
    save_training_keys(tmp_path / "training")
    key = run("client", "key").stdout.strip()
    permit = run("chain", "permit", tmp_path / "chain", key).stdout.strip()
    options = ("--training-keys", tmp_path / "training")
    code, said = join(tmp_path, "--permit", permit, *options)
    assert (code, f"registering as {key}" in said) == (7, True), said
    assert "10 own samples" in said
    assert f"A round is {N_STEPS} steps, of which {N_STEPS} are proven" in said
    folder = tmp_path / "data" / "client" / f"chain-{lab.genesis.digest.hex()[:32]}"
    files = [folder / SECRET_NAME, folder / PUBLIC_NAME]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    before = [path.read_bytes() for path in files]
    assert join(tmp_path, *options)[0] == 7
    assert [path.read_bytes() for path in files] == before
    assert lab.blobs.get(hashlib.sha256(before[1]).digest()) == before[1]


@pytest.mark.usefixtures("lab")
def test_who_cannot_prove_steps_does_not_register(tmp_path: Path) -> None:
    code, said = join(tmp_path)
    assert (code, "--training-keys" in said) == (9, True), said
    (tmp_path / "empty").mkdir()
    code, said = join(tmp_path, "--training-keys", tmp_path / "empty", "--json")
    assert code == 1
    assert json.loads(said)["refused"] == "bad_format"
    assert not list((tmp_path / "data" / "client").glob("chain-*"))
