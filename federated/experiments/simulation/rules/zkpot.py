"""This project's chain: models count by what proofs say of them, and validators add them up.

    commit    integers by the task's scales; with bounds, within them around the global model
    accept    a claim of `threshold` samples or more that a proof bears out, and of at least
              `margin` more than the global model has on the same samples, if there is one yet
    combine   the exact mean of the accepted, all alike; nobody writes another one
    lead      the highest proven accuracy, ties by lot

as `consensus/node/verifier.py`, `consensus/learning/aggregate.py` and `consensus/learning/
election.py` have it. That a claim above the truth has no proof is taken for granted here: the
experiment `claims` measures it, with real proofs against the verifier.

A client may claim less than is true. Here as there its claim is what counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from consensus.aggregation.graph import count_least
from consensus.learning.aggregate import WEIGHT, GlobalModel, combine
from consensus.learning.training_mean import divide_masters
from federated.accuracy import count_correct
from federated.experiments.simulation.exact_training import find_recipe, to_masters
from federated.experiments.simulation.interface import Closing, Setting, View
from federated.experiments.simulation.rules.means import NOBODY
from federated.experiments.simulation.vectors import from_global, to_integers
from kernels.numpy_types import BoolArray, Float32Array
from prover.errors import RangeExceeded
from prover.model.network import QuantizedModel
from prover.model.ranges import compute_ranges
from prover.model.update import UpdateBounds, clip_update
from prover.training.masters import export

COLLUSION = 1
"""Clients of a task that may work together; fewer than 3 accepted models make no sum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZkPot:
    """Proven accuracy.

    threshold : least share of the drawn samples
    margin    : as a share of them, over the global model; None: there is none
    """

    threshold: float
    margin: float | None

    name = "zkpot"
    label = "ZKPoT"
    is_verified = True
    trains_exactly = False

    def share(
        self, trained: Float32Array, start: Float32Array, generator: np.random.Generator
    ) -> Float32Array:
        """The models themselves; only their sum is ever seen."""
        return trained

    def commit(
        self, sent: Float32Array, setting: Setting, origin: GlobalModel | None
    ) -> QuantizedModel | None:
        """The rounded model."""
        return to_integers(sent, setting.architecture, setting.scales)

    def close(self, view: View) -> Closing:
        """Without enough accepted models the round is void, and the global model stays."""
        accepted = self.accept(view)
        if np.count_nonzero(accepted) < count_least(COLLUSION):
            nobody = np.zeros_like(accepted)
            return Closing(model=view.start, accepted=nobody, leader=NOBODY, exact=view.origin)
        exact = self.combine(view, np.flatnonzero(accepted).tolist())
        proven = np.where(accepted, view.claimed, -1)
        leader = int(view.generator.choice(np.flatnonzero(proven == proven.max())))
        model = from_global(exact, view.setting.scales)
        return Closing(model=model, accepted=accepted, leader=leader, exact=exact)

    def accept(self, view: View) -> BoolArray:
        """Whose proof is valid and enough: bool[n]."""
        least = self.find_least(view.setting, view.origin)
        has_proof = np.array([model is not None for model in view.committed])
        found: BoolArray = has_proof & (view.claimed <= view.proven) & (view.claimed >= least)
        return found

    def find_least(self, setting: Setting, origin: GlobalModel | None) -> int:
        """The least count that a proof of a round has to show, on the samples drawn in it."""
        n = len(setting.shard)
        least = max(1, round(self.threshold * n))
        if self.margin is None or origin is None:
            return least
        has = count_correct(origin.rounded(), setting.shard)
        return max(least, has + round(self.margin * n))

    def combine(self, view: View, members: Sequence[int]) -> GlobalModel:
        """The exact mean of these clients' models."""
        models = [view.committed[i] for i in members]
        return combine((model, WEIGHT) for model in models if model is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundedZkPot(ZkPot):
    """Proven accuracy, and proven bounds on updates: who leaves them has no proof, so all clip."""

    bounds: UpdateBounds

    name = "zkpot-bounds"
    label = "ZKPoT with bounds"

    def commit(
        self, sent: Float32Array, setting: Setting, origin: GlobalModel | None
    ) -> QuantizedModel | None:
        """The rounded model, clipped; nothing is asked where there is no global model yet."""
        model = to_integers(sent, setting.architecture, setting.scales)
        if model is None or origin is None:
            return model
        return clip_update(model, origin.rounded(), self.bounds)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedZkPot(ZkPot):
    """Proven accuracy of a model that proven steps led to, from the global model on committed
    batches. Masters are summed in place of their int8 models."""

    name = "zkpot-training"
    label = "ZKPoT with training"
    trains_exactly = True

    def commit(
        self, sent: Float32Array, setting: Setting, origin: GlobalModel | None
    ) -> QuantizedModel | None:
        """The export of the masters."""
        recipe = find_recipe(setting.architecture)
        model = export(recipe, to_masters(sent, recipe, setting.scales))
        try:
            compute_ranges(model)
        except RangeExceeded:
            return None
        return model

    def accept(self, view: View) -> BoolArray:
        """Whose steps are proven besides."""
        return ZkPot.accept(self, view) & view.trained

    def combine(self, view: View, members: Sequence[int]) -> GlobalModel:
        """The exact mean of these clients' masters."""
        recipe = find_recipe(view.setting.architecture)
        masters = [to_masters(view.sent[i], recipe, view.setting.scales) for i in members]
        return divide_masters(recipe, np.sum(masters, axis=0), len(masters))
