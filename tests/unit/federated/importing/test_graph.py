"""Graphs that are read compute what onnxruntime computes of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from onnx import TensorProto, helper

from federated.importing.graph import Pixels
from federated.importing.network import sort_nodes
from tests.support.onnx_sketch import Sketch, require_same

Draw = Callable[[Sketch], str]


def kinds(sketch: Sketch, output: str, pixels: Pixels | None = None) -> list[str]:
    return [node.kind for node in sort_nodes(require_same(sketch, output, pixels).logits)][1:]


def head(s: Sketch, x: str, n: int) -> str:
    return s.gemm(s("Flatten", x), 4, n)


def draw_conv(s: Sketch, **attributes: object) -> str:
    return s("Relu", s.conv("x", 5, 3, **attributes))


CONV = ["conv", "flatten", "linear"]
PLANES: dict[str, tuple[Draw, list[str]]] = {
    "plain": (lambda s: head(s, draw_conv(s), 180), CONV),
    "strides and uneven pads": (
        lambda s: head(s, draw_conv(s, strides=[2, 3], pads=[1, 0, 2, 1]), 75),
        CONV,
    ),
    "same upper": (
        lambda s: head(s, draw_conv(s, auto_pad="SAME_UPPER", strides=[2, 2]), 80),
        CONV,
    ),
    "same lower": (
        lambda s: head(s, draw_conv(s, auto_pad="SAME_LOWER", strides=[2, 2]), 80),
        CONV,
    ),
    "valid": (lambda s: head(s, draw_conv(s, auto_pad="VALID"), 180), CONV),
    "pad in front": (
        lambda s: head(
            s, s("Relu", s.conv(s("Pad", "x", s.ints(0, 0, 1, 0, 0, 0, 1, 2)), 5, 3)), 320
        ),
        CONV,
    ),
    "max pool": (
        lambda s: head(s, s("MaxPool", draw_conv(s), kernel_shape=[2, 2], strides=[2, 2]), 45),
        ["conv", "max_pool", "flatten", "linear"],
    ),
    "overlapping padded max pool": (
        lambda s: head(
            s,
            s("MaxPool", draw_conv(s), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
            45,
        ),
        ["conv", "max_pool", "flatten", "linear"],
    ),
    "max pool in ceil mode": (
        lambda s: head(
            s,
            s("MaxPool", draw_conv(s), kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
            45,
        ),
        ["conv", "max_pool", "flatten", "linear"],
    ),
    "relu behind the max pool": (
        lambda s: head(
            s,
            s("Relu", s("MaxPool", s.conv("x", 5, 3), kernel_shape=[2, 2], strides=[2, 2])),
            45,
        ),
        ["conv", "max_pool", "flatten", "linear"],
    ),
    "relu behind the average": (
        lambda s: head(
            s,
            s("Relu", s("AveragePool", s.conv("x", 5, 3), kernel_shape=[2, 2], strides=[2, 2])),
            45,
        ),
        ["conv", "average_pool", "requantize", "flatten", "linear"],
    ),
    "average pool": (
        lambda s: head(s, s("AveragePool", draw_conv(s), kernel_shape=[2, 3], strides=[2, 1]), 60),
        ["conv", "average_pool", "flatten", "linear"],
    ),
    "global average": (
        lambda s: head(s, s("GlobalAveragePool", draw_conv(s)), 5),
        ["conv", "average_pool", "flatten", "linear"],
    ),
    "mean of the last axes": (
        lambda s: s.gemm(s("ReduceMean", draw_conv(s), axes=[-1, -2], keepdims=0), 4, 5),
        ["conv", "average_pool", "flatten", "linear"],
    ),
    "batch normalization": (
        lambda s: head(
            s,
            s(
                "Relu",
                s(
                    "BatchNormalization",
                    s.conv("x", 5, 3),
                    s.random(5),
                    s.random(5),
                    s.random(5),
                    s.const([0.5, 1, 2, 3, 4]),
                ),
            ),
            180,
        ),
        CONV,
    ),
    "scaled channels": (
        lambda s: head(
            s, s("Add", s("Mul", s.conv("x", 5, 3), s.random(5, 1, 1)), s.random(1, 5, 1, 1)), 180
        ),
        CONV,
    ),
    "clip": (
        lambda s: head(s, s("Clip", s.conv("x", 5, 3), s.const(-0.25), s.const(0.5)), 180),
        CONV,
    ),
    "clip without bounds": (lambda s: head(s, s("Clip", s.conv("x", 5, 3), "", ""), 180), CONV),
    "dropout": (lambda s: head(s, s("Dropout", draw_conv(s)), 180), CONV),
    "softmax": (lambda s: head(s, draw_conv(s), 180), CONV),
    "logits of a convolution": (
        lambda s: s("Flatten", s("GlobalAveragePool", draw_conv(s))),
        ["conv", "average_pool", "flatten", "linear"],
    ),
    "planes of one place as logits": (
        lambda s: s("GlobalAveragePool", draw_conv(s)),
        ["conv", "average_pool", "flatten", "linear"],
    ),
    "clamped logits": (
        lambda s: s("Relu", head(s, draw_conv(s), 180)),
        ["conv", "flatten", "linear", "linear"],
    ),
}


@pytest.mark.parametrize("what", PLANES)
def test_planes(what: str) -> None:
    draw, expected = PLANES[what]
    sketch = Sketch(1, 3, 8, 8)
    assert kinds(sketch, draw(sketch)) == expected


def draw_block(s: Sketch, *, swap: bool = False, shared: bool = False) -> str:
    """A residual block of the samples' convolution."""
    stem = s("Relu", s.conv("x", 5, 3))
    branch = s.conv(s("Relu", s.conv(stem, 5, 5, pads=[1, 1, 1, 1])), 5, 5, pads=[1, 1, 1, 1])
    total = s("Relu", s("Add", *((stem, branch) if swap else (branch, stem))))
    return s("Add", total, s("MaxPool", branch, kernel_shape=[1, 1])) if shared else total


