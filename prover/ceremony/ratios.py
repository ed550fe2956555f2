"""Whether points stand in one ratio: random combinations, then pairings.

A combination with independent weights of 128 bits hides a point that is wrong with probability
2^-128 at most, for points of a group of order r: whoever calls has tested them.
"""

from __future__ import annotations

import numpy as np

from kernels.array import FrArray, G1Array, G2Array
from kernels.bn254 import G1, G2
from kernels.cpu.words.group import neg_g1
from kernels.pairing import pairing_product_is_one
from prover.formats.checks import is_infinity
from prover.randomness import WEIGHT_BYTES, RandomBytes

G1_GENERATOR, G2_GENERATOR = G1Array.from_ints([G1]), G2Array.from_ints([G2])


def have_same_ratio(a: G1Array, a_x: G1Array, b: G2Array, b_x: G2Array) -> bool:
    """Whether a_x = x a and b_x = x b for one x that is not zero; all of length 1.

    False where any is infinity: then any x, or none, would do.
    """
    if any(is_infinity(points).any() for points in (a, a_x, b, b_x)):
        return False
    return pairing_product_is_one(G1Array.concat([a, neg_g1(a_x)]), G2Array.concat([b_x, b]))


def draw_weights(n: int, random_bytes: RandomBytes) -> FrArray:
    """n independent weights below 2^128."""
    words = np.zeros((n, 4), dtype=np.uint64)
    raw = np.frombuffer(random_bytes(n * WEIGHT_BYTES), dtype="<u8")
    words[:, :2] = raw.reshape(n, 2)
    return FrArray(words)
