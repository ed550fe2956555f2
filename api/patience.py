"""How long the HTTP service waits for a slow client: for its headers, its body, and its reading.

A client that sends a byte now and then, or stops to read what it asked for, would hold a
connection for ever; many of them would hold them all.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from api.problems import ApiProblem, respond

HEADERS_S = 10.0
BODY_S = 20.0
READ_S = 30.0


class HastyProtocol(H11Protocol):
    """HTTP/1.1 that closes a connection whose next headers are not whole after HEADERS_S."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._arm()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and self.conn.our_state is h11.IDLE:
            self._arm()
        else:
            self._disarm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def _arm(self) -> None:
        """Starts the clock unless it runs: bytes that come slowly do not start it anew."""
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEADERS_S, self.transport.close)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class Patience:
    """ASGI middleware: 408 when the body stands still for BODY_S; the connection is dropped when
    the client reads nothing for READ_S."""

    def __init__(self, app: ASGIApp, *, body_s: float = BODY_S, read_s: float = READ_S) -> None:
        self.app, self.body_s, self.read_s = app, body_s, read_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body_ended = False
        started = False

        async def receive_soon() -> Message:
            nonlocal body_ended
            if body_ended:  # from here on only a disconnection can come
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), self.body_s)
            except TimeoutError:
                raise _Stalled from None
            body_ended = not message.get("more_body", False)
            return message

        async def send_soon(message: Message) -> None:
            nonlocal started
            started = True
            try:
                await asyncio.wait_for(send(message), self.read_s)
            except TimeoutError:
                raise ClientGone from None

        try:
            await self.app(scope, receive_soon, send_soon)
        except _Stalled:
            if not started:
                await respond(ApiProblem("too_slow"))(scope, receive, send)
        except ClientGone:
            return


class _Stalled(Exception):
    """The body of a request does not go on."""


class ClientGone(OSError):
    """The client does not read its response."""
