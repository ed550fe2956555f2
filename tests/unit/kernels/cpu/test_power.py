"""Powers on words, and the square roots that points on the wire take."""

from __future__ import annotations

from random import Random

import pytest

from kernels.array import G1Array, G2Array
from kernels.bn254 import G1, G2, P
from kernels.cpu.words.power import power_fp
from kernels.encoding import (
    Refused,
    decode_g1,
    decode_g2,
    encode_g1,
    encode_g2,
    power_mod_p,
    sqrt_fp,
    sqrt_fp2,
)
from kernels.reference import mul_g1, mul_g2

EXPONENTS = [0, 1, 2, 15, 16, 17, (P - 3) // 4, (P - 1) // 2, (P + 1) // 4, P - 1, P, 1 << 300]


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_powers_are_those_of_whole_numbers(exponent: int, rng: Random) -> None:
    for a in (0, 1, 2, P - 1, P - 2, 1 << 253, *(rng.randrange(P) for _ in range(20))):
        assert power_fp(a, exponent) == power_mod_p(a, exponent)


@pytest.mark.parametrize(("a", "exponent"), [(-1, 2), (P, 2), (1 << 256, 2), (2, -1)])
def test_other_numbers_are_refused(a: int, exponent: int) -> None:
    with pytest.raises(ValueError, match="a power is of"):
        power_fp(a, exponent)


def test_roots_are_the_same(rng: Random) -> None:
    for _ in range(50):
        a, b = rng.randrange(P), rng.randrange(P)
        assert sqrt_fp(a, power_fp) == sqrt_fp(a)
        for pair in ((a, b), (a, 0), (0, b), (0, 0)):
            assert sqrt_fp2(pair, power_fp) == sqrt_fp2(pair)


def test_points_are_decoded_alike_and_refused_alike(rng: Random) -> None:
    logs = [0, 1, 2, *(rng.randrange(P) for _ in range(5))]
    g1 = encode_g1(G1Array.from_ints([mul_g1(k, G1) for k in logs]))
    g2 = encode_g2(G2Array.from_ints([mul_g2(k, G2) for k in logs]))
    for decode, raw in ((decode_g1, g1), (decode_g2, g2)):
        quick, plain = decode(raw, len(logs), power=power_fp), decode(raw, len(logs))
        assert not isinstance(quick, Refused)
        assert not isinstance(plain, Refused)
        assert quick.equals(plain)  # type: ignore[arg-type]
    small = [x.to_bytes(32, "little") for x in range(1, 40)]
    on_curve = [not isinstance(decode_g1(raw, 1, power=power_fp), Refused) for raw in small]
    assert on_curve == [not isinstance(decode_g1(raw, 1), Refused) for raw in small]
    assert {True, False} == set(on_curve)
