"""Finality beyond the chain: a validator's share of a certificate, and the certificate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from consensus.wire.codec import BLANK, Height, Signature, Signed, ValidatorIndex
from prover.wire.kinds import Count, Digest, PointBytes
from prover.wire.records import Document, header


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalityShare(Signed):
    """A validator's BLS share over the finality message of a block that is final for it.

    Signed, so that nobody else can take its place; what is signed over is each receiver's own
    reckoning of that height (`consensus.finality.certificate`).
    """

    KIND: ClassVar[int] = 26
    MAX_BYTES: ClassVar[int] = 256
    height: Height
    validator: ValidatorIndex
    share: PointBytes
    signature: Signature = BLANK


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalityCertificate(Document):
    """What f + 1 validators say of a final block, and so at least one correct one.

    height      : of the block; what follows is of the state after it
    block_hash  : of the block
    ledger_root : of `consensus.finality.ledger`, with the sums of its leaves
    signature   : G1, compressed, over `consensus.finality.certificate.Statement.encode`
    """

    NAME: ClassVar[str] = "finality certificate"
    NEXT_STEP: ClassVar[str] = "a running node makes the next one by itself"
    HEADER: ClassVar[bytes] = header(b"zkpotfin", 1)
    MAX_BYTES: ClassVar[int] = 256
    height: Height
    learning_round: Count
    block_hash: Digest
    ledger_root: Digest
    total_weight: Count
    total_rewards: Count
    signature: PointBytes
