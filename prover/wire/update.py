"""What a proof of bounds on an update is about, and how it travels: as `prover.wire.statement` and
`prover.wire.envelope` for accuracy.

    statement = field list: "update", protocol version, occasion, verifying key, origin, commitment
    envelope  = "zkpotupd" | version, 2 bytes | length of the statement, 4 bytes | statement | proof

The bounds stand in the card that the verifying key names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from prover.wire.envelope import FIXED_BYTES, PROOF_BYTES
from prover.wire.kinds import NUMBER_BYTES, Bytes, Digest, PointBytes
from prover.wire.records import BARE, Record, encode_fields, header
from prover.wire.statement import PROTOCOL_VERSION, Occasion

MAX_UPDATE_BYTES = 1024  # the longest statement and the rest, with room


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateStatement(Record):
    """The model behind D changed no more of the public model G than the key's bounds allow.

    verifying_key_digest : covers the circuit, its tables and limb widths; its card has the bounds
    origin_digest        : of G, by `prover.model.update.compute_origin_digest`
    commitment           : D, compressed: of the model itself, not of the update
    """

    HEADER: ClassVar[bytes] = encode_fields(
        [b"update", PROTOCOL_VERSION.to_bytes(NUMBER_BYTES, "little")]
    )
    occasion: Annotated[Occasion, BARE]
    verifying_key_digest: Digest
    origin_digest: Digest
    commitment: PointBytes

    @property
    def commitments(self) -> tuple[bytes, ...]:
        """Those of the linked groups, before the verifier subtracts what is public."""
        return (self.commitment,)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateEnvelope(Record):
    """A statement and the bytes of its proof. The points are checked by `Proof.decode`."""

    HEADER: ClassVar[bytes] = header(b"zkpotupd", 2)
    MAX_BYTES: ClassVar[int] = MAX_UPDATE_BYTES
    statement: UpdateStatement
    proof: Annotated[bytes, Bytes(PROOF_BYTES), BARE]

    @property
    def committed(self) -> bytes:
        """What of the proof is fixed before its challenges."""
        return self.proof[FIXED_BYTES:]
