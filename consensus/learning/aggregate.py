"""The global model of a learning round: the exact mean of the accepted models.

    mean = floor(2^16 sum_i c w_i / sum_i c + 1/2)          c = `WEIGHT`, alike for all

in fixed point with 16 fractional bits, rounding half up: every validator computes the same bytes in
whole numbers, in any order. Clients start the next round from it; `GlobalModel.rounded` is the
integer model that the margin of a task is measured against.

    bytes = "zkpotGM\\0" | version, 2 bytes | fields: canonical JSON of the architecture | int64
            little-endian, per layer weights, then biases
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Annotated, ClassVar

import numpy as np

from kernels.numpy_types import Int64Array
from prover.errors import ArchitectureInvalid, FieldInvalid
from prover.model.layers import BIAS_MAX, BIAS_MIN, WEIGHT_MAX
from prover.model.network import Architecture, QuantizedModel
from prover.wire.array_kinds import Array
from prover.wire.records import Kind, Record, encode_fields, header

FRACTION_BITS = 16
ONE = 1 << FRACTION_BITS
HALF = ONE // 2
WEIGHT = 1
"""Of every model in a round's sum. Counts in its place would show the models: 456 w + 445 w' tells
both w and w', which have 255 values each (PROTOCOL section 6)."""
MAX_TOTAL_WEIGHT = 1 << 39  # times a bias, 2^23 at most, fits int64; so does 2^17 times a remainder


class Manifest(Kind[Architecture]):
    """An architecture, as its canonical JSON."""

    base = Architecture

    def find_fault(self, value: Architecture) -> str | None:
        return None if isinstance(value, Architecture) else "is no architecture"

    def encode(self, value: Architecture) -> bytes:
        return value.encode()

    def decode(self, raw: bytes) -> Architecture:
        try:
            architecture = Architecture.from_manifest(json.loads(raw.decode("ascii")))
        except (ArchitectureInvalid, ValueError, RecursionError):
            raise FieldInvalid("is no architecture") from None
        if architecture.encode() != raw:
            raise FieldInvalid("is not in canonical form")
        return architecture


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GlobalModel(Record):
    """Fixed-point tensors, value times 2^16, that round to tensors of a `QuantizedModel`.

    Weights lie in [-127.5, 127.5), as means of masters do, biases in those ranges themselves.

    numbers : in the order of `QuantizedModel.wires`: per layer weights, then biases
    """

    HEADER: ClassVar[bytes] = header(b"zkpotGM\x00", 1)
    architecture: Annotated[Architecture, Manifest()]
    numbers: Annotated[Int64Array, Array("int64")]

    def check_whole(self) -> None:
        fits = len(self.numbers) == self.architecture.n_parameters
        self.require(fits, "is not as long as its architecture asks for")
        for tensors, least, most in (
            (self.weights, -WEIGHT_MAX * ONE - HALF, WEIGHT_MAX * ONE + HALF - 1),
            (self.biases, BIAS_MIN * ONE, BIAS_MAX * ONE),
        ):
            filled = [t for t in tensors if t.size]
            bounded = all(least <= t.min() and t.max() <= most for t in filled)
            self.require(bounded, "has a weight or a bias out of range")

    @property
    def weights(self) -> tuple[Int64Array, ...]:
        """Tensors by layer, of the architecture's shapes."""
        return self._split()[0::2]

    @property
    def biases(self) -> tuple[Int64Array, ...]:
        """Tensors by layer, of the architecture's shapes."""
        return self._split()[1::2]

    def _split(self) -> tuple[Int64Array, ...]:
        arch = self.architecture
        shapes = list(chain(*zip(arch.weight_shapes, arch.bias_shapes, strict=True)))
        parts = np.split(self.numbers, np.cumsum([prod(s) for s in shapes[:-1]]))
        return tuple(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))

    def rounded(self) -> QuantizedModel:
        """The nearest integer model, halves up. In range, by the bounds of this one."""

        def nearest(tensor: Int64Array) -> Int64Array:
            return (tensor + HALF) >> FRACTION_BITS

        return QuantizedModel(
            architecture=self.architecture,
            weights=tuple(nearest(w).astype(np.int8) for w in self.weights),
            biases=tuple(nearest(b).astype(np.int32) for b in self.biases),
        )


def count_global_bytes(architecture: Architecture) -> int:
    """How long the encoding of every global model of this architecture is."""
    n_fields = len(encode_fields((architecture.encode(), b"")))
    return len(GlobalModel.HEADER) + n_fields + 8 * architecture.n_parameters


def divide(architecture: Architecture, sums: Int64Array, total: int) -> GlobalModel:
    """The weighted mean of models, given sum c_i w_i and sum c_i.

    sums : int64[n_parameters]; total : positive, 2^39 at most
    Raises ValueError for another total, FieldInvalid for a sum that models of these weights don't
    have.
    """
    if not 1 <= total <= MAX_TOTAL_WEIGHT:
        raise ValueError("weights are positive, 2^39 in all")
    made = GlobalModel(architecture=architecture, numbers=_divide(sums, total))
    if any(int(np.abs(w).max()) > WEIGHT_MAX * ONE for w in made.weights if w.size):
        raise FieldInvalid("a mean of models has a weight out of range")
    return made


def combine(models: Iterable[tuple[QuantizedModel, int]]) -> GlobalModel:
    """The weighted mean of models of one architecture; weights are positive, and at least one.

    Reads one model at a time. Raises ValueError when a weight is not positive, architectures
    differ, nothing is given, or the weights exceed 2^39 in all.
    """
    architecture: Architecture | None = None
    sums: Int64Array = np.zeros(0, dtype=np.int64)
    total = 0
    for model, weight in models:
        if architecture is None:
            architecture = model.architecture
            sums = np.zeros(architecture.n_parameters, dtype=np.int64)
        total += weight
        if model.architecture != architecture or weight < 1 or total > MAX_TOTAL_WEIGHT:
            raise ValueError("models of one architecture with positive weights, 2^39 in all")
        sums += model.wires * weight
    if architecture is None:
        raise ValueError("the mean of no model")
    return divide(architecture, sums, total)


def _divide(sums: Int64Array, total: int) -> Int64Array:
    """floor(2^16 s / total + 1/2), exact: s = q total + rest, and 2^17 rest + total < 2^57."""
    quotient, rest = np.divmod(sums, total)
    mean: Int64Array = quotient * ONE + (2 * ONE * rest + total) // (2 * total)
    return mean
