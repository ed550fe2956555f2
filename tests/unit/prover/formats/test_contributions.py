"""Section 10 of a zkey: one encoding, and nothing of a stranger's that is taken unchecked."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from kernels.array import G1Array, G2Array
from prover.errors import FormatError
from prover.formats.contributions import (
    HASH_BYTES,
    Ceremony,
    Contribution,
    Origin,
    decode_ceremony,
)
from tests.support.ceremonies import BEACON, EXPONENT, read_finished
from tests.support.foreign import outside_g2, take_apart, vector

RAW = dict(take_apart(vector("multiplier", "_2.zkey").read_bytes())[1])[10]
PARAMETERS = 3 * 64 + 128 + HASH_BYTES  # of a contribution: kind, n_bytes, then they
FIRST = HASH_BYTES + 4


def decode(raw: bytes) -> Ceremony:
    return decode_ceremony(raw, where="here")


def with_parameters(kind: int, parameters: bytes) -> bytes:
    """The first contribution alone, with others."""
    points = RAW[FIRST : FIRST + PARAMETERS]
    tail = struct.pack("<II", kind, len(parameters)) + parameters
    return RAW[:HASH_BYTES] + struct.pack("<I", 1) + points + tail


def alone(contribution: Contribution) -> bytes:
    return Ceremony(circuit_hash=bytes(HASH_BYTES), contributions=(contribution,)).encode()


def test_the_section_that_snarkjs_wrote() -> None:
    found = decode(RAW)
    first, second = found.contributions
    assert first.origin == Origin(name=b"one")
    assert second.origin == Origin(name=b"end", exponent=EXPONENT, beacon=BEACON)
    assert found.encode() == RAW
    no_one = dict(take_apart(vector("multiplier", "_0.zkey").read_bytes())[1])[10]
    assert decode(no_one).contributions == ()
    assert decode(no_one).encode() == no_one


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [(0, b""), (0, b"\1\2ab"), (1, b"\2\x0a\3\1x"), (1, b"\1\1a\2\x0a\3\2xy")],
)
def test_parameters_come_back(kind: int, parameters: bytes) -> None:
    raw = with_parameters(kind, parameters)
    assert decode(raw).encode() == raw


@pytest.mark.parametrize(
    ("kind", "parameters", "what"),
    [
        (2, b"", "kind 2 is not known"),
        (0, b"\2\x0a", "parameters of kind 0"),
        (0, b"\3\1x", "parameters of kind 0"),
        (1, b"\2\x0a", "parameters of kind 1"),
        (1, b"\3\1x", "parameters of kind 1"),
        (1, b"\3\1x\2\x0a", "out of order"),
        (0, b"\1\1a\1\1a", "out of order"),
        (0, b"\0\1a", "unknown or out of order"),
        (0, b"\4\1a", "unknown or out of order"),
        (0, b"\1", "empty or ends"),
        (0, b"\1\0", "empty or ends"),
        (0, b"\1\2a", "empty or ends"),
        (1, b"\2", "empty or ends"),
    ],
)
def test_parameters_that_are_refused(kind: int, parameters: bytes, what: str) -> None:
    with pytest.raises(FormatError, match=what) as refused:
        decode(with_parameters(kind, parameters))
    assert refused.value.where == "here, contribution 1"


def test_lengths_that_are_refused() -> None:
    for n in (0, HASH_BYTES + 3, FIRST + 10, FIRST + PARAMETERS + 8, len(RAW) - 1):
        with pytest.raises(FormatError, match=r"too short|too early"):
            decode(RAW[:n])
    with pytest.raises(FormatError, match="1 bytes follow"):
        decode(RAW + b"\0")
    for count in (3, 0xFFFFFFFF):
        with pytest.raises(FormatError, match="too"):
            decode(RAW[:HASH_BYTES] + struct.pack("<I", count) + RAW[FIRST:])


def test_points_that_are_refused() -> None:
    one = read_finished().ceremony.contributions[0]
    assert decode(alone(one)).contributions[0].origin.name == b"one"
    off = G1Array(one.s.data ^ 1)
    for wrong in (
        replace(one, s=off),
        replace(one, s_x=off),
        replace(one, delta_after=off),
        replace(one, s=G1Array.zeros(1)),
        replace(one, spx=G2Array.zeros(1)),
        replace(one, spx=G2Array.from_ints([outside_g2()])),
    ):
        with pytest.raises(FormatError, match="infinity or outside its group"):
            decode(alone(wrong))


def test_names_of_strangers_are_printable() -> None:
    assert Origin(name=b"a\x1b[31m\xff\n").label == "a?[31m??"
