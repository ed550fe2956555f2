"""Statements and envelopes about training: one value, one encoding, and none of another kind."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prover.errors import FieldInvalid
from prover.wire.envelope import Envelope
from prover.wire.statement import Occasion, Statement
from prover.wire.training import (
    MAX_TRAINING_BYTES,
    ExportEnvelope,
    ExportStatement,
    StepEnvelope,
    StepStatement,
)
from prover.wire.update import UpdateEnvelope, UpdateStatement

OCCASION = Occasion(
    chain_id=b"chain", task_id=b"task", round_index=1, commit_height=2, client_key=b"key"
)
STEP = StepStatement(
    occasion=OCCASION,
    verifying_key_digest=bytes([1]) * 32,
    step=3,
    n_real=64,
    before=bytes([2]) * 32,
    after=bytes([3]) * 32,
    data=bytes([4]) * 32,
)
EXPORT = ExportStatement(
    occasion=OCCASION,
    verifying_key_digest=bytes([1]) * 32,
    masters=bytes([2]) * 32,
    model=bytes([3]) * 32,
)
STEP_ENVELOPE = StepEnvelope(statement=STEP, proof=bytes(i % 256 for i in range(224)))
EXPORT_ENVELOPE = ExportEnvelope(statement=EXPORT, proof=bytes(i % 256 for i in range(224)))

OCCASION_BYTES = (
    "05000000" "636861696e" "04000000" "7461736b"
    "08000000" "0100000000000000" "08000000" "0200000000000000" "03000000" "6b6579"
)  # fmt: skip
STEP_BYTES = (
    "04000000" "73746570" "08000000" "0200000000000000" + OCCASION_BYTES
    + "20000000" + "01" * 32 + "08000000" "0300000000000000" "08000000" "4000000000000000"
    + "20000000" + "02" * 32 + "20000000" + "03" * 32 + "20000000" + "04" * 32
)  # fmt: skip
EXPORT_BYTES = (
    "06000000" "6578706f7274" "08000000" "0200000000000000" + OCCASION_BYTES
    + "20000000" + "01" * 32 + "20000000" + "02" * 32 + "20000000" + "03" * 32
)  # fmt: skip


def test_statements_have_the_bytes_of_the_document() -> None:
    assert STEP.encode().hex() == STEP_BYTES
    assert StepStatement.decode(bytes.fromhex(STEP_BYTES)) == STEP
    assert STEP.commitments == (bytes([2]) * 32, bytes([3]) * 32, bytes([4]) * 32)
    assert EXPORT.encode().hex() == EXPORT_BYTES
    assert ExportStatement.decode(bytes.fromhex(EXPORT_BYTES)) == EXPORT
    assert EXPORT.commitments == (bytes([2]) * 32, bytes([3]) * 32)


def test_envelopes_are_magic_version_statement_and_proof() -> None:
    longest = replace(OCCASION, chain_id=b"c" * 64, task_id=b"t" * 64, client_key=b"k" * 64)
    for envelope, magic in ((STEP_ENVELOPE, b"zkpotstp"), (EXPORT_ENVELOPE, b"zkpotexp")):
        raw, statement = envelope.encode(), envelope.statement.encode()
        assert raw[:14] == magic + b"\x02\x00" + len(statement).to_bytes(4, "little")
        assert raw[14:] == statement + envelope.proof
        assert type(envelope).decode(raw) == envelope
        assert envelope.committed == envelope.proof[128:]
        most = replace(envelope, statement=replace(envelope.statement, occasion=longest))  # type: ignore[type-var]
        assert len(most.encode()) <= MAX_TRAINING_BYTES


def test_no_bytes_are_of_two_kinds() -> None:
    """Whatever is signed or hashed for one can't be taken for another."""
    statements = (Statement, UpdateStatement, StepStatement, ExportStatement)
    envelopes = (Envelope, UpdateEnvelope, StepEnvelope, ExportEnvelope)
    for statement, envelope in ((STEP, STEP_ENVELOPE), (EXPORT, EXPORT_ENVELOPE)):
        raw = statement.encode()
        assert [x for x in statements if x.decode(raw) is not None] == [type(statement)]
        raw = envelope.encode()
        assert [x for x in envelopes if x.decode(raw) is not None] == [type(envelope)]


@given(st.binary(max_size=700), st.integers(0, 600), st.integers(0, 255))
def test_other_bytes_are_refused(junk: bytes, at: int, byte: int) -> None:
    for envelope in (STEP_ENVELOPE, EXPORT_ENVELOPE):
        raw = envelope.encode()
        kind = type(envelope)
        bent = raw[: at % len(raw)] + bytes([byte]) + raw[at % len(raw) + 1 :]
        for other in (junk, raw + junk[:1], raw[:-1], bent):
            found = kind.decode(other)
            assert found is None or found.encode() == other


def test_fields_out_of_range_are_refused() -> None:
    for change in ({"step": -1}, {"n_real": 1 << 63}, {"before": bytes(31)}, {"data": b""}):
        with pytest.raises(FieldInvalid):
            replace(STEP, **change)  # type: ignore[arg-type]
    with pytest.raises(FieldInvalid):
        StepEnvelope(statement=STEP, proof=bytes(288))
    with pytest.raises(FieldInvalid):
        ExportEnvelope(statement=EXPORT, proof=bytes(160))
