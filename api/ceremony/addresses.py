"""Where a ceremony is, as commands are told: a folder, or the URL of who serves it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

if TYPE_CHECKING:
    from api.ceremony.remote import CeremonyServer

_MAX_KEY_BYTES = 1 << 10
ServerKey = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="Of a URL: file with the server's API key."),
]


def is_url(where: str) -> bool:
    return where.startswith(("http://", "https://"))


def require_folder(where: str) -> Path:
    """A usage error for what is no folder."""
    path = Path(where)
    if not path.is_dir():
        raise typer.BadParameter(f"{where} is no folder, and no URL of http:// or https://")
    return path


@contextmanager
def connecting(url: str, key_file: Path | None) -> Iterator[CeremonyServer]:
    """The server of a URL; a usage error for one that cannot be asked."""
    import httpx2

    from api.ceremony.remote import CeremonyServer
    from api.client.http import connect

    try:
        is_whole = bool(urlsplit(url).hostname) and urlsplit(url).port != 0 and " " not in url
    except ValueError:
        is_whole = False
    key = None
    if key_file is not None:
        with key_file.open("rb") as file:
            key = file.read(_MAX_KEY_BYTES).decode("ascii", "replace").strip()
    try:
        if not is_whole:
            raise httpx2.InvalidURL("no host")
        http = connect(url.rstrip("/"), key=key)
    except (httpx2.InvalidURL, UnicodeError, ValueError):
        raise typer.BadParameter(f"{url} names no server") from None
    with http:
        yield CeremonyServer(http)
