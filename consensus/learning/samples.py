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

import numpy as np
import numpy.typing as npt

from kernels.numpy_types import UInt8Array
from prover.circuit.public_inputs import MAX_SAMPLES
from prover.wire.statement import decode_fields, encode_fields

MAGIC = b"zkpotpol" + (1).to_bytes(2, "little")
SALT_BYTES = 32
MAX_AXES = 3
_DRAW_DOMAIN = b"zkpot shard of a beacon v1\x00"


class PoolInvalid(ValueError):
    """The bytes are no pool, or the pool is too small for the task; `what` says which."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SamplePool:
    """images : uint8[n, ...]; labels : uint8[n]; salt : empty, or 32 bytes of a sealed pool"""

    images: UInt8Array
    labels: UInt8Array
    salt: bytes = b""

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        fits = images.dtype == np.uint8 and labels.dtype == np.uint8
        fits = fits and 2 <= images.ndim <= 1 + MAX_AXES and labels.shape == images.shape[:1]
        if not fits or not 1 <= len(labels) <= MAX_SAMPLES or images[:1].size == 0:
            raise PoolInvalid("a pool is samples uint8[n, ...] and labels uint8[n]")
        if len(self.salt) not in (0, SALT_BYTES):
            raise PoolInvalid(f"a salt has {SALT_BYTES} bytes")

    def encode(self) -> bytes:
        shape = b"".join(n.to_bytes(8, "little") for n in self.images.shape[1:])
        samples = np.ascontiguousarray(self.images).tobytes()
        return MAGIC + encode_fields((self.salt, shape, samples, self.labels.tobytes()))

    @classmethod
    def decode(cls, raw: bytes) -> SamplePool:
        """Inverse of `encode`. Raises PoolInvalid for every other byte string."""
        found = decode_fields(raw[len(MAGIC) :], n_fields=4) if raw.startswith(MAGIC) else None
        if found is None:
            raise PoolInvalid("the bytes are no pool of version 1")
        salt, axes, samples, labels = found
        shape = [int.from_bytes(axes[i : i + 8], "little") for i in range(0, len(axes), 8)]
        n = len(labels)
        if len(axes) % 8 or not 1 <= len(shape) <= MAX_AXES or n * prod(shape) != len(samples):
            raise PoolInvalid("its parts do not fit each other")
        if n == 0 or not samples:
            raise PoolInvalid("it is empty")
        return cls(
            images=np.frombuffer(samples, dtype=np.uint8).reshape(n, *shape),
            labels=np.frombuffer(labels, dtype=np.uint8),
            salt=salt,
        )

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
