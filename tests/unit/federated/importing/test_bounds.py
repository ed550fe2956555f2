"""Small files that ask for much: each is refused before it takes memory or time."""

from __future__ import annotations

import resource
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from google.protobuf.internal.encoder import _VarintBytes
from onnx import TensorProto, helper

from federated.errors import FederatedError, OnnxFileInvalid
from federated.importing import graph
from federated.importing.fields import MAX_FIELDS, count_fields
from federated.importing.graph import Pixels
from federated.importing.importer import decode_network
from tests.support.onnx_sketch import Sketch

MAX_KIB = 3 << 18
"""Memory that a refusal may take: 768 MiB, of which arrays are up to 512."""


def serialize(s: Sketch, output: str) -> bytes:
    """As `Sketch.raw`, but without inferring shapes, which would take the memory itself."""
    given = helper.make_tensor_value_info("x", s.kind, s.shape)
    made = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    made.type.tensor_type.shape.SetInParent()
    made_of = helper.make_graph(s.nodes, "g", [given], [made], s.constants)
    model = helper.make_model(made_of, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    raw: bytes = model.SerializeToString()
    return raw


def repeat(s: Sketch, n: int, x: str, operator: str, *more: str, **attributes: Any) -> str:
    for _ in range(n):
        x = s(operator, x, *more, **attributes)
    return x


def fill(s: Sketch) -> str:
    return s("ConstantOfShape", s.ints(1 << 20))


def double(s: Sketch) -> str:
    big = fill(s)
    for _ in range(20):
        big = s("Concat", big, big, axis=0)
    return big


def fill_often(s: Sketch) -> str:
    return [fill(s) for _ in range(300)][-1]


def dequantize_often(s: Sketch) -> str:
    given = s.const(np.zeros(1 << 20), np.int8), s.const(1.0), s.const(0, np.int8)
    return [s("DequantizeLinear", *given) for _ in range(300)][-1]


CONSTANTS: dict[str, Callable[[Sketch], str]] = {
    "one concatenated often": lambda s: s("Concat", *[fill(s)] * 20_000, axis=0),
    "doubled": double,
    "filled often": fill_often,
    "dequantized often": dequantize_often,
    "as many axes": lambda s: s("Unsqueeze", "x", s.const(np.ones(1 << 20), np.int64)),
    "as many dimensions": lambda s: s("Reshape", "x", s.const(np.full(1 << 20, 1 << 62), np.int64)),
}
VECTORS: dict[str, Callable[[Sketch], str]] = {
    "weights of many layers": lambda s: repeat(
        s, 2000, "x", "MatMul", s.const(np.ones((512, 512)))
    ),
    "many layers": lambda s: repeat(s, 300, "x", "MatMul", s.const(np.ones((512, 512)) / 512)),
}
PLANES: dict[str, tuple[tuple[int, ...], Callable[[Sketch], str]]] = {
    "samples": ((1, 8192, 8192, 8192), lambda s: s("Flatten", "x")),
    "planes": (
        (1, 3, 1024, 1024),
        lambda s: s("Flatten", s("Transpose", draw_wide(s, 256), perm=[0, 2, 3, 1])),
    ),
    "classes": ((1, 3, 256, 256), lambda s: draw_wide(s, 64)),
}


def draw_wide(s: Sketch, n_out: int) -> str:
    return s("Relu", s("Conv", "x", s.const(np.zeros((n_out, 3, 1, 1)))))


def require_refused(raw: bytes) -> None:
    assert len(raw) < 1 << 24
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(FederatedError):
        decode_network(raw, Pixels())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MAX_KIB


@pytest.mark.parametrize("what", CONSTANTS)
def test_constants(what: str) -> None:
    s = Sketch(1, 12)
    require_refused(serialize(s, s("Add", "x", CONSTANTS[what](s))))


@pytest.mark.parametrize("what", VECTORS)
def test_layers(what: str) -> None:
    s = Sketch(1, 512)
    require_refused(serialize(s, VECTORS[what](s)))


@pytest.mark.parametrize("what", PLANES)
def test_values(what: str) -> None:
    shape, draw = PLANES[what]
    s = Sketch(*shape)
    require_refused(serialize(s, draw(s)))


def test_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "MAX_TOUCHED", 1 << 16)
    s = Sketch(1, 512)
    require_refused(serialize(s, repeat(s, 200, "x", "Mul", s.const(1.01))))


# -- protobuf ----------------------------------------------------------------------------------
def wrap(field: int, body: bytes) -> bytes:
    """A field of bytes or of a message."""
    return bytes([field << 3 | 2]) + _VarintBytes(len(body)) + body


@pytest.mark.parametrize("what", ["nodes", "attributes", "names"])
def test_parts_of_two_bytes_are_not_looked_at_all(what: str) -> None:
    n = 1 << 16
    body = {"nodes": b"\x0a\0" * n, "attributes": wrap(1, b"\x2a\0" * n)}
    raw = wrap(7, body.get(what, wrap(1, b"\x0a\0" * n)))
    assert count_fields(raw, onnx.ModelProto.DESCRIPTOR, 100) == 101


def test_parts_of_two_bytes() -> None:
    """Parsed, each would be an object of a hundred bytes and more."""
    s = Sketch(1, 12)
    raw = serialize(s, s.gemm("x", 4, 12)) + wrap(7, b"\x0a\0" * (MAX_FIELDS + 1))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(OnnxFileInvalid, match=f"more than {MAX_FIELDS} fields"):
        decode_network(raw, Pixels())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 16


def test_fields_are_counted() -> None:
    s = Sketch(1, 12)
    model = s.model(s.gemm("x", 4, 12))

    def count(message: Any) -> int:
        n = 0
        for descriptor, found in message.ListFields():
            parts = found if descriptor.is_repeated else [found]
            packed = descriptor.is_repeated and descriptor.GetOptions().packed
            n += 1 if packed else len(parts)
            if descriptor.message_type is not None:
                n += sum(map(count, parts))
        return n

    raw = model.SerializeToString()
    assert count_fields(raw, onnx.ModelProto.DESCRIPTOR) == count(model) > 40
    assert count_fields(raw, onnx.ModelProto.DESCRIPTOR, 7) == 8


@pytest.mark.parametrize("raw", [b"\x3a\x05\0", b"\x0b", b"\xff" * 11, b"\x08", b"\x09\0\0"])
def test_bytes_that_are_no_message(raw: bytes) -> None:
    assert count_fields(raw, onnx.ModelProto.DESCRIPTOR) is None
    with pytest.raises(OnnxFileInvalid, match="no ONNX file"):
        decode_network(raw, Pixels())
