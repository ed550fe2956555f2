"""Timers of a node: what `Schedule` asked for, by the time at which it is due."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from consensus.agreement.events import TimeoutFired


class Timers:
    """Those of one height. clock : seconds, monotonic"""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._waiting: list[tuple[float, int, TimeoutFired]] = []
        self._n_added = 0

    @property
    def next_at(self) -> float:
        """When the next one is due; never, when there is none."""
        return self._waiting[0][0] if self._waiting else float("inf")

    def add(self, in_ms: int, fired: TimeoutFired) -> None:
        """Adds a timer for so many milliseconds from now."""
        self._n_added += 1
        heapq.heappush(self._waiting, (self._clock() + in_ms / 1000, self._n_added, fired))

    def pop_due(self) -> TimeoutFired | None:
        """The first whose time is over; None when there is none."""
        return heapq.heappop(self._waiting)[2] if self.next_at <= self._clock() else None

    def clear(self) -> None:
        """A height is over."""
        self._waiting.clear()
