"""What the verifier computes from its own data: the public wires of the accuracy circuit.

The circuit holds no dataset. Samples and labels enter through sums weighted by powers of the
challenge s:

    first layer   P_k = sum_n s^n x_nk       for each input k of the network
    label sum     sum_n s^n y_n              y_n = label + 1; padding has x = 0 and y = 0

Needs no compiled circuit, so a node verifies with an architecture and a key alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from operator import mul

import numpy as np
import numpy.typing as npt

from kernels.array import FrArray, ints_from_words, words_from_ints
from kernels.bn254 import R
from kernels.integers import BLOCK_VALUES
from kernels.numpy_types import UInt8Array
from prover.circuit.choices import make_choices
from prover.errors import ArchitectureInvalid, KeyMismatch, ShapeMismatch
from prover.model.network import Architecture
from prover.model.samples import flatten_samples, shape_samples
from prover.wire.dataset import shard_digest
from prover.wire.statement import MAX_MULTIPLIER, Statement

ClampKind = tuple[tuple[int, int], tuple[int, int]]
"""(least and greatest q, least and greatest y): layers that agree share one clamp table."""

MAX_SAMPLES = 1 << 20
_LIMB_BITS = 32
# Products this small stay on one thread in OpenBLAS: on a busy machine threads would wait longer
# for each other than the product takes. With 8 limbs it is also at most 2^13 samples at a time.
_MATMUL_TERMS = 1 << 16
_EXACT_SAMPLES = 1 << 13  # of 8 bits, times limbs of 32: sums below 2^53


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
        if not 2 <= self.n_samples <= MAX_SAMPLES:
            raise ArchitectureInvalid(f"a circuit has 2 to {MAX_SAMPLES} samples")

    @property
    def challenges(self) -> tuple[str, ...]:
        """Names of the challenges, in the order in which the transcript draws them."""
        n_clamps = len(list_clamp_kinds(self.architecture))
        clamps = [f"clamp {i}" for i in range(n_clamps)]
        return ("s", "range", "weight", *(["pair"] if clamps else []), *clamps)

    @property
    def blocks(self) -> Mapping[str, tuple[int, ...]]:
        n_hidden = len(self.architecture.multipliers)
        return {
            "claimed": (),
            **({"multiplier": (n_hidden,)} if n_hidden else {}),
            **{f"challenge/{name}": () for name in self.challenges},
            "label sum": (),
            "first layer": (prod(self.architecture.input_shape),),
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
        sums = compute_weighted_sums(images.reshape(len(images), -1), powers)
        return FrArray.from_ints([*first, *sums])

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
        powers = compute_powers(challenges[0], len(labels))
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
        greatest = make_choices(self.architecture, self.n_samples).max_multipliers
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

    def defer(self, statement: Statement, challenges: Sequence[int]) -> DeferredWires | None:
        """The public wires as a call gives them, with the sums over samples left to
        `combine_wires`: for batches.
        """
        if not self._is_about(statement, challenges):
            return None
        powers, first = self.layout.compute_first(
            claimed=statement.claimed_correct,
            multipliers=statement.multipliers,
            labels=self.labels,
            challenges=challenges,
        )
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


def compute_powers(base: int, n: int) -> list[int]:
    """1, base, ..., base^(n-1) mod r."""
    powers = [1]
    for _ in range(n - 1):
        powers.append(powers[-1] * base % R)
    return powers


def compute_weighted_sums(samples: UInt8Array, weights: Sequence[int]) -> list[int]:
    """sum_n weights_n * samples_nk mod r for every k.

    samples : uint8[n, d]; weights : n scalars below r
    holds   : weights are cut into 32-bit limbs; a limb's sum over at most 2^13 samples
              is below 2^53, hence exact in float64, and the BLAS may add in any order; over all of
              MAX_SAMPLES it is below 2^60, hence exact in int64
    cost    : samples become doubles block by block, never all of them
    """
    limbs = words_from_ints(weights).view(np.uint32).T.astype(np.float64)
    n, d = samples.shape
    step = max(1, _MATMUL_TERMS // (len(limbs) * max(d, 1)))
    height = max(step, min(_EXACT_SAMPLES, BLOCK_VALUES // max(d, 1)))
    sums = np.zeros((len(limbs), d), dtype=np.int64)
    for first in range(0, n, height):
        exact = samples[first : first + height].astype(np.float64)
        scales = limbs[:, first : first + height]
        total = np.zeros((len(limbs), d))
        for start in range(0, len(exact), step):
            total += scales[:, start : start + step] @ exact[start : start + step]
        sums += total.astype(np.int64)
    return [total % R for total in _join_limbs(sums)]


def _join_limbs(sums: npt.NDArray[np.int64]) -> list[int]:
    """sum_i 2^(32 i) sums_ik for every k, from int64[8, d] of entries in [0, 2^62).

    Limbs of even and of odd index, each below 2^64, make two integers without any carry.
    """
    unsigned = sums.astype(np.uint64)
    even = ints_from_words(np.ascontiguousarray(unsigned[0::2].T))
    odd = ints_from_words(np.ascontiguousarray(unsigned[1::2].T))
    return [low + (high << _LIMB_BITS) for low, high in zip(even, odd, strict=True)]
