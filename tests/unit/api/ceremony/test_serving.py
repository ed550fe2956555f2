"""`zkpot ceremony serve` as a process of its own, and the commands that take its URL."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from api.process.program import PROGRAM
from tests.support.commands import misuse, refuse, run, succeed
from tests.support.served_ceremonies import Guest, make


@contextmanager
def serving(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process, and its URL."""
    command = [*PROGRAM, "ceremony", "serve", str(folder), "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def test_a_ceremony_over_http(folder: Path) -> None:
    made = make(folder, 1)
    with serving(folder) as (process, url), httpx2.Client(base_url=url, trust_env=False) as http:
        guest = Guest.join(http, "")  # type: ignore[arg-type]
        guest.patch(0, made.state[:700])
        assert "another process" in refuse("folder_busy", "ceremony", "contribute", folder)
        process.kill()
        process.wait(20)
    with serving(folder) as (process, url), httpx2.Client(base_url=url, trust_env=False) as http:
        guest.http = http  # type: ignore[assignment]
        assert guest.head().headers["Upload-Offset"] == "700"
        assert guest.patch(700, made.state[700:]).status_code == 204
        assert guest.hand_in(made.record).status_code == 202
        found = succeed("ceremony", "contribute", url, "--name", "alice")  # waits for the guest's
        assert guest.see()["detail"] == made.place
        assert found["places"][1] == made.place
        told = run("ceremony", "verify", url, "--place", found["places"][2])
        assert told.exit_code == 0, told.output
        assert "valid" in told.output
        assert "contribution of 'alice'" in told.output
        refuse("ceremony_invalid", "ceremony", "verify", url, "--place", "0" * 64)
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        assert process.returncode == 0
        assert process.stderr is not None
        assert guest.token not in process.stderr.read()
    assert succeed("ceremony", "verify", folder)["places"] == found["places"]


@pytest.mark.parametrize("where", ["http://", "http://[", "https://:0", "http://a:0", "http://a b"])
def test_urls_that_are_none(where: str) -> None:
    misuse("names no server", "ceremony", "contribute", where)
    misuse("names no server", "ceremony", "verify", where)


def test_places_that_are_none(tmp_path: Path, folder: Path) -> None:
    misuse("is no folder", "ceremony", "contribute", tmp_path / "nothing")
    misuse("is no folder", "ceremony", "verify", "ftp://host")
    misuse("other machines can reach", "ceremony", "serve", folder, "--host", "0.0.0.0")
    refuse("bad_format", "ceremony", "verify", tmp_path)
