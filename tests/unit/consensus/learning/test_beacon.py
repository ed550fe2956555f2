"""The beacon: hash to curve by its vectors, shares, and one signature whoever signs."""

from __future__ import annotations

from itertools import combinations

import pytest

from consensus.learning import beacon
from consensus.learning.hash_to_curve import hash_to_field, hash_to_g1, map_to_g1
from kernels.array import G1Array, G2Array
from kernels.bn254 import G1, P
from kernels.encoding import decode_g2, encode_g1
from kernels.reference import is_on_curve_g1
from tests.support.learning import deal_beacon
from tests.support.tiny_circuits import seeded

# gnark-crypto, ecc/bn254/hash_vectors_test.go, hashToG1Vector: message, u0, u1, Q0, Q1, P
TAG = b"QUUX-V01-CS02-with-BN254G1_XMD:SHA-256_SVDW_RO_"
VECTORS = [
    (
        b"",
        (
            0x2F87B81D9D6EF05AD4D249737498CC27E1BD485DCA804487844FEB3C67C1A9B5,
            0x6DE2D0D7C0D9C7A5A6C0B74675E7543F5B98186B5DBF831067449000B2B1F8E,
        ),
        (
            0xE449B959ABBD0E5AB4C873EAEB1CCD887F1D9AD6CD671FD72CB8D77FB651892,
            0x29FF1E36867C60374695EE0C298FCBEF2AF16F8F97ED356FA75E61A797EBB265,
        ),
        (
            0x19388D9112A306FBA595C3A8C63DAA8F04205AD9581F7CF105C63C442D7C6511,
            0x182DA356478AA7776D1DE8377A18B41E933036D0B71AB03F17114E4E673AD6E4,
        ),
        (
            0xA976AB906170DB1F9638D376514DBF8C42AEF256A54BBD48521F20749E59E86,
            0x2925EAD66B9E68BFC309B014398640AB55F6619AB59BC1FAB2210AD4C4D53D5,
        ),
    ),
    (
        b"abc",
        (
            0x11945105B5E3D3B9392B5A2318409CBC28B7246AA47FA30DA5739907737799A9,
            0x1255FC9AD5A6E0FB440916F091229BDA611C41BE2F2283C3D8F98C596BE4C8C9,
        ),
        (
            0x1452C8CC24F8DEDC25B24D89B87B64E25488191CECC78464FEA84077DD156F8D,
            0x209C3633505BA956F5CE4D974A868DB972B8F1B69D63C218D360996BCEC1AD41,
        ),
        (
            0x4E8357C98524E6208AE2B771E370F0C449E839003988C2E4CE1EAF8D632559F,
            0x4396EC43DD8EC8F2B4A705090B5892219759DA30154C39490FC4D59D51BB817,
        ),
        (
            0x23F717BEE89B1003957139F193E6BE7DA1DF5F1374B26A4643B0378B5BAF53D1,
            0x4142F826B71EE574452DBC47E05BC3E1A647478403A7BA38B7B93948F4E151D,
        ),
    ),
    (
        b"abcdef0123456789",
        (
            0x2F7993A6B43A8DBB37060E790011A888157F456B895B925C3568690685F4983D,
            0x2677D0532B47A4CEAD2488845E7DF7EBC16C0B8A2CD8A6B7F4CE99F51659794E,
        ),
        (
            0x28D01790D2A1CC4832296774438ACD46C2CE162D03099926478CF52319DABA8D,
            0x10227AB2707FD65FB45E87F0A48CFE3556F04113D27B1DA9A7AE1709007355E1,
        ),
        (
            0x7DC256C7AADAC1B4E1D23B3B2BBB5E2FFD9C753B9073D8D952EAD8F812CE1B3,
            0x2589008B2E15DCB3D16CDC1FED2634778001B1B28F0AB433F4F5EC6635C55E1E,
        ),
        (
            0x187DBF1C3C89ACECEEF254D6548D7163FDFA43084145F92C4C91C85C21442D4A,
            0xABD99D5B0000910B56058F9CC3B0AB0A22D47CF27615F588924FAC1E5C63B4D,
        ),
    ),
]

MESSAGE = beacon.compute_message(b"chain", learning_round=1, commit_height=9)


