"""The desk of a ceremony: who contributes next, what is uploaded, and what becomes of it.

What is accepted is in the folder as after `zkpot ceremony contribute`: the new state first, under
its own name, then the transcript that names it. Until the ticket is `accepted` on the disk, its
record is there, and a desk that opens goes on from where the last one ended, whatever ended it.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from hashlib import sha256
from pathlib import Path
from threading import Event, RLock
from typing import Any, Concatenate, ParamSpec, TypeVar

from api.ceremony.checking import MAX_RECORD_BYTES, require_next
from api.ceremony.journal import Journal
from api.ceremony.queue import Limits, Queue, Stage, Ticket
from api.ceremony.shelf import Shelf
from api.errors import Audience, describe
from api.http.problems import ApiProblem
from kernels.backend import Backend
from kernels.files import move_whole, write_whole
from prover.ceremony.own.finish import read_transcript
from prover.ceremony.own.record import MAX_CONTRIBUTIONS, Transcript
from prover.errors import CeremonyInvalid
from prover.keys.folder import TRANSCRIPT_NAME
from prover.randomness import RandomBytes

ID_BYTES, TOKEN_BYTES = 8, 32
MAX_DETAIL = 1000
_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A ticket, and what its holder is told of it; times in seconds.

    offset : bytes that are uploaded; n_ahead: tickets before it; wait_s: as long as they may take
    """

    ticket: Ticket
    offset: int
    n_ahead: int
    wait_s: float | None
    left_s: float


