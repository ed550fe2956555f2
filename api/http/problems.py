"""Refusals of the HTTP service: application/problem+json (RFC 9457) with stable codes.

A code never changes its meaning; `next_step` says what the caller can do. Nothing here repeats what
the caller sent: a body may hold private weights, a header a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from redis import RedisError
from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import MAX_BODY_SIZE_SCOPE_KEY
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import ApiError, Audience, RecordInvalid, StoreFull, UploadGone, describe
from consensus.errors import SealError
from federated.errors import FederatedError
from prover.errors import ProverError

MEDIA_TYPE = "application/problem+json"
MAX_FIELD_ERRORS = 16


class FieldError(BaseModel):
    """One field of a request that is not as the schema asks."""

    where: str = Field(description="path of the field", examples=["body.n_samples"])
    what: str = Field(description="what is wrong with it", examples=["greater_than_equal"])


class Problem(BaseModel):
    """Why a request was refused, and what to do next."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:zkpot:problem:queue_full",
                    "title": "The queue is full",
                    "status": 429,
                    "code": "queue_full",
                    "detail": "10000 jobs wait",
                    "next_step": "send the request again after Retry-After seconds",
                }
            ]
        }
    )

    type: str = Field(description="urn:zkpot:problem: and the code")
    title: str
    status: int
    code: str = Field(description="stable, for machines")
    detail: str = ""
    next_step: str
    errors: list[FieldError] = Field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Kind:
    """What all problems of one code share."""

    status: int
    title: str
    next_step: str


KINDS: Mapping[str, Kind] = {
    "invalid_request": Kind(
        422, "The request does not fit the schema", "correct the fields under `errors`"
    ),
    "malformed_request": Kind(
        400, "The request cannot be read", "send what the OpenAPI document describes"
    ),
    "unauthorized": Kind(
        401, "No valid API key", "send `Authorization: Bearer KEY`; `zkpot api-key` makes one"
    ),
    "forbidden": Kind(403, "The API key lacks a scope", "use a key with the scope in `detail`"),
    "unknown_host": Kind(
        403,
        "Without API keys, only this machine's names are served, and no pages of other sites",
        "ask for http://127.0.0.1, give the service its name with --name, or make API keys",
    ),
    "not_found": Kind(404, "There is no such thing", "check the id; results expire"),
    "method_not_allowed": Kind(
        405, "The method is not allowed here", "use a method of the Allow header"
    ),
    "too_slow": Kind(408, "The body stood still for too long", "send the request again"),
    "conflict": Kind(409, "The state does not allow this", "read the resource, then decide"),
    "not_ready": Kind(409, "The job has no proof", "follow the job's events until it is done"),
    "idempotency_conflict": Kind(
        422, "The idempotency key was used for another request", "send a new Idempotency-Key"
    ),
    "in_flight": Kind(
        409, "A request with this idempotency key is under way", "send it again in a second"
    ),
    "gone": Kind(410, "It has expired", "submit the job again"),
    "body_too_large": Kind(413, "The body is too large", "send less; `detail` names the limit"),
    "unsupported_media_type": Kind(
        415, "The media type is not supported", "use the one of the OpenAPI document"
    ),
    "headers_too_large": Kind(431, "The headers are too large", "send shorter headers"),
    "rate_limited": Kind(429, "Too many requests", "wait for Retry-After seconds"),
    "queue_full": Kind(
        429, "The queue is full", "send the request again after Retry-After seconds"
    ),
    "quota_full": Kind(
        429,
        "Your share of the service is used up",
        "send the request again after Retry-After seconds, or ask the operator for a larger share",
    ),
    "too_many_streams": Kind(
        429, "Too many event streams are open", "close one, or read the job from time to time"
    ),
    "too_many_uploads": Kind(
        429, "Too much is being uploaded", "send the request again after Retry-After seconds"
    ),
    "too_many_verifications": Kind(
        429, "Too many verifications are under way", "ask again after Retry-After seconds"
    ),
    "bad_token": Kind(
        401, "The token is not this ticket's", "send the `token` that joining the queue gave"
    ),
    "not_your_turn": Kind(
        409, "It is not this ticket's turn", "ask for the ticket until its stage is `working`"
    ),
    "offset_mismatch": Kind(
        409, "The upload goes on elsewhere", "ask for Upload-Offset by HEAD, and go on from there"
    ),
    "unsupported_version": Kind(
        412, "Another version of tus is spoken here", "send `Tus-Resumable: 1.0.0`"
    ),
    "range_not_satisfiable": Kind(
        416, "The file has no such range", "ask for a range within the file's size"
    ),
    "checksum_mismatch": Kind(
        460, "The chunk is not what its checksum says", "send the chunk again, from the same offset"
    ),
    "bad_model": Kind(422, "The bytes are no quantized model", "upload a .zkq file"),
    "bad_dataset": Kind(
        422, "The samples cannot be used", "name samples such as mnist:test[0:1024]"
    ),
    "bad_order": Kind(
        422,
        "The bytes are no order of training proofs",
        "write the order again from the files of `zkpot train --provable`",
    ),
    "refused": Kind(422, "The request cannot be carried out", "read `detail`"),
    "internal": Kind(500, "The service failed", "report the X-Request-ID of this response"),
    "unavailable": Kind(503, "The queue cannot be reached", "try again in a few seconds"),
}

