"""Canonical bytes of messages: one value has one encoding, and every other byte string is refused.

    message = kind, 1 byte | version, 1 byte | the fields in the order of the class, length-prefixed

A number takes 8 bytes little-endian, a byte string itself, a tuple or a message its own encoding;
every length is 4 bytes little-endian. An optional field is a tuple of no or one element.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any, ClassVar, Self, get_args, get_origin, get_type_hints

from prover.wire.statement import encode_fields

VERSION = 1
MAX_NUMBER = 1 << 63  # exclusive
_HEADER_BYTES = 2
_LENGTH_BYTES = 4
_NUMBER_BYTES = 8


class MessageInvalid(ValueError):
    """A field is outside its range; the message names it and never repeats its value."""


class Message:
    """A frozen dataclass whose fields are int, bytes, another message, or a tuple of one of them.

    MAX_BYTES bounds what `decode` looks at. A subclass checks its ranges in `__post_init__` and
    raises MessageInvalid.
    """

    KIND: ClassVar[int]
    MAX_BYTES: ClassVar[int] = 1 << 14

    def encode(self) -> bytes:
        """The canonical bytes."""
        names = _types(type(self))
        return bytes((self.KIND, VERSION)) + encode_fields(
            [_encode(getattr(self, name)) for name in names]
        )

    @classmethod
    def decode(cls, raw: bytes) -> Self | None:
        """Inverse of `encode`; None for every other byte string."""
        if not _HEADER_BYTES <= len(raw) <= cls.MAX_BYTES or raw[0] != cls.KIND:
            return None
        types = _types(cls)
        fields = split_fields(raw[_HEADER_BYTES:], len(types))
        if raw[1] != VERSION or fields is None or len(fields) != len(types):
            return None
        try:
            values = {
                name: _decode(kind, field)
                for (name, kind), field in zip(types.items(), fields, strict=True)
            }
            return cls(**values)
        except MessageInvalid:
            return None

    @property
    def digest(self) -> bytes:
        """sha256 of the canonical bytes."""
        return hashlib.sha256(self.encode()).digest()


class Signed(Message):
    """A message whose last field is `signature`, Ed25519 over `sign_bytes`, 64 bytes."""

    signature: bytes

    def sign_bytes(self, genesis_digest: bytes) -> bytes:
        """What is signed: the class by name, the chain, and every field but the signature.

        genesis_digest : the chain; its name would be that of other chains as well
        """
        blank = dataclasses.replace(self, signature=bytes(SIGNATURE_BYTES))  # type: ignore[type-var]
        name = type(self).__name__.lower().encode("ascii")
        return encode_fields((b"zkpot " + name + b" v1", genesis_digest, blank.encode()))


SIGNATURE_BYTES = 64


def split_fields(raw: bytes, limit: int) -> list[bytes] | None:
    """Length-prefixed fields, at most `limit`; None when `raw` is anything else."""
    fields: list[bytes] = []
    at = 0
    while at < len(raw):
        start = at + _LENGTH_BYTES
        end = start + int.from_bytes(raw[at:start], "little")
        if len(fields) == limit or start > len(raw) or end > len(raw):
            return None
        fields.append(raw[start:end])
        at = end
    return fields


def require(holds: bool, what: str) -> None:
    """Raises MessageInvalid(what) unless `holds`."""
    if not holds:
        raise MessageInvalid(what)


def require_lengths(message: Message, **lengths: int | tuple[int, int]) -> None:
    """Each named field is a byte string of this length, or between two lengths inclusive."""
    for name, length in lengths.items():
        least, most = (length, length) if isinstance(length, int) else length
        require(least <= len(getattr(message, name)) <= most, f"{name} has a wrong length")


def require_numbers(message: Message) -> None:
    """All int fields are in [0, 2^63)."""
    for name, kind in _types(type(message)).items():
        if kind is int:
            value = getattr(message, name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            require(whole and 0 <= value < MAX_NUMBER, f"{name} is out of range")


_known: dict[type, dict[str, Any]] = {}


def _types(kind: Any) -> dict[str, Any]:
    """Field names and types in their order; looked up once per class."""
    found = _known.get(kind)
    if found is None:
        hints = get_type_hints(kind)
        found = _known[kind] = {field.name: hints[field.name] for field in dataclasses.fields(kind)}
    return found


def _encode(value: Any) -> bytes:
    if isinstance(value, int):
        return value.to_bytes(_NUMBER_BYTES, "little")
    if isinstance(value, bytes):
        return value
    if isinstance(value, Message):
        return value.encode()
    return encode_fields([_encode(item) for item in value])


def _decode(kind: Any, raw: bytes) -> Any:
    """Raises MessageInvalid."""
    if kind is int:
        require(len(raw) == _NUMBER_BYTES, "a number has a wrong length")
        return int.from_bytes(raw, "little")
    if kind is bytes:
        return bytes(raw)
    if get_origin(kind) is tuple:
        items: Sequence[bytes] | None = split_fields(raw, len(raw))
        require(items is not None, "a list is malformed")
        return tuple(_decode(get_args(kind)[0], item) for item in items or ())
    for choice in get_args(kind) or (kind,):  # a union of messages
        found = choice.decode(raw)
        if found is not None:
            return found
    raise MessageInvalid("a part is malformed")
