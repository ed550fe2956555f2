"""What routes share: who calls, and what the caller may still do in this second."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from pathlib import Path as FilePath
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Header, Path, Request, Response, Security, params
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer

from api.http.auth import Caller, KeyRing, Scope
from api.http.chain.history import ChainHistory
from api.http.limits import Places, RateLimits, Shares
from api.http.problems import ApiProblem
from api.http.service import Service

_ADMISSION = "admission"
_Endpoint = TypeVar("_Endpoint", bound=Callable[..., Any])
MAX_JSON_MARKS = 1 << 10
"""Brackets, braces and commas of a body. The schemas' requests have twenty."""

_bearer = HTTPBearer(
    auto_error=False, scheme_name="ApiKey", description="`Authorization: Bearer KEY`"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """What one application holds for its routes.

    experiments : the folder of `zkpot experiment`, if there is one to show
    """

    service: Service
    keys: KeyRing
    rates: RateLimits
    streams: Places
    verifications: Places
    imports: Places
    bodies: Shares  # bytes that are being received or worked on
    chain: ChainHistory | None
    experiments: FilePath | None


def get_shell(request: Request) -> Shell:
    shell = request.app.state.shell
    assert isinstance(shell, Shell)
    return shell


ShellDep = Annotated[Shell, Depends(get_shell)]


@dataclass(frozen=True, slots=True)
class Admission:
    """Who may use a route, and how often: declared with the route, see `GuardedRoute`.

    rate : kind of the request, of which a caller may send so many, see `api.http.app.RATES`
    """

    scope: Scope
    rate: str

    def __call__(self, endpoint: _Endpoint) -> _Endpoint:
        """Declares it, as a decorator of the function behind a route."""
        vars(endpoint)[_ADMISSION] = self
        return endpoint

    def admit(self, shell: Shell, request: Request) -> Caller:
        """The caller, known, allowed and within the rate.

        ApiProblem unauthorized, forbidden; rate_limited, also for who guesses at keys.
        """
        caller = shell.keys.identify(request.headers.get("Authorization"))
        if caller is None:
            shell.rates.admit("guess", request.client.host if request.client else "")
            raise ApiProblem("unauthorized", headers={"WWW-Authenticate": "Bearer"})
        if not caller.may(self.scope):
            raise ApiProblem("forbidden", f"scope {self.scope.value} is needed")
        shell.rates.admit(self.rate, caller.name)
        return caller


READERS = Admission(Scope.READ, "read")
SUBMITTERS = Admission(Scope.JOBS, "submit")
VERIFIERS = Admission(Scope.VERIFY, "verify")


class GuardedRoute(APIRoute):
    """A route that admits callers, and makes room, before it reads their body; JSON is parsed
    where it may hold no more than the schemas ask for. Its function declares the admission:

        @router.get("/queue")
        @READERS
        def view_queue(...

    A route that declares none cannot be made.

    The framework reads a body, up to 1 GiB of it onto the disk, before it asks a dependency. It
    parses JSON between all other requests, which wait meanwhile: seconds for millions of values.
    """

    @property
    def admission(self) -> Admission:
        """What the route declares. Raises KeyError when it declares nothing."""
        admission = vars(self.endpoint)[_ADMISSION]
        assert isinstance(admission, Admission)
        return admission

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle, admission = super().get_route_handler(), self.admission
        limit, takes_json = self.max_body_size, self._takes_json()

        async def guard(request: Request) -> Response:
            shell = get_shell(request)
            with ExitStack() as stack:
                try:
                    request.state.caller = caller = admission.admit(shell, request)
                    if limit is not None:
                        n_bytes = _read_length(request, limit)
                        stack.enter_context(shell.bodies.hold(caller.name, n_bytes))
                except ApiProblem as problem:
                    if limit is not None:
                        problem.headers["Connection"] = "close"  # its body is still on the way
                    raise
                if takes_json:
                    _require_plain(await request.body())
                return await handle(request)

        return guard

    def _takes_json(self) -> bool:
        field = self.body_field
        return field is not None and not isinstance(field.field_info, params.Form)


def _require_plain(raw: bytes) -> None:
    """ApiProblem for JSON of more values than any request has; work and memory: a look at it."""
    if sum(raw.count(mark) for mark in (b"[", b"{", b",")) > MAX_JSON_MARKS:
        raise ApiProblem(
            "malformed_request", f"more than {MAX_JSON_MARKS} brackets, braces and commas"
        )


def _read_length(request: Request, limit: int) -> int:
    """How long the body will be; the most that it may be when the client does not say.

    A length beside a transfer coding says nothing (RFC 9112, 6.3): the body is as long as it comes.
    """
    is_told = "Transfer-Encoding" not in request.headers
    length = request.headers.get("Content-Length", "") if is_told else ""
    return min(limit, int(length)) if re.fullmatch(r"[0-9]{1,15}", length) else limit


def make_router(prefix: str, *tags: str) -> APIRouter:
    """A router of guarded routes."""
    shown: list[str | Enum] = [*tags]
    guards = [Security(_bearer)]  # for the document; the routes ask for themselves
    return APIRouter(prefix=prefix, tags=shown, dependencies=guards, route_class=GuardedRoute)


def get_caller(request: Request) -> Caller:
    """Whom the route has admitted."""
    caller = request.state.caller
    assert isinstance(caller, Caller)
    return caller


CallerDep = Annotated[Caller, Depends(get_caller)]

JobId = Annotated[str, Path(pattern=r"^[0-9a-f]{16,64}$", description="from POST /v1/jobs")]
CircuitDigest = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
IdempotencyKey = Annotated[
    str | None,
    Header(
        pattern=r"^[A-Za-z0-9_.:-]{1,128}$",
        description="the same key with the same request is one job, however often it is sent",
    ),
]


def hold_stream(job_id: JobId, shell: ShellDep, caller: CallerDep) -> Iterator[Caller]:
    """A place among the open streams, given back when the response has ended.

    The job must be there: once a stream has begun its status cannot say otherwise.
    """
    shell.service.get_job(caller, job_id)
    with shell.streams.hold(caller.name):
        yield caller


StreamCaller = Annotated[Caller, Depends(hold_stream)]
