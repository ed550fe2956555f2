"""Sums of streams against Python's integers, up to what lanes can hold."""

from random import Random

import numpy as np
import pytest

from kernels.bn254 import R
from kernels.cpu.words.lane_sum import ELEMENT_BYTES, LaneSum

BITS = 8 * ELEMENT_BYTES
EDGES = [0, 1, R - 1, R, R + 1, (1 << 256) - 1, 1 << 256, (1 << 320) + 1, (1 << BITS) - 1]


def make_stream(values: list[int]) -> np.ndarray:
    raw = b"".join(v.to_bytes(ELEMENT_BYTES, "little") for v in values)
    return np.frombuffer(raw, dtype="<u4").copy()


def test_edges_with_either_sign() -> None:
    pairs = [(a, b) for a in EDGES for b in EDGES]
    total = LaneSum(len(pairs))
    total.add(make_stream([a for a, _ in pairs]), sign=1)
    total.add(make_stream([b for _, b in pairs]), sign=-1)
    assert total.reduce().to_ints() == [(a - b) % R for a, b in pairs]


def test_many_streams(rng: Random) -> None:
    streams = [(rng.choice((1, -1)), [rng.getrandbits(BITS) for _ in range(5)]) for _ in range(300)]
    total = LaneSum(5)
    for sign, values in streams:
        total.add(make_stream(values), sign=sign)
    expected = [sum(sign * values[i] for sign, values in streams) % R for i in range(5)]
    assert total.reduce().to_ints() == expected


@pytest.mark.parametrize("sign", [1, -1])
def test_lanes_that_are_nearly_full(sign: int) -> None:
    """2^29 times the greatest element, by doubling: adding a sum's lanes to themselves."""
    greatest, total = (1 << BITS) - 1, LaneSum(3)
    total.add(make_stream([greatest] * 3), sign=sign)
    for _ in range(29):
        total._lanes += total._lanes
    assert total.reduce().to_ints() == [(sign * greatest << 29) % R] * 3


def test_an_empty_sum_is_zero() -> None:
    assert LaneSum(4).reduce().to_ints() == [0] * 4


def test_a_stream_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="a stream of 24 words for a sum of 36"):
        LaneSum(3).add(make_stream([1, 2]), sign=1)
