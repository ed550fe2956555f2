"""Points that rows and quotients are interpolated on, against polynomials over plain integers."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.array import FrMont
from kernels.backend import Backend, get_backend
from kernels.bn254 import TWO_ADICITY, R, root_of_unity
from kernels.reference import Reference
from prover.circuit.r1cs import LEAST_COSET, MAX_COSETS, choose_domain
from prover.groth16.domain import MAX_LG_N, Domain
from prover.groth16.extension import extend
from tests.support.polynomials import evaluate, interpolate_at, list_points

BACKEND = Reference()
SIZES = [1, 2, 3, 5, 6, 7, 8, 11, 13, 14, 21, 40]


@pytest.mark.parametrize("n", SIZES)
def test_all_points_are_different_and_zeros_of_their_own_polynomial_alone(n: int) -> None:
    rows, quotient = Domain(n), Domain(n, of_quotient=True)
    points, others = list_points(rows), list_points(quotient)
    assert len(points) == len(others) == n
    assert len({*points, *others}) == 2 * n
    for domain, own, foreign in ((rows, points, others), (quotient, others, points)):
        assert not any(domain.vanish_at(x) for x in own)
        assert all(domain.vanish_at(x) for x in foreign)
        values = [v for c in domain.cosets for v in domain.vanish_on(c, BACKEND).to_ints()]
        assert values == [0] * n
        product = 1
        for x in own:
            product = product * (1234 - x) % R
        assert domain.vanish_at(1234) == product


def test_different_cosets_stay_apart_at_full_size() -> None:
    """Their shifts differ by no root of one of the greatest order, so no two points can meet."""
    n = (1 << MAX_LG_N) - 1 & ~((1 << MAX_LG_N - MAX_COSETS) - 1)
    cosets = [c for q in (False, True) for c in Domain(n, of_quotient=q).cosets]
    for i, a in enumerate(cosets):
        for b in cosets[:i]:
            ratio = a.shift * pow(b.shift, -1, R) % R
            larger = max(a.n, b.n)
            assert pow(ratio, larger, R) != 1
            is_twin = a.start == b.start
            assert (pow(ratio, 1 << TWO_ADICITY, R) == 1) == is_twin


@pytest.mark.parametrize("of_quotient", [False, True])
@pytest.mark.parametrize("n", SIZES)
def test_lagrange_values(n: int, of_quotient: bool, rng: Random) -> None:
    domain = Domain(n, of_quotient=of_quotient)
    x, values = rng.randrange(R), [rng.randrange(R) for _ in range(n)]
    lagrange = domain.evaluate_lagrange(x, BACKEND)
    found = BACKEND.dot(lagrange, FrMont.from_ints(values))
    assert found == interpolate_at(values, list_points(domain), x)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("backend", [BACKEND, get_backend()], ids=["reference", "cpu"])
def test_values_are_extended_to_the_points_of_the_quotient(
    n: int, backend: Backend, rng: Random
) -> None:
    points, others = list_points(Domain(n)), list_points(Domain(n, of_quotient=True))
    polynomials = [[rng.randrange(R) for _ in range(n)] for _ in range(2)]
    vectors = [FrMont.from_ints(evaluate(p, x) for x in points) for p in polynomials]
    seen: list[tuple[int, int]] = []
    found = extend(vectors, n, backend, lambda done, total: seen.append((done, total)))
    for polynomial, values in zip(polynomials, found, strict=True):
        assert values.to_ints() == [evaluate(polynomial, x) for x in others]
    assert seen[-1] == (2 * n, 2 * n)
    assert seen == sorted(seen)


@pytest.mark.parametrize(("n", "m"), [(8, 3), (7, 5), (7, 4), (13, 1)])
def test_values_behind_a_short_vector_are_zero(n: int, m: int, rng: Random) -> None:
    values = [rng.randrange(R) for _ in range(m)]
    (short,) = extend([FrMont.from_ints(values)], n, BACKEND)
    (whole,) = extend([FrMont.from_ints([*values, *[0] * (n - m)])], n, BACKEND)
    assert short.equals(whole)
    assert any(short.to_ints())


@given(st.integers(0, 1 << 22))
def test_the_chosen_domain_is_the_least_of_its_form(n_rows: int) -> None:
    """Against a search; rows never exceed it, and from 2^16 on it has a seventh more at most."""
    n = choose_domain(n_rows)
    bits = [1 << i for i in range(n.bit_length()) if n >> i & 1]
    assert len(bits) <= MAX_COSETS
    assert len(bits) == 1 or bits[0] >= LEAST_COSET
    assert n >= max(n_rows, 1)
    assert n_rows < 1 << 16 or 7 * n <= 8 * n_rows
    unit = LEAST_COSET if n > LEAST_COSET else 1
    below = range(max(n_rows, 1) + -max(n_rows, 1) % unit, n, unit)
    assert not any(
        x.bit_count() <= (MAX_COSETS if x > LEAST_COSET else 1) for x in below if x >= n_rows
    )


def test_domain_sizes_have_a_limit() -> None:
    assert pow(Domain(8, of_quotient=True).cosets[0].shift, 8, R) == R - 1
    assert Domain(8).cosets[0].shift == 1
    assert Domain(8, of_quotient=True).cosets[0].shift == root_of_unity(4)
    for n in (-1, 0, (1 << MAX_LG_N) + 1):
        with pytest.raises(ValueError, match="rows: a domain has"):
            Domain(n)
