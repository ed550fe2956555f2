"""What nodes tell each other of what they hold and lack. Nothing of it enters a block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from consensus.wire.codec import (
    BLANK,
    MAX_TRANSACTIONS,
    MAX_VALIDATORS,
    Message,
    Signature,
    Signed,
    ValidatorIndex,
)
from prover.wire.kinds import Bytes, Count, Digest, Number

SHORT_BYTES = 8
"""Of a digest: who makes two of one's own transactions collide has harmed oneself."""
MASK_BYTES = MAX_VALIDATORS // 8
_MASKED_BYTES = SHORT_BYTES + MASK_BYTES
MAX_BLOB_BYTES = 1 << 28
PART_BYTES = 1 << 18
"""Of a blob, in one message."""
MAX_PARTS = MAX_BLOB_BYTES // PART_BYTES
MAX_HELD = 8 * MAX_TRANSACTIONS  # all that can wait, see `consensus.node.pool`
MAX_STATE_BYTES = 1 << 21
"""More than a state of 1,024 clients takes, by far; and no more than a final block."""

Part = Annotated[int, Number(0, MAX_PARTS - 1)]
"""A part of a blob by its number, from 0; each is of PART_BYTES but the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings(Signed):
    """What a validator has of what is in no block yet; one peer answers with what it lacks.

    number       : counts its announcements; another peer answers each
    transactions : the first SHORT_BYTES of each waiting transaction's digest, ascending
    receipts     : per transaction with receipts that digest's first SHORT_BYTES, and a mask of
                   MASK_BYTES: bit v for validator v's; ascending
    """

    KIND: ClassVar[int] = 21
    MAX_BYTES: ClassVar[int] = MAX_HELD * (2 * SHORT_BYTES + MASK_BYTES) + 1024
    number: Count
    transactions: Annotated[bytes, Bytes(0, MAX_HELD * SHORT_BYTES, step=SHORT_BYTES)]
    receipts: Annotated[bytes, Bytes(0, MAX_HELD * _MASKED_BYTES, step=_MASKED_BYTES)]
    validator: ValidatorIndex
    signature: Signature = BLANK


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobRequest(Message):
    """Whoever lacks a blob asks one validator for a part of it. Unsigned, as everyone may ask."""

    KIND: ClassVar[int] = 25
    digest: Digest
    part: Part
    validator: ValidatorIndex


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobPart(Signed):
    """A validator's answer: signed, so that nobody else can spoil what is put together of it.

    size : of the whole blob, bytes
    """

    KIND: ClassVar[int] = 23
    MAX_BYTES: ClassVar[int] = PART_BYTES + 256
    digest: Digest
    part: Part
    size: Annotated[int, Number(0, MAX_BLOB_BYTES)]
    data: Annotated[bytes, Bytes(0, PART_BYTES)]
    validator: ValidatorIndex
    signature: Signature = BLANK

    def check_whole(self) -> None:
        start = self.part * PART_BYTES
        self.require(start < self.size or self.part == 0, "the part is beyond the blob")
        self.require(
            len(self.data) == min(PART_BYTES, self.size - start), "the part has a wrong length"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldState(Message):
    """The state between two blocks, for whoever asks for blocks that are let go. Unsigned.

    state : canonical bytes of `ChainState`; the block after it, which is sent before, names them
    """

    KIND: ClassVar[int] = 24
    MAX_BYTES: ClassVar[int] = MAX_STATE_BYTES + 64
    state: Annotated[bytes, Bytes(1, MAX_STATE_BYTES)]
