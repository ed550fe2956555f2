"""What nodes hold of what is in no block yet: each tells it in short, a peer sends what is lacking.

A transaction or a receipt is said once, by whoever makes it. It is said again only to a validator
that has shown to lack it, so the streams grow with what is new, not with how often it is looked at.
Of the peers one answers each announcement, in turn, so that a silent one delays and stops nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from consensus.agreement.memory import State
from consensus.node.repetition import FIRST_PAUSE_S, Repetition
from consensus.wire.gossip_messages import MASK_BYTES, SHORT_BYTES, Holdings
from consensus.wire.messages import Receipt
from consensus.wire.transactions import SentTransaction
from prover.wire.kinds import DIGEST_BYTES

Receipts = Mapping[int, Receipt]
_RECEIPTS = b"receipts"
_ENTRY_BYTES = SHORT_BYTES + MASK_BYTES


@dataclass(frozen=True, slots=True)
class Held:
    """What a node has: transactions that wait, and receipts by validator, each by digest."""

    transactions: Mapping[bytes, SentTransaction]
    receipts: Mapping[bytes, Receipts]


def list_held(waiting: Iterable[tuple[bytes, SentTransaction]], state: State) -> Held:
    """What waits at the desk, and receipts for those that a block may still hold."""
    book, rules = state.book, state.config.rules
    receipts = {
        digest: book.receipts.get(digest, {})
        for client, digest in book.held.items()
        if rules.awaits(state.chain, client)
    }
    return Held(dict(waiting), receipts)


class Gossip:
    """Announcements of one validator, and its answers to those of others."""

    def __init__(self, validator: int, n_validators: int) -> None:
        self._validator, self._n_validators = validator, n_validators
        self._number = 0
        self._again: dict[bytes, Repetition] = {}

    def note_transaction(self, digest: bytes, now: float) -> None:
        """One has come to wait here: who does not show it yet has most likely not read so far."""
        self._again.setdefault(digest, Repetition(now + FIRST_PAUSE_S))

    def note_receipt(self, receipt: Receipt, now: float) -> None:
        """Notes a receipt of a transaction that waits here; the first of its receipts counts."""
        digest = receipt.transaction_digest
        if digest in self._again:
            self._again.setdefault(digest + _RECEIPTS, Repetition(now + FIRST_PAUSE_S))

    def announce(self, held: Held) -> Holdings:
        """What this node has, to be signed."""
        self._number += 1
        receipts = sorted(
            digest[:SHORT_BYTES] + _make_mask(signers) for digest, signers in held.receipts.items()
        )
        return Holdings(
            number=self._number,
            transactions=b"".join(sorted(digest[:SHORT_BYTES] for digest in held.transactions)),
            receipts=b"".join(receipts),
            validator=self._validator,
        )

    def list_lacking(
        self, holdings: Holdings, held: Held, now: float
    ) -> tuple[list[SentTransaction], list[Receipt]]:
        """What to send to a validator that announced this; nothing if another peer answers.

        Each thing rarely, whoever asks for it: one validator must not make the others talk.
        """
        if not self._is_asked(holdings):
            return [], []
        keys = held.transactions.keys() | held.receipts.keys()
        self._again = {k: again for k, again in self._again.items() if k[:DIGEST_BYTES] in keys}
        theirs = _split(holdings.transactions, SHORT_BYTES)
        transactions = [
            tx
            for digest, tx in held.transactions.items()
            if digest[:SHORT_BYTES] not in theirs and self._may_say(digest, now)
        ]
        masks = {
            entry[:SHORT_BYTES]: entry[SHORT_BYTES:]
            for entry in _split(holdings.receipts, _ENTRY_BYTES)
        }
        receipts: list[Receipt] = []
        for digest, signers in held.receipts.items():
            mask = int.from_bytes(masks.get(digest[:SHORT_BYTES], b""), "little")
            lacking = [receipt for v, receipt in signers.items() if not mask >> v & 1]
            if lacking and self._may_say(digest + _RECEIPTS, now):
                receipts += lacking
        return transactions, receipts

    def _is_asked(self, holdings: Holdings) -> bool:
        n_peers = self._n_validators - 1
        if n_peers == 0 or holdings.validator == self._validator:
            return False
        asked = holdings.validator + 1 + holdings.number % n_peers
        return asked % self._n_validators == self._validator

    def _may_say(self, key: bytes, now: float) -> bool:
        return self._again.setdefault(key, Repetition(now)).take_turn(now)


def _make_mask(signers: Iterable[int]) -> bytes:
    return sum(1 << validator for validator in signers).to_bytes(MASK_BYTES, "little")


def _split(raw: bytes, size: int) -> set[bytes]:
    return {raw[i : i + size] for i in range(0, len(raw), size)}
