"""Sums over bases that stay, against multiples of the generator that are known."""

from random import Random

import numpy as np
import pytest

from kernels.array import FrArray, G1Array
from kernels.bn254 import G1, R
from kernels.cpu.words.fixed_msm import MAX_BASES, MOST_BITS, ROW, FixedBases, choose_bits
from kernels.cpu.words.group import mul_g1
from kernels.errors import ShapeError


def g1(*multiples: int) -> G1Array:
    base = G1Array(np.repeat(G1Array.from_ints([G1]).data, len(multiples), axis=0))
    return mul_g1(FrArray.from_ints(multiples), base)


def draw_multiples(rng: Random, n: int) -> list[int]:
    """Equal, opposite and infinite bases among others."""
    return [[1, 1, R - 1, 0, rng.randrange(R)][i % 5] for i in range(n)]


def draw_scalars(rng: Random, n: int) -> list[int]:
    """Zeros, ones, digits of one window, windows that carry into the next, and full ones."""
    edges = [0, 1, R - 1, 1 << 253, (1 << 128) - 1, 1 << (rng.randrange(253))]
    return [rng.choice([*edges, rng.randrange(R), rng.randrange(R)]) for _ in range(n)]


@pytest.mark.parametrize("n", [0, 1, 2, 5, 33, 150])
def test_every_sum_is_the_sum(n: int, rng: Random) -> None:
    """The first is done without a table, those behind with one."""
    multiples = draw_multiples(rng, n)
    bases = FixedBases(g1(*multiples))
    draws = [[0] * n, [R - 1] * n, [1] * n, *(draw_scalars(rng, n) for _ in range(3))]
    for scalars in draws:
        total = sum(s * k for s, k in zip(scalars, multiples, strict=True))
        assert bases.sum(FrArray.from_ints(scalars)).equals(g1(total % R))


@pytest.mark.parametrize("c", range(5, MOST_BITS + 1))
def test_buckets_of_any_width(c: int, rng: Random) -> None:
    """One row of buckets and many; all digits that a window has at its ends."""
    multiples = draw_multiples(rng, 7)
    bases = FixedBases(g1(*multiples))
    bases._c = c
    half = 1 << (c - 1)
    digits = [half, half + 1, half - 1, ROW, ROW - 1, (1 << c) - 1, rng.randrange(half)]
    scalars = [sum(d << (c * w) for w in range(250 // c)) for d in digits]
    total = sum(s * k for s, k in zip(scalars, multiples, strict=True))
    for _ in range(3):
        assert bases.sum(FrArray.from_ints(scalars)).equals(g1(total % R))


def test_widths_are_whole_rows() -> None:
    for n in (0, 1, 10, 100, 1000, 1 << 20):
        assert (1 << (choose_bits(n) - 1)) % ROW == 0
    assert choose_bits(1) < choose_bits(800)


def test_many_bases_have_no_table(rng: Random) -> None:
    """Of a key with 2^20 public wires it would be gigabytes."""
    n = MAX_BASES + 1
    bases = FixedBases(G1Array(np.repeat(g1(1).data, n, axis=0)))
    for _ in range(2):
        scalars = [rng.randrange(R) if i % 100 == 0 else 0 for i in range(n)]
        assert bases.sum(FrArray.from_ints(scalars)).equals(g1(sum(scalars) % R))
    assert bases._tables is None


def test_other_lengths_are_refused() -> None:
    bases = FixedBases(g1(1, 2))
    for _ in range(3):
        with pytest.raises(ShapeError, match="FixedBases"):
            bases.sum(FrArray.from_ints([1]))
        assert bases.sum(FrArray.from_ints([1, 1])).equals(g1(3))
