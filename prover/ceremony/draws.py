"""What snarkjs draws from a hash: a stream of ChaCha20, field elements, points, keys of beacons.

    seed      : the first 32 bytes of a hash, as eight big-endian words; ChaCha with counter 0
    element   : 4 x 64 bits, the low ones first, of each the high word first; 254 bits are kept, and
                drawn again while not below the modulus. The number is x 2^256: Montgomery form
    point     : x, then one bit; again while x^3 + b is no square; y is the larger one for bit 1.
                In G2 times the cofactor
    beacon    : SHA-256 of the beacon, 2^exponent times

Source: ffjavascript (npm, 0.3.1), src/chacha.js, wasm_field1.js, wasm_curve.js; snarkjs 0.7.6,
src/keypair.js, misc.js. Python integers: a point of G2 takes some 10 ms, and there are few.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import TypeVar

from kernels.array import AffineG1, AffineG2, G1Array, G2Array
from kernels.bn254 import B1, B2, G2_COFACTOR, MONT_BITS, P, R
from kernels.encoding import sqrt_fp, sqrt_fp2
from kernels.reference import Fp2, add_fp2, mul_fp2, mul_g1, mul_g2
from prover.ceremony.blake import QUARTERS

MIN_EXPONENT, MAX_EXPONENT = 10, 63
"""Of a beacon, by snarkjs's rules."""

SEED_BYTES = 32
_CONSTANTS = (0x61707865, 0x3320646E, 0x79622D32, 0x6B206574)
_WORD = 0xFFFFFFFF
_MASK = (1 << P.bit_length()) - 1  # r is as long
F = TypeVar("F", int, Fp2)


class Draws:
    """A stream of what a hash of at least 32 bytes draws, in the order asked for."""

    def __init__(self, digest: bytes) -> None:
        self._words = _stream(struct.unpack(">8I", digest[:SEED_BYTES]))

    def scalar(self) -> int:
        """An element of F_r, canonical."""
        return self._element(R)

    def point_g1(self) -> AffineG1:
        """A point of G1 whose logarithm nobody knows."""
        return self._point(lambda: self._element(P), _curve_g1, sqrt_fp, _is_large)

    def point_g2(self) -> AffineG2:
        """A point of G2 whose logarithm nobody knows."""
        found = self._point(self._element_fp2, _curve_g2, sqrt_fp2, _is_large_fp2)
        point = mul_g2(G2_COFACTOR, found)
        assert point is not None, "one point in 2^254 has the order of the cofactor"
        return point

    def _element(self, modulus: int) -> int:
        while True:
            value = 0
            for i in range(4):
                high = next(self._words)
                value |= ((high << 32) | next(self._words)) << (64 * i)
            value &= _MASK
            if value < modulus:
                return value * pow(1 << MONT_BITS, -1, modulus) % modulus

    def _element_fp2(self) -> Fp2:
        first = self._element(P)
        return first, self._element(P)

    def _point(
        self,
        draw: Callable[[], F],
        curve: Callable[[F], F],
        root: Callable[[F], F | None],
        is_large: Callable[[F], bool],
    ) -> tuple[F, F]:
        while True:
            x = draw()
            wants_large = bool(next(self._words) & 1)
            y = root(curve(x))
            if y is not None:
                return x, y if is_large(y) == wants_large else _negate(y)


def hash_to_g2(transcript: bytes) -> G2Array:
    """The point s' of a contribution, length 1."""
    return G2Array.from_ints([Draws(transcript).point_g2()])


def draw_by_beacon(beacon: bytes, exponent: int) -> tuple[int, G1Array, G1Array]:
    """The share of delta that a beacon gives, the point s and s x. Cost: 2^exponent hashes."""
    digest = beacon
    for _ in range(1 << exponent):
        digest = sha256(digest).digest()
    draws = Draws(digest)
    share, s = draws.scalar(), draws.point_g1()
    return share, G1Array.from_ints([s]), G1Array.from_ints([mul_g1(share, s)])


def _stream(seed: tuple[int, ...]) -> Iterator[int]:
    """Words of ChaCha20 (Bernstein), the counter of 128 bits in the last four words."""
    counter = 0
    while True:
        state = [*_CONSTANTS, *seed, *((counter >> (32 * i)) & _WORD for i in range(4))]
        words = list(state)
        for _ in range(10):
            for quarter in QUARTERS:
                _quarter_round(words, *quarter)
        yield from ((w + s) & _WORD for w, s in zip(words, state, strict=True))
        counter += 1


def _quarter_round(x: list[int], a: int, b: int, c: int, d: int) -> None:
    for to, by, mixed, shift in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        x[to] = (x[to] + x[by]) & _WORD
        w = x[mixed] ^ x[to]
        x[mixed] = ((w << shift) | (w >> (32 - shift))) & _WORD


def _curve_g1(x: int) -> int:
    return (x * x * x + B1) % P


def _curve_g2(x: Fp2) -> Fp2:
    return add_fp2(mul_fp2(mul_fp2(x, x), x), B2)


def _is_large(y: int) -> bool:
    return y > P // 2


def _is_large_fp2(y: Fp2) -> bool:
    return _is_large(y[1] or y[0])


def _negate(y: F) -> F:
    return -y % P if isinstance(y, int) else (-y[0] % P, -y[1] % P)
