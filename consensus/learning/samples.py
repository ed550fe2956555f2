"""Test pools as blobs, and the shard that a beacon draws from one.

    pool = "zkpotpol" | version, 2 bytes | fields: salt (0 or 32 bytes) | shape of one sample,
           8 bytes little-endian per axis | samples | labels

A sealed pool has a salt, so that its digest tells nothing before it is opened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Annotated, ClassVar, Self

import numpy as np
import numpy.typing as npt

from consensus.errors import PoolInvalid
from kernels.numpy_types import UInt8Array
from prover.circuit.public_inputs import MAX_SAMPLES
from prover.errors import FieldInvalid
from prover.wire.array_kinds import Array
from prover.wire.kinds import Bytes, Number, Packed
from prover.wire.records import Record, header

SALT_BYTES = 32
MAX_AXES = 3
_DRAW_DOMAIN = b"zkpot shard of a beacon v1\x00"

Axis = Annotated[int, Number(1)]
Bytewise = Annotated[UInt8Array, Array("uint8")]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SamplePool(Record):
    """Samples of one shape, of which a beacon draws.

    salt    : empty, or that of a sealed pool
    shape   : of one sample
    samples : one after the other, flat
    """

    HEADER: ClassVar[bytes] = header(b"zkpotpol", 1)
    ERROR: ClassVar[type[FieldInvalid]] = PoolInvalid
    salt: Annotated[bytes, Bytes(0, SALT_BYTES, step=SALT_BYTES)]
    shape: Annotated[tuple[Axis, ...], Packed(1, MAX_AXES)]
    samples: Bytewise
    labels: Bytewise

    @classmethod
    def of(cls, images: UInt8Array, labels: UInt8Array, salt: bytes = b"") -> Self:
        """images : uint8[n, ...]; labels : uint8[n]. Raises PoolInvalid for any others."""
        return cls(salt=salt, shape=images.shape[1:], samples=images.reshape(-1), labels=labels)

    def check_whole(self) -> None:
        n = len(self.labels)
        self.require(1 <= n <= MAX_SAMPLES, f"has not 1 to {MAX_SAMPLES} samples")
        self.require(n * prod(self.shape) == len(self.samples), "has not one sample for each label")

    @property
    def images(self) -> UInt8Array:
        """uint8[n, ...]"""
        return self.samples.reshape(len(self.labels), *self.shape)

    def draw(self, beacon: bytes, n_samples: int) -> tuple[UInt8Array, UInt8Array]:
        """Images and labels of the beacon's shard. Raises PoolInvalid when they are too few."""
        if len(self.labels) < n_samples:
            raise PoolInvalid(f"{len(self.labels)} samples, the task draws {n_samples}")
        indices = draw_indices(beacon, len(self.labels), n_samples)
        return self.images[indices], self.labels[indices]


def draw_indices(beacon: bytes, n_pool: int, n_samples: int) -> npt.NDArray[np.int64]:
    """n_samples different indices below n_pool, ascending, a function of the beacon.

    Requires 1 <= n_samples <= n_pool <= 2^20.
    source : Floyd's sampling (Bentley and Floyd, CACM 30(9), 1987): every subset is equally likely
    """
    words = _words(beacon)
    chosen: set[int] = set()
    for last in range(n_pool - n_samples, n_pool):
        index = _below(last + 1, words)
        chosen.add(last if index in chosen else index)
    return np.array(sorted(chosen), dtype=np.int64)


def draw_nested(beacon: bytes, n_pool: int, n_samples: int) -> npt.NDArray[np.int64]:
    """As `draw_indices`, and what is drawn is drawn of more samples, too: for draws whose number
    may be chosen by somebody who knows the beacon, since more of them can hide nothing.

    source : the first n_samples places of a shuffle (Fisher and Yates)
    """
    words, moved = _words(beacon), dict[int, int]()
    chosen = []
    for place in range(n_samples):
        other = place + _below(n_pool - place, words)
        chosen.append(moved.get(other, other))
        moved[other] = moved.get(place, place)
    return np.array(sorted(chosen), dtype=np.int64)


def _words(beacon: bytes) -> Iterator[int]:
    """64-bit numbers: sha256(domain | beacon | counter), cut in four."""
    seed = hashlib.sha256(_DRAW_DOMAIN + beacon)
    counter = 0
    while True:
        block = seed.copy()
        block.update(counter.to_bytes(8, "little"))
        raw = block.digest()
        yield from (int.from_bytes(raw[i : i + 8], "little") for i in range(0, 32, 8))
        counter += 1


def _below(bound: int, words: Iterator[int]) -> int:
    """Uniform in [0, bound): words beyond the last multiple of the bound are passed over."""
    limit = (1 << 64) - (1 << 64) % bound
    return next(word for word in words if word < limit) % bound
