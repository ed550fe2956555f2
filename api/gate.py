"""What is refused before a body is read: methods that HTTP has not, and callers without a key.

The framework reads a body, up to 1 GiB of it onto the disk, before it asks a route who calls; and
its metrics keep a time series for each method that they see.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.problems import ApiProblem, respond
from api.routes_common import Shell, identify

METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_CLOSE = {"Connection": "close"}


class KnownMethods:
    """ASGI middleware: 405 for methods that no service has. Outside of the metrics."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in METHODS:
            problem = ApiProblem("method_not_allowed", headers=_CLOSE)
            await respond(problem)(scope, receive, send)
            return
        await self.app(scope, receive, send)


class KnownCallers:
    """ASGI middleware: 401 under /v1/ for who has no key. What a key allows is for the routes."""

    def __init__(self, app: ASGIApp, *, shell: Shell) -> None:
        self.app, self._shell = app, shell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/v1/"):
            address = scope["client"][0] if scope["client"] else ""
            try:
                identify(self._shell, Headers(scope=scope).get("Authorization"), address)
            except ApiProblem as problem:
                problem.headers.update(_CLOSE)
                await respond(problem)(scope, receive, send)
                return
        await self.app(scope, receive, send)