@pytest.mark.parametrize("swap", [False, True])
def test_a_residual_is_added_by_the_convolution(swap: bool) -> None:
    sketch = Sketch(1, 3, 8, 8)
    network = require_same(sketch, head(sketch, draw_block(sketch, swap=swap), 180))
    nodes = sort_nodes(network.logits)
    assert [node.kind for node in nodes[1:]] == ["conv", "conv", "conv", "flatten", "linear"]
    assert nodes[3].inputs == (nodes[2], nodes[1])


def test_a_branch_that_others_take_is_added_apart() -> None:
    sketch = Sketch(1, 3, 8, 8)
    output = head(sketch, draw_block(sketch, shared=True), 180)
    assert kinds(sketch, output).count("add") == 2


def test_a_shortcut_comes_before_the_convolution_that_adds_it() -> None:
    s = Sketch(1, 3, 8, 8)
    stem = s("Relu", s.conv("x", 5, 3))
    branch, shortcut = s.conv(stem, 4, 5, strides=[2, 2]), s.conv(stem, 4, 5, 1, strides=[2, 2])
    pooled = s("MaxPool", shortcut, kernel_shape=[2, 2])
    output = head(s, s("Relu", s("Add", branch, pooled)), 16)
    assert kinds(s, output) == ["conv", "conv", "max_pool", "conv", "flatten", "linear"]


def test_vectors_are_added() -> None:
    s = Sketch(1, 12)
    a, b = s("Relu", s.gemm("x", 6, 12)), s.gemm("x", 6, 12)
    output = s.gemm(s("Relu", s("Add", a, b)), 3, 6)
    assert kinds(s, output) == ["linear", "linear", "add", "linear"]


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax"])
def test_a_softmax_is_left_out(operator: str) -> None:
    s = Sketch(1, 12)
    logits = s.gemm("x", 4, 12)
    network = s.network(s("Identity", s(operator, logits, axis=-1)))
    assert [node.kind for node in sort_nodes(network.logits)] == ["samples", "linear"]


@pytest.mark.parametrize("batch", [1, 7, "batch"])
def test_shapes_computed_of_the_batch(batch: int | str) -> None:
    s = Sketch(batch, 3, 8, 8)
    x = draw_conv(s)
    size = s("Unsqueeze", s("Gather", s("Shape", x), s.const(0, np.int64)), s.ints(0))
    shape = s("Concat", size, s.ints(-1), axis=0)
    network = s.network(s.gemm(s("Reshape", x, shape), 4, 180))
    assert [node.kind for node in sort_nodes(network.logits)][1:] == CONV


def test_matmul_add_and_gemm_of_all_kinds() -> None:
    s = Sketch(1, 12)
    x = s("Relu", s("Add", s("MatMul", "x", s.random(12, 6)), s.random(6)))
    x = s("Relu", s("Gemm", x, s.random(6, 5), s.random(1, 5), alpha=0.5, beta=2.0))
    assert kinds(s, s("Gemm", x, s.random(3, 5), transB=1)) == ["linear", "linear", "linear"]


def test_weights_that_are_computed_of_constants() -> None:
    s = Sketch(1, 12)
    weight = s("Transpose", s("Reshape", s.random(36), s.ints(3, 12)), perm=[1, 0])
    assert kinds(s, s("MatMul", "x", s("Mul", weight, s.const(0.5)))) == ["linear"]


