"""How much a protobuf file holds, before it is parsed: a part of two bytes becomes an object of a
hundred and more, and a file of megabytes gigabytes."""

from __future__ import annotations

from typing import Any

MAX_FIELDS = 1 << 19
"""Of all messages of a file: nodes, names, attributes, dimensions. Numbers of tensors are one."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}


def count_fields(raw: bytes, message: Any, most: int = MAX_FIELDS) -> int | None:
    """Fields of a message and of all messages in it; `most` + 1 where there are more; None where
    the bytes are no such message.

    message : its protobuf descriptor
    cost    : a step for each field, whatever its length
    """
    n = 0
    parts = [(0, len(raw), message)]
    while parts:
        at, end, kind = parts.pop()
        while at < end:
            tag, at = _read_varint(raw, at, end)
            n += 1
            if n > most:
                return n
            wire = tag & 7
            if wire == _VARINT:
                _, at = _read_varint(raw, at, end)
                start = at
            elif wire == _BYTES:
                length, start = _read_varint(raw, at, end)
                at = start + length
            elif wire in _WIDTHS:
                start = at
                at += _WIDTHS[wire]
            else:
                return None
            if at > end:
                return None
            field = kind.fields_by_number.get(tag >> 3)
            if wire == _BYTES and field is not None and field.message_type is not None:
                parts.append((start, at, field.message_type))
    return n


def _read_varint(raw: bytes, at: int, end: int) -> tuple[int, int]:
    """A number and the place behind it; a place behind the end where it is none."""
    found = shift = 0
    while at < end and shift < 70:
        byte = raw[at]
        at += 1
        found |= (byte & 127) << shift
        if byte < 128:
            return found, at
        shift += 7
    return 0, end + 1
