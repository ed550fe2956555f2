"""What the verifier computes from its own data: the public wires of the accuracy circuit.

The circuit holds no dataset. Samples and labels enter through sums weighted by powers of the
challenge s:

    first layer   P_k = sum_n s^n x_nk       for each input k of the network; of a convolution
                                             also over positions (`prover.circuit.sample_sums`)
    label sum     sum_n s^n y_n              y_n = label + 1; padding has x = 0 and y = 0

Needs no compiled circuit, so a node verifies with an architecture and a key alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from operator import mul

import numpy as np

from kernels.array import FrArray
from kernels.bn254 import R
from kernels.numpy_types import UInt8Array
from prover.circuit.sample_sums import SampleSums, compute_powers, compute_weighted_sums, sum_powers
from prover.circuit.sizing.choices import Choices, make_choices
from prover.errors import ArchitectureInvalid, KeyMismatch, ShapeMismatch
from prover.model.network import Architecture
from prover.model.samples import flatten_samples, shape_samples
from prover.wire.dataset import shard_digest
from prover.wire.statement import MAX_MULTIPLIER, MAX_MULTIPLIERS, Statement

ClampKind = tuple[tuple[int, int], tuple[int, int]]
"""(least and greatest q, least and greatest y): layers that agree share one clamp table."""

MAX_SAMPLES = 1 << 20


def list_clamp_kinds(architecture: Architecture) -> tuple[ClampKind, ...]:
    """Distinct clamp tables of an architecture, in order of first use."""
    requants = [layer.requant for layer in architecture.layers if layer.requant is not None]
    return tuple(dict.fromkeys((r.q_range, r.y_range) for r in requants))


@dataclass(frozen=True, slots=True)
class PublicLayout:
    """Labels and shapes of the public wires, in their order, for (architecture, n_samples)."""

    architecture: Architecture
    n_samples: int

    def __post_init__(self) -> None:
        if not 1 <= self.n_samples <= MAX_SAMPLES:
            raise ArchitectureInvalid(f"a circuit has 1 to {MAX_SAMPLES} samples")
        if len(self.architecture.multipliers) > MAX_MULTIPLIERS:
            raise ArchitectureInvalid(
                f"a statement has at most {MAX_MULTIPLIERS} multipliers, the network "
                f"{len(self.architecture.multipliers)}: take one for all channels of a layer"
            )

    @property
    def challenges(self) -> tuple[str, ...]:
        """Names of the challenges, in the order in which the transcript draws them."""
        n_clamps = len(list_clamp_kinds(self.architecture))
        clamps = [f"clamp {i}" for i in range(n_clamps)]
        weights = (*(["s"] if self.n_samples > 1 else []), *self.choices.positions.axes)
        return (*weights, "range", "weight", *(["pair"] if clamps else []), *clamps)

    @property
    def choices(self) -> Choices:
        """What the compiler chose, which decides how sums are weighed."""
        return make_choices(self.architecture, self.n_samples)

    @property
    def sums(self) -> SampleSums:
        """What is summed up of samples."""
        packing = self.choices.packings[self.architecture.entrance].packing
        return SampleSums.of(self.architecture, packing)

    @property
    def blocks(self) -> Mapping[str, tuple[int, ...]]:
        n_hidden = len(self.architecture.multipliers)
        return {
            "claimed": (),
            **({"multiplier": (n_hidden,)} if n_hidden else {}),
            **{f"challenge/{name}": () for name in self.challenges},
            "label sum": (),
            "first layer": self.sums.depth,
        }

    @property
    def n_public(self) -> int:
        return sum(prod(shape) for shape in self.blocks.values())

    def compute(
        self,
        *,
        claimed: int,
        multipliers: Sequence[int],
        images: UInt8Array,
        labels: UInt8Array,
        challenges: Sequence[int],
    ) -> FrArray:
        """All public wires but the constant one, shape [n_public].

        images : uint8[n_real, *input_shape], labels : uint8[n_real], 1 <= n_real <= n_samples
        raises : ShapeMismatch when an argument does not fit the architecture or its bounds
        cost   : one float64 product (d x n) (n x 8); under 10 ms for 1,024 samples of 784 inputs
        """
        self.check_shard(images, labels)
        powers, first = self.compute_first(
            claimed=claimed, multipliers=multipliers, labels=labels, challenges=challenges
        )
        return FrArray.from_ints([*first, *self.compute_sums(images, powers, challenges)])

    def compute_sums(
        self, images: UInt8Array, powers: Sequence[int], challenges: Sequence[int]
    ) -> list[int]:
        """The public wires of the first layer, from the powers of `compute_first`."""
        named = dict(zip(self.challenges, challenges, strict=True))
        return self.sums.compute(
            images,
            powers,
            total=sum_powers(named.get("s", 1), self.n_samples),
            x=named.get("x", 1),
            y=named.get("y", 1),
        )

    def compute_first(
        self,
        *,
        claimed: int,
        multipliers: Sequence[int],
        labels: UInt8Array,
        challenges: Sequence[int],
    ) -> tuple[list[int], list[int]]:
        """Powers s^n of every sample, and the public wires before those of the first layer.

        raises : ShapeMismatch for a number that does not fit; labels are `check_shard`'s business
        """
        self._check_numbers(claimed, multipliers, challenges, n_real=len(labels))
        s = challenges[0] if self.n_samples > 1 else 1
        powers = compute_powers(s, len(labels))
        label_sum = sum(map(mul, (labels.astype(np.int64) + 1).tolist(), powers))
        return powers, [claimed, *multipliers, *challenges, label_sum]

    def check_shard(self, images: UInt8Array, labels: UInt8Array) -> None:
        """ShapeMismatch unless samples and labels fit the architecture and the circuit."""
        shape = self.architecture.input_shape
        if images.dtype != np.uint8 or images.shape[1:] != shape:
            raise ShapeMismatch(
                f"samples must be uint8[n, {', '.join(map(str, shape))}], "
                f"got {images.dtype}{list(images.shape)}"
            )
        if labels.dtype != np.uint8 or labels.shape != images.shape[:1]:
            raise ShapeMismatch(f"labels must be uint8[{len(images)}], one per sample")
        if not 1 <= len(images) <= self.n_samples:
            raise ShapeMismatch(f"a shard has 1 to {self.n_samples} samples, not {len(images)}")
        if int(labels.max()) >= self.architecture.n_classes:
            raise ShapeMismatch(f"labels must be below {self.architecture.n_classes}")

    def _check_numbers(
        self, claimed: int, multipliers: Sequence[int], challenges: Sequence[int], *, n_real: int
    ) -> None:
        if not 0 <= claimed <= n_real:
            raise ShapeMismatch(f"the claimed count must be from 0 to {n_real}")
        if len(challenges) != len(self.challenges):
            raise ShapeMismatch(f"{len(self.challenges)} challenges, got {len(challenges)}")
        if not all(0 <= x < R for x in challenges):
            raise ShapeMismatch("a challenge is not a canonical scalar")
        greatest = self.choices.max_multipliers
        if len(multipliers) != len(greatest):
            raise ShapeMismatch(f"{len(greatest)} multipliers, got {len(multipliers)}")
        for m, most in zip(multipliers, greatest, strict=True):
            # Beyond it, errors would no longer be below the digits of the circuit's packs.
            if not 1 <= m < MAX_MULTIPLIER or m > most:
                raise ShapeMismatch("a multiplier is outside the range of the circuit")


@dataclass(frozen=True, slots=True, eq=False)
class ShardInputs:
    """Public wires of statements about one shard: the `public_inputs` of `prover.groth16.verify`.

    Samples and labels are copies that cannot be written to: what was digested is what is summed.
    """

    layout: PublicLayout
    images: UInt8Array
    labels: UInt8Array
    digest: bytes

    @classmethod
    def of(cls, layout: PublicLayout, images: UInt8Array, labels: UInt8Array) -> ShardInputs:
        """Raises ShapeMismatch when the shard does not fit the layout.

        images : uint8[n_real, ...] as `prover.model.samples.shape_samples` takes them
        """
        images = shape_samples(images, layout.architecture.input_shape).copy()
        labels = labels.copy()
        layout.check_shard(images, labels)
        images.flags.writeable = labels.flags.writeable = False
        return cls(layout, images, labels, shard_digest(flatten_samples(images), labels))

    def __call__(self, statement: Statement, challenges: Sequence[int]) -> FrArray | None:
        """The public wires; None when the statement is about other data or other multipliers.

        raises : KeyMismatch when the transcript draws as many challenges as another circuit has
        """
        if not self._is_about(statement, challenges):
            return None
        return self.layout.compute(
            claimed=statement.claimed_correct,
            multipliers=statement.multipliers,
            images=self.images,
            labels=self.labels,
            challenges=challenges,
        )

    def defer(self, statement: Statement, challenges: Sequence[int]) -> PublicWires | None:
        """The public wires as a call gives them, for batches: with the sums over samples left to
        `combine_wires`, where a linear layer takes them.
        """
        if not self._is_about(statement, challenges):
            return None
        powers, first = self.layout.compute_first(
            claimed=statement.claimed_correct,
            multipliers=statement.multipliers,
            labels=self.labels,
            challenges=challenges,
        )
        if self.layout.sums.sliding is not None:
            # Weights of positions are the statement's own: sums over samples can't be shared.
            sums = self.layout.compute_sums(self.images, powers, challenges)
            return FrArray.from_ints([*first, *sums])
        return DeferredWires(self, powers, first)

    def _is_about(self, statement: Statement, challenges: Sequence[int]) -> bool:
        if len(challenges) != len(self.layout.challenges):
            raise KeyMismatch(
                f"the key asks for {len(challenges)} challenges, "
                f"the circuit of {self.layout.architecture.name} for {len(self.layout.challenges)}"
            )
        data = (statement.n_real, statement.dataset_digest, statement.multipliers)
        return data == (len(self.labels), self.digest, self.layout.architecture.multipliers)


@dataclass(frozen=True, slots=True, eq=False)
class DeferredWires:
    """Public wires of one statement: those before the first layer's, and the weights of the rest.

    first layer : P_k = sum_n powers_n x_nk over the samples of `inputs`
    """

    inputs: ShardInputs
    powers: list[int]
    first: list[int]

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.inputs.layout.n_public,)


PublicWires = FrArray | DeferredWires
"""All public wires but the constant one."""


def combine_wires(wires: Sequence[PublicWires], weights: Sequence[int]) -> list[int]:
    """sum_i t_i z_ik for every public wire k, not reduced mod r; all of one circuit.

    Deferred sums are done once for each shard, whatever the number of statements about it:

        sum_i t_i sum_n s_i^n x_nk = sum_n (sum_i t_i s_i^n) x_nk
    """
    totals = [0] * wires[0].shape[0]
    shards: dict[int, tuple[ShardInputs, list[int]]] = {}
    for wire, t in zip(wires, weights, strict=True):
        if isinstance(wire, FrArray):
            totals = [total + t * x for total, x in zip(totals, wire.to_ints(), strict=True)]
            continue
        for k, x in enumerate(wire.first):
            totals[k] += t * x
        inputs, sums = shards.get(id(wire.inputs), (wire.inputs, [0] * len(wire.powers)))
        sums = [total + t * x for total, x in zip(sums, wire.powers, strict=True)]
        shards[id(wire.inputs)] = inputs, sums
    for inputs, sums in shards.values():
        samples = inputs.images.reshape(len(inputs.images), -1)
        tail = compute_weighted_sums(samples, [x % R for x in sums])
        start = len(totals) - len(tail)
        totals[start:] = [total + x for total, x in zip(totals[start:], tail, strict=True)]
    return totals
