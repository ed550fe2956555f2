"""What a node sends to whoever asks: bounded, since anyone can ask and a question costs nothing."""

from __future__ import annotations

from collections.abc import Iterator

from consensus.content.interface import Blobs
from consensus.disk.ledger import Ledger
from consensus.wire.gossip_messages import PART_BYTES, BlobPart, BlobRequest, HeldState
from consensus.wire.messages import BlockRequest, FinalBlock

PAUSE_S = 1.0
STATE_PAUSE_S = 10.0
"""Between two answers with a state, whoever asks."""
BLOCKS_PER_REQUEST = 64
MAX_ANSWERED = 256
"""Final blocks that a node sends within PAUSE_S, whoever asks for them."""
MAX_PARTS = 32
"""Parts of blobs, likewise: 8 MiB."""


class Answers:
    """The answers of one node. store : what it keeps for the chain, and shows to everyone"""

    def __init__(self, ledger: Ledger, store: Blobs, validator: int | None) -> None:
        self._ledger, self._store, self._validator = ledger, store, validator
        self._sent: dict[int, float] = {}
        self._parts: dict[tuple[bytes, int], float] = {}
        self._state_sent_at = float("-inf")

    def list_finals(self, request: BlockRequest, now: float) -> Iterator[FinalBlock | HeldState]:
        """Final blocks from a height on: each not again within a moment, nor too many in it.

        Of what is let go, the newest snapshot: the block after it, then the state.
        """
        if request.height < self._ledger.first:
            yield from self._list_snapshot(now)
            return
        recent = self._sent = {h: t for h, t in self._sent.items() if now - t < PAUSE_S}
        for final in self._ledger.list_finals(request.height, BLOCKS_PER_REQUEST):
            if final.block.height not in recent and len(recent) < MAX_ANSWERED:
                recent[final.block.height] = now
                yield final

    def find_part(self, request: BlobRequest, now: float) -> BlobPart | None:
        """A part of a blob that this validator is asked for and has, to be signed; likewise rare.

        Whoever asks checks the digest of the whole, so the part is read alone.
        """
        if request.validator != self._validator:
            return None
        recent = self._parts = {p: t for p, t in self._parts.items() if now - t < PAUSE_S}
        place = (request.digest, request.part)
        if place in recent or len(recent) >= MAX_PARTS:
            return None
        found = self._store.read_part(request.digest, request.part * PART_BYTES, PART_BYTES)
        if found is None:
            return None
        size, data = found
        if len(data) != min(PART_BYTES, size - request.part * PART_BYTES):
            return None  # no such part, or the file is being replaced
        recent[place] = now
        return BlobPart(
            digest=request.digest,
            part=request.part,
            size=size,
            data=data,
            validator=request.validator,
        )

    def _list_snapshot(self, now: float) -> Iterator[FinalBlock | HeldState]:
        if now - self._state_sent_at < STATE_PAUSE_S:
            return
        self._state_sent_at = now
        snapshot = self._ledger.find_snapshot()
        if snapshot is not None:
            yield snapshot.final
            yield HeldState(state=snapshot.state.encode())
