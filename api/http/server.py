"""The HTTP server as this service runs it: bounded headers, connections and waits."""

from __future__ import annotations

import socket

import uvicorn
from starlette.types import ASGIApp

from api.http.headers import MAX_HEADER_BYTES
from api.http.patience import HastyProtocol

MAX_CONNECTIONS = 512
KEEP_ALIVE_S = 20
STOP_S = 5
BACKLOG = 1024


def build_server(app: ASGIApp, *, host: str, port: int) -> uvicorn.Server:
    """A server to `run()`; headers over MAX_HEADER_BYTES are answered with 400 or 431."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=HastyProtocol,
        ws="none",
        lifespan="off",
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=STOP_S,
        backlog=BACKLOG,
        access_log=False,  # paths hold ids; metrics count requests
        server_header=False,
        log_level="warning",
    )
    return uvicorn.Server(config)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 takes any free one. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family)
    # Its connections inherit it. Else the body of an answer waits until its head is acknowledged,
    # 40 ms; the event loop sets it only on sockets that name their protocol, as this one does not.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
