"""Laws of algebra at sizes where no definition can be followed: everything has a known answer."""

import random
from functools import cache, lru_cache
from typing import Any

import numpy as np
import pytest

from kernels.array import FrArray, FrMont
from kernels.backend import Backend
from kernels.bn254 import GENERATOR, R, root_of_unity
from tests.conformance.inputs import (
    GROUPS,
    SCALARS,
    Group,
    draw_scalars,
    evaluate,
    is_transform,
    known_sum,
    mont,
    progression,
    random_field,
)

pytestmark = [pytest.mark.bulk, pytest.mark.at_length]

LARGE = [14, 15, 16]
G1, G2 = GROUPS


# What every backend is asked and has to answer, made once for all of them.


@cache
def draw(name: str, n: int) -> FrArray:
    return FrArray.from_ints(draw_scalars(name, n))


@cache
def progress(group: Group, n: int) -> tuple[Any, list[int]]:
    points, factors = progression(group, n)
    return group.array.from_ints(points), factors


@cache
def answer(group: Group, name: str, n: int, *, by_one: bool = False) -> Any:
    """The sum over the points of `progress`, or over 1, 2, ... n times the generator."""
    factors = range(1, n + 1) if by_one else progress(group, n)[1]
    return known_sum(group, draw_scalars(name, n), factors)


@cache
def evaluate_random(n: int, seed: int, places: tuple[int, ...]) -> FrMont:
    """Values of the polynomial of `random_mont` on the coset, at some powers of the root."""
    coefficients, w = random_mont(n, seed).to_ints(), root_of_unity(n.bit_length() - 1)
    return mont([evaluate(coefficients, GENERATOR * pow(w, i, R) % R) for i in places])


def random_mont(n: int, seed: int) -> FrMont:
    """n random words below 2^253 < r, at the speed of NumPy."""
    words = np.random.default_rng(seed).integers(0, 1 << 64, (n, 4), dtype=np.uint64)
    words[:, 3] >>= np.uint64(11)
    return FrMont(words)


@pytest.mark.parametrize("lg_n", LARGE)
def test_transform_of_every_output(backend: Backend, lg_n: int) -> None:
    values = random_field(1 << lg_n)
    forward = backend.ntt(mont(values), shift=GENERATOR)
    assert is_transform(values, forward.to_ints(), GENERATOR, seed=lg_n)
    assert backend.ntt(forward, inverse=True, shift=GENERATOR).equals(mont(values))


@pytest.mark.parametrize("lg_n", [13, 16])
def test_transform_is_linear(backend: Backend, lg_n: int) -> None:
    a, b = random_mont(1 << lg_n, 1), random_mont(1 << lg_n, 2)
    combined = backend.ntt(backend.add(backend.scale(a, 3), b))
    assert combined.equals(backend.add(backend.scale(backend.ntt(a), 3), backend.ntt(b)))


@pytest.mark.parametrize("lg_n", [13, 16])
def test_coefficients_times_powers_rotate_the_values(backend: Backend, lg_n: int) -> None:
    n, a = 1 << lg_n, random_mont(1 << lg_n, 3)
    w = root_of_unity(lg_n)
    rotated = backend.ntt(backend.mul(a, backend.powers(w, n)))
    assert (rotated.data == np.roll(backend.ntt(a).data, -1, axis=0)).all()
    on_coset = backend.ntt(backend.mul(a, backend.powers(GENERATOR, n)))
    assert on_coset.equals(backend.ntt(a, shift=GENERATOR))


@pytest.mark.parametrize("lg_n", [12, 16])
def test_products_of_values_are_products_of_polynomials(backend: Backend, lg_n: int) -> None:
    half = 1 << (lg_n - 1)
    x, y = random_field(half, 1), random_field(half, 2)
    padded = [mont(v + [0] * half) for v in (x, y)]
    product = backend.mul(backend.ntt(padded[0]), backend.ntt(padded[1]))
    z = random_field(1, lg_n)[0]
    result = backend.ntt(product, inverse=True).to_ints()
    assert evaluate(result, z) == evaluate(x, z) * evaluate(y, z) % R


