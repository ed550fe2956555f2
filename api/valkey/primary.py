"""Connections to the primary of a Redis server that fails over, and follow it.

After a failover the former primary may live on as a replica: connections to it stay open and every
write is refused, for good. Here such an answer ends the connection like a broken one, and all idle
ones with it: the next are made anew, to whatever the server's name stands for by then. The command
is sent again for a few seconds, after which it fails as if the server were down.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.connection import (
    Connection,
    ConnectionPool,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,
    MasterDownError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,
)
from redis.retry import Retry

from api.errors import ApiError

RETRIES = 8
FIRST_PAUSE_S, LAST_PAUSE_S = 0.02, 1.0
_ANSWER_S, _CONNECT_S, _CHECK_S = 15, 5, 30
_OF_NO_PRIMARY = ("UNBLOCKED", "NOREPLICAS")
"""How a primary begins that becomes a replica while a command waits, or is cut off from its own."""


class NoPrimary(ConnectionError, ApiError):
    """The server at the other end is no primary (any more)."""

    code = "no_primary"


class _Follows:
    """For a class of connections: an answer of a replica ends the connection."""

    def __init__(self, *arguments: Any, on_demotion: Callable[[], None], **options: Any) -> None:
        self._on_demotion = on_demotion
        super().__init__(*arguments, **options)

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super().read_response(*arguments, **options)  # type: ignore[misc]
        except ResponseError as error:
            if not is_of_no_primary(error):
                raise
            self.disconnect()  # type: ignore[attr-defined]
            self._on_demotion()
            raise NoPrimary(f"the server takes no writes as a primary would: {error}") from error


class _Tcp(_Follows, Connection):
    pass


class _Tls(_Follows, SSLConnection):
    pass


class _Unix(_Follows, UnixDomainSocketConnection):
    pass


_CLASSES = {Connection: _Tcp, SSLConnection: _Tls, UnixDomainSocketConnection: _Unix}


def open_client(url: str, *, retries: int = RETRIES) -> Redis:
    """A client of the primary at this address; close it. Raises ValueError for no such address.

    retries : commands lost with a connection are sent again so often, for a few seconds with
              RETRIES: each of ours may be
    """

    def drop_idle() -> None:
        pool.disconnect(inuse_connections=False)

    pool = ConnectionPool.from_url(
        url,
        connection_class=_CLASSES[_find_class(url)],
        on_demotion=drop_idle,
        retry=Retry(ExponentialBackoff(cap=LAST_PAUSE_S, base=FIRST_PAUSE_S), retries),
        retry_on_error=[ConnectionError, TimeoutError, BusyLoadingError],
        socket_timeout=_ANSWER_S,
        socket_connect_timeout=_CONNECT_S,
        health_check_interval=_CHECK_S,
        protocol=2,
    )
    return Redis.from_pool(pool)


def _find_class(url: str) -> type:
    found: type = parse_url(url).get("connection_class", Connection)  # type: ignore[no-untyped-call]
    return found


def is_of_no_primary(error: ResponseError) -> bool:
    """Whether only a replica, or a primary that lost its place, answers so."""
    return isinstance(error, ReadOnlyError | MasterDownError) or str(error).startswith(
        _OF_NO_PRIMARY
    )
