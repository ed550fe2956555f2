"""The pairing and a verifier's group operations: laws, py_ecc, and Ethereum's precompiles."""

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest
from py_ecc import optimized_bn128 as bn128
from pyrevm import EVM

from kernels import reference
from kernels.array import FrArray, G1Array, G2Array
from kernels.bn254 import B2, G1, G2, G2_COFACTOR, LAMBDA, XI, P, R, X
from kernels.cpu.words.group import add_g1, is_in_subgroup_g2, is_on_curve_g1, mul_g1, neg_g1
from kernels.cpu.words.small_msm import small_msm_g1
from kernels.encoding import sqrt_fp2
from kernels.errors import ShapeError
from kernels.pairing import (
    ONE,
    Fp12,
    PreparedG2,
    multi_pairing,
    pairing_product_is_one,
    prepare_g2,
)

AffineG1 = tuple[int, int] | None
AffineG2 = tuple[tuple[int, int], tuple[int, int]] | None


def g1(*scalars: int) -> G1Array:
    return G1Array.from_ints(reference.mul_g1(k % R, G1) for k in scalars)


def g2(*scalars: int) -> G2Array:
    return G2Array.from_ints(reference.mul_g2(k % R, G2) for k in scalars)


def to_py_ecc(value: Fp12) -> list[int]:
    """Coefficients of w^0 ... w^11, by u = w^6 - 9 and v = w^2."""
    out = [0] * 12
    for i in range(2):
        for j in range(3):
            real, imaginary = value[6 * i + 2 * j : 6 * i + 2 * j + 2]
            out[2 * j + i] = (real - XI[0] * imaginary) % P
            out[2 * j + i + 6] = imaginary
    return out


def off_subgroup() -> tuple[tuple[int, int], tuple[int, int]]:
    """A point of E' whose order does not divide r: the first x = k + u with a square right side."""
    for k in range(1, 100):
        x = (k, 1)
        cube = reference.mul_fp2(reference.mul_fp2(x, x), x)
        y = sqrt_fp2(reference.add_fp2(cube, B2))
        if y is not None and reference.mul_g2(R, (x, y)) is not None:
            return x, y
    raise AssertionError("no such point among 99 candidates")


# -- pairing ---------------------------------------------------------------------------------------


def test_value_is_that_of_py_ecc(rng: Random) -> None:
    a, b = rng.randrange(R), rng.randrange(R)
    p, q = reference.mul_g1(a, G1), reference.mul_g2(b, G2)
    assert p is not None
    assert q is not None
    theirs = bn128.pairing(
        (bn128.FQ2(list(q[0])), bn128.FQ2(list(q[1])), bn128.FQ2.one()),
        (bn128.FQ(p[0]), bn128.FQ(p[1]), bn128.FQ.one()),
    )
    value = multi_pairing(G1Array.from_ints([p]), G2Array.from_ints([q]))
    assert to_py_ecc(value) == [int(c) for c in theirs.coeffs]
    assert theirs != bn128.FQ12.one()


def test_bilinear_and_not_degenerate(rng: Random) -> None:
    a, b = rng.randrange(1, R), rng.randrange(1, R)
    base = multi_pairing(g1(1), g2(1))
    assert base != ONE
    left = multi_pairing(g1(a), g2(b))
    assert left == multi_pairing(g1(a * b), g2(1)) == multi_pairing(g1(1), g2(a * b))
    assert left == multi_pairing(g1(b), g2(a)) != base
    assert to_py_ecc(left) == [int(c) for c in (bn128.FQ12(to_py_ecc(base)) ** (a * b % R)).coeffs]


@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_products(n: int, rng: Random) -> None:
    a = [rng.randrange(1, R) for _ in range(n)]
    b = [rng.randrange(1, R) for _ in range(n)]
    total = sum(x * y for x, y in zip(a, b, strict=True)) % R
    assert multi_pairing(g1(*a), g2(*b)) == multi_pairing(g1(total), g2(1))
    assert pairing_product_is_one(g1(*a, -total), g2(*b, 1))
    assert not pairing_product_is_one(g1(*a, 1 - total), g2(*b, 1))


def test_infinity_contributes_one() -> None:
    value = multi_pairing(g1(3), g2(5))
    assert multi_pairing(g1(0), g2(5)) == multi_pairing(g1(3), g2(0)) == ONE
    assert multi_pairing(g1(0), g2(0)) == multi_pairing(G1Array.zeros(0), G2Array.zeros(0)) == ONE
    assert multi_pairing(g1(0, 3, 7), g2(2, 5, 0)) == value


