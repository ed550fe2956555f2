"""What nodes tell each other of what they hold and lack. Nothing of it enters a block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from consensus.wire.codec import (
    SIGNATURE_BYTES,
    Message,
    Signed,
    require,
    require_lengths,
    require_numbers,
)
from consensus.wire.messages import MAX_TRANSACTIONS, MAX_VALIDATORS
from consensus.wire.transactions import DIGEST_BYTES

SHORT_BYTES = 8
"""Of a digest: who makes two of one's own transactions collide has harmed oneself."""
MASK_BYTES = MAX_VALIDATORS // 8
PART_BYTES = 1 << 18
"""Of a blob, in one message."""
MAX_PARTS = 1 << 8
MAX_HELD = 8 * MAX_TRANSACTIONS  # all that can wait, see `consensus.node.pool`
MAX_STATE_BYTES = 1 << 21
"""More than a state of 1,024 clients takes, by far; and no more than a final block."""
_BLANK = bytes(SIGNATURE_BYTES)


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
    number: int
    transactions: bytes
    receipts: bytes
    validator: int
    signature: bytes = _BLANK

    def __post_init__(self) -> None:
        require_numbers(self)
        require(self.validator < MAX_VALIDATORS, "validator is out of range")
        for name, size in (("transactions", SHORT_BYTES), ("receipts", SHORT_BYTES + MASK_BYTES)):
            raw = getattr(self, name)
            require(len(raw) % size == 0, f"{name} is no whole number of entries")
            require(len(raw) <= MAX_HELD * size, f"{name} is too long")
        require_lengths(self, signature=SIGNATURE_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobRequest(Message):
    """Whoever lacks a blob asks one validator for a part of it. Unsigned, as everyone may ask.

    part : counts from 0, each of PART_BYTES but the last
    """

    KIND: ClassVar[int] = 25
    digest: bytes
    part: int
    validator: int

    def __post_init__(self) -> None:
        require_numbers(self)
        require(self.part < MAX_PARTS, "part is out of range")
        require(self.validator < MAX_VALIDATORS, "validator is out of range")
        require_lengths(self, digest=DIGEST_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobPart(Signed):
    """A validator's answer: signed, so that nobody else can spoil what is put together of it.

    size : of the whole blob, bytes
    """

    KIND: ClassVar[int] = 23
    MAX_BYTES: ClassVar[int] = PART_BYTES + 256
    digest: bytes
    part: int
    size: int
    data: bytes
    validator: int
    signature: bytes = _BLANK

    def __post_init__(self) -> None:
        require_numbers(self)
        require(self.validator < MAX_VALIDATORS, "validator is out of range")
        require(self.size <= MAX_PARTS * PART_BYTES, "size is out of range")
        start = self.part * PART_BYTES
        require(start < self.size or self.part == 0, "the part is beyond the blob")
        require(len(self.data) == min(PART_BYTES, self.size - start), "the part has a wrong length")
        require_lengths(self, digest=DIGEST_BYTES, signature=SIGNATURE_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldState(Message):
    """The state between two blocks, for whoever asks for blocks that are let go. Unsigned.

    state : canonical bytes of `ChainState`; the block after it, which is sent before, names them
    """

    KIND: ClassVar[int] = 24
    MAX_BYTES: ClassVar[int] = MAX_STATE_BYTES + 64
    state: bytes

    def __post_init__(self) -> None:
        require_lengths(self, state=(1, MAX_STATE_BYTES))
