"""Forged witnesses of the whole accuracy circuit, each consistent but for the one lie it needs.

The committed wires of a forgery do not depend on challenges: an attack through a whole proof
commits to `assignment.scalars(...)`, draws its challenges, calls `Scene.publish`, and completes the
assignment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np

from kernels.bn254 import R
from kernels.numpy_types import UInt8Array
from prover.circuit.accuracy import AccuracyCircuit, compile_accuracy
from prover.model.layers import Requant
from prover.model.network import Architecture, QuantizedModel
from tests.support.assignments import Assignment, Tensor, draw_scalars
from tests.support.inference import Alter, Compute, infer
from tests.support.models import random_images, random_model


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A circuit, a model, and a shard with a wrong last sample and one slot of padding.

    labels[-1] is not what the model says; all other labels are.
    """

    accuracy: AccuracyCircuit
    model: QuantizedModel
    images: UInt8Array
    labels: UInt8Array
    challenges: tuple[int, ...]

    @classmethod
    def of(
        cls, architecture: Architecture | None = None, *, n_samples: int = 4, seed: int = 5
    ) -> Scene:
        """All samples real but the last of several; by default 6-4-3 with multiplier 3."""
        if architecture is None:
            requant = Requant(shift=10, multiplier=3, q_bits=9)
            architecture = Architecture.mlp([6, 4, 3], requant=requant)
        rng = np.random.default_rng(seed)
        accuracy = compile_accuracy(architecture, n_samples)
        model = random_model(architecture, rng)
        images = random_images(architecture, max(1, n_samples - 1), rng)
        labels = model.logits(images).argmax(axis=1).astype(np.uint8)
        labels[-1] = (labels[-1] + 1) % 3
        challenges = draw_scalars(Random(seed), accuracy.n_challenges)
        return cls(
            accuracy=accuracy,
            model=model,
            images=images,
            labels=labels,
            challenges=tuple(challenges),
        )

    @property
    def n_correct(self) -> int:
        return len(self.labels) - 1

    def publish(self, forged: Assignment, claimed: int, challenges: Sequence[int]) -> None:
        """The public wires as the verifier computes them, from its own images and labels."""
        values = self.accuracy.public_inputs(
            claimed=claimed, images=self.images, labels=self.labels, challenges=challenges
        ).to_ints()
        for label, shape in self.accuracy.public_layout.blocks.items():
            size = int(np.prod(shape, dtype=np.int64))
            forged[label] = np.array(values[:size], dtype=object).reshape(shape)
            values = values[size:]

    def infer(
        self,
        *,
        images: UInt8Array | None = None,
        weights: Sequence[Any] | None = None,
        biases: Sequence[Any] | None = None,
        multipliers: Sequence[int] | None = None,
        alter: Alter | None = None,
        compute: Compute | None = None,
    ) -> dict[str, Tensor]:
        """Committed inputs up to the logits, in integers of any size, with a lie in one place."""
        architecture = self.accuracy.architecture
        x = np.zeros((self.accuracy.n_samples, *architecture.input_shape), dtype=object)
        x[: len(self.labels)] = (self.images if images is None else images).astype(object)
        return infer(
            self.accuracy,
            x,
            weights=weights or self.model.weights,
            biases=biases or self.model.biases,
            multipliers=multipliers or architecture.multipliers,
            alter=alter,
            compute=compute,
        )

    def count(
        self,
        inputs: Mapping[str, Tensor],
        hits: Mapping[int, int],
        *,
        labels: Sequence[int] | None = None,
    ) -> Assignment:
        """The assignment with the given hits {sample: class}; labels are y - 1, padded by -1."""
        architecture, n = self.accuracy.architecture, self.accuracy.n_samples
        logits = inputs[f"layer {len(architecture.layers) - 1}/logits"]
        own = [int(label) for label in (self.labels if labels is None else labels)]
        y = np.array([label + 1 for label in own] + [0] * (n - len(own)), dtype=object)
        hit = np.zeros((n, architecture.n_classes), dtype=object)
        level = logits.max(axis=1) + 1
        for sample, c in hits.items():
            hit[sample, c] = 1
            level[sample] = logits[sample, c]
        part = "correctness/count"
        counted = {f"{part}/label": y, f"{part}/hit": hit, f"{part}/level": level}
        forged = Assignment.of(self.accuracy.circuit, {**inputs, **counted})
        self.publish(forged, len(hits), self.challenges)
        return forged

    def honest_hits(self) -> dict[int, int]:
        return {n: int(label) for n, label in enumerate(self.labels[:-1])}


