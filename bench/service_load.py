"""A running service and clients that load it: requests at a given rate, whatever the answers take.

Latency counts from the moment a request was due, so a stalled server cannot hide behind clients
that wait for it (open-loop load).
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from statistics import quantiles
from typing import Any
from urllib.parse import urlsplit

from bench.program import PROGRAM
from bench.settings import child_environment

KEYS = Path("bench") / "out" / "service-keys"
START_S = 120
_RECONNECT_S = 0.1


@dataclass(frozen=True, slots=True)
class Reply:
    """status : of HTTP, or 0 when the connection broke; seconds : since the request was due"""

    status: int
    body: bytes
    seconds: float

    def json(self) -> Any:
        return json.loads(self.body)


@contextmanager
def running_service(keys: Path = KEYS) -> Iterator[str]:
    """`zkpot up` with one worker and an empty queue; yields its address. Keys are kept in `keys`
    for the next run."""
    keys.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="zkpot-") as folder,
        subprocess.Popen(
            [*PROGRAM, "up", "--port", "0"],
            env=child_environment(ZKPOT_DATA_DIR=folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process,
    ):
        Path(folder, "keys").symlink_to(keys.resolve())
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=START_S)


class Connection:
    """One kept-alive HTTP/1.1 connection."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = str(parts.hostname), int(parts.port or 80)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(
        self, method: str, path: str, body: bytes = b"", kind: str = "application/json"
    ) -> tuple[int, bytes]:
        """Status and body; (0, b"") when the connection breaks."""
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection(self._host, self._port)
            reader, writer = self._streams
            head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: {kind}\r\n"
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()
            answer = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(answer.split(b"content-length:")[1].split(b"\r\n")[0])
            found = int(answer.split(b" ")[1]), await reader.readexactly(length)
            if b"\r\nconnection: close\r\n" in answer:
                self.close()
            return found
        except (OSError, EOFError, IndexError):
            self.close()
            return 0, b""

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


class Caller:
    """Blocking calls, one after the other, for what prepares and follows a load."""

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(
        self, method: str, path: str, body: bytes = b"", kind: str = "application/json"
    ) -> Reply:
        async def go() -> tuple[int, bytes]:
            connection = Connection(self._url)
            found = await connection.ask(method, path, body, kind)
            connection.close()
            return found

        return Reply(*asyncio.run(go()), 0.0)

    def follow(self, path: str, *, until: str) -> None:
        """Reads a stream of events to the first of that type; connects again where it breaks."""
        end = f"event: {until}".encode()
        while True:
            parts = urlsplit(self._url)
            connection = HTTPConnection(str(parts.hostname), parts.port, timeout=START_S)
            try:
                connection.request("GET", path, headers={"Accept": "text/event-stream"})
                answer = connection.getresponse()
                if answer.status != HTTPStatus.OK:
                    raise RuntimeError(f"status {answer.status} instead of events")
                if any(line.rstrip() == end for line in answer):
                    return
            except (OSError, HTTPException):
                time.sleep(_RECONNECT_S)
            finally:
                connection.close()


async def _send_all(url: str, path: str, bodies: Sequence[bytes], per_second: float) -> list[Reply]:
    """One request each 1/per_second: POST with a body, GET without."""
    loop = asyncio.get_running_loop()
    idle: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
    opened: list[Connection] = []
    begin = loop.time()

    async def send(index: int, body: bytes) -> Reply:
        due = begin + index / per_second
        await asyncio.sleep(max(0.0, due - loop.time()))
        if idle.empty():
            opened.append(Connection(url))
            idle.put_nowait(opened[-1])
        connection = idle.get_nowait()
        status, answer = await connection.ask("POST" if body else "GET", path, body)
        idle.put_nowait(connection)
        return Reply(status, answer, loop.time() - due)

    replies = await asyncio.gather(*(send(i, body) for i, body in enumerate(bodies)))
    for connection in opened:
        connection.close()
    return replies


def load(
    url: str,
    *,
    read_path: str,
    reads_per_s: float,
    submit_path: str,
    bodies: Sequence[bytes],
    submits_per_s: float,
) -> tuple[list[Reply], list[Reply]]:
    """Replies to reads and submissions that go on side by side, as long as there are bodies."""
    n_reads = int(len(bodies) / submits_per_s * reads_per_s)

    async def both() -> tuple[list[Reply], list[Reply]]:
        return await asyncio.gather(
            _send_all(url, read_path, [b""] * n_reads, reads_per_s),
            _send_all(url, submit_path, bodies, submits_per_s),
        )

    return asyncio.run(both())


def percentile_99_ms(replies: Sequence[Reply]) -> float:
    """Milliseconds that all but one in a hundred replies took at most."""
    return quantiles([reply.seconds for reply in replies], n=100, method="inclusive")[98] * 1e3
