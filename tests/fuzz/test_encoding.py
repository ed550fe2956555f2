"""Any bytes to a decoder: a value that encodes back to the same bytes, or a named fault."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.array import FrArray, G1Array, G2Array
from kernels.bn254 import G1, G2, P, R
from kernels.encoding import (
    Refused,
    decode_fr,
    decode_g1,
    decode_g2,
    encode_fr,
    encode_g1,
    encode_g2,
    is_in_subgroup_g2,
)
from kernels.reference import is_on_curve_g1, mul_g1, mul_g2

PROPERTY = settings(derandomize=True, deadline=None, database=None, max_examples=120)

EDGES = [0, 1, 2, 3, P - 1, P, P + 1, P + 2, R, 1 << 253, (1 << 254) - 1, (1 << 256) - 1]
coordinates = st.one_of(
    st.sampled_from(EDGES), st.integers(0, P - 1), st.integers(0, (1 << 256) - 1)
).map(lambda v: v.to_bytes(32, "little"))


def coordinate_bytes(n: int) -> st.SearchStrategy[bytes]:
    """n coordinates, many of them canonical; half the time with flags set in the last byte."""
    joined = st.lists(coordinates, min_size=n, max_size=n).map(b"".join)
    return st.builds(
        lambda raw, flags: raw[:-1] + bytes([raw[-1] | flags]),
        joined,
        st.sampled_from([0, 0, 0, 0x40, 0x80, 0xC0]),
    )


@PROPERTY
@given(st.binary(max_size=200), st.integers(-1, 5), st.booleans())
def test_arbitrary_bytes(raw: bytes, n: int, compressed: bool) -> None:
    check_fr(raw, n)
    check_g1(raw, n, compressed)
    check_g2(raw, n, compressed)


@PROPERTY
@given(st.lists(coordinates, max_size=4).map(b"".join))
def test_scalar_shaped_bytes(raw: bytes) -> None:
    check_fr(raw, len(raw) // 32)


@PROPERTY
@given(st.sampled_from([1, 2, 4]).flatmap(coordinate_bytes))
def test_point_shaped_bytes(raw: bytes) -> None:
    for compressed in (True, False):
        check_g1(raw, len(raw) // (32 if compressed else 64), compressed)
        check_g2(raw, len(raw) // (64 if compressed else 128), compressed)


@PROPERTY
@given(st.integers(0, R - 1), st.integers(0, 127), st.integers(0, 255), st.booleans())
def test_a_changed_byte_is_another_value_or_refused(
    k: int, position: int, byte: int, compressed: bool
) -> None:
    for raw, check in (
        (encode_g1(G1Array.from_ints([mul_g1(k, G1)]), compressed=compressed), check_g1),
        (encode_g2(G2Array.from_ints([mul_g2(k, G2)]), compressed=compressed), check_g2),
    ):
        assert check(raw, 1, compressed)  # our own output is accepted
        changed = bytearray(raw)
        changed[position % len(raw)] = byte
        check(bytes(changed), 1, compressed)


@pytest.mark.parametrize("flags", range(4))
def test_every_flag_on_every_kind_of_payload(flags: int) -> None:
    for payload in (bytes(64), G1[0].to_bytes(32, "little") + bytes(32), b"\x00" * 63 + b"\x3f"):
        for n_bytes in (32, 64):
            raw = payload[: n_bytes - 1] + bytes([payload[n_bytes - 1] & 0x3F | flags << 6])
            for compressed in (True, False):
                check_g1(raw, 1, compressed)
                check_g2(raw, 1, compressed)


def check_fr(raw: bytes, n: int) -> bool:
    scalars = decode_fr(raw, n)
    if isinstance(scalars, Refused):
        return False
    assert isinstance(scalars, FrArray)
    assert encode_fr(scalars) == raw
    assert all(v < R for v in scalars.to_ints())
    return True


def check_g1(raw: bytes, n: int, compressed: bool) -> bool:
    points = decode_g1(raw, n, compressed=compressed)
    if isinstance(points, Refused):
        return False
    assert encode_g1(points, compressed=compressed) == raw
    assert all(map(is_on_curve_g1, points.to_ints()))
    return True


def check_g2(raw: bytes, n: int, compressed: bool) -> bool:
    points = decode_g2(raw, n, compressed=compressed)
    if isinstance(points, Refused):
        return False
    assert encode_g2(points, compressed=compressed) == raw
    assert all(map(is_in_subgroup_g2, points.to_ints()))
    return True
