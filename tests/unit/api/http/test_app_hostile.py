"""Hostile clients of a real server: each is refused or dropped, and the service stays alive."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from api.http import app, patience
from api.queue.jobs import JobEvent
from tests.support.serving import serve
from tests.support.still_service import StillService

pytestmark = pytest.mark.slow
GET = b"GET /healthz HTTP/1.1\r\nHost: [::]\r\n"


@pytest.fixture
def address(service: StillService, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    for name in ("HEADERS_S", "BODY_S", "READ_S"):
        monkeypatch.setattr(patience, name, 0.3)
    monkeypatch.setattr(app, "MAX_STREAMS", 1)
    with serve(service) as url:
        place = urlsplit(url)
        assert place.hostname
        assert place.port
        yield place.hostname, place.port
        with urlopen(f"{url}/healthz", timeout=10) as answer:  # alive after all of it
            assert json.load(answer) == {"status": "ok"}


def connect(address: tuple[str, int]) -> socket.socket:
    connection = socket.create_connection(address, timeout=10)
    connection.settimeout(10)
    return connection


def read_all(connection: socket.socket) -> bytes:
    """Until the server closes."""
    found = b""
    try:
        while chunk := connection.recv(1 << 16):
            found += chunk
    except ConnectionResetError:
        pass
    return found


def status(raw: bytes) -> int:
    return int(raw.split(b" ", 2)[1])


def ask_events(address: tuple[str, int], job_id: str) -> bytes:
    """The first bytes of an answer for the events behind all that are there."""
    path = f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: [::]\r\nLast-Event-ID: 400-0\r\n\r\n"
    with connect(address) as connection:
        connection.sendall(path.encode())
        return connection.recv(1024)


def test_ten_thousand_header_bytes(address: tuple[str, int]) -> None:
    with connect(address) as connection:
        connection.sendall(GET + b"X-Long: " + b"a" * 10_000 + b"\r\n\r\n")
        assert status(read_all(connection)) in (400, 431)  # in pieces, or at once


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00" + b"\0" * 100 + b"\r\n\r\n",  # TLS
        b"GET / FTP/1.1\r\n\r\n",
        b"GET  /\r\n\r\n",
        b"POST /v1/jobs HTTP/1.1\r\nHost: [::]\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/jobs HTTP/1.1\r\nHost: [::]\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /v1/jobs HTTP/1.1\r\nHost: [::]\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_http(address: tuple[str, int], raw: bytes) -> None:
    with connect(address) as connection:
        connection.sendall(raw)
        answer = read_all(connection)
        assert answer == b"" or 400 <= status(answer) < 500


def test_headers_that_never_end_close_the_connection(address: tuple[str, int]) -> None:
    with connect(address) as connection:
        connection.sendall(GET)
        assert read_all(connection) == b""


def test_a_silent_connection_is_closed(address: tuple[str, int]) -> None:
    with connect(address) as connection:
        assert read_all(connection) == b""


def test_a_body_that_stands_still(address: tuple[str, int]) -> None:
    head = b"POST /v1/models HTTP/1.1\r\nHost: [::]\r\nContent-Length: 1000\r\n\r\n"
    with connect(address) as connection:
        connection.sendall(head + b"zk")
        assert status(connection.recv(1 << 16)) == 408


def test_a_client_that_never_reads_its_events(
    address: tuple[str, int], service: StillService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its place among the open streams comes back, though it never closes the connection."""
    job_id = service.put_job().id
    many = [JobEvent(f"{i}-0", "progress", {"stage": "x" * 65536}) for i in range(1, 401)]

    def read_events(*_: object, after: str, **__: object) -> list[JobEvent]:
        return many[int(after.partition("-")[0]) :]  # 26 MB: more than sockets hold

    monkeypatch.setattr(service, "read_events", read_events)
    with connect(address) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        path = f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: [::]\r\n\r\n"
        connection.sendall(path.encode())
        assert status(connection.recv(1024)) == 200
        assert status(ask_events(address, job_id)) == 429
        ends_at = time.monotonic() + 20
        while status(ask_events(address, job_id)) == 429:
            assert time.monotonic() < ends_at
