"""Hash to curve: expand_message_xmd against RFC 9380, appendix K.1, the map by gnark-crypto's
vectors, and the batched one by the one for a single message."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from kernels.array import words_from_ints
from kernels.bn254 import MONT_BITS, P
from kernels.cpu.lanes.choice import choose_lanes
from kernels.cpu.msm.roots import make_roots
from kernels.cpu.words.svdw import UNIFORM_BYTES, take_roots
from kernels.cpu.words.svdw import map_to_g1 as map_all_to_g1
from kernels.hash_to_curve import expand_message_xmd, hash_to_field, hash_to_g1, map_to_g1
from kernels.reference import add_g1, is_on_curve_g1
from tests.support.hash_vectors import TAG, VECTORS

RFC_DOMAIN = b"QUUX-V01-CS02-with-expander-SHA256-128"
RFC_VECTORS = [  # (message, output length, output)
    (b"", 32, "68a985b87eb6b46952128911f2a4412bbc302a9d759667f87f7a21d803f07235"),
    (b"abc", 32, "d8ccab23b5985ccea865c6c97b6e5b8350e794e603b4b97902f53a8a0d605615"),
    (
        b"abcdef0123456789",
        32,
        "eff31487c770a893cfb36f912fbfcbff40d5661771ca4b2cb4eafe524333f5c1",
    ),
    (
        b"q128_" + b"q" * 128,
        32,
        "b23a1d2b4d97b2ef7785562a7e8bac7eed54ed6e97e29aa51bfe3f12ddad1ff9",
    ),
    (
        b"a512_" + b"a" * 512,
        32,
        "4623227bcc01293b8c130bf771da8c298dede7383243dc0993d2d94823958c4c",
    ),
    (
        b"",
        128,
        "af84c27ccfd45d41914fdff5df25293e221afc53d8ad2ac06d5e3e29485dadbee0d121587713a3e0dd4d5e69e93e"
        "b7cd4f5df4cd103e188cf60cb02edc3edf18eda8576c412b18ffb658e3dd6ec849469b979d444cf7b26911a08e63"
        "cf31f9dcc541708d3491184472c2c29bb749d4286b004ceb5ee6b9a7fa5b646c993f0ced",
    ),
]


def exceptional_elements() -> list[int]:
    roots = [pow(pow(s * 4, -1, P), (P + 1) // 4, P) for s in (1, -1)]
    return [u for u in roots if (4 * u * u) % P in (1, P - 1)]


@pytest.mark.parametrize(("message", "n_bytes", "expected"), RFC_VECTORS)
def test_expand_message_agrees_with_the_rfc(message: bytes, n_bytes: int, expected: str) -> None:
    assert expand_message_xmd(message, RFC_DOMAIN, n_bytes).hex() == expected


def test_the_output_length_is_hashed() -> None:
    short, long = (expand_message_xmd(b"m", RFC_DOMAIN, n) for n in (32, 33))
    assert short != long[:32]


@pytest.mark.parametrize(
    ("domain", "n_bytes"),
    [(RFC_DOMAIN, 0), (RFC_DOMAIN, -1), (RFC_DOMAIN, 255 * 32 + 1), (b"", 32), (b"d" * 256, 32)],
)
def test_limits_of_the_rfc(domain: bytes, n_bytes: int) -> None:
    with pytest.raises(ValueError, match=r"expand_message_xmd gives|domain tag has"):
        expand_message_xmd(b"m", domain, n_bytes)


@pytest.mark.parametrize(("message", "u", "q0", "q1", "expected"), VECTORS)
def test_hash_to_curve_vectors(
    message: bytes,
    u: tuple[int, int],
    q0: tuple[int, int],
    q1: tuple[int, int],
    expected: tuple[int, int],
) -> None:
    assert hash_to_field(message, TAG) == u
    assert (map_to_g1(u[0]), map_to_g1(u[1])) == (q0, q1)
    assert hash_to_g1(message, TAG) == expected


@pytest.mark.parametrize("u", [0, 1, 2, P - 1, P - 2, pow(4, -1, P)])
def test_every_field_element_maps_to_the_curve(u: int) -> None:
    assert is_on_curve_g1(map_to_g1(u))


def test_exceptional_elements_of_the_map() -> None:
    """u^2 g(Z) = +-1 makes the denominator zero: inv0 gives zero, and the map goes on."""
    exceptional = exceptional_elements()
    assert exceptional
    assert all(is_on_curve_g1(map_to_g1(u)) for u in exceptional)


def test_tags_and_messages_give_other_points() -> None:
    points = {hash_to_g1(m, t) for m in (b"a", b"b") for t in (b"x", b"y")}
    assert len(points) == 4


def uniform(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(48, "big") for number in numbers)


@pytest.mark.parametrize("n", [0, 1, 2, 511, 512, 513, 1025])
def test_many_messages_are_hashed_like_one(n: int) -> None:
    messages = [b"%d of %d" % (i, n) for i in range(n)]
    found = map_all_to_g1(
        b"".join(expand_message_xmd(m, TAG, UNIFORM_BYTES) for m in messages)
    ).to_ints()
    some = {0, 1, 510, 511, 512, n - 2, n - 1} & set(range(n))
    assert len(found) == n
    assert {i: found[i] for i in some} == {i: hash_to_g1(messages[i], TAG) for i in some}


def test_every_number_of_48_bytes_is_mapped_like_its_residue() -> None:
    """Exceptional elements of the map, edges of the reduction, equal and opposite images."""
    root = exceptional_elements()[0]
    edges = [0, 1, 2, P - 1, P, P + 1, root, P - root, 1 << 192, (1 << 192) - 1, (1 << 384) - 1]
    pairs = [(u, v) for u in edges for v in edges]
    found = map_all_to_g1(uniform(*(u for pair in pairs for u in pair))).to_ints()
    assert found == [add_g1(map_to_g1(u % P), map_to_g1(v % P)) for u, v in pairs]
    assert None in found  # u and -u have opposite images


def test_bytes_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="no multiple of 96"):
        map_all_to_g1(bytes(95))


@pytest.mark.parametrize("lanes", [choose_lanes(), "scalar", "ifma-emulated"])
def test_roots_in_lanes_are_those_on_words(lanes: str, rng: Random) -> None:
    """Squares, others, 0, 1 and p - 1, in numbers that fill no block."""
    roots = make_roots(lanes)
    edges = [0, 1, P - 1, 2, 4]
    for n in (1, 5, 8, 23):
        values = (edges + [rng.randrange(P) for _ in range(n)])[-n:] if n > 5 else edges[:n]
        words = words_from_ints([(v << MONT_BITS) % P for v in values])
        expected = [(pow(v, (P + 1) // 4, P) << MONT_BITS) % P for v in values]
        for found in (roots(words), take_roots(words)):
            assert np.array_equal(found, words_from_ints(expected))
    assert roots(words[:0]).shape == (0, 4)


@pytest.mark.parametrize("lanes", [choose_lanes(), "scalar", "ifma-emulated"])
def test_points_are_the_same_whoever_takes_the_roots(lanes: str) -> None:
    uniform = b"".join(expand_message_xmd(bytes([i]), RFC_DOMAIN, UNIFORM_BYTES) for i in range(20))
    assert map_all_to_g1(uniform, make_roots(lanes)).equals(map_all_to_g1(uniform))
