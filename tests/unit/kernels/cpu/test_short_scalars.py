"""Ones and long scalars taken apart: the same sum, and only where it is worth while."""

from __future__ import annotations

import random

import numpy as np
import pytest

from kernels.array import FrArray, G1Array, G2Array
from kernels.bn254 import R
from kernels.cpu.lanes.choice import choose_lanes
from kernels.cpu.msm.pippenger import Msm, PreparedBases
from kernels.cpu.msm.short_scalars import MIN_LENGTH, Shares, choose_shares, run, take_apart
from kernels.cpu.pool import Pool
from tests.conformance.inputs import GROUPS, Group, known_sum, progression

N = 600
BITS, SIGNS, BYTES = [0, 1], [0, 1, R - 1], [0, *range(2, 256), R - 200]
TABLE_BYTES = 8 * 64 * N


def draw(values: list[int], n_long: int) -> list[int]:
    """N scalars: n_long of full size at the end, the others drawn from the values."""
    rng = random.Random(f"{values[-1]}.{n_long}")
    return [rng.choice(values) for _ in range(N - n_long)] + [
        rng.randrange(1 << 250, R) for _ in range(n_long)
    ]


def prepare(
    group: Group, n_threads: int, max_bytes: int | None
) -> tuple[Msm, PreparedBases, list[int]]:
    """Bases of which some are infinity, and their discrete logarithms."""
    points, factors = progression(group, N)
    for i in range(0, N, 50):
        points[i], factors[i] = None, 0
    msm = Msm(choose_lanes("auto"), group.array.WORDS // 8, Pool(n_threads, grain_ns=1))
    words = group.array.from_ints(points).data
    bases = msm.prepare(words) if max_bytes is None else msm.prepare_tables(words, max_bytes)
    return msm, bases, factors


CASES = {
    "bits": (draw(BITS, 0), Shares(units=True, long_only=False)),
    "bits and a long one": (draw(BITS, 1), Shares(units=True, long_only=False)),
    "signs": (draw(SIGNS, 2), Shares(units=True, long_only=False)),
    "bytes and a long one": (draw(BYTES, 1), Shares(units=False, long_only=True)),
    "bits, bytes, long ones": (draw([*[1] * 100, *BYTES], 9), Shares(units=True, long_only=True)),
    "ones among long scalars": (
        [1, R - 1] * (N // 4) + draw([0], N // 2)[N // 2 :],
        Shares(units=True, long_only=False),
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_sum_is_the_same(group: Group, name: str) -> None:
    scalars, shares = CASES[name]
    msm, bases, factors = prepare(group, 2, None)
    given = FrArray.from_ints(scalars)
    assert choose_shares(msm.lengths(given.data, bases.infinite), bases) == shares
    total = group.array(run(msm, given, bases, None).reshape(1, -1))
    assert total.equals(known_sum(group, scalars, factors))
    assert total.equals(group.array(msm.run(given, bases).reshape(1, -1)))


def test_few_terms_stay() -> None:
    scalars, shares = CASES["bits, bytes, long ones"]
    msm, bases, _ = prepare(GROUPS[0], 1, None)
    fewer, kept = take_apart(msm, FrArray.from_ints(scalars), bases, shares)
    assert fewer.to_ints() == [*scalars[-9:], 1, 1]
    assert len(kept) == 11
    assert not kept.infinite.any()


@pytest.mark.parametrize("name", ["bits and a long one", "bytes and a long one"])
def test_with_precomputed_multiples(name: str) -> None:
    scalars, shares = CASES[name]
    msm, bases, factors = prepare(GROUPS[0], 2, TABLE_BYTES)
    assert bases.n_tables > 1
    given = FrArray.from_ints(scalars)
    assert choose_shares(msm.lengths(given.data, bases.infinite), bases) == shares
    total = G1Array(run(msm, given, bases, None).reshape(1, -1))
    assert total.equals(known_sum(GROUPS[0], scalars, factors))


def test_multiples_are_used_where_much_would_be_kept() -> None:
    scalars, _ = CASES["ones among long scalars"]
    msm, bases, _ = prepare(GROUPS[0], 1, TABLE_BYTES)
    lengths = msm.lengths(FrArray.from_ints(scalars).data, bases.infinite)
    assert choose_shares(lengths, bases) is None


def test_ones_that_cancel() -> None:
    """P - P, again and again: the sum of ones is infinity, and so is all of it."""
    points, _ = progression(GROUPS[1], 1)
    msm = Msm(choose_lanes("auto"), 2, Pool(2, grain_ns=1))
    bases = msm.prepare(G2Array.from_ints(points * MIN_LENGTH).data)
    scalars = FrArray.from_ints([1, R - 1] * (MIN_LENGTH // 2))
    assert not run(msm, scalars, bases, None).any()


def test_scalars_beyond_the_order_are_refused() -> None:
    msm, bases, _ = prepare(GROUPS[0], 1, None)
    words = FrArray.from_ints(CASES["bits"][0]).data.copy()
    words[7] = np.uint64(2**64 - 1)
    with pytest.raises(ValueError, match="not below"):
        run(msm, FrArray(words), bases, None)


def test_long_scalars_alone_stay() -> None:
    msm, bases, _ = prepare(GROUPS[0], 1, None)
    lengths = msm.lengths(FrArray.from_ints(draw(BITS, N - 9)).data, bases.infinite)
    assert choose_shares(lengths, bases) is None
