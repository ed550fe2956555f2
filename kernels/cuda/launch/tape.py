"""`Tape`: what a phase of a task started, to be started again without asking for it.

A phase is work between two points where the host must see something: a fixed sequence of launches
on arrays of fixed sizes. One run of it is recorded while it is done: each launch with its kernel,
grid, block and arguments, in memory of the tape's own. Later runs copy what they are given to where
that run had it, and start the launches again: as one CUDA graph where the device makes one, else
one after the other. Nothing of the phase's Python runs again.

A phase that waits for the device, or starts what is no launch of ours, spoils the tape: its result
is right, and its next run is done as if there were no tapes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from kernels.cuda.launch.runtime import Array

Launch = Callable[[], None]


class Player(Protocol):
    """What a device does for a tape."""

    def fill(self, target: Array, source: Array) -> None:
        """target = source, both whole arrays of the device, of one shape and type."""
        ...

    def capture(self, launches: Sequence[Launch]) -> Launch | None:
        """All of them as one, if the device can; nothing is started."""
        ...


class Tape:
    """The launches of one phase.

    room : bytes that the arrays of the phase may have together
    """

    def __init__(self, room: int) -> None:
        self._room, self._n_bytes = room, 0
        self._given: tuple[Array, ...] = ()
        self._launches: list[Launch] = []
        self._whole: Launch | None = None
        self._result: Any = None
        self.is_spoiled = False

    def add(self, launch: Launch) -> None:
        """One more launch, which was started."""
        if not self.is_spoiled:
            self._launches.append(launch)

    def count(self, n_bytes: int) -> None:
        """One more array of so many bytes."""
        self._n_bytes += n_bytes
        if self._n_bytes > self._room:
            self.spoil()

    def spoil(self) -> None:
        """What was recorded is not the whole phase, or too much to keep."""
        self.is_spoiled = True
        self._launches.clear()

    def close(self, given: Sequence[Array], result: Any) -> None:
        """All is recorded: where the values of a run go, and where its result will be."""
        if not self.is_spoiled:
            self._given, self._result = tuple(given), result

    def play(self, player: Player, given: Sequence[Array]) -> Any:
        """The phase for other values. Its result is good until the tape is played again."""
        for target, source in zip(self._given, given, strict=True):
            player.fill(target, source)
        if self._whole is None:
            self._whole = player.capture(self._launches) or self._play_each
        self._whole()
        return self._result

    def _play_each(self) -> None:
        for launch in self._launches:
            launch()
