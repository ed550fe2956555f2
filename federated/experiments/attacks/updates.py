"""Attacks by models that nobody trained, against the mean of all.

source : sign flip and Gaussian noise as in Blanchard et al., arXiv 1703.02757, and Li et al.,
         arXiv 1811.03761; free riders: Lin et al., arXiv 1911.12560
"""

from __future__ import annotations

import numpy as np

from federated.experiments.attacks.plain import Boastful
from federated.experiments.simulation.interface import Sight
from kernels.numpy_types import Float32Array


class SignFlip(Boastful):
    """Sends its update the other way round, `scale` times as long: G - scale (W - G)."""

    name = "sign flip"

    def __init__(self, *, scale: float = 4.0) -> None:
        self._scale = np.float32(scale)

    def send(self, sight: Sight) -> Float32Array:
        return sight.start - self._scale * (sight.trained - sight.start)


class GaussianModel(Boastful):
    """Sends the global model with normal noise, `scale` times as long as its honest update."""

    name = "gaussian model"

    def __init__(self, *, scale: float = 30.0) -> None:
        self._scale = scale

    def send(self, sight: Sight) -> Float32Array:
        return sight.start + draw_noise(sight, length=self._scale * measure_update(sight))


class ZeroModel(Boastful):
    """Sends a model of zeros."""

    name = "zero model"

    def send(self, sight: Sight) -> Float32Array:
        return np.zeros_like(sight.start)


class ReturnedModel(Boastful):
    """Trains nothing: sends the global model back, with a little noise so that it looks new."""

    name = "returned model"

    def __init__(self, *, scale: float = 0.1) -> None:
        self._scale = scale

    def send(self, sight: Sight) -> Float32Array:
        return sight.start + draw_noise(sight, length=self._scale * measure_update(sight))


class CopiedModel(Boastful):
    """Trains nothing: sends the model of an honest client, which somebody has shown to it.

    It takes each of them in turn; where nobody is honest, it sends the global model.
    """

    name = "copied model"

    def send(self, sight: Sight) -> Float32Array:
        if not len(sight.honest):
            return sight.start
        return np.asarray(sight.honest[sight.client % len(sight.honest)])


def measure_update(sight: Sight) -> float:
    """The Euclidean length of what the client's own training changed."""
    return float(np.linalg.norm(sight.trained - sight.start))


def draw_noise(sight: Sight, *, length: float) -> Float32Array:
    """float32[P], normal, of this Euclidean length."""
    noise = sight.generator.standard_normal(len(sight.start), dtype=np.float32)
    return noise * np.float32(length / np.linalg.norm(noise))
