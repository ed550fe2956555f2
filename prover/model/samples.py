"""Where samples meet a network: rows of numbers become the shape that its first layer takes."""

from __future__ import annotations

from math import prod

import numpy as np

from kernels.numpy_types import UInt8Array
from prover.errors import ShapeMismatch
from prover.model.layers import Shape


def shape_samples(images: UInt8Array, input_shape: Shape) -> UInt8Array:
    """The samples as a network takes them, uint8[N, *input_shape]; nothing is copied or moved.

    images : uint8[N, ...], of this shape but for axes of length one, or flat, last index fastest.
             Another order, such as colours last, has another shape and is refused.
    raises : ShapeMismatch
    """
    if images.dtype != np.uint8 or not is_sample_shape(images.shape[1:], input_shape):
        raise ShapeMismatch(
            f"samples must be uint8[n, {', '.join(map(str, input_shape))}], "
            f"got {images.dtype}{list(images.shape)}"
        )
    return images.reshape(len(images), *input_shape)


def is_sample_shape(found: Shape, input_shape: Shape) -> bool:
    """Whether samples of a shape are those that a network takes, as `shape_samples` says."""
    return found == (prod(input_shape),) or _squeeze(found) == _squeeze(input_shape)


def flatten_samples(images: UInt8Array) -> UInt8Array:
    """uint8[N, d]: in this form samples have one digest, whatever network takes them."""
    return images.reshape(len(images), -1)


def _squeeze(shape: Shape) -> Shape:
    return tuple(n for n in shape if n != 1)
