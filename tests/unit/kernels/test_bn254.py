"""Every constant of `kernels.bn254`, derived again from its definition or a published value."""

from math import gcd, prod
from pathlib import Path

import pytest
from py_ecc import bn128

from kernels import bn254
from kernels.bn254 import B1, B2, BETA, G1, G2, LAMBDA, MONT_BITS, TRACE, XI, P, R, X
from kernels.reference import (
    add_fp2,
    invert_fp2,
    is_on_curve_g1,
    is_on_curve_g2,
    mul_fp2,
    mul_g1,
    mul_g2,
)

# r - 1 = prod q^e, all q prime (tested below)
R_MINUS_1 = {
    2: 28,
    3: 2,
    13: 1,
    29: 1,
    983: 1,
    11003: 1,
    237073: 1,
    405928799: 1,
    1670836401704629: 1,
    13818364434197438864469338081: 1,
}


def is_prime(n: int) -> bool:
    """Miller-Rabin to the first 40 prime bases; a composite passes with chance below 4^-40."""
    bases = [q for q in range(2, 180) if all(q % d for d in range(2, int(q**0.5) + 1))][:40]
    if n in bases:
        return True
    twos = ((n - 1) & -(n - 1)).bit_length() - 1
    for base in bases:
        power = pow(base, (n - 1) >> twos, n)
        chain = [pow(power, 1 << i, n) for i in range(twos)]
        if power != 1 and n - 1 not in chain:
            return False
    return True


def test_the_primality_test_tells_primes_from_composites() -> None:
    assert [n for n in range(2, 60) if is_prime(n)] == [
        *(2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59)
    ]
    assert not is_prime(3215031751)  # strong pseudoprime to bases 2, 3, 5 and 7
    assert not is_prime(P * R)


def test_moduli_are_the_published_primes() -> None:
    assert P == 0x30644E72E131A029B85045B68181585D97816A916871CA8D3C208C16D87CFD47  # EIP-196
    assert R == 0x30644E72E131A029B85045B68181585D2833E84879B9709143E1F593F0000001
    assert (bn128.field_modulus, bn128.curve_order) == (P, R)
    assert is_prime(P)
    assert is_prime(R)
    assert P.bit_length() == R.bit_length() == 254  # the top two bits of 32 bytes are free


def test_trace_gives_the_group_order() -> None:
    assert P + 1 - TRACE == R
    assert TRACE**2 < 4 * P  # Hasse
    assert X.bit_length() == 63
    assert bn254.ATE_LOOP_COUNT == 6 * X + 2 == 29793968203157093288


def test_square_root_exponents_apply() -> None:
    assert P % 4 == 3  # so a^((p + 1)/4) is a root, and -1 is no square


