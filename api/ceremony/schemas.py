"""What a ceremony's server takes and gives, as JSON. Requests refuse unknown members."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints

from api.ceremony.queue import Stage
from api.http.schemas import Answer, Digest, Request

MAX_CHUNK_BYTES = 1 << 22
"""Of an upload: a chunk is looked at whole before a byte of it is written."""
POLL_S = 5
"""How often who waits asks."""

Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f-\x9f]{0,1000}$")]
"""Words for a terminal."""
ContributorName = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]{0,64}$")]
TicketId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
Token = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class JoinRequest(Request):
    """Who contributes, in words for all to read: the name that the contribution will have."""

    name: ContributorName = ""


class Told(Answer):
    """Numbers are finite."""

    model_config = ConfigDict(allow_inf_nan=False)


class FileView(Told):
    """A file of the ceremony; `GET /v1/ceremony/files/{name}`."""

    name: Line
    n_bytes: int = Field(ge=0)
    sha256: Digest


class ContributionView(Told):
    """Who contributed, in their own words, and the place behind it."""

    name: ContributorName
    place: Digest


class WorkView(Told):
    """Whose turn it is, and how far the upload came."""

    name: ContributorName
    stage: Stage
    offset: int
    left_s: float


class CeremonyView(Told):
    """A ceremony, and its queue.

    place  : the last one, which the next contribution goes behind
    state_bytes : of an upload; n_waiting: tickets behind the one at work
    wait_s : how long who joins now may wait; None: no turn has ended yet
    turn_s : after which a turn ends in which nothing moves
    """

    architecture: Line
    circuit_digest: Digest
    place_0: Digest
    place: Digest
    contributions: tuple[ContributionView, ...]
    files: tuple[FileView, ...]
    state_bytes: int
    at_work: WorkView | None
    n_waiting: int
    wait_s: float | None
    turn_s: float
    needs_key: bool


class TicketView(Told):
    """A ticket, as its holder sees it.

    place  : the one that the contribution has to be behind
    detail : of a ticket at its end: the place behind the contribution, or why there is none
    offset : bytes that are uploaded, of state_bytes
    left_s : until the ticket is late, if nothing moves; poll_s: when to ask again
    """

    id: TicketId
    stage: Stage
    detail: Line
    place: Digest
    n_ahead: int
    wait_s: float | None
    left_s: float
    poll_s: float = POLL_S
    offset: int
    state_bytes: int


class Joined(Told):
    """A new ticket, and its token, which is told once."""

    token: Token
    ticket: TicketView
