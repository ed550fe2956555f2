"""Following a chain over the streams, for whoever votes on nothing: clients and the service."""

from __future__ import annotations

import time
from collections.abc import Callable

from consensus.chain import ChainState
from consensus.follower import Follower
from consensus.genesis import Genesis
from consensus.messages import BlockRequest, FinalBlock, Transaction
from consensus.stream import FINAL, TRANSACTIONS, VOTES, Transport
from consensus.verifier import BlockVerifier

ASK_S = 0.5
"""How often it asks again for the blocks that it lacks."""


class Watch:
    """A light client that is fed by the streams; what 2f + 1 validators did not sign is dropped.

    transport : reads the stream `final`
    verifier  : when given, proofs and openings are checked too, and their blobs must be here
    """

    def __init__(
        self,
        genesis: Genesis,
        transport: Transport,
        *,
        verifier: BlockVerifier | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._follower = Follower(genesis, verifier)
        self._transport, self._clock = transport, clock
        self._asked_at = float("-inf")
        self.n_refused = 0

    @property
    def state(self) -> ChainState:
        """After the last final block that was shown."""
        return self._follower.state

    def poll(self, wait_ms: int) -> list[tuple[FinalBlock, ChainState]]:
        """Blocks that have become final, each with the state after it. Raises RedisError."""
        self._ask()
        found = []
        for incoming in self._transport.read(wait_ms):
            final = FinalBlock.decode(incoming.raw) if incoming.stream == FINAL else None
            if final is None or final.block.height <= self.state.height:
                continue
            if final.block.height > self.state.height + 1:
                self._transport.forget(incoming.raw)  # it is asked for again when its turn comes
            elif self._follower.take(final) is None:
                found.append((final, self.state))
            else:
                self.n_refused += 1
        return found

    def send(self, tx: Transaction) -> None:
        """To all validators. It may be lost: send it again until a final block holds it."""
        self._transport.send(TRANSACTIONS, tx.encode())

    def _ask(self) -> None:
        """For the next block, which may have been final for long."""
        now = self._clock()
        if now - self._asked_at < ASK_S:
            return
        self._asked_at = now
        self._transport.mind_rewrites()
        self._transport.send(VOTES, BlockRequest(height=self.state.height + 1).encode())
