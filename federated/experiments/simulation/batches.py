"""Which samples each client takes in each of its steps: the same number of steps for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from federated.data import LabeledImages
from kernels.numpy_types import Int64Array


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalTraining:
    """What a client does in a round, whatever its samples: `steps` of AdamW on batches of its own,
    which pass over all its samples in a drawn order, then in another.

    learning_rate : at its height; falls to zero in the course of a round as half a cosine
    """

    steps: int = 20
    batch_size: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2


def draw_batches(
    n_samples: int, training: LocalTraining, generator: np.random.Generator
) -> Int64Array:
    """The samples of each step, int64[steps, batch_size]: no sample again before all had a turn.

    Batches go over the end of a pass, so all are full, however few samples there are.
    """
    needed = training.steps * training.batch_size
    passes = [generator.permutation(n_samples) for _ in range(-(-needed // n_samples))]
    found: Int64Array = np.concatenate(passes)[:needed].astype(np.int64)
    return found.reshape(training.steps, training.batch_size)


def draw_all_batches(
    samples: Sequence[LabeledImages], training: LocalTraining, generator: np.random.Generator
) -> Int64Array:
    """Those of every client, int64[n, steps, batch_size]."""
    return np.stack([draw_batches(len(own), training, generator) for own in samples])
