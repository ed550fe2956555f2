"""The listening socket of the service, and how its server ends."""

from __future__ import annotations

import socket

import pytest
from fastapi import FastAPI

from api.http.server import build_server, listen


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_answers_do_not_wait_for_acknowledgements(host: str) -> None:
    """Head and body of an answer are two writes; the second would wait for a delayed ACK."""
    with (
        listen(host, 0) as listening,
        socket.create_connection(listening.getsockname()[:2], timeout=10),
    ):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def test_a_signal_that_came_early_ends_the_server() -> None:
    """Between the first handler of the process and the server's own."""
    with listen("127.0.0.1", 0) as listening:
        server = build_server(FastAPI(), host="127.0.0.1", port=0)
        server.stop.set()
        server.run(sockets=[listening])
    assert server.started
