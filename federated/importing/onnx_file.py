"""Reading ONNX files of strangers: bounded, parsed as data only, checked before use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from federated.errors import OnnxFileInvalid, OperatorUnsupported
from federated.importing.fields import MAX_FIELDS, count_fields
from federated.importing.names import show
from federated.importing.tensors import Array, read_tensor

MAX_FILE_BYTES = 1 << 29
MAX_NODES = 1 << 13
MAX_TENSORS = 1 << 14
MAX_NAMES = 1 << 16  # that nodes take and make
MIN_OPSET = 11
STANDARD_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True, slots=True, eq=False)
class OnnxModel:
    """A checked graph and its constants.

    graph     : nodes, inputs and outputs; its initializers are emptied
    constants : the initializers by name
    opset     : version of the standard operators
    folder    : where external data may lie
    """

    graph: Any
    constants: dict[str, Array]
    opset: int
    folder: Path | None


def load_onnx(path: Path, supported: frozenset[str]) -> OnnxModel:
    """The model of a file. Raises OnnxFileInvalid, OperatorUnsupported; OSError."""
    with path.open("rb") as stream:
        raw = stream.read(MAX_FILE_BYTES + 1)
    return parse_onnx(raw, supported, path.parent)


def parse_onnx(raw: bytes, supported: frozenset[str], folder: Path | None = None) -> OnnxModel:
    """The model of a byte string; total: a model, or one of the errors of `load_onnx`.

    supported : operators, as `Conv` or, of another domain, `com.microsoft.QGemm`
    folder    : where external data may lie
    cost      : a small multiple of the bytes, of the file and of its external data
    """
    if len(raw) > MAX_FILE_BYTES:
        raise OnnxFileInvalid(f"it is larger than {MAX_FILE_BYTES} bytes", "take a smaller network")
    n_fields = count_fields(raw, onnx.ModelProto.DESCRIPTOR)
    if n_fields is not None and n_fields > MAX_FIELDS:
        raise OnnxFileInvalid(f"it has more than {MAX_FIELDS} fields", "take a smaller network")
    try:
        if n_fields is None:
            raise DecodeError("no message")
        model = onnx.ModelProto.FromString(raw)
    except (DecodeError, ValueError) as error:
        raise OnnxFileInvalid("it is no ONNX file, or it is cut off", "export it again") from error
    _require_form(model)
    opset = _find_opset(model)
    _require_operators(model.graph, supported)
    constants = _read_constants(model.graph, folder)
    _check(model)
    return OnnxModel(graph=model.graph, constants=constants, opset=opset, folder=folder)


def name_operator(node: Any) -> str:
    """`Conv`, or with the domain where it is not the standard's."""
    if node.domain in STANDARD_DOMAINS:
        return str(node.op_type)
    return f"{node.domain}.{node.op_type}"


def name_node(node: Any) -> str:
    """The node's name, or what it makes where it has none."""
    if node.name:
        return show(node.name)
    return f"that makes {show(node.output[0] if node.output else '')}"


def _require_form(model: Any) -> None:
    graph = model.graph
    if not graph.node or not graph.output:
        raise OnnxFileInvalid("it holds no graph", "give a model that an exporter wrote")
    if model.functions:
        raise OnnxFileInvalid(
            "it holds functions of its own",
            "inline them with onnx.inliner.inline_local_functions, or export with optimize=True",
        )
    if len(graph.node) > MAX_NODES or len(graph.initializer) > MAX_TENSORS:
        raise OnnxFileInvalid(
            f"it has more than {MAX_NODES} nodes or {MAX_TENSORS} tensors", "take a smaller network"
        )
    if sum(len(node.input) + len(node.output) for node in graph.node) > MAX_NAMES:
        raise OnnxFileInvalid(
            f"its nodes take more than {MAX_NAMES} values", "take a smaller network"
        )
    if graph.sparse_initializer:
        raise OnnxFileInvalid("it holds sparse tensors", "export it with dense weights")


def _find_opset(model: Any) -> int:
    versions = [x.version for x in model.opset_import if x.domain in STANDARD_DOMAINS]
    newest = onnx.defs.onnx_opset_version()
    if len(versions) != 1 or not MIN_OPSET <= versions[0] <= newest:
        found = versions[0] if len(versions) == 1 else "none"
        raise OnnxFileInvalid(
            f"its opset is {found}, and {MIN_OPSET} to {newest} are read",
            f"export it with an opset from {MIN_OPSET} to {newest}",
        )
    return int(versions[0])


def _require_operators(graph: Any, supported: frozenset[str]) -> None:
    for node in graph.node:
        operator = name_operator(node)
        if operator not in supported:
            raise OperatorUnsupported(
                operator=show(operator).strip("'"),
                node=name_node(node),
                supported=sorted(supported),
            )


def _read_constants(graph: Any, folder: Path | None) -> dict[str, Array]:
    """Initializers; the sum of their sizes is bounded by the bytes they were read from."""
    found: dict[str, Array] = {}
    n_bytes = 0
    for tensor in graph.initializer:
        found[tensor.name] = array = read_tensor(tensor, folder)
        n_bytes += array.nbytes
        if n_bytes > MAX_FILE_BYTES:
            raise OnnxFileInvalid(
                f"its tensors have more than {MAX_FILE_BYTES} bytes", "take a smaller network"
            )
    return found


def _check(model: Any) -> None:
    """The standard's own checker. It sees no initializer's numbers, which have been read: they
    would be copied for it."""
    for tensor in model.graph.initializer:
        _empty(tensor)
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        text = show(str(error).strip().splitlines()[0] if str(error).strip() else "no reason")
        raise OnnxFileInvalid(f"the ONNX checker refuses it: {text}", "export it again") from error


def _empty(tensor: Any) -> None:
    """A tensor of no numbers in place of one that was read."""
    for descriptor, _ in tensor.ListFields():
        if descriptor.name not in ("name", "data_type"):
            tensor.ClearField(descriptor.name)
    tensor.dims.append(0)
    tensor.raw_data = b""
