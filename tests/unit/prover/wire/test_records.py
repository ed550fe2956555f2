"""Declared records: what cannot be declared, what cannot be made, bytes that are none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.array import G1Array, G2Array
from kernels.numpy_types import UInt8Array
from prover.errors import FieldInvalid, FormatError
from prover.wire.array_kinds import Array, Points
from prover.wire.kinds import Bytes, Count, Counted, Digest, Listed, Mapped, Number, Packed, Word
from prover.wire.records import (
    BARE,
    WITH_NEXT,
    Document,
    Record,
    encode_fields,
    find_kind,
    header,
    split_fields,
)


class Colour(StrEnum):
    RED = "red"


Small = Annotated[int, Number(3, 9, width=2)]
Short = Annotated[bytes, Bytes(0, 2)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner(Record):
    a: Small
    b: Annotated[bytes, Bytes(0, 4, step=2)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Headed(Record):
    HEADER: ClassVar[bytes] = b"h"
    a: Small


@dataclass(frozen=True, slots=True, kw_only=True)
class Other(Record):
    HEADER: ClassVar[bytes] = b"o"
    b: Annotated[bytes, Bytes(1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer(Record):
    """One field of every layout, and a relation."""

    HEADER: ClassVar[bytes] = header(b"outer", 7)
    MAX_BYTES: ClassVar[int] = 200
    inline: Annotated[Inner, BARE]
    first: Annotated[Small, WITH_NEXT]
    second: Annotated[bytes, Bytes(1), WITH_NEXT]
    third: Annotated[bytes, Bytes(0, 3)]
    choices: Annotated[tuple[Headed | Other, ...], Listed(0, 2)]
    packed: Annotated[tuple[Small, ...], Packed(1, 3)]
    number: Count
    tail: Annotated[tuple[Short, ...], Counted(0, 2), BARE]

    def check_whole(self) -> None:
        self.require(self.number != 13, "is unlucky")


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter(Document):
    HEADER: ClassVar[bytes] = header(b"letter", 1)
    NAME: ClassVar[str] = "letter"
    NEXT_STEP: ClassVar[str] = "write it again"
    body: Digest


OUTER = Outer(
    inline=Inner(a=3, b=b"xy"),
    first=9,
    second=b"s",
    third=b"",
    choices=(Headed(a=4), Other(b=b"!")),
    packed=(3, 5),
    number=1,
    tail=(b"", b"t"),
)


N_READ: list[int] = []


def read_once() -> Number:
    """A kind that says when its annotation is read."""
    N_READ.append(1)
    return Number()


def test_an_annotation_is_read_once() -> None:
    """Not again for the class with slots, and not for a class that follows: a node's start."""
    N_READ.clear()

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Base(Record):
        a: Annotated[int, read_once()]

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Further(Base):
        a: Small
        b: Short

    assert N_READ == [1]
    assert [*Base.KINDS, *Further.KINDS] == ["a", "a", "b"]
    assert Further.decode(Further(a=3, b=b"x").encode()) == Further(a=3, b=b"x")
    with pytest.raises(FieldInvalid):
        Further(a=10, b=b"")


def test_bytes_are_those_of_the_declaration() -> None:
    fields = [b"\3\0", b"xy", b"\x09\0s", encode_fields([b"h\2\0\0\0\4\0", b"o\1\0\0\0!"])]
    fields += [b"\3\0\5\0", (1).to_bytes(8, "little")]
    tail = (2).to_bytes(4, "little") + encode_fields([b"", b"t"])
    assert OUTER.encode() == b"outer\7\0" + encode_fields(fields) + tail
    assert Outer.parse(OUTER.encode()) == OUTER


def test_every_other_byte_string_is_refused_or_another_record() -> None:
    raw = OUTER.encode()
    for at in range(len(raw)):
        for other in (raw[:at], *(raw[:at] + bytes([raw[at] ^ x]) + raw[at + 1 :] for x in (1, 9))):
            found = Outer.decode(other)
            assert found is None or (found != OUTER and found.encode() == other), at
    assert Outer.decode(raw + b"\0") is None


