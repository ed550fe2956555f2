"""Many networks of linear layers at once: one row of parameters each, trained by batched products.

A row has the order of `FloatModel`: layer by layer the weights, row-major, then the biases. Samples
are float32, normalized as the start of the round says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from federated.data import LabeledImages
from federated.float_model import FloatModel
from kernels.numpy_types import Float32Array
from prover.model.network import Architecture

_AT_ONCE = 16  # networks: so many of the widths here stay in a processor's cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How every client trains in a round: plain SGD on its own samples, in an order it draws."""

    n_epochs: int
    batch_size: int
    learning_rate: float


def split_layers(
    rows: torch.Tensor, architecture: Architecture
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Views of rows [..., P] as weights [..., out, in] and biases [..., out] of each layer."""
    layers, at = [], 0
    for (n_out, n_in), _ in zip(architecture.weight_shapes, architecture.bias_shapes, strict=True):
        middle, end = at + n_out * n_in, at + n_out * n_in + n_out
        weights = rows[..., at:middle].unflatten(-1, (n_out, n_in))
        layers.append((weights, rows[..., middle:end]))
        at = end
    return layers


def normalize(samples: LabeledImages, start: FloatModel) -> tuple[torch.Tensor, torch.Tensor]:
    """What networks see of samples, float32[N, d], and their labels, int64[N]."""
    seen = start.normalize(samples.images.astype(np.float32)).astype(np.float32)
    return torch.from_numpy(seen), torch.from_numpy(samples.labels.astype(np.int64))


def denormalize(seen: torch.Tensor, start: FloatModel) -> Float32Array:
    """Pixels from 0 to 255 of what networks see, clipped to that range."""
    pixels = (seen * start.std + start.mean) * 255.0
    found: Float32Array = pixels.clamp(0.0, 255.0).numpy()
    return found


def train_stack(
    start: torch.Tensor,
    architecture: Architecture,
    x: torch.Tensor,
    y: torch.Tensor,
    members: torch.Tensor,
    schedule: Schedule,
    generator: torch.Generator,
) -> torch.Tensor:
    """float32[T, P]: T networks, each trained from the start [P] on its own samples.

    x, y    : float32[N, d], int64[N]; members : int64[T, m], the samples of each
    """
    rows = start.repeat(len(members), 1)
    for first in range(0, len(members), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        _fit(rows[part], architecture, x[members[part]], y[members[part]], schedule, generator)
    return rows


def compute_logits(rows: torch.Tensor, architecture: Architecture, x: torch.Tensor) -> torch.Tensor:
    """float32[T, N, n_classes] of samples [N, d] that all networks [T, P] see."""
    layers = split_layers(rows, architecture)
    return _run(layers, x.expand(len(rows), *x.shape))[-1]


def compute_alignment(
    updates: torch.Tensor,
    start: torch.Tensor,
    architecture: Architecture,
    x: torch.Tensor,
    y: torch.Tensor,
) -> torch.Tensor:
    """float32[T, N]: how far each update [T, P] goes where a sample's loss falls fastest.

    It is -<update, gradient of the sample's loss at the start>: for small steps what the update did
    to that loss, and a sum over the update's samples, so members stand out.
    """
    layers = split_layers(start, architecture)
    values = _run(layers, x)
    changes = split_layers(updates, architecture)
    delta = torch.softmax(values[-1], dim=-1) - functional.one_hot(y, values[-1].shape[-1])
    total = torch.zeros(len(updates), len(x))
    for index in reversed(range(len(layers))):
        weights, biases = changes[index]
        moved = values[index] @ weights.transpose(1, 2) + biases[:, None]
        total -= (moved * delta).sum(-1)
        delta = (delta @ layers[index][0]) * (values[index] > 0)
    return total


def _fit(
    rows: torch.Tensor,
    architecture: Architecture,
    x: torch.Tensor,
    y: torch.Tensor,
    schedule: Schedule,
    generator: torch.Generator,
) -> None:
    """In place; x : [T, m, d], y : [T, m]."""
    layers = split_layers(rows, architecture)
    n_models, n_samples = y.shape
    every = torch.arange(n_models)[:, None]
    for _ in range(schedule.n_epochs):
        order = torch.rand(n_models, n_samples, generator=generator).argsort(1)
        for batch in order.split(schedule.batch_size, dim=1):
            _step(layers, x[every, batch], y[every, batch], schedule.learning_rate)


def _step(
    layers: list[tuple[torch.Tensor, torch.Tensor]], x: torch.Tensor, y: torch.Tensor, rate: float
) -> None:
    """One step on the mean loss of each network's batch."""
    values = _run(layers, x)
    logits = values[-1]
    delta = torch.softmax(logits, dim=-1) - functional.one_hot(y, logits.shape[-1])
    delta = delta / x.shape[1]
    for index in reversed(range(len(layers))):
        weights, biases = layers[index]
        below = (delta @ weights) * (values[index] > 0) if index else delta
        weights.baddbmm_(delta.transpose(1, 2), values[index], alpha=-rate)
        biases.sub_(delta.sum(1), alpha=rate)
        delta = below


def _run(layers: list[tuple[torch.Tensor, torch.Tensor]], x: torch.Tensor) -> list[torch.Tensor]:
    """The samples and the output of every layer, after ReLU; last: logits."""
    values = [x]
    for index, (weights, biases) in enumerate(layers):
        z = values[-1] @ weights.transpose(-1, -2) + biases[..., None, :]
        values.append(torch.relu(z) if index + 1 < len(layers) else z)
    return values
