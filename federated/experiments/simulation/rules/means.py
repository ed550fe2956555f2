"""Rules of a server that nobody doubts: it makes one model of all that clients send. None leads.

    FedAvg        the mean: McMahan et al., arXiv 1602.05629
    Krum          the model whose n - f - 2 nearest ones are nearest: Blanchard et al. (NIPS 2017)
    multi-Krum    the mean of the n - f models that Krum ranks best
    trimmed mean  per parameter, without the f least and f greatest: Yin et al., arXiv 1803.01498
    median        per parameter: the same

f is how many clients are malicious. Who uses these rules has to guess it; here they are told the
truth, which is their best case. Models weigh alike: a number of samples that a client tells is one
more thing to lie about.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from federated.experiments.simulation.interface import Closing, View
from kernels.numpy_types import Float32Array, Float64Array, Int64Array

NOBODY = -1


class OpenRule:
    """What rules without proofs have in common: clients send floats, as they are."""

    is_verified = False
    trains_exactly = False

    def share(
        self, trained: Float32Array, start: Float32Array, generator: np.random.Generator
    ) -> Float32Array:
        """The models themselves."""
        return trained


@dataclass(frozen=True, slots=True)
class FedAvg(OpenRule):
    """The mean of all models."""

    name = "fedavg"
    label = "FedAvg"

    def close(self, view: View) -> Closing:
        everyone = np.ones(len(view.sent), dtype=np.bool_)
        return Closing(model=compute_mean(view.sent), accepted=everyone, leader=NOBODY)


@dataclass(frozen=True, slots=True)
class Krum(OpenRule):
    """The one model that has the nearest neighbours."""

    name = "krum"
    label = "Krum"

    def close(self, view: View) -> Closing:
        n, f = len(view.sent), view.setting.n_malicious
        order = rank_by_neighbours(view.sent, n_malicious=f)
        accepted = np.zeros(n, dtype=np.bool_)
        accepted[order[: self.count_chosen(n, f)]] = True
        return Closing(model=compute_mean(view.sent[accepted]), accepted=accepted, leader=NOBODY)

    def count_chosen(self, n: int, n_malicious: int) -> int:
        """How many models are in the mean."""
        return 1


@dataclass(frozen=True, slots=True)
class MultiKrum(Krum):
    """The mean of all but as many models as are malicious."""

    name = "multi-krum"
    label = "multi-Krum"

    def count_chosen(self, n: int, n_malicious: int) -> int:
        return n - n_malicious


@dataclass(frozen=True, slots=True)
class TrimmedMean(OpenRule):
    """Per parameter the mean of what is left without f at either end."""

    name = "trimmed-mean"
    label = "trimmed mean"

    def close(self, view: View) -> Closing:
        """Raises ValueError where nothing is left: with half of all clients malicious or more."""
        n, f = len(view.sent), view.setting.n_malicious
        if 2 * f >= n:
            raise ValueError(f"{n} models without {f} at either end are none")
        kept = np.sort(view.sent, axis=0)[f : n - f]
        everyone = np.ones(n, dtype=np.bool_)
        return Closing(model=compute_mean(kept), accepted=everyone, leader=NOBODY)


@dataclass(frozen=True, slots=True)
class Median(OpenRule):
    """Per parameter the median; of an even number the mean of the two in the middle."""

    name = "median"
    label = "median"

    def close(self, view: View) -> Closing:
        everyone = np.ones(len(view.sent), dtype=np.bool_)
        model = np.median(view.sent, axis=0).astype(np.float32)
        return Closing(model=model, accepted=everyone, leader=NOBODY)


def compute_mean(vectors: Float32Array) -> Float32Array:
    """float32[P], summed in double precision."""
    mean: Float32Array = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean


def rank_by_neighbours(vectors: Float32Array, *, n_malicious: int) -> Int64Array:
    """Clients by Krum's score, the best first; ties by number.

    The score is the sum of squared distances to the n - f - 2 nearest others, at least one.
    """
    n = len(vectors)
    n_near = max(1, n - n_malicious - 2)
    exact = vectors.astype(np.float64)
    distances: Float64Array = np.stack([((exact - own) ** 2).sum(axis=1) for own in exact])
    np.fill_diagonal(distances, np.inf)
    scores = np.sort(distances, axis=1)[:, :n_near].sum(axis=1)
    order: Int64Array = np.argsort(scores, kind="stable").astype(np.int64)
    return order
