"""Sealed objects: only under their key, their name, whole and in order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.content.interface import CHUNK_BYTES
from consensus.content.sealed import Seal
from consensus.errors import SealBroken, StoreKeyMissing, WrongStoreKey

SEAL = Seal(bytes(range(32)))
NAME = "uploads/alice/model/00"
HEAD, TAG = 48, 16


def close(raw: bytes, seal: Seal = SEAL, name: str = NAME) -> bytes:
    return b"".join(seal.close(name, [raw]))


def open_(raw: bytes, seal: Seal = SEAL, name: str = NAME) -> bytes:
    return b"".join(seal.open(name, [raw]))


@pytest.mark.parametrize(
    "n", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES]
)
def test_what_is_sealed_is_opened(n: int) -> None:
    raw = bytes(n)
    sealed = close(raw)
    assert len(sealed) == HEAD + n + TAG * max(1, -(-n // CHUNK_BYTES))
    assert open_(sealed) == raw
    assert (
        b"".join(SEAL.open(NAME, (sealed[i : i + 999] for i in range(0, len(sealed), 999)))) == raw
    )
    assert close(raw) != sealed


def test_another_key_and_none_are_named() -> None:
    sealed = close(b"secret")
    with pytest.raises(WrongStoreKey, match=NAME):
        open_(sealed, Seal(bytes(32)))
    with pytest.raises(StoreKeyMissing, match="openssl rand -hex 32"):
        open_(sealed, Seal(None))
    with pytest.raises(StoreKeyMissing):
        close(b"secret", Seal(None))
    with pytest.raises(ValueError, match="32 bytes"):
        Seal(bytes(16))


def test_under_another_name_it_is_broken() -> None:
    with pytest.raises(SealBroken, match="bob"):
        open_(close(b"secret"), name=NAME.replace("alice", "bob"))


ALTERED = [
    lambda raw: raw[:-1],
    lambda raw: raw + b"\0",
    lambda raw: raw[: HEAD + CHUNK_BYTES + TAG],  # the last chunk is gone
    lambda raw: raw[:HEAD],
    lambda raw: raw[: HEAD - 1],
    lambda raw: b"",
    lambda raw: raw[:HEAD] + raw[HEAD + CHUNK_BYTES + TAG :],  # the first one is
    lambda raw: raw + raw[HEAD:],
    lambda raw: raw[:HEAD] + 2 * raw[HEAD : HEAD + CHUNK_BYTES + TAG] + raw[HEAD:],
]


@pytest.mark.parametrize("alter", ALTERED)
def test_what_was_cut_or_exchanged_is_broken(alter: object) -> None:
    sealed = close(bytes(CHUNK_BYTES + 100))
    with pytest.raises(SealBroken):
        open_(alter(sealed))  # type: ignore[operator]


@given(st.binary(max_size=40), st.data())
def test_any_changed_bit_is_seen(raw: bytes, data: st.DataObject) -> None:
    sealed = bytearray(close(raw))
    at = data.draw(st.integers(0, 8 * len(sealed) - 1))
    sealed[at // 8] ^= 1 << at % 8
    with pytest.raises((SealBroken, WrongStoreKey)):
        open_(bytes(sealed))


def test_secrets_for_other_purposes_are_others() -> None:
    found = {SEAL.derive(label) for label in (b"a", b"b", b"zkpot store key id")}
    assert len(found) == 3
