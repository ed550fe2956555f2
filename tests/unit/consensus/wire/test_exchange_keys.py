"""Which 32 bytes are an X25519 key: what gives a secret, in its one encoding."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from consensus.wire.exchange_keys import is_exchange_key

P = 2**255 - 19
A = 486662
OWN = X25519PrivateKey.from_private_bytes(bytes(range(32)))


def double(u: int) -> int | None:
    """u of 2Q for a point Q with this u (RFC 7748 section 5); None for the one at infinity."""
    below = 4 * u * (u * u + A * u + 1) % P
    return (u * u - 1) ** 2 * pow(below, -1, P) % P if below else None


def is_low(u: int) -> bool:
    """Whether 8 Q is infinity, by the formula."""
    found: int | None = u % P
    for _ in range(3):
        found = None if found is None else double(found)
    return found is None


LOW = [
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    P - 1,
]


@pytest.mark.parametrize("u", LOW)
def test_keys_of_low_order_are_none(u: int) -> None:
    """With each an exchange gives zero, whatever the own secret is; so the library refuses too."""
    raw = u.to_bytes(32, "little")
    assert is_low(u)
    assert not is_exchange_key(raw)
    with pytest.raises(ValueError, match="shared key"):
        OWN.exchange(X25519PublicKey.from_public_bytes(raw))


@pytest.mark.parametrize("u", [2, 9, P - 2, *(x + 2 for x in LOW[2:4])])
def test_their_neighbours_are_keys(u: int) -> None:
    raw = u.to_bytes(32, "little")
    assert not is_low(u)
    assert is_exchange_key(raw)
    assert OWN.exchange(X25519PublicKey.from_public_bytes(raw)) != bytes(32)


@pytest.mark.parametrize("u", [P, P + 1, P + 9, 2**255 - 1, 2**255, 2**255 + 9, 2**256 - 1])
def test_a_key_has_one_encoding(u: int) -> None:
    """RFC 7748 drops the top bit and reduces: the same key would have several names."""
    assert not is_exchange_key(u.to_bytes(32, "little"))


@pytest.mark.parametrize("raw", [b"", bytes(31), b"\x09" * 31, b"\x09" * 33])
def test_a_key_has_32_bytes(raw: bytes) -> None:
    assert not is_exchange_key(raw)


def test_what_a_client_draws_is_a_key() -> None:
    for _ in range(50):
        assert is_exchange_key(X25519PrivateKey.generate().public_key().public_bytes_raw())
