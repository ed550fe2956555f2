"""A real HTTP server on a free port of this machine, in a thread."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from prometheus_client import CollectorRegistry

from api.http.app import build_app
from api.http.auth import KeyRing
from api.http.chain.history import ChainHistory
from api.http.server import build_server
from api.http.service import Service


@contextmanager
def serve(
    service: Service, chain: ChainHistory | None = None, experiments: Path | None = None
) -> Iterator[str]:
    """Yields the address. The socket listens first, so no request comes too early."""
    app = build_app(
        service,
        keys=KeyRing(),
        registry=CollectorRegistry(),
        chain=chain,
        experiments=experiments,
    )
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = build_server(app, host="127.0.0.1", port=0)
        server.capture_signals = _no_signals  # type: ignore[method-assign,assignment]
        thread = Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(timeout=20)


@contextmanager
def _no_signals() -> Iterator[None]:
    yield
