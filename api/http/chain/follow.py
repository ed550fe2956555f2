"""Follows a chain for the API, in a thread of its own: `consensus.node.watch` verifies, this shows.

A block enters with the signatures of 2f + 1 validators of the genesis, or not at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event, Thread
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from api.http.chain.history import ChainHistory
from consensus.node.stream import FINAL, Transport
from consensus.node.watch import Watch
from consensus.wire.genesis import Genesis

_BLOCK_MS = 250
_PAUSE_S = 0.5


class ChainFollower:
    """Keeps a `ChainHistory` up to date until `close`."""

    def __init__(
        self,
        genesis: Genesis,
        redis: Redis,
        *,
        log: Any,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.history = ChainHistory(genesis)
        transport = Transport(redis, genesis.digest, (FINAL,))
        self._watch = Watch(genesis, transport, clock=clock)
        self._log = log
        self._stop = Event()
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
        """What has come, waiting a moment for it. Raises RedisError."""
        n_refused = self._watch.n_refused
        for final, state in self._watch.poll(_BLOCK_MS):
            if final.block.height != self.history.height + 1:
                self.history.restart(self._watch.start)
            self.history.append(final, state)
        if self._watch.n_refused > n_refused:
            self._log.warning("blocks refused", height=self.history.height + 1)
