"""Transforms: long halves with all their folds, values that are not canonical, shared tables."""

from random import Random

import numpy as np
import pytest

from kernels.array import FrMont, words_from_ints
from kernels.bn254 import R
from kernels.cpu.lanes.choice import get_lanes, host_features
from kernels.cpu.pool import Pool
from kernels.cpu.scalars import ntt
from kernels.cpu.scalars.ntt import Ntt

LANES = (["avx2"] if {"avx2", "fma"} <= host_features() else []) + ["ifma-emulated", "scalar"]


@pytest.fixture(params=LANES)
def engine(request: pytest.FixtureRequest) -> Ntt:
    return Ntt(request.param, Pool(1))


def extremes(n: int, rng: Random) -> list[int]:
    """Values that make butterflies grow: all at the upper end, in blocks, and random."""
    return [rng.choice([R - 1, R - 1, 0, rng.randrange(R)]) for _ in range(n)]


@pytest.mark.parametrize("lg_n", [4, 6, 7, 12, 13, 15])
@pytest.mark.parametrize("shift", [1, 5])
def test_there_and_back_at_the_upper_end(engine: Ntt, lg_n: int, shift: int, rng: Random) -> None:
    for values in ([R - 1] * (1 << lg_n), extremes(1 << lg_n, rng)):
        a = FrMont(words_from_ints(values))
        there = engine.run(a, inverse=False, shift=shift)
        back = engine.run(there, inverse=True, shift=shift)
        assert (back.data == a.data).all()


@pytest.mark.parametrize("lg_n", [6, 11, 14])
def test_all_lanes_agree_to_the_bit(lg_n: int, rng: Random) -> None:
    a = FrMont(words_from_ints(extremes(1 << lg_n, rng)))
    found = [Ntt(name, Pool(2, grain_ns=1)).run(a, inverse=False, shift=7).data for name in LANES]
    assert all((f == found[0]).all() for f in found)


@pytest.mark.parametrize("name", [n for n in LANES if n != "scalar"])
def test_values_that_are_not_canonical_count_mod_r(name: str, rng: Random) -> None:
    engine = Ntt(name, Pool(1))
    plain = [rng.randrange(R) for _ in range(256)]
    raised = [v + R * rng.randrange((2**256 - v) // R) for v in plain]
    wanted = engine.run(FrMont(words_from_ints(plain)), inverse=False, shift=1)
    found = engine.run(FrMont(words_from_ints(raised)), inverse=False, shift=1)
    assert (wanted.data == found.data).all()


def test_every_size_folds_before_it_must() -> None:
    """Halves up to 2^14 (n = 2^28) pass more stages than elements survive without a fold."""
    assert all(get_lanes(name).fold_stages >= 4 for name in LANES)
    assert get_lanes("ifma-emulated").fold_stages < 14


def test_input_is_left_alone_and_tables_are_shared(engine: Ntt, rng: Random) -> None:
    values = words_from_ints([rng.randrange(R) for _ in range(64)])
    a = FrMont(values.copy())
    first = engine.run(a, inverse=False, shift=1)
    hits = ntt._tables.cache_info().hits
    second = engine.run(a, inverse=False, shift=R + 1)  # the same coset
    assert ntt._tables.cache_info().hits == hits + 1
    assert (first.data == second.data).all()
    assert np.array_equal(a.data, values)
