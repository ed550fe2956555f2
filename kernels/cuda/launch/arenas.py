"""`Arenas`: those of one device, each as long as what its task is done for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, local
from weakref import WeakKeyDictionary

from kernels.cuda.launch.arena import Arena, Block, Pool

MAX_SLABS = 2
SLAB_SHARE = 8  # a slab takes at most one in so many bytes of the device


class _Open(local):
    """The arena in which the thread works."""

    arena: Arena | None = None


class Arenas:
    """Arenas by what their task is done for, weakly: with it goes its memory.

    free : bytes that the pool could give now
    """

    def __init__(self, pool: Pool, memory_bytes: int, free: Callable[[], int]) -> None:
        self._pool, self._memory_bytes, self._free = pool, memory_bytes, free
        self._of = WeakKeyDictionary[object, Arena]()  # the last one used is the last
        self._busy = set[Arena]()
        self._open, self._lock = _Open(), Lock()

    @contextmanager
    def open(self, of: object) -> Iterator[None]:
        """What the thread allocates inside is of one run of the task. Without an arena inside a
        task, and while another thread is in the same one."""
        arena = self._claim(of) if self._open.arena is None else None
        if arena is None:
            yield
            return
        try:
            arena.begin()
            self._open.arena = arena
            yield
        finally:
            self._open.arena = None
            with self._lock:
                self._busy.discard(arena)

    def _claim(self, of: object) -> Arena | None:
        with self._lock:
            arena = self._of.pop(of, None) or Arena(self._pool, self._room)
            self._of[of] = arena
            if arena in self._busy:
                return None
            self._busy.add(arena)
            holders = [a for a in self._of.values() if a.has_slab and a not in self._busy]
            for other in holders[: max(len(holders) + 1 - MAX_SLABS, 0)]:
                other.drop_slab()
            return arena

    def _room(self) -> int:
        return min(self._memory_bytes // SLAB_SHARE, self._free())

    def take(self, n_bytes: int) -> Block | None:
        """Memory of the run that the thread is in, if it is in one."""
        return None if self._open.arena is None else self._open.arena.take(n_bytes)

    @property
    def idle_bytes(self) -> int:
        """What `give_back` would."""
        with self._lock:
            return sum(arena.idle_bytes for arena in self._idle())

    def give_back(self) -> bool:
        """Whether memory that nobody uses went back to the pool."""
        with self._lock:
            found = [arena for arena in self._idle() if arena.idle_bytes]
            for arena in found:
                arena.drop_slab()
            return bool(found)

    def _idle(self) -> list[Arena]:
        return [arena for arena in self._of.values() if arena not in self._busy]
