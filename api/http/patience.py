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

from api.http.problems import ApiProblem, respond

HEADERS_S = 10.0
BODY_S = 20.0
READ_S = 30.0


class HastyProtocol(H11Protocol):
    """HTTP/1.1 that closes a connection whose next headers are not whole after HEADERS_S, and drops
    one whose client reads nothing for READ_S."""

    _headers: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._await_headers()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and self.conn.our_state is h11.IDLE:
            self._await_headers()
        elif self._headers is not None:
            self._headers.cancel()
            self._headers = None

    def pause_writing(self) -> None:
        super().pause_writing()
        # To close would wait until all is sent, which may be never.
        self._reading = self.loop.call_later(READ_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._headers, self._reading):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def _await_headers(self) -> None:
        """Starts the clock unless it runs: bytes that come slowly do not start it anew."""
        if self._headers is None:
            self._headers = self.loop.call_later(HEADERS_S, self.transport.close)


class Patience:
    """ASGI middleware: 408 when the body of a request stands still for BODY_S."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body_ended = started = False

        async def receive_soon() -> Message:
            nonlocal body_ended
            if body_ended:  # from here on only a disconnection can come
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), BODY_S)
            except TimeoutError:
                raise _Stalled from None
            body_ended = not message.get("more_body", False)
            return message

        async def send_on(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive_soon, send_on)
        except _Stalled:
            if not started:
                problem = ApiProblem("too_slow", headers={"Connection": "close"})
                await respond(problem)(scope, receive, send)


class _Stalled(Exception):
    """The body of a request does not go on."""
