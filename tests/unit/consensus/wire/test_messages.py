"""Every message class, by its declaration: each field out of its range is refused, made or read."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from consensus.wire.codec import Message, Signature, Signed
from consensus.wire.gossip_messages import HeldState
from prover.errors import FieldInvalid
from prover.wire.kinds import Bytes, Count, Listed, Number, Word
from prover.wire.records import Kind, encode_fields, find_kind
from tests.support.chain_vectors import list_messages


@cache
def examples() -> dict[str, Message]:
    """A message of every class, by its name."""
    return {type(m).__name__: m for m in [*list_messages(), HeldState(state=b"a state")]}


def list_classes() -> set[str]:
    found = [*Message.__subclasses__(), *Signed.__subclasses__()]
    ours = {kind.__name__ for kind in found if kind.__module__.startswith("consensus.")}
    return ours - {"Signed"}


FIELDS = [(m.__name__, f) for m in map(type, examples().values()) for f in m.KINDS]


def list_wrong(kind: Kind[Any]) -> list[Any]:
    """Values that a kind must refuse; a kind that is not known here fails the test."""
    match kind:
        case Number():
            return [kind.least - 1, kind.most + 1, True, 1.0, None, b"\1"]
        case Bytes():
            lengths = {kind.least - 1, kind.most + 1, kind.most + kind.step} - {-1}
            lengths |= {kind.least + 1} if kind.step > 1 else set()
            return [bytes(n) for n in sorted(lengths)] + ["x" * kind.most, bytearray(kind.most)]
        case Word():
            return [None, 0, b"", "no word of it"]
        case Listed():
            counts = [(None,) * n for n in (kind.least - 1, kind.most + 1) if n >= 0]
            elements = [(wrong,) * max(1, kind.least) for wrong in list_wrong(kind.item)]
            return [*counts, *elements, [], None]
    nested = find_kind(type(examples()["BlockRequest"]))
    assert type(kind) is type(nested), f"{kind} is not known here"
    return [None, b"", 0, Stranger()]


class Stranger(Message):
    """Of a kind that no field takes."""

    KIND = 255


def test_every_class_has_an_example() -> None:
    assert examples().keys() == list_classes()


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_a_field_out_of_its_range_is_refused(name: str, field: str) -> None:
    message = examples()[name]
    wrong = list_wrong(message.KINDS[field])
    assert len(wrong) >= 3
    for value in wrong:
        with pytest.raises(FieldInvalid) as refused:
            replace(message, **{field: value})  # type: ignore[type-var]
        assert refused.value.where == field, value


def is_right(kind: Kind[Any], raw: bytes) -> bool:
    """Whether these are the bytes of a value without fault, as those of True are those of 1."""
    try:
        return kind.find_fault(kind.decode(raw)) is None
    except FieldInvalid:
        return False


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_bytes_of_a_field_out_of_its_range_are_refused(name: str, field: str) -> None:
    message = examples()[name]
    fields = {f: kind.encode(getattr(message, f)) for f, kind in message.KINDS.items()}
    assert message.encode() == message.HEADER + encode_fields(fields.values())
    for value in list_wrong(message.KINDS[field]):
        try:
            raw = message.KINDS[field].encode(value)
        except (AttributeError, TypeError, OverflowError):
            continue  # it has no bytes
        if not isinstance(raw, bytes) or is_right(message.KINDS[field], raw):
            continue
        other = message.HEADER + encode_fields((fields | {field: raw}).values())
        assert type(message).decode(other) is None, value


def test_a_message_without_a_signature_is_not_signed() -> None:
    for fields in ({}, {"signature": Signature, "number": Count}):
        with pytest.raises(TypeError, match=r"inherited|signature"):
            type("Declared", (Signed,), {"__annotations__": fields})


def test_what_is_signed_is_all_but_the_signature() -> None:
    for message in examples().values():
        if not isinstance(message, Signed):
            continue
        again = replace(message, signature=bytes(range(64)))  # type: ignore[type-var]
        assert again.sign_bytes(b"chain") == message.sign_bytes(b"chain")
        assert again.encode() != message.encode()
