"""Logs that cannot be written: what serves goes on, and says so by its exit code."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from api.process.logs import make_log
from api.process.program import PROGRAM
from api.process.streams import Outlasting, outlasting
from api.process.supervisor import Command, Supervisor
from api.queue.admin import QueueAdmin
from api.queue.queue import JobQueue
from api.settings import Settings
from api.valkey.embedded import connect
from consensus.disk.development import node_home
from tests.support.node_processes import Cluster
from tests.unit.api.process.test_supervisor import Watch

PATIENCE_S = 60.0
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


def closed_file() -> io.StringIO:
    file = io.StringIO()
    file.close()
    return file


def pipe_without_reader() -> int:
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.parametrize("to_people", [True, False])
@pytest.mark.parametrize("make", [lambda: None, closed_file, io.StringIO])
def test_a_log_takes_any_stream(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[], object], to_people: bool
) -> None:
    stream = make()
    monkeypatch.setattr(sys, "stderr", stream)
    make_log(to_people=to_people).info("said", number=7)
    if isinstance(stream, io.StringIO) and not stream.closed:
        assert "said" in stream.getvalue()


@needs_full
def test_what_a_full_disk_did_not_take_is_lost_and_no_more() -> None:
    with FULL.open("w") as full:
        stream = outlasting(full)
        assert isinstance(stream, Outlasting)
        assert outlasting(stream) is stream
        for _ in range(10_000):
            print("a line of a log that nobody will read", file=stream, flush=True)
        assert stream.fileno() == full.fileno()
        assert not stream.isatty()
        with open(os.devnull, "w") as null:  # takes what is left when the file is closed
            os.dup2(null.fileno(), full.fileno())


@contextmanager
def running(
    target: int | Path, *arguments: str, data_dir: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the program whose output and errors go there."""
    output = os.open(target, os.O_WRONLY) if isinstance(target, Path) else target
    process = subprocess.Popen(
        [*PROGRAM, *arguments],
        env={**os.environ, "ZKPOT_DATA_DIR": str(data_dir), "ZKPOT_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
    )
    os.close(output)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def await_that(process: subprocess.Popen[bytes], holds: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + PATIENCE_S
    while not holds():
        assert process.poll() is None, f"the process ended with code {process.returncode}"
        assert time.monotonic() < ends_at
        time.sleep(0.02)


def stop(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(PATIENCE_S)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    try:
        return httpx2.get(url, trust_env=False).is_success
    except httpx2.TransportError:
        return False


@needs_full
@pytest.mark.slow
def test_a_whole_service_runs_with_a_full_log(tmp_path: Path) -> None:
    """Its supervisor has something to say as well: a child is killed."""
    port = free_port()
    settings = Settings(data_dir=tmp_path)
    with running(FULL, "up", "--port", str(port), data_dir=tmp_path) as process:
        await_that(process, lambda: answers(f"http://127.0.0.1:{port}/readyz"))
        with connect(settings) as redis:
            admin = QueueAdmin(JobQueue(redis, settings))
            await_that(process, lambda: len(admin.list_workers()) == 1)
            (first,) = admin.list_workers()
            os.kill(int(first.worker.split("-")[-2]), signal.SIGKILL)
            await_that(process, lambda: {w.worker for w in admin.list_workers()} != {first.worker})
        assert stop(process) == 0


def test_a_worker_outlives_the_reader_of_its_log(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    pipe = pipe_without_reader()
    with running(pipe, "worker", data_dir=tmp_path) as process, connect(settings) as redis:
        admin = QueueAdmin(JobQueue(redis, settings))
        await_that(process, lambda: (tmp_path / "queue" / "server.sock").exists())
        await_that(process, lambda: bool(admin.list_workers()))
        assert stop(process) == 0


@needs_full
@pytest.mark.slow
def test_a_node_runs_with_a_full_log(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    port = free_port()
    home = str(node_home(tmp_path / "chain", 0))
    try:
        arguments = ("node", home, "--metrics-port", str(port))
        with running(FULL, *arguments, data_dir=tmp_path / "data") as process:
            await_that(process, lambda: answers(f"http://127.0.0.1:{port}/metrics"))
            assert stop(process) == 0
    finally:
        cluster.close()


def test_no_file_takes_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    """Else a child's errors would be written into it."""
    program = (
        "import os, sys\n"
        "from api.process.streams import outlast_errors\n"
        "outlast_errors()\n"
        f"file = open({str(tmp_path / 'ledger')!r}, 'wb')\n"
        "os.system('echo to the log >&2')\n"
        "sys.stderr.write('nowhere')\n"
        "sys.exit(file.fileno() < 3)\n"
    )
    done = subprocess.run(["sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, program])
    assert done.returncode == 0
    assert (tmp_path / "ledger").read_bytes() == b""


def test_a_child_without_room_for_its_log_runs_without_one(tmp_path: Path) -> None:
    watch = Watch("ended with code 3")
    log = tmp_path / "not a folder" / "child.log"
    child = Command(name="child", argv=[sys.executable, "-c", "raise SystemExit(3)"], log=log)
    assert Supervisor([child], report=watch).run(watch.seen)
    assert watch.lines[0].startswith("child runs without its log: ")


def test_a_child_that_cannot_be_started_is_tried_again() -> None:
    watch = Watch("in 1 s")
    assert Supervisor([Command(name="child", argv=["/no/such"])], report=watch).run(watch.seen)
    assert [line.partition(" (")[0] for line in watch.lines] == ["child could not be started"] * 2
