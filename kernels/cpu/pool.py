"""Threads of the CPU backend: kernels release the GIL, so plain threads serve.

Unlike numba's `prange` a pool may be called from several threads at once, its thread count is a
value, and its kernels compile as plain loops. Results never depend on which thread takes what.

To hand work to a thread costs some 20 us, one after the other: so callers say what an item costs,
work below a grain is never cut, and what is not cut stays in the caller. A pool of 64 threads is
then as quick with three points as one of a single thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from itertools import pairwise
from typing import TypeVarTuple

Job = TypeVarTuple("Job")
_POLL_S = 0.05  # how often progress is reported while workers run
GRAIN_NS = 100_000


class Pool:
    """n_threads workers; with one thread everything runs in the caller.

    grain_ns : work that is worth a thread of its own; tests take 1 to cut small inputs too
    """

    def __init__(self, n_threads: int, *, grain_ns: int = GRAIN_NS) -> None:
        if n_threads < 1:
            raise ValueError(f"a pool needs at least one thread, got {n_threads}")
        self.n_threads, self.grain_ns = n_threads, grain_ns
        self._executor = (
            ThreadPoolExecutor(n_threads, thread_name_prefix="zkpot-cpu") if n_threads > 1 else None
        )

    def count(self, n: int, cost_ns: int) -> int:
        """Parts that n items of a cost are worth cutting into: at least 1, at most n_threads."""
        return max(1, min(self.n_threads, n, n * cost_ns // self.grain_ns))

    def ranges(
        self, n: int, work: Callable[[int, int], None], *, cost_ns: int, multiple: int = 1
    ) -> None:
        """work(first, last) over parts of range(n) that begin at multiples of `multiple`."""
        if n == 0:
            return
        units = -(-n // multiple)
        parts = min(self.count(n, cost_ns), units)
        cuts = [min(n, units * p // parts * multiple) for p in range(parts)] + [n]
        self.each(list(pairwise(cuts)), work)

    def each(
        self, jobs: Sequence[tuple[*Job]], work: Callable[[*Job], None], *, cost_ns: int = GRAIN_NS
    ) -> None:
        """work(*job) for every job; jobs below the grain share a thread. Raises the first error."""
        together = max(1, -(-self.grain_ns // max(cost_ns, 1)))

        def run(first: int) -> None:
            for job in jobs[first : first + together]:
                work(*job)

        starts = range(0, len(jobs), together)
        if self._executor is None or len(starts) <= 1:
            for first in starts:
                run(first)
            return
        _finish([self._executor.submit(run, first) for first in starts])

    def workers(
        self,
        n_tasks: int,
        work: Callable[[], None],
        poll: Callable[[], None] | None = None,
        *,
        cost_ns: int = GRAIN_NS,
    ) -> None:
        """One call of `work` per thread that n_tasks are worth; `poll` is called meanwhile."""
        if n_tasks == 0:
            return
        n = self.count(n_tasks, cost_ns)
        if self._executor is None or n == 1:
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
