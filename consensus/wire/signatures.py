"""Ed25519 over sign bytes: whether a message comes from a key."""

from __future__ import annotations

import hashlib
from threading import Lock

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from consensus.wire.codec import Signed
from prover.wire.records import encode_fields

MAX_REMEMBERED = 4096
_remembered: dict[bytes, bool] = {}
"""Answers by the digest of what was asked, which may be as long as a block, and by anyone."""
_lock = Lock()


def is_valid(key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether `signature` (64 bytes) of `message` is by `key` (32 bytes). False for any others.

    Remembers the latest answers: a precommit comes as a vote, then in a certificate, then in every
    proposal of the next block.
    """
    name = hashlib.sha256(encode_fields((key, signature, message))).digest()
    known = _remembered.get(name)
    if known is None:
        known = _verify(key, signature, message)
        with _lock:
            _remembered[name] = known
            if len(_remembered) > MAX_REMEMBERED:
                del _remembered[next(iter(_remembered))]
    return known


def is_signed(message: Signed, key: bytes, genesis_digest: bytes) -> bool:
    """Whether the message's signature is by `key`, for the chain of this genesis."""
    return is_valid(key, message.signature, message.sign_bytes(genesis_digest))


def _verify(key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
