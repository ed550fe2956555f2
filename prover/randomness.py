"""Randomness as an argument: how scalars and weights are drawn from a source of bytes.

The source is `secrets.token_bytes` in the shells and a seeded one in tests; nothing here owns one.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import shake_256
from itertools import count

from kernels.bn254 import R
from prover.errors import BrokenRandomness

RandomBytes = Callable[[int], bytes]
"""random_bytes(n) gives n uniform, independent bytes; cryptographic where secrets depend on it."""

_SCALAR_BITS = R.bit_length()  # 254
WEIGHT_BYTES = 16


def draw_scalar(random_bytes: RandomBytes) -> int:
    """Uniform in F_r, by rejection: 254-bit strings, refused when >= r (about one in four)."""
    for _ in range(256):  # 256 refusals in a row have probability below 2^-512
        value = int.from_bytes(_take(random_bytes, 32), "little") & ((1 << _SCALAR_BITS) - 1)
        if value < R:
            return value
    raise BrokenRandomness("256 draws in a row are no scalar: the source is not random")


def draw_nonzero_scalar(random_bytes: RandomBytes) -> int:
    """Uniform in F_r without zero."""
    for _ in range(256):
        value = draw_scalar(random_bytes)
        if value:
            return value
    raise BrokenRandomness("256 scalars in a row are zero: the source is not random")


def draw_weight(random_bytes: RandomBytes) -> int:
    """Uniform in [1, 2^128): the weight of one equation in a batch."""
    for _ in range(256):
        value = int.from_bytes(_take(random_bytes, WEIGHT_BYTES), "little")
        if value:
            return value
    raise BrokenRandomness("256 weights in a row are zero: the source is not random")


def fork(random_bytes: RandomBytes) -> RandomBytes:
    """A source of its own, seeded with 32 bytes of another: who draws from it, and when, leaves
    what the other one gives as it is.

    holds : call i gives SHAKE-256 of seed | i, which nobody tells from random without the seed
    """
    seed, calls = _take(random_bytes, 32), count()
    return lambda n: shake_256(seed + next(calls).to_bytes(8, "little")).digest(n)


def _take(random_bytes: RandomBytes, n: int) -> bytes:
    raw = random_bytes(n)
    if len(raw) != n:
        raise BrokenRandomness(f"asked for {n} random bytes, got {len(raw)}")
    return raw
