"""Transforms: the definition at small sizes, a functional of all outputs at every other size."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.array import FrMont
from kernels.backend import Backend
from kernels.bn254 import GENERATOR, R
from kernels.reference import Reference
from tests.conformance.inputs import EDGES, PROPERTY, Ticks, is_transform, mont, random_field

SHIFTS = [1, GENERATOR, R - 1, pow(GENERATOR, -1, R)]
SIZES = [*range(7), *(pytest.param(lg_n, marks=pytest.mark.bulk) for lg_n in range(7, 13))]


@pytest.mark.parametrize("lg_n", range(5))
@pytest.mark.parametrize("shift", SHIFTS, ids=["plain", "coset", "minus one", "inverse coset"])
def test_small_sizes_by_definition(backend: Backend, lg_n: int, shift: int) -> None:
    a = mont(random_field(1 << lg_n))
    for inverse in (False, True):
        expected = Reference().ntt(a, inverse=inverse, shift=shift)
        assert backend.ntt(a, inverse=inverse, shift=shift).equals(expected)


@pytest.mark.parametrize("lg_n", SIZES)
@pytest.mark.parametrize("shift", SHIFTS[:2], ids=["plain", "coset"])
def test_all_outputs_at_once(backend: Backend, lg_n: int, shift: int) -> None:
    values = random_field(1 << lg_n)
    forward = backend.ntt(mont(values), shift=shift)
    assert is_transform(values, forward.to_ints(), shift, seed=lg_n)
    assert backend.ntt(forward, inverse=True, shift=shift).equals(mont(values))
    inverse = backend.ntt(mont(values), inverse=True, shift=shift)
    assert is_transform(inverse.to_ints(), values, shift, seed=lg_n)


@pytest.mark.parametrize("n", [16, 64])
def test_edges_as_values_and_as_words(backend: Backend, n: int) -> None:
    edges = [EDGES[i % len(EDGES)] for i in range(n)]
    words = FrMont(np.resize(mont(edges).data[::-1], (n, 4)).copy())
    for a in (mont(edges), words, mont([R - 1] * n), mont([1] * n), mont([0] * (n - 1) + [R - 1])):
        for inverse in (False, True):
            assert backend.ntt(a, inverse=inverse).equals(Reference().ntt(a, inverse=inverse))


def test_known_transforms(backend: Backend) -> None:
    n = 32
    assert backend.ntt(mont([0] * n)).equals(mont([0] * n))
    assert backend.ntt(mont([9] + [0] * (n - 1)), shift=5).equals(mont([9] * n))
    assert backend.ntt(mont([9] * n), inverse=True).equals(mont([9] + [0] * (n - 1)))
    assert backend.ntt(mont([9]), shift=5).equals(mont([9]))


@pytest.mark.parametrize("shape", [(1, 8), (3, 1), (5, 4), (2, 32), (0, 4)])
def test_a_batch_is_its_rows(backend: Backend, shape: tuple[int, int]) -> None:
    batch, n = shape
    values = random_field(batch * n)
    for inverse in (False, True):
        out = backend.ntt(mont(values, batch, n), inverse=inverse, shift=GENERATOR)
        assert out.shape == shape
        for i in range(batch):
            row = mont(values[i * n : (i + 1) * n])
            expected = backend.ntt(row, inverse=inverse, shift=GENERATOR)
            assert (out.data[i] == expected.data).all()


@pytest.mark.bulk
@pytest.mark.parametrize("shape", [(3, 1 << 10), (2, 1 << 12)])
def test_a_large_batch_is_its_rows(backend: Backend, shape: tuple[int, int]) -> None:
    test_a_batch_is_its_rows(backend, shape)


@pytest.mark.parametrize("n", [0, 3, 5, 6, 7, 12, 24, 1023])
def test_lengths_that_are_no_power_of_two(backend: Backend, n: int) -> None:
    for inverse in (False, True):
        with pytest.raises(ValueError, match=rf"\b{n}\b"):
            backend.ntt(FrMont.zeros(n), inverse=inverse)
        with pytest.raises(ValueError, match=rf"\b{n}\b"):
            backend.ntt(FrMont.zeros(2, n), inverse=inverse)


@pytest.mark.parametrize("lg_n", [29, 40])
def test_past_the_last_root_of_unity_is_refused_before_anything_is_allocated(
    backend: Backend, lg_n: int
) -> None:
    a = FrMont.zeros(1)
    endless = np.broadcast_to(np.zeros((1, 4), dtype=np.uint64), (1 << lg_n, 4))  # 32 bytes
    object.__setattr__(a, "data", endless)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="28"):
            backend.ntt(a)
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("shift", [0, R, -R])
def test_a_zero_shift_is_no_coset(backend: Backend, shift: int) -> None:
    for inverse in (False, True):
        with pytest.raises(ValueError, match="shift"):
            backend.ntt(mont([1, 2]), inverse=inverse, shift=shift)


def test_shift_is_taken_mod_r(backend: Backend) -> None:
    a = mont(random_field(8))
    assert backend.ntt(a, shift=R + 5).equals(backend.ntt(a, shift=5))
    assert backend.ntt(a, shift=-1).equals(backend.ntt(a, shift=R - 1))


@pytest.mark.parametrize("n", [1, 4, 64])
def test_progress_and_untouched_input(backend: Backend, n: int) -> None:
    a, ticks = mont(random_field(n)), Ticks()
    before = a.data.copy()
    with_progress = backend.ntt(a, progress=ticks)
    assert ticks.keeps_contract()
    assert with_progress.equals(backend.ntt(a))
    assert (a.data == before).all()


@PROPERTY
@given(
    st.integers(0, 6),
    st.integers(0, 3),
    st.integers(1, R - 1),
    st.booleans(),
    st.integers(0, 1 << 20),
)
def test_any_size_batch_shift(
    backend: Backend, lg_n: int, batch: int, shift: int, inverse: bool, seed: int
) -> None:
    n = 1 << lg_n
    values = random_field(batch * n, seed)
    out = backend.ntt(mont(values, batch, n), inverse=inverse, shift=shift).to_ints()
    for i in range(0, batch * n, n):
        a, b = values[i : i + n], out[i : i + n]
        assert is_transform(b, a, shift, seed) if inverse else is_transform(a, b, shift, seed)
