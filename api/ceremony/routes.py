"""Routes of a ceremony that is served. Uploads speak tus 1.0.0 (https://tus.io/protocols).

Of tus: the core, and the extensions checksum and expiration. An upload is not created: it belongs
to the ticket. Reading is everybody's; a ticket is its holder's, who shows its token.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from dataclasses import dataclass
from email.utils import formatdate
from ipaddress import ip_address, ip_network
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse
from pydantic import ValidationError
from starlette.requests import ClientDisconnect

from api.ceremony.checking import MAX_RECORD_BYTES
from api.ceremony.desk import Desk, Standing
from api.ceremony.schemas import (
    MAX_CHUNK_BYTES,
    CeremonyView,
    ContributionView,
    FileView,
    Joined,
    JoinRequest,
    TicketView,
    WorkView,
)
from api.ceremony.shelf import Shelf
from api.http.auth import KeyRing, Scope
from api.http.limits import Places, RateLimits
from api.http.problems import ApiProblem

TUS_VERSION = "1.0.0"
CHUNK_TYPE = "application/offset+octet-stream"
MAX_JOIN_BYTES = 1 << 10
_CHECKSUMS = ("sha1", "sha256")
_NUMBER = re.compile(r"[0-9]{1,15}", re.ASCII)
_CLOSE = {"Connection": "close"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hall:
    """What the application holds for its routes.

    keys   : of who may join; rates: requests of an address
    bodies : requests of who is at work whose bodies are in memory
    others : those of everybody else, who must not take places of who is at work
    """

    desk: Desk
    keys: KeyRing
    rates: RateLimits
    bodies: Places
    others: Places


def get_hall(request: Request) -> Hall:
    hall = request.app.state.hall
    assert isinstance(hall, Hall)
    return hall


HallDep = Annotated[Hall, Depends(get_hall)]
TicketPath = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")]
FileName = Annotated[str, Path(pattern=r"^[a-z0-9.-]{1,40}$")]
router = APIRouter(prefix="/v1/ceremony")


# -- who asks --------------------------------------------------------------------------------------


def name_address(host: str) -> str:
    """Whom an address counts as: of IPv6 the network, which one customer has whole."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    return str(ip_network((host, 64), strict=False)) if address.version == 6 else str(address)


def get_address(request: Request) -> str:
    return name_address(request.client.host) if request.client else ""


def admit_reader(request: Request, hall: HallDep) -> None:
    hall.rates.admit("read", get_address(request))


def admit_holder(request: Request, ticket_id: TicketPath, hall: HallDep) -> str:
    """The ticket's id, for who shows its token.

    ApiProblem rate_limited, also for who guesses; not_found, bad_token.
    """
    address = get_address(request)
    hall.rates.admit("hold", address)
    try:
        hall.desk.admit(ticket_id, _read_token(request))
    except ApiProblem:
        hall.rates.admit("guess", address)
        raise
    return ticket_id


Holder = Annotated[str, Depends(admit_holder)]
_READERS = [Depends(admit_reader)]


def _read_token(request: Request) -> str:
    return request.headers.get("Authorization", "").removeprefix("Bearer ")


def _name_caller(request: Request, hall: Hall) -> str:
    """Who may join, by key or address. ApiProblem unauthorized, forbidden, rate_limited."""
    address = get_address(request)
    hall.rates.admit("join", address)
    if hall.keys.is_open:
        return f"at {address}"
    caller = hall.keys.identify(request.headers.get("Authorization"))
    if caller is None:
        hall.rates.admit("guess", address)
        raise ApiProblem("unauthorized", headers={"WWW-Authenticate": "Bearer"})
    if not caller.may(Scope.CONTRIBUTE):
        raise ApiProblem("forbidden", f"scope {Scope.CONTRIBUTE.value} is needed")
    return f"key {caller.name}"


async def _read_body(request: Request, limit: int) -> bytes:
    """The body, of at most so many bytes. ApiProblem."""
    told = request.headers.get("Content-Length", "")
    raw = bytearray()
    if not (_NUMBER.fullmatch(told) and int(told) > limit):
        try:
            async for piece in request.stream():
                raw += piece
                if len(raw) > limit:
                    break
            else:
                return bytes(raw)
        except ClientDisconnect:
            raise ApiProblem("malformed_request", "the connection broke") from None
    raise ApiProblem("body_too_large", f"the limit is {limit} bytes", headers=_CLOSE)