@pytest.mark.parametrize("operator", ["Sub", "Div", "Add", "Mul"])
def test_samples_are_normalized_in_the_graph(operator: str) -> None:
    s = Sketch(1, 3, 8, 8)
    x = s(operator, "x", s.const(np.array([0.4, 0.5, 0.6]).reshape(1, 3, 1, 1)))
    assert kinds(s, head(s, s("Relu", s.conv(x, 5, 3)), 180)) == CONV


def test_a_constant_minus_the_samples() -> None:
    s = Sketch(1, 3, 8, 8)
    assert kinds(s, head(s, s("Relu", s.conv(s("Sub", s.const(1), "x"), 5, 3)), 180)) == CONV


def test_pixels_are_normalized_for_the_file() -> None:
    s = Sketch(1, 3, 8, 8)
    pixels = Pixels(mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    assert kinds(s, head(s, draw_conv(s), 180), pixels) == CONV


def test_bytes_are_given_as_they_are() -> None:
    s = Sketch(1, 3, 8, 8, kind=TensorProto.UINT8)
    x = s("Div", s("Cast", "x", to=TensorProto.FLOAT), s.const(255))
    network = require_same(s, head(s, s("Relu", s.conv(x, 5, 3)), 180))
    assert network.samples.gain.max() == pytest.approx(1 / 255)


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_last(channels: int) -> None:
    """As TensorFlow has them: planes are transposed, and flattened in another order."""
    s = Sketch(1, 8, 6, channels)
    x = s("Transpose", "x", perm=[0, 3, 1, 2])
    x = s("Relu", s.conv(x, 5, channels, pads=[1, 1, 1, 1]))
    x = s("Transpose", s("Transpose", x, perm=[0, 2, 3, 1]), perm=[0, 3, 1, 2])
    x = s("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = s("Reshape", s("Transpose", x, perm=[0, 2, 3, 1]), s.ints(-1, 60))
    x = s("Relu", s("Add", s("MatMul", x, s.random(60, 7)), s.random(7)))
    expected = ["conv", "max_pool", "flatten", "linear", "linear"]
    assert kinds(s, s.gemm(x, 4, 7)) == expected
    assert s.network(f"v{len(s.nodes) - 1}").samples.shape == (channels, 8, 6)


def test_channels_last_in_a_linear_network() -> None:
    s = Sketch(1, 4, 5, 3)
    assert kinds(s, s.gemm(s("Flatten", "x"), 4, 60)) == ["flatten", "linear"]


def test_classes_keep_their_order_behind_a_transposition() -> None:
    s = Sketch(1, 3, 8, 8)
    x = s.conv("x", 2, 3, 7)
    output = s("Flatten", s("Transpose", s("Relu", x), perm=[0, 2, 3, 1]))
    assert kinds(s, output) == ["conv", "flatten", "linear"]


def test_vectors_become_planes_in_front_of_the_network_only() -> None:
    s = Sketch("n", 64)
    network = require_same(
        s, head(s, s("Relu", s.conv(s("Reshape", "x", s.ints(-1, 1, 8, 8)), 2, 1)), 72)
    )
    assert network.samples.shape == (1, 8, 8)


def test_planes_without_a_channel() -> None:
    s = Sketch(1, 8, 8)
    network = require_same(s, head(s, s("Relu", s.conv(s("Unsqueeze", "x", s.ints(1)), 2, 1)), 72))
    assert network.samples.shape == (1, 8, 8)


def test_squeezed_planes_are_vectors() -> None:
    s = Sketch(1, 3, 8, 8)
    x = s("Squeeze", s("GlobalAveragePool", draw_conv(s)), s.ints(2, 3))
    assert kinds(s, s.gemm(x, 4, 5)) == ["conv", "average_pool", "flatten", "linear"]


def test_padded_shapes_of_exporters() -> None:
    """Pads that TorchScript computes of constants, slice by slice, backwards."""
    s = Sketch(1, 3, 8, 8)
    zeros = helper.make_tensor("zero", TensorProto.INT64, [1], [0])
    fill = s("ConstantOfShape", s.ints(4), value=zeros)
    pads = s("Concat", s.ints(1, 2, 0, 1), fill, axis=0)
    pairs = s("Reshape", pads, s.ints(-1, 2))
    steps = s.ints(-1), s.ints(-9223372036854775807), s.ints(0), s.ints(-1)
    turned = s("Transpose", s("Slice", pairs, *steps), perm=[1, 0])
    x = s("Pad", "x", s("Cast", s("Reshape", turned, s.ints(-1)), to=TensorProto.INT64))
    x = s("Relu", s.conv(x, 5, 3))
    assert kinds(s, head(s, x, 5 * 7 * 9)) == CONV
