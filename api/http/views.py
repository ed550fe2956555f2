"""What a proof says, as the API shows it."""

from __future__ import annotations

import base64
import hashlib
import json

from api.http.schemas import Circuit, ProofStated, ProofView, StatementView
from prover.keys.card import KeyCard
from prover.keys.folder import CARD_NAME, VERIFYING_NAME
from prover.shards import MAGIC, Container
from prover.wire.envelope import Envelope
from prover.wire.statement import Statement


def view_proof(
    job_id: str, raw: bytes, *, is_groth16: bool, circuit: str | None, seconds: float
) -> ProofView:
    """What a job publishes.

    raw     : an envelope, a container, or the JSON object of a Groth16 job
    circuit : that it is about
    seconds : that proving took
    """
    statements = [] if is_groth16 else _find_statements(raw)
    return ProofView(
        job_id=job_id,
        n_bytes=len(raw),
        sha256=hashlib.sha256(raw).hexdigest(),
        proof_base64=base64.b64encode(raw).decode("ascii"),
        statements=[view_statement(s) for s in statements],
        n_real=sum(s.n_real for s in statements),
        claimed_correct=sum(s.claimed_correct for s in statements),
        circuit=circuit,
        seconds=seconds,
        groth16=json.loads(raw) if is_groth16 else None,
    )


def view_circuit(digest: str, key_digest: bytes, card: KeyCard) -> Circuit:
    """A circuit that has a key, by the digest of its card."""
    return Circuit(
        digest=digest,
        architecture=card.architecture.name,
        n_samples=card.n_samples,
        multipliers=list(card.architecture.multipliers),
        key_digest=key_digest.hex(),
        verifying_key=f"/v1/circuits/{digest}/{VERIFYING_NAME}",
        card=f"/v1/circuits/{digest}/{CARD_NAME}",
    )


def view_stated(
    raw: bytes, circuit: Circuit | None, sample_shape: list[int] | None
) -> ProofStated | None:
    """What any bytes state; None for those that are no proof."""
    statements = _find_statements(raw)
    if not statements:
        return None
    return ProofStated(
        n_bytes=len(raw),
        sha256=hashlib.sha256(raw).hexdigest(),
        statements=[view_statement(s) for s in statements],
        n_real=sum(s.n_real for s in statements),
        claimed_correct=sum(s.claimed_correct for s in statements),
        circuit=circuit,
        sample_shape=sample_shape,
    )


def find_key_digest(raw: bytes) -> str | None:
    """The verifying key that a proof names; None for bytes that are no proof."""
    statements = _find_statements(raw)
    return statements[0].verifying_key_digest.hex() if statements else None


def view_statement(statement: Statement) -> StatementView:
    """Numbers as they are; names as text where they are text, all other bytes in hexadecimal."""
    values = statement.list_values()
    shown = {name: x.hex() if isinstance(x, bytes) else x for name, x in values.items()}
    shown |= {name: _as_text(values[name]) for name in ("chain_id", "task_id")}
    shown["commitments"] = [commitment.hex() for commitment in statement.commitments]
    return StatementView.model_validate(shown)


def _find_statements(raw: bytes) -> list[Statement]:
    """The statements of an envelope or a container; none of other bytes."""
    container = Container.decode(raw) if raw.startswith(MAGIC) else Container((raw,))
    envelopes = [] if container is None else [Envelope.decode(e) for e in container.envelopes]
    return [envelope.statement for envelope in envelopes if envelope is not None]


def _as_text(name: bytes) -> str:
    """Printable ASCII as it is, anything else as 0x and hexadecimal."""
    if name.isascii() and name.decode("ascii").isprintable():
        return name.decode("ascii")
    return "0x" + name.hex()
