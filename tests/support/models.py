"""Random models that pass the range analysis, for tests of everything downstream of the model."""

from __future__ import annotations

import numpy as np

from kernels.numpy_types import UInt8Array
from prover.errors import RangeExceeded
from prover.model.network import Architecture, QuantizedModel
from prover.model.ranges import compute_ranges


def random_model(architecture: Architecture, rng: np.random.Generator) -> QuantizedModel:
    """Weights over all of [-127, 127] where the ranges allow it, else over a narrower interval."""
    limit = 127
    while True:
        weights = tuple(
            rng.integers(-limit, limit + 1, size=shape, dtype=np.int8)
            for shape in architecture.weight_shapes
        )
        biases = tuple(
            rng.integers(-64 * limit, 64 * limit + 1, size=shape, dtype=np.int32)
            for shape in architecture.bias_shapes
        )
        model = QuantizedModel(architecture=architecture, weights=weights, biases=biases)
        try:
            compute_ranges(model)
        except RangeExceeded:
            if limit == 1:
                raise
            limit //= 2
        else:
            return model


def random_images(architecture: Architecture, n: int, rng: np.random.Generator) -> UInt8Array:
    """uint8[n, *input_shape], uniform."""
    return rng.integers(0, 256, size=(n, *architecture.input_shape), dtype=np.uint8)


def random_labels(architecture: Architecture, n: int, rng: np.random.Generator) -> UInt8Array:
    """uint8[n] below the number of classes, uniform."""
    return rng.integers(0, architecture.n_classes, size=n, dtype=np.uint8)
