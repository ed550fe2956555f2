"""What training draws: the weights that it starts from, and the order of batches. Both are
functions of a seed, so that anybody draws them again.

    words(domain, seed, i)  = SHAKE-256(domain | i as 8 bytes | seed), cut into words of 8 bytes
    weight k of layer l     = words(start, seed, l)[k] mod (2 h + 1) - h        biases are 0
    pass i over the batches = their numbers by ascending words(order, seed, i), equal ones by number

Integers are little-endian.
"""

from __future__ import annotations

import hashlib
from math import isqrt

import numpy as np
import numpy.typing as npt

from kernels.numpy_types import Int64Array
from prover.model.network import QuantizedModel
from prover.training.recipe import TrainingRecipe

START_DOMAIN = b"zkpot training start v1\x00"
ORDER_DOMAIN = b"zkpot order of batches v1\x00"
MAX_SPREAD = 64  # half of the weights' range is left to training
SPREAD_SQUARED = 150_528
"""h^2 n_in. Weights that are uniform in [-h, h] spread by h / sqrt(3), so sums of n_in inputs that
spread by 80, as digits do, by about 80 sqrt(150,528 / 3) = 17,900: 70 quotients of shift 8."""
_WORD_BYTES = 8


def draw_start(recipe: TrainingRecipe, seed: bytes) -> QuantizedModel:
    """The model that training starts from where there is none: public, drawn from a public seed.

    Weights of a layer are uniform in [-h, h], h = min(64, isqrt(150,528 / n_in)) and at least 1.
    """
    weights, biases = [], []
    for layer, (n_in, n_out) in enumerate(zip(recipe.widths, recipe.widths[1:], strict=False)):
        words = _draw_words(START_DOMAIN, seed, layer, n_out * n_in)
        drawn = (words % np.uint64(2 * find_spread(n_in) + 1)).astype(np.int64)
        weights.append((drawn - find_spread(n_in)).reshape(n_out, n_in).astype(np.int8))
        biases.append(np.zeros(n_out, dtype=np.int32))
    return QuantizedModel(
        architecture=recipe.architecture, weights=tuple(weights), biases=tuple(biases)
    )


def find_spread(n_in: int) -> int:
    """h of a layer that takes n_in numbers: its drawn weights lie in [-h, h]."""
    return max(1, min(MAX_SPREAD, isqrt(SPREAD_SQUARED // n_in)))


def order_batches(seed: bytes, *, n_batches: int, n_steps: int) -> Int64Array:
    """The number of the batch of each step, int64[n_steps]: pass after pass, each in its own order.

    seed : whoever must not choose the order must not choose it, either
    Requires n_batches >= 1.
    """
    n_passes = -(-n_steps // n_batches)
    passes = [
        np.argsort(_draw_words(ORDER_DOMAIN, seed, i, n_batches), kind="stable")
        for i in range(n_passes)
    ]
    return np.concatenate([np.zeros(0, dtype=np.int64), *passes])[:n_steps].astype(np.int64)


def _draw_words(domain: bytes, seed: bytes, index: int, n: int) -> npt.NDArray[np.uint64]:
    raw = hashlib.shake_256(domain + index.to_bytes(_WORD_BYTES, "little") + seed)
    return np.frombuffer(raw.digest(n * _WORD_BYTES), dtype="<u8").astype(np.uint64)
