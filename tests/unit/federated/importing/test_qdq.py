"""Quantized files become integers that answer like them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from federated.errors import GraphUnsupported
from federated.importing.graph import Pixels
from federated.importing.qdq import Integers, take_integers
from prover.model.layers import Linear, Requant
from prover.model.planes import Conv2d
from prover.model.pooling import Add
from prover.model.ranges import compute_ranges
from tests.support.onnx_sketch import Sketch, draw_images, run_sketch

STEP = 0.02  # of activations in these sketches


class Quantized(Sketch):
    """A sketch whose weights are int8, of one scale or of one per channel."""

    def weight(self, *shape: int, by_channel: bool = False, kind: Any = np.int8) -> str:
        zero = 100 if kind == np.uint8 else 0
        ints = self.rng.integers(-80, 81, shape) + zero
        n = shape[0] if by_channel else 1
        scale = 1.2 / np.sqrt(np.prod(shape[1:])) / 80 * self.rng.uniform(0.3, 1, n)
        grid = self.const(scale if by_channel else scale[0]), self.const([zero] * n, kind)
        if not by_channel:
            grid = grid[0], self.const(zero, kind)
        return self("DequantizeLinear", self.const(ints, kind), *grid, axis=0)

    def qconv(self, x: str, n_out: int, channels: int, side: int = 3, **more: Any) -> str:
        weight = self.weight(n_out, channels, side, side, **more.pop("weights", {}))
        return self("Conv", x, weight, self.const(self.rng.normal(size=n_out) / 4), **more)

    def logits(self, x: str, n_in: int, **more: Any) -> str:
        weight = self.weight(4, n_in, **more)
        return self("Gemm", self("Flatten", x), weight, self.random(4), transB=1)


def samples(*shape: int) -> tuple[Quantized, str]:
    s = Quantized(1, *shape)
    return s, s.quantized("x", 1 / 255)


def require_close(s: Sketch, output: str, pixels: Pixels | None = None, **more: Any) -> Integers:
    """Integers whose logits are the file's, but for a factor and the noise of a few roundings."""
    network = s.network(output, pixels)
    integers = take_integers(network, **more)
    compute_ranges(integers.model)
    images = draw_images(network, 64)
    theirs = run_sketch(s.raw(output), network, images)
    ours = integers.model.logits(images).astype(np.float64)
    factor = (ours * theirs).sum() / (ours * ours).sum()
    assert factor > 0
    noise = np.abs(ours * factor - theirs).mean() / theirs.std()
    assert noise < 0.04, noise
    return integers


def layers_of(integers: Integers, kind: type) -> list[Any]:
    return [layer for layer in integers.model.architecture.layers if isinstance(layer, kind)]


def requant_of(integers: Integers, index: int = 0) -> Requant:
    found = integers.model.architecture.layers[index].requant
    assert found is not None
    return found


@pytest.mark.parametrize("by_channel", [False, True])
@pytest.mark.parametrize("kind", [np.int8, np.uint8])
def test_weights_of_all_kinds(by_channel: bool, kind: Any) -> None:
    s, x = samples(3, 8, 8)
    weights = {"by_channel": by_channel, "kind": kind}
    x = s.quantized(s("Relu", s.qconv(x, 5, 3, weights=weights)), STEP)
    x = s.quantized(s("Relu", s.qconv(x, 6, 5, weights=weights)), STEP)
    integers = require_close(s, s.quantized(s.logits(x, 96), 0.05, 128))
    multipliers = requant_of(integers).multipliers
    assert (len(set(multipliers)) > 1) == by_channel


def test_the_files_integers_are_the_models() -> None:
    s, x = samples(1, 6, 6)
    weight = np.arange(-9, 9).reshape(2, 1, 3, 3)
    made = s("DequantizeLinear", s.const(weight, np.int8), s.const(0.01), s.const(0, np.int8))
    x = s.quantized(s("Conv", x, made), STEP)
    integers = take_integers(s.network(s.logits(x, 32)))
    assert (integers.model.weights[0] == weight).all()
    assert not any("Conv" in note for note in integers.notes)


@pytest.mark.parametrize(
    ("zero", "kind", "ends"),
    [
        (0, np.uint8, (0, 255)),
        (117, np.uint8, (-117, 138)),
        (-128, np.int8, (0, 255)),
        (0, np.int8, (-128, 127)),
        (20, np.int8, (-148, 107)),
    ],
)
def test_zero_points_are_clamps(zero: int, kind: Any, ends: tuple[int, int]) -> None:
    s, x = samples(3, 8, 8)
    x = s.quantized(
        s.qconv(x, 5, 3, pads=[1, 1, 1, 1], weights={"by_channel": True}), STEP, zero, kind
    )
    x = s.quantized(
        s.qconv(x, 5, 5, pads=[1, 1, 1, 1], weights={"by_channel": True}), STEP, zero, kind
    )
    integers = require_close(s, s.logits(x, 320))
    assert requant_of(integers).y_range == ends


