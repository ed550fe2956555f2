"""Settings on real samples: data set, network and partition by name, everything else by a seed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from federated.data import DatasetRef, LabeledImages, load_samples
from federated.experiments.simulation.interface import Setting
from federated.experiments.simulation.partitions import split_samples
from federated.local import WARM_UP, warm_up
from prover.model.presets import parse_architecture

LONG = replace(WARM_UP, epochs=20)
"""How the start is trained on the public samples. The scales of all rounds are found with it, and
weights grow as they learn: with scales of a start that has seen each sample once, those of later
rounds are clipped, which costs 3 points on MNIST."""
SIGMA = 1.0
"""Of the logarithms of stakes and of hash power: a few clients have most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPlan:
    """A task and how much of the data set it takes.

    network   : a name of `prover.model.presets`
    partition : of `PARTITIONS`; n_public : samples that all clients have beside their own
    n_train   : of all clients together; n_pool, n_test : of the test split, disjoint
    """

    dataset: str
    network: str
    partition: str
    n_clients: int
    n_malicious: int
    n_public: int
    n_train: int
    n_pool: int
    n_test: int


def make_setting(plan: TaskPlan, data_dir: Path, *, seed: int) -> Setting:
    """The setting of a seed, which draws samples, partition, start, stakes and hash power.

    Takes the first samples of each split, so that the packaged part suffices where it is as long,
    and gives the same. Raises DatasetMissing where it is not and the full set was not fetched.
    """
    generator = np.random.default_rng(seed)
    train = _draw(plan, "train", plan.n_public + plan.n_train, data_dir, generator)
    test = _draw(plan, "test", plan.n_pool + plan.n_test, data_dir, generator)
    public, own = train.split(plan.n_public)
    pool, rest = test.split(plan.n_pool)
    parts = split_samples(own.labels, plan.partition, n_clients=plan.n_clients, seed=seed)
    architecture = parse_architecture(plan.network)
    start, scales = warm_up(public, architecture, _ignore, settings=LONG)
    order = generator.permutation(plan.n_clients)
    return Setting(
        architecture=architecture,
        clients=tuple(own.take(parts[i]) for i in order),
        public=public,
        shard=pool,
        test=rest,
        start=start,
        scales=scales,
        n_malicious=plan.n_malicious,
        stakes=generator.lognormal(0.0, SIGMA, plan.n_clients),
        hash_power=generator.lognormal(0.0, SIGMA, plan.n_clients),
    )


def _draw(
    plan: TaskPlan, split: str, n: int, data_dir: Path, generator: np.random.Generator
) -> LabeledImages:
    """The first n samples of a split, in a drawn order."""
    ref = DatasetRef(name=plan.dataset, split=split, start=0, stop=n)
    found = load_samples(ref, data_dir)
    order = generator.permutation(n)
    return LabeledImages(images=found.images[order], labels=found.labels[order])


def _ignore(what: str, done: int, total: int) -> None:
    """Warm-ups take a second."""
