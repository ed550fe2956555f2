"""Follows a chain for the API: reads final blocks from the streams, verifies, shows them.

A thread of its own. It asks for what it lacks and trusts nobody: a block enters with the signatures
of 2f + 1 validators of the genesis, or not at all.
"""

from __future__ import annotations

import time
from threading import Event, Thread
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from api.chain_history import ChainHistory
from consensus.follower import Follower
from consensus.genesis import Genesis
from consensus.messages import BlockRequest, FinalBlock
from consensus.stream import FINAL, VOTES, Transport

ASK_S = 2.0
_BLOCK_MS = 250
_PAUSE_S = 0.5


class ChainFollower:
    """Keeps a `ChainHistory` up to date until `close`."""

    def __init__(self, genesis: Genesis, redis: Redis, *, log: Any) -> None:
        self.history = ChainHistory(genesis)
        self._follower, self._log = Follower(genesis), log
        self._transport = Transport(redis, genesis.digest, (FINAL,))
        self._stop = Event()
        self._asked_at = float("-inf")
        self._thread = Thread(target=self._run, name="chain follower", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.turn()
            except RedisError as error:
                self._log.warning("streams unreachable", error=type(error).__name__)
                self._stop.wait(_PAUSE_S)

    def turn(self) -> None:
        """What has come, and now and then a request for what is missing. Raises RedisError."""
        for incoming in self._transport.read(_BLOCK_MS):
            self._take(incoming.raw)
        if time.monotonic() - self._asked_at >= ASK_S:
            self._asked_at = time.monotonic()
            self._transport.mind_rewrites()
            self._transport.send(VOTES, BlockRequest(height=self.history.height + 1).encode())

    def _take(self, raw: bytes) -> None:
        final = FinalBlock.decode(raw)
        if final is None or final.block.height <= self.history.height:
            return
        if final.block.height > self.history.height + 1:
            self._transport.forget(raw)  # it will be asked for when its turn comes
            return
        fault = self._follower.take(final)
        if fault is not None:
            self._log.warning("block refused", height=final.block.height, fault=fault)
            return
        self.history.append(final, self._follower.state)
