"""Routes of jobs: submit, list, follow, fetch the proof, cancel."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Annotated

from anyio import to_thread
from fastapi import File, Form, Header, Query, Request, Response, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from api.http.problems import ApiProblem, document
from api.http.routes.common import (
    READERS,
    SUBMITTERS,
    CallerDep,
    IdempotencyKey,
    JobId,
    ShellDep,
    StreamCaller,
    make_router,
)
from api.http.schemas import MAX_DEADLINE_S, Job, JobList, JobRequest, ProofView
from api.queue.jobs import JobEvent, JobState, Priority

MAX_JOB_BYTES = 1 << 16
MAX_GROTH16_BYTES = MAX_ORDER_BYTES = 1 << 30
RETRY_S = 1
"""Seconds after which a new job is worth a look."""
STREAM_S = 300.0
"""An event stream ends after this; the client resumes with Last-Event-ID."""
_BLOCK_MS = 1000
_OCTETS = "application/octet-stream"

router = make_router("/v1/jobs", "jobs")
_GUARDS = document("unauthorized", "forbidden", "rate_limited", "invalid_request", "unavailable")
_ACCEPTED = {
    "headers": {
        "Location": {"description": "path of the job", "schema": {"type": "string"}},
        "Retry-After": {"description": "seconds to wait", "schema": {"type": "integer"}},
    }
}


@router.post(
    "",
    status_code=202,
    summary="Ask for a proof of accuracy",
    max_body_size=MAX_JOB_BYTES,
    responses={
        **document("unauthorized", "forbidden", "not_found", "in_flight", "body_too_large"),
        **document("idempotency_conflict", "bad_dataset", "refused", "invalid_request"),
        **document("malformed_request", "rate_limited", "queue_full", "unavailable"),
        **document("too_many_uploads", "quota_full"),
        202: _ACCEPTED,
    },
)
@SUBMITTERS
def submit(
    body: JobRequest,
    response: Response,
    shell: ShellDep,
    caller: CallerDep,
    idempotency_key: IdempotencyKey = None,
) -> Job:
    """202 with the job; follow `Location`, or its events."""
    return _accepted(shell.service.submit(caller, body, idempotency_key), response)


@router.post(
    "/groth16",
    status_code=202,
    summary="Ask for a Groth16 proof from snarkjs files",
    max_body_size=MAX_GROTH16_BYTES,
    responses={
        **document("unauthorized", "forbidden", "in_flight", "body_too_large"),
        **document("idempotency_conflict", "refused", "invalid_request"),
        **document("malformed_request", "rate_limited", "queue_full", "unavailable"),
        **document("too_many_uploads", "quota_full"),
        202: _ACCEPTED,
    },
)
@SUBMITTERS
async def submit_groth16(
    response: Response,
    shell: ShellDep,
    caller: CallerDep,
    zkey: Annotated[UploadFile, File(description="proving key, .zkey")],
    witness: Annotated[UploadFile, File(description="values of all wires, .wtns; private")],
    priority: Annotated[Priority, Form()] = Priority.NORMAL,
    idempotency_key: IdempotencyKey = None,
) -> Job:
    """The proof of the job is `proof.json` with its public inputs."""

    job = await run_in_threadpool(
        shell.service.submit_groth16,
        caller,
        zkey=zkey.file,
        witness=witness.file,
        priority=priority,
        idempotency_key=idempotency_key,
    )
    return _accepted(job, response)


@router.post(
    "/training",
    status_code=202,
    summary="Ask for proofs of training",
    max_body_size=MAX_ORDER_BYTES,
    responses={
        **document("unauthorized", "forbidden", "in_flight", "body_too_large"),
        **document("idempotency_conflict", "bad_order", "refused", "invalid_request"),
        **document("malformed_request", "rate_limited", "queue_full", "unavailable"),
        **document("too_many_uploads", "quota_full"),
        202: _ACCEPTED,
    },
)
@SUBMITTERS
async def submit_training(
    response: Response,
    shell: ShellDep,
    caller: CallerDep,
    order: Annotated[UploadFile, File(description="order of training proofs; private")],
    priority: Annotated[Priority, Form()] = Priority.NORMAL,
    deadline_s: Annotated[int | None, Form(ge=1, le=MAX_DEADLINE_S)] = None,
    idempotency_key: IdempotencyKey = None,
) -> Job:
    """A proof of each step that the order names, and of the export: the workers share them. The
    order is deleted with the end of the job; its proof is the file of a round's training."""

    job = await run_in_threadpool(
        shell.service.submit_training,
        caller,
        order=order.file,
        priority=priority,
        deadline_s=deadline_s,
        idempotency_key=idempotency_key,
    )
    return _accepted(job, response)