@given(st.binary(max_size=80))
def test_any_bytes_are_a_record_or_none(tail: bytes) -> None:
    found = Outer.decode(Outer.HEADER + tail)
    assert found is None or found.encode() == Outer.HEADER + tail


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"first": 2}, "first"),
        ({"first": 10}, "first"),
        ({"first": True}, "first"),
        ({"second": b""}, "second"),
        ({"third": "abc"}, "third"),
        ({"choices": (Headed(a=4),) * 3}, "choices"),
        ({"choices": (OUTER.inline,)}, "choices"),
        ({"choices": [Headed(a=4)]}, "choices"),
        ({"packed": ()}, "packed"),
        ({"packed": (3, 10)}, "packed"),
        ({"number": 1 << 63}, "number"),
        ({"tail": (b"", "t")}, "tail"),
        ({"inline": Headed(a=4)}, "inline"),
        ({"number": 13}, ""),
    ],
)
def test_no_record_is_out_of_its_ranges(changes: dict[str, Any], where: str) -> None:
    with pytest.raises(FieldInvalid) as refused:
        replace(OUTER, **changes)
    assert refused.value.where == where
    assert str(refused.value) == f"{where} {refused.value.what}".lstrip()


def test_a_fault_of_bytes_is_named_by_its_path() -> None:
    raw = OUTER.encode()
    start = len(Outer.HEADER)
    for at, value, fault in (
        (0, 0, "begins with other bytes: of another kind or version"),
        (start, 3, "inline.a has not 2 bytes"),
        (start + 4, 2, "inline.a is out of range: not in [3, 10)"),
        (start + 6, 99, "inline.b is cut short"),
        (raw.index(b"\x09\0s") - 4, 2, "second is cut short"),
        (raw.index(b"h\2") + 5, 1, "choices.a is out of range: not in [3, 10)"),
        (raw.index(b"h\2"), 0, "choices begins with other bytes: of another kind or version"),
    ):
        with pytest.raises(FieldInvalid) as refused:
            Outer.parse(raw[:at] + bytes([value]) + raw[at + 1 :])
        assert str(refused.value) == fault
    with pytest.raises(FieldInvalid, match="is longer than 200 bytes"):
        Outer.parse(raw + bytes(200))


def test_a_document_says_what_to_do() -> None:
    letter = Letter(body=bytes(32))
    assert Letter.decode(letter.encode()) == letter
    for raw in (b"", letter.encode()[:-1], letter.encode() + b"\0", OUTER.encode()):
        with pytest.raises(
            FormatError, match=r"^a\.file: it is no letter of version 1: .*; write it again$"
        ):
            Letter.decode(raw, where="a.file")


def declare(**annotations: Any) -> type[Record]:
    return type("Declared", (Record,), {"__annotations__": annotations})


@pytest.mark.parametrize(
    "hint",
    [
        int,
        bytes,
        tuple[int, ...],
        int | Inner,
        Annotated[int, "a number"],
        Annotated[int, Bytes(1)],
        Annotated[bytes, Number()],
        Annotated[int, Number(), Number()],
        Annotated[tuple[int, ...], Listed(0, 1)],
        Annotated[tuple[Small, Small], Packed(2, 2)],
        Annotated[Small, WITH_NEXT],
    ],
)
def test_a_field_without_a_kind_cannot_be_declared(hint: Any) -> None:
    assert declare(value=Small).KINDS.keys() == {"value"}
    with pytest.raises(TypeError):
        declare(value=hint)


def test_a_bare_field_in_the_middle_has_a_fixed_width() -> None:
    for tail in (Annotated[bytes, Bytes(0, 4), BARE], Annotated[Headed | Other, BARE]):
        assert declare(value=Small, tail=tail)
        with pytest.raises(TypeError, match="fixed width"):
            declare(tail=tail, value=Small)
    for layout in (BARE, WITH_NEXT):
        with pytest.raises(TypeError, match="fixed width"):
            declare(tail=Annotated[bytes, Bytes(0, 4), layout], value=Small)


