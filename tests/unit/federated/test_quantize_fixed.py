"""Scales shared by a task: rounding with them, going back, and means that mean something."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from consensus.learning.aggregate import ONE, GlobalModel, combine
from federated.calibration import calibrate
from federated.errors import FloatModelInvalid, ScalesInvalid
from federated.float_model import FloatModel
from federated.quantize import quantize
from federated.rounding import round_model
from federated.task_scales import HEADROOM, TaskScales, dequantize, find_scales, quantize_for_task
from kernels.numpy_types import UInt8Array
from prover.errors import RangeExceeded
from prover.model.layers import Requant
from prover.model.network import Architecture, QuantizedModel
from tests.support.learning import make_task

SIZES = (12, 9, 7, 4)
ARCHITECTURE = Architecture.mlp(SIZES)
MEAN, STD = 0.3, 0.25


def ignore(what: str, done: int, total: int) -> None:
    assert 0 <= done <= total, what


def make_model(seed: int, size: float = 1.0) -> FloatModel:
    generator = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return (size * generator.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)

    return FloatModel(
        architecture=ARCHITECTURE,
        weights=tuple(draw(o, i) for i, o in pairwise(SIZES)),
        biases=tuple(draw(o) for o in SIZES[1:]),
        mean=MEAN,
        std=STD,
        record={},
    )


@pytest.fixture(scope="module")
def images() -> UInt8Array:
    return np.random.default_rng(5).integers(0, 256, size=(400, 12), dtype=np.uint8)


@pytest.fixture(scope="module")
def scales(images: UInt8Array) -> TaskScales:
    return find_scales(make_model(0), images, ignore, architecture=ARCHITECTURE)


def as_global(model: QuantizedModel) -> GlobalModel:
    return combine([(model, 3)])


def tensors(model: QuantizedModel) -> list[np.ndarray[tuple[int, ...], np.dtype[np.int64]]]:
    return [t.astype(np.int64) for t in (*model.weights, *model.biases)]


def test_scales_of_its_own_are_the_old_quantizer(images: UInt8Array) -> None:
    model = make_model(0)
    own = calibrate(model, images, ignore, architecture=ARCHITECTURE)
    both = quantize(model, images, ignore), round_model(model, ARCHITECTURE, own)
    assert all(np.array_equal(a, b) for a, b in zip(*map(tensors, both), strict=True))


def test_task_scales_leave_room(images: UInt8Array, scales: TaskScales) -> None:
    own = calibrate(make_model(0), images, ignore, architecture=ARCHITECTURE)
    assert scales.weights[0] == own[0] * HEADROOM
    assert all(a > b for a, b in zip(scales.weights, own, strict=True))
    weights = quantize_for_task(make_model(0), ARCHITECTURE, scales).weights
    assert 60 < abs(weights[2]).max() <= 127 / HEADROOM + 1


def test_integers_come_back(scales: TaskScales) -> None:
    """Integers, their real numbers, integers: the same, whatever the layer."""
    before = quantize_for_task(make_model(1), ARCHITECTURE, scales)
    after = quantize_for_task(dequantize(as_global(before), scales), ARCHITECTURE, scales)
    for index, (a, b) in enumerate(zip(tensors(before), tensors(after), strict=True)):
        assert np.abs(a - b).max() <= (0 if index < 3 else 1)  # biases: float32 has 24 bits


def test_real_numbers_come_back(scales: TaskScales, images: UInt8Array) -> None:
    model = make_model(1)
    found = dequantize(as_global(quantize_for_task(model, ARCHITECTURE, scales)), scales)
    assert (found.architecture, found.mean, found.std) == (ARCHITECTURE, MEAN, STD)
    exact = model.activations(images)[-1]
    error = found.activations(images)[-1] - exact
    assert np.sqrt(np.mean(error**2)) < 0.05 * exact.std()


def test_the_mean_of_integers_is_the_mean_of_models(scales: TaskScales) -> None:
    a, b = make_model(1), make_model(2)
    mean = combine([(quantize_for_task(m, ARCHITECTURE, scales), k) for m, k in ((a, 1), (b, 3))])
    found = dequantize(mean, scales)
    for w, x, y in zip(found.weights, a.weights, b.weights, strict=True):
        assert np.abs(w - (x + 3 * y) / 4).max() < 0.02
    assert (mean.weights[0] % ONE).any()  # fixed point keeps what whole numbers would lose


def test_weights_beyond_the_scale_are_clipped(scales: TaskScales) -> None:
    grown = quantize_for_task(make_model(0, size=3.0), ARCHITECTURE, scales)
    assert all(abs(w).max() == 127 for w in grown.weights)


def test_ranges_of_the_circuit_are_kept(images: UInt8Array) -> None:
    """Sixteen times the weights fit int8 and the layer, and leave its narrow table."""
    narrow = Architecture.mlp(SIZES, requant=Requant(shift=6, q_bits=9))
    model = make_model(0)
    scales = calibrate(model, images, ignore, architecture=narrow)
    with pytest.raises(RangeExceeded) as caught:
        round_model(model, narrow, [s / 16 for s in scales])
    assert caught.value.carries_private_values


def test_another_normalization_is_refused(scales: TaskScales) -> None:
    for change in ({"mean": 0.31}, {"std": 0.26}):
        with pytest.raises(FloatModelInvalid):
            quantize_for_task(replace(make_model(0), **change), ARCHITECTURE, scales)


def test_a_task_carries_its_scales(scales: TaskScales) -> None:
    task = make_task(architecture=ARCHITECTURE, scales=scales.to_lists())
    assert TaskScales.of_task(type(task).from_json(task.to_json())) == scales


@pytest.mark.parametrize(
    "lists",
    [
        (),
        (("normalization", (0.5, 0.5)),),
        (("normalization", (0.5, 0.5)), ("weights", (1.0, 1.0))),
        (("normalization", (0.5,)), ("weights", (1.0, 1.0, 1.0))),
        (("normalization", (0.5, 0.0)), ("weights", (1.0, 1.0, 1.0))),
        (("normalization", (0.5, 0.5)), ("weights", (1.0, -1.0, 1.0))),
        (("normalization", (0.5, 0.5)), ("other", (1.0,)), ("weights", (1.0, 1.0, 1.0))),
    ],
)
def test_tasks_without_scales_of_this_kind(
    lists: tuple[tuple[str, tuple[float, ...]], ...],
) -> None:
    with pytest.raises(ScalesInvalid):
        TaskScales.of_task(make_task(architecture=ARCHITECTURE, scales=lists))
