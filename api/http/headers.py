"""Headers: how long those of a request may be, and what every response carries."""

from __future__ import annotations

from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.problems import ApiProblem, respond

MAX_HEADER_BYTES = 8192
EXPERIMENTS_PAGE = "/experiments"
WEB = Path(__file__).parent / "web"
"""The files of the pages."""
_PAGE_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'self'; object-src 'none'"
)


class SafeHeaders:
    """ASGI middleware: 431 for headers over the limit; answers are not sniffed, nor those of the
    API cached, and the page loads nothing from elsewhere."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADER_BYTES:
            problem = ApiProblem("headers_too_large", headers={"Connection": "close"})
            await respond(problem)(scope, receive, send)
            return
        path = scope["path"]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
                if path in ("/", EXPERIMENTS_PAGE) or path.startswith("/web/"):
                    headers["Content-Security-Policy"] = _PAGE_POLICY
                    headers["Cache-Control"] = "no-cache"
                elif path.startswith("/v1/"):
                    headers["Cache-Control"] = "no-store"
            await send(message)

        await self.app(scope, receive, send_with_headers)
