"""Statements by the names of all their fields, those of the occasion among them."""

from __future__ import annotations

from typing import Any

from prover.wire.statement import Occasion, Statement

FIELDS = {*Occasion.KINDS, *Statement.KINDS} - {"occasion"}


def make_statement(**fields: Any) -> Statement:
    """A statement; FieldInvalid for a field out of its range."""
    occasion = Occasion(**{name: fields.pop(name) for name in Occasion.KINDS})
    return Statement(occasion=occasion, **fields)


def restate(statement: Statement, **changes: Any) -> Statement:
    """The statement with other fields; TypeError for names that it has not."""
    return make_statement(**statement.list_values() | changes)
