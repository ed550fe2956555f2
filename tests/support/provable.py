"""Committed batches and trajectories of a small network, under seeded randomness."""

from __future__ import annotations

from random import Random

import numpy as np

from federated.data import LabeledImages
from federated.provable.batches import CommittedBatches, commit_batches
from federated.provable.trajectory import (
    CommittedTrajectory,
    PublicStart,
    commit_trajectory,
    record_trajectory,
)
from kernels.backend import get_backend
from kernels.numpy_types import Int64Array
from prover.pedersen.commitment import Committer
from prover.training.draws import draw_start, order_batches
from prover.training.recipe import TrainingRecipe
from tests.support.training import make_recipe

N_WIRES = 64  # more than any vector here has


def make_committer() -> Committer:
    return Committer(N_WIRES, get_backend("cpu"))


def make_small_recipe() -> TrainingRecipe:
    return make_recipe([6, 5, 3], master_bits=16, logit_shift=10)


def draw_samples(n: int, seed: int = 1) -> LabeledImages:
    rng = np.random.default_rng(seed)
    return LabeledImages(
        images=rng.integers(0, 256, (n, 6), dtype=np.uint8),
        labels=rng.integers(0, 3, n, dtype=np.uint8),
    )


def make_batches(n_samples: int = 10, seed: int = 1) -> CommittedBatches:
    """Batches of 4 samples of 6 values and 3 classes; the last of 10 samples has 2."""
    return commit_batches(
        draw_samples(n_samples, seed),
        n_classes=3,
        batch_size=4,
        random_bytes=Random(seed).randbytes,
        committer=make_committer(),
    )


def make_numbers(n_steps: int = 7) -> Int64Array:
    return order_batches(b"order", n_batches=3, n_steps=n_steps)


def make_start(recipe: TrainingRecipe) -> PublicStart:
    return PublicStart.of_model(recipe, draw_start(recipe, b"start"))


def make_trajectory(n_steps: int = 7, seed: int = 1) -> CommittedTrajectory:
    """Steps on `make_batches` from a drawn start."""
    recipe = make_small_recipe()
    trajectory = record_trajectory(
        recipe, make_start(recipe), make_batches(), make_numbers(n_steps)
    )
    return commit_trajectory(trajectory, Random(seed).randbytes, make_committer())
