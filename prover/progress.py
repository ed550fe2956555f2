"""Progress of long calls, as an argument: the shells draw it, the core only reports."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

StageProgress = Callable[[str, int, int], None]
"""Called as progress(stage, done, total), within one stage never decreasing; no secrets in it."""

Clock = Callable[[], float]
"""Seconds since any fixed moment, never decreasing."""


def silent(stage: str, done: int, total: int) -> None:
    """Progress for callers that draw nothing."""


@dataclass(slots=True, kw_only=True)
class Stages:
    """Names the stage under way to the caller, and keeps the time."""

    clock: Clock
    report: StageProgress
    timings_s: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = self.clock()
        self.report(name, 0, 1)
        yield
        self.report(name, 1, 1)
        self.timings_s[name] = self.clock() - started
