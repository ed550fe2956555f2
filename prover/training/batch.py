"""Batches: B samples with their labels, as the vector of integers that a client commits to.

    images of sample 0, ..., of sample B - 1, row-major | y of sample 0, ..., B - 1

y = label + 1, and 0 for padding: so which samples are real is committed, too. Padding is black.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kernels.numpy_types import Int64Array, UInt8Array
from prover.errors import ShapeMismatch
from prover.training.recipe import TrainingRecipe


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Batch:
    """B samples, padded. Private.

    images : uint8[B, n_in]; y : int64[B], label + 1 or 0; n_real : how many samples are no padding
    """

    images: UInt8Array
    y: Int64Array
    n_real: int

    @property
    def wires(self) -> Int64Array:
        """What is committed to: int64[B (n_in + 1)]."""
        return np.concatenate([self.images.reshape(-1).astype(np.int64), self.y])


def count_batch_wires(recipe: TrainingRecipe) -> int:
    """Wires of a batch, padding included."""
    return recipe.batch_size * (recipe.widths[0] + 1)


def make_batch(recipe: TrainingRecipe, images: UInt8Array, labels: UInt8Array) -> Batch:
    """The batch of n samples, 1 <= n <= B; padding behind them.

    images, labels : uint8[n, n_in], uint8[n] below the number of classes
    raises         : ShapeMismatch
    """
    n, n_in, n_classes = len(images), recipe.widths[0], recipe.widths[-1]
    if images.dtype != np.uint8 or images.shape != (n, n_in) or not 1 <= n <= recipe.batch_size:
        raise ShapeMismatch(
            f"a batch is uint8[1 to {recipe.batch_size}, {n_in}], "
            f"got {images.dtype}{list(images.shape)}"
        )
    if labels.dtype != np.uint8 or labels.shape != (n,) or int(labels.max()) >= n_classes:
        raise ShapeMismatch(f"labels must be uint8[{n}] below {n_classes}")
    padded = np.zeros((recipe.batch_size, n_in), dtype=np.uint8)
    padded[:n] = images
    y = np.zeros(recipe.batch_size, dtype=np.int64)
    y[:n] = labels.astype(np.int64) + 1
    return Batch(images=padded, y=y, n_real=n)
