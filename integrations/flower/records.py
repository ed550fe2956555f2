"""What travels in Flower's messages beside the arrays: one ConfigRecord, `zkpot`.

to a client    round, nonce, task, mode                 the ticket
from a client  proof; blinding where models are open
"""

from __future__ import annotations

from typing import Any

from flwr.app import ConfigRecord, RecordDict

from integrations.errors import TicketInvalid
from integrations.flower.proving import ProvenModel
from integrations.flower.tickets import Ticket

NAME = "zkpot"


def write_ticket(content: RecordDict, ticket: Ticket) -> None:
    """Puts a ticket into what a client is sent."""
    content[NAME] = ConfigRecord(dict(ticket.to_values()))


def read_ticket(content: RecordDict) -> Ticket:
    """Inverse of `write_ticket`. Raises TicketInvalid."""
    record = content.config_records.get(NAME)
    if record is None:
        raise TicketInvalid("the server asks for no proof: put `prove` around its strategy")
    return Ticket.of_values(record)


def write_proof(content: RecordDict, proven: ProvenModel) -> None:
    """Puts a proof into what a client answers."""
    record: dict[str, Any] = {"proof": proven.envelope}
    if proven.blinding is not None:
        record["blinding"] = proven.blinding
    content[NAME] = ConfigRecord(record)


def read_proof(content: RecordDict) -> tuple[bytes | None, bytes | None]:
    """Proof and blinding of an answer, each None where there is none."""
    record = content.config_records.get(NAME) or ConfigRecord()
    proof, blinding = record.get("proof"), record.get("blinding")
    return (
        proof if isinstance(proof, bytes) else None,
        blinding if isinstance(blinding, bytes) else None,
    )
