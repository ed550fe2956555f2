"""Who uses memory of a device before it may: streams as vector clocks, while the emulator runs them
in the order of their launches.

A stream is ordered behind another one only by a mark of the other for which it waited, or by the
host, which waited for the other before it launched. Memory that one stream wrote, and that another
one reads or writes without such an order, is a race, whatever the results are; so is memory that is
written over what another stream may still read.

One order for the process, since an emulated array knows no device.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

FIRST, SECOND, COPIES = "first", "second", "copies"
Clock = dict[str, int]


class RaceError(AssertionError):
    """Two streams use the same memory, and nothing says who comes first."""


@dataclass(frozen=True, slots=True)
class Use:
    """One stream's use of addresses start ... stop - 1, at its time."""

    start: int
    stop: int
    stream: str
    time: int
    writes: bool
    what: str


@dataclass(slots=True)
class Order:
    """What is known to have ended, for the host and each stream: the time of every stream."""

    current: str = FIRST
    host: Clock = field(default_factory=dict)
    streams: dict[str, Clock] = field(default_factory=dict)
    uses: list[Use] = field(default_factory=list)

    @contextmanager
    def within(self, stream: str) -> Iterator[None]:
        """What happens inside is given to that stream."""
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    def note(self, what: str, *, reads: Any = (), writes: Any = ()) -> None:
        """The current stream is given work on arrays. Raises RaceError."""
        clock = self._clock()
        clock[self.current] = clock.get(self.current, 0) + 1
        for array in reads:
            self._use(array, what, writes=False)
        for array in writes:
            self._use(array, what, writes=True)

    def mark(self) -> Mapping[str, int]:
        """What has ended once the current stream has done what it has been given."""
        return dict(self._clock())

    def wait(self, mark: Mapping[str, int]) -> None:
        """The current stream goes on behind the mark."""
        _join(self._clock(), mark)

    def wait_on_host(self, *streams: str) -> None:
        """The host waits for the current stream, or for these."""
        for stream in streams or (self.current,):
            _join(self.host, self.streams.get(stream, {}))
        self.uses = [use for use in self.uses if self.host.get(use.stream, 0) < use.time]

    def _clock(self) -> Clock:
        clock = self.streams.setdefault(self.current, {})
        _join(clock, self.host)  # what is launched now is so behind all that the host waited for
        return clock

    def _use(self, array: Any, what: str, *, writes: bool) -> None:
        start, clock = array.ctypes.data, self.streams[self.current]
        new = Use(start, start + array.nbytes, self.current, clock[self.current], writes, what)
        kept = []
        for old in self.uses:
            meets = old.start < new.stop and new.start < old.stop
            is_behind = clock.get(old.stream, 0) >= old.time
            if meets and (old.writes or writes) and not is_behind:
                raise RaceError(
                    f"{what} in the {self.current} stream {'writes' if writes else 'reads'} what "
                    f"{old.what} {'writes' if old.writes else 'reads'} in the {old.stream} one"
                )
            covers = new.start <= old.start and old.stop <= new.stop
            is_repeated = old.stream == new.stream and not old.writes
            if not (covers and is_behind and (writes or is_repeated)):
                kept.append(old)
        self.uses = [*kept, new] if new.stop > new.start else kept


def _join(clock: Clock, other: Mapping[str, int]) -> None:
    for stream, time in other.items():
        clock[stream] = max(clock.get(stream, 0), time)


ORDER = Order()
