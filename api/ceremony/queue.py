"""Who contributes when: the queue of a ceremony. No clock, no disk: times are arguments.

    waiting -> working -> checking -> accepted | refused
    waiting | working -> late | left

A ticket is one turn of one contributor. One ticket at a time is `working`: it downloads, computes
and uploads. It is late when nothing of that moved for `turn_s`, or all of it took `longest_s`; and
so is one that waits and does not ask for its turn. Who is late may queue again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from api.http.problems import ApiProblem

_REMEMBERED = 8
"""Turns whose length tells how long others will wait."""


class Stage(StrEnum):
    """Where a ticket is."""

    WAITING = "waiting"
    WORKING = "working"
    CHECKING = "checking"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    LATE = "late"
    LEFT = "left"


ACTIVE = (Stage.WAITING, Stage.WORKING, Stage.CHECKING)
_AT_WORK = (Stage.WORKING, Stage.CHECKING)
_MAY_BE_LATE = (Stage.WAITING, Stage.WORKING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a turn takes, and how many wait.

    turn_s   : of a turn in which nothing moves; longest_turns: such spans of one in all
    seen_s   : who waits asks for its turn at least that often
    n_active : tickets that are not at an end; n_per_caller: of them, of one caller
    n_ended  : tickets at their end that are remembered
    """

    turn_s: float = 900.0
    longest_turns: int = 8
    seen_s: float = 120.0
    n_active: int = 256
    n_per_caller: int = 4
    n_ended: int = 256

    @property
    def longest_s(self) -> float:
        return self.longest_turns * self.turn_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """One turn of one contributor.

    token_digest : sha256 of what its holder shows
    caller  : key or address that asked for it; empty after a restart: addresses are on no disk
    behind  : while its contribution is checked: the place that it has to be behind
    detail  : the place behind an accepted contribution, or why there is none
    seen_at, turn_at, moved_at : seconds; when its holder last asked, its turn began, and something
              of it last moved
    """

    id: str
    token_digest: bytes
    name: str
    caller: str = ""
    stage: Stage = Stage.WAITING
    behind: str = ""
    detail: str = ""
    seen_at: float = 0.0
    turn_at: float = 0.0
    moved_at: float = 0.0

    @property
    def is_active(self) -> bool:
        return self.stage in ACTIVE


class Queue:
    """Tickets in the order in which they came. Not for several threads at once."""

    def __init__(
        self, limits: Limits, tickets: Iterable[Ticket] = (), spans: Iterable[float] = ()
    ) -> None:
        """spans : seconds of the last turns that ended well"""
        self.limits = limits
        self._tickets = {one.id: one for one in tickets}
        self._spans = list(spans)[-_REMEMBERED:]

    @property
    def tickets(self) -> tuple[Ticket, ...]:
        return tuple(self._tickets.values())

    @property
    def spans(self) -> tuple[float, ...]:
        return tuple(self._spans)

    @property
    def at_work(self) -> Ticket | None:
        """Whose turn it is."""
        return next((one for one in self._tickets.values() if one.stage in _AT_WORK), None)

    @property
    def waiting(self) -> list[Ticket]:
        return [one for one in self._tickets.values() if one.stage is Stage.WAITING]

    def find(self, ticket_id: str) -> Ticket | None:
        return self._tickets.get(ticket_id)

    def join(self, ticket: Ticket, now: float) -> None:
        """Puts a new ticket at the end. ApiProblem `queue_full`, `quota_full`."""
        active = [one for one in self._tickets.values() if one.is_active]
        if len(active) >= self.limits.n_active:
            raise ApiProblem("queue_full", f"{len(active)} contributors wait")
        mine = sum(one.caller == ticket.caller for one in active)
        if mine >= self.limits.n_per_caller:
            raise ApiProblem(
                "quota_full", f"{mine} contributors of this key, or at this address, wait already"
            )
        self._tickets[ticket.id] = replace(ticket, seen_at=now)

    def tick(self, now: float) -> list[Ticket]:
        """Who is late loses its turn, and the next one has it: the tickets that changed."""
        changed = [
            self._put(replace(one, stage=Stage.LATE, detail=why))
            for one in self.tickets
            if (why := self._find_lateness(one, now))
        ]
        if self.at_work is None and self.waiting:
            first = replace(self.waiting[0], stage=Stage.WORKING, turn_at=now, moved_at=now)
            changed.append(self._put(first))
        self._forget()
        return changed

    def see(self, ticket_id: str, now: float) -> None:
        """The holder asked for its ticket."""
        self._put(replace(self._tickets[ticket_id], seen_at=now))

    def move(self, ticket_id: str, now: float) -> None:
        """Something of a turn moved."""
        one = self._tickets[ticket_id]
        if one.stage is Stage.WORKING:
            self._put(replace(one, moved_at=now, seen_at=now))

    def check(self, ticket_id: str, behind: str) -> None:
        """All is uploaded: from here on it is the server that works."""
        self._put(replace(self._tickets[ticket_id], stage=Stage.CHECKING, behind=behind))

    def work_again(self, ticket_id: str, now: float) -> None:
        """What was uploaded is gone: the turn begins anew."""
        one = self._tickets[ticket_id]
        self._put(replace(one, stage=Stage.WORKING, turn_at=now, moved_at=now))

    def end(self, ticket_id: str, stage: Stage, detail: str, now: float) -> None:
        """A ticket comes to its end."""
        one = self._tickets[ticket_id]
        if stage is Stage.ACCEPTED:
            self._spans = [*self._spans, now - one.turn_at][-_REMEMBERED:]
        self._put(replace(one, stage=stage, detail=detail))

    def count_ahead(self, ticket: Ticket) -> int:
        """Tickets whose turn is before this one's, the one at work among them."""
        if ticket.stage is not Stage.WAITING:
            return 0
        ids = [one.id for one in self.waiting]
        return ids.index(ticket.id) + (self.at_work is not None)

    def estimate_s(self, n_ahead: int) -> float | None:
        """How long so many turns take; None while no turn has ended."""
        if not self._spans:
            return None
        return n_ahead * sum(self._spans) / len(self._spans)

    def left_s(self, ticket: Ticket, now: float) -> float:
        """Until the ticket is late, if nothing moves; 0 where it cannot be."""
        limits = self.limits
        if ticket.stage not in _MAY_BE_LATE:
            return 0.0
        if _is_unasked(ticket):
            return max(ticket.seen_at, ticket.turn_at) + limits.seen_s - now
        return min(ticket.moved_at + limits.turn_s, ticket.turn_at + limits.longest_s) - now

    def _find_lateness(self, one: Ticket, now: float) -> str | None:
        if one.stage not in _MAY_BE_LATE or self.left_s(one, now) > 0:
            return None
        if _is_unasked(one):
            return f"it was not asked for in {self.limits.seen_s:.0f} s"
        if one.turn_at + self.limits.longest_s <= now:
            return f"the turn took longer than {self.limits.longest_s:.0f} s"
        return f"nothing of the turn moved in {self.limits.turn_s:.0f} s"

    def _put(self, ticket: Ticket) -> Ticket:
        self._tickets[ticket.id] = ticket
        return ticket

    def _forget(self) -> None:
        ended = [one.id for one in self._tickets.values() if not one.is_active]
        for ticket_id in ended[: max(0, len(ended) - self.limits.n_ended)]:
            del self._tickets[ticket_id]


def _is_unasked(ticket: Ticket) -> bool:
    """Whether its holder has not asked for it since its turn began, or still waits."""
    return ticket.stage is Stage.WAITING or ticket.seen_at < ticket.turn_at
