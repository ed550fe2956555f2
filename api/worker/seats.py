"""Tasks that a worker has in hand at once: two at most, on one device.

    one    inputs │ device           │ verify, publish │ inputs │ waits │ device ...
    other         │ inputs │ waits   │ device          │ verify, publish │ ...

While one has the device, the other one's inputs are fetched and read, and what the device made
before is verified and published. A seat is what a task may take of the worker:

- The device is one task's at a time, in the order in which tasks were taken. So results depend on
  nothing of this.
- A task goes on beside another only where memory has room for both.
- A task that was taken before is worked alone: a worker may have died over it, and would take the
  other task's attempts with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition
from time import monotonic

ASK_S = 1.0
"""How often a task that waits asks whether it is still wanted."""
Check = Callable[[], None]
"""Raises when the task is to stop."""


@dataclass(slots=True, kw_only=True, eq=False)
class Seat:
    """The place of one task; for its thread alone.

    is_alone : whether it goes on beside no other
    check    : called while it waits, every ASK_S
    waited_s : for other tasks
    """

    seats: Seats
    is_alone: bool
    check: Check
    n_bytes: int | None = field(default=None, init=False)
    needs_device: bool = field(default=True, init=False)
    waited_s: float = field(default=0.0, init=False)

    def begin(self) -> None:
        """Returns when the task may begin. Raises what `check` raises."""
        self._await(lambda: not self.is_alone or self.seats.taken == [self])

    def claim(self, measure: Callable[[], int]) -> None:
        """Returns when memory has room beside the tasks that were taken before.

        measure : bytes that the task takes at most; not asked where there is one seat
        raises  : what `measure` and `check` raise
        """
        if self.seats.n == 1:
            return
        n_bytes = measure()
        self._await(lambda: self.seats.try_claim(self, n_bytes))

    @contextmanager
    def device(self) -> Iterator[None]:
        """The device is this task's meanwhile: once those taken before have had it, or end.

        Raises what `check` raises.
        """
        self.needs_device = True
        self._await(lambda: self.seats.try_enter(self))
        try:
            yield
        finally:
            self.seats.give_back(self)

    def leave(self) -> None:
        """The task has ended."""
        self.seats.remove(self)

    def _await(self, attempt: Callable[[], bool]) -> None:
        started = monotonic()
        while not self.seats.wait_for(attempt, ASK_S):
            self.check()
        self.waited_s += monotonic() - started


class Seats:
    """The seats of one worker.

    n            : 1 or 2
    memory_bytes : that all tasks together may take; None: as much as they do
    taken        : in the order of tasks
    """

    def __init__(self, n: int = 1, *, memory_bytes: int | None = None) -> None:
        self.n, self._memory_bytes = n, memory_bytes
        self.taken: list[Seat] = []
        self._holder: Seat | None = None
        self._changed = Condition()

    def take(self, check: Check, *, is_alone: bool = False) -> Seat:
        """A seat for a task that was just leased."""
        seat = Seat(seats=self, is_alone=is_alone, check=check)
        with self._changed:
            assert len(self.taken) < self.n, "a task is looked for only where a seat is free"
            self.taken.append(seat)
            self._changed.notify_all()
        return seat

    def wait_for_room(self, seconds: float) -> bool:
        """Whether a task may be looked for, now or within so many seconds: at once where none is
        in hand; else once the device is at work, so that idle workers have looked before.
        """
        return self.wait_for(self._has_room, seconds)

    def rest(self, seconds: float) -> None:
        """Returns when no task is in hand any more, or after so many seconds."""
        self.wait_for(lambda: not self.taken, seconds)

    def wait_for(self, attempt: Callable[[], bool], seconds: float) -> bool:
        """Whether `attempt`, which is tried again at every change, has succeeded by then."""
        with self._changed:
            return self._changed.wait_for(attempt, seconds)

    # -- attempts, with the lock held by `wait_for`

    def _has_room(self) -> bool:
        if not self.taken:
            return True
        is_alone = any(seat.is_alone for seat in self.taken)
        return len(self.taken) < self.n and not is_alone and self._holder is not None

    def try_claim(self, seat: Seat, n_bytes: int) -> bool:
        """Who was taken first has all that there is; who comes later, what is left."""
        before = [other.n_bytes for other in self.taken[: self.taken.index(seat)]]
        known = [n for n in before if n is not None]
        if len(known) < len(before):
            return False
        limit = self._memory_bytes
        if before and limit is not None and sum(known) + n_bytes > limit:
            return False
        seat.n_bytes = n_bytes
        self._changed.notify_all()
        return True

    def try_enter(self, seat: Seat) -> bool:
        """Whether the device is free, and nobody who was taken before needs it."""
        before = self.taken[: self.taken.index(seat)]
        if self._holder is not None or any(other.needs_device for other in before):
            return False
        self._holder = seat
        self._changed.notify_all()
        return True

    # -- endings

    def give_back(self, seat: Seat) -> None:
        """The device is free for the next."""
        with self._changed:
            self._holder, seat.needs_device = None, False
            self._changed.notify_all()

    def remove(self, seat: Seat) -> None:
        """A seat is free for the next."""
        with self._changed:
            self.taken.remove(seat)
            self._changed.notify_all()
