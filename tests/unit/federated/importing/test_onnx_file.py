"""Files of strangers: whatever the bytes, there is a network or one of our errors, in little
memory, and nothing outside the model's folder is read."""

from __future__ import annotations

import resource
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from federated.errors import FederatedError, OnnxFileInvalid
from federated.importing.graph import Pixels
from federated.importing.importer import decode_network, open_network
from federated.importing.names import MAX_SHOWN, show
from federated.importing.network import sort_nodes
from federated.importing.qdq import take_integers
from prover.errors import ProverError
from tests.support.onnx_sketch import Sketch, load_model


def draw() -> tuple[Sketch, str]:
    s = Sketch(1, 1, 6, 6)
    x = s("MaxPool", s("Relu", s.conv("x", 2, 1)), kernel_shape=[2, 2], strides=[2, 2])
    return s, s.gemm(s("Reshape", x, s.ints(1, -1)), 3, 8)


def draw_quantized() -> bytes:
    s = Sketch(1, 1, 6, 6)
    scale, zero = s.const([0.01, 0.02]), s.const([0, 0], np.int8)
    weight = s.const(np.arange(-9, 9).reshape(2, 1, 3, 3), np.int8)
    x = s.quantized("x", 1 / 255)
    x = s("Conv", x, s("DequantizeLinear", weight, scale, zero, axis=0))
    return s.raw(s.gemm(s("Flatten", s.quantized(x, 0.02)), 3, 32))


RAW = [(lambda s, output: s.raw(output))(*draw()), draw_quantized()]


def read(raw: bytes) -> None:
    """A network and its integers, or an error of ours."""
    try:
        network = decode_network(raw, Pixels())
        take_integers(network)
    except (FederatedError, ProverError):
        pass


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_mutated_bytes(data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from(RAW)))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(raw) - 1))
        match data.draw(st.sampled_from(["flip", "cut", "grow", "set"])):
            case "flip":
                raw[place] ^= 1 << data.draw(st.integers(0, 7))
            case "cut":
                del raw[place : place + data.draw(st.integers(1, 40))]
            case "grow":
                raw[place:place] = data.draw(st.binary(max_size=12))
            case _:
                raw[place] = data.draw(st.sampled_from([0, 1, 127, 128, 255]))
        if not raw:
            break
    read(bytes(raw))


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_bytes(raw: bytes) -> None:
    read(raw)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_mutated_graphs(data: st.DataObject) -> None:
    """Well-formed files that say something else: other integers, names, operators and types."""
    model = load_model(data.draw(st.sampled_from(RAW)))
    graph = model.graph
    for _ in range(data.draw(st.integers(1, 3))):
        node = data.draw(st.sampled_from(list(graph.node)))
        tensor = data.draw(st.sampled_from(list(graph.initializer)))
        big = data.draw(st.sampled_from([-1, 0, 1, 2, 3, 7, 2**31, 2**40, -(2**63)]))
        match data.draw(
            st.sampled_from(["dims", "type", "input", "operator", "attribute", "drop"])
        ):
            case "dims" if tensor.dims:
                tensor.dims[data.draw(st.integers(0, len(tensor.dims) - 1))] = big
            case "type":
                tensor.data_type = data.draw(st.integers(0, 30))
            case "input" if node.input:
                names = [x.name for x in graph.initializer] + ["x", "", "v0", "v3"]
                place = data.draw(st.integers(0, len(node.input) - 1))
                node.input[place] = data.draw(st.sampled_from(names))
            case "operator":
                kinds = [
                    "Conv",
                    "Gemm",
                    "Reshape",
                    "Transpose",
                    "Squeeze",
                    "Slice",
                    "Expand",
                    "Pad",
                ]
                node.op_type = data.draw(st.sampled_from([*kinds, "Add", "MaxPool", "Gather"]))
            case "attribute" if node.attribute:
                attribute = data.draw(st.sampled_from(list(node.attribute)))
                attribute.i = big
                if attribute.ints:
                    attribute.ints[0] = big
            case "drop" if len(graph.initializer) > 1:
                graph.initializer.remove(tensor)
            case _:
                pass
    read(model.SerializeToString())


def announce(dims: list[int], kind: int = TensorProto.FLOAT, **more: Any) -> bytes:
    """A small file whose first tensor announces these dims and has four bytes."""
    s, output = draw()
    model = s.model(output)
    tensor = model.graph.initializer[0]
    name = tensor.name
    tensor.Clear()
    tensor.name, tensor.data_type, tensor.raw_data = name, kind, b"\0\0\0\0"
    tensor.dims.extend(dims)
    for key, value in more.items():
        setattr(tensor, key, value)
    raw: bytes = model.SerializeToString()
    return raw


