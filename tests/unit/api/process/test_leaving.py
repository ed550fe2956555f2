"""Processes that end at once: with their code, their output and what they owe, and no more."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

import pytest


def run(body: str) -> subprocess.CompletedProcess[str]:
    """A process that does this inside, and then says what is still taken apart."""
    program = dedent(
        """
        import atexit, sys, threading
        from api.process.leaving import leaving_at_once

        class Large:
            def __del__(self):
                print("taken apart", flush=True)

        large = Large()

        def finish():
            begun.wait()
            print("thread ended")

        begun = threading.Event()
        with leaving_at_once():
            threading.Thread(target=finish).start()
            begun.set()
            atexit.register(print, "what was registered")
        """
    )
    words = [sys.executable, "-c", program + "    " + body]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("body", "code"),
    [("sys.exit()", 0), ("sys.exit(0)", 0), ("sys.exit(3)", 3), ("sys.exit(2)", 2)],
)
def test_a_process_that_exits_is_not_taken_apart(body: str, code: int) -> None:
    done = run(body)
    assert done.returncode == code
    assert sorted(done.stdout.splitlines()) == ["thread ended", "what was registered"]
    assert done.stderr == ""


def test_other_ends_are_as_ever() -> None:
    said = run("sys.exit('refused')")
    assert (said.returncode, said.stderr) == (1, "refused\n")
    failed = run("raise KeyError('x')")
    assert failed.returncode == 1
    assert failed.stderr.endswith("KeyError: 'x'\n")
    for done in (said, failed, run("pass")):
        assert "taken apart" in done.stdout
    assert run("pass").returncode == 0
