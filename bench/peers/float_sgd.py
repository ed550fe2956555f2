"""Plain SGD in float32, by NumPy: what integer SGD of the same batches is held against."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import sqrt

import numpy as np

from kernels.numpy_types import Float32Array, Int64Array, UInt8Array

Layers = list[tuple[Float32Array, Float32Array]]


def train_float(
    widths: Sequence[int],
    images: UInt8Array,
    labels: UInt8Array,
    passes: Sequence[Sequence[Int64Array]],
    *,
    rate: float,
    seed: int,
) -> Iterator[Layers]:
    """Yields the layers after each pass: linear ones with ReLU between, on pixel / 255, against
    softmax cross-entropy, from PyTorch's uniform weights.

    passes : of each the batches, by the indices of their samples; no momentum, decay, schedule
    """
    layers = _draw(widths, np.random.default_rng(seed))
    for batches in passes:
        for chosen in batches:
            layers = _step(layers, scale_pixels(images[chosen]), labels[chosen], rate)
        yield layers


def count_right(layers: Layers, images: UInt8Array, labels: UInt8Array) -> int:
    """How many samples have their label's logit above all others."""
    return int((_go_forward(layers, scale_pixels(images))[-1].argmax(axis=1) == labels).sum())


def scale_pixels(images: UInt8Array) -> Float32Array:
    """Pixels from 0 to 1."""
    return images.astype(np.float32) / np.float32(255)


def _draw(widths: Sequence[int], rng: np.random.Generator) -> Layers:
    return [
        (
            rng.uniform(-1 / sqrt(n_in), 1 / sqrt(n_in), (n_out, n_in)).astype(np.float32),
            rng.uniform(-1 / sqrt(n_in), 1 / sqrt(n_in), n_out).astype(np.float32),
        )
        for n_in, n_out in pairwise(widths)
    ]


def _go_forward(layers: Layers, x: Float32Array) -> list[Float32Array]:
    """What each layer takes, and last the logits."""
    values = [x]
    for index, (w, b) in enumerate(layers):
        z = values[-1] @ w.T + b
        values.append(z if index == len(layers) - 1 else np.maximum(z, 0))
    return values


def _step(layers: Layers, x: Float32Array, labels: UInt8Array, rate: float) -> Layers:
    values = _go_forward(layers, x)
    z = values[-1] - values[-1].max(axis=1, keepdims=True)
    delta = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    delta[np.arange(len(labels)), labels] -= 1
    delta /= len(labels)
    after: Layers = []
    for index in reversed(range(len(layers))):
        w, b = layers[index]
        of_w, of_b = delta.T @ values[index], delta.sum(axis=0)
        if index:
            delta = (delta @ w) * (values[index] > 0)
        after.append(((w - rate * of_w).astype(np.float32), (b - rate * of_b).astype(np.float32)))
    return after[::-1]
