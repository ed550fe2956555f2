"""Membership of many points of E' in G2 at once, by random linear combinations.

E'(F_p2) has order r h with gcd(r, h) = 1 and h = 2p - r = 10069 * 5864401 * ..., so each of its
points is G + H with G in G2 and H of an order that divides h. Members have H = 0. A stranger has
H of an order that is not 1 and divides h, hence at least 10069, h's smallest prime factor.

Draw for every point P_i ten digits d_(i,w), independent and uniform over D_w consecutive integers,
D_w <= 10069, and test S_w = sum_i d_(i,w) P_i for its order, exactly, for each w. Members always
pass. Let P_j be a stranger and fix all digits but its own. The multiples d H_j of D_w consecutive d
are pairwise different, since H_j has an order of at least D_w; so at most one of them cancels what
the other points contribute to the part of S_w outside G2. S_w passes with probability at most
1/D_w, all ten with at most 1/(D_0 ... D_9), however many strangers there are and whoever chose
them, provided that he did so before the digits were drawn.

The digits are the signed 13-bit digits of a uniform 128-bit integer: nine times 13 bits, then 11.
Given the carry from below, a digit is a bijection of its bits onto 2^13 (or 2^11) consecutive
integers. So the digits are independent and uniform, D_0 ... D_9 = 2^128, and a test that says yes
is wrong with probability at most 2^-128.

Affine additions hold on all of E', not on G2 alone; its order is odd, so no doubling meets y = 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kernels.array import U64, G2Array
from kernels.cpu.msm.pippenger import Msm
from kernels.cpu.words.group import is_in_subgroup_g2, is_on_curve_g2

DIGIT_BITS = 13  # 2^13 <= 10069
N_DIGITS = 10
RANDOM_BYTES = 16  # for each point: 128 bits are nine digits of 13 bits and one of 11
FEW = 64  # up to here a test of each point is as quick


def are_all_in_subgroup_g2(msm: Msm, points: G2Array, random_bytes: Callable[[int], bytes]) -> bool:
    """Whether every point has coordinates < p, is on E' and of order r, or infinity.

    msm          : multi-exponentiation in G2
    random_bytes : uniform bytes that whoever made the points could not foresee
    errors       : False is certain; True is wrong with probability at most 2^-128
    cost         : ten additions a point, about 1/80 of `is_in_subgroup_g2`
    """
    if len(points) <= FEW:
        return bool(is_in_subgroup_g2(points).all())
    if not is_all_on_curve_g2(msm, points):
        return False
    sums = msm.digit_sums(
        draw_scalars(len(points), random_bytes),
        msm.prepare(points.data),
        c=DIGIT_BITS,
        n_windows=N_DIGITS,
    )
    return bool(is_in_subgroup_g2(G2Array(sums)).all())


def is_all_on_curve_g2(msm: Msm, points: G2Array) -> bool:
    """Whether every point has coordinates < p and is on E', or infinity."""
    verdicts: list[bool] = []

    def part(first: int, last: int) -> None:
        verdicts.append(bool(is_on_curve_g2(points[first:last]).all()))

    msm.pool.ranges(len(points), part, cost_ns=400)
    return all(verdicts)


def draw_scalars(n: int, random_bytes: Callable[[int], bytes]) -> U64:
    """uint64[n, 4], uniform below 2^128. Raises ValueError for a source that gives too little."""
    raw = random_bytes(RANDOM_BYTES * n)
    if len(raw) != RANDOM_BYTES * n:
        raise ValueError(f"asked for {RANDOM_BYTES * n} random bytes, got {len(raw)}")
    scalars = np.zeros((n, 4), dtype=np.uint64)
    scalars[:, :2] = np.frombuffer(raw, dtype="<u8").reshape(n, 2)
    return scalars