def _locked(method: Callable[Concatenate[Desk, _P], _T]) -> Callable[Concatenate[Desk, _P], _T]:
    """One thread at a time, and the queue as it is at this moment."""

    @wraps(method)
    def run(desk: Desk, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        with desk._lock:
            desk._tick()
            return method(desk, *args, **kwargs)

    return run


class Desk:
    """One ceremony that is served. From any thread."""

    def __init__(
        self,
        folder: Path,
        *,
        limits: Limits,
        backend: Backend,
        clock: Callable[[], float],
        random_bytes: RandomBytes,
        log: Any,
    ) -> None:
        """Goes on from where the folder was left. Raises FormatError, OSError.

        clock        : seconds, never backwards
        random_bytes : cryptographic; tokens are drawn of it
        """
        self._folder, self._backend, self._log = folder, backend, log
        self._clock, self._random_bytes = clock, random_bytes
        self._lock, self._work = RLock(), Event()
        self.shelf = Shelf.load(folder)
        self._journal = Journal(folder)
        self._queue: Queue = self._journal.load(limits, clock())
        self._recover()

    # -- tickets -----------------------------------------------------------------------------------

    @property
    def limits(self) -> Limits:
        return self._queue.limits

    @_locked
    def join(self, name: str, caller: str) -> tuple[Standing, str]:
        """A new ticket, and its token. ApiProblem `queue_full`, `quota_full`, `conflict`."""
        if len(self.shelf.places) > MAX_CONTRIBUTIONS:
            raise ApiProblem("conflict", f"the ceremony has {MAX_CONTRIBUTIONS} contributions")
        ticket_id = self._random_bytes(ID_BYTES).hex()
        token = self._random_bytes(TOKEN_BYTES).hex()
        ticket = Ticket(id=ticket_id, token_digest=_digest(token), name=name, caller=caller)
        self._queue.join(ticket, self._clock())
        self._log.info("joined", ticket=ticket_id)
        self._tick()
        self._journal.save(self._queue)
        return self._stand(self._find(ticket_id)), token

    @_locked
    def admit(self, ticket_id: str, token: str) -> Ticket:
        """The ticket of a holder. ApiProblem `not_found`, `bad_token`."""
        ticket = self._find(ticket_id)
        if not hmac.compare_digest(ticket.token_digest, _digest(token)):
            raise ApiProblem("bad_token", headers={"WWW-Authenticate": "Bearer"})
        return ticket

    @_locked
    def see(self, ticket_id: str) -> Standing:
        """How the ticket of a holder, who asks, stands."""
        if self._find(ticket_id).is_active:
            self._queue.see(ticket_id, self._clock())
            self._tick()
        return self._stand(self._find(ticket_id))

    @_locked
    def touch(self, ticket_id: str) -> None:
        """The holder downloads."""
        self._queue.move(ticket_id, self._clock())

    @_locked
    def leave(self, ticket_id: str) -> None:
        """The holder gives up; ApiProblem `conflict` while the contribution is checked."""
        ticket = self._find(ticket_id)
        if ticket.stage is Stage.CHECKING:
            raise ApiProblem("conflict", "what was uploaded is being checked")
        if ticket.is_active:
            self._end(ticket, Stage.LEFT, "")

    @_locked
    def view(self) -> tuple[Shelf, Standing | None, int]:
        """The ceremony, who is at work, and how many wait."""
        at_work = self._queue.at_work
        return (
            self.shelf,
            None if at_work is None else self._stand(at_work),
            len(self._queue.waiting),
        )

    @_locked
    def estimate_s(self, n_ahead: int) -> float | None:
        """How long so many turns take."""
        return self._queue.estimate_s(n_ahead)

    # -- uploads -----------------------------------------------------------------------------------

    @_locked
    def require_room(self, ticket_id: str, offset: int, n_bytes: int) -> None:
        """Returns where so many bytes may be uploaded from an offset on.

        ApiProblem `not_your_turn`, `gone`, `offset_mismatch`, `body_too_large`.
        """
        _require_turn(self._find(ticket_id))
        size = self._journal.measure(ticket_id)
        if size != offset:
            raise ApiProblem("offset_mismatch", f"it goes on at {size}")
        if offset + n_bytes > self.shelf.state_bytes:
            raise ApiProblem(
                "body_too_large", f"the file has {self.shelf.state_bytes} bytes, as all states have"
            )

    @_locked
    def write(self, ticket_id: str, offset: int, chunk: bytes) -> Standing:
        """Puts a chunk behind what was uploaded. ApiProblem as `require_room`; OSError."""
        self.require_room(ticket_id, offset, len(chunk))
        self._journal.append(ticket_id, offset, chunk)
        if chunk:
            self._queue.move(ticket_id, self._clock())
        return self._stand(self._find(ticket_id))

    @_locked
    def may_hand_in(self, ticket_id: str) -> bool:
        """Whether the ticket is the one at work; False: it was, and is told what became of it.

        ApiProblem `not_your_turn`, `gone` for all others.
        """
        ticket = self._find(ticket_id)
        if ticket.stage in (Stage.ACCEPTED, Stage.REFUSED):
            return False
        if ticket.stage is not Stage.CHECKING:
            _require_turn(ticket)
        return True

    @_locked
    def hand_in(self, ticket_id: str, record: bytes) -> Standing:
        """The contribution to the state that is uploaded; whoever does so twice is told the same.

        ApiProblem `not_your_turn`, `gone`, `offset_mismatch`, `body_too_large`; OSError.
        """
        ticket = self._find(ticket_id)
        if ticket.stage in (Stage.CHECKING, Stage.ACCEPTED, Stage.REFUSED):
            return self._stand(ticket)
        _require_turn(ticket)
        size = self._journal.measure(ticket_id)
        if size != self.shelf.state_bytes:
            raise ApiProblem("offset_mismatch", f"{size} of {self.shelf.state_bytes} bytes came")
        if len(record) > MAX_RECORD_BYTES:
            raise ApiProblem("body_too_large", f"the limit is {MAX_RECORD_BYTES} bytes")
        write_whole(self._journal.record(ticket_id), [record])
        self._queue.check(ticket_id, self.shelf.places[-1])
        self._work.set()  # also if it cannot be saved: what is checked is never late
        self._journal.save(self._queue)
        return self._stand(self._find(ticket_id))

    # -- checking ----------------------------------------------------------------------------------

    def run(self, stop: Event) -> None:
        """Checks what is handed in until `stop` is set, which `wake` makes seen."""
        while not stop.is_set():
            self._work.wait()
            self._work.clear()
            while not stop.is_set() and self.check_next():
                pass

    def wake(self) -> None:
        """Lets `run` look at its `stop`."""
        self._work.set()

    def check_next(self) -> bool:
        """Checks what was handed in, without keeping others from the desk; False if nothing was.

        Raises OSError, MemoryError for a contribution that holds and cannot be put into the folder:
        it is there, and a desk that opens when there is room accepts it.
        """
        with self._lock:
            ticket, shelf = self._queue.at_work, self.shelf
            if ticket is None or ticket.stage is not Stage.CHECKING:
                return False
        record, holds = b"", False
        try:
            record = self._journal.record(ticket.id).read_bytes()
            state = self._find_state(ticket, shelf)
            after = require_next(shelf.ceremony, ticket.name, record, state, self._backend)
            holds = True
            self._accept(ticket, shelf, after, state)
        except Exception as error:  # of bytes from strangers: the turn ends, and not the desk
            if self._is_there(ticket, record):
                return True
            if holds and isinstance(error, OSError | MemoryError):
                raise
            told = describe(error, Audience.CALLER)
            with self._lock:
                self._end(ticket, Stage.REFUSED, _shorten(f"{told.code}: {told.text}"))
        return True

    def _accept(self, ticket: Ticket, shelf: Shelf, after: Transcript, state: Path) -> None:
        """Raises CeremonyInvalid when the folder went on without this desk; OSError."""
        with self._lock:
            there = read_transcript(self._folder / TRANSCRIPT_NAME)
            if there.digest != shelf.ceremony.transcript.digest:
                raise CeremonyInvalid("somebody contributed before, by file: it is of an old state")
            goal = shelf.ceremony.next_state
            if state != goal:
                move_whole(state, goal)
            shelf.ceremony.advance(after)
        found = Shelf.load(self._folder)
        with self._lock:
            self.shelf = found
            self._end(ticket, Stage.ACCEPTED, found.places[-1])

    def _is_there(self, ticket: Ticket, record: bytes) -> bool:
        """Whether the folder has the contribution even so; then the turn has ended well."""
        with self._lock:
            self._reload()
            behind = self.shelf.find_behind(ticket.behind, record)
            if behind is not None:
                self._end(ticket, Stage.ACCEPTED, behind)
            return behind is not None

    def _reload(self) -> None:
        """The folder, where it went on without this desk."""
        there = read_transcript(self._folder / TRANSCRIPT_NAME)
        if there.digest != self.shelf.ceremony.transcript.digest:
            self.shelf = Shelf.load(self._folder)

    # -- within ------------------------------------------------------------------------------------

    def _recover(self) -> None:
        """What the last desk had under way goes on."""
        ticket = self._queue.at_work
        self._journal.sweep([] if ticket is None else [ticket.id])
        if ticket is None or ticket.stage is not Stage.CHECKING:
            return
        record = self._journal.record(ticket.id)
        raw = record.read_bytes() if record.exists() else b""
        if self._is_there(ticket, raw):
            return
        if raw and self._find_state(ticket, self.shelf).exists():
            self._work.set()
        else:
            self._journal.drop_upload(ticket.id)
            self._queue.work_again(ticket.id, self._clock())

    def _find_state(self, ticket: Ticket, shelf: Shelf) -> Path:
        """What was uploaded; in its place already where the last server ended just then."""
        part = self._journal.part(ticket.id)
        return part if part.exists() else shelf.ceremony.next_state

    def _tick(self) -> None:
        changed = self._queue.tick(self._clock())
        for ticket in changed:
            self._log.info("turn", ticket=ticket.id, stage=ticket.stage.value)
            if not ticket.is_active:
                self._journal.drop_upload(ticket.id)
        if changed:
            self._journal.save(self._queue)

    def _end(self, ticket: Ticket, stage: Stage, detail: str) -> None:
        """The end of a ticket, on the disk before its upload goes."""
        self._queue.end(ticket.id, stage, detail, self._clock())
        self._journal.save(self._queue)
        self._journal.drop_upload(ticket.id)
        self._log.info("ended", ticket=ticket.id, stage=stage.value, detail=detail)
        self._tick()

    def _find(self, ticket_id: str) -> Ticket:
        ticket = self._queue.find(ticket_id)
        if ticket is None:
            raise ApiProblem("not_found", next_step="join the queue again")
        return ticket

    def _stand(self, ticket: Ticket) -> Standing:
        n_ahead = self._queue.count_ahead(ticket)
        return Standing(
            ticket=ticket,
            offset=self._journal.measure(ticket.id) if ticket.is_active else 0,
            n_ahead=n_ahead,
            wait_s=self._queue.estimate_s(n_ahead),
            left_s=self._queue.left_s(ticket, self._clock()),
        )


def _require_turn(ticket: Ticket) -> None:
    if ticket.stage is Stage.WORKING:
        return
    if ticket.is_active:
        raise ApiProblem("not_your_turn", f"the ticket is {ticket.stage.value}")
    told = f"the ticket is {ticket.stage.value}"
    raise ApiProblem("gone", told, next_step="join the queue again")


def _shorten(text: str) -> str:
    """A line for a terminal: names in it are strangers' words."""
    return "".join(c if c.isprintable() else "?" for c in text[:MAX_DETAIL])


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogateescape")).digest()
