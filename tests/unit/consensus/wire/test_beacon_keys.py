"""Keys of the beacon's shares: what a dealer deals is taken, what does not combine is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations

import pytest

from consensus.errors import GenesisInvalid
from consensus.learning import beacon
from consensus.wire.beacon_keys import decode_share_keys, require_one_sharing
from consensus.wire.genesis import Genesis
from kernels.array import G2Array
from kernels.bn254 import G2, R
from kernels.encoding import encode_g2
from kernels.reference import mul_g2
from prover.model.network import canonical_json
from tests.support.learning import Lab, deal_beacon
from tests.support.tiny_circuits import seeded

NOT_ONE, TOO_LOW = "on one polynomial of degree", "of a degree below"


def require(group: bytes, shares: tuple[bytes, ...], n_faulty: int) -> None:
    """The same of keys in bytes."""
    require_one_sharing(
        decode_share_keys("group", (group,)), decode_share_keys("shares", shares), n_faulty
    )


def refuse(why: str, group: bytes, shares: tuple[bytes, ...], n_faulty: int) -> None:
    with pytest.raises(GenesisInvalid, match=why) as caught:
        require(group, shares, n_faulty)
    assert caught.value.where == "validators.beacon_share"


def deal(n: int, n_faulty: int) -> beacon.BeaconKeys:
    return beacon.deal(n_validators=n, n_faulty=n_faulty, random_bytes=seeded(n_faulty))


def encode(secret: int) -> bytes:
    """A public key."""
    return encode_g2(G2Array.from_ints([mul_g2(secret % R, G2)]))


@pytest.mark.parametrize("n", [1, 4, 7, 13])
def test_what_a_dealer_deals_is_one_sharing(n: int) -> None:
    keys = deal_beacon(n)
    require(keys.group, keys.shares, (n - 1) // 3)


@pytest.mark.parametrize("n", [1, 4, 7])
def test_one_key_of_another_secret_is_refused(n: int) -> None:
    """Whichever it is, the group's among them."""
    keys, other = deal_beacon(n), encode(5)
    f = (n - 1) // 3
    refuse(NOT_ONE, other, keys.shares, f)
    for i in range(n):
        refuse(NOT_ONE, keys.group, (*keys.shares[:i], other, *keys.shares[i + 1 :]), f)


def test_keys_in_another_order_are_refused() -> None:
    group, shares = deal_beacon(4).group, deal_beacon(4).shares
    for i, j in combinations(range(4), 2):
        swapped = list(shares)
        swapped[i], swapped[j] = shares[j], shares[i]
        refuse(NOT_ONE, group, tuple(swapped), 1)
    refuse(NOT_ONE, group, (shares[0],) * 4, 1)


def test_more_or_fewer_than_f_and_one_must_not_be_needed() -> None:
    """Shares of a polynomial of degree 2 do not combine by two; of a constant, each is the key."""
    for n, f in ((4, 1), (7, 2)):
        high, low = deal(n, f + 1), deal(n, f - 1)
        refuse(NOT_ONE, high.group, high.shares, f)
        refuse(TOO_LOW, low.group, low.shares, f)


def test_keys_that_a_lower_difference_alone_would_take_are_refused() -> None:
    """Off the line by a cubic that vanishes at all but the last place, and at all but the first."""
    line = [7 + 3 * i for i in range(5)]
    require(encode(line[0]), tuple(map(encode, line[1:])), 1)
    for off in ((0, 0, 0, 0, 24), (24, 0, 0, 0, 0), (0, 1, 0, 0, -1), (1, -1, 1, -1, 1)):
        group, *shares = (encode(a + b) for a, b in zip(line, off, strict=True))
        refuse(NOT_ONE, group, tuple(shares), 1)


def test_a_genesis_asks_for_it() -> None:
    genesis = Lab().genesis
    keys = deal(4, 2)
    with pytest.raises(GenesisInvalid, match=NOT_ONE):
        replace(genesis, beacon_key=genesis.validators[2].beacon_share)
    dealt = zip(genesis.validators, keys.shares, strict=True)
    others = tuple(replace(v, beacon_share=share) for v, share in dealt)
    with pytest.raises(GenesisInvalid, match=NOT_ONE):
        replace(genesis, beacon_key=keys.group, validators=others)
    value = json.loads(genesis.encode())
    first, second = value["validators"][:2]
    first["beacon_share"], second["beacon_share"] = second["beacon_share"], first["beacon_share"]
    with pytest.raises(GenesisInvalid, match=NOT_ONE):
        Genesis.decode(canonical_json(value) + b"\n")
