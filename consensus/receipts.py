"""Receipts: a proposer may not leave out a proof that 2f + 1 validators had in time.

A validator that has a valid proof signs a receipt. One that has held the proof and 2f + 1 receipts
for it since before a round began refuses a new block of that round without a proof of that client.
At least f + 1 correct validators signed, so f faulty ones can neither fake the duty nor hide it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from consensus.messages import MAX_TRANSACTIONS, Block, Proof, Receipt

_EMPTY: Mapping[Any, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptBook:
    """Proofs and receipts of one learning round; bounded by clients and a quota per validator.

    held     : by client, the digest of the first valid proof that is here
    receipts : by digest of a proof, then by validator
    n_signed : how many receipts of each validator are kept
    """

    learning_round: int
    held: Mapping[bytes, bytes] = field(default_factory=dict)
    receipts: Mapping[bytes, Mapping[int, Receipt]] = field(default_factory=dict)
    n_signed: Mapping[int, int] = field(default_factory=dict)

    def hold(self, proof: Proof) -> ReceiptBook:
        """With a valid proof; unchanged when the client has one."""
        if proof.client_key in self.held:
            return self
        return replace(self, held={**self.held, proof.client_key: proof.digest})

    def record(self, receipt: Receipt) -> ReceiptBook:
        """With a signed receipt; unchanged for another round, a repetition, or above the quota."""
        if receipt.learning_round != self.learning_round:
            return self
        digest, validator = receipt.transaction_digest, receipt.validator
        signers = self.receipts.get(digest, _EMPTY)
        n_signed = self.n_signed.get(validator, 0)
        if validator in signers or n_signed >= MAX_TRANSACTIONS:
            return self
        return replace(
            self,
            receipts={**self.receipts, digest: {**signers, validator: receipt}},
            n_signed={**self.n_signed, validator: n_signed + 1},
        )

    def list_due(self, quorum: int) -> tuple[bytes, ...]:
        """Clients whose proof is here with a quorum of receipts."""
        return tuple(
            client
            for client, digest in self.held.items()
            if len(self.receipts.get(digest, _EMPTY)) >= quorum
        )

    def get_receipt(self, client: bytes, validator: int) -> Receipt | None:
        """This validator's receipt for the proof that is here of a client."""
        return self.receipts.get(self.held.get(client, b""), _EMPTY).get(validator)


def list_provers(block: Block) -> set[bytes]:
    """Clients with a proof in the block."""
    return {tx.client_key for tx in block.transactions if isinstance(tx, Proof)}