@dataclass(frozen=True, kw_only=True)
class Forgery:
    """A lie, and the only blocks of rows that stand against it."""

    lie: str
    assignment: Assignment
    claimed: int
    refused_by: tuple[str, ...]


Lie = Callable[[Scene], Forgery]


def committed_weights_are_not_used(scene: Scene) -> Forgery:
    """Hole 1: commit to W, compute with a better W'."""
    better = list(scene.model.weights)
    wrong, right = int(scene.labels[-1]), int(scene.infer()["layer 1/logits"][2].argmax())
    better[1] = better[1].copy()
    better[1][[wrong, right]] = better[1][[right, wrong]]
    biases = [b.copy() for b in scene.model.biases]
    biases[1][[wrong, right]] = biases[1][[right, wrong]]
    inputs = scene.infer(weights=better, biases=biases)
    inputs["layer 1/weights"] = scene.model.weights[1].astype(object)
    inputs["layer 1/biases"] = scene.model.biases[1].astype(object)
    forged = scene.count(inputs, {2: wrong})
    return Forgery(
        lie="other weights than the committed ones",
        assignment=forged,
        claimed=1,
        refused_by=("layer 1/linear/equation",),
    )


def remainder_leaves_its_range(scene: Scene) -> Forgery:
    """Hole 2: q one greater, rem less by 2^s; the equation holds."""

    def alter(layer: int, step: dict[str, Tensor]) -> None:
        step["q"][0, 0] += 1
        step["rem"][0, 0] -= 1 << 10
        step["y"][0, 0] = min(max(step["q"][0, 0], 0), 255)

    return Forgery(
        lie="q + 1 with a negative remainder",
        assignment=scene.count(scene.infer(alter=alter), {}),
        claimed=0,
        refused_by=("range table/sum",),
    )


def quotient_leaves_its_range(scene: Scene) -> Forgery:
    """Hole 2: rem = 0 and q = t / 2^s mod r."""

    def alter(layer: int, step: dict[str, Tensor]) -> None:
        t = step["q"][0, 0] * (1 << 10) + step["rem"][0, 0]
        step["q"][0, 0], step["rem"][0, 0] = t * pow(1 << 10, -1, R) % R, 0

    return Forgery(
        lie="q a fraction mod r",
        assignment=scene.count(scene.infer(alter=alter), {}),
        claimed=0,
        refused_by=("clamp table 0/sum",),
    )


def relu_passes_a_negative(scene: Scene) -> Forgery:
    """Hole 3: y is not clamp(q), later layers use it."""

    def alter(layer: int, step: dict[str, Tensor]) -> None:
        sample, unit = np.argwhere((step["q"] < 0).astype(bool))[0]
        step["y"][sample, unit] = 7

    return Forgery(
        lie="ReLU of a negative is 7",
        assignment=scene.count(scene.infer(alter=alter), {}),
        claimed=0,
        refused_by=("clamp table 0/sum",),
    )


def relu_drops_a_positive(scene: Scene) -> Forgery:
    """Hole 3: the selector says 0 where q > 0."""

    def alter(layer: int, step: dict[str, Tensor]) -> None:
        sample, unit = np.argwhere((step["q"] > 0).astype(bool))[0]
        step["y"][sample, unit] = 0

    return Forgery(
        lie="ReLU of a positive is 0",
        assignment=scene.count(scene.infer(alter=alter), {}),
        claimed=0,
        refused_by=("clamp table 0/sum",),
    )


