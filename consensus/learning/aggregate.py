"""The global model of a learning round: the exact weighted mean of the accepted models.

    mean = floor(2^16 sum_i k_i w_i / sum_i k_i + 1/2)          weight k_i: the proven count

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
from math import prod
from typing import Any

import numpy as np

from kernels.numpy_types import Int64Array
from prover.errors import ArchitectureInvalid
from prover.model.layers import BIAS_MAX, BIAS_MIN, WEIGHT_MAX
from prover.model.network import Architecture, QuantizedModel
from prover.wire.statement import decode_fields, encode_fields

FRACTION_BITS = 16
ONE = 1 << FRACTION_BITS
MAX_TOTAL_WEIGHT = 1 << 39  # times a bias, 2^23 at most, fits int64; so does 2^17 times a remainder
_MAGIC = b"zkpotGM\x00" + (1).to_bytes(2, "little")


class GlobalModelInvalid(ValueError):
    """The bytes are no global model; `str` says why, without a value."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GlobalModel:
    """Fixed-point tensors, int64, value times 2^16, of the ranges of `QuantizedModel`."""

    architecture: Architecture
    weights: tuple[Int64Array, ...]
    biases: tuple[Int64Array, ...]

    def __post_init__(self) -> None:
        arch = self.architecture
        for tensors, shapes, least, most in (
            (self.weights, arch.weight_shapes, -WEIGHT_MAX, WEIGHT_MAX),
            (self.biases, arch.bias_shapes, BIAS_MIN, BIAS_MAX),
        ):
            if [(t.dtype, t.shape) for t in tensors] != [(np.dtype(np.int64), s) for s in shapes]:
                raise GlobalModelInvalid("its tensors do not fit the architecture")
            if any(t.size and (t.max() > most * ONE or t.min() < least * ONE) for t in tensors):
                raise GlobalModelInvalid("a weight or a bias is out of range")

    def encode(self) -> bytes:
        """The one encoding, whose sha256 a block carries."""
        payload = b"".join(t.astype("<i8").tobytes() for t in _in_order(self.weights, self.biases))
        return _MAGIC + encode_fields((self.architecture.encode(), payload))

    @classmethod
    def decode(cls, raw: bytes) -> GlobalModel:
        """Inverse of `encode`. Raises GlobalModelInvalid for every other byte string."""
        found = decode_fields(raw[len(_MAGIC) :], n_fields=2) if raw.startswith(_MAGIC) else None
        if found is None:
            raise GlobalModelInvalid("the bytes are no global model of version 1")
        architecture = _decode_architecture(found[0])
        shapes = _in_order(architecture.weight_shapes, architecture.bias_shapes)
        if len(found[1]) != 8 * sum(map(prod, shapes)):
            raise GlobalModelInvalid("it is not as long as its architecture asks for")
        numbers = np.frombuffer(found[1], dtype="<i8").astype(np.int64)
        ends = np.cumsum([prod(s) for s in shapes])
        tensors = [
            part.reshape(shape)
            for part, shape in zip(np.split(numbers, ends[:-1]), shapes, strict=True)
        ]
        return cls(
            architecture=architecture, weights=tuple(tensors[0::2]), biases=tuple(tensors[1::2])
        )

    def rounded(self) -> QuantizedModel:
        """The nearest integer model, halves up. In range, since the bounds are integers."""

        def nearest(tensor: Int64Array) -> Int64Array:
            return (tensor + ONE // 2) >> FRACTION_BITS

        return QuantizedModel(
            architecture=self.architecture,
            weights=tuple(nearest(w).astype(np.int8) for w in self.weights),
            biases=tuple(nearest(b).astype(np.int32) for b in self.biases),
        )


def count_global_bytes(architecture: Architecture) -> int:
    """How long the encoding of every global model of this architecture is."""
    n_fields = len(encode_fields((architecture.encode(), b"")))
    return len(_MAGIC) + n_fields + 8 * architecture.n_parameters


def combine(models: Iterable[tuple[QuantizedModel, int]]) -> GlobalModel:
    """The weighted mean of models of one architecture; weights are positive, and at least one.

    Reads one model at a time. Raises ValueError when a weight is not positive, architectures
    differ, nothing is given, or the weights exceed 2^39 in all.
    """
    architecture: Architecture | None = None
    sums: list[Int64Array] = []
    total = 0
    for model, weight in models:
        if architecture is None:
            architecture = model.architecture
            shapes = _in_order(architecture.weight_shapes, architecture.bias_shapes)
            sums = [np.zeros(shape, dtype=np.int64) for shape in shapes]
        total += weight
        if model.architecture != architecture or weight < 1 or total > MAX_TOTAL_WEIGHT:
            raise ValueError("models of one architecture with positive weights, 2^39 in all")
        for sum_, tensor in zip(sums, _in_order(model.weights, model.biases), strict=True):
            sum_ += tensor.astype(np.int64) * weight
    if architecture is None:
        raise ValueError("the mean of no model")
    means = [_divide(sum_, total) for sum_ in sums]
    return GlobalModel(
        architecture=architecture, weights=tuple(means[0::2]), biases=tuple(means[1::2])
    )


def _divide(sums: Int64Array, total: int) -> Int64Array:
    """floor(2^16 s / total + 1/2), exact: s = q total + rest, and 2^17 rest + total < 2^57."""
    quotient, rest = np.divmod(sums, total)
    mean: Int64Array = quotient * ONE + (2 * ONE * rest + total) // (2 * total)
    return mean


def _in_order(weights: Iterable[Any], biases: Iterable[Any]) -> list[Any]:
    """Per layer weights, then biases."""
    return [x for pair in zip(weights, biases, strict=True) for x in pair]


def _decode_architecture(manifest: bytes) -> Architecture:
    try:
        architecture = Architecture.from_manifest(json.loads(manifest.decode("ascii")))
    except (ArchitectureInvalid, ValueError, RecursionError):
        raise GlobalModelInvalid("it holds no architecture") from None
    if architecture.encode() != manifest:
        raise GlobalModelInvalid("its architecture is not in canonical form")
    return architecture
