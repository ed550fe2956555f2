"""What commands that serve HTTP begin with: who may call, and a socket, or a refusal in words."""

from __future__ import annotations

import socket
from pathlib import Path

import typer

from api.console.output import refuse
from api.console.refusals import meaning
from api.errors import KeyFileError
from api.http.auth import KeyRing
from api.http.server import listen

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def load_keys(path: Path | None, *, host: str, without_keys: bool) -> KeyRing:
    """The keys of a file; a usage error for a bad one, and for none where others reach the host."""
    with meaning("--keys", KeyFileError, OSError):
        ring = KeyRing.load(path)
    if ring.is_open and host not in LOOPBACK and not without_keys:
        raise typer.BadParameter(
            "other machines can reach this address: give --keys, or --without-keys if all may",
            param_hint="--host",
        )
    return ring


def listen_or_refuse(host: str, port: int, *, as_json: bool = False) -> socket.socket:
    """As `api.http.server.listen`; ends the command where that cannot be."""
    try:
        return listen(host, port)
    except OSError as error:
        why = str(error.strerror).partition(" (")[0]  # the address follows, which is said before
        refuse(
            f"cannot listen on {host} port {port}: {why}; end what listens there, or "
            "give another --port (0 takes a free one)",
            code="io_error",
            as_json=as_json,
        )


def show_address(host: str, listening: socket.socket) -> str:
    """The URL of a socket that listens on this host."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listening.getsockname()[1]}"
