"""Routes of what jobs need and leave: models, data sets, circuits, verification, queue, workers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from anyio import to_thread
from fastapi import Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from api.http.importer import PixelNumbers, parse_numbers
from api.http.problems import ApiProblem, document
from api.http.routes.common import (
    READERS,
    SUBMITTERS,
    VERIFIERS,
    CallerDep,
    CircuitDigest,
    ShellDep,
    make_router,
)
from api.http.schemas import (
    CircuitList,
    CommitmentReceipt,
    DatasetList,
    DatasetName,
    DatasetReceipt,
    ImportReceipt,
    ModelReceipt,
    PixelText,
    PlanAnswer,
    PlanRequest,
    ProofStated,
    QueueView,
    VerifyAnswer,
    VerifyRequest,
    WorkerList,
)
from prover.keys.folder import CARD_NAME, VERIFYING_NAME

MAX_MODEL_BYTES = 1 << 26
MAX_DATASET_BYTES = 1 << 27
MAX_COMMITMENT_BYTES = 1 << 10
MAX_PLAN_BYTES = 1 << 10
MAX_PROOF_BYTES = 1 << 22
MAX_VERIFY_BYTES = 1 << 23
_OCTETS = "application/octet-stream"
_Route = TypeVar("_Route", bound=Callable[..., Any])

router = make_router("/v1")
_GUARDS = document("unauthorized", "forbidden", "rate_limited", "invalid_request", "unavailable")
_UPLOAD: dict[int | str, dict[str, Any]] = {
    **_GUARDS,
    **document("body_too_large", "unsupported_media_type", "bad_model", "bad_dataset", "refused"),
    **document("malformed_request", "too_many_uploads"),
}
_BINARY = {"content": {_OCTETS: {"schema": {"type": "string", "format": "binary"}}}}
_BODY = {"requestBody": {"required": True, **_BINARY}}


def _upload(
    path: str, summary: str, *, tag: str, max_bytes: int, problems: tuple[str, ...] = ()
) -> Callable[[_Route], _Route]:
    """A route that takes the bytes of a file, at most so many, and answers with a receipt, or with
    a problem that uploads have, or one of `problems`."""
    return router.post(
        path,
        status_code=201,
        tags=[tag],
        summary=summary,
        max_body_size=max_bytes,
        responses={**_UPLOAD, **document(*problems)},
        openapi_extra=_BODY,
    )


@_upload("/models", "Upload a quantized model", tag="models", max_bytes=MAX_MODEL_BYTES)
@SUBMITTERS
async def put_model(request: Request, shell: ShellDep, caller: CallerDep) -> ModelReceipt:
    """The bytes of a .zkq file. Only you can use it; it is deleted after its time to live."""
    raw = await _read_octets(request)
    return await run_in_threadpool(shell.service.put_model, caller, raw)


@_upload(
    "/models/onnx",
    "Import an ONNX network",
    tag="models",
    max_bytes=MAX_MODEL_BYTES,
    problems=("not_found",),
)
@SUBMITTERS
async def import_model(
    request: Request,
    shell: ShellDep,
    caller: CallerDep,
    dataset: Annotated[DatasetName, Query(description="to find a float network's scales on")],
    scale: Annotated[float | None, Query(gt=0, allow_inf_nan=False)] = None,
    mean: Annotated[PixelText, Query()] = "0",
    std: Annotated[PixelText, Query()] = "1",
) -> ImportReceipt:
    """The bytes of an ONNX file that is given (scale * pixel - mean) / std, by default pixels from
    0 to 1. Int8 networks (QDQ) keep their own scales."""
    try:
        pixels = PixelNumbers(scale=scale, mean=parse_numbers(mean), std=parse_numbers(std))
    except ValueError:
        raise ApiProblem("invalid_request", "mean and std are numbers, one or by channel") from None
    if any(n <= 0 for n in pixels.std):
        raise ApiProblem("invalid_request", "deviations are greater than 0")
    raw = await _read_octets(request)
    with shell.imports.hold(caller.name):
        return await to_thread.run_sync(
            shell.service.import_model,
            caller,
            raw,
            pixels,
            dataset,
            abandon_on_cancel=True,
            limiter=shell.imports.threads,
        )


@_upload("/datasets", "Upload samples", tag="datasets", max_bytes=MAX_DATASET_BYTES)
@SUBMITTERS
async def put_dataset(request: Request, shell: ShellDep, caller: CallerDep) -> DatasetReceipt:
    """A safetensors file with `images` uint8[N, ...] and `labels` uint8[N]."""
    raw = await _read_octets(request)
    return await run_in_threadpool(shell.service.put_dataset, caller, raw)


@_upload(
    "/commitments",
    "Upload a commitment with its blinding",
    tag="models",
    max_bytes=MAX_COMMITMENT_BYTES,
)
@SUBMITTERS
async def put_commitment(request: Request, shell: ShellDep, caller: CallerDep) -> CommitmentReceipt:
    """For proofs under a commitment made before: it hides the model from all but this service."""
    raw = await _read_octets(request)
    return await run_in_threadpool(shell.service.put_commitment, caller, raw)


@router.get("/datasets", tags=["datasets"], summary="Built-in samples", responses=_GUARDS)
@READERS
def list_datasets(shell: ShellDep) -> DatasetList:
    return shell.service.list_datasets()


@router.post(
    "/proofs",
    tags=["proofs"],
    summary="What a proof says",
    max_body_size=MAX_PROOF_BYTES,
    responses={
        **_GUARDS,
        **document("body_too_large", "unsupported_media_type", "malformed_request"),
        **document("too_many_uploads"),
    },
    openapi_extra=_BODY,
)
@VERIFIERS
async def describe_proof(request: Request, shell: ShellDep, caller: CallerDep) -> ProofStated:
    """The statements in the bytes of a proof, and the circuit they are about; not verified here."""
    raw = await _read_octets(request)
    return await run_in_threadpool(shell.service.describe_stated, raw)


@router.post(
    "/plan",
    tags=["jobs"],
    summary="What a job will take",
    max_body_size=MAX_PLAN_BYTES,
    responses={
        **_GUARDS,
        **document("not_found", "bad_dataset", "refused", "body_too_large"),
        **document("malformed_request", "too_many_uploads"),
    },
)
@SUBMITTERS
def plan(body: PlanRequest, shell: ShellDep, caller: CallerDep) -> PlanAnswer:
    """Rows, key, memory and seconds, before anything starts; nothing is kept of it."""
    return shell.service.plan(caller, body)


@router.get("/circuits", tags=["circuits"], summary="Circuits with a key", responses=_GUARDS)
@READERS
def list_circuits(shell: ShellDep) -> CircuitList:
    return shell.service.list_circuits()


@router.get(
    "/circuits/{digest}/verifying.key",
    tags=["circuits"],
    summary="The verifying half of a key",
    response_class=Response,
    responses={**_GUARDS, **document("not_found"), 200: _BINARY},
)
@READERS
def get_verifying_key(digest: CircuitDigest, shell: ShellDep) -> Response:
    """The verifying half: with circuit.json in one folder it is all that `zkpot verify --key`
    reads.
    """
    return Response(shell.service.get_circuit_file(digest, VERIFYING_NAME), media_type=_OCTETS)


@router.get(
    "/circuits/{digest}/circuit.json",
    tags=["circuits"],
    summary="What a circuit is, for verifiers",
    response_class=Response,
    responses={
        **_GUARDS,
        **document("not_found"),
        200: {"content": {"application/json": {"schema": {"type": "object"}}}},
    },
)
@READERS
def get_card(digest: CircuitDigest, shell: ShellDep) -> Response:
    raw = shell.service.get_circuit_file(digest, CARD_NAME)
    return Response(raw, media_type="application/json")


@router.post(
    "/verify",
    tags=["proofs"],
    summary="Verify a proof",
    max_body_size=MAX_VERIFY_BYTES,
    responses={
        **_GUARDS,
        **document("not_found", "bad_dataset", "refused", "invalid_request", "body_too_large"),
        **document("malformed_request", "too_many_uploads", "too_many_verifications"),
    },
)
@VERIFIERS
async def verify(body: VerifyRequest, shell: ShellDep, caller: CallerDep) -> VerifyAnswer:
    """Any bytes get a verdict. It says what was proven, not how the model was trained."""
    with shell.verifications.hold(caller.name):
        return await to_thread.run_sync(
            shell.service.verify,
            caller,
            body,
            abandon_on_cancel=True,
            limiter=shell.verifications.threads,
        )


@router.get("/queue", tags=["service"], summary="The queue at a glance", responses=_GUARDS)
@READERS
def view_queue(shell: ShellDep) -> QueueView:
    return shell.service.view_queue()


@router.get("/workers", tags=["service"], summary="Workers that are up", responses=_GUARDS)
@READERS
def view_workers(shell: ShellDep) -> WorkerList:
    return shell.service.view_workers()


async def _read_octets(request: Request) -> bytes:
    """The body of an upload, whole; its limit is the route's `max_body_size`."""
    kind = request.headers.get("Content-Type", _OCTETS).partition(";")[0].strip().lower()
    if kind != _OCTETS:
        raise ApiProblem("unsupported_media_type", f"{_OCTETS} is expected")
    return await request.body()
