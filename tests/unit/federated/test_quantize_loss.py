"""Accuracy that rounding loses is told with the layer it is lost in, and zeros lose none of it."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from federated.calibration import calibrate
from federated.data import load
from federated.float_model import FloatModel, encode_float_model
from federated.quantize_loss import QuantizationLoss, measure_loss
from federated.rounding import round_model
from kernels.numpy_types import UInt8Array
from prover.model.network import Architecture
from tests.support.commands import run

SIZES = (784, 16, 12, 10)
Split = tuple[UInt8Array, UInt8Array]


@pytest.fixture(scope="module")
def test_split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    images, labels = load("mnist", "test", tmp_path_factory.mktemp("no-data"))
    return images, labels


@pytest.fixture(scope="module")
def good(test_split: Split) -> FloatModel:
    """Random layers, and a last one that is fitted to the samples by least squares."""
    rng = np.random.default_rng(0)
    weights = [
        rng.normal(0, 1 / np.sqrt(n_in), (n_out, n_in)).astype(np.float32)
        for n_in, n_out in pairwise(SIZES)
    ]
    biases = [rng.normal(0, 0.05, n).astype(np.float32) for n in SIZES[1:]]
    model = make(weights, biases)
    images, labels = test_split
    hidden = np.maximum(model.activations(images)[1], 0.0)
    inputs = np.concatenate([hidden, np.ones((len(hidden), 1))], axis=1)
    found = np.linalg.lstsq(inputs, np.eye(10)[labels], rcond=None)[0].astype(np.float32)
    weights[2], biases[2] = np.ascontiguousarray(found[:-1].T), found[-1]
    return make(weights, biases)


def make(weights: list[np.ndarray], biases: list[np.ndarray]) -> FloatModel:  # type: ignore[type-arg]
    return FloatModel(
        architecture=Architecture.mlp(SIZES),
        weights=tuple(weights),
        biases=tuple(biases),
        mean=0.13,
        std=0.3,
        record={},
    )


def without(model: FloatModel, *layers: int) -> FloatModel:
    """The same with layers of zeros."""
    keep = [index not in layers for index in range(3)]
    weights = [w * k for w, k in zip(model.weights, keep, strict=True)]
    return make(weights, [b * k for b, k in zip(model.biases, keep, strict=True)])


def lose(model: FloatModel, split: Split) -> QuantizationLoss:
    architecture = Architecture.mlp(SIZES)
    scales = calibrate(model, split[0][:500], lambda *_: None, architecture=architecture)
    rounded = round_model(model, architecture, scales)
    return measure_loss(model, rounded, scales, *split)


def test_a_good_model_is_not_warned_of(good: FloatModel, test_split: Split) -> None:
    loss = lose(good, test_split)
    assert loss.float_accuracy > 0.3
    assert abs(loss.accuracy - loss.float_accuracy) < 0.02
    assert len(loss.by_layer) == 3
    assert loss.warning is None


@pytest.mark.parametrize("layers", [(0,), (1,), (0, 1)])
def test_a_hidden_layer_of_zeros_loses_nothing(
    layers: tuple[int, ...], good: FloatModel, test_split: Split
) -> None:
    """Its output scale was so coarse that the next layer's biases all became 0, and all logits."""
    loss = lose(without(good, *layers), test_split)
    assert loss.float_accuracy > 0.08  # one class, always
    assert loss.accuracy == loss.float_accuracy
    assert loss.warning is None


def test_a_last_layer_of_zeros_is_named(good: FloatModel, test_split: Split) -> None:
    """In float the first of equal logits counts, as integers none does."""
    loss = lose(without(good, 2), test_split)
    assert loss.accuracy == 0
    assert loss.layer == 2
    assert loss.warning is not None
    assert "to 0.00%, most of it in layer 2 of 0 to 2, whose weights are all zero" in loss.warning


@pytest.mark.parametrize("layer", [0, 1])
def test_a_layer_with_one_giant_weight_is_named(
    layer: int, good: FloatModel, test_split: Split
) -> None:
    """One unit that nobody reads, with a weight that makes all others round to zero."""
    weights, biases = [w.copy() for w in good.weights], [b.copy() for b in good.biases]
    weights[layer][0, 0] = 3_000.0
    weights[layer + 1][:, 0] = 0.0
    loss = lose(make(weights, biases), test_split)
    assert loss.float_accuracy - loss.accuracy > 0.05
    assert loss.layer == layer
    assert loss.warning is not None
    assert f"most of it in layer {layer} of 0 to 2, of whose weights" in loss.warning


def test_the_command_warns(
    good: FloatModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZKPOT_DATA_DIR", str(tmp_path / "data"))
    for name, model in (("good", good), ("bad", without(good, 2))):
        (tmp_path / name).write_bytes(encode_float_model(model))
        found = run("quantize", tmp_path / name, "--out", tmp_path / f"{name}.zkq")
        assert found.exit_code == 0, found.output
        assert ("WARNING: accuracy falls" in found.stderr) == (name == "bad")
        assert ("layer 2" in found.stderr) == (name == "bad")
        told = run("quantize", tmp_path / name, "--out", tmp_path / f"{name}.zkq", "--json")
        values = json.loads(told.stdout)
        assert (values["warning"] is None) == (name == "good")
        assert values["accuracy_by_layer"][-1] == values["accuracy"]
