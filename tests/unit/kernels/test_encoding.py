"""Bytes of scalars and points: committed vectors, foreign arithmetic, refusals with reasons."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from py_ecc import bn128

from kernels import encoding, reference
from kernels.array import FrArray, G1Array, G2Array
from kernels.bn254 import B2, G1, G2, G2_COFACTOR, P, R, X
from kernels.encoding import (
    DecodeFault,
    Refused,
    decode_fr,
    decode_g1,
    decode_g2,
    encode_fr,
    encode_g1,
    encode_g2,
    sqrt_fp,
    sqrt_fp2,
)
from kernels.reference import Reference, add_fp2, add_g2, mul_fp2, mul_g1, mul_g2

VECTORS = Path(__file__).parents[2] / "vectors"
ACCEPTED = json.loads((VECTORS / "encoding_v1.json").read_text())
REFUSED = json.loads((VECTORS / "encoding_v1_refused.json").read_text())
BACKENDS = [None, Reference()]


def case_id(case: dict[str, Any]) -> str:
    return f"{case['group']}-{case['form']}-{case['why']}"


@pytest.mark.parametrize("vector", ACCEPTED["points"], ids=lambda v: f"{v['group']}-{v['k'][:12]}")
def test_vectors_of_points(vector: dict[str, Any]) -> None:
    """py_ecc computes the coordinates again; the bytes must be the committed ones."""
    k = int(vector["k"])
    x, y = ([int(c) for c in vector[axis]] for axis in "xy")
    if vector["group"] == "g1":
        expected = bn128.multiply(bn128.G1, k)
        assert [int(c) for c in expected or ()] == x + y
        g1 = G1Array.from_ints([(x[0], y[0]) if x else None])
        check_both_forms(g1, vector, encode_g1, decode_g1)
    else:
        expected = bn128.multiply(bn128.G2, k)
        assert [int(c) for v in expected or () for c in v.coeffs] == x + y
        g2 = G2Array.from_ints([((x[0], x[1]), (y[0], y[1])) if x else None])
        check_both_forms(g2, vector, encode_g2, decode_g2)


def check_both_forms(
    points: G1Array | G2Array,
    vector: dict[str, Any],
    encode: Callable[..., bytes],
    decode: Callable[..., Any],
) -> None:
    for form in ("compressed", "uncompressed"):
        raw = bytes.fromhex(vector[form])
        assert encode(points, compressed=form == "compressed") == raw
        for backend in BACKENDS:
            decoded = decode(raw, 1, compressed=form == "compressed", backend=backend)
            assert points.equals(decoded)


@pytest.mark.parametrize("vector", ACCEPTED["scalars"], ids=lambda v: v["value"][:12])
def test_vectors_of_scalars(vector: dict[str, Any]) -> None:
    raw, scalars = bytes.fromhex(vector["bytes"]), FrArray.from_ints([int(vector["value"])])
    assert encode_fr(scalars) == raw
    decoded = decode_fr(raw, 1)
    assert isinstance(decoded, FrArray)
    assert decoded.equals(scalars)


@pytest.mark.parametrize("case", REFUSED["cases"], ids=case_id)
def test_refused_vectors(case: dict[str, Any]) -> None:
    raw, expected = bytes.fromhex(case["bytes"]), Refused(DecodeFault(case["fault"]), case["index"])
    if case["group"] == "fr":
        assert decode_fr(raw, case["n"]) == expected
        return
    decode: Callable[..., Any] = decode_g1 if case["group"] == "g1" else decode_g2
    for backend in BACKENDS:
        compressed = case["form"] == "compressed"
        assert decode(raw, case["n"], compressed=compressed, backend=backend) == expected


def test_the_vectors_cover_every_fault_and_form() -> None:
    seen = {(c["group"], c["form"], c["fault"]) for c in REFUSED["cases"]}
    faults = {"wrong_length", "non_canonical", "not_on_curve"}
    for form in ("compressed", "uncompressed"):
        assert {f for g, m, f in seen if (g, m) == ("g1", form)} == faults
        assert {f for g, m, f in seen if (g, m) == ("g2", form)} == faults | {"wrong_subgroup"}
    assert {f for g, _, f in seen if g == "fr"} == {"wrong_length", "non_canonical"}
    assert len({v["compressed"] for v in ACCEPTED["points"]}) == len(ACCEPTED["points"]) >= 36


@pytest.mark.parametrize("compressed", [True, False])
def test_arrays_are_concatenated_points(compressed: bool) -> None:
    g1 = G1Array.from_ints([mul_g1(k, G1) for k in (0, 1, R - 1, 12345)])
    raw = encode_g1(g1, compressed=compressed)
    assert raw == b"".join(encode_g1(g1[i : i + 1], compressed=compressed) for i in range(4))
    decoded = decode_g1(raw, 4, compressed=compressed)
    assert isinstance(decoded, G1Array)
    assert decoded.equals(g1)
    g2 = G2Array.from_ints([mul_g2(k, G2) for k in (0, 1, R - 1, 12345)])
    raw = encode_g2(g2, compressed=compressed)
    decoded_g2 = decode_g2(raw, 4, compressed=compressed)
    assert isinstance(decoded_g2, G2Array)
    assert decoded_g2.equals(g2)


def test_no_element_is_no_byte() -> None:
    assert encode_fr(FrArray.zeros(0)) == encode_g1(G1Array.zeros(0)) == b""
    assert encode_g2(G2Array.zeros(0), compressed=False) == b""
    decoders: list[Callable[[bytes, int], Any]] = [decode_fr, decode_g1, decode_g2]
    for decode in decoders:
        assert len(decode(b"", 0)) == 0
        assert decode(b"", -1) == Refused(DecodeFault.WRONG_LENGTH, 0)


def test_scalars_near_the_modulus() -> None:
    """Canonical is decided by the highest word that differs."""
    for value in (R - 1, R - (1 << 64), R - (1 << 192), R - (1 << 192) + (1 << 64)):
        assert isinstance(decode_fr(value.to_bytes(32, "little"), 1), FrArray)
    for value in (R, R + 1, R + (1 << 64), R + (1 << 128), R + (1 << 192) - 1):
        raw = bytes(32) + value.to_bytes(32, "little")
        assert decode_fr(raw, 2) == Refused(DecodeFault.NON_CANONICAL, 1)


def test_exactly_one_of_two_roots_has_the_sign_flag() -> None:
    for p, q in [(mul_g1(k, G1), mul_g1(-k, G1)) for k in (1, 2, 999)]:
        one, other = encode_g1(G1Array.from_ints([p])), encode_g1(G1Array.from_ints([q]))
        assert one[:-1] == other[:-1]
        assert one[-1] ^ other[-1] == 0x80
        assert p is not None
        assert bool(one[-1] & 0x80) == (p[1] > (P - 1) // 2)


def test_square_roots() -> None:
    rng = np.random.default_rng(1)
    values = [int.from_bytes(rng.bytes(31), "little") for _ in range(20)]
    for v in [0, 1, P - 1, *values]:
        assert sqrt_fp(v * v % P) in (v, -v % P)
        assert v == 0 or sqrt_fp(-v * v % P) is None  # -1 is no square
    pairs = [(a, b) for a in values[:5] for b in (0, 1, values[5], P - 1)]
    for v2 in [(0, 0), (0, 1), (1, 0), (P - 1, 0), (0, P - 1), *pairs, *((b, a) for a, b in pairs)]:
        square = mul_fp2(v2, v2)
        root = sqrt_fp2(square)
        assert root in (v2, (-v2[0] % P, -v2[1] % P))
        # xi is no square, so xi times a square is none
        assert v2 == (0, 0) or sqrt_fp2(mul_fp2(square, (9, 1))) is None


def twist_points(n: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """The first n points of E' with x = i + 2u: of full order, practically surely."""
    points = []
    for i in range(1000):
        x = (i, 2)
        y = sqrt_fp2(add_fp2(mul_fp2(mul_fp2(x, x), x), B2))
        if y is not None:
            points.append((x, y))
        if len(points) == n:
            return points
    raise AssertionError("too few points on the twist")


