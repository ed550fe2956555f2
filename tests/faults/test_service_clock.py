"""The server's clock leaps while workers prove: jobs end once all the same, and in time."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from api.queue.jobs import JobState
from prover.wire.verdict import Verdict
from tests.support.service_lab import Lab, await_line, go_on, open_lab

HOUR_S = 3600
Shift = Callable[[int], None]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("shifting a clock needs Linux and a C compiler")
    made = tmp_path_factory.mktemp("clock") / "shifted_clock.so"
    source = root / "tests/support/shifted_clock.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", made, source, "-ldl"], check=True)
    return made


@pytest.fixture
def lab(
    tmp_path: Path, keys: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Lab]:
    (tmp_path / "shift").write_text("0")
    with ExitStack() as stack:
        with monkeypatch.context() as only_server:
            only_server.setenv("LD_PRELOAD", str(library))
            only_server.setenv("CLOCK_SHIFT_FILE", str(tmp_path / "shift"))
            lab = stack.enter_context(open_lab(tmp_path / "lab", keys))
        yield lab


@pytest.fixture
def shift(tmp_path: Path, lab: Lab) -> Shift:
    """shift(seconds) moves the server's clock away from ours, and returns when it shows."""

    def move(seconds: int) -> None:
        scratch = tmp_path / "shift.new"
        scratch.write_text(str(seconds))
        scratch.replace(tmp_path / "shift")
        while abs(server_time(lab) - time.time() - seconds) > 1.5:
            pass  # the server reads its clock ten times a second

    return move


def server_time(lab: Lab) -> float:
    seconds, micros = lab.queue.redis.time()
    return float(seconds) + float(micros) / 1e6


def test_a_leap_forward_ends_leases_early_and_nothing_counts_twice(lab: Lab, shift: Shift) -> None:
    job = lab.submit(lab.make_spec())
    slow = lab.start_worker("slow", hold="publish")
    await_line(slow, "held")
    slow.send_signal(signal.SIGSTOP)  # or its lease keeper would take a lease from the new time on
    shift(HOUR_S)
    lab.start_worker("quick")
    record = lab.await_end(job)
    slow.send_signal(signal.SIGCONT)
    go_on(slow)
    slow.terminate()
    slow.wait(60)
    assert record.state is JobState.DONE
    assert lab.judge(record) == [Verdict.VALID]
    assert lab.count_ends(job) == 1


@pytest.mark.parametrize("seconds", [-HOUR_S, -3])
def test_a_fall_back_does_not_keep_a_lost_task_waiting(
    lab: Lab, shift: Shift, seconds: int
) -> None:
    job = lab.submit(lab.make_spec())
    victim = lab.start_worker("victim", hold="prove")
    await_line(victim, "held")
    victim.kill()
    shift(seconds)
    lab.start_worker("heir")
    record = lab.await_end(job)  # within its patience, which is far less than an hour
    assert record.state is JobState.DONE
    assert lab.judge(record) == [Verdict.VALID]
    assert lab.count_ends(job) == 1
