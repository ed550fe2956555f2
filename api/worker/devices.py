"""The devices of a worker: the one it was started for, and the one that takes over when it fails.

A device at fault shows itself in three ways: it cannot be loaded, it raises, or its proof does not
verify (`prove_job` never lets that one out). The work is then done again on the next device. A
device that failed MAX_FAULTS times is not tried again by this process. Only what another device
did counts: a wrong witness or commitment makes a proof that no device can verify. Nor does a task
count that is too large for a device's memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import TypeVar

from kernels.backend import Backend, get_backend
from kernels.errors import BackendUnavailable, DoesNotFit
from prover.errors import SelfCheckFailed

MAX_FAULTS = 3
FAULTS = (BackendUnavailable, RuntimeError, MemoryError, SelfCheckFailed)

T = TypeVar("T")


class Devices:
    """Devices in the order in which they are tried; for several threads."""

    def __init__(
        self,
        names: Sequence[str],
        *,
        on_fault: Callable[[str, Exception], None],
        load: Callable[[str], Backend] = get_backend,
    ) -> None:
        """on_fault : called with the device's name when another one takes over"""
        self._names = list(dict.fromkeys(names))
        self._on_fault, self._load_first = on_fault, load
        self._loading = Lock()
        self._faults = dict.fromkeys(self._names, 0)

    def _load(self, name: str) -> Backend:
        with self._loading:  # else two threads would have two of one device
            return self._load_first(name)

    @property
    def current(self) -> str:
        """The device that the next task is tried on first."""
        alive = [name for name in self._names if self._faults[name] < MAX_FAULTS]
        return alive[0] if alive else self._names[-1]

    def describe(self) -> str:
        """The current device in words, for people."""
        try:
            info = self._load(self.current).info()
        except BackendUnavailable:
            return "unavailable"
        unit = "thread" if info.n_threads == 1 else "threads"
        return f"{info.n_threads} {unit}, {info.lanes}"

    def explain(self) -> str | None:
        """Why the current device cannot be loaded, for the log: the text may name paths."""
        try:
            self._load(self.current)
        except BackendUnavailable as error:
            return str(error)
        return None

    def run(self, work: Callable[[Backend], T]) -> T:
        """The work on the first device that does it; the last one's errors are the caller's."""
        first, suspects = self._names.index(self.current), []
        for name in self._names[first:-1]:
            try:
                done = work(self._load(name))
                break
            except FAULTS as error:
                if not isinstance(error, DoesNotFit):
                    suspects.append(name)
                self._on_fault(name, error)
        else:
            done = work(self._load(self._names[-1]))
        with self._loading:
            for name in suspects:
                self._faults[name] += 1
        return done
