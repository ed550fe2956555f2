"""Training, and the two commands end to end on packaged samples. Needs PyTorch."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("torch", reason="the extra `federated` (PyTorch) is not installed")

from api.cli import build_app
from federated.data import has_full, load
from federated.float_model import encode_float_model
from federated.quantize import quantize
from federated.settings import Settings
from federated.sources.datasets import MNIST
from federated.train import TrainSettings, train
from prover.model.network import is_correct
from prover.model.presets import parse_architecture
from prover.model.zkq import decode_model

RUNNER = CliRunner()


def ignore(what: str, done: int, total: int) -> None:
    assert 0 <= done <= total, what


@pytest.fixture
def packaged_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No fetched data, whatever this machine has."""
    monkeypatch.setenv("ZKPOT_DATA_DIR", str(tmp_path / "no-data"))
    return tmp_path


def test_same_seed_same_model(tmp_path: Path) -> None:
    images, labels = load("mnist", "train", tmp_path)
    images, labels = images[:512], labels[:512]
    first, again, other = (
        encode_float_model(
            train(
                images,
                labels,
                parse_architecture("mlp-784-16-10"),
                TrainSettings(epochs=2, seed=seed),
                ignore,
            )
        )
        for seed in (7, 7, 8)
    )
    assert first == again
    assert first != other


def test_progress_counts_epochs(tmp_path: Path) -> None:
    images, labels = load("mnist", "train", tmp_path)
    seen: list[tuple[str, int, int]] = []
    settings = TrainSettings(epochs=3)
    train(
        images[:64],
        labels[:64],
        parse_architecture("mlp-784-4-10"),
        settings,
        lambda *step: seen.append(step),
    )
    assert seen == [("training", done, 3) for done in range(4)]


@pytest.mark.parametrize("name", ["epochs", "batch_size", "threads"])
def test_settings_are_checked(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        TrainSettings(**{name: 0})


def test_train_and_quantize_commands(packaged_only: Path) -> None:
    trained, out = packaged_only / "float.safetensors", packaged_only / "model.zkq"
    result = RUNNER.invoke(
        build_app(),
        ["train", "--arch", "mlp-784-32-10", "--epochs", "6", "--out", str(trained), "--json"],
    )
    assert result.exit_code == 0, result.output
    accuracy = json.loads(result.stdout)["accuracy"]
    assert accuracy > 0.85
    result = RUNNER.invoke(build_app(), ["quantize", str(trained), "--out", str(out), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["float_accuracy"] == accuracy
    assert abs(found["accuracy"] - accuracy) <= 0.005
    assert found["tested_on"] == "2048 packaged samples"
    for path in (trained, out):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    model = decode_model(out.read_bytes())
    assert model.architecture == parse_architecture("mlp-784-32-10")
    assert found["architecture_digest"] == model.architecture.digest.hex()


def test_commands_on_colours_and_convolutions(packaged_only: Path) -> None:
    """A network of the literature by its name; what is rounded has shifts of its own."""
    trained, out = packaged_only / "float.safetensors", packaged_only / "model.zkq"
    on = ("--dataset", "cifar10", "--json")
    command = ["train", "--arch", "lenet-small", "--epochs", "4", "--out", str(trained), *on]
    result = RUNNER.invoke(build_app(), command)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["architecture"] == "lenet-small"
    assert found["trained_on"] == "512 packaged samples"
    assert found["accuracy"] > 0.15  # of ten classes
    result = RUNNER.invoke(build_app(), ["quantize", str(trained), "--out", str(out), *on])
    assert result.exit_code == 0, result.output
    rounded = json.loads(result.stdout)
    assert rounded["float_accuracy"] == found["accuracy"]
    assert abs(rounded["accuracy"] - found["accuracy"]) <= 0.03
    assert len(rounded["accuracy_by_layer"]) == 5
    model = decode_model(out.read_bytes())
    assert model.architecture.input_shape == (3, 32, 32)
    assert sum(w.size for w in model.weights) == 74_730
    assert all(x.requant.shift <= 12 for x in model.architecture.layers if x.requant)
    # Digits do not fit it.
    result = RUNNER.invoke(build_app(), ["quantize", str(trained), "--out", str(out)])
    assert result.exit_code == 2


def test_commands_say_what_is_wrong(packaged_only: Path) -> None:
    out = str(packaged_only / "out")
    noise = packaged_only / "noise"
    noise.write_bytes(b"noise")
    for arguments, code, words in (
        (["train", "--arch", "mlp-784-x", "--out", out], 2, "mlp-784-128-10"),
        (["train", "--arch", "mlp-3-10", "--out", out], 2, "does not fit"),
        (["train", "--dataset", "svhn", "--out", out], 2, "there are: mnist"),
        (["train", "--out", str(packaged_only / "no" / "out")], 2, "no folder"),
        (["quantize", str(packaged_only / "absent"), "--out", out], 2, "not exist"),
        (["quantize", str(noise), "--out", out], 1, "float_model_invalid"),
        (["data", "fetch", "svhn"], 2, "there are: mnist"),
        (["data", "show", "mnist:test[0:2049]"], 1, "zkpot data fetch mnist"),
        (["data", "show", "mnist:test[0:10001]"], 2, "10000"),
    ):
        result = RUNNER.invoke(build_app(), arguments, env={"COLUMNS": "200"})
        assert result.exit_code == code, arguments
        assert words in " ".join(result.output.split()), arguments
        assert "Traceback" not in result.output
    assert not Path(out).exists()


def test_data_show_command(packaged_only: Path) -> None:
    result = RUNNER.invoke(build_app(), ["data", "show", "mnist:test[0:1024]", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "dataset": "mnist:test[0:1024]",
        "samples": 1024,
        "origin": "packaged",
        "digest": "67cf4f5e849df8b07f52d1a2f4b2fd565d84ec6b915831188fd4aab2c370fb2a",
    }


@pytest.mark.slow
def test_full_mnist_reaches_its_accuracy() -> None:
    """97.5 % or more on the 10,000 test images, and at most half a point lost to integers."""
    data_dir = Settings.from_environment().data_dir
    if not all(has_full(MNIST, split, data_dir) for split in MNIST.full):
        pytest.skip("full MNIST is not on this machine: zkpot data fetch mnist")
    images, labels = load("mnist", "train", data_dir)
    test_images, test_labels = load("mnist", "test", data_dir)
    model = train(images, labels, parse_architecture("mlp-784-128-10"), TrainSettings(), ignore)
    exact = model.accuracy(test_images, test_labels)
    found = float(
        is_correct(quantize(model, images, ignore).logits(test_images), test_labels).mean()
    )
    assert exact >= 0.975
    assert abs(found - exact) <= 0.005
