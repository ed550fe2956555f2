"""The kinds of fields: numbers, byte strings, words, tuples, mappings (`prover.wire.records`)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from itertools import pairwise
from types import MappingProxyType
from typing import Annotated, Any, get_args, get_origin

from prover.errors import FieldInvalid
from prover.wire.records import LENGTH_BYTES, Kind, encode_fields, find_kind, split_fields

DIGEST_BYTES = 32
POINT_BYTES = 32
NUMBER_BYTES = 8
MAX_NUMBER = 1 << 63  # exclusive


class Number(Kind[int]):
    """A whole number from `least` to `most`, little-endian in `width` bytes."""

    base = int
    width: int

    def __init__(
        self, least: int = 0, most: int = MAX_NUMBER - 1, *, width: int = NUMBER_BYTES
    ) -> None:
        self.least, self.most, self.width = least, most, width
        end = "2^63" if most == MAX_NUMBER - 1 else most + 1
        self._fault = f"is out of range: not in [{least}, {end})"

    def find_fault(self, value: int) -> str | None:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return None if whole and self.least <= value <= self.most else self._fault

    def encode(self, value: int) -> bytes:
        return value.to_bytes(self.width, "little")

    def decode(self, raw: bytes) -> int:
        if len(raw) != self.width:
            raise FieldInvalid(f"has not {self.width} bytes")
        return int.from_bytes(raw, "little")


class Bytes(Kind[bytes]):
    """Byte strings of `least` to `most` bytes (of just `least` without `most`).

    step : of which the length is a multiple
    """

    base = bytes

    def __init__(self, least: int, most: int | None = None, *, step: int = 1) -> None:
        self.least, self.most, self.step = least, least if most is None else most, step
        self.width = least if most is None else None
        self._fault = f"has a wrong length: not {span(self.least, self.most)} bytes"
        if step > 1:
            self._fault += f", a whole number of {step}"

    def find_fault(self, value: bytes) -> str | None:
        if not isinstance(value, bytes):
            return "is no byte string"
        n = len(value)
        fits = self.least <= n <= self.most and n % self.step == 0
        return None if fits else self._fault

    def encode(self, value: bytes) -> bytes:
        return value

    def decode(self, raw: bytes) -> bytes:
        return raw


class _Sequence(Kind[tuple[Any, ...]]):
    """Tuples of `least` to `most` elements, each of the kind that the annotation names."""

    item: Kind[Any]

    def __init__(self, least: int, most: int) -> None:
        self.least, self.most = least, most

    def bind(self, base: Any) -> Kind[tuple[Any, ...]]:
        item, *rest = get_args(base) or [None]
        if get_origin(base) is not tuple or rest != [...]:
            return super().bind(base)
        bound = type(self)(self.least, self.most)
        bound.item = find_kind(item)
        return bound

    def find_fault(self, value: tuple[Any, ...]) -> str | None:
        if not isinstance(value, tuple) or not self.least <= len(value) <= self.most:
            return f"has not {span(self.least, self.most)} elements"
        faults = map(self.item.find_fault, value)
        return next((f"an element {fault}" for fault in faults if fault), None)


class Listed(_Sequence):
    """A tuple, each element with its length."""

    def encode(self, value: tuple[Any, ...]) -> bytes:
        return encode_fields(list(map(self.item.encode, value)))

    def decode(self, raw: bytes) -> tuple[Any, ...]:
        return tuple(map(self.item.decode, split_fields(raw, self.most)))


class Counted(Listed):
    """A tuple, its length in 4 bytes before the elements with theirs: for the end of a file."""

    def encode(self, value: tuple[Any, ...]) -> bytes:
        return len(value).to_bytes(LENGTH_BYTES, "little") + super().encode(value)

    def decode(self, raw: bytes) -> tuple[Any, ...]:
        found = super().decode(raw[LENGTH_BYTES:])
        if raw[:LENGTH_BYTES] != len(found).to_bytes(LENGTH_BYTES, "little"):
            raise FieldInvalid("has more or fewer elements than it says")
        return found


class Packed(_Sequence):
    """A tuple of elements of a fixed width, without lengths."""

    def encode(self, value: tuple[Any, ...]) -> bytes:
        return b"".join(map(self.item.encode, value))

    def decode(self, raw: bytes) -> tuple[Any, ...]:
        width = self.item.width or 1
        if len(raw) > self.most * width:
            raise FieldInvalid(f"has more than {self.most} elements")
        places = range(0, len(raw), width)  # a last one that is too short is refused as such
        return tuple(self.item.decode(raw[at : at + width]) for at in places)


class Mapped(Kind[Mapping[Any, Any]]):
    """A mapping of at most `most` keys: key, value, key, value ..., by ascending key, each with
    its length."""

    key: Kind[Any]
    value: Kind[Any]

    def __init__(self, most: int) -> None:
        self.most = most

    def bind(self, base: Any) -> Kind[Mapping[Any, Any]]:
        if get_origin(base) is not Mapping:
            return super().bind(base)
        bound = type(self)(self.most)
        bound.key, bound.value = map(find_kind, get_args(base))
        return bound

    def find_fault(self, value: Mapping[Any, Any]) -> str | None:
        if len(value) > self.most:
            return f"has more than {self.most} keys"
        faults = [*map(self.key.find_fault, value), *map(self.value.find_fault, value.values())]
        return next((f"an element {fault}" for fault in faults if fault), None)

    def encode(self, value: Mapping[Any, Any]) -> bytes:
        pairs = ((self.key.encode(k), self.value.encode(value[k])) for k in sorted(value))
        return encode_fields(part for pair in pairs for part in pair)

    def decode(self, raw: bytes) -> Mapping[Any, Any]:
        parts = split_fields(raw, 2 * self.most)
        keys = list(map(self.key.decode, parts[::2]))
        if len(parts) % 2 or any(a >= b for a, b in pairwise(keys)):
            raise FieldInvalid("has a key without a value, or not in order")
        return MappingProxyType(dict(zip(keys, map(self.value.decode, parts[1::2]), strict=True)))


class Word(Kind[Any]):
    """A member of an enumeration, by its word in ASCII."""

    def __init__(self, base: type[StrEnum]) -> None:
        self.base = base

    def find_fault(self, value: StrEnum) -> str | None:
        return None if isinstance(value, self.base) else f"is no {self.base.__name__}"

    def encode(self, value: StrEnum) -> bytes:
        return value.encode("ascii")

    def decode(self, raw: bytes) -> StrEnum:
        try:
            found: StrEnum = self.base(raw.decode("ascii"))
        except ValueError:
            raise FieldInvalid(f"is no {self.base.__name__}") from None
        return found


def span(least: int, most: int) -> str:
    """How many, in words."""
    return str(least) if least == most else f"{least} to {most}"


Digest = Annotated[bytes, Bytes(DIGEST_BYTES)]
PointBytes = Annotated[bytes, Bytes(POINT_BYTES)]
"""A compressed point of G1, not decoded."""
Count = Annotated[int, Number()]
"""Any number that is not negative."""
