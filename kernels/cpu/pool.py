"""Threads of the CPU backend: kernels release the GIL, so plain threads serve.

Unlike numba's `prange` a pool may be called from several threads at once, its thread count is a
value, and its kernels compile as plain loops. Results never depend on which thread takes what.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from itertools import pairwise
from typing import Any

_POLL_S = 0.05  # how often progress is reported while workers run


class Pool:
    """n_threads workers; with one thread everything runs in the caller."""

    def __init__(self, n_threads: int) -> None:
        if n_threads < 1:
            raise ValueError(f"a pool needs at least one thread, got {n_threads}")
        self.n_threads = n_threads
        self._executor = (
            ThreadPoolExecutor(n_threads, thread_name_prefix="zkpot-cpu") if n_threads > 1 else None
        )

    def ranges(self, n: int, work: Callable[[int, int], None], *, multiple: int = 1) -> None:
        """work(first, last) over parts of range(n) that begin at multiples of `multiple`."""
        if n == 0:
            return
        units = -(-n // multiple)
        parts = min(self.n_threads, units)
        cuts = [min(n, units * p // parts * multiple) for p in range(parts)] + [n]
        self.each(pairwise(cuts), work)

    def each(self, jobs: Iterable[tuple[Any, ...]], work: Callable[..., None]) -> None:
        """work(*job) for every job; the first exception is raised."""
        if self._executor is None:
            for job in jobs:
                work(*job)
            return
        _finish([self._executor.submit(work, *job) for job in jobs])

    def workers(
        self, n_tasks: int, work: Callable[[], None], poll: Callable[[], None] | None = None
    ) -> None:
        """One call of `work` per thread (no more than tasks); `poll` is called meanwhile."""
        n = min(self.n_threads, n_tasks)
        if n == 0:
            return
        if self._executor is None:
            work()
            return
        futures = [self._executor.submit(work) for _ in range(n)]
        pending = set(futures)
        while pending:
            _, pending = wait(pending, timeout=_POLL_S if poll else None)
            if poll and pending:
                poll()
        _finish(futures)


def _finish(futures: list[Future[None]]) -> None:
    wait(futures, return_when=FIRST_EXCEPTION)
    for future in futures:
        future.result()