def test_no_class_goes_round_the_checks() -> None:
    with pytest.raises(TypeError, match="check_whole"):
        type("Declared", (Record,), {"__post_init__": lambda self: None})
    with pytest.raises(TypeError, match="inherited fields"):
        type("Declared", (Inner,), {"__annotations__": {"c": Small}})
    assert type("Declared", (Inner,), {}).KINDS == Inner.KINDS  # type: ignore[attr-defined]


# -- kinds -----------------------------------------------------------------------------------------


def test_field_lists() -> None:
    assert split_fields(encode_fields([b"", b"ab"]), 2) == [b"", b"ab"]
    for raw, most in ((encode_fields([b"", b"ab"]), 1), (b"\1\0\0\0", 9), (b"\0", 9)):
        with pytest.raises(FieldInvalid):
            split_fields(raw, most)


def test_mappings_are_by_ascending_key() -> None:
    kind = find_kind(Annotated[Mapping[Short, Small], Mapped(2)])
    raw = encode_fields([b"a", b"\3\0", b"b", b"\4\0"])
    for value in ({b"a": 3, b"b": 4}, {b"b": 4, b"a": 3}):
        assert kind.encode(value) == raw
        assert kind.find_fault(value) is None
    assert dict(kind.decode(raw)) == {b"a": 3, b"b": 4}
    for wrong in ({b"abc": 3}, {b"a": 2}, dict.fromkeys((b"a", b"b", b"c"), 3)):
        assert kind.find_fault(wrong) is not None
    for parts in (
        [b"b", b"\4\0", b"a", b"\3\0"],
        [b"a", b"\3\0", b"a", b"\3\0"],
        [b"a", b"\3\0", b"b"],
        [b"a", b"\3"],
        [b"a", b"\3\0"] * 3,
    ):
        with pytest.raises(FieldInvalid):
            kind.decode(encode_fields(parts))
    for hint in (dict[Short, Small], Mapping[bytes, Small], Mapping[Short, int]):
        with pytest.raises(TypeError):
            find_kind(Annotated[hint, Mapped(2)])  # type: ignore[valid-type]


def test_words_are_members_of_their_enumeration() -> None:
    kind = Word(Colour)
    assert kind.decode(kind.encode(Colour.RED)) is Colour.RED
    assert kind.find_fault(Colour.RED) is None
    assert kind.find_fault("red") is not None  # type: ignore[arg-type]
    for raw in (b"", b"RED", "röd".encode()):
        with pytest.raises(FieldInvalid):
            kind.decode(raw)


def test_arrays_are_flat_and_of_their_type() -> None:
    kind = Array("int64")
    assert kind.encode(np.array([1, -1], dtype=np.int64)) == b"\1" + bytes(7) + b"\xff" * 8
    assert kind.decode(b"\xff" * 8).tolist() == [-1]
    assert kind.find_fault(np.zeros(2, dtype=np.int64)) is None
    for wrong in (np.zeros(2, dtype=np.int32), np.zeros((1, 2), dtype=np.int64)):
        assert kind.find_fault(wrong) is not None
    with pytest.raises(FieldInvalid):
        kind.decode(bytes(9))
    with pytest.raises(TypeError):
        kind.bind(UInt8Array)


def test_points_are_checked_once_decoded() -> None:
    one = G1Array.zeros(1)
    anywhere, real = Points(G1Array), Points(G1Array, identity=False)
    assert anywhere.decode(anywhere.encode(one)).equals(one)
    assert Points(G1Array, 1, 3).find_fault(G1Array.zeros(3)) is None
    for wrong in (G1Array.zeros(0), G1Array.zeros(2), G2Array.zeros(1)):
        assert anywhere.find_fault(wrong) is not None
    for kind, raw in ((real, real.encode(one)), (anywhere, b"\xff" * 32), (anywhere, bytes(64))):
        with pytest.raises(FieldInvalid):
            kind.decode(raw)
