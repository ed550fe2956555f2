"""`Arenas`: those of one device, each as long as what its task is done for."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from threading import Lock, local
from weakref import WeakKeyDictionary

from kernels.cuda.launch.arena import Arena, Block, Pool
from kernels.cuda.launch.tape import Tape

MAX_KEPT = 2  # tasks with memory between two runs
SLAB_SHARE = 8  # a slab takes at most one in so many bytes of the device


class _Open(local):
    """The arena in which the thread works, and the tape that it records."""

    arena: Arena | None = None
    tape: Tape | None = None


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
            arena = self._of.pop(of, None) or Arena(self._pool, self.room)
            self._of[of] = arena
            if arena in self._busy:
                return None
            self._busy.add(arena)
            keeping = [a for a in self._of.values() if a not in self._busy and a.keeps_memory]
            for other in keeping[: max(len(keeping) + 1 - MAX_KEPT, 0)]:
                other.forget()
            return arena

    def room(self) -> int:
        """What one task may keep."""
        return min(self._memory_bytes // SLAB_SHARE, self._free())

    def take(self, n_bytes: int) -> Block | None:
        """Memory of the run that the thread is in, if it is in one. A tape keeps its own."""
        if self._open.tape is not None:
            self._open.tape.count(n_bytes)
            return None
        return None if self._open.arena is None else self._open.arena.take(n_bytes)

    @property
    def tapes(self) -> dict[Hashable, Tape | None] | None:
        """Of the task that the thread is in, by their phases; None outside, and inside a phase."""
        is_inside = self._open.arena is not None and self._open.tape is None
        return self._open.arena.tapes if is_inside and self._open.arena is not None else None

    @property
    def tape(self) -> Tape | None:
        """What the thread records."""
        return self._open.tape

    @contextmanager
    def recording(self, tape: Tape) -> Iterator[None]:
        """What the thread starts inside goes onto the tape."""
        self._open.tape = tape
        try:
            yield
        finally:
            self._open.tape = None

    @property
    def idle_bytes(self) -> int:
        """What `give_back` would."""
        with self._lock:
            return sum(arena.idle_bytes for arena in self._idle())

    def give_back(self) -> bool:
        """Whether memory that nobody uses went back to the pool."""
        with self._lock:
            found = [arena for arena in self._idle() if arena.keeps_memory]
            for arena in found:
                arena.forget()
            return bool(found)

    def _idle(self) -> list[Arena]:
        return [arena for arena in self._of.values() if arena not in self._busy]
