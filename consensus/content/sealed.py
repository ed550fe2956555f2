"""Private content in a place that others can read: encrypted under a key of the service.

    object = "zkpotsl1" | key id [8] | salt [32] | chunk, chunk ...
    chunk  = AES-256-GCM of at most CHUNK_BYTES bytes, with its tag [16]

Each object has a key of its own, HKDF-SHA256 of the service's key and the random salt; the nonce of
a chunk is its number [11] and whether it is the last [1]. So no nonce is used twice under a key,
however many objects there are. The object's name, in which owner and digest stand, is in the
associated data of every chunk: an object that was altered, cut, extended, or put under another
name is refused before any of the bytes in question is given out. Construction: STREAM (Hoang,
Reyhanitabar, Rogaway, Vizár, eprint.iacr.org/2015/189), as in age.

    SealError
    ├── StoreKeyMissing     the store has no key: what to set
    ├── WrongStoreKey       sealed under another key
    └── SealBroken          altered, or another object's
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from consensus.content.interface import CHUNK_BYTES
from consensus.errors import SealBroken, StoreKeyMissing, WrongStoreKey
from kernels.files import Chunk

KEY_BYTES = 32
_MAGIC = b"zkpotsl1"
_ID_BYTES, _SALT_BYTES, _TAG_BYTES, _COUNT_BYTES = 8, 32, 16, 11
_HEAD_BYTES = len(_MAGIC) + _ID_BYTES + _SALT_BYTES


class Coat(Protocol):
    """What is done to bytes on their way into a store, and back."""

    def close(self, name: str, chunks: Iterable[Chunk]) -> Iterable[Chunk]:
        """What the store gets."""
        ...

    def open(self, name: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Inverse of `close`."""
        ...


class Bare:
    """Nothing is done: for what is public."""

    def close(self, name: str, chunks: Iterable[Chunk]) -> Iterable[Chunk]:
        return chunks

    def open(self, name: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
        yield from chunks


class Seal:
    """The encryption of the module's head. key : 32 bytes, None refuses by StoreKeyMissing"""

    def __init__(self, key: bytes | None) -> None:
        if key is not None and len(key) != KEY_BYTES:
            raise ValueError(f"a key of a store has {KEY_BYTES} bytes")
        self._key = key

    def derive(self, label: bytes, *, salt: bytes = b"", n_bytes: int = KEY_BYTES) -> bytes:
        """A secret of the service for one purpose. Raises StoreKeyMissing."""
        if self._key is None:
            raise StoreKeyMissing
        return HKDF(algorithm=SHA256(), length=n_bytes, salt=salt, info=label).derive(self._key)

    def close(self, name: str, chunks: Iterable[Chunk]) -> Iterator[bytes]:
        """Raises StoreKeyMissing before anything is taken from the chunks."""
        salt = secrets.token_bytes(_SALT_BYTES)
        cipher = self._make_cipher(salt)
        yield _MAGIC + self._id + salt
        number, pending = 0, b""
        for piece in _regroup(chunks, CHUNK_BYTES):
            if number:
                yield cipher.encrypt(_make_nonce(number, False), pending, name.encode())
            number, pending = number + 1, piece
        yield cipher.encrypt(_make_nonce(max(number, 1), True), pending, name.encode())

    def open(self, name: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Raises StoreKeyMissing, WrongStoreKey, SealBroken."""
        pieces = _split(chunks)
        head = next(pieces)
        if len(head) != _HEAD_BYTES or not head.startswith(_MAGIC):
            raise SealBroken(name)
        key_id, salt = head[len(_MAGIC) :][:_ID_BYTES], head[-_SALT_BYTES:]
        cipher = self._make_cipher(salt)
        if key_id != self._id:
            raise WrongStoreKey(name)
        number, pending = 0, b""
        for piece in pieces:
            if number:
                yield _decrypt(cipher, number, False, pending, name)
            number, pending = number + 1, piece
        yield _decrypt(cipher, max(number, 1), True, pending, name)

    @property
    def _id(self) -> bytes:
        """What tells keys from one another, and nothing of them."""
        return self.derive(b"zkpot store key id", n_bytes=_ID_BYTES)

    def _make_cipher(self, salt: bytes) -> AESGCM:
        return AESGCM(self.derive(b"zkpot sealed object", salt=salt))


def _make_nonce(number: int, is_last: bool) -> bytes:
    return number.to_bytes(_COUNT_BYTES, "big") + bytes([is_last])


def _decrypt(cipher: AESGCM, number: int, is_last: bool, piece: bytes, name: str) -> bytes:
    try:
        return cipher.decrypt(_make_nonce(number, is_last), piece, name.encode())
    except InvalidTag:
        raise SealBroken(name) from None


def _split(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The head of a sealed object, then its chunks; the head may be too short."""
    source, head = iter(chunks), bytearray()
    for chunk in source:
        head += chunk
        if len(head) >= _HEAD_BYTES:
            break
    yield bytes(head[:_HEAD_BYTES])

    def rest() -> Iterator[bytes]:
        yield bytes(head[_HEAD_BYTES:])
        yield from source

    yield from _regroup(rest(), CHUNK_BYTES + _TAG_BYTES)


def _regroup(chunks: Iterable[Chunk], n_bytes: int) -> Iterator[bytes]:
    """The same bytes in pieces of this length; the last one may be shorter, none is empty."""
    held = bytearray()
    for chunk in chunks:
        held += chunk
        while len(held) >= n_bytes:
            yield bytes(held[:n_bytes])
            del held[:n_bytes]
    if held:
        yield bytes(held)
