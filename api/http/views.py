"""What a proof says, as the API shows it."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from api.http.schemas import (
    Circuit,
    CircuitKind,
    ExportView,
    ProofStated,
    ProofView,
    StatementView,
    StepView,
    TrainingView,
)
from api.queue.jobs import AccuracyWork, Groth16Work, TrainingWork
from prover.keys.card import Card, KeyCard
from prover.keys.folder import CARD_NAME, VERIFYING_NAME
from prover.keys.training_card import StepCard
from prover.shards import MAGIC, Container
from prover.wire.envelope import Envelope
from prover.wire.records import Record
from prover.wire.statement import Statement
from prover.wire.training import ExportEnvelope, StepEnvelope, TrainingProofs


def view_proof(
    job_id: str, raw: bytes, *, kind: str, circuit: str | None, seconds: float
) -> ProofView:
    """What a job publishes.

    raw     : an envelope, a container, the proofs of a training, or the JSON of a Groth16 job
    kind    : of the job
    circuit : that it is about
    seconds : that proving took
    """
    statements = _find_statements(raw) if kind == AccuracyWork.KIND else []
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
        groth16=json.loads(raw) if kind == Groth16Work.KIND else None,
        training=view_training(raw) if kind == TrainingWork.KIND else None,
    )


def view_circuit(digest: str, key_digest: bytes, card: Card) -> Circuit:
    """A circuit that has a key, by the digest of its card."""
    kind, n_samples = _describe_card(card)
    return Circuit(
        digest=digest,
        kind=kind,
        architecture=card.architecture.name,
        n_samples=n_samples,
        multipliers=list(card.architecture.multipliers),
        key_digest=key_digest.hex(),
        verifying_key=f"/v1/circuits/{digest}/{VERIFYING_NAME}",
        card=f"/v1/circuits/{digest}/{CARD_NAME}",
    )


def _describe_card(card: Card) -> tuple[CircuitKind, int]:
    """What its circuit is of, and samples of one proof."""
    match card:
        case KeyCard():
            return CircuitKind.ACCURACY, card.n_samples
        case StepCard():
            return CircuitKind.STEP, card.recipe.batch_size
    return CircuitKind.EXPORT, 0


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
    """The verifying key that a proof of accuracy names; None for other bytes."""
    statements = _find_statements(raw)
    return statements[0].verifying_key_digest.hex() if statements else None


def view_statement(statement: Statement) -> StatementView:
    """Numbers as they are; names as text where they are text, all other bytes in hexadecimal."""
    commitments = [commitment.hex() for commitment in statement.commitments]
    return StatementView.model_validate(_show(statement) | {"commitments": commitments})


def view_training(raw: bytes) -> TrainingView | None:
    """What the proofs of a training say, or one envelope of a step or an export; None of other
    bytes."""
    proofs = TrainingProofs.decode(raw)
    steps = [StepEnvelope.decode(one) for one in (proofs.steps if proofs else (raw,))]
    export = ExportEnvelope.decode(proofs.export if proofs else raw)
    shown = [StepView.model_validate(_show(one.statement)) for one in steps if one is not None]
    if not shown and export is None:
        return None
    last = None if export is None else ExportView.model_validate(_show(export.statement))
    return TrainingView(steps=shown, export=last)


def _show(statement: Record) -> dict[str, Any]:
    values = statement.list_values()
    shown = {name: x.hex() if isinstance(x, bytes) else x for name, x in values.items()}
    return shown | {name: _as_text(values[name]) for name in ("chain_id", "task_id")}


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
