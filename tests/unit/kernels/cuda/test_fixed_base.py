"""Multiples of one base on the emulated device: widths, tables and chunks.

Values at small lengths are judged by tests/conformance.
"""

from __future__ import annotations

import numpy as np
import pytest

from kernels.array import U64, FrArray, G1Array
from kernels.bn254 import R
from kernels.cuda.msm.fixed_base import FixedBase, choose_width, chunk_scalars, table_scalars
from kernels.errors import DoesNotFit
from tests.conformance.backends import build_backend
from tests.conformance.inputs import EDGES, GROUPS, draw_scalars
from tests.support.cuda_emulator import EmulatedDevice
from tests.support.skips import or_skip

BASE = G1Array.from_ints(GROUPS[0].multiples([7]))


def multiples(scalars: FrArray) -> U64:
    return build_backend("cpu").fixed_base_g1(scalars, BASE).data


def open_device(memory_bytes: int = 1 << 30) -> EmulatedDevice:
    return or_skip(EmulatedDevice, memory_bytes=memory_bytes)


@pytest.mark.parametrize("width", [2, 4, 8])
def test_the_table_holds_every_digit_of_canonical_scalars(width: int) -> None:
    table = table_scalars(width).to_ints()
    assert len(table) == 256 // width << width
    for s in [*EDGES, R - 1]:
        digits = [s >> width * w & (1 << width) - 1 for w in range(256 // width)]
        assert sum(table[(w << width) + d] for w, d in enumerate(digits)) == s


@pytest.mark.parametrize("n", [5, 100, 4100])
def test_every_width(n: int) -> None:
    scalars = FrArray.from_ints([*EDGES, *draw_scalars("full", n)][-n:])
    assert choose_width(n) == {5: 2, 100: 4, 4100: 8}[n]
    assert (FixedBase(open_device(), 1).run(scalars, multiples) == multiples(scalars)).all()


def test_results_larger_than_the_device_come_in_chunks() -> None:
    device, told = open_device(20_000), list[tuple[int, int]]()
    scalars = FrArray.from_ints(draw_scalars("edges", 150))
    result = FixedBase(device, 1).run(scalars, multiples, lambda *now: told.append(now))
    assert (result == multiples(scalars)).all()
    assert len(told) == -(-150 // chunk_scalars(20_000, 1)) > 1
    assert told[-1] == (150, 150)


def test_a_device_without_room_is_refused() -> None:
    with pytest.raises(DoesNotFit, match="multiple of a base") as refusal:
        FixedBase(open_device(100), 1).run(FrArray.from_ints([1]), multiples)
    assert refusal.value.needed > 100


def test_nothing() -> None:
    result = FixedBase(open_device(), 2).run(FrArray.zeros(0), multiples)
    assert result.shape == (0, 16)
    assert result.dtype == np.uint64