def test_xi_is_a_sextic_non_residue() -> None:
    """Then w^6 = xi defines F_p12. xi^((p^2 - 1)/q) != 1 for the primes q of 6."""
    for q in (2, 3):
        assert pow_fp2(XI, (P * P - 1) // q) != (1, 0)


def test_curve_constants() -> None:
    assert B1 == 3
    assert mul_fp2(B2, XI) == (B1, 0)
    assert [int(c) for c in bn128.b2.coeffs] == list(B2)


def test_generators_have_order_r() -> None:
    assert is_on_curve_g1(G1)
    assert is_on_curve_g2(G2)
    assert mul_g1(R, G1) is None  # r is prime, so the order is r
    assert mul_g2(R, G2) is None
    assert [int(c) for c in bn128.G1] == list(G1)
    assert tuple(tuple(int(c) for c in v.coeffs) for v in bn128.G2) == G2


def test_cofactor_of_the_twist() -> None:
    """#E'(F_p2) = r * h.

    A point Q that r*h kills has an order that two primes r and q divide with r*q > 4p. #E'(F_p2)
    is a multiple of that order, and so is r*h; both lie in Hasse's interval, which is 4p wide.
    """
    cofactor, small = bn254.G2_COFACTOR, 10069 * 5864401 * 1875725156269
    assert cofactor % small == 0
    q = cofactor // small
    assert is_prime(q)
    assert R * q > 4 * P
    assert abs(R * cofactor - (P * P + 1)) <= 2 * P
    point = first_twist_point()
    assert mul_g2(R * cofactor, point) is None
    assert mul_g2(cofactor, point) is not None  # so r divides the order
    assert mul_g2(R * small, point) is not None  # so q does
    assert cofactor % R != 0
    assert cofactor % 2 == 1  # no point has y = 0


def test_subgroup_criterion_is_exact() -> None:
    """The numbers behind `encoding.is_in_subgroup_g2`: f(p) = 0 mod r and gcd(norm f, r*h) = r."""
    f = [X + 1, X, X, -2 * X]
    assert sum(c * P**i for i, c in enumerate(f)) % R == 0
    # f = a + b*psi after psi^2 = t*psi - p; its norm is a^2 + ab*t + b^2*p
    a = f[0] - f[2] * P - f[3] * TRACE * P
    b = f[1] + f[2] * TRACE + f[3] * (TRACE**2 - P)
    norm = a * a + a * b * TRACE + b * b * P
    assert norm % R == 0
    assert gcd(norm, R * bn254.G2_COFACTOR) == R


def test_scalar_field_generator_and_roots_of_unity() -> None:
    assert prod(q**e for q, e in R_MINUS_1.items()) == R - 1
    assert all(is_prime(q) for q in R_MINUS_1)
    assert R_MINUS_1[2] == bn254.TWO_ADICITY
    for q in R_MINUS_1:
        assert pow(bn254.GENERATOR, (R - 1) // q, R) != 1
    assert pow(bn254.ROOT_OF_UNITY, 1 << 28, R) == 1
    assert pow(bn254.ROOT_OF_UNITY, 1 << 27, R) == R - 1


@pytest.mark.parametrize("lg_n", [0, 1, 2, 13, 27, 28])
def test_root_of_unity_is_primitive(lg_n: int) -> None:
    w = bn254.root_of_unity(lg_n)
    assert pow(w, 1 << lg_n, R) == 1
    assert lg_n == 0 or pow(w, 1 << (lg_n - 1), R) == R - 1
    assert lg_n == 0 or pow(w, 2, R) == bn254.root_of_unity(lg_n - 1)


@pytest.mark.parametrize("lg_n", [-1, 29, 64])
def test_root_of_unity_refuses_what_does_not_exist(lg_n: int) -> None:
    with pytest.raises(ValueError, match="2-adicity is 28"):
        bn254.root_of_unity(lg_n)


def test_montgomery_constants() -> None:
    radix = 1 << MONT_BITS
    assert radix > 4 * P  # room for sums of lazily reduced numbers
    assert (radix % P, radix % R) == (bn254.MONT_R_P, bn254.MONT_R_R)
    assert (radix**2 % P, radix**2 % R) == (bn254.MONT_R2_P, bn254.MONT_R2_R)
    assert bn254.MONT_INV64_P * P % (1 << 64) == (1 << 64) - 1
    assert bn254.MONT_INV64_R * R % (1 << 64) == (1 << 64) - 1
    # the published limbs of 2^512 mod r: montgomery product with it converts into the form
    assert bn254.MONT_R2_R == 0x216D0B17F4E44A58C49833D53BB808553FE3AB1E35C59E31BB8E645AE216DA7


def test_endomorphism() -> None:
    assert BETA != 1
    assert pow(BETA, 3, P) == 1
    assert LAMBDA != 1
    assert pow(LAMBDA, 3, R) == 1
    for k in (1, 2, 5, R - 7):
        point = mul_g1(k, G1)
        assert point is not None
        assert mul_g1(LAMBDA, point) == (BETA * point[0] % P, point[1])


def pow_fp2(a: tuple[int, int], exponent: int) -> tuple[int, int]:
    result = (1, 0)
    for bit in bin(exponent)[2:]:
        result = mul_fp2(result, result)
        if bit == "1":
            result = mul_fp2(result, a)
    return result


def first_twist_point() -> tuple[tuple[int, int], tuple[int, int]]:
    """The point of E' with the smallest x = i + u; square root as in eprint 2012/685, alg. 9."""
    for i in range(1, 100):
        x = (i, 1)
        square = add_fp2(mul_fp2(mul_fp2(x, x), x), B2)
        if pow_fp2(square, (P * P - 1) // 2) != (1, 0):
            continue
        power = pow_fp2(square, (P - 3) // 4)
        candidate, alpha = mul_fp2(power, square), mul_fp2(mul_fp2(power, power), square)
        if alpha == (P - 1, 0):
            return x, mul_fp2((0, 1), candidate)
        return x, mul_fp2(pow_fp2(add_fp2((1, 0), alpha), (P - 1) // 2), candidate)
    raise AssertionError("no x = i + u with i < 100 lies on the twist")


def test_the_twist_point_of_these_tests_is_on_the_twist() -> None:
    assert is_on_curve_g2(first_twist_point())
    assert invert_fp2((0, 1)) == (0, P - 1)  # u^2 = -1


def test_security_is_stated_where_readers_look(root: Path) -> None:
    assert bn254.__doc__ is not None
    assert f"a field of {(P**12).bit_length():,} bits" in bn254.__doc__
    assert "about 100 bits" in bn254.__doc__
    assert "about 2^100 operations" in (root / "README.md").read_text()
