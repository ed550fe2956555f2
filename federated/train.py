"""Training of a float MLP with PyTorch, deterministic from a seed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from federated.errors import FloatModelInvalid
from federated.float_model import FloatModel
from kernels.numpy_types import UInt8Array

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """How to train; the same settings, data and threads give the same bytes on one machine."""

    epochs: int = 15
    batch_size: int = 128
    learning_rate: float = 3e-3  # at the start; falls to zero as half a cosine
    weight_decay: float = 1e-2
    seed: int = 0
    threads: int = 1  # batches are so small that a second thread costs more than it brings
    max_shift: int = 0  # each time a square image is seen, it is moved by up to so many pixels

    def __post_init__(self) -> None:
        if self.max_shift < 0:
            raise ValueError("max_shift must not be negative")
        for name in ("epochs", "batch_size", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")


def train(
    images: UInt8Array,
    labels: UInt8Array,
    sizes: tuple[int, ...],
    settings: TrainSettings,
    progress: Progress,
    *,
    start: FloatModel | None = None,
    record: dict[str, Any] | None = None,
) -> FloatModel:
    """Fits an MLP by AdamW on cross-entropy; progress("training", epochs done, epochs).

    images : uint8[N, sizes[0]], square when they are to be shifted; labels : uint8[N] below
             sizes[-1]
    start  : a model to go on from, with its mean and std; default: random weights, and mean and
             std of these images. Raises FloatModelInvalid when its widths differ.
    """
    torch.set_num_threads(settings.threads)
    mean, std = _normalization(images) if start is None else (start.mean, start.std)
    generator = torch.Generator().manual_seed(settings.seed)
    network = _build_network(sizes, generator)
    if start is not None:
        _load_model(network, start, sizes)
    x = (torch.from_numpy(images.astype(np.float32)) / 255.0 - mean) / std
    y = torch.from_numpy(labels.astype(np.int64))
    n_steps = settings.epochs * math.ceil(len(y) / settings.batch_size)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=n_steps)
    n_shift = settings.max_shift
    progress("training", 0, settings.epochs)
    for epoch in range(settings.epochs):
        order = torch.randperm(len(y), generator=generator)
        for batch in order.split(settings.batch_size):
            optimizer.zero_grad()
            seen = x[batch] if not n_shift else _shift(x[batch], n_shift, -mean / std, generator)
            loss = torch.nn.functional.cross_entropy(network(seen), y[batch])
            loss.backward()
            optimizer.step()
            schedule.step()
        progress("training", epoch + 1, settings.epochs)
    return _to_model(network, sizes, mean, std, {**(record or {}), "settings": asdict(settings)})


def draw_model(sizes: tuple[int, ...], *, mean: float, std: float, seed: int = 0) -> FloatModel:
    """A network before any training; the same sizes and seed give the same one everywhere."""
    network = _build_network(sizes, torch.Generator().manual_seed(seed))
    return _to_model(network, sizes, mean, std, {})


def _shift(
    x: torch.Tensor, most: int, background: float, generator: torch.Generator
) -> torch.Tensor:
    """Each image of x, float32[N, side * side], moved by -most to most pixels along both axes."""
    n, side = len(x), math.isqrt(x.shape[1])
    padded = torch.nn.functional.pad(x.view(n, side, side), (most,) * 4, value=background)
    corners = torch.randint(0, 2 * most + 1, (2, n, 1), generator=generator)
    rows, columns = torch.arange(side) + corners
    moved = padded[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return moved.reshape(n, -1)


def _normalization(images: UInt8Array) -> tuple[float, float]:
    """Mean and standard deviation of pixel / 255, rounded as such constants are usually written."""
    scaled = images.astype(np.float64) / 255.0
    return round(float(scaled.mean()), 4), max(round(float(scaled.std()), 4), 1e-4)


def _build_network(sizes: tuple[int, ...], generator: torch.Generator) -> torch.nn.Sequential:
    """Linear layers with ReLU between them; Kaiming-uniform start from the generator alone."""
    modules: list[torch.nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        linear = torch.nn.utils.skip_init(torch.nn.Linear, n_in, n_out)
        bound = 1 / math.sqrt(n_in)
        with torch.no_grad():
            linear.weight.uniform_(-bound, bound, generator=generator)
            linear.bias.uniform_(-bound, bound, generator=generator)
        modules += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*modules[:-1])


def _load_model(network: torch.nn.Sequential, model: FloatModel, sizes: tuple[int, ...]) -> None:
    """Overwrites every parameter of the network."""
    if model.sizes != sizes:
        raise FloatModelInvalid(f"its widths are {model.name}; start from one of {sizes}")
    linears = [m for m in network if isinstance(m, torch.nn.Linear)]
    with torch.no_grad():
        for linear, w, b in zip(linears, model.weights, model.biases, strict=True):
            linear.weight.copy_(torch.from_numpy(w))
            linear.bias.copy_(torch.from_numpy(b))


def _to_model(
    network: torch.nn.Sequential,
    sizes: tuple[int, ...],
    mean: float,
    std: float,
    record: dict[str, Any],
) -> FloatModel:
    linears = [m for m in network if isinstance(m, torch.nn.Linear)]
    return FloatModel(
        sizes=sizes,
        weights=tuple(m.weight.detach().numpy().copy() for m in linears),
        biases=tuple(m.bias.detach().numpy().copy() for m in linears),
        mean=mean,
        std=std,
        record=record,
    )
