"""What a node sends to whoever asks: bounded, since anyone can ask and a question costs nothing."""

from __future__ import annotations

from collections.abc import Iterator

from consensus.ledger import Ledger
from consensus.messages import BlockRequest, FinalBlock

PAUSE_S = 1.0
BLOCKS_PER_REQUEST = 64
MAX_ANSWERED = 256
"""Final blocks that a node sends within PAUSE_S, whoever asks for them."""


class Answers:
    """Of one node."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._sent: dict[int, float] = {}

    def list_finals(self, request: BlockRequest, now: float) -> Iterator[FinalBlock]:
        """Final blocks from a height on: each not again within a moment, nor too many in it."""
        recent = self._sent = {h: t for h, t in self._sent.items() if now - t < PAUSE_S}
        for final in self._ledger.list_finals(request.height, BLOCKS_PER_REQUEST):
            if final.block.height not in recent and len(recent) < MAX_ANSWERED:
                recent[final.block.height] = now
                yield final