@pytest.mark.parametrize(
    ("dims", "kind", "said"),
    [
        ([1 << 40], TensorProto.FLOAT, "announces more than"),
        ([1 << 62, 1 << 62], TensorProto.INT8, "announces more than"),
        ([1 << 20, 1 << 7], TensorProto.DOUBLE, "not as many numbers as it announces"),
        ([-1], TensorProto.FLOAT, "no shape"),
        ([1] * 9, TensorProto.FLOAT, "no shape"),
        ([2], TensorProto.FLOAT, "not as many numbers as it announces"),
        ([1], TensorProto.STRING, "type string"),
        ([1], TensorProto.INT4, "type int4"),
        ([1], 99, "type 99"),
    ],
)
def test_announced_tensors_take_no_memory(dims: list[int], kind: int, said: str) -> None:
    raw = announce(dims, kind)
    assert len(raw) < 2048
    tracemalloc.start()
    with pytest.raises(OnnxFileInvalid, match=said):
        decode_network(raw, Pixels())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def grow_by(operator: str) -> bytes:
    s = Sketch(1, 12)
    if operator == "ConstantOfShape":
        big = s(operator, s.ints(1 << 20, 1 << 20))
    elif operator == "Expand":
        big = s(operator, s.const([1.0]), s.ints(1 << 40, 1))
    else:
        wide = s("Reshape", s.const(np.ones(1 << 12)), s.ints(1 << 12, 1))
        flat = s("Reshape", s.const(np.ones(1 << 12)), s.ints(1, 1 << 12))
        big = s(operator, wide, flat)
    node = s("Relu", "x")
    graph_input = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 12])
    output = helper.make_tensor_value_info(s("Add", node, big), TensorProto.FLOAT, None)
    output.type.tensor_type.shape.SetInParent()
    graph = helper.make_graph(s.nodes, "g", [graph_input], [output], s.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    raw: bytes = model.SerializeToString()
    return raw


@pytest.mark.parametrize("operator", ["ConstantOfShape", "Expand", "Add", "Mul"])
def test_folded_constants_take_no_memory(operator: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(FederatedError, match="numbers of fewer"):
        decode_network(grow_by(operator), Pixels())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 16  # KiB


def test_infinite_weights_are_refused() -> None:
    s = Sketch(1, 2)
    output = s("MatMul", "x", s.const([[1.0], [np.inf]]))
    with pytest.raises(OnnxFileInvalid, match="infinities or NaN"):
        s.network(output)


# -- external data -----------------------------------------------------------------------------
def write_external(folder: Path, **entries: str) -> Path:
    """A model whose first tensor lies in another file; entries override where."""
    s, output = draw()
    model = s.model(output)
    tensor = model.graph.initializer[0]
    (folder / "weights.bin").write_bytes(b"head" + tensor.raw_data)
    place = {"location": "weights.bin", "offset": "4", "length": str(len(tensor.raw_data))}
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (place | entries).items():
        tensor.external_data.add(key=key, value=value)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_external_data_is_read_beside_the_model(tmp_path: Path) -> None:
    nodes = sort_nodes(open_network(write_external(tmp_path), Pixels()).logits)
    expected = sort_nodes(decode_network(RAW[0], Pixels()).logits)
    assert (nodes[1].parameters[0].values == expected[1].parameters[0].values).all()


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"location": "/etc/passwd"}, "not in the model's folder"),
        ({"location": "../weights.bin"}, "not in the model's folder"),
        ({"location": "sub/weights.bin"}, "not in the model's folder"),
        ({"location": ".."}, "not in the model's folder"),
        ({"location": ""}, "not in the model's folder"),
        ({"location": "link.bin"}, "no plain file"),
        ({"location": "gone.bin"}, "no plain file"),
        ({"location": "pipe"}, "no plain file"),
        ({"offset": "80"}, "ends before"),
        ({"offset": "-4"}, "nonsense"),
        ({"offset": "9" * 30}, "nonsense"),
        ({"length": "8"}, "not as many numbers"),
    ],
)
def test_external_data_elsewhere_is_refused(
    tmp_path: Path, entries: dict[str, str], said: str
) -> None:
    import os

    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "weights.bin").write_bytes(b"\0" * 1000)
    (folder / "link.bin").symlink_to(tmp_path / "weights.bin")
    os.mkfifo(folder / "pipe")
    with pytest.raises(OnnxFileInvalid, match=said):
        open_network(write_external(folder, **entries), Pixels())


def test_bytes_alone_have_no_external_data(tmp_path: Path) -> None:
    with pytest.raises(OnnxFileInvalid, match="give the model's file"):
        decode_network(write_external(tmp_path).read_bytes(), Pixels())


# -- versions and forms ------------------------------------------------------------------------
@pytest.mark.parametrize("opset", [1, 10, 99])
def test_opsets_that_are_not_read(opset: int) -> None:
    s, output = draw()
    model = s.model(output)
    model.opset_import[0].version = opset
    with pytest.raises(OnnxFileInvalid, match=f"its opset is {opset}, and 11 to "):
        decode_network(model.SerializeToString(), Pixels())


def test_functions_are_refused() -> None:
    s, output = draw()
    model = s.model(output)
    model.functions.add(name="f", domain="own")
    with pytest.raises(OnnxFileInvalid, match=r"onnx\.inliner"):
        decode_network(model.SerializeToString(), Pixels())


@pytest.mark.parametrize("raw", [b"", b"\x08\x08", b"no model", RAW[0][:-100]])
def test_no_models(raw: bytes) -> None:
    with pytest.raises(OnnxFileInvalid):
        decode_network(raw, Pixels())


def test_what_the_checker_refuses() -> None:
    s, output = draw()
    model = s.model(output)
    model.graph.node[0].attribute.add(name="colour", i=1, type=2)
    with pytest.raises(OnnxFileInvalid, match=r"the ONNX checker refuses it: .*colour"):
        decode_network(model.SerializeToString(), Pixels())


def test_names_are_shown_on_one_line() -> None:
    assert show("a\x1b[2J\nb") == "'a?[2J?b'"
    assert len(show("x" * 10_000)) == MAX_SHOWN + 2