def label_is_not_the_maximum(scene: Scene) -> Forgery:
    """Hole 4: the wrong sample is counted for its label, which another class beats."""
    hits = scene.honest_hits() | {2: int(scene.labels[2])}
    return Forgery(
        lie="a wrong sample counted",
        assignment=scene.count(scene.infer(), hits),
        claimed=3,
        refused_by=("range table/sum",),
    )


def count_is_one_more(scene: Scene) -> Forgery:
    """Hole 5: the sum starts at 1."""
    forged = scene.count(scene.infer(), scene.honest_hits())
    claimed = scene.n_correct + 1
    scene.publish(forged, claimed, scene.challenges)
    return Forgery(
        lie="count + 1",
        assignment=forged,
        claimed=claimed,
        refused_by=("correctness/count/count",),
    )


def hit_counts_twice(scene: Scene) -> Forgery:
    """Hole 6: a hit of 2 in a correct sample."""
    forged = scene.count(scene.infer(), scene.honest_hits())
    forged["correctness/count/hit"][0, int(scene.labels[0])] = 2
    forged.fill()
    scene.publish(forged, 3, scene.challenges)
    part = "correctness/count"
    return Forgery(
        lie="a hit that is no bit",
        assignment=forged,
        claimed=3,
        refused_by=(
            f"{part}/hit is boolean",
            f"{part}/one hit at most",
            "range table/sum",
        ),
    )


def hit_is_another_class(scene: Scene) -> Forgery:
    """Hole 6: the wrong sample is counted for the class that wins, not for its label."""
    inputs = scene.infer()
    winner = int(inputs["layer 1/logits"][2].argmax())
    return Forgery(
        lie="a hit for the winning class",
        assignment=scene.count(inputs, scene.honest_hits() | {2: winner}),
        claimed=3,
        refused_by=("correctness/count/hit is the label",),
    )


def labels_are_the_owners(scene: Scene) -> Forgery:
    """Labels exchanged for the model's own answers."""
    inputs = scene.infer()
    answers = [int(row.argmax()) for row in inputs["layer 1/logits"][:3]]
    forged = scene.count(inputs, dict(enumerate(answers)), labels=answers)
    return Forgery(
        lie="labels chosen by the owner",
        assignment=forged,
        claimed=3,
        refused_by=("correctness/count/labels",),
    )


def labels_are_permuted(scene: Scene) -> Forgery:
    """The right labels in another order, so that no plain sum would notice."""
    inputs = scene.infer()
    turned = np.roll(scene.labels, 1).tolist()
    return Forgery(
        lie="labels permuted",
        assignment=scene.count(inputs, {}, labels=turned),
        claimed=0,
        refused_by=("correctness/count/labels",),
    )


def padding_is_counted(scene: Scene) -> Forgery:
    """The padding slot counted for whatever the model says of a blank sample."""
    inputs = scene.infer()
    answer = int(inputs["layer 1/logits"][3].argmax())
    labels = [*scene.labels.tolist(), answer]
    forged = scene.count(inputs, scene.honest_hits() | {3: answer}, labels=labels)
    return Forgery(
        lie="padding counted, with a label of its own",
        assignment=forged,
        claimed=3,
        refused_by=("correctness/count/labels",),
    )


def padding_is_counted_without_label(scene: Scene) -> Forgery:
    inputs = scene.infer()
    answer = int(inputs["layer 1/logits"][3].argmax())
    return Forgery(
        lie="padding counted, y = 0",
        assignment=scene.count(inputs, scene.honest_hits() | {3: answer}),
        claimed=3,
        refused_by=("correctness/count/hit is the label",),
    )


def images_are_permuted(scene: Scene) -> Forgery:
    """The verifier's samples in another order."""
    images = np.roll(scene.images, 1, axis=0)
    return Forgery(
        lie="samples permuted",
        assignment=scene.count(scene.infer(images=images), {}),
        claimed=0,
        refused_by=("layer 0/linear/equation",),
    )


