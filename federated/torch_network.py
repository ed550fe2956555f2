"""The network of an architecture in PyTorch, to be trained: its layers in their graph, as they are.

It takes normalized samples [N, *input_shape]. With batch normalization every convolution has one
behind it, which is folded into the convolution when the network becomes a `FloatModel`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from federated.float_layers import is_relu
from federated.float_model import FloatModel
from kernels.numpy_types import Float32Array
from prover.model.layers import Layer, Linear
from prover.model.network import Architecture
from prover.model.planes import Conv2d, Window
from prover.model.pooling import Flatten, MaxPool, SumPool


class TorchNetwork(torch.nn.Module):
    """The layers of an architecture with ReLU where they clamp at 0."""

    def __init__(
        self,
        architecture: Architecture,
        generator: torch.Generator,
        *,
        mean: float,
        std: float,
        batch_norm: bool = False,
    ) -> None:
        """Weights from the generator alone. mean, std : of the samples it will see."""
        super().__init__()
        self.architecture, self.mean, self.std = architecture, mean, std
        self.tensors = torch.nn.ModuleDict()
        self.norms = torch.nn.ModuleDict()
        for index, layer in enumerate(architecture.layers):
            module = _build(layer, architecture.weight_shapes[index], generator)
            if module is not None:
                self.tensors[str(index)] = module
            if batch_norm and isinstance(layer, Conv2d):
                self.norms[str(index)] = torch.nn.BatchNorm2d(layer.n_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values = [x]
        for index, layer in enumerate(self.architecture.layers):
            z = self._compute(index, layer, [values[value] for value in layer.inputs])
            values.append(torch.relu(z) if is_relu(layer.requant) else z)
        return values[-1]

    def normalize(self, images: torch.Tensor) -> torch.Tensor:
        """What the network sees of pixels, uint8[N, ...]: float32[N, *input_shape]."""
        shaped = images.reshape(len(images), *self.architecture.input_shape)
        return (shaped.to(torch.float32) / 255.0 - self.mean) / self.std

    def load(self, model: FloatModel) -> None:
        """Overwrites every parameter; there must be no batch normalization."""
        with torch.no_grad():
            for name, module in self.tensors.items():
                module.weight.copy_(torch.from_numpy(model.weights[int(name)]))
                module.bias.copy_(torch.from_numpy(model.biases[int(name)]))

    def to_model(self, record: dict[str, Any]) -> FloatModel:
        """Its parameters, batch normalization folded in."""
        empty = np.zeros(0, dtype=np.float32)
        n_layers = len(self.architecture.layers)
        weights, biases = [empty] * n_layers, [empty] * n_layers
        for name, module in self.tensors.items():
            w, b = module.weight.detach(), module.bias.detach()
            if name in self.norms:
                w, b = _fold(w, b, self.norms[name])
            weights[int(name)], biases[int(name)] = _to_array(w), _to_array(b)
        return FloatModel(
            architecture=self.architecture,
            weights=tuple(weights),
            biases=tuple(biases),
            mean=self.mean,
            std=self.std,
            record=record,
        )

    def _compute(self, index: int, layer: Layer, values: Sequence[torch.Tensor]) -> torch.Tensor:
        """z of a layer."""
        x = values[0]
        if isinstance(layer, Linear):
            return self.tensors[str(index)](x)
        if isinstance(layer, Conv2d):
            z = self.tensors[str(index)](self._pad(x, layer))
            if str(index) in self.norms:
                z = self.norms[str(index)](z)
            return z + values[1] if layer.has_skip else z
        if isinstance(layer, SumPool):
            return functional.avg_pool2d(x, layer.window.kernel, layer.window.stride)
        if isinstance(layer, MaxPool):
            around = functional.pad(x, _sides(layer.window), value=-math.inf)
            return functional.max_pool2d(around, layer.window.kernel, layer.window.stride)
        if isinstance(layer, Flatten):
            return x.flatten(1)
        return x + values[1]

    def _pad(self, x: torch.Tensor, layer: Conv2d) -> torch.Tensor:
        """The planes with what is around them: zeros, but pixels around samples."""
        if not any(layer.window.pads):
            return x
        if layer.inputs[0] != 0:
            return functional.pad(x, _sides(layer.window))
        pixels = layer.pad_values or (0,) * x.shape[1]
        border = (torch.tensor(pixels) / 255.0 - self.mean) / self.std
        border = border.to(x.dtype)[:, None, None]
        return functional.pad(x - border, _sides(layer.window)) + border


def _build(
    layer: Layer, shape: tuple[int, ...], generator: torch.Generator
) -> torch.nn.Module | None:
    """The layer's parameters, Kaiming-uniform; None for a layer without."""
    module: torch.nn.Module
    if isinstance(layer, Linear):
        module = torch.nn.utils.skip_init(torch.nn.Linear, shape[1], shape[0])
    elif isinstance(layer, Conv2d):
        module = torch.nn.utils.skip_init(
            torch.nn.Conv2d, shape[1], shape[0], layer.window.kernel, stride=layer.window.stride
        )
    else:
        return None
    bound = 1 / math.sqrt(math.prod(shape[1:]))
    with torch.no_grad():
        module.weight.uniform_(-bound, bound, generator=generator)
        module.bias.uniform_(-bound, bound, generator=generator)
    return module


def _sides(window: Window) -> tuple[int, int, int, int]:
    """Pads in the order of torch: left, right, top, bottom."""
    top, left, bottom, right = window.pads
    return left, right, top, bottom


def _fold(
    w: torch.Tensor, b: torch.Tensor, norm: torch.nn.Module
) -> tuple[torch.Tensor, torch.Tensor]:
    """A convolution that does what it and the normalization behind it do once trained."""
    scale = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
    folded = (b - norm.running_mean) * scale + norm.bias.detach()
    return w * scale[:, None, None, None], folded


def _to_array(tensor: torch.Tensor) -> Float32Array:
    found: Float32Array = tensor.contiguous().numpy().copy()
    return found
