"""Consensus by learning, as PoFL (Qu et al., arXiv 1912.11745) and PoDL (Chenli et al., 2019) have
it: who has the best model leads. Models are shared in the clear, and accuracies are told.

Claims are believed here. Nodes that run every shared model on the same samples would find a lie;
what they then know of each other's models is measured by the experiment `privacy`.

With noise, each honest client cuts its update to a norm, the median of those of all, and adds
Gaussian noise before it shares its model (Abadi et al., arXiv 1607.00133, applied to a whole
update).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from federated.experiments.simulation.interface import Closing, View
from federated.experiments.simulation.rules.lotteries import close_by_leader
from federated.experiments.simulation.rules.means import OpenRule
from kernels.numpy_types import Float32Array


@dataclass(frozen=True, slots=True)
class LearningBased(OpenRule):
    """The greatest claim leads, ties by lot; its owner writes the mean of all models."""

    name = "pofl"
    label = "PoFL"

    def close(self, view: View) -> Closing:
        best = np.flatnonzero(view.claimed == view.claimed.max())
        return close_by_leader(view, int(view.generator.choice(best)))


@dataclass(frozen=True, slots=True)
class NoisyLearningBased(LearningBased):
    """The same of models that are shared with noise on them.

    noise : standard deviation per parameter, in norms of an update
    """

    noise: float

    name = "pofl-dp"
    label = "PoFL with noise"

    def share(
        self, trained: Float32Array, start: Float32Array, generator: np.random.Generator
    ) -> Float32Array:
        """The models with their updates cut, and noise on them."""
        updates = trained - start
        norms = np.linalg.norm(updates.astype(np.float64), axis=1)
        most = float(np.median(norms))
        factors = np.minimum(1.0, most / np.maximum(norms, np.finfo(np.float64).tiny))
        drawn = generator.normal(0.0, self.noise * most, size=updates.shape)
        shared: Float32Array = (start + updates * factors[:, None] + drawn).astype(np.float32)
        return shared
