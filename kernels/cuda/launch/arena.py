"""`Arena`: the memory of a task that is done again and again, laid out once.

The first run takes every array from the pool and notes when it came and went. Then the arrays are
laid out in one slab, beside each other if they lived at the same time, and later runs find them at
the same addresses. An array is known by its rounded size and its turn among those of that size.
What a run has more than those before, or keeps for longer, comes from the pool: the record may be
wrong, and then costs no more than an allocation.

No run finds what another one left: a slab is cleared before each.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import Protocol

import numpy as np

from kernels.cuda.launch.tape import Tape

GRAIN = 512  # bytes: the alignment of everything
LG_STEPS = 3  # sizes between two powers of two: few, for sizes that depend on a run's values
MAX_MISSED = 4  # arrays of a run from the pool, before the next run is laid out anew
LIKE = 4  # runs are not alike if one in so many arrays is from the pool
MAX_LAYOUTS = 8  # of a task whose runs are never alike

Times = tuple[int, int]


class Memory(Protocol):
    """Some of a device's memory, which is given back with the last reference to it."""

    def clear(self, offset: int, n_bytes: int) -> None:
        """As if nothing had been there, in the order of the device's stream."""
        ...


class Pool(Protocol):
    """Where memory comes from."""

    def reserve(self, n_bytes: int) -> Memory:
        """Aligned to GRAIN, not cleared. Raises what its device does."""
        ...


class _Slab:
    """One piece of memory and the blocks that are in use: never two that overlap."""

    def __init__(self, memory: Memory, n_bytes: int) -> None:
        self.memory, self.n_bytes = memory, n_bytes
        self._starts, self._ends = list[int](), dict[int, int]()

    @property
    def is_idle(self) -> bool:
        return not self._starts

    def use(self, start: int, size: int) -> bool:
        """Whether nothing was there; now there is."""
        i = bisect_left(self._starts, start)
        if i < len(self._starts) and self._starts[i] < start + size:
            return False
        if i > 0 and self._ends[self._starts[i - 1]] > start:
            return False
        insort(self._starts, start)
        self._ends[start] = start + size
        return True

    def free(self, start: int) -> None:
        del self._starts[bisect_left(self._starts, start)]
        del self._ends[start]

    def clear(self) -> None:
        """All but what is in use."""
        for start, end in self._gaps():
            self.memory.clear(start, end - start)

    def _gaps(self) -> Iterator[tuple[int, int]]:
        at = 0
        for start in self._starts:
            if at < start:
                yield at, start
            at = self._ends[start]
        if at < self.n_bytes:
            yield at, self.n_bytes


@dataclass(slots=True, eq=False)
class _Slot:
    """The array of a size and a turn among those of this size.

    born, died : in this run, in arrays taken before; None if it was not
    times      : the same, first and last, of all runs that the slab is laid out for; or nothing
    offset     : in the slab; None if it has no place there
    """

    size: int
    born: int | None = None
    died: int | None = None
    times: list[Times] = field(default_factory=list)
    offset: int | None = None

    def learn(self) -> None:
        """Make this run one of those runs, unless the array outlived it."""
        if self.born is not None and self.died is not None:
            known = [*self.times, (self.born, self.died)]
            self.times = [(min(born for born, _ in known), max(died for _, died in known))]


class Block:
    """Memory of one array, until the last view of it is gone."""

    __slots__ = ("_dropped", "_run", "_slab", "_slot", "memory", "offset")

    def __init__(
        self,
        memory: Memory,
        offset: int,
        slab: _Slab | None,
        slot: _Slot,
        run: int,
        dropped: deque[_Dropped],
    ) -> None:
        self.memory, self.offset = memory, offset
        self._slab, self._slot, self._run, self._dropped = slab, slot, run, dropped

    def __del__(self) -> None:
        # From any thread, in the middle of anything.
        self._dropped.append((self._slab, self.offset, self._slot, self._run))


_Dropped = tuple[_Slab | None, int, _Slot, int]