def activations_are_permuted(scene: Scene) -> Forgery:
    """Two samples exchange their hidden activations: every table and sum over n is content."""

    def alter(layer: int, step: dict[str, Tensor]) -> None:
        for name in step:
            step[name] = step[name][[1, 0, 2, 3]]

    return Forgery(
        lie="activations of two samples exchanged",
        assignment=scene.count(scene.infer(alter=alter), {}),
        claimed=0,
        refused_by=("layer 0/linear/equation",),
    )


def logits_are_invented(scene: Scene) -> Forgery:
    """The logits make every label win."""
    inputs = scene.infer()
    logits = inputs["layer 1/logits"].copy()
    logits[2, int(scene.labels[2])] = logits[2].max() + 1
    inputs["layer 1/logits"] = logits
    hits = scene.honest_hits() | {2: int(scene.labels[2])}
    return Forgery(
        lie="logits of no model",
        assignment=scene.count(inputs, hits),
        claimed=3,
        refused_by=("layer 1/linear/equation",),
    )


def weight_leaves_its_table(scene: Scene) -> Forgery:
    """A weight of 200 used consistently."""
    weights = [w.astype(object) for w in scene.model.weights]
    weights[1][0, 0] = 200
    return Forgery(
        lie="a weight of 200",
        assignment=scene.count(scene.infer(weights=weights), {}),
        claimed=0,
        refused_by=("weight table/sum",),
    )


def bias_is_a_fraction_of_m(scene: Scene) -> Forgery:
    """[N] b = B/m mod r: m b is a small integer, b is not, and would poison the aggregate."""
    biases = [b.astype(object) for b in scene.model.biases]
    biases[0][0] = (3 * biases[0][0] + 1) * pow(3, -1, R) % R
    return Forgery(
        lie="a bias of B/m",
        assignment=scene.count(scene.infer(biases=biases), {}),
        claimed=0,
        refused_by=("range table/sum",),
    )


def bias_is_a_binary_fraction(scene: Scene) -> Forgery:
    """b = B + 1/2 in the last layer: half a point more for one class."""
    biases = [b.astype(object) for b in scene.model.biases]
    half = pow(2, -1, R)
    biases[1][0] = biases[1][0] + half
    inputs = scene.infer()
    inputs["layer 1/biases"] = biases[1]
    logits = inputs["layer 1/logits"].copy()
    logits[:, 0] = logits[:, 0] + half
    inputs["layer 1/logits"] = logits
    return Forgery(
        lie="a bias of B + 1/2",
        assignment=scene.count(inputs, {}),
        claimed=0,
        refused_by=("range table/sum",),
    )


def multiplier_is_another(scene: Scene) -> Forgery:
    """Requantized with m = 1 where the statement says 3."""
    return Forgery(
        lie="another multiplier",
        assignment=scene.count(scene.infer(multipliers=[1]), {}),
        claimed=0,
        refused_by=("layer 0/linear/equation",),
    )


def multiplicities_are_forged(scene: Scene) -> Forgery:
    """One lookup moved from its row to the next."""
    forged = scene.count(scene.infer(), scene.honest_hits())
    counts = forged["clamp table 0/multiplicity"]
    row = int(np.flatnonzero((counts > 0).astype(bool))[0])
    counts[row] -= 1
    counts[row + 1] += 1
    return Forgery(
        lie="multiplicities moved",
        assignment=forged,
        claimed=2,
        refused_by=("clamp table 0/sum",),
    )


FORGERIES: tuple[Lie, ...] = (
    committed_weights_are_not_used,
    remainder_leaves_its_range,
    quotient_leaves_its_range,
    relu_passes_a_negative,
    relu_drops_a_positive,
    label_is_not_the_maximum,
    count_is_one_more,
    hit_counts_twice,
    hit_is_another_class,
    labels_are_the_owners,
    labels_are_permuted,
    padding_is_counted,
    padding_is_counted_without_label,
    images_are_permuted,
    activations_are_permuted,
    logits_are_invented,
    weight_leaves_its_table,
    bias_is_a_fraction_of_m,
    bias_is_a_binary_fraction,
    multiplier_is_another,
    multiplicities_are_forged,
)
