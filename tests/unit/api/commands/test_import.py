"""`zkpot import`: what it writes, says and refuses."""

from __future__ import annotations

import builtins
import json
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import federated
from api.console.model_files import load_model
from prover.model.planes import Conv2d
from tests.support.commands import run
from tests.support.onnx_sketch import Sketch

IMPORTING = "federated.importing"


@pytest.fixture
def quantized(tmp_path: Path) -> Path:
    """An int8 file of MNIST's shape."""
    s = Sketch(1, 1, 28, 28)
    x = s.quantized("x", 1 / 255)
    ints = s.rng.integers(-90, 91, (3, 1, 5, 5))
    grid = s.const([0.004, 0.005, 0.006]), s.const([0] * 3, np.int8)
    weight = s("DequantizeLinear", s.const(ints, np.int8), *grid, axis=0)
    x = s.quantized(s("Relu", s("Conv", x, weight, s.random(3), strides=[3, 3])), 0.02)
    path = tmp_path / "quantized.onnx"
    path.write_bytes(s.raw(s.gemm(s("Flatten", x), 10, 192)))
    return path


@pytest.fixture
def floats(tmp_path: Path) -> Path:
    s = Sketch(1, 1, 28, 28)
    x = s("Relu", s.conv("x", 2, 1, 7, strides=[7, 7]))
    path = tmp_path / "floats.onnx"
    path.write_bytes(s.raw(s.gemm(s("Flatten", x), 10, 32)))
    return path


