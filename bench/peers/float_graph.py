"""A quantized network in real numbers, as peers take it: nodes that their own Python writes.

With value v of the integer model standing for v / scale: samples for x / 255, what a layer
requantizes for y / 255, a sum of a window for its average. Weights are the integers before
rounding, so logits agree up to rounding and what is greatest stays the greatest. An activation's
upper end is left out, where a trained network hardly ever is.

`write_graph` makes, in a folder, network.json {input, output, nodes: [{op, inputs, outputs,
attributes}]}, network.npz (the tensors, labels) and input.json {input_data: [pixels]}.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import Unavailable
from kernels.numpy_types import Float32Array, UInt8Array
from prover.model.layers import Layer, Linear, Multiplier
from prover.model.network import Architecture, QuantizedModel
from prover.model.planes import Conv2d
from prover.model.pooling import Add, Flatten, MaxPool, SumPool

PIXEL_MAX = 255
WEIGHT_MAX = 127
# Written out, all of them: jstprove knows no defaults.
GEMM: dict[str, Any] = {"alpha": 1.0, "beta": 1.0, "transB": 1}
CONV: dict[str, Any] = {"dilations": [1, 1], "group": 1}
MAX_POOL: dict[str, Any] = {"dilations": [1, 1], "ceil_mode": 0}
Channels = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(slots=True)
class FloatGraph:
    """Nodes in order, by the names of values ("v0" are the samples), and their tensors.

    scales : per value of the architecture, what integers of it are divided by
    """

    nodes: list[dict[str, Any]] = field(default_factory=list)
    tensors: dict[str, Float32Array] = field(default_factory=dict)
    scales: list[float] = field(default_factory=lambda: [float(PIXEL_MAX)])

    def add(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(
            {"op": op, "inputs": inputs, "outputs": [output], "attributes": attributes}
        )
        return output

    def keep(self, name: str, values: Any) -> str:
        self.tensors[name] = np.asarray(values, dtype=np.float32)
        return name


def make_graph(model: QuantizedModel) -> FloatGraph:
    """The network in real numbers. Raises Unavailable for what peers are not asked to do."""
    graph = FloatGraph()
    for index, layer in enumerate(model.architecture.layers):
        values = [f"v{value}" for value in layer.inputs]
        scales = [graph.scales[value] for value in layer.inputs]
        weights = (model.weights[index], model.biases[index])
        graph.scales.append(_add_layer(graph, index, layer, values, scales, weights))
    return graph


def _add_layer(
    graph: FloatGraph,
    index: int,
    layer: Layer,
    values: list[str],
    scales: list[float],
    weights: tuple[Any, Any],
) -> float:
    """Adds a layer's nodes, the last of which makes v(index + 1); returns the scale of that."""
    output = f"v{index + 1}"
    match layer:
        case Linear():
            _add_product(graph, index, layer, values, scales, weights, op="Gemm", **GEMM)
            return _output_scale(layer, scales[0])
        case Conv2d():
            if any(layer.pad_values):
                raise Unavailable("a border that is not zero has no node in ONNX")
            window = _window(layer.window)
            _add_product(graph, index, layer, values, scales, weights, op="Conv", **CONV, **window)
            return _output_scale(layer, scales[0])
        case SumPool():
            window = _window(layer.window)
            graph.add("AveragePool", values, output, **window)
            return scales[0] * layer.window.area
        case MaxPool():
            graph.add("MaxPool", values, output, **MAX_POOL, **_window(layer.window))
            return scales[0]
        case Flatten():
            graph.add("Flatten", values, output, axis=1)
            return scales[0]
        case Add():
            raise Unavailable("no peer is asked for layers of kind 'add'")
    raise Unavailable(f"no node for layers of kind {layer.kind!r}")


def _add_product(
    graph: FloatGraph,
    index: int,
    layer: Linear | Conv2d,
    values: list[str],
    scales: list[float],
    weights: tuple[Any, Any],
    *,
    op: str,
    **attributes: Any,
) -> None:
    """z = W x + b and its skip, then ReLU where the layer has one."""
    scale = _output_scale(layer, scales[0])
    step = np.ones(1) if layer.requant is None else _step(layer.requant.multiplier)
    if layer.requant is not None:
        step = step / (1 << layer.requant.shift)
    w, b = (tensor.astype(np.float64) for tensor in weights)
    per_output = step.reshape(-1, *(1,) * (w.ndim - 1))
    names = [
        graph.keep(f"w{index}", w * per_output * scales[0] / scale),
        graph.keep(f"b{index}", b * step / scale),
    ]
    is_clamped = layer.requant is not None and layer.requant.least == 0
    has_skip = isinstance(layer, Conv2d) and layer.has_skip
    made = graph.add(
        op,
        [values[0], *names],
        f"z{index}" if is_clamped or has_skip else f"v{index + 1}",
        **attributes,
    )
    if isinstance(layer, Conv2d) and layer.has_skip:
        factor = step * _step(layer.skip_scale) * scales[1] / scale
        name = graph.keep(f"s{index}", factor.reshape(1, -1, 1, 1))
        scaled = graph.add("Mul", [values[1], name], f"skip{index}")
        made = graph.add("Add", [made, scaled], f"sum{index}" if is_clamped else f"v{index + 1}")
    if is_clamped:
        graph.add("Relu", [made], f"v{index + 1}")


def _output_scale(layer: Linear | Conv2d, scale: float) -> float:
    return float(PIXEL_MAX) if layer.requant is not None else scale * WEIGHT_MAX


def _step(multiplier: Multiplier) -> Channels:
    return np.atleast_1d(np.asarray(multiplier, dtype=np.float64))


def _window(window: Any) -> dict[str, Any]:
    return {
        "kernel_shape": list(window.kernel),
        "strides": list(window.stride),
        "pads": list(window.pads),
    }


def take_maxima(model: QuantizedModel) -> QuantizedModel:
    """The same weights with maximum pools in place of sums, for peers that know no averages.

    Those maxima are smaller than sums, by the area of the window: so are the logits.
    """
    layers = [
        MaxPool(window=layer.window, inputs=layer.inputs) if isinstance(layer, SumPool) else layer
        for layer in model.architecture.layers
    ]
    architecture = Architecture.of(model.architecture.input_shape, layers)
    return replace(model, architecture=architecture)


def take_surest(
    model: QuantizedModel, images: UInt8Array, labels: UInt8Array, n: int
) -> tuple[UInt8Array, UInt8Array]:
    """The n samples whose two greatest logits lie furthest apart: rounding changes no class."""
    logits = np.sort(model.logits(images), axis=1)
    order = np.argsort(logits[:, -2] - logits[:, -1])[:n]
    return images[order], labels[order]


def write_graph(
    model: QuantizedModel, images: UInt8Array, labels: UInt8Array, folder: Path
) -> None:
    """The three files of the module's docstring, for a batch of these samples."""
    graph, last = make_graph(model), len(model.architecture.layers)
    described = {
        "input": ["v0", list(images.shape)],
        "output": [f"v{last}", [len(labels), model.architecture.n_classes]],
        "nodes": graph.nodes,
    }
    np.savez(folder / "network.npz", labels=labels, **graph.tensors)  # type: ignore[arg-type]
    (folder / "network.json").write_text(json.dumps(described))
    pixels = (images.reshape(-1) / PIXEL_MAX).tolist()
    (folder / "input.json").write_text(json.dumps({"input_data": [pixels]}))