class Arena:
    """The memory of one task, and the tapes of its phases; one run at a time, by one thread.

    room : bytes that a slab may have at most, now
    """

    def __init__(self, pool: Pool, room: Callable[[], int]) -> None:
        self._pool, self._room = pool, room
        self._slots = defaultdict[int, list[_Slot]](list)  # by size
        self._n_bytes = 0  # of the layout
        self._slab: _Slab | None = None
        self.tapes = dict[Hashable, Tape | None]()
        self._dropped = deque[_Dropped]()
        self._run = self._clock = self._n_missed = self._n_layouts = 0
        self._turns = defaultdict[int, int](int)

    @property
    def idle_bytes(self) -> int:
        """The slab's, if nothing is in it."""
        self._note_dropped()
        return self._slab.n_bytes if self._slab is not None and self._slab.is_idle else 0

    @property
    def keeps_memory(self) -> bool:
        """Between two runs."""
        return self._slab is not None or any(self.tapes.values())

    def forget(self) -> None:
        """Give its memory back, and that of tapes; the next run takes as much again."""
        self._note_dropped()
        self._slab = None
        self.tapes.clear()

    def begin(self) -> None:
        """Start a run."""
        self._note_dropped()
        if self._n_missed > MAX_MISSED and self._n_layouts < MAX_LAYOUTS:
            self._lay_out()
        if self._slab is None and 0 < self._n_bytes <= self._room():
            with suppress(MemoryError):  # of a pool in pieces: the run does without a slab
                self._slab = _Slab(self._pool.reserve(self._n_bytes), self._n_bytes)
        if self._slab is not None:
            self._slab.clear()
        self._run += 1
        self._clock = self._n_missed = 0
        self._turns.clear()
        for slot in chain.from_iterable(self._slots.values()):
            slot.born = slot.died = None

    def take(self, n_bytes: int) -> Block:
        """Memory for the run's next array, not cleared."""
        if self._dropped:
            self._note_dropped()
        size = round_size(n_bytes)
        slots, turn = self._slots[size], self._turns[size]
        if turn == len(slots):
            slots.append(_Slot(size))
        slot, slab = slots[turn], self._slab
        self._turns[size] = turn + 1
        slot.born = self._clock
        self._clock += 1
        if slab is not None and slot.offset is not None and slab.use(slot.offset, size):
            return Block(slab.memory, slot.offset, slab, slot, self._run, self._dropped)
        self._n_missed += slab is not None or slot.offset is None
        return Block(self._pool.reserve(size), 0, None, slot, self._run, self._dropped)

    def _note_dropped(self) -> None:
        while self._dropped:
            slab, offset, slot, run = self._dropped.popleft()
            if run == self._run:
                slot.died = self._clock
            if slab is not None:
                slab.free(offset)

    def _lay_out(self) -> None:
        """For this run, and those before it if they were alike."""
        found = list(chain.from_iterable(self._slots.values()))
        for slot in found:
            if self._n_missed * LIKE > self._clock:
                slot.times.clear()
            slot.learn()
            slot.offset = None
        laid = [slot for slot in found if slot.times]
        times = [slot.times[0] for slot in laid]
        offsets, self._n_bytes = lay_out([slot.size for slot in laid], times)
        for slot, offset in zip(laid, offsets, strict=True):
            slot.offset = offset
        self._slab = None
        self._n_layouts += 1


@lru_cache(maxsize=1 << 12)
def round_size(n_bytes: int) -> int:
    """The next of the sizes that are told apart: an eighth more at most, or a GRAIN."""
    step = max(GRAIN, 1 << n_bytes.bit_length() - 1 >> LG_STEPS if n_bytes else 0)
    return max(-(-n_bytes // step), 1) * step


def lay_out(sizes: Sequence[int], times: Sequence[Times]) -> tuple[list[int], int]:
    """Offsets of blocks, and the bytes of all: any two that live at the same time, born <= t <
    died, lie apart.

    cost : n steps of n numbers each; larger blocks first, each as low as it fits
    """
    size, (born, died) = np.asarray(sizes, np.int64), np.array(times, np.int64).reshape(-1, 2).T
    offsets, placed = np.zeros(len(size), np.int64), np.zeros(len(size), np.bool_)
    for k in np.argsort(-size, kind="stable"):
        beside = np.flatnonzero(placed & (born < died[k]) & (born[k] < died))
        beside = beside[np.argsort(offsets[beside], kind="stable")]
        ends = np.maximum.accumulate(np.append(0, (offsets + size)[beside]))
        gaps = np.append(offsets[beside], np.iinfo(np.int64).max) - ends
        offsets[k], placed[k] = ends[np.argmax(gaps >= size[k])], True
    return offsets.tolist(), int((offsets + size).max(initial=0))
