"""A proof as it travels: a versioned envelope with the statement and the points.

    "zkpotprf" | version, 2 bytes | length of the statement, 4 bytes | statement | proof

    proof = A 32 | B 64 | C 32 | for each linked group: D' 32, pi 32 | D_A 32

Points are compressed, numbers little-endian: 224 bytes with one linked group. The commitments that
the groups are linked to stand in the statement. Groth16 proofs can be re-randomized by anyone, so
equality of envelopes is equality of `statement`, never of proof bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Protocol, TypeVar

import numpy as np

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
from prover.wire.statement import MAX_LINKED, Statement
from prover.wire.verdict import Verdict

LEAST_PROOF_BYTES = 160
LINK_BYTES = 64
MAX_ENVELOPE_BYTES = 8192  # the longest statement and the rest, with room

_A, _B, _C = slice(0, 32), slice(32, 96), slice(96, 128)
FIXED_BYTES = 128  # of A, B and C; what follows is fixed before the challenges
ONE_LINK_BYTES = LEAST_PROOF_BYTES + LINK_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Groth16Points:
    """A, B and C of Groth16, each an array of length 1: all of a proof without committed groups."""

    a: G1Array
    b: G2Array
    c: G1Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof(Groth16Points):
    """The points of one proof: A, B, C and D_A arrays of length 1.

    own   : D' of each linked group, its commitment in the basis of the key
    links : pi of each linked group
    d_a   : infinity for a circuit without advice
    """

    own: G1Array
    links: G1Array
    d_a: G1Array

    def encode(self) -> bytes:
        """160 bytes, and 64 for each linked group."""
        committed = encode_committed(own=self.own, links=self.links, d_a=self.d_a)
        return encode_g1(self.a) + encode_g2(self.b) + encode_g1(self.c) + committed

    @classmethod
    def decode(cls, raw: bytes) -> Proof | Verdict:
        """Inverse of `encode`: canonical points on their curves, B of order r; or the fault."""
        n_linked, rest = divmod(len(raw) - LEAST_PROOF_BYTES, LINK_BYTES)
        if n_linked < 0 or rest:
            return Verdict.MALFORMED
        g1 = decode_g1(raw[_A] + raw[_C] + raw[FIXED_BYTES:], 3 + 2 * n_linked, power=power_fp)
        if isinstance(g1, Refused):
            return FAULTS[g1.fault]
        b = decode_g2(raw[_B], 1, backend=group, power=power_fp)
        if isinstance(b, Refused):
            return FAULTS[b.fault]
        own, links = g1[2:-1:2], g1[3:-1:2]
        return cls(a=g1[0:1], b=b, c=g1[1:2], own=own, links=links, d_a=g1[-1:])


def encode_committed(*, own: G1Array, links: G1Array, d_a: G1Array) -> bytes:
    """What of a proof is fixed before its challenges: D' and pi of each group, then D_A."""
    pairs = np.stack([own.data, links.data], axis=1).reshape(-1, G1Array.WORDS)
    return encode_g1(G1Array.concat([G1Array(pairs), d_a]))


FAULTS = {
    DecodeFault.WRONG_LENGTH: Verdict.MALFORMED,
    DecodeFault.NON_CANONICAL: Verdict.MALFORMED,
    DecodeFault.NOT_ON_CURVE: Verdict.NOT_ON_CURVE,
    DecodeFault.WRONG_SUBGROUP: Verdict.WRONG_SUBGROUP,
}
"""What points that cannot be decoded make of a proof."""


_PROOF = Bytes(LEAST_PROOF_BYTES, LEAST_PROOF_BYTES + MAX_LINKED * LINK_BYTES, step=32)


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

    HEADER: ClassVar[bytes] = header(b"zkpotprf", 2)
    MAX_BYTES: ClassVar[int] = MAX_ENVELOPE_BYTES
    statement: Statement
    proof: Annotated[bytes, _PROOF, BARE]

    @property
    def committed(self) -> bytes:
        """What of the proof is fixed before its challenges."""
        return self.proof[FIXED_BYTES:]