def test_a_quantized_file(quantized: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.zkq"
    done = run("import", quantized, "--out", out, "--compare", "mnist:test[0:100]")
    assert done.exit_code == 0, done.output
    said = done.output
    assert "imported cnn-1x28x28-10-" in said
    assert "(opset 17, quantized by the file)" in said
    assert "every range of the circuit holds" in said
    assert "by channel / 2^16" in said
    assert "the same class as onnxruntime on " in said
    assert "of 100 samples of mnist:test[0:100]" in said
    assert f"wrote {out} (private: readable by you only)" in said
    assert f"next: `zkpot inspect {out}`" in said
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert isinstance(load_model(out).architecture.layers[0], Conv2d)


def test_a_float_file(floats: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.zkq"
    done = run("import", floats, "--out", out, "--calibrate", "mnist:train[0:64]")
    assert done.exit_code == 0, done.output
    assert "quantized by calibration" in done.output
    assert "of 64 samples of mnist:train[0:64]" in done.output
    assert set(load_model(out).architecture.multipliers) == {1}


def test_a_float_file_needs_samples(floats: Path, tmp_path: Path) -> None:
    done = run("import", floats, "--out", tmp_path / "model.zkq")
    assert done.exit_code == 2
    assert "--calibrate" in done.output
    assert "such as mnist:train" in done.output


def test_json(quantized: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.zkq"
    options = ["--shift", 20, "--compare", "mnist:test[0:50]", "--json"]
    done = run("import", quantized, "--out", out, *options)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["quantized_by"] == "the file"
    assert [layer["kind"] for layer in found["layers"]] == ["conv2d", "flatten", "linear"]
    assert found["layers"][0]["requant"]["shift"] == 20
    assert found["layers"][0]["node"] == "that makes 'v3'"
    assert found["agreement"]["n"] == 50
    assert found["agreement"]["samples"] == "mnist:test[0:50]"
    assert found["bytes"] == out.stat().st_size


def test_without_samples_nothing_is_compared(quantized: Path, tmp_path: Path) -> None:
    done = run("import", quantized, "--out", tmp_path / "model.zkq")
    assert done.exit_code == 0
    assert "not compared with the file: give --compare SAMPLES" in done.output


@pytest.mark.parametrize("unsure", [False, True])
def test_integers_that_differ_are_warned_of(
    quantized: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unsure: bool
) -> None:
    """But not where onnxruntime differs from itself as much."""
    from federated.importing import agreement

    def answer(path: Path, samples: object, images: np.ndarray[Any, Any]) -> Any:
        made = np.eye(10)[np.arange(len(images)) % 10]
        return agreement.Answers(made, np.roll(made, 1, axis=0) if unsure else made)

    monkeypatch.setattr(agreement, "run_file", answer)
    options = ["--out", tmp_path / "model.zkq", "--compare", "mnist:test[0:50]"]
    done = run("import", quantized, *options)
    assert done.exit_code == 0
    assert ("WARNING: the integers differ from the file" in done.output) != unsure
    assert ("onnxruntime itself, optimizing and not, has the same class on 0" in done.output) == (
        unsure
    )


@pytest.fixture
def importing_anew() -> Iterator[None]:
    """What imports models is imported again, and nothing of it stays: later tests would have
    modules that know two classes of one name."""
    known = _forget_importing()
    yield
    _forget_importing()
    sys.modules.update(known)
    if (package := known.get(IMPORTING)) is not None:
        vars(federated)["importing"] = package


def _forget_importing() -> dict[str, ModuleType]:
    known = {name: each for name, each in sys.modules.items() if name.startswith(IMPORTING)}
    for name in known:
        del sys.modules[name]
    return known


@pytest.mark.parametrize(("package", "code"), [("onnx", 1), ("onnxruntime", 0)])
@pytest.mark.usefixtures("importing_anew")
def test_packages_that_are_missing(
    package: str, code: int, quantized: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        return whole(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    options = ["--out", tmp_path / "model.zkq", "--compare", "mnist:test[0:50]"]
    done = run("import", quantized, *options)
    assert done.exit_code == code
    told = "importing needs onnx: pip install 'zkpot[onnx]'", "pip install onnxruntime"
    assert told[package == "onnxruntime"] in done.output


def test_refusals_name_operator_and_node(tmp_path: Path) -> None:
    s = Sketch(1, 1, 28, 28)
    x = s("Sigmoid", s.conv("x", 2, 1, 7, strides=[7, 7]), name="squash")
    path = tmp_path / "odd.onnx"
    path.write_bytes(s.raw(s.gemm(s("Flatten", x), 10, 32)))
    done = run("import", path, "--out", tmp_path / "model.zkq")
    assert done.exit_code == 1
    assert "refused (operator_unsupported)" in done.output
    assert (
        "the operator Sigmoid of node 'squash' is not supported; supported are Add" in done.output
    )
    assert not (tmp_path / "model.zkq").exists()


def test_no_onnx_file(tmp_path: Path) -> None:
    path = tmp_path / "text.onnx"
    path.write_text("no model")
    done = run("import", path, "--out", tmp_path / "model.zkq")
    assert done.exit_code == 1
    assert "refused (onnx_file_invalid)" in done.output


def test_samples_of_another_shape(quantized: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.zkq"
    np.savez(
        tmp_path / "other.npz", images=np.zeros((4, 9), np.uint8), labels=np.zeros(4, np.uint8)
    )
    done = run("import", quantized, "--out", out, "--compare", tmp_path / "other.npz")
    assert done.exit_code == 1
    assert "refused (bad_data)" in done.output
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--mean", "a"], "--mean"),
        (["--mean", "nan"], "--mean"),
        (["--std", "0"], "greater than 0"),
        (["--std", "1,"], "--std"),
        (["--scale", "-1"], "--scale"),
        (["--shift", "30"], "--shift"),
        (["--out", "/nowhere/model.zkq"], "there is no folder /nowhere"),
    ],
)
def test_usage(options: list[str], said: str, quantized: Path, tmp_path: Path) -> None:
    done = run("import", quantized, "--out", tmp_path / "model.zkq", *options)
    assert done.exit_code == 2
    assert said in done.output


def test_pixels_as_the_file_is_given_them(quantized: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.zkq"
    options = ["--mean", "0.1307", "--std", "0.3081", "--compare", "mnist:test[0:50]"]
    assert run("import", quantized, "--out", out, *options).exit_code == 0
    first, other = load_model(out), tmp_path / "other.zkq"
    assert run("import", quantized, "--out", other, "--scale", "1").exit_code == 0
    assert (first.biases[0] != load_model(other).biases[0]).any()


def test_inspect_takes_it(quantized: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.zkq"
    assert run("import", quantized, "--out", out).exit_code == 0
    done = run("inspect", out, "--samples", 4)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert "Traceback" not in done.output
