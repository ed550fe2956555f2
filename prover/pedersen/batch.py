"""Openings of many commitments, judged together: whoever opens one shows its vector.

    sum_i t_i D_i = Com(sum_i t_i w_i; sum_i t_i rho_i)      t_i weights of 128 bits, of the judge's

One multi-exponentiation for all. A plain sum would not do: two owners could swap their vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from kernels.array import FrArray
from kernels.bn254 import R
from kernels.encoding import Refused, decode_g1
from kernels.numpy_types import Int64Array
from prover.pedersen.commitment import Committer
from prover.pedersen.opening import combine_commitments
from prover.randomness import RandomBytes, draw_weight

_LIMB_BITS = 16
_N_LIMBS = 16  # of a scalar
_N_WEIGHT_LIMBS = 8
_R_LIMBS = np.array([R >> _LIMB_BITS * j & 0xFFFF for j in range(_N_LIMBS)], dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Opening:
    """A claim: `d` (compressed) commits to these values with this blinding.

    values : int64[n], of at most 24 bits
    """

    d: bytes
    values: Int64Array = field(repr=False)
    rho: int = field(repr=False)


def judge_openings(
    openings: Sequence[Opening], *, committer: Committer, random_bytes: RandomBytes
) -> list[bool]:
    """Which openings are right: all in one sum; if it fails, each half by itself, fresh weights."""
    if not openings or openings_hold(openings, committer=committer, random_bytes=random_bytes):
        return [True] * len(openings)
    if len(openings) == 1:
        return [False]
    middle = len(openings) // 2
    return [
        right
        for half in (openings[:middle], openings[middle:])
        for right in judge_openings(half, committer=committer, random_bytes=random_bytes)
    ]


def openings_hold(
    openings: Sequence[Opening], *, committer: Committer, random_bytes: RandomBytes
) -> bool:
    """Whether all are right; a wrong one passes with probability below 2^-127.

    Points that are none are wrong, as are values that are not as many as the committer's.
    """
    points = decode_g1(b"".join(o.d for o in openings), len(openings))
    if isinstance(points, Refused) or any(o.values.shape != (committer.n_wires,) for o in openings):
        return False
    t = [draw_weight(random_bytes) for _ in openings]
    rho = sum(weight * o.rho for weight, o in zip(t, openings, strict=True)) % R
    return committer.commit(_combine(openings, t), rho).equals(combine_commitments(points, t))


def _combine(openings: Sequence[Opening], weights: Sequence[int]) -> FrArray:
    """sum_i t_i w_ik mod r for every k.

    holds : a weight's limb of 16 bits times a value of 24 is below 2^40, so that 2^22 openings fit
            into int64
    """
    limbs = np.zeros((_N_LIMBS, len(openings[0].values)), dtype=np.int64)
    for opening, weight in zip(openings, weights, strict=True):
        for j in range(_N_WEIGHT_LIMBS):
            limbs[j] += (weight >> _LIMB_BITS * j & 0xFFFF) * opening.values
    is_negative = _carry(limbs) < 0
    limbs += _R_LIMBS[:, None] * is_negative  # above -2^170: once r is enough
    _carry(limbs)
    return FrArray(limbs.T.astype("<u2", order="C").view("<u8").astype(np.uint64))


def _carry(limbs: Int64Array) -> Int64Array:
    """Brings all limbs into [0, 2^16), least first; what is left above them, -1 of a negative."""
    carry = np.zeros(limbs.shape[1], dtype=np.int64)
    for j in range(len(limbs)):
        carry += limbs[j]
        limbs[j] = carry & 0xFFFF
        carry >>= _LIMB_BITS
    return carry
