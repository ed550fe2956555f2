"""Public parts of a proof as the API shows them."""

from __future__ import annotations

from api.http.schemas import StatementView
from prover.wire.statement import Statement


def view_statement(statement: Statement) -> StatementView:
    """Numbers as they are; names as text where they are text, all other bytes in hexadecimal."""
    return StatementView(
        chain_id=_as_text(statement.chain_id),
        task_id=_as_text(statement.task_id),
        round_index=statement.round_index,
        commit_height=statement.commit_height,
        client_key=statement.client_key.hex(),
        verifying_key_digest=statement.verifying_key_digest.hex(),
        shard_index=statement.shard_index,
        n_real=statement.n_real,
        dataset_digest=statement.dataset_digest.hex(),
        multipliers=list(statement.multipliers),
        claimed_correct=statement.claimed_correct,
        d_w=statement.d_w.hex(),
    )


def _as_text(name: bytes) -> str:
    """Printable ASCII as it is, anything else as 0x and hexadecimal."""
    if name.isascii() and name.decode("ascii").isprintable():
        return name.decode("ascii")
    return "0x" + name.hex()
