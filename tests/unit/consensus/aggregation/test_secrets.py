"""Secrets from a root, keys and seeds from secrets."""

from __future__ import annotations

from random import Random

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from consensus.aggregation.circle import Circle, PublicKeys, form_circle
from consensus.aggregation.client_side import RoundSecrets
from consensus.aggregation.masked import mask
from consensus.aggregation.secrets import (
    OwnSecrets,
    agree_pair_seed,
    agree_share_key,
    derive_mask_private,
    derive_self_seed,
)
from consensus.wire.exchange_keys import is_exchange_key
from kernels.array import FrArray
from kernels.bn254 import R
from prover.errors import FormatError
from tests.consensus.aggregation_rounds import masker

# All points of order 1, 2, 4 and 8 of the curve and its twist, as RFC 7748 and libsodium list them.
LOW_ORDER = [
    bytes(32),
    b"\x01" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
]


def make_circle(rng: Random, n: int = 4) -> tuple[Circle, dict[bytes, OwnSecrets]]:
    secrets, keys = {}, [rng.randbytes(32) for _ in range(n)]
    for key in keys:
        made = RoundSecrets.draw(
            genesis_digest=bytes(32),
            learning_round=1,
            client_key=key,
            random_bytes=rng.randbytes,
        )
        secrets[key] = made.derive()
    return form(keys={k: s.public for k, s in secrets.items()}), secrets


def form(keys: dict[bytes, PublicKeys], *, learning_round: int = 1) -> Circle:
    return form_circle(
        genesis_digest=bytes(32),
        learning_round=learning_round,
        n_parameters=5,
        beacon=b"beacon",
        collusion=1,
        keys=keys,
    )


def test_both_sides_agree_and_no_two_pairs(rng: Random) -> None:
    circle, secrets = make_circle(rng)
    seeds = set()
    for i in circle.graph.order:
        for j in circle.graph.list_neighbours(i):
            seed = agree_pair_seed(circle, i, secrets[i].mask_private, j)
            assert seed == agree_pair_seed(circle, j, secrets[j].mask_private, i)
            seeds.add(seed)
    assert len(seeds) == 6


def test_shares_have_a_key_for_each_direction(rng: Random) -> None:
    circle, secrets = make_circle(rng)
    i, j = circle.graph.order[:2]
    keys = set()
    for dealer, receiver in ((i, j), (j, i)):
        sealing = agree_share_key(
            circle,
            secrets[dealer].share_private,
            dealer=dealer,
            receiver=receiver,
            other=receiver,
        )
        opening = agree_share_key(
            circle, secrets[receiver].share_private, dealer=dealer, receiver=receiver, other=dealer
        )
        assert sealing == opening
        keys.add(sealing)
    assert len(keys) == 2


def test_sigma_is_the_mask_key(rng: Random) -> None:
    circle, secrets = make_circle(rng)
    for client, own in secrets.items():
        private = derive_mask_private(own.sigma, circle.place)
        assert private.public_key().public_bytes_raw() == circle.keys[client].mask_key
        assert 0 <= own.sigma < R
        assert 0 <= own.self_secret < R


def test_another_round_has_other_secrets(rng: Random) -> None:
    circle, _ = make_circle(rng)
    here, there = circle.place, form(dict(circle.keys), learning_round=2).place
    root = rng.randbytes(32)
    a, b = OwnSecrets(root, here), OwnSecrets(root, there)
    assert a.sigma != b.sigma
    assert a.self_secret != b.self_secret
    assert a.public != b.public
    assert derive_self_seed(a.self_secret, here) != derive_self_seed(a.self_secret, there)


def test_a_copied_key_cancels_no_mask(rng: Random) -> None:
    """Whoever commits with another's mask key, on the other side of a client in graph order, gives
    that client no mask that takes the other's away."""
    while True:
        circle, secrets = make_circle(rng)
        first, middle, last, _ = circle.graph.order
        keys = dict(circle.keys)
        keys[last] = PublicKeys(mask_key=keys[first].mask_key, share_key=keys[last].share_key)
        copied = form(keys)
        if copied.graph.order == circle.graph.order:
            break
    both = frozenset((first, middle, last))
    vector = FrArray.zeros(copied.n_elements)
    sent = mask(vector, copied, middle, secrets[middle], both, masker()).scalars
    own = derive_self_seed(secrets[middle].self_secret, copied.place)
    bare = masker().add(sent, masker().sum_streams([(-1, own)], copied.n_elements))
    assert all(bare.to_ints())


@pytest.mark.parametrize("key", LOW_ORDER, ids=lambda key: key.hex()[:8])
def test_keys_of_low_order_are_refused(key: bytes) -> None:
    """What a commit is refused for is what gives no secret in an exchange."""
    own = X25519PrivateKey.generate()
    good = own.public_key().public_bytes_raw()
    assert is_exchange_key(good)
    assert any(own.exchange(X25519PublicKey.from_public_bytes(good)))
    assert not is_exchange_key(key)
    with pytest.raises(ValueError, match="shared key"):
        own.exchange(X25519PublicKey.from_public_bytes(key))


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33)])
def test_keys_of_other_lengths_are_refused(key: bytes) -> None:
    assert not is_exchange_key(key)


def test_secrets_on_disk_are_read_back_and_nothing_else_is(rng: Random) -> None:
    made = RoundSecrets.draw(
        genesis_digest=bytes(32), learning_round=7, client_key=bytes(32), random_bytes=rng.randbytes
    )
    raw = made.encode()
    assert RoundSecrets.decode(raw) == made
    for broken in (b"", raw[:-1], raw + b"\x00", raw[1:]):
        with pytest.raises(FormatError, match="stay out of the rest of this round"):
            RoundSecrets.decode(broken)
