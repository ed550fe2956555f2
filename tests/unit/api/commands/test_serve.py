"""`zkpot up`, `zkpot api` and `zkpot api-key`: what they refuse, and what they write."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from contextlib import nullcontext
from pathlib import Path

import pytest
from typer.testing import CliRunner

from api.cli import build_app
from api.http.auth import KeyRing, Scope
from api.process.program import PROGRAM
from api.process.supervisor import Command, Supervisor


def make_key(file: Path, name: str) -> str:
    arguments = ["api-key", name, "--file", str(file), "--scope", "read"]
    done = CliRunner().invoke(build_app(), arguments)
    assert done.exit_code == 0, done.output
    return done.stdout.strip()


@pytest.mark.parametrize("end", ["\n", "", "\n\n"])
def test_a_new_key_gets_a_line_of_its_own(tmp_path: Path, end: str) -> None:
    """Also behind a last line that an editor left without an end."""
    file = tmp_path / "keys"
    alice = make_key(file, "alice")
    file.write_text(file.read_text().rstrip("\n") + end)
    bob = make_key(file, "bob")
    ring = KeyRing.load(file)
    for name, key in (("alice", alice), ("bob", bob)):
        caller = ring.identify(f"Bearer {key}")
        assert caller is not None
        assert (caller.name, caller.scopes) == (name, frozenset({Scope.READ}))


@pytest.mark.parametrize("command", [["up"], ["api"]])
def test_a_port_that_is_taken_ends_the_command(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once: an API that is started again and again would never get it."""
    monkeypatch.setenv("ZKPOT_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(Supervisor, "run", lambda *_: pytest.fail("children were started"))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = CliRunner().invoke(build_app(), [*command, "--port", port])
    assert done.exit_code == 1
    assert f"port {port}: Address already in use; end" in done.output
    assert "give another --port" in done.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_api_that_is_told_to_stop_ends_with_0(number: signal.Signals, tmp_path: Path) -> None:
    environment = {**os.environ, "ZKPOT_DATA_DIR": str(tmp_path), "ZKPOT_THREADS": "1"}
    with subprocess.Popen(
        [*PROGRAM, "api", "--port", "0"], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        process.send_signal(number)
        assert process.wait(timeout=60) == 0


@pytest.mark.parametrize(
    ("n_workers", "wanted", "n_threads"),
    [(1, "", 8), (3, "", 2), (16, "", 1), (2, "3", 3), (4, "3", 2)],
)
def test_workers_share_processors_and_memory(
    n_workers: int, wanted: str, n_threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more than the setting allows each; 16 threads on 8 processors would only wait."""
    kept: list[Command] = []

    def keep(_: Supervisor, commands: list[Command], **__: object) -> None:
        kept.extend(commands)

    monkeypatch.setenv("ZKPOT_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ZKPOT_THREADS", wanted)
    monkeypatch.setattr("api.settings.count_processors", lambda: 8)
    monkeypatch.setattr("api.console.machine.find_memory", lambda _: 1000)
    monkeypatch.setattr(Supervisor, "__init__", keep)
    monkeypatch.setattr(Supervisor, "run", lambda *_: True)
    monkeypatch.setattr("api.console.queue_access.keep_server", lambda *_, **__: nullcontext())
    arguments = ["up", "--port", "0", "--workers", str(n_workers)]
    done = CliRunner().invoke(build_app(), arguments)
    assert done.exit_code == 0, done.output
    workers = [one.argv for one in kept if one.name.startswith("worker")]
    assert [argv[:2] for argv in workers] == [["env", f"ZKPOT_THREADS={n_threads}"]] * n_workers
    memory = f"ZKPOT_MEMORY_BYTES={1000 // n_workers}"
    assert [argv[2] for argv in workers] == [memory] * n_workers