@pytest.mark.slow
@pytest.mark.at_full_length
@pytest.mark.parametrize("lg_n", [18, 20])
def test_very_large_transforms(backend: Backend, lg_n: int) -> None:
    n = 1 << lg_n
    a = random_mont(n, lg_n)
    forward = backend.ntt(a, shift=GENERATOR)
    assert backend.ntt(forward, inverse=True, shift=GENERATOR).equals(a)
    places = (0, 1, n // 2 + 1, n - 1)
    assert (forward.data[list(places)] == evaluate_random(n, lg_n, places).data).all()


def test_pointwise_at_length(backend: Backend) -> None:
    n = 1 << 15
    a, b = random_mont(n, 4), random_mont(n, 5)
    assert backend.sub(backend.add(a, b), b).equals(a)
    assert backend.mul(backend.mul(a, b), backend.batch_inverse(b)).equals(a)
    x, y = a.to_ints(), b.to_ints()
    assert backend.dot(a, b) == sum(u * v for u, v in zip(x, y, strict=True)) % R
    assert backend.mul(a, b).equals(mont([u * v for u, v in zip(x, y, strict=True)]))
    assert backend.to_mont(backend.from_mont(a)).equals(a)
    assert backend.from_mont(a).equals(FrArray.from_ints(x))


def test_powers_at_length(backend: Backend) -> None:
    n, base = 1 << 14, 3
    expected, power = [], 7
    for _ in range(n):
        expected.append(power)
        power = power * base % R
    assert backend.powers(base, n, first=7).equals(mont(expected))


@pytest.mark.parametrize("name", SCALARS)
@pytest.mark.parametrize(("group", "lg_n"), [(G1, 14), (G2, 12)], ids=str)
def test_sums_of_known_answer(backend: Backend, group: Group, lg_n: int, name: str) -> None:
    n = 1 << lg_n
    result = group.msm(backend, draw(name, n), progress(group, n)[0])
    assert result.equals(answer(group, name, n))


@pytest.mark.parametrize(
    ("group", "lg_n"),
    [
        (G1, 12),
        (G2, 10),
        pytest.param(G1, 16, marks=pytest.mark.at_full_length),
        pytest.param(G2, 14, marks=pytest.mark.at_full_length),
    ],
    ids=str,
)
def test_prepared_sums_of_known_answer(backend: Backend, group: Group, lg_n: int) -> None:
    n = (1 << lg_n) - 3
    bases = progress(group, n)[0]
    for fixed in (bases, group.fix(backend, bases), group.fix(backend, bases, 1 << 27)):
        for name in ("full", "witness-like"):
            result = group.msm(backend, draw(name, n), fixed)
            assert result.equals(answer(group, name, n))


@pytest.mark.parametrize(("group", "lg_n"), [(G1, 14), (G2, 12)], ids=str)
def test_multiples_of_known_answer(backend: Backend, group: Group, lg_n: int) -> None:
    expected, factors = progress(group, 1 << lg_n)
    base = group.array.from_ints([group.generator])
    assert group.fixed_base(backend, FrArray.from_ints(factors), base).equals(expected)


@lru_cache(maxsize=len(GROUPS))
def make_bases(backend: Backend, group: Group, n: int) -> Any:
    """1, 2, ... n times the generator, by the backend itself; believed after a sample of them."""
    base = group.array.from_ints([group.generator])
    bases = group.fixed_base(backend, FrArray.from_ints(range(1, n + 1)), base)
    for i in random.Random(n).sample(range(n), 15):
        assert bases[i : i + 1].equals(group.array.from_ints(group.multiples([i + 1])))
    return bases


@pytest.mark.slow
@pytest.mark.at_full_length
@pytest.mark.parametrize("name", ["full", "witness-like", "all equal"])
@pytest.mark.parametrize(("group", "lg_n"), [(G1, 18), (G2, 16)], ids=str)
def test_very_large_sums(backend: Backend, group: Group, lg_n: int, name: str) -> None:
    n = 1 << lg_n
    bases = make_bases(backend, group, n)
    assert group.msm(backend, draw(name, n), bases).equals(answer(group, name, n, by_one=True))
