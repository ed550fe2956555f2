"""A proof as it travels: a versioned envelope with the statement and the points.

    "zkpotprf" | version, 2 bytes | length of the statement, 4 bytes | statement | proof

    proof = A 32 | B 64 | C 32 | D' 32 | pi 32 | D_A 32

Points are compressed, numbers little-endian: 224 bytes. The commitments that the circuit's groups
are linked to stand in the statement. Groth16 proofs can be re-randomized by anyone, so
equality of envelopes is equality of `statement`, never of proof bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Protocol, TypeVar

from kernels.array import G1Array, G2Array
from kernels.cpu.words import group
from kernels.cpu.words.power import power_fp
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

_A, _B, _C = slice(0, 32), slice(32, 96), slice(96, 128)
FIXED_BYTES = 128  # of A, B and C; what follows is fixed before the challenges


@dataclass(frozen=True, slots=True, kw_only=True)
class Groth16Points:
    """A, B and C of Groth16, each an array of length 1: all of a proof without committed groups."""

    a: G1Array
    b: G2Array
    c: G1Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof(Groth16Points):
    """The points of one proof, each an array of length 1.

    own  : D', the commitment to all linked groups in the basis of the key
    link : pi; both are infinity for a circuit without linked groups
    d_a  : infinity for a circuit without advice
    """

    own: G1Array
    link: G1Array
    d_a: G1Array

    def encode(self) -> bytes:
        """224 bytes."""
        committed = encode_committed(own=self.own, link=self.link, d_a=self.d_a)
        return encode_g1(self.a) + encode_g2(self.b) + encode_g1(self.c) + committed

    @classmethod
    def decode(cls, raw: bytes) -> Proof | Verdict:
        """Inverse of `encode`: canonical points on their curves, B of order r; or the fault."""
        if len(raw) != PROOF_BYTES:
            return Verdict.MALFORMED
        g1 = decode_g1(raw[_A] + raw[_C] + raw[FIXED_BYTES:], 5, power=power_fp)
        if isinstance(g1, Refused):
            return FAULTS[g1.fault]
        b = decode_g2(raw[_B], 1, backend=group, power=power_fp)
        if isinstance(b, Refused):
            return FAULTS[b.fault]
        a, c, own, link, d_a = (g1[i : i + 1] for i in range(5))
        return cls(a=a, b=b, c=c, own=own, link=link, d_a=d_a)


def encode_committed(*, own: G1Array, link: G1Array, d_a: G1Array) -> bytes:
    """What of a proof is fixed before its challenges: D', pi and D_A."""
    return encode_g1(G1Array.concat([own, link, d_a]))


FAULTS = {
    DecodeFault.WRONG_LENGTH: Verdict.MALFORMED,
    DecodeFault.NON_CANONICAL: Verdict.MALFORMED,
    DecodeFault.NOT_ON_CURVE: Verdict.NOT_ON_CURVE,
    DecodeFault.WRONG_SUBGROUP: Verdict.WRONG_SUBGROUP,
}
"""What points that cannot be decoded make of a proof."""


_PROOF = Bytes(PROOF_BYTES)


class AnyStatement(Protocol):
    """What every statement has, whatever it says of its commitments."""

    @property
    def verifying_key_digest(self) -> bytes: ...

    @property
    def commitments(self) -> tuple[bytes, ...]: ...

    def encode(self) -> bytes: ...


S = TypeVar("S", bound=AnyStatement, covariant=True)


class AnyEnvelope(Protocol[S]):
    """A statement of some kind and its proof."""

    @property
    def statement(self) -> S: ...

    @property
    def proof(self) -> bytes: ...

    @property
    def committed(self) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope(Record):
    """A statement and the bytes of its proof. The points are checked by `Proof.decode`."""

    HEADER: ClassVar[bytes] = header(b"zkpotprf", 3)
    MAX_BYTES: ClassVar[int] = MAX_ENVELOPE_BYTES
    statement: Statement
    proof: Annotated[bytes, _PROOF, BARE]

    @property
    def committed(self) -> bytes:
        """What of the proof is fixed before its challenges."""
        return self.proof[FIXED_BYTES:]
