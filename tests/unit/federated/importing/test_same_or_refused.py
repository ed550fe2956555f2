"""What a file says in an unusual way: the network computes what onnxruntime does, or is refused by
name. None is read as something else."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from federated.errors import FederatedError, GraphUnsupported, OnnxFileInvalid
from federated.importing.network import Network
from federated.importing.qdq import take_integers
from kernels.numpy_types import Float64Array
from tests.support.imported import evaluate
from tests.support.onnx_sketch import Sketch, draw_images, require_same, run_sketch

STEP = 0.02


def planes(opset: int = 17) -> tuple[Sketch, str]:
    s = Sketch(1, 3, 8, 8, opset=opset)
    return s, s.quantized("x", 1 / 255)


def head(s: Sketch, x: str, n: int = 180) -> str:
    return s.gemm(s("Flatten", x), 4, n)


def require_close(s: Sketch, output: str) -> Network:
    """The same but for single roundings: the runtime's sums are of 32 bits."""
    network = s.network(output)
    images = draw_images(network, 32)
    theirs = run_sketch(s.raw(output), network, images)
    assert measure_noise(evaluate(network, images), theirs) < 0.01
    return network


def measure_noise(ours: Float64Array, theirs: Float64Array) -> float:
    return float(np.abs(ours - theirs).mean() / theirs.std())


# -- roundings ---------------------------------------------------------------------------------
def test_the_type_of_integers_may_be_an_attribute() -> None:
    s = Sketch(1, 12, opset=21)
    scale = s.const(STEP)
    x = s("QuantizeLinear", s.gemm("x", 6, 12), scale, output_dtype=TensorProto.INT8)
    require_close(s, s.gemm(s("DequantizeLinear", x, scale), 4, 6))


@pytest.mark.parametrize(
    ("scale", "zero", "said"), [(0.02, 0, "another scale"), (1 / 255, 128, "another zero point")]
)
def test_samples_are_dequantized_as_they_were_quantized(scale: float, zero: int, said: str) -> None:
    s = Sketch(1, 12)
    x = s("QuantizeLinear", "x", s.const(1 / 255), s.const(0, np.uint8))
    x = s("DequantizeLinear", x, s.const(scale), s.const(zero, np.uint8))
    with pytest.raises(GraphUnsupported, match=said):
        s.network(s.gemm(x, 4, 12))


def test_samples_that_the_file_rounds_to_coarser_steps_are_noted() -> None:
    s = Sketch(1, 12)
    integers = take_integers(s.network(s.gemm(s.quantized("x", 0.25), 4, 12)))
    said = "the file rounds its samples to steps of 0.25, and pixels are 0.00392 apart"
    assert any(said in note for note in integers.notes)


@pytest.mark.parametrize("behind", ["convolution", "pool"])
def test_a_value_that_is_rounded_in_two_ways_stays_what_it_was(behind: str) -> None:
    """One of the two clamps as a ReLU does: who rounds it the other way takes the rest of it."""
    s, x = planes()
    made = s.conv(x, 5, 3)
    pooled = s("MaxPool", made, kernel_shape=[1, 1]) if behind == "pool" else made
    total = s("Add", s.quantized(pooled, STEP), s.quantized(made, STEP, 128))
    network = require_close(s, head(s, s.quantized(total, 2 * STEP, 128)))
    with pytest.raises(GraphUnsupported, match="is not quantized"):
        take_integers(network)


def test_a_value_that_all_round_alike_is_rounded_once() -> None:
    """As onnxruntime writes it where each layer has a rounding of its own (DedicatedQDQPair)."""
    s, x = planes()
    made, grid = s.conv(x, 5, 3), (s.const(STEP), s.const(0, np.uint8))
    a, b = (s("DequantizeLinear", s("QuantizeLinear", made, *grid), *grid) for _ in range(2))
    a = s.quantized(s.conv(a, 5, 5, pads=[1, 1, 1, 1]), STEP, 128)
    network = require_close(s, head(s, s.quantized(s("Add", a, b), 2 * STEP, 128)))
    kinds = [layer.kind for layer in take_integers(network).model.architecture.layers]
    assert kinds == ["conv2d", "conv2d", "add", "flatten", "linear"]


def test_who_clamps_one_of_two_alike_roundings_leaves_the_other() -> None:
    s, x = planes()
    made, grid = s.conv(x, 5, 3), (s.const(STEP), s.const(128, np.uint8))
    a, b = (s("DequantizeLinear", s("QuantizeLinear", made, *grid), *grid) for _ in range(2))
    total = s("Add", s.quantized(s("Relu", a), STEP), b)
    require_close(s, head(s, s.quantized(total, 2 * STEP, 128)))


@pytest.mark.parametrize("operator", ["BatchNormalization", "Mul"])
def test_a_relu_that_the_rounding_does_is_not_lost(operator: str) -> None:
    """Quantizers leave out a ReLU in front of a grid without negative numbers."""
    s, x = planes()
    x = s.quantized(s.conv(x, 5, 3), STEP)
    numbers = [s.const([1.0, 2.0, -1.0, 0.5, 1.0]), *(s.random(5), s.random(5)), s.const([1.0] * 5)]
    more = numbers if operator == "BatchNormalization" else [s.const(-1.0)]
    x = s(operator, x, *more, name="it")
    with pytest.raises(GraphUnsupported, match="node 'it' follows a ReLU"):
        s.network(head(s, s.quantized(x, STEP, 128)))


