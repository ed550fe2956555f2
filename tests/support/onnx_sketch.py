"""Small ONNX graphs, written node by node."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from federated.importing.graph import Pixels
from federated.importing.importer import decode_network
from federated.importing.network import Network
from kernels.numpy_types import Float64Array, UInt8Array
from tests.support.imported import evaluate

SEED = 5


class Sketch:
    """A graph that grows: each call adds a node and returns the name of what it makes."""

    def __init__(self, *shape: int | str, opset: int = 17, kind: int = TensorProto.FLOAT) -> None:
        """shape : of the input x, the batch included"""
        self.shape, self.opset, self.kind = shape, opset, kind
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.rng = np.random.default_rng(SEED)

    def __call__(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        made = f"v{len(self.nodes)}"
        domain, _, kind = operator.rpartition(".")
        node = helper.make_node(kind, inputs, [made], name=name, domain=domain, **attributes)
        self.nodes.append(node)
        return made

    def const(self, array: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array, dtype=dtype), name))
        return name

    def ints(self, *numbers: int) -> str:
        return self.const(numbers, np.int64)

    def random(self, *shape: int) -> str:
        """A constant of normal numbers, small enough that nothing grows from layer to layer."""
        spread = 1 / np.sqrt(max(1, np.prod(shape[1:])))
        return self.const(self.rng.normal(scale=spread, size=shape))

    def conv(self, x: str, n_out: int, channels: int, side: int = 3, **attributes: Any) -> str:
        weight = self.random(n_out, channels, side, side)
        return self("Conv", x, weight, self.random(n_out), **attributes)

    def gemm(self, x: str, n_out: int, n_in: int) -> str:
        return self("Gemm", x, self.random(n_out, n_in), self.random(n_out), transB=1)

    def quantized(self, x: str, scale: float, zero: int = 0, kind: Any = np.uint8) -> str:
        """QuantizeLinear and DequantizeLinear."""
        grid = self.const(scale), self.const(zero, kind)
        return self("DequantizeLinear", self("QuantizeLinear", x, *grid), *grid)

    def model(self, output: str, *more: str) -> Any:
        given = helper.make_tensor_value_info("x", self.kind, self.shape)
        made = [helper.make_tensor_value_info(y, TensorProto.FLOAT, None) for y in (output, *more)]
        graph = helper.make_graph(self.nodes, "sketch", [given], made, self.constants)
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        model = onnx.shape_inference.infer_shapes(model)
        for made_value in model.graph.output:
            made_value.type.tensor_type.shape.SetInParent()  # the checker asks for one
        return model

    def raw(self, output: str) -> bytes:
        raw: bytes = self.model(output).SerializeToString()
        return raw

    def network(self, output: str, pixels: Pixels | None = None) -> Network:
        return decode_network(self.raw(output), pixels or Pixels())


def draw_images(network: Network, n: int = 6) -> UInt8Array:
    rng = np.random.default_rng(SEED)
    return rng.integers(0, 256, (n, *network.samples.shape)).astype(np.uint8)


def run_sketch(raw: bytes, network: Network, images: UInt8Array) -> Float64Array:
    """What onnxruntime answers, samples one by one, without optimizations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(raw, options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    kind = np.uint8 if "uint8" in given.type else np.float32
    fed = network.samples.feed(images).astype(kind)
    answers = [session.run(None, {given.name: fed[i : i + 1]})[0] for i in range(len(fed))]
    return np.concatenate(answers).reshape(len(images), -1).astype(np.float64)


def require_same(sketch: Sketch, output: str, pixels: Pixels | None = None) -> Network:
    """The network that is read computes what onnxruntime does."""
    network = sketch.network(output, pixels)
    images = draw_images(network)
    expected = run_sketch(sketch.raw(output), network, images)
    np.testing.assert_allclose(evaluate(network, images), expected, rtol=1e-4, atol=1e-4)
    return network


def load_model(raw: bytes) -> Any:
    return onnx.ModelProto.FromString(raw)
