"""What routes share: who calls, and what the caller may still do in this second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Path, Request, Security
from fastapi.security import HTTPBearer

from api.auth import Caller, KeyRing, Scope
from api.chain_history import ChainHistory
from api.limits import RateLimits, StreamLimits
from api.problems import ApiProblem
from api.service import ServiceBackend

_bearer = HTTPBearer(
    auto_error=False, scheme_name="ApiKey", description="`Authorization: Bearer KEY`"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """What one application holds for its routes."""

    backend: ServiceBackend
    keys: KeyRing
    rates: RateLimits
    streams: StreamLimits
    chain: ChainHistory | None


def get_shell(request: Request) -> Shell:
    shell = request.app.state.shell
    assert isinstance(shell, Shell)
    return shell


ShellDep = Annotated[Shell, Depends(get_shell)]


def identify(shell: Shell, authorization: str | None, address: str) -> Caller:
    """The caller of a header. ApiProblem unauthorized; rate_limited for who guesses at keys."""
    caller = shell.keys.identify(authorization)
    if caller is None:
        shell.rates.admit("guess", address)
        raise ApiProblem("unauthorized", headers={"WWW-Authenticate": "Bearer"})
    return caller


def require(scope: Scope, rate: str) -> Callable[..., Caller]:
    """A dependency: the caller, known, allowed and within the rate."""

    def admit(request: Request, shell: ShellDep, _: Annotated[object, Security(_bearer)]) -> Caller:
        address = request.client.host if request.client else ""
        caller = identify(shell, request.headers.get("Authorization"), address)
        if not caller.may(scope):
            raise ApiProblem("forbidden", f"scope {scope.value} is needed")
        shell.rates.admit(rate, caller.name)
        return caller

    return admit


Reader = Annotated[Caller, Depends(require(Scope.READ, "read"))]
Submitter = Annotated[Caller, Depends(require(Scope.JOBS, "submit"))]
Verifier = Annotated[Caller, Depends(require(Scope.VERIFY, "verify"))]

JobId = Annotated[str, Path(pattern=r"^[0-9a-f]{16,64}$", description="from POST /v1/jobs")]
CircuitDigest = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
IdempotencyKey = Annotated[
    str | None,
    Header(
        pattern=r"^[A-Za-z0-9_.:-]{1,128}$",
        description="the same key with the same request is one job, however often it is sent",
    ),
]


def hold_stream(job_id: JobId, shell: ShellDep, caller: Reader) -> Iterator[Caller]:
    """A place among the open streams, given back when the response has ended.

    The job must be there: once a stream has begun its status cannot say otherwise.
    """
    shell.backend.get_job(caller, job_id)
    with shell.streams.hold(caller.name):
        yield caller


StreamReader = Annotated[Caller, Depends(hold_stream)]
