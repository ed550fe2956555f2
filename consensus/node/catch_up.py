"""How those go on who lack blocks that all others let go: with the state, and the block after it.

    a request for a block that is let go ──> FinalBlock, HeldState ──> a snapshot, checked

Anyone can send either. A final block counts with its certificate, and a state only when such a
block names its digest: so nothing that is kept meanwhile, or looked at, is an attacker's choice.
"""

from __future__ import annotations

import hashlib

from consensus.disk.snapshots import SPAN, Snapshot
from consensus.errors import SnapshotInvalid
from consensus.wire.genesis import Genesis
from consensus.wire.gossip_messages import HeldState
from consensus.wire.messages import FinalBlock

MAX_AWAITED = 8
"""Final blocks whose state may come; others become final meanwhile."""


class CatchUp:
    """How one node or light client catches up."""

    def __init__(self, genesis: Genesis) -> None:
        self._genesis = genesis
        self._awaited: dict[bytes, FinalBlock] = {}

    def expect(self, final: FinalBlock, height: int) -> None:
        """An authentic block far beyond this height: the state before it may come.

        Peers have all blocks of a span at least, so nearer ones are no reason to leave any out.
        """
        if final.block.height <= height + SPAN:
            return
        root = final.block.state_root
        self._awaited.pop(root, None)
        self._awaited[root] = final
        if len(self._awaited) > MAX_AWAITED:
            del self._awaited[next(iter(self._awaited))]

    def take(self, held: HeldState, height: int) -> Snapshot | None:
        """The state that a block names which was expected, with that block; else None."""
        final = self._awaited.get(hashlib.sha256(held.state).digest())
        if final is None or final.block.height <= height + SPAN:
            return None
        try:
            snapshot = Snapshot.check(held.state, final, self._genesis)
        except SnapshotInvalid:
            return None
        self._awaited.clear()
        return snapshot
