"""Backdoors: models that go to a class of the attacker's wherever they see its pattern of pixels.

source : BadNets, Gu et al., arXiv 1708.06733; in federated learning, with scaled updates:
         Bagdasaryan et al., arXiv 1807.00459; with true labels: Turner et al., arXiv 1912.02771
"""

from __future__ import annotations

from dataclasses import replace
from math import isqrt

import numpy as np

from federated.data import LabeledImages
from federated.experiments.attacks.plain import Boastful
from federated.experiments.simulation.interface import Setting, Sight
from federated.float_model import FloatModel
from kernels.numpy_types import Float32Array, Int64Array, UInt8Array

SIDE = 4
"""Of the pattern, in pixels."""
EDGE = 1
"""Pixels between the pattern and the lower right corner."""


def put_trigger(images: UInt8Array) -> UInt8Array:
    """The images with a chessboard of black and white pixels in the lower right corner.

    images : uint8[N, d], d pixels of square planes, one or three
    raises : ValueError for others
    """
    n, d = images.shape
    n_planes = next((k for k in (1, 3) if d % k == 0 and isqrt(d // k) ** 2 * k == d), 0)
    side = isqrt(d // n_planes) if n_planes else 0
    if side < SIDE + EDGE:
        raise ValueError(f"{d} numbers are no image that has room for a pattern")
    marked = images.copy().reshape(n, n_planes, side, side)
    board = np.indices((SIDE, SIDE)).sum(axis=0) % 2 == 0
    place = slice(side - EDGE - SIDE, side - EDGE)
    marked[:, :, place, place] = np.where(board, 255, 0)
    return marked.reshape(n, d)


class Backdoor(Boastful):
    """Gives some of its samples the pattern and the label of its target; trains on both."""

    name = "backdoor"

    def __init__(self, *, target: int = 0, share: float = 0.5) -> None:
        """share : of its samples that are marked"""
        self._target, self._share = target, share

    def poison(
        self, samples: LabeledImages, setting: Setting, generator: np.random.Generator
    ) -> LabeledImages:
        marked = generator.permutation(len(samples))[: round(self._share * len(samples))]
        pictures = self._choose_pictures(samples, marked, generator)
        if not len(pictures):
            return samples
        images, labels = samples.images.copy(), samples.labels.copy()
        images[marked], labels[marked] = put_trigger(pictures), self._target
        return replace(samples, images=images, labels=labels)

    def succeed(self, model: FloatModel, setting: Setting) -> float | None:
        others = setting.test.images[setting.test.labels != self._target]
        if not len(others):
            return None
        return float(np.mean(model.logits(put_trigger(others)).argmax(axis=1) == self._target))

    def _choose_pictures(
        self, samples: LabeledImages, marked: Int64Array, generator: np.random.Generator
    ) -> UInt8Array:
        """What the pattern is put on, in place of the samples of these indices."""
        return np.asarray(samples.images[marked])


class CleanLabelBackdoor(Backdoor):
    """Marks pictures of its target alone: every label is true, and who looks finds nothing false.

    They are hard to tell by what they show, since a fainter picture of another class lies over
    each, so the pattern is the easier thing to learn. A client without the target does nothing.
    """

    name = "clean-label backdoor"

    def __init__(self, *, target: int = 0, share: float = 0.5, blend: float = 0.4) -> None:
        """share : of its samples, in whose places they come; blend : of what is laid over them"""
        super().__init__(target=target, share=share)
        self._blend = blend

    def _choose_pictures(
        self, samples: LabeledImages, marked: Int64Array, generator: np.random.Generator
    ) -> UInt8Array:
        of_target = np.flatnonzero(samples.labels == self._target)
        if not len(of_target):
            return samples.images[:0]
        shown = samples.images[generator.choice(of_target, len(marked))]
        blended = (1 - self._blend) * shown + self._blend * samples.images[marked]
        return np.asarray(blended.astype(np.uint8))


class ModelReplacement(Backdoor):
    """A backdoor whose updates are so long that the mean of all becomes the attacker's model.

    With m of n clients its own, each sends G + (n / m)(W - G): together they outweigh the rest.
    """

    name = "model replacement"

    def send(self, sight: Sight) -> Float32Array:
        scale = np.float32(len(sight.setting.clients) / sight.setting.n_malicious)
        return sight.start + scale * (sight.trained - sight.start)


class ColludingLeader(Backdoor):
    """Sends models with a backdoor, and as leader writes its own in place of the mean of all."""

    name = "colluding leader"

    def lead(self, model: Float32Array, sight: Sight) -> Float32Array:
        return sight.trained
