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

from api.http.problems import ApiProblem

RETRY_S = 5


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


class Shares:
    """Parts of what there is of something, in all and per caller; taken from any thread."""

    def __init__(self, code: str, *, total: int, per_caller: int) -> None:
        """code : of the ApiProblem when there is no room"""
        self._code, self._total, self._per_caller = code, total, per_caller
        self._held: dict[str, int] = {}
        self._lock = Lock()

    @contextmanager
    def hold(self, caller: str, n: int = 1) -> Iterator[None]:
        """n parts for as long as this lasts; ApiProblem when there is no room for them."""
        with self._lock:
            mine = self._held.get(caller, 0) + n
            if mine > self._per_caller or sum(self._held.values()) + n > self._total:
                raise ApiProblem(self._code, headers={"Retry-After": str(RETRY_S)})
            self._held[caller] = mine
        try:
            yield
        finally:
            with self._lock:
                self._held[caller] -= n
                if not self._held[caller]:
                    del self._held[caller]


class Places(Shares):
    """Places for what takes long, such as event streams and verifications.

    threads : one for each place, to wait in: those of other requests stay free
    """

    def __init__(self, code: str, *, total: int, per_caller: int) -> None:
        super().__init__(code, total=total, per_caller=per_caller)
        self.threads = CapacityLimiter(total)
