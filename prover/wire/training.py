"""What proofs of training are about, and how they travel: as `prover.wire.update` for bounds.

    statement = field list: "step", protocol version, occasion, verifying key, t, n_real,
                D_M(t), D_M(t+1), D_X
    statement = field list: "export", protocol version, occasion, verifying key, D_M, D_W
    envelope  = "zkpotstp" or "zkpotexp" | version, 2 bytes | length of the statement, 4 bytes |
                statement | proof
    proofs    = "zkpottrp" | version, 2 bytes | field list: the list of a round's step envelopes,
                envelope of the export

The recipe stands in the card that the verifying key names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from prover.wire.envelope import FIXED_BYTES, PROOF_BYTES
from prover.wire.kinds import NUMBER_BYTES, Bytes, Count, Digest, Listed, PointBytes
from prover.wire.records import BARE, Record, encode_fields, header
from prover.wire.statement import PROTOCOL_VERSION, Occasion

MAX_TRAINING_BYTES = 2048  # the longest statement and the rest, with room
MAX_ROUND_STEPS = 1024  # that a round of a chain can ask for
MAX_PROOFS_BYTES = 1 << 20  # of so many steps, as they are
EnvelopeBytes = Annotated[bytes, Bytes(1, MAX_TRAINING_BYTES)]
_VERSION = PROTOCOL_VERSION.to_bytes(NUMBER_BYTES, "little")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStatement(Record):
    """The masters behind `after` are one step of SGD from those behind `before`, on `data`.

    verifying_key_digest : covers the circuit, its tables and limb widths; its card has the recipe
    step                 : t, which step of the round it is
    n_real               : samples of the batch that are no padding
    before, after, data  : D_M(t), D_M(t+1), D_X, compressed
    """

    HEADER: ClassVar[bytes] = encode_fields([b"step", _VERSION])
    occasion: Annotated[Occasion, BARE]
    verifying_key_digest: Digest
    step: Count
    n_real: Count
    before: PointBytes
    after: PointBytes
    data: PointBytes

    @property
    def commitments(self) -> tuple[bytes, ...]:
        """Those of the linked groups, in their order."""
        return (self.before, self.after, self.data)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportStatement(Record):
    """The model behind `model` is the int8 model of the masters behind `masters`.

    verifying_key_digest : covers the circuit; its card has the recipe
    masters, model       : D_M, D_W, compressed
    """

    HEADER: ClassVar[bytes] = encode_fields([b"export", _VERSION])
    occasion: Annotated[Occasion, BARE]
    verifying_key_digest: Digest
    masters: PointBytes
    model: PointBytes

    @property
    def commitments(self) -> tuple[bytes, ...]:
        """Those of the linked groups, in their order."""
        return (self.masters, self.model)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEnvelope(Record):
    """A statement and the bytes of its proof. The points are checked by `Proof.decode`."""

    HEADER: ClassVar[bytes] = header(b"zkpotstp", 2)
    MAX_BYTES: ClassVar[int] = MAX_TRAINING_BYTES
    statement: StepStatement
    proof: Annotated[bytes, Bytes(PROOF_BYTES), BARE]

    @property
    def committed(self) -> bytes:
        """What of the proof is fixed before its challenges."""
        return self.proof[FIXED_BYTES:]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportEnvelope(Record):
    """A statement and the bytes of its proof. The points are checked by `Proof.decode`."""

    HEADER: ClassVar[bytes] = header(b"zkpotexp", 2)
    MAX_BYTES: ClassVar[int] = MAX_TRAINING_BYTES
    statement: ExportStatement
    proof: Annotated[bytes, Bytes(PROOF_BYTES), BARE]

    @property
    def committed(self) -> bytes:
        """What of the proof is fixed before its challenges."""
        return self.proof[FIXED_BYTES:]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingProofs(Record):
    """What a client shows of its training in a round. Envelopes are not decoded here.

    steps  : a `StepEnvelope` for each step that is asked for, in their order
    export : the `ExportEnvelope` of the masters at the end
    """

    HEADER: ClassVar[bytes] = header(b"zkpottrp", 1)
    MAX_BYTES: ClassVar[int] = MAX_PROOFS_BYTES
    steps: Annotated[tuple[EnvelopeBytes, ...], Listed(1, MAX_ROUND_STEPS)]
    export: EnvelopeBytes