# -- everybody's -----------------------------------------------------------------------------------


@router.get("", dependencies=_READERS)
def view_ceremony(hall: HallDep) -> CeremonyView:
    """The ceremony: who contributed, its files, who is at work and how many wait."""
    shelf, at_work, n_waiting = hall.desk.view()
    head = shelf.ceremony.transcript.head
    return CeremonyView(
        architecture=shelf.ceremony.card.architecture.name,
        circuit_digest=head.circuit_digest.hex(),
        place_0=shelf.places[0],
        place=shelf.places[-1],
        contributions=_list_contributions(shelf),
        files=tuple(
            FileView(name=name, n_bytes=file.n_bytes, sha256=file.digest)
            for name, file in shelf.files.items()
        ),
        state_bytes=shelf.state_bytes,
        at_work=None if at_work is None else _view_work(at_work),
        n_waiting=n_waiting,
        wait_s=hall.desk.estimate_s(n_waiting + (at_work is not None)),
        turn_s=hall.desk.limits.turn_s,
        needs_key=not hall.keys.is_open,
    )


def _list_contributions(shelf: Shelf) -> tuple[ContributionView, ...]:
    pairs = zip(shelf.names, shelf.places[1:], strict=True)
    return tuple(ContributionView(name=name, place=place) for name, place in pairs)


def _view_work(standing: Standing) -> WorkView:
    ticket = standing.ticket
    return WorkView(
        name=ticket.name, stage=ticket.stage, offset=standing.offset, left_s=standing.left_s
    )


@router.get("/files/{name}", response_class=FileResponse, dependencies=_READERS)
def get_file(
    name: FileName,
    request: Request,
    hall: HallDep,
    ticket: Annotated[str | None, Query(pattern=r"^[0-9a-f]{16}$")] = None,
) -> FileResponse:
    """A file, or a range of it; its ETag is its sha256.

    ticket : whose turn goes on by this; its holder shows the token
    """
    if ticket is not None:
        hall.desk.touch(admit_holder(request, ticket, hall))
    file = hall.desk.view()[0].files.get(name)
    try:
        if file is not None:
            return FileResponse(
                file.path,
                headers={"ETag": f'"{file.digest}"'},
                stat_result=file.path.stat(),
                media_type="application/octet-stream",
            )
    except FileNotFoundError:  # the ceremony just goes on
        pass
    raise ApiProblem("not_found", next_step="ask for /v1/ceremony, which names the files")


# -- tickets ---------------------------------------------------------------------------------------


@router.post("/tickets", status_code=201)
async def join(request: Request, hall: HallDep) -> Joined:
    """A ticket at the end of the queue."""
    caller = _name_caller(request, hall)
    with hall.others.hold(caller):
        raw = await _read_body(request, MAX_JOIN_BYTES)
    try:
        asked = JoinRequest.model_validate_json(raw)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from None
    standing, token = await to_thread.run_sync(hall.desk.join, asked.name, caller)
    return Joined(token=token, ticket=_view_ticket(standing, hall))


@router.get("/tickets/{ticket_id}")
def view_ticket(ticket_id: Holder, hall: HallDep) -> TicketView:
    """How the ticket stands. Who waits asks every `poll_s`, or is passed over."""
    return _view_ticket(hall.desk.see(ticket_id), hall)


@router.delete("/tickets/{ticket_id}", status_code=204)
def leave(ticket_id: Holder, hall: HallDep) -> Response:
    """Gives the ticket up."""
    hall.desk.leave(ticket_id)
    return Response(status_code=204)


@router.post("/tickets/{ticket_id}/contribution", status_code=202)
async def hand_in(ticket_id: Holder, request: Request, hall: HallDep) -> TicketView:
    """The contribution to the state that is uploaded, whole; the ticket says what becomes of it."""
    try:
        is_at_work = await to_thread.run_sync(hall.desk.may_hand_in, ticket_id)
    except ApiProblem as problem:
        problem.headers |= _CLOSE
        raise
    with (hall.bodies if is_at_work else hall.others).hold(ticket_id):
        raw = await _read_body(request, MAX_RECORD_BYTES)
    return _view_ticket(await to_thread.run_sync(hall.desk.hand_in, ticket_id, raw), hall)


