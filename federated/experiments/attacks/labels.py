"""Attacks by false labels: the training is honest, what it is told is not.

source : Biggio et al., arXiv 1206.6389; targeted in federated learning: Tolpegin et al.,
         arXiv 2007.08432
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from federated.data import LabeledImages
from federated.experiments.attacks.plain import Boastful
from federated.experiments.simulation.interface import Setting
from federated.float_model import FloatModel


class LabelFlip(Boastful):
    """Takes every sample of class y for one of class n - 1 - y, of n classes."""

    name = "label flip"

    def poison(
        self, samples: LabeledImages, setting: Setting, generator: np.random.Generator
    ) -> LabeledImages:
        flipped = setting.architecture.n_classes - 1 - samples.labels
        return replace(samples, labels=flipped.astype(np.uint8))


class TargetedFlip(Boastful):
    """Takes the samples of one class for those of another.

    Its success is the share of the class's test samples that go to the other.
    """

    name = "targeted flip"

    def __init__(self, *, source: int = 7, target: int = 1) -> None:
        self._source, self._target = source, target

    def poison(
        self, samples: LabeledImages, setting: Setting, generator: np.random.Generator
    ) -> LabeledImages:
        is_source = samples.labels == self._source
        return replace(
            samples, labels=np.where(is_source, self._target, samples.labels).astype(np.uint8)
        )

    def succeed(self, model: FloatModel, setting: Setting) -> float | None:
        of_source = setting.test.images[setting.test.labels == self._source]
        if not len(of_source):
            return None
        return float(np.mean(model.logits(of_source).argmax(axis=1) == self._target))
