"""Keeps a few processes of this program running on one machine, for `zkpot up`.

A child that ends is started again after a pause that doubles with every early end. A child that
refuses its own settings (exit code 2) would do so for ever: then everything stops. Children are
told to stop with SIGTERM, and killed only when they outlast the grace they were given; on Linux the
kernel stops them too when the supervisor itself is killed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import BinaryIO

USAGE = 2
FIRST_PAUSE_S = 0.5
LAST_PAUSE_S = 30.0
STEADY_S = 60.0
"""A child that ran this long starts again at once."""
_POLL_S = 0.1
_PR_SET_PDEATHSIG = 1

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A process to keep: its name in reports, its arguments, and how long it may take to stop.

    niceness : how far it gives way to the others when the processors are busy
    log      : a file that takes what it prints; default: it prints where the supervisor does
    """

    name: str
    argv: Sequence[str]
    grace_s: float = 20.0
    niceness: int = 0
    log: Path | None = None


@dataclass(slots=True)
class _Child:
    command: Command
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_after: float = 0.0
    pause_s: float = field(default=FIRST_PAUSE_S)


class Supervisor:
    """Runs commands until `stop` is set."""

    def __init__(
        self,
        commands: Sequence[Command],
        *,
        report: Report,
        mend: Callable[[], None] = lambda: None,
    ) -> None:
        """mend : called again and again, for what else is to be kept up"""
        self._children = [_Child(command) for command in commands]
        self._report, self._mend = report, mend

    def run(self, stop: Event) -> bool:
        """Returns when `stop` is set, or False when a child refuses its settings."""
        try:
            while not stop.is_set():
                self._mend()
                for child in self._children:
                    if not self._tend(child):
                        return False
                stop.wait(_POLL_S)
            return True
        finally:
            self._stop_all()

    def _tend(self, child: _Child) -> bool:
        """Starts a child that should run and does not; False when it must not be started again."""
        now = time.monotonic()
        if child.process is None:
            if now >= child.start_after:
                self._start(child, now)
            return True
        code = child.process.poll()
        if code is None:
            return True
        child.process = None
        if code == USAGE:
            self._report(f"{child.command.name} refused its settings; its reason is above")
            return False
        if now - child.started_at >= STEADY_S:
            child.pause_s = FIRST_PAUSE_S
        self._start_later(child, now, f"ended with code {code}")
        return True

    def _start(self, child: _Child, now: float) -> None:
        def prepare() -> None:
            if sys.platform == "linux":
                die_with_parent()
            os.nice(child.command.niceness)

        child.started_at = now
        try:
            with self._open_log(child.command) as log:
                child.process = subprocess.Popen(
                    list(child.command.argv),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    preexec_fn=prepare,
                )
        except (OSError, subprocess.SubprocessError) as error:
            self._start_later(child, now, f"could not be started ({error})")

    def _start_later(self, child: _Child, now: float, why: str) -> None:
        child.start_after = now + child.pause_s
        self._report(f"{child.command.name} {why}; starts again in {child.pause_s:g} s")
        child.pause_s = min(LAST_PAUSE_S, 2 * child.pause_s)

    def _open_log(self, command: Command) -> AbstractContextManager[BinaryIO | int | None]:
        """Without room for a log a process runs without one."""
        if command.log is None:
            return nullcontext(None)
        try:
            return command.log.open("ab")
        except OSError as error:
            self._report(f"{command.name} runs without its log: {error}")
            return nullcontext(subprocess.DEVNULL)

    def _stop_all(self) -> None:
        """All are told first, then each is waited for: they end side by side."""
        running = [(c.command, c.process) for c in self._children if c.process is not None]
        told_at = time.monotonic()
        for _, process in running:
            process.terminate()
        for command, process in running:
            try:
                process.wait(max(0.0, told_at + command.grace_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._report(f"{command.name} did not stop within {command.grace_s:g} s: killed")
                process.kill()
                process.wait()


def die_with_parent() -> None:
    """For `preexec_fn`: the kernel sends SIGTERM to this process when its parent dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def stop_on_signals(stop: Event) -> None:
    """SIGTERM and SIGINT set the event."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
