"""Hashes of a ceremony: BLAKE2b-512 over points as big-endian numbers.

    G1: x | y      G2: x1 | x0 | y1 | y0      infinity: zero bytes

    transcript of a contribution = H( circuit hash | all contributions before, whole | s | s x )
    contribution, whole          = delta after | s | s x | s' x | transcript

A contribution's transcript fixes its s' before its proof of knowledge, and with it all that came
before. Source: snarkjs 0.7.6, src/zkey_utils.js (hashPubKey), zkey_contribute.js.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Protocol

import numpy as np

from kernels.array import G1Array, G2Array
from kernels.cpu.words.scalar64 import from_mont_words
from prover.formats.contributions import HASH_BYTES, Contribution


class Hasher(Protocol):
    """What takes bytes."""

    def update(self, data: bytes, /) -> None: ...


def encode_big_endian(points: G1Array | G2Array) -> bytes:
    """64 or 128 bytes for each point: each coordinate whole from its last byte to its first."""
    words = from_mont_words(np.ascontiguousarray(points.data.reshape(-1, 4)))
    coordinates = words.astype("<u8", copy=False).view(np.uint8)
    coordinates = coordinates.reshape(2 * len(points), 4 * points.WORDS)
    return np.ascontiguousarray(coordinates[:, ::-1]).tobytes()


class Transcript:
    """The hash of a ceremony up to some place, which goes on contribution by contribution."""

    def __init__(self, circuit_hash: bytes) -> None:
        self._hasher = blake2b(circuit_hash, digest_size=HASH_BYTES)

    def add(self, contribution: Contribution) -> None:
        """Goes on behind it."""
        self._hasher.update(encode_contribution(contribution))

    def finish(self, s: G1Array, s_x: G1Array) -> bytes:
        """The transcript of a contribution at this place, 64 bytes."""
        hasher = self._hasher.copy()
        hasher.update(encode_big_endian(G1Array.concat([s, s_x])))
        return hasher.digest()


def compute_transcript(
    circuit_hash: bytes, before: Sequence[Contribution], s: G1Array, s_x: G1Array
) -> bytes:
    """The transcript of a contribution behind others, 64 bytes."""
    transcript = Transcript(circuit_hash)
    for contribution in before:
        transcript.add(contribution)
    return transcript.finish(s, s_x)


def encode_contribution(c: Contribution) -> bytes:
    """The contribution as later transcripts have it; its name and parameters are not in it."""
    g1 = encode_big_endian(G1Array.concat([c.delta_after, c.s, c.s_x]))
    return g1 + encode_big_endian(c.spx) + c.transcript


def hash_contribution(contribution: Contribution) -> bytes:
    """The hash that a contributor publishes, 64 bytes."""
    return blake2b(encode_contribution(contribution), digest_size=HASH_BYTES).digest()
