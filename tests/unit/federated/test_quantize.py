"""Quantization of a float model made without training: random features, then least squares."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federated.calibration import N_CALIBRATION
from federated.data import load
from federated.errors import CalibrationFailed, FloatModelInvalid
from federated.float_model import (
    FloatModel,
    decode_float_model,
    encode_float_model,
    load_float_model,
)
from federated.quantize import quantize
from kernels.numpy_types import UInt8Array
from prover.model.layers import Requant
from prover.model.network import Architecture, is_correct
from prover.model.presets import parse_architecture
from prover.model.ranges import compute_ranges

SIZES = (784, 128, 10)
Split = tuple[UInt8Array, UInt8Array]


def ignore(what: str, done: int, total: int) -> None:
    assert 0 <= done <= total, what


@pytest.fixture(scope="module")
def splits() -> tuple[Split, Split]:
    nowhere = Path("no-such-folder")
    return load("mnist", "train", nowhere), load("mnist", "test", nowhere)


@pytest.fixture(scope="module")
def fitted(splits: tuple[Split, Split]) -> FloatModel:
    """784-128-10: differences of images, then ridge regression. Real data, no gradient."""
    (images, labels), _ = splits
    generator = np.random.default_rng(3)
    pairs = images[generator.permutation(len(images))[:256]].astype(np.float32).reshape(2, 128, 784)
    w0 = (pairs[0] - pairs[1]) * np.float32(1e-4)
    b0 = (generator.standard_normal(128) * 0.1).astype(np.float32)
    draft = FloatModel(
        architecture=Architecture.mlp(SIZES),
        weights=(w0, np.zeros((10, 128), dtype=np.float32)),
        biases=(b0, np.zeros(10, dtype=np.float32)),
        mean=0.1307,
        std=0.3081,
        record={},
    )
    hidden = np.maximum(draft.activations(images)[0], 0.0)
    features = np.hstack([hidden, np.ones((len(labels), 1))])
    gram = features.T @ features + np.eye(129)
    top = np.linalg.solve(gram, features.T @ np.eye(10)[labels]).T.astype(np.float32)
    return replace(draft, weights=(w0, top[:, :128].copy()), biases=(b0, top[:, 128].copy()))


def test_accuracy_within_half_a_point(fitted: FloatModel, splits: tuple[Split, Split]) -> None:
    (images, _), (test_images, test_labels) = splits
    exact = fitted.accuracy(test_images, test_labels)
    assert exact > 0.8
    for shift in (8, 10, 12):
        architecture = Architecture.mlp(SIZES, requant=Requant(shift=shift))
        model = quantize(fitted, images, ignore, architecture=architecture)
        assert model.architecture == architecture
        compute_ranges(model)
        found = float(is_correct(model.logits(test_images), test_labels).mean())
        assert abs(found - exact) <= 0.005


def test_integers_follow_the_float_network(fitted: FloatModel, splits: tuple[Split, Split]) -> None:
    (images, _), (test_images, _) = splits
    model = quantize(fitted, images, ignore)
    exact = fitted.activations(test_images)[-1]
    logits = model.logits(test_images).astype(np.float64)
    scale = float((exact * logits).sum() / (logits * logits).sum())
    assert np.sqrt(np.mean((logits * scale - exact) ** 2)) < 0.1 * exact.std()
    assert abs(model.weights[1]).max() == 127


def test_only_the_calibration_samples_are_used(
    fitted: FloatModel, splits: tuple[Split, Split]
) -> None:
    (images, _), _ = splits
    a = quantize(fitted, images, ignore)
    b = quantize(fitted, images[:N_CALIBRATION], ignore)
    assert all((x == y).all() for x, y in zip(a.weights, b.weights, strict=True))


def test_narrow_table_forces_coarser_weights(
    fitted: FloatModel, splits: tuple[Split, Split]
) -> None:
    """Worst cases decide, so a smaller table costs precision rather than failing later."""
    (images, _), _ = splits
    narrow = Architecture.mlp(SIZES, requant=Requant(shift=10, q_bits=9))
    wide = quantize(fitted, images, ignore)
    model = quantize(fitted, images, ignore, architecture=narrow)
    assert abs(model.weights[0]).max() < abs(wide.weights[0]).max()
    least, greatest = compute_ranges(model)[0].q or (0, 0)
    assert -256 <= least < 0 < greatest < 256


def test_what_cannot_fit_is_refused(fitted: FloatModel, splits: tuple[Split, Split]) -> None:
    (images, _), _ = splits
    tight = Architecture.mlp(SIZES, requant=Requant(shift=1, q_bits=9))
    with pytest.raises(CalibrationFailed, match="layer 0") as caught:
        quantize(fitted, images, ignore, architecture=tight)
    assert caught.value.carries_private_values
    for other in (
        parse_architecture("mlp-784-127-10"),
        Architecture.mlp(SIZES, requant=Requant(least=-128, greatest=127)),
    ):
        with pytest.raises(FloatModelInvalid):
            quantize(fitted, images, ignore, architecture=other)


def test_zero_model_quantizes() -> None:
    zero = FloatModel(
        architecture=Architecture.mlp((4, 3, 2)),
        weights=(np.zeros((3, 4), dtype=np.float32), np.zeros((2, 3), dtype=np.float32)),
        biases=(np.zeros(3, dtype=np.float32), np.zeros(2, dtype=np.float32)),
        mean=0.0,
        std=1.0,
        record={},
    )
    images = np.full((5, 4), 255, dtype=np.uint8)
    assert not quantize(zero, images, ignore).logits(images).any()


def test_float_model_round_trip(fitted: FloatModel, tmp_path: Path) -> None:
    path = tmp_path / "float.safetensors"
    path.write_bytes(encode_float_model(replace(fitted, record={"dataset": "mnist"})))
    model = load_float_model(path)
    assert (model.mean, model.std) == (fitted.mean, fitted.std)
    assert model.architecture == fitted.architecture
    assert model.record == {"dataset": "mnist"}
    for found, expected in zip(
        (*model.weights, *model.biases), (*fitted.weights, *fitted.biases), strict=True
    ):
        assert found.dtype == np.float32
        assert (found == expected).all()


SMALL = encode_float_model(
    FloatModel(
        architecture=Architecture.mlp((2, 2)),
        weights=(np.eye(2, dtype=np.float32),),
        biases=(np.ones(2, dtype=np.float32),),
        mean=0.5,
        std=0.25,
        record={},
    )
)


@given(st.binary(max_size=200) | st.integers(0, len(SMALL)).map(lambda n: SMALL[:n]))
def test_any_bytes_are_a_float_model_or_refused(raw: bytes) -> None:
    if raw == SMALL:
        decode_float_model(raw)
        return
    with pytest.raises(FloatModelInvalid):
        decode_float_model(raw)


@given(st.integers(0, len(SMALL) - 1), st.integers(1, 255))
def test_altered_float_models(position: int, mask: int) -> None:
    altered = bytearray(SMALL)
    altered[position] ^= mask
    try:
        model = decode_float_model(bytes(altered))
    except FloatModelInvalid:
        return
    assert model.name == "mlp-2-2"
    assert all(np.isfinite(w).all() for w in model.weights)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'\\"std\\": 0.25', b'\\"std\\": 0.00'),
        (b'\\"std\\": 0.25', b'\\"std\\": -1.0'),
        (b'\\"mean\\": 0.5', b'\\"mean\\": NaN'),
        (b'\\"mean\\": 0.5', b'\\"mean\\": 123'),
        (b'\\"input_shape\\": [2]', b'\\"input_shape\\": [3]'),
        (b"zkpot-float-v2", b"zkpot-float-v1"),
        (np.float32(1).tobytes(), np.float32(np.inf).tobytes()),
    ],
)
def test_float_models_that_mean_nothing(old: bytes, new: bytes) -> None:
    assert old in SMALL
    assert len(old) == len(new)
    with pytest.raises(FloatModelInvalid):
        decode_float_model(SMALL.replace(old, new))