def test_prepared_points_give_the_same(rng: Random) -> None:
    a, b = [rng.randrange(R) for _ in range(3)], [rng.randrange(R), 0, rng.randrange(R)]
    prepared = prepare_g2(g2(*b))
    assert len(prepared) == 3
    assert multi_pairing(g1(*a), prepared) == multi_pairing(g1(*a), g2(*b))
    parts = PreparedG2.concat([prepare_g2(g2(b[0])), prepare_g2(g2(*b[1:]))])
    assert multi_pairing(g1(*a), parts) == multi_pairing(g1(*a), g2(*b))


def test_sides_of_different_length_are_refused() -> None:
    with pytest.raises(ShapeError, match="pairing"):
        multi_pairing(g1(1, 2), g2(1))


# -- Ethereum's precompiles as a foreign judge -----------------------------------------------------


def call(address: int, data: bytes) -> bytes | None:
    """Result of a precompile, None when it refuses."""
    evm = EVM()
    caller = "0x" + "11" * 20
    evm.set_balance(caller, 10**20)
    try:
        return bytes(evm.message_call(caller, f"0x{address:040x}", calldata=data, gas=10_000_000))
    except RuntimeError:
        return None


def big_endian(*values: int) -> bytes:
    return b"".join(v.to_bytes(32, "big") for v in values)


def encode_g1(point: AffineG1) -> bytes:
    return big_endian(*(point or (0, 0)))


def encode_g2(point: AffineG2) -> bytes:
    """EIP-197: the imaginary part first."""
    (x0, x1), (y0, y1) = point or ((0, 0), (0, 0))
    return big_endian(x1, x0, y1, y0)


def pairing_call(p: list[AffineG1], q: list[AffineG2]) -> bool | None:
    pairs = zip(p, q, strict=True)
    result = call(8, b"".join(encode_g1(a) + encode_g2(b) for a, b in pairs))
    return None if result is None else bool(int.from_bytes(result, "big"))


@pytest.mark.parametrize("good", [True, False])
@pytest.mark.parametrize("n", [1, 2, 4])
def test_precompile_gives_the_same_verdict(n: int, good: bool, rng: Random) -> None:
    a = [rng.randrange(1, R) for _ in range(n)]
    b = [rng.randrange(1, R) for _ in range(n)]
    total = sum(x * y for x, y in zip(a, b, strict=True)) + (0 if good else 1)
    p, q = g1(*a, -total, 0), g2(*b, 1, 4)
    assert pairing_call(p.to_ints(), q.to_ints()) is good
    assert pairing_product_is_one(p, q) is good


def test_precompile_refuses_what_our_tests_refuse() -> None:
    outside = off_subgroup()
    assert pairing_call([G1], [outside]) is None
    assert not is_in_subgroup_g2(G2Array.from_ints([outside]))[0]
    off = ((G2[0][0], G2[0][1]), (G2[1][0], (G2[1][1] + 1) % P))
    assert pairing_call([G1], [off]) is None
    assert not is_in_subgroup_g2(G2Array.from_ints([off]))[0]
    assert pairing_call([(1, 3)], [G2]) is None
    assert not is_on_curve_g1(G1Array.from_ints([(1, 3)]))[0]


def test_ec_add_and_ec_mul(rng: Random) -> None:
    k, m = rng.randrange(R), rng.randrange(R)
    pairs = [(k, m), (k, k), (k, -k), (0, m), (k, 0), (0, 0)]
    left, right = g1(*(a for a, _ in pairs)), g1(*(b for _, b in pairs))
    sums = add_g1(left, right).to_ints()
    for p, q, ours in zip(left.to_ints(), right.to_ints(), sums, strict=True):
        assert call(6, encode_g1(p) + encode_g1(q)) == encode_g1(ours)
    point = g1(k)
    for s in (0, 1, 2, m, R - 1, LAMBDA):
        ours = mul_g1(FrArray.from_ints([s]), point).to_ints()[0]
        assert call(7, encode_g1(point.to_ints()[0]) + big_endian(s)) == encode_g1(ours)
    assert call(6, big_endian(1, 3, 1, 2)) is None


# -- group operations ------------------------------------------------------------------------------


def test_membership(rng: Random) -> None:
    points = g1(1, 2, rng.randrange(R), 0, -1)
    assert is_on_curve_g1(points).all()
    assert is_in_subgroup_g2(g2(1, 2, rng.randrange(R), 0, -1)).all()
    for word in range(8):
        broken = points.data[:1].copy()
        broken[0, word] ^= np.uint64(1)
        assert not is_on_curve_g1(G1Array(broken))[0]
    for word in range(16):
        broken = g2(7).data.copy()
        broken[0, word] ^= np.uint64(1)
        assert not is_in_subgroup_g2(G2Array(broken))[0]


