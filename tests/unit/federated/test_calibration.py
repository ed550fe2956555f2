"""Calibration of networks with convolutions, skips, pools and additions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from consensus.learning.aggregate import combine
from federated.calibration import Calibration, calibrate, calibrate_model
from federated.errors import CalibrationFailed, FloatModelInvalid
from federated.float_model import FloatModel
from federated.quantize import quantize
from federated.quantize_loss import measure_loss
from federated.rounding import compute_value_scales, round_model
from federated.task_scales import TaskScales, dequantize, quantize_for_task
from kernels.numpy_types import UInt8Array
from prover.model.layers import Requant
from prover.model.network import Architecture, QuantizedModel
from prover.model.planes import Conv2d
from prover.model.pooling import Add
from prover.model.ranges import compute_ranges
from tests.unit.federated.test_float_layers import NETWORK, draw_images, draw_network


def ignore(what: str, done: int, total: int) -> None:
    assert 0 <= done <= total, what


def measure_error(model: FloatModel, rounded: QuantizedModel, images: UInt8Array) -> float:
    """Of the logits, as a share of their own deviation, under the scale that suits them best."""
    exact = model.logits(images).astype(np.float64)
    logits = rounded.logits(images).astype(np.float64)
    scale = float((exact * logits).sum() / (logits * logits).sum())
    return float(np.sqrt(np.mean((logits * scale - exact) ** 2)) / exact.std())


@pytest.fixture(scope="module")
def model() -> FloatModel:
    return draw_network()


@pytest.fixture(scope="module")
def found(model: FloatModel) -> Calibration:
    return calibrate_model(model, draw_images(200), ignore)


def test_integers_follow_the_float_network(model: FloatModel, found: Calibration) -> None:
    rounded = round_model(model, found.architecture, found.scales)
    images = draw_images(50, seed=9)
    assert measure_error(model, rounded, images) < 0.1
    # Every value, not the logits alone, is its integers times its scale.
    scales = compute_value_scales(found.architecture, found.scales)
    steps = zip(rounded.trace(images), model.trace(images), NETWORK.layers, strict=True)
    for index, (step, z, layer) in enumerate(steps):
        is_clamped = layer.requant is not None and layer.requant.least == 0
        target = np.maximum(z, 0) if is_clamped else z
        assert np.sqrt(np.mean((step.y * scales[index + 1] - target) ** 2)) < 0.1 * target.std()


def test_what_is_added_is_of_one_scale(found: Calibration) -> None:
    arch = found.architecture
    scales = compute_value_scales(arch, found.scales)
    skip, addition = arch.layers[1], arch.layers[2]
    assert isinstance(skip, Conv2d)
    assert isinstance(addition, Add)
    z_scale = found.scales[1] * scales[skip.inputs[0]]
    assert z_scale * skip.skip_scales[0] == pytest.approx(scales[skip.inputs[1]], rel=1e-12)
    left, right = (scales[v] / c for v, c in zip(addition.inputs, addition.scales, strict=True))
    assert right == pytest.approx(left, rel=0.1)


def test_tables_are_as_small_as_worst_cases_allow(model: FloatModel, found: Calibration) -> None:
    arch = found.architecture
    rounded = round_model(model, arch, found.scales)
    q = {}
    for layer, bounds in zip(arch.layers, compute_ranges(rounded), strict=True):
        if layer.requant is not None and bounds.q is not None:
            assert layer.requant.shift <= 12
            assert layer.requant.multiplier == 1
            q.setdefault(layer.requant, []).append(bounds.q)
    for kind in {requant.y_range for requant in q}:
        (bits,) = {requant.q_bits for requant in q if requant.y_range == kind}
        ends = [end for r, many in q.items() if r.y_range == kind for one in many for end in one]
        half = 1 << (bits - 1)
        assert all(-half <= end < half for end in ends)
        assert bits == 9 or not all(-half // 2 <= end < half // 2 for end in ends)


def test_an_architecture_that_is_given_is_kept(model: FloatModel, found: Calibration) -> None:
    """As a task has it: its shifts and factors stand, scales follow."""
    images = draw_images(200)
    arch = found.architecture
    rounded = quantize(model, images, ignore, architecture=arch)
    assert rounded.architecture == arch
    assert measure_error(model, rounded, draw_images(50, seed=9)) < 0.1
    scales = calibrate(model, images, ignore, architecture=arch)
    assert scales[1] == pytest.approx(found.scales[1], rel=0.3)  # the skip decides
    wide = calibrate(model, images, ignore, architecture=arch, headroom=2.0)
    assert wide[0] == 2 * scales[0]


def test_real_numbers_come_back(model: FloatModel, found: Calibration) -> None:
    scales = TaskScales(weights=found.scales, mean=model.mean, std=model.std)
    rounded = quantize_for_task(model, found.architecture, scales)
    back = dequantize(combine([(rounded, 1)]), scales)
    images = draw_images(30, seed=4)
    exact = model.logits(images)
    assert np.sqrt(np.mean((back.logits(images) - exact) ** 2)) < 0.05 * exact.std()
    again = quantize_for_task(back, found.architecture, scales)
    assert all((a == b).all() for a, b in zip(again.weights, rounded.weights, strict=True))


def test_loss_is_measured_where_integers_begin(model: FloatModel, found: Calibration) -> None:
    rounded = round_model(model, found.architecture, found.scales)
    images = draw_images(600, seed=5)
    labels = model.logits(images).argmax(axis=1).astype(np.uint8)
    loss = measure_loss(model, rounded, found.scales, images.reshape(600, -1), labels)
    assert loss.float_accuracy == 1
    assert loss.layers == (0, 1, 2, 6, 7)
    assert loss.accuracy > 0.9
    assert all(0.9 < share <= 1 for share in loss.by_layer)
    # A layer of zeros is where it is lost.
    weights = [w.copy() for w in rounded.weights]
    weights[6][:] = 0
    broken = replace(rounded, weights=tuple(weights))
    loss = measure_loss(model, broken, found.scales, images, labels)
    assert loss.layer == 6
    assert loss.zeros == 1
    assert loss.warning is not None
    assert "in layer 6 of 0 to 7" in loss.warning


def test_layers_of_zeros_calibrate() -> None:
    model = draw_network()
    zero = replace(
        model,
        weights=tuple(w * 0 for w in model.weights),
        biases=tuple(b * 0 for b in model.biases),
    )
    images = draw_images(20)
    assert not quantize(zero, images, ignore).logits(images).any()


def test_other_networks_are_refused(model: FloatModel) -> None:
    images = draw_images(10)
    first = NETWORK.layers[0]
    assert isinstance(first, Conv2d)
    per_channel = replace(first, requant=Requant(multiplier=(1, 2, 3, 4)))
    signed = replace(first, requant=Requant(least=-128, greatest=127))
    for layer, words in ((per_channel, "per channel"), (signed, "another network")):
        other = Architecture.of(NETWORK.input_shape, [layer, *NETWORK.layers[1:]])
        with pytest.raises(FloatModelInvalid, match=words):
            quantize(model, images, ignore, architecture=other)


def test_what_cannot_fit_is_refused(model: FloatModel) -> None:
    first = NETWORK.layers[0]
    assert isinstance(first, Conv2d)
    tight = replace(first, requant=Requant(shift=1, q_bits=9))
    other = Architecture.of(NETWORK.input_shape, [tight, *NETWORK.layers[1:]])
    with pytest.raises(CalibrationFailed, match="layer 0"):
        quantize(model, draw_images(10), ignore, architecture=other)