_BY_STATUS = {
    400: "malformed_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "body_too_large",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
    422: "invalid_request",
    429: "rate_limited",
    503: "unavailable",
}


class ApiProblem(ApiError):
    """Raised by a route; becomes a problem+json response.

    code      : a key of `KINDS`
    detail    : what happened, with no private value
    next_step : overrides the one of the kind
    """

    code = "problem"

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        next_step: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.kind = KINDS[code]
        self.code, self.detail = code, detail
        self.next_step = next_step or self.kind.next_step
        self.headers = dict(headers or {})
        super().__init__(f"{code}: {detail}")


def respond(problem: ApiProblem, errors: list[FieldError] | None = None) -> JSONResponse:
    """The response of a problem."""
    body = Problem(
        type=f"urn:zkpot:problem:{problem.code}",
        title=problem.kind.title,
        status=problem.kind.status,
        code=problem.code,
        detail=problem.detail,
        next_step=problem.next_step,
        errors=errors or [],
    )
    return JSONResponse(
        body.model_dump(),
        status_code=problem.kind.status,
        media_type=MEDIA_TYPE,
        headers=problem.headers,
    )


_FAMILIES: tuple[tuple[type[Exception], str], ...] = (
    (StoreFull, "queue_full"),
    (UploadGone, "not_found"),
    (FederatedError, "bad_dataset"),
    (RecordInvalid, "refused"),
    (ProverError, "refused"),
    (SealError, "unavailable"),
    (RedisError, "unavailable"),
    (OSError, "unavailable"),
)
"""Errors whose own code is no code of a problem."""


def as_problem(error: Exception) -> ApiProblem:
    """An error as the service's callers see it."""
    told = describe(error, Audience.CALLER)
    families = (code for family, code in _FAMILIES if isinstance(error, family))
    code = told.code if told.code in KINDS else next(families, "internal")
    headers = {} if told.retry_s is None else {"Retry-After": str(told.retry_s)}
    return ApiProblem(code, told.text, headers=headers)


def document(*codes: str) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a route that may answer with these codes."""
    found: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        kind = KINDS[code]
        entry = found.setdefault(
            kind.status,
            {
                "description": HTTPStatus(kind.status).phrase,
                "content": {
                    MEDIA_TYPE: {
                        "schema": {"$ref": "#/components/schemas/Problem"},
                        "examples": {},
                    }
                },
            },
        )
        entry["content"][MEDIA_TYPE]["examples"][code] = {
            "value": {
                "type": f"urn:zkpot:problem:{code}",
                "title": kind.title,
                "status": kind.status,
                "code": code,
                "detail": "",
                "next_step": kind.next_step,
                "errors": [],
            }
        }
    return found


def install(app: FastAPI) -> None:
    """Every error of the application leaves as a problem."""
    app.add_exception_handler(ApiProblem, _on_problem)
    app.add_exception_handler(ProverError, _on_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(Exception, _on_failure)


class OnlyProblems:
    """ASGI middleware: plain-text refusals of the framework (body limits) leave as problems."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        replaced = False

        async def send_problem(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start" and message["status"] >= 400:
                kind = dict(message["headers"]).get(b"content-type", b"")
                code = _BY_STATUS.get(message["status"])
                if kind.startswith(b"text/plain") and code is not None:
                    replaced = True
                    await respond(ApiProblem(code, _describe(code, scope)))(scope, receive, send)
            if not replaced:
                await send(message)

        await self.app(scope, receive, send_problem)


def _describe(code: str, scope: Scope) -> str:
    """The detail of a refusal of the framework."""
    limit = scope.get(MAX_BODY_SIZE_SCOPE_KEY)
    return f"the limit is {limit} bytes" if code == "body_too_large" else ""


async def _on_problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiProblem)
    return respond(error)


async def _on_error(_: Request, error: Exception) -> JSONResponse:
    return respond(as_problem(error))


async def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = _BY_STATUS.get(error.status_code, "malformed_request")
    detail = _describe(code, request.scope)
    return respond(ApiProblem(code, detail, headers=error.headers))


async def _on_validation_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    errors = [
        FieldError(where=".".join(str(part)[:64] for part in e["loc"])[:256], what=e["type"])
        for e in error.errors()[:MAX_FIELD_ERRORS]
    ]
    return respond(ApiProblem("invalid_request"), errors)


async def _on_failure(_: Request, error: Exception) -> JSONResponse:
    return respond(ApiProblem("internal"))
