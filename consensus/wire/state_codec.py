"""Canonical bytes of plain values: what a state is made of, by the types of its fields.

    bytes      themselves                     text, names   ASCII
    number     8 bytes little-endian          true, false   a number
    tuple      field list of its elements     message       its own encoding
    mapping    field list key, value, key, value ... by ascending key
    dataclass  field list of its fields in the order of the class

A field list has a length of 4 bytes before each field. One value has one encoding.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any, get_args, get_origin, get_type_hints

from consensus.wire.codec import Message
from prover.wire.records import encode_fields, split_fields

_NUMBER_BYTES = 8


def encode_value(value: Any) -> bytes:
    """The bytes of a value. TypeError for a kind that is not listed above."""
    match value:
        case bytes():
            return value
        case Enum():
            return encode_value(value.value)
        case str():
            return value.encode("ascii")
        case int():
            return value.to_bytes(_NUMBER_BYTES, "little")
        case Message():
            return value.encode()
        case Mapping():
            pairs = (part for key in sorted(value) for part in (key, value[key]))
            return encode_fields([encode_value(part) for part in pairs])
        case tuple():
            return encode_fields([encode_value(item) for item in value])
        case _ if dataclasses.is_dataclass(value):
            names = (f.name for f in dataclasses.fields(value))
            return encode_fields([encode_value(getattr(value, name)) for name in names])
    raise TypeError(f"a {type(value).__name__} has no canonical bytes")


def decode_value(kind: Any, raw: bytes) -> Any:
    """A value of this type from its bytes. ValueError for others, of which not all are found: who
    must know that the bytes are canonical encodes the value again."""
    if get_origin(kind) is tuple:
        return _decode_tuple(get_args(kind), raw)
    if get_origin(kind) is Mapping:
        key, value = get_args(kind)
        parts = split_fields(raw, len(raw))
        pairs = zip(parts[::2], parts[1::2], strict=True)
        return MappingProxyType({decode_value(key, k): decode_value(value, v) for k, v in pairs})
    if not isinstance(kind, type):
        raise TypeError(f"{kind} has no canonical bytes")
    if kind is bytes:
        return raw
    if issubclass(kind, Enum):
        base = str if issubclass(kind, str) else int
        return kind(decode_value(base, raw))
    if issubclass(kind, str):
        return raw.decode("ascii")
    if issubclass(kind, int):
        if len(raw) != _NUMBER_BYTES:
            raise ValueError("a number has a wrong length")
        return kind(int.from_bytes(raw, "little"))
    if issubclass(kind, Message):
        return kind.parse(raw)
    return _decode_dataclass(kind, raw)


def _decode_tuple(kinds: tuple[Any, ...], raw: bytes) -> tuple[Any, ...]:
    parts = split_fields(raw, len(raw))
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(parts)
    return tuple(decode_value(kind, part) for kind, part in zip(kinds, parts, strict=True))


def _decode_dataclass(kind: type, raw: bytes) -> Any:
    hints = get_type_hints(kind)
    names = [f.name for f in dataclasses.fields(kind)]
    pairs = zip(names, split_fields(raw, len(names)), strict=True)
    return kind(**{name: decode_value(hints[name], part) for name, part in pairs})
