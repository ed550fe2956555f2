"""The HTTP application of a ceremony: routes, limits and the page, around a `Desk`."""

from __future__ import annotations

from collections.abc import Collection

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse
from starlette.datastructures import MutableHeaders
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.ceremony.desk import Desk
from api.ceremony.routes import TUS_VERSION, Hall, router
from api.http import problems
from api.http.auth import KeyRing
from api.http.gate import HeadIsGet, ReadersLeave, add_gate
from api.http.headers import WEB
from api.http.limits import Places, RateLimits
from api.http.problems import as_problem, respond
from kernels.versions import find_own_version

RATES = {"read": "50/second", "hold": "50/second", "join": "10/minute", "guess": "5/second"}
"""Requests of one address, by kind."""
MAX_BODIES, MAX_SMALL_BODIES = 16, 256
"""Of whose turn it is, of 4 MiB, and of all others, of 64 KiB at the most."""
MAX_BODIES_PER_CALLER = 2


def build_app(
    desk: Desk,
    *,
    keys: KeyRing,
    names: Collection[str] = (),
    rates: dict[str, str] | None = None,
) -> FastAPI:
    """The application.

    keys  : of those who may join; empty: everybody
    names : by which a server without keys may be asked, besides localhost and addresses
    rates : in place of those of `RATES`, by kind
    """
    app = FastAPI(
        title="zkpot ceremony",
        version=find_own_version(),
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.hall = Hall(
        desk=desk,
        keys=keys,
        rates=RateLimits(**{**RATES, **(rates or {})}),
        bodies=_make_places(MAX_BODIES),
        others=_make_places(MAX_SMALL_BODIES),
    )
    problems.install(app)
    app.add_exception_handler(OSError, _on_system_error)
    app.include_router(router)
    _add_page(app)
    app.add_middleware(SpeaksTus)
    app.add_middleware(ReadersLeave)
    app.add_middleware(HeadIsGet)
    add_gate(app, keys, names)
    return app


def _make_places(total: int) -> Places:
    return Places("too_many_uploads", total=total, per_caller=MAX_BODIES_PER_CALLER)


async def _on_system_error(_: Request, error: Exception) -> JSONResponse:
    """A full disk, or one that fails: nothing of it is told but that."""
    return respond(as_problem(error))


def _add_page(app: FastAPI) -> None:
    app.mount("/web", StaticFiles(directory=WEB), name="web")

    @app.get("/healthz", include_in_schema=False)
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(WEB / "ceremony.html", media_type="text/html")


class SpeaksTus:
    """ASGI middleware: every answer about an upload names the version of tus, refusals too."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].endswith("/upload"):
            await self.app(scope, receive, send)
            return

        async def send_version(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Tus-Resumable"] = TUS_VERSION
            await send(message)

        await self.app(scope, receive, send_version)