def test_rounding_before_relu_and_behind_it_is_one() -> None:
    s, x = samples(3, 8, 8)
    x = s.quantized(s.qconv(x, 5, 3), STEP, 0, np.int8)
    x = s.quantized(s("Relu", x), STEP, 0, np.int8)
    integers = require_close(s, s.logits(x, 180))
    assert [layer.kind for layer in integers.model.architecture.layers] == [
        "conv2d",
        "flatten",
        "linear",
    ]
    least, greatest = requant_of(integers).y_range
    assert least == 0
    assert 120 <= greatest <= 127  # one multiplier makes a grid that is a little coarser


def test_clips_are_clamps() -> None:
    s, x = samples(3, 8, 8)
    x = s("Clip", s.qconv(x, 5, 3), s.const(0), s.const(100 * STEP))
    weights = {"by_channel": True}
    x = s.quantized(x, STEP)
    x = s.quantized(
        s("Clip", s.qconv(x, 5, 5, weights=weights), s.const(0), s.const(50 * STEP)), STEP
    )
    integers = require_close(s, s.logits(x, 80))
    assert 96 <= requant_of(integers).greatest <= 100
    assert requant_of(integers, 1).greatest == 50


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
def test_pools(operator: str) -> None:
    s, x = samples(3, 8, 8)
    x = s.quantized(s("Relu", s.qconv(x, 5, 3)), STEP)
    x = s.quantized(s(operator, x, kernel_shape=[2, 2], strides=[2, 2]), STEP)
    x = s.quantized(s("Relu", s.qconv(x, 6, 5, 2)), STEP)
    x = s.quantized(s("GlobalAveragePool", x), STEP)
    integers = require_close(s, s.logits(x, 6))
    pool = "max_pool" if operator == "MaxPool" else "sum_pool"
    kinds = [layer.kind for layer in integers.model.architecture.layers]
    assert kinds == ["conv2d", pool, "conv2d", "sum_pool", "flatten", "linear"]


@pytest.mark.parametrize("is_lean", [False, True])
def test_means_of_many_numbers_are_rounded_as_in_the_file(is_lean: bool) -> None:
    s, x = samples(3, 8, 8)
    x = s.quantized(s("Relu", s.qconv(x, 5, 3)), STEP)
    x = s.quantized(s("GlobalAveragePool", x), STEP)
    integers = require_close(s, s.logits(x, 5), is_lean=is_lean)
    kinds = [layer.kind for layer in integers.model.architecture.layers]
    assert kinds == ["conv2d", "sum_pool", *([] if is_lean else ["add"]), "flatten", "linear"]


def draw_residual(s: Quantized, x: str, step: float) -> str:
    stem = s.quantized(s("Relu", s.qconv(x, 5, 3)), step)
    branch = s.quantized(s("Relu", s.qconv(stem, 5, 5, pads=[1, 1, 1, 1])), STEP)
    branch = s.quantized(s.qconv(branch, 5, 5, pads=[1, 1, 1, 1]), STEP, 128)
    return s.quantized(s("Relu", s("Add", branch, stem)), 2 * STEP)


def test_a_residual_is_rounded_as_in_the_file() -> None:
    s, x = samples(3, 8, 8)
    integers = require_close(s, s.logits(draw_residual(s, x, STEP), 180))
    assert len(layers_of(integers, Add)) == 1
    assert not any(conv.has_skip for conv in layers_of(integers, Conv2d))


def test_a_residual_of_a_lean_model_is_a_skip() -> None:
    s, x = samples(3, 8, 8)
    integers = require_close(s, s.logits(draw_residual(s, x, STEP), 180), is_lean=True)
    conv = layers_of(integers, Conv2d)[2]
    assert conv.has_skip
    assert min(conv.skip_scales) >= 32


def test_a_skip_that_would_be_too_coarse_is_an_addition() -> None:
    """What is skipped lies on a far finer grid than the accumulators' unit."""
    s, x = samples(3, 8, 8)
    stem = s.quantized(s("Relu", s.qconv(x, 5, 3)), 0.0005)
    weight = s.const(s.rng.integers(-1, 2, (5, 5, 3, 3)) * 1, np.int8)
    grid = s.const(0.06), s.const(0, np.int8)
    branch = s.quantized(s("Relu", s.qconv(stem, 5, 5, pads=[1, 1, 1, 1])), 0.01)
    branch = s("Conv", branch, s("DequantizeLinear", weight, *grid), pads=[1, 1, 1, 1])
    total = s.quantized(s("Relu", s("Add", s.quantized(branch, STEP, 128), stem)), STEP)
    integers = require_close(s, s.logits(total, 180), is_lean=True)
    assert not any(conv.has_skip for conv in layers_of(integers, Conv2d))
    assert len(layers_of(integers, Add)) == 1


