"""What happens before a route is looked for: methods that HTTP has not are refused, and pages of
other sites where no key is asked for; HEAD becomes GET; who leaves a stream is no failure. Who may
use a route is asked by `routes.common.GuardedRoute`.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

from anyio import BrokenResourceError
from asgi_correlation_id import CorrelationIdMiddleware
from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.auth import KeyRing
from api.http.headers import SafeHeaders
from api.http.patience import Patience
from api.http.problems import ApiProblem, OnlyProblems, respond

METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_CLOSE = {"Connection": "close"}


class KnownMethods:
    """ASGI middleware: 405 for methods that no service has.

    Outside of the metrics, which keep a time series for each method that they see.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in METHODS:
            problem = ApiProblem("method_not_allowed", headers=_CLOSE)
            await respond(problem)(scope, receive, send)
            return
        await self.app(scope, receive, send)


class HeadIsGet:
    """ASGI middleware: HEAD is answered as GET is, without the body (RFC 9110, 9.3.2).

    A stream is told that its reader has left, which it has: with the head all is read.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        ended = False

        async def receive_until_ended() -> Message:
            return {"type": "http.disconnect"} if ended else await receive()

        async def send_head(message: Message) -> None:
            nonlocal ended
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                ended = True

        await self.app({**scope, "method": "GET"}, receive_until_ended, send_head)


class ReadersLeave:
    """ASGI middleware: a stream whose reader has left ends without a word.

    The framework's own tasks break on the next event then, and a log would get 8 kB of it for each
    page that is closed.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_left = False

        async def receive_until_left() -> Message:
            nonlocal has_left
            message = await receive()
            has_left = has_left or message["type"] == "http.disconnect"
            return message

        try:
            await self.app(scope, receive_until_left, send)
        except* BrokenResourceError:
            if not has_left:
                raise


class KnownHosts:
    """ASGI middleware, for a service without keys: 403 for a request to another name than ours.

    A browser inside reaches this service for pages from outside. A page whose own name is made to
    point here (DNS rebinding) could read all; its requests still name that name. A page of another
    site could upload and submit; browsers say so in `Origin`, which is ours or nobody's. An address
    is no name: whoever asks for it means it.
    """

    def __init__(self, app: ASGIApp, *, names: Collection[str]) -> None:
        """names : accepted besides localhost and addresses"""
        self.app, self._names = app, frozenset(name.lower() for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            host, origin = headers.get("Host", ""), headers.get("Origin")
            if not self._is_ours("//" + host) or not _is_same_site(origin, host):
                problem = ApiProblem("unknown_host", headers=_CLOSE)
                await respond(problem)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _is_ours(self, url: str) -> bool:
        try:
            name = urlsplit(url).hostname or ""
        except ValueError:
            return False
        if name in self._names or name == "localhost" or name.endswith(".localhost"):
            return True
        try:
            ip_address(name)
        except ValueError:
            return False
        return True


def _is_same_site(origin: str | None, host: str) -> bool:
    """Whether a request was not sent by a page, or by one of this service: name and port agree."""
    if origin is None:
        return True
    try:
        return urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False


def add_gate(app: FastAPI, keys: KeyRing, names: Collection[str]) -> None:
    """What every application asks before it looks for a route, the last that is added first.

    keys, names : as of `KnownHosts`, which is for applications without keys
    """
    app.add_middleware(KnownMethods)
    if keys.is_open:
        app.add_middleware(KnownHosts, names=names)
    app.add_middleware(Patience)
    app.add_middleware(OnlyProblems)
    app.add_middleware(SafeHeaders)
    app.add_middleware(CorrelationIdMiddleware, header_name="X-Request-ID")
