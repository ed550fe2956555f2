"""Answers about signatures are remembered, not what was asked."""

from __future__ import annotations

import tracemalloc

import pytest

from consensus.wire import signatures
from consensus.wire.signatures import is_valid
from tests.support.learning import ed25519, public

KEY = ed25519(1)
N_LONG, LONG_BYTES = 64, 1 << 20


def test_long_messages_of_strangers_take_no_memory() -> None:
    tracemalloc.start()
    try:
        for i in range(N_LONG):
            assert not is_valid(public(KEY), bytes(64), i.to_bytes(4, "little") + bytes(LONG_BYTES))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 2 * LONG_BYTES


def test_an_answer_is_about_key_signature_and_message() -> None:
    key, message = public(KEY), b"message"
    signature = KEY.sign(message)
    for _ in range(2):  # the second time it is remembered
        assert is_valid(key, signature, message)
        assert not is_valid(public(ed25519(2)), signature, message)
        assert not is_valid(key, KEY.sign(b"another"), message)
        assert not is_valid(key, signature, b"another")
        assert not is_valid(key, signature + b"m", b"essage")
        assert not is_valid(key, signature[:-1], signature[-1:] + message)


def test_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []
    verify = signatures._verify
    monkeypatch.setattr(signatures, "MAX_REMEMBERED", 4)
    monkeypatch.setattr(signatures, "_remembered", {})
    monkeypatch.setattr(signatures, "_verify", lambda *x: asked.append(x[2]) or verify(*x))
    for i in (0, 1, 2, 3, 4, 4, 1, 0):
        assert is_valid(public(KEY), KEY.sign(bytes([i])), bytes([i]))
    assert asked == [bytes([i]) for i in (0, 1, 2, 3, 4, 0)]
    assert len(signatures._remembered) == 4
