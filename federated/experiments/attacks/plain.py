"""What every attack starts from: a client that does nothing wrong."""

from __future__ import annotations

import numpy as np

from federated.data import LabeledImages
from federated.experiments.simulation.interface import Setting, Sight
from federated.float_model import FloatModel
from kernels.numpy_types import Float32Array


class Plain:
    """The honest counterpart of each method of an `Attack`; attacks override some."""

    name = "none"

    def poison(
        self, samples: LabeledImages, setting: Setting, generator: np.random.Generator
    ) -> LabeledImages:
        return samples

    def send(self, sight: Sight) -> Float32Array:
        return sight.trained

    def claim(self, n_correct: int, n_samples: int) -> int:
        return n_correct

    def lead(self, model: Float32Array, sight: Sight) -> Float32Array:
        return model

    def succeed(self, model: FloatModel, setting: Setting) -> float | None:
        return None


class Boastful(Plain):
    """Claims every sample, so that it leads wherever claims are believed."""

    def claim(self, n_correct: int, n_samples: int) -> int:
        return n_samples


class InflatedClaim(Boastful):
    """Trains and sends honestly, and claims every sample of the shard."""

    name = "inflated claim"
