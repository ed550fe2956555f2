"""The beacon: shares, and one signature whoever signs."""

from __future__ import annotations

from itertools import combinations

import pytest

from consensus.learning import beacon
from kernels.array import G1Array, G2Array
from kernels.bn254 import G1
from kernels.encoding import decode_g2, encode_g1
from tests.support.learning import deal_beacon
from tests.support.tiny_circuits import seeded

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
