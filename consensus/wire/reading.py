"""Values of a genesis, read from JSON and asked; GenesisInvalid names the place in the file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from consensus.errors import GenesisInvalid
from prover.wire.statement import MAX_NAME_BYTES


def require(where: str, holds: bool, what: str) -> None:
    """What is asked of the value at this place. what : says how it is at fault"""
    if not holds:
        raise GenesisInvalid(where, what)


def require_number(where: str, value: object, least: int, most: int) -> None:
    """A whole number of a range."""
    holds = type(value) is int and least <= value <= most
    require(where, holds, f"is not a whole number from {least} to {most}")


def require_bytes(where: str, value: bytes, length: int) -> None:
    """So many bytes."""
    require(where, len(value) == length, f"has not {length} bytes")


def require_name(where: str, value: bytes) -> None:
    """What statements may have as a name."""
    printable = all(0x21 <= c <= 0x7E for c in value)
    holds = 1 <= len(value) <= MAX_NAME_BYTES and printable
    require(where, holds, f"is not 1 to {MAX_NAME_BYTES} printable ASCII characters")


def read_object(where: str, value: object, names: Any) -> dict[str, Any]:
    """The fields of an object that has these and no others."""
    if not isinstance(value, dict) or value.keys() != set(names):
        raise GenesisInvalid(where, f"is no object with exactly {', '.join(sorted(names))}")
    return dict(value)


def read_list(where: str, value: object, read: Callable[[str, object], Any]) -> tuple[Any, ...]:
    """The elements of a list, each read by `read`."""
    if not isinstance(value, list):
        raise GenesisInvalid(where, "is no list")
    return tuple(read(where, item) for item in value)


def read_name(where: str, value: object) -> bytes:
    """A text of ASCII."""
    if not isinstance(value, str) or not value.isascii():
        raise GenesisInvalid(where, "is no ASCII text")
    return value.encode("ascii")


def read_hex(where: str, value: object) -> bytes:
    """Bytes in hexadecimal."""
    try:
        return bytes.fromhex(value if isinstance(value, str) else "?")
    except ValueError:
        raise GenesisInvalid(where, "is no hexadecimal text") from None


def read_float(where: str, value: object) -> float:
    """A float in hexadecimal."""
    try:
        return float.fromhex(value if isinstance(value, str) else "?")
    except (ValueError, OverflowError):
        raise GenesisInvalid(where, "holds no hexadecimal float") from None
