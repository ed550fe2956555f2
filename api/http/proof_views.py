"""What a finished job's proof says, for the API."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass

from api.http.schemas import ProofView
from api.http.views import view_statement
from api.shards import MAGIC, Container
from prover.wire.envelope import Envelope
from prover.wire.statement import Statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a job publishes, the circuit that it is about, and how long proving took."""

    raw: bytes
    circuit: str | None
    seconds: float


def find_statements(raw: bytes) -> list[Statement]:
    """The statements of an envelope or a container that this service has made."""
    container = Container.decode(raw) if raw.startswith(MAGIC) else Container((raw,))
    envelopes = [] if container is None else [Envelope.decode(e) for e in container.envelopes]
    return [envelope.statement for envelope in envelopes if envelope is not None]


def view_accuracy_proof(job_id: str, made: Made, statements: list[Statement]) -> ProofView:
    return ProofView(
        job_id=job_id,
        n_bytes=len(made.raw),
        sha256=hashlib.sha256(made.raw).hexdigest(),
        proof_base64=base64.b64encode(made.raw).decode("ascii"),
        statements=[view_statement(s) for s in statements],
        n_real=sum(s.n_real for s in statements),
        claimed_correct=sum(s.claimed_correct for s in statements),
        circuit=made.circuit,
        seconds=made.seconds,
    )


def view_groth16_proof(job_id: str, made: Made) -> ProofView:
    return ProofView(
        job_id=job_id,
        n_bytes=len(made.raw),
        sha256=hashlib.sha256(made.raw).hexdigest(),
        proof_base64=base64.b64encode(made.raw).decode("ascii"),
        statements=[],
        n_real=0,
        claimed_correct=0,
        seconds=made.seconds,
        groth16=json.loads(made.raw),
    )
