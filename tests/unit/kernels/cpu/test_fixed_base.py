"""Multiples of one base: windows, arenas, and scalars at the ends of their range."""

from random import Random

import numpy as np
import pytest

from kernels.array import FrArray, G1Array, words_from_ints
from kernels.bn254 import G1, R
from kernels.cpu.msm import fixed_base
from kernels.cpu.msm.fixed_base import SCALAR_BITS, FixedBase, window_bits
from kernels.cpu.msm.pippenger import Msm
from kernels.cpu.pool import Pool
from kernels.reference import mul_g1


def test_windows_widen_with_the_number_of_scalars() -> None:
    chosen = [window_bits(1 << lg) for lg in range(25)]
    assert chosen == sorted(chosen)
    assert chosen[0] >= 2
    assert chosen[-1] <= 12
    assert R.bit_length() <= SCALAR_BITS


@pytest.mark.parametrize("bits", [2, 3, 5, 7])
@pytest.mark.parametrize("chunk_refs", [1, 40, 8192])
def test_every_window_width(
    bits: int, chunk_refs: int, rng: Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fixed_base, "window_bits", lambda n: bits)
    monkeypatch.setattr(fixed_base, "_TASK_REFS", chunk_refs)
    scalars = [0, 1, 2, R - 1, R - 2, 2**253, (1 << 253) - 1, *(rng.randrange(R) for _ in range(6))]
    base = G1Array.from_ints([mul_g1(5, G1)])
    found = FixedBase(Msm("scalar", 1, Pool(2, grain_ns=1))).run(
        FrArray.from_ints(scalars), base.data
    )
    assert (found == G1Array.from_ints([mul_g1(5 * s % R, G1) for s in scalars]).data).all()


def test_scalars_beyond_the_order_reach_no_foreign_memory() -> None:
    words = words_from_ints([2**256 - 1, R, R + 1, 2**255])
    found = FixedBase(Msm("scalar", 1, Pool(1))).run(FrArray(words), G1Array.from_ints([G1]).data)
    assert found.shape == (4, 8)


def test_infinity_and_nothing() -> None:
    engine = FixedBase(Msm("scalar", 1, Pool(1)))
    infinity = np.zeros((1, 8), np.uint64)
    assert not engine.run(FrArray.from_ints([1, 2, R - 1]), infinity).any()
    assert engine.run(FrArray.from_ints([]), G1Array.from_ints([G1]).data).shape == (0, 8)
    with pytest.raises(ValueError, match="one base, got 2"):
        engine.run(FrArray.from_ints([1]), np.zeros((2, 8), np.uint64))
