"""A small task of a simulation on drawn samples, and views of rounds made by hand."""

from __future__ import annotations

import numpy as np

from federated.data import LabeledImages
from federated.experiments.simulation.interface import Replace, Setting, View
from federated.experiments.simulation.vectors import to_vector
from federated.local import warm_up
from federated.train import TrainSettings
from kernels.numpy_types import Float32Array, Int64Array
from prover.model.network import Architecture

N_IN, N_CLASSES = 16, 4
FEW = TrainSettings(epochs=20, batch_size=16)


def draw_samples(n: int, *, seed: int) -> LabeledImages:
    """n samples of 16 pixels in 4 classes: four of them bright, those of the class."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, N_CLASSES, n).astype(np.uint8)
    images = generator.integers(0, 120, (n, N_IN))
    for k in range(N_IN // N_CLASSES):
        images[np.arange(n), labels * (N_IN // N_CLASSES) + k] += 60
    return LabeledImages(images=images.astype(np.uint8), labels=labels)


def make_small(*, n_clients: int = 5, n_malicious: int = 0) -> Setting:
    """A task of 16-8-4 on drawn samples; stakes and power grow with the client's number."""
    public = draw_samples(40, seed=100)
    architecture = Architecture.mlp((N_IN, 8, N_CLASSES))
    start, scales = warm_up(public, architecture, lambda what, done, total: None, settings=FEW)
    weights = np.arange(1.0, n_clients + 1)
    return Setting(
        architecture=architecture,
        clients=tuple(draw_samples(60, seed=seed) for seed in range(n_clients)),
        public=public,
        shard=draw_samples(200, seed=101),
        test=draw_samples(300, seed=102),
        start=start,
        scales=scales,
        n_malicious=n_malicious,
        stakes=weights,
        hash_power=weights,
    )


def keep(leader: int, model: Float32Array) -> Float32Array:
    """What an honest leader writes."""
    return model


def make_view(
    setting: Setting,
    sent: Float32Array,
    *,
    claimed: Int64Array | None = None,
    proven: Int64Array | None = None,
    replace: Replace = keep,
    seed: int = 0,
) -> View:
    """A view of these models; claims are true unless given, and nobody is proven wrong."""
    n = len(sent)
    counts = np.zeros(n, dtype=np.int64) if proven is None else proven
    return View(
        setting=setting,
        learning_round=0,
        start=to_vector(setting.start),
        sent=sent,
        claimed=counts if claimed is None else claimed,
        proven=counts,
        trained=np.ones(n, dtype=np.bool_),
        is_malicious=np.arange(n) < setting.n_malicious,
        replace=replace,
        generator=np.random.default_rng(seed),
    )
