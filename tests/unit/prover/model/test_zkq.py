"""Committed models: what they decode to, what they compute, and what must be refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from federated.data import load
from prover.errors import ModelFormatError
from prover.model.network import Architecture, is_correct
from prover.model.presets import parse_architecture
from prover.model.ranges import compute_ranges
from prover.model.zkq import decode_model, encode_model


@pytest.fixture(scope="module")
def vectors(root: Path) -> Path:
    return root / "tests" / "vectors"


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def test_model_v2(vectors: Path) -> None:
    expected = read_json(vectors / "model_v2.json")
    raw = (vectors / "model_v2.zkq").read_bytes()
    model = decode_model(raw)
    assert encode_model(model) == raw
    assert model.architecture == Architecture.from_manifest(expected["architecture"])
    assert model.architecture.digest.hex() == expected["architecture_digest"]
    assert [w.tolist() for w in model.weights] == expected["weights"]
    assert [b.tolist() for b in model.biases] == expected["biases"]
    trace = model.trace(np.array(expected["images"], dtype=np.uint8))
    for n, steps in enumerate(expected["layers"]):
        for found, step in zip(trace, steps, strict=True):
            assert found.z[n].tolist() == step["z"]
            if found.requant is None:
                assert set(step) == {"z"}
                continue
            assert found.requant.q[n].tolist() == step["q"]
            assert found.requant.rem[n].tolist() == step["rem"]
            assert found.requant.y[n].tolist() == step["y"]


def test_model_v2_refused(vectors: Path) -> None:
    cases = read_json(vectors / "model_v2_refused.json")
    assert len(cases) == 14
    for case in cases:
        with pytest.raises(ModelFormatError) as caught:
            decode_model(bytes.fromhex(case["hex"]))
        assert caught.value.where == f"model {case['where']}", case["name"]


def test_trained_mnist_model(vectors: Path, tmp_path: Path) -> None:
    """The model of README and demo, on the packaged test samples."""
    raw = (vectors / "mnist-mlp.zkq").read_bytes()
    model = decode_model(raw)
    assert encode_model(model) == raw
    assert model.architecture == parse_architecture("mlp-784-128-10")
    compute_ranges(model)
    images, labels = load("mnist", "test", tmp_path)
    correct = is_correct(model.logits(images), labels)
    assert int(correct.sum()) == 1999
    assert int(correct[:1024].sum()) == 1005