def test_a_lean_model_keeps_the_relu_of_a_branch() -> None:
    s, x = planes()
    stem = s.quantized(s("Relu", s.conv(x, 5, 3)), STEP)
    branch = s.quantized(s.conv(stem, 5, 5, pads=[1, 1, 1, 1]), STEP)  # a ReLU, by its grid
    output = head(s, s.quantized(s("Add", branch, stem), 2 * STEP))
    network = s.network(output)
    images = draw_images(network, 64)
    theirs = run_sketch(s.raw(output), network, images)
    ours = take_integers(network, is_lean=True).model.logits(images).astype(np.float64)
    ours *= (ours * theirs).sum() / (ours * ours).sum()
    assert measure_noise(ours, theirs) < 0.04


def test_integers_are_not_padded_with_what_is_no_zero_of_theirs() -> None:
    s, x = planes()
    grid = s.const(STEP), s.const(128, np.uint8)
    x = s("QuantizeLinear", s.conv(x, 5, 3), *grid)
    x = s("Pad", x, s.ints(0, 0, 1, 1, 0, 0, 1, 1), s.const(0, np.uint8), name="it")
    with pytest.raises(GraphUnsupported, match="Pad of node 'it' computes with quantized numbers"):
        s.network(head(s, s.conv(s("DequantizeLinear", x, *grid), 5, 5)))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("weight", [0.0, 3e38])
def test_scales_beyond_all_integers_are_refused(weight: float) -> None:
    s = Sketch(1, 12)
    made = s("Gemm", s.quantized("x", 1 / 255), s.const(np.full((12, 6), weight)), name="it")
    network = s.network(s.gemm(s.quantized(made, 1e-38), 4, 6))
    with pytest.raises(GraphUnsupported, match="Gemm of node 'it' has scales too far apart"):
        take_integers(network)


# -- shapes and constants ----------------------------------------------------------------------
def test_samples_of_another_order_take_no_other_shape() -> None:
    s = Sketch(1, 6, 5, 3)  # channels last, as far as shapes tell
    x = s("Transpose", "x", perm=[0, 3, 1, 2])
    x = s("Reshape", x, s.ints(1, 6, 3, 5), name="it")
    with pytest.raises(GraphUnsupported, match="Reshape of node 'it'"):
        s.network(head(s, x, 90))


@pytest.mark.parametrize("operator", ["Conv", "MaxPool"])
@pytest.mark.parametrize("how", ["VALID", "SAME_UPPER"])
def test_pads_are_said_once(operator: str, how: str) -> None:
    """onnxruntime refuses some of these, and leaves the pads of others out."""
    s = Sketch(1, 3, 8, 8)
    more = {"kernel_shape": [3, 3]} if operator == "MaxPool" else {}
    weights = [s.random(5, 3, 3, 3)] if operator == "Conv" else []
    x = s(operator, "x", *weights, auto_pad=how, pads=[1, 1, 1, 1], name="it", **more)
    with pytest.raises(GraphUnsupported, match="node 'it' has both pads and auto_pad"):
        s.network(s("GlobalAveragePool", x))


def test_integers_are_divided_towards_zero() -> None:
    s = Sketch(1, 12)
    shares = s("Div", s.ints(-7, 7, -6, 9), s.ints(2, -2, 2, 2))
    require_same(s, s("Add", s.gemm("x", 4, 12), s("Cast", shares, to=TensorProto.FLOAT)))


@pytest.mark.parametrize("shape", [(4, 1), (4, 4), (2, 2)])
def test_biases_are_one_for_each_class(shape: tuple[int, int]) -> None:
    s = Sketch(1, 12)
    with pytest.raises(GraphUnsupported, match="has biases"):
        s.network(s("Gemm", "x", s.random(12, 4), s.random(*shape)))


@pytest.mark.parametrize("kind", [TensorProto.STRING, TensorProto.INT4, 999])
def test_constants_are_cast_to_numbers(kind: int) -> None:
    s = Sketch(1, 12)
    shift = s("Cast", s.const([1.0]), to=kind, name="it")
    with pytest.raises(FederatedError, match=r"node 'it' casts|the ONNX checker"):
        s.network(s("Add", s.gemm("x", 4, 12), shift))


def test_layers_make_something() -> None:
    s = Sketch(1, 12)
    x = s("Gemm", "x", s.const(np.zeros((12, 0))), name="it")
    with pytest.raises(GraphUnsupported, match=r"Gemm of node 'it' makes \[0\]"):
        s.network(s("Gemm", x, s.const(np.zeros((0, 4))), s.random(4)))


def test_what_is_said_of_long_lists_is_short() -> None:
    s = Sketch(1, 3, 8, 8)
    x = s("Conv", "x", s.random(5, 3, 3, 3), strides=[1 << 40] * 10_000, name="it")
    with pytest.raises((GraphUnsupported, OnnxFileInvalid)) as caught:
        s.network(head(s, x))
    assert len(str(caught.value)) < 1000