@router.get("", summary="Jobs, newest first", responses=_GUARDS)
@READERS
def list_jobs(
    shell: ShellDep,
    caller: CallerDep,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[str | None, Query(pattern=r"^[0-9a-f.:-]{1,96}$")] = None,
) -> JobList:
    """Your own; an admin sees everybody's. `before` is the `next` of an earlier answer."""
    return shell.service.list_jobs(caller, limit=limit, before=before)


@router.get("/{job_id}", summary="One job", responses={**_GUARDS, **document("not_found")})
@READERS
def get_job(job_id: JobId, shell: ShellDep, caller: CallerDep) -> Job:
    return shell.service.get_job(caller, job_id)


@router.delete("/{job_id}", summary="Cancel a job", responses={**_GUARDS, **document("not_found")})
@SUBMITTERS
def cancel(job_id: JobId, shell: ShellDep, caller: CallerDep) -> Job:
    """Cancels a job, also while it runs. One that has ended stays as it is."""
    return shell.service.cancel(caller, job_id)


@router.get(
    "/{job_id}/events",
    summary="Follow a job",
    response_class=EventSourceResponse,
    responses={**_GUARDS, **document("not_found", "too_many_streams", "rate_limited")},
)
@READERS
async def follow(
    job_id: JobId,
    shell: ShellDep,
    caller: StreamCaller,
    request: Request,
    # The server's ids are times in ms; above 2^64 it would refuse one in the middle of the stream.
    last_event_id: Annotated[str, Header(pattern=r"^([0-9]{1,19}-[0-9]{1,19})?$")] = "",
) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events, the last of type `end`; resumes behind `Last-Event-ID`."""
    after, ends_at = last_event_id or "0-0", time.monotonic() + STREAM_S

    def read() -> list[JobEvent] | None:
        """None when the job cannot be read; the end again for who has read all of it."""
        try:
            state = JobState(shell.service.get_job(caller, job_id).state)
            block_ms = 0 if state.is_end else _BLOCK_MS
            events = shell.service.read_events(caller, job_id, after=after, block_ms=block_ms)
        except ApiProblem:  # too late for a status; the client resumes
            return None
        if state.is_end and not events:
            return [JobEvent(after, "end", {"state": state.value})]
        return list(events)

    while time.monotonic() < ends_at and not await request.is_disconnected():
        found = await to_thread.run_sync(
            read, abandon_on_cancel=True, limiter=shell.streams.threads
        )
        for event in found or ():
            after = event.id
            yield ServerSentEvent(id=event.id, event=event.type, data=event.data)
        if found is None or any(event.type == "end" for event in found):
            return


@router.get(
    "/{job_id}/proof",
    summary="The proof of a job",
    response_class=Response,
    responses={
        **_GUARDS,
        **document("not_found", "not_ready", "gone"),
        200: {
            "description": "bytes for `zkpot verify`, or with Accept: application/json a view",
            "model": ProofView,
            "content": {_OCTETS: {"schema": {"type": "string", "format": "binary"}}},
        },
    },
)
@READERS
def get_proof(job_id: JobId, request: Request, shell: ShellDep, caller: CallerDep) -> Response:
    """Binary unless the Accept header asks for application/json."""
    if "application/json" in request.headers.get("Accept", ""):
        view = shell.service.describe_proof(caller, job_id)
        return JSONResponse(view.model_dump(mode="json"), headers={"Vary": "Accept"})
    raw = shell.service.get_proof(caller, job_id)
    return Response(
        raw,
        media_type=_OCTETS,
        headers={
            "Vary": "Accept",
            "Content-Disposition": f'attachment; filename="{job_id[:16]}.zkp"',
        },
    )


def _accepted(job: Job, response: Response) -> Job:
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    response.headers["Retry-After"] = str(RETRY_S)
    return job
