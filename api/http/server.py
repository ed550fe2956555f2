"""The HTTP server as this service runs it: bounded headers, connections and waits."""

from __future__ import annotations

import socket
from threading import Event

import uvicorn
from starlette.types import ASGIApp

from api.http.headers import MAX_HEADER_BYTES
from api.http.patience import HastyProtocol

MAX_CONNECTIONS = 512
KEEP_ALIVE_S = 20
STOP_S = 5
BACKLOG = 1024


class Server(uvicorn.Server):
    """A server that ends by SIGTERM or SIGINT, and returns, where the process has handlers of both.

    stop  : for those handlers to set; a signal may come just before the server takes them over
    holds : uvicorn raises the signal again when it has ended: by default the process would end
            there, before anything around `run` is closed
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stop = Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, once it has taken the signals over."""
        await super().startup(sockets)
        self.should_exit |= self.stop.is_set()


def build_server(app: ASGIApp, *, host: str, port: int) -> Server:
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
    return Server(config)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 takes any free one. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family)
    # Its connections inherit it. Else the body of an answer waits until its head is acknowledged,
    # 40 ms; the event loop sets it only on sockets that name their protocol, as this one does not.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
