"""Streams of masks: from a seed as many elements of F_r as a model has, and sums of many of them.

    PRG(seed) = AES-256-CTR of zeros under the key `seed`, counter from 0; 48 bytes an element,
                little-endian, mod r (a bias below 2^-128)

A client adds one stream for each neighbour, a node takes them away again, so this is where the time
goes. Elements stay 384 bits long until all streams are added; a range of elements is a thread's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from kernels.array import FrArray, FrMont
from kernels.backend import Backend
from kernels.cpu.words.lane_sum import ELEMENT_BYTES, LaneSum

SEED_BYTES = 32
_BLOCK_BYTES = 16
_AT_ONCE = 3072  # elements: 430 KiB, of a core's cache; a third of it calls three times as often
_COST_NS = 15  # of an element of one stream

SignedSeed = tuple[int, bytes]
"""1 or -1, and the seed of the stream to add or to take away."""


class Masker:
    """Arithmetic of masked vectors on one backend, and sums of streams on as many threads."""

    def __init__(self, backend: Backend) -> None:
        from kernels.cpu.pool import Pool  # here, as backends are loaded: not by a node's start

        self.backend = backend
        self._pool = Pool(backend.info().n_threads)

    def sum_streams(self, seeds: Sequence[SignedSeed], n: int) -> FrArray:
        """sum of sign PRG(seed), shape [n]; zeros for no seed."""
        out = FrArray.zeros(n)

        def part(first: int, last: int) -> None:
            _sum_part(seeds, out, first, last)

        if seeds:
            self._pool.ranges(n, part, cost_ns=_COST_NS * len(seeds), multiple=_AT_ONCE)
        return out

    def add(self, a: FrArray, b: FrArray) -> FrArray:
        """a + b, elementwise. (Addition is the same in both forms of a scalar.)"""
        return FrArray(self.backend.add(FrMont(a.data), FrMont(b.data)).data)

    def scale(self, a: FrArray, factor: int) -> FrArray:
        """factor a, elementwise, for any integer."""
        return FrArray(self.backend.scale(FrMont(a.data), factor).data)


def _sum_part(seeds: Sequence[SignedSeed], out: FrArray, first: int, last: int) -> None:
    """Writes elements first to last of the sum."""
    counter = (first * ELEMENT_BYTES // _BLOCK_BYTES).to_bytes(_BLOCK_BYTES, "big")
    streams = [(sign, Cipher(AES(seed), CTR(counter)).encryptor()) for sign, seed in seeds]
    for start in range(first, last, _AT_ONCE):
        n = min(_AT_ONCE, last - start)
        zeros, room = bytes(n * ELEMENT_BYTES), bytearray(n * ELEMENT_BYTES)
        words, total = np.frombuffer(room, dtype="<u4"), LaneSum(n)
        for sign, stream in streams:
            stream.update_into(zeros, room)
            total.add(words, sign=sign)
        out.data[start : start + n] = total.reduce().data


def expand(seed: bytes, n: int) -> FrArray:
    """PRG(seed), shape [n], in the caller's thread."""
    out = FrArray.zeros(n)
    _sum_part([(1, seed)], out, 0, n)
    return out