def test_sums_of_vectors_and_values_that_are_rounded_twice() -> None:
    s, x = samples(12)
    a = s.quantized(s("Relu", s("Gemm", x, s.weight(6, 12), s.random(6), transB=1)), STEP)
    fine = s.quantized(s("Gemm", a, s.weight(6, 6), s.random(6), transB=1), STEP, 128)
    coarse = s.quantized(s("Relu", fine), 1.5 * STEP)
    b = s.quantized(s("Add", fine, a), 2 * STEP, 128)
    integers = require_close(s, s.logits(s.quantized(s("Add", b, coarse), 3 * STEP, 100), 6))
    kinds = [layer.kind for layer in integers.model.architecture.layers]
    assert kinds.count("add") == 3
    assert kinds.count("linear") == 3


# -- samples -----------------------------------------------------------------------------------
def test_another_rounding_of_samples_is_left_out() -> None:
    """Symmetric int8 of [0, 1] halves the pixels: ours stay whole."""
    s = Quantized(1, 3, 8, 8)
    x = s.quantized(s("Relu", s.qconv(s.quantized("x", 1 / 127, 0, np.int8), 5, 3)), STEP)
    require_close(s, s.logits(x, 180))


def test_samples_that_the_file_clamps_are_noted() -> None:
    s = Quantized(1, 3, 8, 8)
    x = s.quantized(s("Relu", s.qconv(s.quantized("x", 0.9 / 255), 5, 3)), STEP)
    integers = require_close(s, s.logits(x, 180))
    said = "clamps its samples to [0, 0.9], and pixels reach from 0 to 1"
    assert any(said in note for note in integers.notes)


def test_a_mean_is_padded_with_its_pixel() -> None:
    s = Quantized(1, 3, 8, 8)
    x = s.quantized("x", 4 / 255, 128)
    x = s.quantized(s("Relu", s.qconv(x, 5, 3, pads=[1, 1, 1, 1])), STEP)
    pixels = Pixels(mean=(0.4,), std=(0.5,))
    integers = require_close(s, s.logits(x, 320), pixels)
    (conv,) = layers_of(integers, Conv2d)
    assert conv.pad_values == (102, 102, 102)


def test_normalization_by_channel_rounds_the_first_weights_anew() -> None:
    s = Quantized(1, 3, 8, 8)
    x = s.quantized("x", 4 / 255, 128)
    x = s.quantized(s("Relu", s.qconv(x, 5, 3, pads=[1, 1, 1, 1])), STEP)
    pixels = Pixels(mean=(0.2, 0.4, 0.6), std=(0.3, 0.5, 0.7))
    integers = require_close(s, s.logits(x, 320), pixels)
    assert layers_of(integers, Conv2d)[0].pad_values == (51, 102, 153)


def test_zeros_that_no_pixel_stands_for() -> None:
    s = Quantized(1, 3, 8, 8)
    x = s.quantized(s("Add", "x", s.const(0.5)), 2 / 255)
    x = s.quantized(s.qconv(x, 5, 3, pads=[1, 1, 1, 1]), STEP)
    with pytest.raises(GraphUnsupported, match="which no pixel stands for"):
        take_integers(s.network(s.logits(x, 320)))


