"""The HTTP application: routes, limits, metrics and the page, around a `Service`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from fastapi.openapi.utils import get_openapi
from fastapi.responses import FileResponse
from prometheus_client import CollectorRegistry
from prometheus_fastapi_instrumentator import Instrumentator
from starlette.staticfiles import StaticFiles

from api.http import problems
from api.http.auth import KeyRing
from api.http.chain.history import ChainHistory
from api.http.gate import HeadIsGet, ReadersLeave, add_gate
from api.http.headers import EXPERIMENTS_PAGE, WEB
from api.http.limits import Places, RateLimits, Shares
from api.http.problems import Problem, document
from api.http.routes import chain as routes_chain
from api.http.routes import experiments as routes_experiments
from api.http.routes import jobs as routes_jobs
from api.http.routes import stock as routes_stock
from api.http.routes.common import Shell, ShellDep
from api.http.schemas import Health
from api.http.service import Service
from kernels.versions import find_own_version

RATES = {"read": "400/second", "submit": "60/second", "verify": "10/second", "guess": "5/second"}
MAX_STREAMS = 256
MAX_STREAMS_PER_CALLER = 64
MAX_VERIFICATIONS = 16
"""Under way or waiting for one of the pool's processes."""
MAX_VERIFICATIONS_PER_CALLER = 4
MAX_IMPORTS = 2
MAX_IMPORTS_PER_CALLER = 1
MAX_BODIES_BYTES = 2 << 30
"""Of all bodies under way: in memory, or of snarkjs files on the disk."""
MAX_BODIES_BYTES_PER_CALLER = 1 << 30
_DESCRIPTION = """Proofs of accuracy of private quantized models, as jobs.

1. `POST /v1/models` with the bytes of a .zkq file
2. `POST /v1/jobs` with the model's id and samples such as `mnist:test[0:1024]`
3. `GET /v1/jobs/{id}/events` until the job ends, then `GET /v1/jobs/{id}/proof`

Proofs of training are jobs likewise: `POST /v1/jobs/training` with an order of steps to prove.

Every refusal is `application/problem+json` with a stable `code` and the next step."""


def build_app(
    service: Service,
    *,
    keys: KeyRing,
    registry: CollectorRegistry,
    rates: dict[str, str] | None = None,
    chain: ChainHistory | None = None,
    names: Collection[str] = (),
    experiments: Path | None = None,
) -> FastAPI:
    """The application.

    registry : what /metrics shows; HTTP metrics are added to it
    rates    : requests per caller, by kind; see `RATES`
    chain    : the chain to show, if one is followed
    names    : by which a service without keys may be asked, besides localhost and addresses
    experiments : the folder of `zkpot experiment`, to show its reports
    """
    app = FastAPI(
        title="zkpot",
        version=find_own_version(),
        description=_DESCRIPTION,
        redoc_url=None,
    )
    app.state.shell = Shell(
        service=service,
        keys=keys,
        rates=RateLimits(**{**RATES, **(rates or {})}),
        streams=Places("too_many_streams", total=MAX_STREAMS, per_caller=MAX_STREAMS_PER_CALLER),
        verifications=Places(
            "too_many_verifications",
            total=MAX_VERIFICATIONS,
            per_caller=MAX_VERIFICATIONS_PER_CALLER,
        ),
        imports=Places("too_many_uploads", total=MAX_IMPORTS, per_caller=MAX_IMPORTS_PER_CALLER),
        bodies=Shares(
            "too_many_uploads", total=MAX_BODIES_BYTES, per_caller=MAX_BODIES_BYTES_PER_CALLER
        ),
        chain=chain,
        experiments=experiments,
    )
    problems.install(app)
    app.include_router(routes_jobs.router)
    app.include_router(routes_stock.router)
    app.include_router(routes_chain.router)
    app.include_router(routes_chain.open_router)
    app.include_router(routes_experiments.router)
    _add_probes(app)
    _add_page(app)
    app.add_middleware(ReadersLeave)
    app.add_middleware(HeadIsGet)
    Instrumentator(registry=registry, excluded_handlers=["/metrics"]).instrument(app).expose(
        app, include_in_schema=False
    )
    add_gate(app, keys, names)
    app.openapi = lambda: _describe(app)  # type: ignore[method-assign]
    return app


def _add_probes(app: FastAPI) -> None:
    @app.get("/healthz", tags=["service"], summary="The process is up")
    async def healthz() -> Health:
        return Health()

    @app.get(
        "/readyz",
        tags=["service"],
        summary="The queue takes writes",
        responses=document("unavailable"),
    )
    async def readyz(shell: ShellDep) -> Health:
        await run_in_threadpool(shell.service.ping)
        return Health()


def _add_page(app: FastAPI) -> None:
    app.mount("/web", StaticFiles(directory=WEB), name="web")

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(WEB / "index.html", media_type="text/html")

    @app.get(EXPERIMENTS_PAGE, include_in_schema=False)
    async def experiments_page() -> FileResponse:
        return FileResponse(WEB / "experiments.html", media_type="text/html")


def _describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document; its 422 answers are problems like all others."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        found = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        parts = schema.setdefault("components", {}).setdefault("schemas", {})
        parts.update(found.pop("$defs", {}))
        parts["Problem"] = found
        for name in ("HTTPValidationError", "ValidationError"):
            parts.pop(name, None)
        app.openapi_schema = schema
    return app.openapi_schema
