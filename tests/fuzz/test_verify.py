"""Any bytes to `verify` give a verdict; only the honest envelope is valid."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from prover.wire.envelope import PROOF_BYTES, Envelope, Proof
from prover.wire.statement import Statement
from prover.wire.verdict import Verdict
from tests.support.toy_protocol import verdict_of

VECTORS = Path(__file__).resolve().parent.parent / "vectors" / "proof_v3.json"
ENVELOPE = bytes.fromhex(json.loads(VECTORS.read_text("ascii"))["envelope"])
PROOF_START = len(ENVELOPE) - PROOF_BYTES


def edited(edits: list[tuple[int, int]]) -> bytes:
    raw = bytearray(ENVELOPE)
    for at, value in edits:
        raw[at % len(raw)] ^= value
    return bytes(raw)


@given(st.binary(max_size=600))
@example(b"")
@example(Envelope.HEADER)
@example(Envelope.HEADER + b"\xff" * 600)
def test_any_bytes(raw: bytes) -> None:
    assert verdict_of(raw) is Verdict.MALFORMED


@given(st.binary(max_size=PROOF_BYTES + 1))
def test_any_proof_bytes(raw: bytes) -> None:
    assert isinstance(Proof.decode(raw), Proof | Verdict)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=4))
def test_edited_envelopes(edits: list[tuple[int, int]]) -> None:
    raw = edited(edits)
    verdict = verdict_of(raw)
    assert (verdict is Verdict.VALID) == (raw == ENVELOPE)


@settings(max_examples=60)
@given(st.integers(0, PROOF_BYTES - 1), st.integers(1, 255))
def test_edited_proofs(at: int, value: int) -> None:
    assert verdict_of(edited([(PROOF_START + at, value)])) is not Verdict.VALID


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), max_size=3))
def test_envelopes_have_one_encoding(edits: list[tuple[int, int]]) -> None:
    raw = edited(edits)
    envelope = Envelope.decode(raw)
    assert envelope is None or envelope.encode() == raw


@given(st.binary(max_size=300) | st.binary(max_size=60).map(lambda b: ENVELOPE[14:60] + b))
def test_statements_have_one_encoding(raw: bytes) -> None:
    statement = Statement.decode(raw)
    assert statement is None or statement.encode() == raw


@given(st.lists(st.binary(max_size=64), max_size=14))
def test_truncations_and_splices(parts: list[bytes]) -> None:
    size = max(1, len(ENVELOPE) // (len(parts) + 1))
    raw = b"".join(ENVELOPE[i * size : (i + 1) * size] + part for i, part in enumerate(parts))
    assert verdict_of(raw) is not Verdict.VALID
