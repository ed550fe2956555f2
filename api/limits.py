"""How much one caller may ask of the HTTP service."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from anyio import CapacityLimiter
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from api.problems import ApiProblem


class RateLimits:
    """Requests per caller in a sliding window, in the memory of this process.

    A service of n processes admits up to n times the rate; the queue's own limit is shared by all.
    """

    def __init__(self, **rates: str) -> None:
        """rates : e.g. read="200/second" """
        self._items: dict[str, RateLimitItem] = {name: parse(rate) for name, rate in rates.items()}
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def admit(self, kind: str, caller: str) -> None:
        """Counts one request of a kind; ApiProblem `rate_limited` when there were too many."""
        item = self._items[kind]
        if self._limiter.hit(item, kind, caller):
            return
        reset = self._limiter.get_window_stats(item, kind, caller).reset_time
        wait_s = max(1, math.ceil(reset - time.time()))
        raise ApiProblem(
            "rate_limited",
            f"limit of this caller for {kind}: {item}",
            headers={"Retry-After": str(wait_s)},
        )


class StreamLimits:
    """How many event streams are open, in all and per caller; places are taken from any thread.

    threads : one for each stream, to wait in: those of other requests stay free
    """

    def __init__(self, *, total: int, per_caller: int) -> None:
        self._total, self._per_caller = total, per_caller
        self._open: dict[str, int] = {}
        self._lock = Lock()
        self.threads = CapacityLimiter(total)

    @contextmanager
    def hold(self, caller: str) -> Iterator[None]:
        """One open stream; ApiProblem `too_many_streams` when there is no room."""
        with self._lock:
            mine = self._open.get(caller, 0)
            if mine >= self._per_caller or sum(self._open.values()) >= self._total:
                raise ApiProblem("too_many_streams", headers={"Retry-After": "5"})
            self._open[caller] = mine + 1
        try:
            yield
        finally:
            with self._lock:
                left = self._open[caller] - 1
                if left:
                    self._open[caller] = left
                else:
                    del self._open[caller]
