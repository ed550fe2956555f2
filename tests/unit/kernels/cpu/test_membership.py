"""Points tested together for their order: the numbers behind the bound, what digits are for."""

from math import gcd

import numpy as np
import pytest

from kernels.array import G2Array, words_from_ints
from kernels.bn254 import G2, G2_COFACTOR, R
from kernels.cpu.lanes.choice import choose_lanes
from kernels.cpu.msm.membership import (
    DIGIT_BITS,
    FEW,
    N_DIGITS,
    RANDOM_BYTES,
    are_all_in_subgroup_g2,
    draw_scalars,
)
from kernels.cpu.msm.pippenger import Msm
from kernels.cpu.pool import Pool
from kernels.reference import add_g2, mul_g2
from tests.support.foreign import outside_g2

SMALLEST_FACTOR = 10069


@pytest.fixture(scope="module")
def msm() -> Msm:
    return Msm(choose_lanes("auto"), 2, Pool(1))


def signed_digits(s: int) -> list[int]:
    """Digits in (-2^12, 2^12], least first: s = sum d_w 2^(13 w)."""
    digits = []
    for _ in range(N_DIGITS):
        d = s % (1 << DIGIT_BITS)
        d -= (d > 1 << (DIGIT_BITS - 1)) << DIGIT_BITS
        digits.append(d)
        s = (s - d) >> DIGIT_BITS
    assert s == 0
    return digits


def test_smallest_factor_of_the_cofactor_exceeds_the_range_of_a_digit() -> None:
    assert G2_COFACTOR % SMALLEST_FACTOR == 0
    assert all(G2_COFACTOR % q for q in range(2, SMALLEST_FACTOR))
    assert 1 << DIGIT_BITS <= SMALLEST_FACTOR
    assert gcd(G2_COFACTOR, R) == 1


def test_digits_take_all_bits_that_are_drawn() -> None:
    assert 8 * RANDOM_BYTES == 128
    assert DIGIT_BITS * (N_DIGITS - 1) < 128 < DIGIT_BITS * N_DIGITS  # room for the last carry


def test_sums_are_the_combinations_of_the_digits_for_points_of_any_order(msm: Msm) -> None:
    outside = outside_g2()
    points = [outside, mul_g2(5, outside), None, add_g2(outside, G2), mul_g2(-1, outside)]
    scalars = [(1 << 128) - 1, 1 << 127, 77, 0x123456789ABCDEF0FEDCBA9876543210, 4097]
    prepared = msm.prepare(G2Array.from_ints(points).data)
    sums = msm.digit_sums(words_from_ints(scalars), prepared, c=DIGIT_BITS, n_windows=N_DIGITS)
    digits = [signed_digits(s) for s in scalars]
    for w, found in enumerate(G2Array(sums).to_ints()):
        expected = None
        for d, p in zip(digits, points, strict=True):
            expected = add_g2(expected, mul_g2(d[w], p))
        assert found == expected


def test_foreseen_digits_let_strangers_cancel(msm: Msm) -> None:
    """Whoever knows the digits chooses strangers that no combination shows: they must be random."""
    outside = outside_g2()
    points = G2Array.from_ints([outside, mul_g2(-1, outside)] + [G2] * FEW)
    assert are_all_in_subgroup_g2(msm, points, lambda n: b"\x05" * n)
    assert not are_all_in_subgroup_g2(msm, points, np.random.default_rng(1).bytes)


def test_source_that_gives_too_little_is_refused() -> None:
    with pytest.raises(ValueError, match="asked for 48 random bytes, got 47"):
        draw_scalars(3, lambda n: bytes(n - 1))
