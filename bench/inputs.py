"""Inputs whose answers are known at any size, without the code that is timed.

Bases are 1*G, 2*G, 3*G, ..., so that an MSM is (sum s_i (i + 1)) G: one scalar multiplication, done
by the reference backend. A transform's input is the geometric sequence c^j, whose transform has the
closed form (c^n - 1) / (c w^i - 1).
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from bench.peers.interface import digest
from kernels.array import FrArray, FrMont, G1Array, G2Array
from kernels.backend import Backend, get_backend
from kernels.bn254 import G1, G2, R, root_of_unity

SEED = 20260254
RATIO = 7  # c; any element outside the group of 2^28-th roots of one
LIMB_BITS = 16
LIMB_MASK = np.uint64((1 << LIMB_BITS) - 1)


def random_scalars(n: int, *, seed: int = SEED) -> FrArray:
    """n scalars of full width: the top word is uniform below the top word of r."""
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 1 << 64, size=(n, 4), dtype=np.uint64)
    words[:, 3] = rng.integers(0, R >> 192, size=n, dtype=np.uint64)
    return FrArray(words)


def witness_scalars(n: int, *, seed: int = SEED) -> FrArray:
    """Scalars as in a witness: 60 % zero or one, 35 % below 2^16, 5 % of full width."""
    rng = np.random.default_rng(seed)
    words = np.zeros((n, 4), dtype=np.uint64)
    kind = rng.random(n)
    words[:, 0] = np.where(kind < 0.60, rng.integers(0, 2, size=n), rng.integers(0, 1 << 16, n))
    full = kind >= 0.95
    words[full] = random_scalars(n, seed=seed + 1).data[full]
    return FrArray(words)


def compute_known_scalar(scalars: FrArray) -> int:
    """sum s_i (i + 1) mod r, in 16-bit limbs: exact in 64 bits for n <= 2^24."""
    n = len(scalars)
    if n > 1 << 24:
        raise ValueError(f"known answers reach to 2^24 points, not {n}")
    index = np.arange(1, n + 1, dtype=np.uint64)
    total = 0
    for word in range(4):
        for shift in range(0, 64, LIMB_BITS):
            limb = (scalars.data[:, word] >> np.uint64(shift)) & LIMB_MASK
            total += int(limb @ index) << (64 * word + shift)
    return total % R


def expect_msm_g1(scalars: FrArray) -> object:
    """Affine sum s_i (i + 1) G1, by the reference backend."""
    known = FrArray.from_ints([compute_known_scalar(scalars)])
    return get_backend("reference").fixed_base_g1(known, G1Array.from_ints([G1])).to_ints()[0]


def expect_msm_g2(scalars: FrArray) -> object:
    """Affine sum s_i (i + 1) G2, by the reference backend."""
    known = FrArray.from_ints([compute_known_scalar(scalars)])
    return get_backend("reference").fixed_base_g2(known, G2Array.from_ints([G2])).to_ints()[0]


class Inputs:
    """Bases and sequences made once by a backend and shared by the cases."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._g1 = G1Array.zeros(0)
        self._g2 = G2Array.zeros(0)

    def bases_g1(self, n: int) -> G1Array:
        """1*G1 .. n*G1."""
        if len(self._g1) < n:
            self._g1 = self._backend.fixed_base_g1(_counting(n), G1Array.from_ints([G1]))
        return self._g1[:n]

    def bases_g2(self, n: int) -> G2Array:
        """1*G2 .. n*G2."""
        if len(self._g2) < n:
            self._g2 = self._backend.fixed_base_g2(_counting(n), G2Array.from_ints([G2]))
        return self._g2[:n]

    def sequence(self, n: int) -> FrMont:
        """RATIO^j for 0 <= j < n."""
        return self._backend.powers(RATIO, n)


@cache
def expect_ntt(lg_n: int) -> str:
    """Digest of the transform of RATIO^j over n = 2^lg_n, from its closed form."""
    n, w = 1 << lg_n, root_of_unity(lg_n)
    denominators = []
    x = RATIO
    for _ in range(n):
        denominators.append((x - 1) % R)
        x = x * w % R
    top = pow(RATIO, n, R) - 1
    return digest(top * inverse % R for inverse in _invert_all(denominators))


def digest_mont(values: FrMont, backend: Backend) -> str:
    """The digest that `expect_ntt` has."""
    canonical: npt.NDArray[np.uint64] = backend.from_mont(values).data
    return digest_words(canonical)


def digest_words(canonical: npt.NDArray[np.uint64]) -> str:
    """`digest` of canonical scalars given as little-endian words."""
    return sha256(np.ascontiguousarray(canonical, dtype="<u8").tobytes()).hexdigest()


def pairing_points(n: int) -> tuple[G1Array, G2Array]:
    """n >= 2 pairs whose product of pairings is one: (a_i G1, b_i G2) and (-G1, sum a_i b_i G2)."""
    reference = get_backend("reference")
    left = [3 + 2 * i for i in range(n - 1)]
    right = [(1 << 200) + 5 * i for i in range(n - 1)]
    closing = sum(a * b for a, b in zip(left, right, strict=True)) % R
    g1 = reference.fixed_base_g1(FrArray.from_ints([*left, R - 1]), G1Array.from_ints([G1]))
    g2 = reference.fixed_base_g2(FrArray.from_ints([*right, closing]), G2Array.from_ints([G2]))
    return g1, g2


def double_first(points: G1Array) -> G1Array:
    """The same points with the first one doubled: a pairing product of one is one no more."""
    reference = get_backend("reference")
    twice = reference.fixed_base_g1(FrArray.from_ints([2]), points[:1])
    return G1Array.concat([twice, points[1:]])


def _counting(n: int) -> FrArray:
    words = np.zeros((n, 4), dtype=np.uint64)
    words[:, 0] = np.arange(1, n + 1, dtype=np.uint64)
    return FrArray(words)


def _invert_all(values: list[int]) -> list[int]:
    """Montgomery's trick: one inversion and three products each. No value may be zero."""
    prefixes, running = [], 1
    for v in values:
        prefixes.append(running)
        running = running * v % R
    running = pow(running, -1, R)
    for i in range(len(values) - 1, -1, -1):
        prefixes[i] = prefixes[i] * running % R
        running = running * values[i] % R
    return prefixes
