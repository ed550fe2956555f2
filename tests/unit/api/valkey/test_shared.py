"""A server of all who use a data directory: it lives as long as any of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from api.errors import ServerUnavailable
from api.valkey.embedded import answers
from api.valkey.shared import SharedServer

USER = """
import sys
from pathlib import Path
from api.valkey.shared import SharedServer
SharedServer(Path(sys.argv[1])).start()
print("attached", flush=True)
sys.stdin.read()
"""


def await_that(holds: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + 30.0
    while not holds():
        assert time.monotonic() < ends_at
        time.sleep(0.01)


def start_user(data_dir: Path) -> subprocess.Popen[bytes]:
    """A process that uses the server until it is killed."""
    command = [sys.executable, "-c", USER, str(data_dir)]
    user = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert user.stdout is not None
    assert user.stdout.readline() == b"attached\n"
    return user


def kill(user: subprocess.Popen[bytes]) -> None:
    user.kill()
    user.communicate()


def find_pid(server: SharedServer) -> int:
    with Redis(unix_socket_path=str(server.socket)) as client:
        return int(client.info("server")["process_id"])


def find_parent(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("PPid:")).split()[1])


def test_a_shared_server_lives_as_long_as_its_last_user(tmp_path: Path) -> None:
    first, second = SharedServer(tmp_path), SharedServer(tmp_path)
    try:
        assert first.start()
        assert not second.start()
        first.stop()
        assert not second.mend(), "nothing was to be mended"
        assert answers(second.socket)
    finally:
        first.stop()
        second.stop()
    await_that(lambda: not answers(second.socket))
    third = SharedServer(tmp_path)
    try:
        assert third.start(), "and one can be started again"
    finally:
        third.stop()
    await_that(lambda: not answers(third.socket))


def test_a_shared_server_outlives_who_started_it_and_no_one_else(tmp_path: Path) -> None:
    starter = start_user(tmp_path)
    other = start_user(tmp_path)
    server = SharedServer(tmp_path)
    pid = find_pid(server)
    kill(starter)
    assert find_pid(server) == pid
    kill(other)
    await_that(lambda: not answers(server.socket))


def test_a_shared_server_that_is_killed_is_started_again(tmp_path: Path) -> None:
    first, second = SharedServer(tmp_path), SharedServer(tmp_path)
    try:
        first.start()
        second.start()
        before = find_pid(first)
        os.kill(before, signal.SIGKILL)
        await_that(lambda: not answers(first.socket))
        assert second.mend()
        assert not first.mend()
        assert find_pid(first) != before
    finally:
        first.stop()
        second.stop()
    await_that(lambda: not answers(first.socket))


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells a child of its parent's end")
def test_a_keeper_that_is_killed_takes_its_server_along(tmp_path: Path) -> None:
    """Nobody would end it otherwise."""
    server = SharedServer(tmp_path)
    try:
        server.start()
        os.kill(find_parent(find_pid(server)), signal.SIGKILL)
        await_that(lambda: not answers(server.socket))
        await_that(server.mend)
    finally:
        server.stop()
    await_that(lambda: not answers(server.socket))


def test_a_server_that_cannot_run_is_named_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.valkey.embedded.find_program", lambda: Path("/bin/false"))
    server = SharedServer(tmp_path)
    try:
        with pytest.raises(ServerUnavailable, match=r"ended at once; read .*server\.log"):
            server.start()
    finally:
        server.stop()
