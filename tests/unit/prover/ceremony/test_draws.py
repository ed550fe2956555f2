"""What a hash draws is what it draws in snarkjs."""

from __future__ import annotations

import struct

from kernels.array import G2Array
from kernels.bn254 import G2_COFACTOR, TRACE, P, R
from kernels.cpu.words.group import is_in_subgroup_g2
from kernels.reference import is_on_curve_g1
from prover.ceremony.draws import Draws, draw_by_beacon, hash_to_g2
from prover.ceremony.ratios import have_same_ratio
from tests.support.ceremonies import BEACON, EXPONENT, read_finished

# Keystream of ChaCha20 for a key, nonce and counter of zeros (RFC 8439, appendix A.1, vectors 1
# and 2), as words.
BLOCKS = struct.unpack(
    "<32I",
    bytes.fromhex(
        "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
        "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"
        "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
        "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f"
    ),
)


def test_elements_are_words_of_the_stream() -> None:
    def element(first: int) -> int:
        return sum(
            ((BLOCKS[first + 2 * i] << 32) | BLOCKS[first + 2 * i + 1]) << (64 * i)
            for i in range(4)
        ) % (1 << 254)

    numbers = [n for n in map(element, range(0, 32, 8)) if n < R]
    assert len(numbers) >= 2
    draws = Draws(bytes(64))
    for number in numbers:
        assert draws.scalar() == number * pow(1 << 256, -1, R) % R


def test_points_are_in_their_groups() -> None:
    for seed in (bytes(64), bytes(range(64))):
        draws = Draws(seed)
        first, second = draws.point_g1(), draws.point_g1()
        assert first != second
        assert is_on_curve_g1(first)
        assert is_on_curve_g1(second)
        assert is_in_subgroup_g2(G2Array.from_ints([draws.point_g2()])).all()


def test_the_cofactor_is_that_of_ffjavascript() -> None:
    text = "30644e72e131a029b85045b68181585e06ceecda572a2489345f2299c0f9fa8d"
    assert int(text, 16) == G2_COFACTOR == P - 1 + TRACE


def test_the_point_of_a_transcript_is_that_of_snarkjs() -> None:
    """Its proofs of knowledge hold for no other."""
    for one in read_finished().ceremony.contributions:
        assert have_same_ratio(one.s, one.s_x, hash_to_g2(one.transcript), one.spx)
        other = bytes([one.transcript[0] ^ 1]) + one.transcript[1:]
        assert not have_same_ratio(one.s, one.s_x, hash_to_g2(other), one.spx)


def test_the_key_of_a_beacon_is_that_of_snarkjs() -> None:
    _, s, s_x = draw_by_beacon(BEACON, EXPONENT)
    found = read_finished().ceremony.contributions[1]
    assert s.equals(found.s)
    assert s_x.equals(found.s_x)
    assert not draw_by_beacon(BEACON, EXPONENT + 1)[1].equals(s)
