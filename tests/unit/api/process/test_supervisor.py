"""Children are started again, stopped together, and give up only on wrong settings."""

from __future__ import annotations

import sys
from pathlib import Path
from threading import Event

from api.process.supervisor import Command, Supervisor


class Watch:
    """Sets an event once a report contains a text; keeps all reports."""

    def __init__(self, text: str) -> None:
        self.text, self.seen, self.lines = text, Event(), list[str]()

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        if self.text in line:
            self.seen.set()


def python(name: str, code: str, *, grace_s: float = 10.0) -> Command:
    return Command(name=name, argv=[sys.executable, "-c", code], grace_s=grace_s)


def test_a_child_that_ends_is_started_again_after_longer_pauses() -> None:
    watch = Watch("in 1 s")
    child = python("short", "raise SystemExit(3)")
    assert Supervisor([child], report=watch).run(watch.seen)
    assert watch.lines == [
        "short ended with code 3; starts again in 0.5 s",
        "short ended with code 3; starts again in 1 s",
    ]


def test_wrong_settings_stop_everything() -> None:
    watch = Watch("refused")
    children = [
        python("wrong", "raise SystemExit(2)"),
        python("long", "import signal; signal.pause()"),
    ]
    assert not Supervisor(children, report=watch).run(Event())
    assert watch.lines == ["wrong refused its settings; its reason is above"]


def test_a_child_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    """It ignores SIGTERM from the moment it writes the file; a second child then ends the run."""
    ready = tmp_path / "ready"
    deaf = (
        "import pathlib, signal\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"pathlib.Path({str(ready)!r}).touch()\n"
        "while True: signal.pause()\n"
    )
    waiter = (
        "import pathlib, time\n"
        f"while not pathlib.Path({str(ready)!r}).exists(): time.sleep(0.01)\n"
        "raise SystemExit(2)\n"
    )
    watch = Watch("killed")
    children = [python("deaf", deaf, grace_s=0.2), python("waiter", waiter)]
    assert not Supervisor(children, report=watch).run(Event())
    assert "deaf did not stop within 0.2 s: killed" in watch.lines


def test_what_a_child_prints_goes_to_its_log(tmp_path: Path) -> None:
    """Of every start: a child that ends twice has said so twice."""
    log = tmp_path / "child.log"
    said = "import sys; print('out', flush=True); print('error', file=sys.stderr); sys.exit(3)"
    watch = Watch("in 1 s")
    child = Command(name="child", argv=[sys.executable, "-c", said], log=log)
    assert Supervisor([child], report=watch).run(watch.seen)
    assert log.read_text().split() == ["out", "error"] * 2
