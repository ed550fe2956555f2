"""A client's own PyTorch network: what of it a circuit proves, and its parameters both ways.

A task fixes the network's architecture, since models of one shape have a mean and one key proves
them all: fully connected layers with ReLU between them. How it is trained is its owner's affair.
The network sees pixels as the task normalizes them, see `normalize`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch

from federated.errors import NetworkUnsupported
from federated.float_model import FloatModel
from federated.task_scales import TaskScales
from kernels.numpy_types import Float32Array
from prover.model.network import Architecture

PASSIVE = (torch.nn.Flatten, torch.nn.Identity, torch.nn.Dropout)
"""Modules that change no sample once a network is trained."""


def describe_supported(architecture: Architecture) -> str:
    """The one network of a task, as it is written in PyTorch."""
    if not architecture.is_mlp:
        return f"{architecture.name}: its layers are trained from samples, by the task's own recipe"
    sizes = [shape[0] for shape in architecture.shapes]
    layers = ", ReLU(), ".join(f"Linear({a}, {b})" for a, b in pairwise(sizes))
    return (
        f"{architecture.name}: a torch.nn.Sequential of {layers}, each Linear with a bias; "
        "Flatten, Identity and Dropout may stand between them"
    )


def require_supported(network: torch.nn.Module, architecture: Architecture) -> None:
    """NetworkUnsupported for a network that the task's circuit does not prove; says what does."""
    find_layers(network, architecture)


def find_layers(network: torch.nn.Module, architecture: Architecture) -> list[torch.nn.Linear]:
    """Its fully connected layers in order. Raises NetworkUnsupported."""
    supported = describe_supported(architecture)
    if not architecture.is_mlp:
        raise NetworkUnsupported("cannot stand for layers that are not linear", supported)
    modules = list(_flatten(network, type(network).__name__, supported))
    linears = [module for _, module in modules if isinstance(module, torch.nn.Linear)]
    kinds = "".join("L" if isinstance(m, torch.nn.Linear) else "R" for _, m in modules)
    n_layers = len(architecture.layers)
    found = [tuple(linear.weight.shape) for linear in linears]
    if found != [tuple(shape) for shape in architecture.weight_shapes]:
        text = ", ".join(f"Linear({n_in}, {n_out})" for n_out, n_in in found) or "no Linear"
        raise NetworkUnsupported(f"has {text}", supported)
    if kinds != "R".join("L" * n_layers):
        raise NetworkUnsupported(
            "has not exactly one ReLU after each Linear but the last", supported
        )
    for name, module in modules:
        if isinstance(module, torch.nn.Linear) and module.bias is None:
            raise NetworkUnsupported(f"has no bias in {name}", supported)
    return linears


def read_network(
    network: torch.nn.Module, architecture: Architecture, scales: TaskScales
) -> FloatModel:
    """Its parameters, wherever they are and of whatever float type. Raises NetworkUnsupported."""
    linears = find_layers(network, architecture)
    model = FloatModel(
        architecture=architecture,
        weights=tuple(_read(linear.weight) for linear in linears),
        biases=tuple(_read(linear.bias) for linear in linears),
        mean=scales.mean,
        std=scales.std,
        record={},
    )
    if not all(np.isfinite(x).all() for x in (*model.weights, *model.biases)):
        raise NetworkUnsupported(
            "has a parameter that is no finite number: train it with a smaller learning rate",
            describe_supported(architecture),
        )
    return model


def write_network(network: torch.nn.Module, model: FloatModel, architecture: Architecture) -> None:
    """Overwrites every parameter by the model's, in place. Raises NetworkUnsupported."""
    linears = find_layers(network, architecture)
    with torch.no_grad():
        for linear, w, b in zip(linears, model.weights, model.biases, strict=True):
            linear.weight.copy_(torch.from_numpy(w))
            linear.bias.copy_(torch.from_numpy(b))


def normalize(images: torch.Tensor, scales: TaskScales) -> torch.Tensor:
    """What a network of the task sees of pixels from 0 to 255: float32 of the same shape."""
    return (images.to(torch.float32) / 255.0 - scales.mean) / scales.std


def _flatten(
    module: torch.nn.Module, name: str, supported: str
) -> Iterator[tuple[str, torch.nn.Module]]:
    """The modules that count, by their names, out of however many Sequentials."""
    if type(module) is torch.nn.Sequential:
        for child, one in module.named_children():
            yield from _flatten(one, f"{name}.{child}", supported)
    elif type(module) in (torch.nn.Linear, torch.nn.ReLU):
        yield name, module
    elif type(module) not in PASSIVE:
        # A subclass may compute something else than what it is called.
        raise NetworkUnsupported(f"has a {type(module).__name__} ({name})", supported)


def _read(parameter: torch.Tensor) -> Float32Array:
    found: Float32Array = parameter.detach().cpu().to(torch.float32).numpy().copy()
    return found