def test_samples_go_into_one_layer_with_weights() -> None:
    s, x = samples(3, 8, 8)
    x = s("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], name="first")
    x = s.quantized(s("Relu", s.qconv(x, 5, 3)), STEP)
    with pytest.raises(GraphUnsupported, match="MaxPool of node 'first' takes the samples"):
        take_integers(s.network(s.logits(x, 20)))


# -- numbers that circuits do not hold ---------------------------------------------------------
def draw_weights(
    weights: Sequence[Any], scales: Sequence[float], bias: Sequence[float]
) -> Quantized:
    s = Quantized(1, 12)
    grid = s.const(scales), s.const([0] * len(scales), np.int8)
    weight = s("DequantizeLinear", s.const(weights, np.int8), *grid, axis=0)
    x = s("Gemm", s.quantized("x", 1 / 255), weight, s.const(bias), transB=1)
    s.output = s.logits(s.quantized(s("Relu", x), STEP), len(scales))  # type: ignore[attr-defined]
    return s


def draw_rows(n: int) -> Any:
    return np.random.default_rng(1).integers(-127, 128, (n, 12))


def close(s: Any) -> Integers:
    return require_close(s, s.output)


def test_weights_of_minus_128_are_counted() -> None:
    rows = draw_rows(3)
    rows[1, 2:5] = -128
    integers = close(draw_weights(rows, [0.002] * 3, [0.1, 0.2, 0.3]))
    assert any("3 of its weights were -128 and became -127" in n for n in integers.notes)
    assert int(integers.model.weights[0].min()) == -127


def test_biases_of_more_than_24_bits_coarsen_their_channel() -> None:
    rows = draw_rows(3)
    integers = close(draw_weights(rows, [0.003, 1e-8, 0.002], [0.1, 2.0, 0.3]))
    assert any(
        "1 channels are coarser, for biases of more than 24 bits" in n for n in integers.notes
    )
    assert (integers.model.weights[0][0] == rows[0]).all()


def test_channels_of_nearly_nothing_are_coarser() -> None:
    rows = draw_rows(3)
    integers = close(draw_weights(rows, [0.003, 1e-6, 0.002], [0.1, 0.5, 0.3]))
    assert any("coarser, for small multipliers" in n for n in integers.notes)
    assert min(requant_of(integers).multipliers) >= 16


def test_logits_of_all_classes_have_one_scale() -> None:
    s, x = samples(12)
    x = s.quantized(s("Relu", s("Gemm", x, s.weight(6, 12), s.random(6), transB=1)), STEP)
    integers = require_close(s, s.logits(x, 6, by_channel=True))
    assert any("one scale of all classes" in note for note in integers.notes)


@pytest.mark.parametrize("by_channel", [False, True])
def test_of_classes_that_tie_the_first_is_the_files(by_channel: bool) -> None:
    s, x = samples(12)
    output = s.quantized(s.logits(x, 12, by_channel=by_channel), 1.6, 128)
    network = s.network(output)
    images = draw_images(network, 256)
    theirs = run_sketch(s.raw(output), network, images)
    tied = (theirs == theirs.max(axis=1, keepdims=True)).sum(axis=1) > 1
    assert tied.sum() > 20
    ours = take_integers(network).model.logits(images)
    assert (ours.argmax(axis=1) == theirs.argmax(axis=1)).mean() > 0.99
    assert all(len(set(row)) == 4 for row in ours.tolist())


def test_greater_shifts_follow_the_file_more_closely() -> None:
    s, x = samples(3, 8, 8)
    weights = {"by_channel": True}
    x = s.quantized(s("Relu", s.qconv(x, 5, 3, weights=weights)), STEP)
    output = s.logits(x, 180)
    found = [requant_of(require_close(s, output, shift=shift)) for shift in (16, 20)]
    assert [requant.shift for requant in found] == [16, 20]
    assert min(found[1].multipliers) > 12 * min(found[0].multipliers)


def test_tables_just_hold_the_worst_cases() -> None:
    s, x = samples(3, 8, 8)
    x = s.quantized(s("Relu", s.qconv(x, 5, 3)), STEP)
    integers = require_close(s, s.logits(x, 180))
    worst = compute_ranges(integers.model)[0].q
    assert worst is not None
    bits = requant_of(integers).q_bits
    assert max(-worst[0], worst[1], 255) >= 1 << (bits - 2)


@pytest.mark.parametrize("what", ["hidden", "sum"])
def test_layers_that_are_not_quantized_are_named(what: str) -> None:
    s, x = samples(3, 8, 8)
    stem = s.quantized(s("Relu", s.qconv(x, 5, 3)), STEP)
    if what == "hidden":
        x = s("Relu", s("Conv", stem, s.weight(5, 5, 3, 3), name="bare"))
    else:
        branch = s.quantized(s.qconv(stem, 5, 5, pads=[1, 1, 1, 1]), STEP)
        x = s("Relu", s("Add", s("MaxPool", branch, kernel_shape=[1, 1]), stem, name="bare"))
    with pytest.raises(GraphUnsupported, match="node 'bare' is not quantized"):
        take_integers(s.network(s.logits(x, 80 if what == "hidden" else 180)))


def test_weights_that_are_real_are_rounded() -> None:
    s, x = samples(3, 8, 8)
    x = s.quantized(s("Relu", s.conv(x, 5, 3)), STEP)
    integers = require_close(s, s.gemm(s("Flatten", x), 4, 180))
    assert all(int(np.abs(w).max()) == 127 for w in integers.model.weights if w.size)
    assert isinstance(integers.model.architecture.layers[-1], Linear)


def test_weights_that_are_quantized_in_the_graph() -> None:
    """As training for quantization leaves them: real weights, then their rounding."""
    s, x = samples(3, 8, 8)
    grid = s.const(0.005), s.const(0, np.int8)
    weight = s("DequantizeLinear", s("QuantizeLinear", s.random(5, 3, 3, 3), *grid), *grid)
    x = s.quantized(s("Relu", s("Conv", x, weight, s.random(5))), STEP)
    require_close(s, s.logits(x, 180))
