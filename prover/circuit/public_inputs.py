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
from functools import cached_property
from math import prod

import numpy as np

from kernels.array import FrArray
from kernels.bn254 import R
from kernels.cpu.words.weighted_sums import compute_powers, sum_bytes, sum_scaled
from kernels.numpy_types import UInt8Array
from prover.circuit.sample_sums import SampleSums, sum_powers
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


@dataclass(frozen=True)
class PublicLayout:
    """Labels and shapes of the public wires, in their order, for (architecture, n_samples).

    What follows from both is computed once: to look it up takes longer than to verify a proof.
    """

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

    @cached_property
    def challenges(self) -> tuple[str, ...]:
        """Names of the challenges, in the order in which the transcript draws them."""
        n_clamps = len(list_clamp_kinds(self.architecture))
        clamps = [f"clamp {i}" for i in range(n_clamps)]
        weights = (*(["s"] if self.n_samples > 1 else []), *self.choices.positions.axes)
        return (*weights, "range", "weight", *(["pair"] if clamps else []), *clamps)

    @cached_property
    def choices(self) -> Choices:
        """What the compiler chose, which decides how sums are weighed."""
        return make_choices(self.architecture, self.n_samples)

    @cached_property
    def sums(self) -> SampleSums:
        """What is summed up of samples."""
        packing = self.choices.packings[self.architecture.entrance].packing
        return SampleSums.of(self.architecture, packing)

    @cached_property
    def blocks(self) -> Mapping[str, tuple[int, ...]]:
        n_hidden = len(self.architecture.multipliers)
        return {
            "claimed": (),
            **({"multiplier": (n_hidden,)} if n_hidden else {}),
            **{f"challenge/{name}": () for name in self.challenges},
            "label sum": (),
            "first layer": self.sums.depth,
        }

    @cached_property
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
        cost   : about 1 ms for 1,024 samples of 784 inputs
        """
        self.check_shard(images, labels)
        powers, first = self.compute_first(
            claimed=claimed, multipliers=multipliers, labels=labels, challenges=challenges
        )
        return FrArray.concat([first, self.compute_sums(images, powers, challenges)])

    def compute_sums(
        self, images: UInt8Array, powers: FrArray, challenges: Sequence[int]
    ) -> FrArray:
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
    ) -> tuple[FrArray, FrArray]:
        """Powers s^n of every sample, and the public wires before those of the first layer.

        raises : ShapeMismatch for a number that does not fit; labels are `check_shard`'s business
        """
        self._check_numbers(claimed, multipliers, challenges, n_real=len(labels))
        s = challenges[0] if self.n_samples > 1 else 1
        powers = compute_powers(s, len(labels))
        (label_sum,) = sum_bytes(labels[:, None], powers).to_ints()
        label_sum += sum_powers(s, len(labels))  # a label counts as one more
        return powers, FrArray.from_ints([claimed, *multipliers, *challenges, label_sum])

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
            return FrArray.concat([first, sums])
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
    powers: FrArray
    first: FrArray

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.inputs.layout.n_public,)


PublicWires = FrArray | DeferredWires
"""All public wires but the constant one."""


def combine_wires(wires: Sequence[PublicWires], weights: Sequence[int]) -> FrArray:
    """sum_i t_i z_ik for every public wire k, of at least one statement; all of one circuit.

    Deferred sums are done once for each shard, whatever the number of statements about it:

        sum_i t_i sum_n s_i^n x_nk = sum_n (sum_i t_i s_i^n) x_nk
    """
    pairs = list(zip(wires, weights, strict=True))
    whole = [(wire, t) for wire, t in pairs if isinstance(wire, FrArray)]
    deferred = [(wire, t) for wire, t in pairs if isinstance(wire, DeferredWires)]
    shards: dict[int, list[tuple[DeferredWires, int]]] = {}
    for wire, t in deferred:
        shards.setdefault(id(wire.inputs), []).append((wire, t))
    totals = [sum_scaled(*zip(*whole, strict=True))] if whole else []
    for about in shards.values():
        totals.append(_combine_deferred(*zip(*about, strict=True)))
    return totals[0] if len(totals) == 1 else sum_scaled(totals, [1] * len(totals))


def _combine_deferred(wires: Sequence[DeferredWires], weights: Sequence[int]) -> FrArray:
    """sum_i t_i z_ik of statements about one shard."""
    images = wires[0].inputs.images
    powers = sum_scaled([wire.powers for wire in wires], weights)
    sums = sum_bytes(images.reshape(len(images), -1), powers)
    return FrArray.concat([sum_scaled([wire.first for wire in wires], weights), sums])
