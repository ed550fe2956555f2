"""Public parts of a proof as the API shows them."""

from __future__ import annotations

from api.http.schemas import StatementView
from prover.wire.statement import Statement


def view_statement(statement: Statement) -> StatementView:
    """Numbers as they are; names as text where they are text, all other bytes in hexadecimal."""
    values = statement.list_values()
    shown = {name: x.hex() if isinstance(x, bytes) else x for name, x in values.items()}
    shown |= {name: _as_text(values[name]) for name in ("chain_id", "task_id")}
    return StatementView.model_validate(shown)


def _as_text(name: bytes) -> str:
    """Printable ASCII as it is, anything else as 0x and hexadecimal."""
    if name.isascii() and name.decode("ascii").isprintable():
        return name.decode("ascii")
    return "0x" + name.hex()
