"""A proof as it travels: a versioned envelope with the statement and 224 bytes of points.

    "zkpotprf" | version, 2 bytes | length of the statement, 4 bytes | statement | proof, 224 bytes

    proof = A 32 | B 64 | C 32 | D_W 32 | PoK_W 32 | D_A 32        compressed points, little-endian

Numbers are little-endian. D_W stands in the statement too (the transcript hashes that one); the
verifier demands that both are equal. Groth16 proofs can be re-randomized by anyone, so equality of
envelopes is equality of `statement`, never of proof bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from kernels.array import G1Array, G2Array
from kernels.cpu.words import group
from kernels.encoding import (
    DecodeFault,
    Refused,
    decode_g1,
    decode_g2,
    encode_g1,
    encode_g2,
)
from prover.wire.kinds import Bytes
from prover.wire.records import BARE, Record, header
from prover.wire.statement import Statement
from prover.wire.verdict import Verdict

PROOF_BYTES = 224
MAX_ENVELOPE_BYTES = 8192  # the longest statement and the rest, with room

_A, _B, _C, _D_W, _POK_W, _D_A = (
    slice(0, 32),
    slice(32, 96),
    slice(96, 128),
    slice(128, 160),
    slice(160, 192),
    slice(192, 224),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Groth16Points:
    """A, B and C of Groth16, each an array of length 1: all of a proof without committed groups."""

    a: G1Array
    b: G2Array
    c: G1Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof(Groth16Points):
    """The points of one proof, each an array of length 1; infinity for a group that is absent."""

    d_w: G1Array
    pok_w: G1Array
    d_a: G1Array

    def encode(self) -> bytes:
        """224 bytes."""
        return b"".join(
            (
                encode_g1(self.a),
                encode_g2(self.b),
                encode_g1(self.c),
                encode_g1(self.d_w),
                encode_g1(self.pok_w),
                encode_g1(self.d_a),
            )
        )

    @classmethod
    def decode(cls, raw: bytes) -> Proof | Verdict:
        """Inverse of `encode`: canonical points on their curves, B of order r; or the fault."""
        if len(raw) != PROOF_BYTES:
            return Verdict.MALFORMED
        g1 = decode_g1(raw[_A] + raw[_C] + raw[_D_W] + raw[_POK_W] + raw[_D_A], 5)
        if isinstance(g1, Refused):
            return _FAULTS[g1.fault]
        b = decode_g2(raw[_B], 1, backend=group)
        if isinstance(b, Refused):
            return _FAULTS[b.fault]
        return cls(a=g1[0:1], b=b, c=g1[1:2], d_w=g1[2:3], pok_w=g1[3:4], d_a=g1[4:5])


_FAULTS = {
    DecodeFault.WRONG_LENGTH: Verdict.MALFORMED,
    DecodeFault.NON_CANONICAL: Verdict.MALFORMED,
    DecodeFault.NOT_ON_CURVE: Verdict.NOT_ON_CURVE,
    DecodeFault.WRONG_SUBGROUP: Verdict.WRONG_SUBGROUP,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope(Record):
    """A statement and the bytes of its proof. The points are checked by `Proof.decode`."""

    HEADER: ClassVar[bytes] = header(b"zkpotprf", 1)
    MAX_BYTES: ClassVar[int] = MAX_ENVELOPE_BYTES
    statement: Statement
    proof: Annotated[bytes, Bytes(PROOF_BYTES), BARE]

    @property
    def d_w(self) -> bytes:
        """The model commitment as the proof carries it, compressed."""
        return self.proof[_D_W]

    @property
    def pok_w(self) -> bytes:
        return self.proof[_POK_W]

    @property
    def d_a(self) -> bytes:
        return self.proof[_D_A]
