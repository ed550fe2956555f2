"""Section 10 of a zkey: who has a share in delta, and the proof that each knew its own.

    circuit hash [64] | count u32 | count x
        ( delta after G1 | s G1 | s x G1 | s' x G2 | transcript [64] | kind u32
          | n_bytes u32 | parameters: type u8, ascending | ... )

    kind 0 : drawn by whoever; 1 : by a beacon, for everybody to repeat
    type 1 : n u8 | name [n], UTF-8     2 : exponent u8     3 : n u8 | beacon [n]

x is the share; s' is hashed from the transcript (`prover.ceremony.transcript`).
Source: snarkjs 0.7.6, src/zkey_utils.js.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

import numpy as np

from kernels.array import G1Array, G2Array
from kernels.cpu.words.group import is_in_subgroup_g2, is_on_curve_g1
from prover.errors import FormatError
from prover.formats.binfile import REGENERATE
from prover.formats.checks import is_infinity

HASH_BYTES = 64
MAX_NAME_LENGTH = 64  # UTF-16 units, as snarkjs cuts them
DRAWN, BEACON = 0, 1
_NAME, _EXPONENT, _BEACON = 1, 2, 3
_G1, _G2 = 64, 128
_POINT_BYTES = 3 * _G1 + _G2
_LEAST_BYTES = _POINT_BYTES + HASH_BYTES + 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who contributed: somebody, or a beacon. The name is as its bytes are."""

    name: bytes | None = None
    exponent: int | None = None
    beacon: bytes | None = None

    @property
    def is_public(self) -> bool:
        """Whether a beacon drew the shares, so that everybody knows them."""
        return self.exponent is not None and self.beacon is not None

    @property
    def label(self) -> str:
        """The name for people: it comes from strangers, so printable ASCII alone gets out."""
        text = (self.name or b"").decode("ascii", "replace")
        return "".join(c if c.isprintable() and c.isascii() else "?" for c in text)

    def encode(self) -> bytes:
        """Kind, length of the parameters, parameters."""
        parameters = b""
        if self.name:
            parameters += bytes([_NAME, len(self.name)]) + self.name
        if self.exponent is not None:
            parameters += bytes([_EXPONENT, self.exponent])
        if self.beacon is not None:
            parameters += bytes([_BEACON, len(self.beacon)]) + self.beacon
        kind = DRAWN if self.beacon is None else BEACON
        return struct.pack("<II", kind, len(parameters)) + parameters


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Contribution:
    """One share of delta. Points are arrays of length 1, in their groups and finite.

    s, s_x     : a point and its multiple by the share, in G1
    spx        : the same multiple of the point s' of G2
    transcript : the hash that s' comes from
    """

    delta_after: G1Array
    s: G1Array
    s_x: G1Array
    spx: G2Array
    transcript: bytes
    origin: Origin

    def encode(self) -> bytes:
        """Inverse of the parser."""
        points = [x.data.astype("<u8").tobytes() for x in (self.delta_after, self.s, self.s_x)]
        points.append(self.spx.data.astype("<u8").tobytes())
        return b"".join(points) + self.transcript + self.origin.encode()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ceremony:
    """The section: the hash of the circuit and its first key, and the contributions in order."""

    circuit_hash: bytes
    contributions: tuple[Contribution, ...]

    def encode(self) -> bytes:
        count = struct.pack("<I", len(self.contributions))
        return self.circuit_hash + count + b"".join(c.encode() for c in self.contributions)


def decode_ceremony(raw: bytes, *, where: str) -> Ceremony:
    """Inverse of `Ceremony.encode`.

    raises : FormatError for bytes that are too short or too long, parameters that are out of order,
             unknown or not those of the kind, and points that are infinity or outside their group
    """
    if len(raw) < HASH_BYTES + 4:
        raise _refuse("too short for a hash and a count", where)
    (count,) = struct.unpack_from("<I", raw, HASH_BYTES)
    if len(raw) < HASH_BYTES + 4 + count * _LEAST_BYTES:
        raise _refuse(f"too short for {count} contributions", where)
    position, found = HASH_BYTES + 4, []
    for i in range(count):
        contribution, position = _decode(raw, position, f"{where}, contribution {i + 1}")
        found.append(contribution)
    if position != len(raw):
        raise _refuse(f"{len(raw) - position} bytes follow the last contribution", where)
    return Ceremony(circuit_hash=raw[:HASH_BYTES], contributions=tuple(found))


def _decode(raw: bytes, position: int, where: str) -> tuple[Contribution, int]:
    if position + _LEAST_BYTES > len(raw):
        raise _refuse("ends too early", where)
    words = np.frombuffer(raw, dtype="<u8", count=_POINT_BYTES // 8, offset=position)
    words = words.astype(np.uint64)
    g1, spx = G1Array(words[:24].reshape(3, 8)), G2Array(words[24:].reshape(1, 16))
    is_valid = is_on_curve_g1(g1).all() and is_in_subgroup_g2(spx).all()
    if not is_valid or is_infinity(g1).any() or is_infinity(spx).any():
        raise _refuse("a point is infinity or outside its group", where)
    position += _POINT_BYTES
    transcript = raw[position : position + HASH_BYTES]
    position += HASH_BYTES
    origin, position = decode_origin(raw, position, where)
    contribution = Contribution(
        delta_after=g1[0:1],
        s=g1[1:2],
        s_x=g1[2:3],
        spx=spx,
        transcript=transcript,
        origin=origin,
    )
    return contribution, position


def decode_origin(raw: bytes, position: int, where: str) -> tuple[Origin, int]:
    """The origin that begins at a place, and where it ends. Raises FormatError."""
    if position + 8 > len(raw):
        raise _refuse("ends too early", where)
    kind, n_bytes = struct.unpack_from("<II", raw, position)
    position += 8
    if kind not in (DRAWN, BEACON):
        raise _refuse(f"kind {kind} is not known", where)
    if position + n_bytes > len(raw):
        raise _refuse("ends too early", where)
    values = _decode_parameters(raw[position : position + n_bytes], where)
    if (kind == BEACON) != (_EXPONENT in values) or (kind == BEACON) != (_BEACON in values):
        raise _refuse(f"has not the parameters of kind {kind}", where)
    found = Origin(name=values.get(_NAME))
    if kind == BEACON:
        found = replace(found, exponent=values[_EXPONENT][0], beacon=values[_BEACON])
    return found, position + n_bytes


def _decode_parameters(raw: bytes, where: str) -> dict[int, bytes]:
    values: dict[int, bytes] = {}
    position, last = 0, 0
    while position < len(raw):
        kind = raw[position]
        if kind <= last or kind > _BEACON:
            raise _refuse(f"parameter {kind} is unknown or out of order", where)
        size = 1 if kind == _EXPONENT else (raw[position + 1 : position + 2] or b"\0")[0]
        start = position + (1 if kind == _EXPONENT else 2)
        values[kind] = raw[start : start + size]
        if not size or len(values[kind]) != size:
            raise _refuse(f"parameter {kind} is empty or ends too early", where)
        position, last = start + size, kind
    return values


def _refuse(what: str, where: str) -> FormatError:
    return FormatError(what, where=where, next_step=REGENERATE)
