"""The listening socket of the service."""

from __future__ import annotations

import socket

import pytest

from api.http.server import listen


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
