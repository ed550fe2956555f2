"""Tickets: there and back, and what a server may send in their place."""

from __future__ import annotations

from typing import Any

import pytest

from integrations.errors import TicketInvalid
from integrations.flower.tickets import Mode, Ticket

TICKET = Ticket(round_index=3, nonce=b"n" * 32, task=b"t" * 32, mode=Mode.MASKED)


@pytest.mark.parametrize("mode", Mode)
def test_there_and_back(mode: Mode) -> None:
    ticket = Ticket(round_index=3, nonce=b"n" * 32, task=b"t" * 32, mode=mode)
    assert Ticket.of_values(ticket.to_values()) == ticket


@pytest.mark.parametrize(
    "changes",
    [
        {"round": None},
        {"round": -1},
        {"round": 1 << 63},
        {"round": "3"},
        {"nonce": 1 << 60},
        {"nonce": b"n" * 31},
        {"task": "t" * 32},
        {"task": b""},
        {"mode": "closed"},
        {"mode": []},
    ],
)
def test_what_is_no_ticket_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(TicketInvalid, match="the same zkpot"):
        Ticket.of_values(TICKET.to_values() | changes)


def test_each_round_and_node_has_an_occasion_of_its_own() -> None:
    """Flower's node ids are numbers of 64 bits, which some versions take as signed."""
    other = Ticket(round_index=4, nonce=b"n" * 32, task=b"t" * 32, mode=Mode.MASKED)
    again = Ticket(round_index=3, nonce=b"m" * 32, task=b"t" * 32, mode=Mode.MASKED)
    nodes = (0, 1, 256, (1 << 64) - 1)
    occasions = [one.get_occasion(n).encode() for one in (TICKET, other, again) for n in nodes]
    assert len(set(occasions)) == len(occasions)
    assert TICKET.get_occasion(-1) == TICKET.get_occasion((1 << 64) - 1)