def group_key(n: int = 4) -> G2Array:
    return point(deal_beacon(n).group)


def share_key(i: int, n: int = 4) -> G2Array:
    return point(deal_beacon(n).shares[i])


def point(raw: bytes) -> G2Array:
    found = decode_g2(raw, 1)
    assert isinstance(found, G2Array)
    return found


def shares(n: int = 4, message: bytes = MESSAGE) -> dict[int, bytes]:
    secrets = deal_beacon(n).secrets
    return {i: beacon.sign_share(secret, message) for i, secret in enumerate(secrets)}


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
    roots = [u for u in (pow(pow(s * 4, -1, P), (P + 1) // 4, P) for s in (1, -1)) if u]
    exceptional = [u for u in roots if (4 * u * u) % P in (1, P - 1)]
    assert exceptional
    assert all(is_on_curve_g1(map_to_g1(u)) for u in exceptional)


def test_tags_and_messages_give_other_points() -> None:
    points = {hash_to_g1(m, t) for m in (b"a", b"b") for t in (b"x", b"y")}
    assert len(points) == 4


@pytest.mark.parametrize("n", [1, 4, 7])
def test_any_f_plus_1_shares_give_the_one_signature(n: int) -> None:
    all_shares = shares(n)
    threshold = (n - 1) // 3 + 1
    made = {
        beacon.combine({i: all_shares[i] for i in chosen})
        for size in range(threshold, n + 1)
        for chosen in combinations(range(n), size)
    }
    assert len(made) == 1
    assert beacon.verify(group_key(n), MESSAGE, made.pop())


def test_too_few_shares_give_no_signature() -> None:
    all_shares = shares(7)
    for chosen in combinations(range(7), 2):
        made = beacon.combine({i: all_shares[i] for i in chosen})
        assert not beacon.verify(group_key(7), MESSAGE, made)


def test_shares_are_checked_one_by_one() -> None:
    mine = shares()
    for i in range(4):
        assert beacon.verify_share(share_key(i), MESSAGE, mine[i])
    assert not beacon.verify_share(share_key(0), MESSAGE, mine[1])
    other = beacon.compute_message(b"chain", learning_round=1, commit_height=10)
    assert not beacon.verify_share(share_key(0), other, mine[0])


def test_a_wrong_share_spoils_the_signature() -> None:
    mine = shares()
    made = beacon.combine({0: mine[0], 1: mine[2]})
    assert not beacon.verify(group_key(), MESSAGE, made)


@pytest.mark.parametrize(
    "forged",
    [
        b"",
        bytes(31),
        bytes(31) + b"\x40",  # infinity
        bytes(32),
        b"\xff" * 32,
        encode_g1(G1Array.from_ints([G1])),
        bytes(33),
    ],
)
def test_forged_signatures_are_refused(forged: bytes) -> None:
    assert not beacon.verify(group_key(), MESSAGE, forged)
    assert not beacon.verify_share(share_key(0), MESSAGE, forged)


def test_a_signature_is_for_one_message() -> None:
    mine = shares()
    made = beacon.combine(mine)
    for other in (
        beacon.compute_message(b"chain2", learning_round=1, commit_height=9),
        beacon.compute_message(b"chain", learning_round=2, commit_height=9),
        beacon.compute_message(b"chain", learning_round=1, commit_height=8),
    ):
        assert not beacon.verify(group_key(), other, made)


def test_combine_names_what_is_no_point() -> None:
    with pytest.raises(ValueError, match="no point"):
        beacon.combine({})
    with pytest.raises(ValueError, match="no point"):
        beacon.combine({0: b"\xff" * 32})


def test_secrets_stay_out_of_sight() -> None:
    keys = deal_beacon(4)
    assert keys.secrets[0].hex() not in repr(keys)
    assert repr(keys.secrets[0]) not in repr(keys)
    with pytest.raises(ValueError, match="canonical scalar"):
        beacon.sign_share(b"\xff" * 32, MESSAGE)


def test_another_dealing_is_another_key() -> None:
    other = beacon.deal(n_validators=4, n_faulty=1, random_bytes=seeded(12))
    assert other.group != deal_beacon(4).group