def _view_ticket(standing: Standing, hall: Hall) -> TicketView:
    ticket, shelf = standing.ticket, hall.desk.shelf
    return TicketView(
        id=ticket.id,
        stage=ticket.stage,
        detail=ticket.detail,
        place=shelf.places[-1],
        n_ahead=standing.n_ahead,
        wait_s=standing.wait_s,
        left_s=standing.left_s,
        offset=standing.offset,
        state_bytes=shelf.state_bytes,
    )


# -- uploads ---------------------------------------------------------------------------------------


@router.options("/tickets/{ticket_id}/upload")
def describe_upload(hall: HallDep) -> Response:
    """What of tus is spoken."""
    return Response(
        status_code=204,
        headers={
            "Tus-Version": TUS_VERSION,
            "Tus-Extension": "checksum,expiration",
            "Tus-Checksum-Algorithm": ",".join(_CHECKSUMS),
            "Tus-Max-Size": str(hall.desk.shelf.state_bytes),
        },
    )


@router.get("/tickets/{ticket_id}/upload")
def measure_upload(ticket_id: Holder, request: Request, hall: HallDep) -> Response:
    """How far the upload came; HEAD is answered as GET is."""
    _require_tus(request)
    standing = hall.desk.see(ticket_id)
    length = {"Upload-Length": str(hall.desk.shelf.state_bytes)}
    return Response(status_code=200, headers=_tell_offset(standing) | length)


@router.patch("/tickets/{ticket_id}/upload", status_code=204)
async def upload(ticket_id: Holder, request: Request, hall: HallDep) -> Response:
    """The next bytes of the upload, MAX_CHUNK_BYTES at the most."""
    _require_tus(request)
    if request.headers.get("Content-Type", "") != CHUNK_TYPE:
        raise ApiProblem("unsupported_media_type", f"a chunk is {CHUNK_TYPE}", headers=_CLOSE)
    offset = _read_number(request, "Upload-Offset")
    n_bytes = request.headers.get("Content-Length", "")
    told = int(n_bytes) if _NUMBER.fullmatch(n_bytes) else 0
    try:
        await to_thread.run_sync(hall.desk.require_room, ticket_id, offset, told)
        with hall.bodies.hold(ticket_id):
            chunk = await _read_body(request, MAX_CHUNK_BYTES)
            _require_checksum(request, chunk)
            standing = await to_thread.run_sync(hall.desk.write, ticket_id, offset, chunk)
    except ApiProblem as problem:
        problem.headers |= _CLOSE  # its body may still be on the way
        raise
    return Response(status_code=204, headers=_tell_offset(standing))


def _tell_offset(standing: Standing) -> dict[str, str]:
    expires = formatdate(time.time() + standing.left_s, usegmt=True)
    return {"Upload-Offset": str(standing.offset), "Upload-Expires": expires}


def _require_tus(request: Request) -> None:
    if request.headers.get("Tus-Resumable") != TUS_VERSION:
        raise ApiProblem(
            "unsupported_version", headers={"Tus-Version": TUS_VERSION, "Connection": "close"}
        )


def _read_number(request: Request, header: str) -> int:
    text = request.headers.get(header, "")
    if not _NUMBER.fullmatch(text):
        raise ApiProblem("malformed_request", f"{header} is no number", headers=_CLOSE)
    return int(text)


def _require_checksum(request: Request, chunk: bytes) -> None:
    """ApiProblem for a chunk that is not what `Upload-Checksum`, if it was sent, says."""
    told = request.headers.get("Upload-Checksum")
    if told is None:
        return
    name, _, value = told.partition(" ")
    try:
        digest = base64.b64decode(value, validate=True)
    except ValueError:  # no base64, or no ASCII
        digest = b""
    if name not in _CHECKSUMS or not digest:
        raise ApiProblem(
            "malformed_request", f"Upload-Checksum is {' or '.join(_CHECKSUMS)}, then base64"
        )
    if not hmac.compare_digest(hashlib.new(name, chunk).digest(), digest):
        raise ApiProblem("checksum_mismatch")
