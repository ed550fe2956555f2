"""Receipts: a proposer may not leave out a transaction that 2f + 1 validators had in time.

A validator that has a valid transaction of the phase signs a receipt. One that has held it and
2f + 1 receipts for it since before a round began refuses a new block of that round without a
transaction of that client, unless the block is full. At least f + 1 correct validators signed, so f
faulty ones can neither fake the duty nor hide it; and whoever leads, a client that sends early
enough for that is in before its phase is over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from consensus.wire.codec import MAX_TRANSACTIONS
from consensus.wire.messages import MAX_TRANSACTION_BYTES, ROOM_BYTES, Block, Receipt, count_bytes
from consensus.wire.transactions import Refusal

MAX_PHASES = 7
"""That take transactions in one learning round: the first one's, if it comes to a dispute."""
QUOTA = MAX_PHASES * MAX_TRANSACTIONS
"""Receipts of one validator in a learning round."""
_EMPTY: Mapping[Any, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptBook:
    """Transactions of the phase, and receipts of the learning round; bounded by clients and QUOTA.

    held     : by client, the digest of the first valid transaction of the phase that is here
    receipts : by digest of a transaction, then by validator
    n_signed : how many receipts of each validator are kept
    """

    learning_round: int
    held: Mapping[bytes, bytes] = field(default_factory=dict)
    receipts: Mapping[bytes, Mapping[int, Receipt]] = field(default_factory=dict)
    n_signed: Mapping[int, int] = field(default_factory=dict)

    def hold(self, client: bytes, digest: bytes) -> ReceiptBook:
        """The book with a valid transaction; unchanged when the client has one."""
        if client in self.held:
            return self
        return replace(self, held={**self.held, client: digest})

    def record(self, receipt: Receipt) -> ReceiptBook:
        """The book with a signed receipt; unchanged for another round, a repetition, or above the
        quota.
        """
        if receipt.learning_round != self.learning_round:
            return self
        digest, validator = receipt.transaction_digest, receipt.validator
        signers = self.receipts.get(digest, _EMPTY)
        n_signed = self.n_signed.get(validator, 0)
        if validator in signers or n_signed >= QUOTA:
            return self
        return replace(
            self,
            receipts={**self.receipts, digest: {**signers, validator: receipt}},
            n_signed={**self.n_signed, validator: n_signed + 1},
        )

    def enter_phase(self) -> ReceiptBook:
        """Nothing is held yet; receipts of who was there earlier stay."""
        return replace(self, held={})

    def list_due(self, quorum: int) -> tuple[bytes, ...]:
        """Clients whose transaction is here with a quorum of receipts."""
        return tuple(
            client
            for client, digest in self.held.items()
            if len(self.receipts.get(digest, _EMPTY)) >= quorum
        )

    def get_receipt(self, client: bytes, validator: int) -> Receipt | None:
        """This validator's receipt for the transaction that is here of a client."""
        return self.receipts.get(self.held.get(client, b""), _EMPTY).get(validator)


def list_heard(block: Block) -> set[bytes]:
    """Clients with a transaction of their own in the block."""
    return {tx.client_key for tx in block.transactions if not isinstance(tx, Refusal)}


def is_full(block: Block) -> bool:
    """Whether there may be no room for one more transaction."""
    if len(block.transactions) >= MAX_TRANSACTIONS:
        return True
    return count_bytes(block.transactions) > ROOM_BYTES - MAX_TRANSACTION_BYTES
