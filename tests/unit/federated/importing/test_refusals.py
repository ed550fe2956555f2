"""What no circuit states is refused: by the operator and the node, with what to do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from onnx import TensorProto, helper

from federated.errors import GraphUnsupported, OnnxFileInvalid, OperatorUnsupported
from federated.importing.graph import SUPPORTED, Pixels
from federated.importing.importer import decode_network
from tests.support.onnx_sketch import Sketch

Draw = Callable[[Sketch], str]


def planes() -> Sketch:
    return Sketch(1, 4, 8, 8)


def head(s: Sketch, x: str) -> str:
    return s.gemm(s("Flatten", x), 4, 4 * 36)


@pytest.mark.parametrize(
    ("operator", "more"),
    [("Sigmoid", {}), ("com.microsoft.Gelu", {}), ("Elu", {"alpha": 2.0}), ("Loop", {})],
)
def test_unknown_operators_are_named_with_those_known(
    operator: str, more: dict[str, float]
) -> None:
    s = planes()
    output = head(s, s(operator, s.conv("x", 4, 4), name="odd one", **more))
    model = s.model(output) if operator != "Loop" else None
    if model is None:
        node = helper.make_node("Loop", ["", "", "x"], ["y"], name="odd one")
        s.nodes = [node]
        graph_input = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
        model = helper.make_model(helper.make_graph([node], "g", [graph_input], [graph_input]))
    with pytest.raises(OperatorUnsupported) as caught:
        decode_network(model.SerializeToString(), Pixels())
    assert caught.value.operator == operator
    assert caught.value.node == "'odd one'"
    assert caught.value.supported == sorted(SUPPORTED)
    assert all(name in str(caught.value) for name in ("Conv", "Gemm", "QuantizeLinear", "odd one"))


GRAPHS: dict[str, tuple[Draw, str]] = {
    "groups": (
        lambda s: head(s, s("Conv", "x", s.random(4, 2, 3, 3), name="it", group=2)),
        "Conv of node 'it' has 2 groups; take a convolution of whole channels",
    ),
    "depthwise": (
        lambda s: head(s, s("Conv", "x", s.random(4, 1, 3, 3), name="it", group=4)),
        "Conv of node 'it' has 4 groups",
    ),
    "dilation": (
        lambda s: head(s, s("Conv", "x", s.random(4, 4, 2, 2), name="it", dilations=[2, 2])),
        "Conv of node 'it' is dilated",
    ),
    "pads beyond the kernel": (
        lambda s: head(s, s("Conv", "x", s.random(4, 4, 1, 1), name="it", pads=[1, 1, 1, 1])),
        "Conv of node 'it' is none that circuits have: pads must be smaller than the kernel",
    ),
    "computed weights": (
        lambda s: s("MatMul", s("Flatten", "x"), s("Reshape", "x", s.ints(256, 1)), name="it"),
        "Reshape of node that makes 'v1' makes [256, 1] of [1, 4, 8, 8]",
    ),
    "samples times samples": (
        lambda s: head(s, s("Mul", "x", "x", name="it")),
        "Mul of node 'it' takes a computed value as its input 1",
    ),
    "averages with pads": (
        lambda s: head(s, s("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1], name="it")),
        "AveragePool of node 'it' averages over a padded border",
    ),
    "mean of channels": (
        lambda s: head(s, s("ReduceMean", "x", axes=[1], name="it")),
        "ReduceMean of node 'it' averages over axes [1]",
    ),
    "batch normalization behind relu": (
        lambda s: head(
            s,
            s(
                "BatchNormalization",
                s("Relu", s.conv("x", 4, 4)),
                *[s.const([1.5] * 4)] * 4,
                name="it",
            ),
        ),
        "BatchNormalization of node 'it' follows no convolution",
    ),
    "clip without zero": (
        lambda s: head(s, s("Clip", s.conv("x", 4, 4), s.const(1), s.const(2), name="it")),
        "Clip of node 'it' clamps to [1, 2], which lacks 0",
    ),
    "pad before a pool": (
        lambda s: head(
            s,
            s(
                "MaxPool",
                s("Pad", "x", s.ints(0, 0, 1, 1, 0, 0, 1, 1)),
                kernel_shape=[3, 3],
                name="it",
            ),
        ),
        "MaxPool of node 'it' takes a padded value",
    ),
    "pads of ones": (
        lambda s: head(s, s("Pad", "x", s.ints(0, 0, 1, 1, 0, 0, 1, 1), s.const(1), name="it")),
        "Pad of node 'it' pads with something else than zeros",
    ),
    "logits behind softmax": (
        lambda s: s.gemm(s("Softmax", s.gemm(s("Flatten", "x"), 4, 256)), 4, 4),
        "Gemm of node that makes 'v3' follows the softmax",
    ),
    "broadcast sums": (
        lambda s: head(s, s("Add", s.conv("x", 4, 4), s("GlobalAveragePool", "x"), name="it")),
        "Add of node 'it' adds [1, 4, 6, 6] and [1, 4, 1, 1]",
    ),
    "planes times a matrix": (
        lambda s: head(s, s("MatMul", "x", s.random(8, 8), name="it")),
        "MatMul of node 'it' multiplies [1, 4, 8, 8]",
    ),
    "moving the batch": (
        lambda s: head(s, s("Transpose", "x", perm=[1, 0, 2, 3], name="it")),
        "Transpose of node 'it' moves the batch axis",
    ),
    "channels in the wrong place": (
        lambda s: head(
            s, s("MaxPool", s("Transpose", "x", perm=[0, 2, 3, 1]), kernel_shape=[1, 1], name="it")
        ),
        "MaxPool of node 'it' takes [1, 8, 8, 4]",
    ),
    "planes of other shapes": (
        lambda s: head(s, s("Relu", s("Reshape", s.conv("x", 4, 4), s.ints(1, 12, 12), name="it"))),
        "Reshape of node 'it' makes [1, 12, 12] of [1, 4, 6, 6]",
    ),
    "16-bit activations": (
        lambda s: head(s, s.quantized(s.conv("x", 4, 4), 0.1, 0, np.int16)),
        "rounds values to int16",
    ),
    "other scales back": (
        lambda s: head(
            s,
            s(
                "DequantizeLinear",
                s("QuantizeLinear", s.conv("x", 4, 4), s.const(0.1), s.const(0, np.uint8)),
                s.const(0.2),
                s.const(0, np.uint8),
                name="it",
            ),
        ),
        "DequantizeLinear of node 'it' has another scale",
    ),
}


@pytest.mark.parametrize("what", GRAPHS)
def test_graphs(what: str) -> None:
    draw, expected = GRAPHS[what]
    s = planes() if what != "16-bit activations" else Sketch(1, 4, 8, 8, opset=21)
    output = draw(s)
    with pytest.raises(GraphUnsupported) as caught:
        s.network(output)
    assert expected in str(caught.value)
    assert caught.value.next_step in str(caught.value)


def test_several_outputs() -> None:
    s = planes()
    model = s.model(s.conv("x", 4, 4), head(s, s.conv("x", 4, 4)))
    with pytest.raises(OnnxFileInvalid, match="several outputs"):
        decode_network(model.SerializeToString(), Pixels())


@pytest.mark.parametrize("shape", [("n",), (1, 3, "h", 8), (1, 2, 3, 4, 5), (1, 0)])
def test_inputs_of_no_fixed_plane(shape: tuple[int | str, ...]) -> None:
    s = Sketch(*shape)
    with pytest.raises(OnnxFileInvalid, match="its input has the shape"):
        s.network(s("Relu", "x"))


def test_channels_of_other_means() -> None:
    s = planes()
    with pytest.raises(GraphUnsupported, match="has \\[4, 8, 8\\], not 3 channels"):
        s.network(head(s, s.conv("x", 4, 4)), Pixels(mean=(0.1, 0.2, 0.3)))


def test_an_output_of_constants() -> None:
    s = planes()
    with pytest.raises(OnnxFileInvalid, match="depends on no sample"):
        s.network(s("Add", s.const([1]), s.const([2])))
