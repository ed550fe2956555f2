"""Attackers that know the rule: they do what harm they can while their models pass.

Against rules that look at proven counts, an attack as others write it is refused at once, and to
compare with it would flatter the rule. So every attack is given this second form, whose attacker
knows the threshold, the margin, the bounds and more than a chain tells anybody in time: the very
samples that will be drawn, and all honest models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from federated.data import LabeledImages
from federated.experiments.attacks.plain import Plain
from federated.experiments.simulation.interface import Attack, Setting, Sight
from federated.float_model import FloatModel
from kernels.numpy_types import Float32Array

N_HALVINGS = 5

IsPassing = Callable[[Float32Array, Sight], bool]
"""Whether a rule would accept a model, float32[P], that is sent with its true count."""


class Truthful(Plain):
    """An attack where claims need proofs: it sends what it does anyway, and claims what is true."""

    def __init__(self, attack: Attack) -> None:
        self.attack = attack
        self.name = attack.name

    def poison(
        self, samples: LabeledImages, setting: Setting, generator: np.random.Generator
    ) -> LabeledImages:
        return self.attack.poison(samples, setting, generator)

    def send(self, sight: Sight) -> Float32Array:
        return self.attack.send(sight)

    def lead(self, model: Float32Array, sight: Sight) -> Float32Array:
        return self.attack.lead(model, sight)

    def succeed(self, model: FloatModel, setting: Setting) -> float | None:
        return self.attack.succeed(model, setting)


class Stealthy(Truthful):
    """Sends as much of the attack as passes.

    Between a model H that passes and the attack's own A it looks for the greatest s of 1 and the
    multiples of 2^-5 for which H + s (A - H) passes, by halving: all of A, if that passes.
    H is the best that it can have: the mean of all honest models, or its own where there are none.
    """

    def __init__(self, attack: Attack, is_passing: IsPassing) -> None:
        super().__init__(attack)
        self._is_passing = is_passing

    def send(self, sight: Sight) -> Float32Array:
        aim = self.attack.send(sight)
        if self._is_passing(aim, sight):
            return aim
        honest = sight.trained
        if len(sight.honest):
            honest = sight.honest.mean(axis=0, dtype=np.float32)
        best, low, high = honest, 0.0, 1.0
        for _ in range(N_HALVINGS):
            middle = (low + high) / 2
            model = honest + np.float32(middle) * (aim - honest)
            if self._is_passing(model, sight):
                best, low = model, middle
            else:
                high = middle
        return best


class DataOnly(Truthful):
    """Poisons some of its samples as the attack does, and trains honestly on all.

    That is all it can do where the steps of a training are proven: a commitment to samples says
    nothing of what they show, but no other model than the one they lead to has a proof.
    """

    def __init__(self, attack: Attack, *, share: float = 1.0) -> None:
        """share : of its samples, at which the attack is let; a greater one takes in a less"""
        super().__init__(attack)
        self.share = share

    def poison(
        self, samples: LabeledImages, setting: Setting, generator: np.random.Generator
    ) -> LabeledImages:
        poisoned = self.attack.poison(samples, setting, generator)
        n_spared = len(samples) - round(self.share * len(samples))
        spared = generator.permutation(len(samples))[:n_spared]
        images, labels = poisoned.images.copy(), poisoned.labels.copy()
        images[spared], labels[spared] = samples.images[spared], samples.labels[spared]
        return replace(samples, images=images, labels=labels)

    def send(self, sight: Sight) -> Float32Array:
        return sight.trained
