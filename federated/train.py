"""Training of float networks with PyTorch, deterministic from a seed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch

from federated.errors import FloatModelInvalid
from federated.float_model import FloatModel, is_same_network
from federated.torch_network import TorchNetwork
from kernels.numpy_types import UInt8Array
from prover.model.layers import Shape
from prover.model.network import Architecture
from prover.model.planes import Conv2d
from prover.model.samples import shape_samples

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """How to train; the same settings, data and threads give the same bytes on one machine."""

    epochs: int = 15
    batch_size: int = 128
    optimizer: Literal["adamw", "sgd"] = "adamw"  # sgd: with Nesterov's momentum of 0.9
    learning_rate: float = 3e-3  # at its height; falls to zero as half a cosine
    warm_up: float = 0.0  # share of the steps in which the rate rises to its height
    weight_decay: float = 1e-2
    seed: int = 0
    threads: int = 1  # batches are so small that a second thread costs more than it brings
    max_shift: int = 0  # each time a square image is seen, it is moved by up to so many pixels
    flip: bool = False  # and mirrored, left to right, every other time
    batch_norm: bool = False  # behind every convolution
    bfloat16: bool = False  # products in half precision, which some processors do much faster

    def __post_init__(self) -> None:
        if self.max_shift < 0:
            raise ValueError("max_shift must not be negative")
        if not 0 <= self.warm_up < 1:
            raise ValueError("warm_up must be below 1, and not negative")
        for name in ("epochs", "batch_size", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")


_AT_ONCE = 1 << 22  # pixels
DEEP = 8
"""Convolutions from which on a network counts as deep."""


def suggest_settings(architecture: Architecture) -> TrainSettings:
    """Settings that do well for a network of this kind. Colours are taken for photographs, which
    mean the same when mirrored; shades of gray are not."""
    n_convolutions = sum(isinstance(layer, Conv2d) for layer in architecture.layers)
    if not n_convolutions:
        return TrainSettings()
    is_photograph = architecture.input_shape[0] > 1
    shift = 4 if is_photograph else 2
    if n_convolutions < DEEP:
        return TrainSettings(epochs=20, max_shift=shift, flip=is_photograph, batch_norm=True)
    return TrainSettings(
        epochs=30,
        optimizer="sgd",
        learning_rate=0.2,
        warm_up=0.12,
        weight_decay=5e-4,
        max_shift=shift,
        flip=is_photograph,
        batch_norm=True,
        bfloat16=True,
    )


def train(
    images: UInt8Array,
    labels: UInt8Array,
    architecture: Architecture,
    settings: TrainSettings,
    progress: Progress,
    *,
    start: FloatModel | None = None,
    record: dict[str, Any] | None = None,
) -> FloatModel:
    """Fits a network on cross-entropy; progress("training", epochs done, epochs).

    images : uint8[N, ...] of the architecture's input shape or flat, square planes when they are to
             be shifted or mirrored; labels : uint8[N] below its classes
    start  : a model to go on from, with its mean and std, without batch normalization; default:
             random weights, and mean and std of these images. Raises FloatModelInvalid when it is
             of another network.
    """
    torch.set_num_threads(settings.threads)
    mean, std = _normalization(images) if start is None else (start.mean, start.std)
    generator = torch.Generator().manual_seed(settings.seed)
    network = TorchNetwork(
        architecture,
        generator,
        mean=mean,
        std=std,
        batch_norm=settings.batch_norm and start is None,
    )
    if start is not None:
        if not is_same_network(start.architecture, architecture):
            raise FloatModelInvalid(f"it is {start.name}; start from {architecture.name}")
        network.load(start)
    x = torch.from_numpy(np.array(shape_samples(images, architecture.input_shape)))
    y = torch.from_numpy(labels.astype(np.int64))
    _fit(network, x, y, settings, generator, progress)
    return network.to_model({**(record or {}), "settings": asdict(settings)})


def draw_model(architecture: Architecture, *, mean: float, std: float, seed: int = 0) -> FloatModel:
    """A network before any training; the same architecture and seed give the same everywhere."""
    generator = torch.Generator().manual_seed(seed)
    return TorchNetwork(architecture, generator, mean=mean, std=std).to_model({})


def _fit(
    network: TorchNetwork,
    x: torch.Tensor,
    y: torch.Tensor,
    settings: TrainSettings,
    generator: torch.Generator,
    progress: Progress,
) -> None:
    """Trains in place on pixels x, uint8[N, ...], and labels y, int64[N]."""
    has_planes = len(network.architecture.input_shape) == 3
    if has_planes:
        network.to(memory_format=torch.channels_last)
    n_steps = settings.epochs * math.ceil(len(y) / settings.batch_size)
    optimizer, schedule = _build_optimizer(network, settings, n_steps)
    network.train()
    progress("training", 0, settings.epochs)
    for epoch in range(settings.epochs):
        order = torch.randperm(len(y), generator=generator)
        for batch in order.split(settings.batch_size):
            seen = network.normalize(x[batch])
            if settings.max_shift or settings.flip:
                seen = augment(seen, settings, -network.mean / network.std, generator)
            if has_planes:
                seen = seen.contiguous(memory_format=torch.channels_last)
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=settings.bfloat16):
                logits = network(seen)
            loss = torch.nn.functional.cross_entropy(logits.to(torch.float32), y[batch])
            loss.backward()
            optimizer.step()
            schedule.step()
        progress("training", epoch + 1, settings.epochs)


def _build_optimizer(
    network: TorchNetwork, settings: TrainSettings, n_steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    optimizer: torch.optim.Optimizer
    how = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    if settings.optimizer == "adamw":
        optimizer = torch.optim.AdamW(network.parameters(), **how)
    else:
        optimizer = torch.optim.SGD(network.parameters(), momentum=0.9, nesterov=True, **how)
    n_up = round(n_steps * settings.warm_up)
    if not n_up:
        return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=n_steps)

    def height(step: int) -> float:
        if step < n_up:
            return (step + 1) / n_up
        return (1 + math.cos(math.pi * (step - n_up) / (n_steps - n_up))) / 2

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, height)


def augment(
    x: torch.Tensor, settings: TrainSettings, background: float, generator: torch.Generator
) -> torch.Tensor:
    """Each image of x, float32[N, *input_shape], moved along both axes, and mirrored or not.

    background : stands where nothing was
    """
    n, most = len(x), settings.max_shift
    channels, height, width = _find_planes(tuple(x.shape[1:]))
    planes = x.reshape(n, channels, height, width)
    padded = torch.nn.functional.pad(planes, (most,) * 4, value=background)
    corners = torch.randint(0, 2 * most + 1, (2, n, 1), generator=generator)
    rows, columns = torch.arange(height) + corners[0], torch.arange(width) + corners[1]
    if settings.flip:
        is_mirrored = torch.rand(n, 1, generator=generator) < 0.5
        columns = torch.where(is_mirrored, columns.flip(1), columns)
    moved = padded[torch.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2).reshape(x.shape)


def _find_planes(shape: Shape) -> tuple[int, int, int]:
    """Channels, height and width of a sample; a vector is taken for one square plane."""
    if len(shape) == 3:
        return shape[0], shape[1], shape[2]
    side = math.isqrt(math.prod(shape))
    return 1, side, side


def _normalization(images: UInt8Array) -> tuple[float, float]:
    """Mean and standard deviation of pixel / 255, rounded as such constants are usually written."""
    pixels = images.reshape(-1)
    counts = np.zeros(256)
    for start in range(0, len(pixels), _AT_ONCE):
        counts += np.bincount(pixels[start : start + _AT_ONCE], minlength=256)
    counts /= len(pixels)
    scaled = np.arange(256) / 255.0
    mean = float(counts @ scaled)
    std = math.sqrt(float(counts @ (scaled - mean) ** 2))
    return round(mean, 4), max(round(std, 4), 1e-4)
