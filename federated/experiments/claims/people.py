"""Who takes part: models trained in exact integers on real digits, and clients that show them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from consensus.content.blobs import FileBlobs
from consensus.disk.development import BLOBS
from consensus.learning.samples import SamplePool
from federated.bounds import UpdateProver
from federated.client import Learn, make_committer
from federated.data import DatasetRef as Ref
from federated.data import LabeledImages, Origin, load_samples
from federated.experiments.chains.dealt import DealtChain
from federated.experiments.chains.play import Player, make_player
from federated.experiments.chains.tasks import TIMEOUTS
from federated.experiments.claims.kits import (
    AccuracyKit,
    BoundsKit,
    TrainingKit,
    make_task,
)
from federated.joining.own_prover import OwnProver
from federated.provable.steps import train_steps
from kernels.numpy_types import Int64Array, UInt8Array
from prover.model.network import QuantizedModel
from prover.training.draws import draw_start
from prover.training.masters import export, start
from prover.training.recipe import TrainingRecipe

DATASET = "mnist"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Digits:
    """Real digits: what clients train on, and the public pool that beacons draw from."""

    train: LabeledImages
    pool: LabeledImages
    origin: Origin


def load_digits(data_dir: Path) -> Digits:
    """All of MNIST where it was fetched, else the packaged part."""
    train, test = (load_samples(Ref.parse(f"{DATASET}:{s}"), data_dir) for s in ("train", "test"))
    return Digits(
        train=LabeledImages(images=train.images, labels=train.labels),
        pool=LabeledImages(images=test.images, labels=test.labels),
        origin=train.origin,
    )


def train_masters(
    recipe: TrainingRecipe, samples: LabeledImages, *, n_steps: int, seed: int
) -> Int64Array:
    """Masters after exact integer steps on drawn batches, from a start that all share, int64[P].

    seed : of the batches; the start is drawn from a constant
    """
    generator = np.random.default_rng(seed)
    size = recipe.batch_size
    drawn = generator.integers(0, len(samples), (n_steps, size))
    begin = start(recipe, draw_start(recipe, b"claims"))

    def get_samples(number: int) -> tuple[UInt8Array, UInt8Array]:
        batch = samples.take(drawn[number])
        return batch.images, batch.labels

    numbers: Int64Array = np.arange(n_steps, dtype=np.int64)
    last: Int64Array = train_steps(recipe, begin, numbers, get_samples)[-1].astype(np.int64)
    return last


def train_model(
    recipe: TrainingRecipe, samples: LabeledImages, *, n_steps: int, seed: int
) -> QuantizedModel:
    """The int8 model of `train_masters`."""
    return export(recipe, train_masters(recipe, samples, n_steps=n_steps, seed=seed))


def deal_chain(
    folder: Path,
    kit: AccuracyKit,
    pool: LabeledImages,
    *,
    n_clients: int,
    bounds: BoundsKit | None = None,
    training: TrainingKit | None = None,
) -> DealtChain:
    """A chain of the kit's task, in a folder that is not there yet."""
    folder.mkdir(parents=True, mode=0o700)
    blobs = FileBlobs(folder / BLOBS)
    drawn = SamplePool.of(images=pool.images, labels=pool.labels)
    task = make_task(kit, blobs, drawn, n_clients=n_clients, bounds=bounds, training=training)
    return DealtChain(folder, task, blobs, timeouts=TIMEOUTS)


def make_prover(kit: AccuracyKit) -> OwnProver:
    """An honest prover of accuracy."""
    return OwnProver(kit.circuit, kit.key, random_bytes=secrets.token_bytes, backend=kit.backend)


def show(model: QuantizedModel) -> Learn:
    """A client that has this model, whatever the round."""
    return lambda global_model, learning_round: model


def make_people(
    chain: DealtChain,
    kit: AccuracyKit,
    models: Sequence[QuantizedModel],
    updates: Sequence[UpdateProver] | None = None,
) -> list[Player]:
    """A client for each model, which it shows in the first round.

    updates : what proves each one's bounds, where the task has some
    """
    commit = make_committer(
        chain.genesis.task, random_bytes=secrets.token_bytes, backend=kit.backend
    )
    return [
        make_player(
            chain,
            index,
            learn=show(model),
            commit=commit,
            prover=make_prover(kit),
            backend=kit.backend,
            updates=None if updates is None else updates[index],
        )
        for index, model in enumerate(models)
    ]