@pytest.mark.parametrize("order", [10069, 5864401, 1875725156269, G2_COFACTOR])
def test_subgroup_test_refuses_points_of_other_orders(order: int) -> None:
    """Points of small order take the exceptional cases of the addition formulas."""
    point = mul_g2(R * (G2_COFACTOR // order), twist_points(1)[0])
    assert point is not None
    assert mul_g2(order, point) is None
    assert not encoding.is_in_subgroup_g2(point)
    assert not reference.is_in_subgroup_g2(point)
    assert not encoding.is_in_subgroup_g2(add_g2(point, G2))


def test_subgroup_test_agrees_with_multiplication_by_r() -> None:
    members = [mul_g2(k, G2) for k in (1, 2, 3, X, X + 1, R - 1, R // 3)]
    cleared = [mul_g2(G2_COFACTOR, p) for p in twist_points(3)]
    strangers = twist_points(6)
    assert [encoding.is_in_subgroup_g2(p) for p in members + cleared] == [True] * 10
    assert [encoding.is_in_subgroup_g2(p) for p in strangers] == [False] * 6
    for p in members + cleared + strangers:
        assert encoding.is_in_subgroup_g2(p) == reference.is_in_subgroup_g2(p)
    assert encoding.is_in_subgroup_g2(None)
    assert not encoding.is_in_subgroup_g2((G2[0], G2[0]))


def test_faults_are_reported_in_order() -> None:
    """All elements are parsed first: a later malformed point hides an earlier wrong subgroup."""
    stranger = encode_g2(G2Array.from_ints(twist_points(1)), compressed=False)
    member = encode_g2(G2Array.from_ints([G2]), compressed=False)
    malformed = b"\xff" * 128
    for backend in BACKENDS:
        decode = partial(decode_g2, compressed=False, backend=backend)
        assert decode(member + stranger, 2) == Refused(DecodeFault.WRONG_SUBGROUP, 1)
        assert decode(stranger + malformed, 2) == Refused(DecodeFault.NON_CANONICAL, 1)
