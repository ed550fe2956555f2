"""A float network of an imported one: the layers that calibration rounds to integers.

The file's normalization of pixels goes into the layer that the samples enter, which then sees
pixel / 255; around its planes stands the nearest pixel to what the file pads with.
"""

from __future__ import annotations

from math import inf
from typing import NoReturn

import numpy as np

from federated.errors import GraphUnsupported
from federated.float_model import FloatModel
from federated.importing.entrance import take_samples
from federated.importing.network import ENDLESS, Network, Node, Samples, sort_nodes
from kernels.numpy_types import Float32Array
from prover.model.layers import NO_PARAMETERS, SIGNED_RANGE, Layer, Linear, Requant
from prover.model.network import Architecture
from prover.model.planes import PIXEL_MAX, Conv2d
from prover.model.pooling import Add, Flatten, MaxPool, SumPool

_RELU = Requant()
_SIGNED = Requant(least=SIGNED_RANGE[0], greatest=SIGNED_RANGE[1])
_SCALE = 128  # of skips and additions, until calibration has found the right one


def take_floats(network: Network) -> FloatModel:
    """The float network, with scales to be found. Raises GraphUnsupported, ArchitectureInvalid."""
    numbers: dict[int, int] = {}
    layers: list[Layer] = []
    weights: list[Float32Array] = []
    biases: list[Float32Array] = []
    for node in sort_nodes(network.logits):
        if isinstance(node, Samples):
            numbers[id(node)] = 0
            continue
        inputs = tuple(numbers[id(each)] for each in node.inputs)
        weight, bias, pad_values = _take_parameters(node)
        layers.append(_make_layer(node, inputs, pad_values, is_last=node is network.logits))
        weights.append(weight)
        biases.append(bias)
        numbers[id(node)] = len(layers)
    return FloatModel(
        architecture=Architecture.of(network.samples.shape, layers),
        weights=tuple(weights),
        biases=tuple(biases),
        mean=0.0,
        std=1.0,
        record={},
    )


def _take_parameters(node: Node) -> tuple[Float32Array, Float32Array, tuple[int, ...]]:
    """Weights and biases, the entrance's as pixel / 255 sees them, and pixels around its planes."""
    if node.kind not in ("conv", "linear"):
        empty = np.zeros(NO_PARAMETERS, dtype=np.float32)
        return empty, empty, ()
    weight, bias = node.parameters
    values = weight.values
    pad_values: tuple[int, ...] = ()
    entered = take_samples(node)
    if entered is not None:
        values, pad_values = values * entered.gain * PIXEL_MAX, entered.pad_values
        bias = bias + entered.shift
    return values.astype(np.float32), bias.astype(np.float32), pad_values


def _make_layer(
    node: Node, inputs: tuple[int, ...], pad_values: tuple[int, ...], *, is_last: bool
) -> Layer:
    if node.kind == "conv":
        assert node.window is not None
        return Conv2d(
            n_out=node.shape[0],
            window=node.window,
            inputs=inputs,
            requant=_choose_requant(node),
            pad_values=pad_values,
            skip_scale=_SCALE if len(inputs) > 1 else 0,
        )
    if node.kind == "linear":
        requant = None if is_last else _choose_requant(node)
        return Linear(n_out=node.shape[0], inputs=inputs, requant=requant)
    if node.kind == "add":
        return Add(inputs=inputs, scales=(_SCALE, _SCALE), requant=_choose_requant(node))
    if node.kind == "flatten":
        return Flatten(inputs=inputs)
    assert node.window is not None or node.kind == "requantize"
    if node.kind == "max_pool" and node.window is not None:
        return MaxPool(window=node.window, inputs=inputs)
    if node.kind == "average_pool" and node.window is not None:
        return SumPool(window=node.window, inputs=inputs)
    _refuse(node, "clamps what others take unclamped, or a mean", "clamp behind each layer")


def _choose_requant(node: Node) -> Requant:
    if node.clamp == (0.0, inf):
        return _RELU
    if node.clamp == ENDLESS:
        return _SIGNED
    low, high = node.clamp
    _refuse(
        node,
        f"is clamped to [{low:g}, {high:g}]",
        "take ReLU, or quantize the file first (onnxruntime's quantize_static)",
    )


def _refuse(node: Node, what: str, next_step: str) -> NoReturn:
    raise GraphUnsupported(operator=node.operator, node=node.name, what=what, next_step=next_step)