def test_coordinates_must_be_canonical() -> None:
    """x + p is the same residue, and refused: one point has one form."""
    groups: list[tuple[Any, Any]] = [(is_on_curve_g1, g1), (is_in_subgroup_g2, g2)]
    for test, make in groups:
        point = make(5)
        for at in range(0, point.data.shape[1], 4):
            data = point.data.copy()
            value = int.from_bytes(data[0, at : at + 4].tobytes(), "little") + P
            data[0, at : at + 4] = np.frombuffer(value.to_bytes(32, "little"), dtype="<u8")
            assert test(point)[0]
            assert not test(type(point)(data))[0]


def test_subgroup_test_on_points_of_other_orders() -> None:
    """The part of order r is accepted, parts of the cofactor's order are refused."""
    outside = off_subgroup()
    cleared = reference.mul_g2(G2_COFACTOR, outside)
    torsion = reference.mul_g2(R, outside)
    mixed = reference.add_g2(torsion, G2)
    assert is_in_subgroup_g2(G2Array.from_ints([cleared, torsion, mixed])).tolist() == [
        True,
        False,
        False,
    ]


def test_subgroup_test_is_sound() -> None:
    """(psi - (t - 1)) Q = 0 implies r Q = 0: the norm p + 1 - t is r, with t - 1 = 6 X^2."""
    t = 6 * X * X + 1
    assert (t - 1) ** 2 - t * (t - 1) + P == R


def test_addition_is_complete(rng: Random) -> None:
    k = rng.randrange(R)
    left, right = [k, k, k, 0, 0, 5], [3, k, -k, k, 0, 7]
    expected = g1(*(a + b for a, b in zip(left, right, strict=True)))
    assert add_g1(g1(*left), g1(*right)).equals(expected)
    assert neg_g1(g1(k, 0)).equals(g1(-k, 0))
    with pytest.raises(ShapeError):
        add_g1(g1(1), g1(1, 2))


def test_addition_across_batches(rng: Random) -> None:
    steps = FrArray.from_ints(range(1, 1201))
    points = mul_g1(steps, G1Array(np.repeat(g1(1).data, 1200, axis=0)))
    shifted = add_g1(points, G1Array(np.repeat(g1(1).data, 1200, axis=0)))
    assert shifted[:-1].equals(points[1:])


@pytest.mark.parametrize("n", range(8))
def test_rare_sums_stand_anywhere_in_a_batch(n: int, rng: Random) -> None:
    """Every pattern of common, equal, opposite and infinite pairs, in batches of odd and even
    length."""
    k = rng.randrange(2, R)
    kinds = [(k, 5), (k, k), (k, R - k), (0, k), (k, 0), (0, 0), (3, 7)]
    patterns = [[rng.choice(kinds) for _ in range(n)] for _ in range(30)]
    patterns += [[kinds[0]] * n, [kinds[1]] * n]
    points = {m: g1(m) for m in {x for pair in kinds for x in pair}}
    sums = {pair: g1(sum(pair) % R) for pair in kinds}
    for pattern in patterns:
        left = G1Array.concat([G1Array.zeros(0), *(points[a] for a, _ in pattern)])
        right = G1Array.concat([G1Array.zeros(0), *(points[b] for _, b in pattern)])
        expected = G1Array.concat([G1Array.zeros(0), *(sums[pair] for pair in pattern)])
        assert add_g1(left, right).equals(expected)
        assert add_g1(neg_g1(left), neg_g1(right)).equals(neg_g1(expected))


SCALARS: dict[str, Callable[[Random, int], list[int]]] = {
    "zero": lambda rng, n: [0] * n,
    "one": lambda rng, n: [1] * n,
    "minus one": lambda rng, n: [R - 1] * n,
    "small": lambda rng, n: [rng.randrange(1 << 8) for _ in range(n)],
    "full": lambda rng, n: [rng.randrange(R) for _ in range(n)],
    "windows": lambda rng, n: [(1 << 253) + (1 << (i % 250)) for i in range(n)],
}


@pytest.mark.parametrize("kind", sorted(SCALARS))
@pytest.mark.parametrize("n", [0, 1, 2, 33, 300])
def test_small_msm(kind: str, n: int, rng: Random) -> None:
    """Bases are known multiples of G, among them equal, opposite and infinite ones."""
    multiples = [[1, 1, R - 1, 0, rng.randrange(R)][i % 5] for i in range(n)]
    scalars = SCALARS[kind](rng, n)
    bases = mul_g1(FrArray.from_ints(multiples), G1Array(np.repeat(g1(1).data, n, axis=0)))
    total = sum(s * k for s, k in zip(scalars, multiples, strict=True))
    assert small_msm_g1(FrArray.from_ints(scalars), bases).equals(g1(total))


def test_small_msm_refuses_other_lengths() -> None:
    with pytest.raises(ShapeError):
        small_msm_g1(FrArray.from_ints([1]), g1(1, 2))
