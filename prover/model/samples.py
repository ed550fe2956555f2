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
    found = images.shape[1:]
    is_flat = found == (prod(input_shape),)
    if images.dtype != np.uint8 or not (is_flat or _squeeze(found) == _squeeze(input_shape)):
        raise ShapeMismatch(
            f"samples must be uint8[n, {', '.join(map(str, input_shape))}], "
            f"got {images.dtype}{list(images.shape)}"
        )
    return images.reshape(len(images), *input_shape)


def _squeeze(shape: Shape) -> Shape:
    return tuple(n for n in shape if n != 1)
