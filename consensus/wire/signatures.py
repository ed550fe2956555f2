"""Ed25519 over sign bytes: whether a message comes from a key."""

from __future__ import annotations

from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from consensus.wire.codec import Signed

MAX_REMEMBERED = 4096


@lru_cache(maxsize=MAX_REMEMBERED)
def is_valid(key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether `signature` (64 bytes) of `message` is by `key` (32 bytes). False for any others.

    Remembers the latest answers: a precommit comes as a vote, then in a certificate, then in every
    proposal of the next block.
    """
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def is_signed(message: Signed, key: bytes, genesis_digest: bytes) -> bool:
    """Whether the message's signature is by `key`, for the chain of this genesis."""
    return is_valid(key, message.signature, message.sign_bytes(genesis_digest))
