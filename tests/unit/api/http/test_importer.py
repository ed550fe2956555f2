"""ONNX files of callers: imported in a process of its own, and refused with the reason."""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from api.http import importer
from api.http.importer import PixelNumbers, import_onnx, parse_numbers
from api.http.problems import ApiProblem
from prover.model.zkq import decode_model
from tests.support.routes import OCTETS, expect_problem

URL = "/v1/models/onnx?dataset=mnist:train[0:64]"
IMAGES = np.random.default_rng(3).integers(0, 256, (32, 1, 28, 28), dtype=np.uint8)


@pytest.fixture
def onnx_sketch() -> ModuleType:
    return pytest.importorskip("tests.support.onnx_sketch", reason="the extra `onnx` is missing")


@pytest.fixture
def file(onnx_sketch: ModuleType) -> bytes:
    """A float network for MNIST."""
    sketch = onnx_sketch.Sketch(1, 1, 28, 28)
    hidden = sketch("Relu", sketch.gemm(sketch("Flatten", "x"), 4, 784))
    raw: bytes = sketch.raw(sketch.gemm(hidden, 10, 4))
    return raw


def test_a_float_network_is_calibrated_and_stored(http: TestClient, file: bytes) -> None:
    answer = http.post(f"{URL}&mean=0.13&std=0.31", content=file, headers=OCTETS)
    assert answer.status_code == 201, answer.json()
    found = answer.json()
    assert (found["n_parameters"], found["is_calibrated"]) == (3190, True)
    body = {"model_id": found["id"], "dataset": "mnist:test[0:8]"}
    plan = http.post("/v1/plan", json=body).json()
    assert plan["architecture"] == found["architecture"]


def test_pixels_go_into_the_first_layer(file: bytes) -> None:
    """The same file is another model where pixels mean something else."""
    made = [
        decode_model(import_onnx(file, PixelNumbers(std=(std,)), IMAGES).raw) for std in (1.0, 0.25)
    ]
    assert made[0].architecture.input_shape == made[1].architecture.input_shape
    assert not np.array_equal(made[0].logits(IMAGES), made[1].logits(IMAGES))


def test_other_files_are_refused_with_the_reason(http: TestClient, onnx_sketch: ModuleType) -> None:
    expect_problem(http.post(URL, content=b"noise", headers=OCTETS), 422, "refused")
    sketch = onnx_sketch.Sketch(1, 784)
    hidden = sketch("Tanh", sketch.gemm("x", 4, 784))
    refused = http.post(URL, content=sketch.raw(sketch.gemm(hidden, 10, 4)), headers=OCTETS)
    expect_problem(refused, 422, "refused")
    assert "Tanh" in refused.json()["detail"]
    plain = onnx_sketch.Sketch(1, 784)
    raw = plain.raw(plain.gemm("x", 10, 784))
    other = http.post(URL.replace("mnist", "cifar10"), content=raw, headers=OCTETS)
    expect_problem(other, 422, "refused")


@pytest.mark.parametrize("query", ["mean=a", "std=0", "std=1,-1", "mean=1e999", "scale=0"])
def test_numbers_of_pixels_are_checked(http: TestClient, query: str) -> None:
    answer = http.post(f"{URL}&{query}", content=b"noise", headers=OCTETS)
    expect_problem(answer, 422, "invalid_request")


def test_what_takes_too_long_or_dies_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importer, "IMPORT_S", 0.0)
    with pytest.raises(ApiProblem, match="more time or memory"):
        import_onnx(b"", PixelNumbers(), IMAGES)
    monkeypatch.undo()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ApiProblem, match="more time or memory"):
        import_onnx(b"", PixelNumbers(), IMAGES)


def test_a_service_without_the_package_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import sys; sys.modules['onnx'] = None\nfrom api.http.importer import main\nmain()"
    run = importer.subprocess.run
    monkeypatch.setattr(
        importer.subprocess,
        "run",
        lambda argv, **more: run([argv[0], "-c", program], **more),
    )
    with pytest.raises(ApiProblem, match=r"pip install 'zkpot\[onnx\]'"):
        import_onnx(b"", PixelNumbers(), IMAGES)


def test_numbers_are_one_or_one_for_each_channel() -> None:
    assert parse_numbers("0.5") == (0.5,)
    assert parse_numbers("0.485, 0.456,0.406") == (0.485, 0.456, 0.406)
    for text in ("", "nan", "1,,2", "1e999"):
        with pytest.raises(ValueError, match=r"number|float"):
            parse_numbers(text)


def test_the_process_gets_no_secret(file: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = ("ZKPOT_STORE_KEY", "ZKPOT_REDIS_URL", "AWS_SECRET_ACCESS_KEY")
    for name in secrets:
        monkeypatch.setenv(name, "secret")
    given: list[dict[str, str]] = []
    run = importer.subprocess.run

    def record(*arguments: Any, **how: Any) -> Any:
        given.append(dict(os.environ if how.get("env") is None else how["env"]))
        return run(*arguments, **how)

    monkeypatch.setattr(importer.subprocess, "run", record)
    assert import_onnx(file, PixelNumbers(), IMAGES).is_calibrated
    assert len(given) == 1
    assert "PATH" in given[0]
    assert "secret" not in given[0].values()
