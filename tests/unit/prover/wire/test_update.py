"""Statements and envelopes about updates: one value, one encoding, and none of another kind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prover.errors import FieldInvalid
from prover.model.network import Architecture
from prover.model.update import compute_origin_digest
from prover.wire.envelope import Envelope
from prover.wire.statement import Occasion, Statement
from prover.wire.update import MAX_UPDATE_BYTES, UpdateEnvelope, UpdateStatement
from tests.support.models import random_model

OCCASION = Occasion(
    chain_id=b"chain", task_id=b"task", round_index=1, commit_height=2, client_key=b"key"
)
STATEMENT = UpdateStatement(
    occasion=OCCASION,
    verifying_key_digest=bytes([1]) * 32,
    origin_digest=bytes([2]) * 32,
    commitment=bytes([3]) * 32,
)
ENVELOPE = UpdateEnvelope(statement=STATEMENT, proof=bytes(range(224)))

BYTES = (
    "06000000" "757064617465" "08000000" "0200000000000000"
    "05000000" "636861696e" "04000000" "7461736b"
    "08000000" "0100000000000000" "08000000" "0200000000000000" "03000000" "6b6579"
    "20000000" + "01" * 32 + "20000000" + "02" * 32 + "20000000" + "03" * 32
)  # fmt: skip


def test_a_statement_has_the_bytes_of_the_document() -> None:
    assert STATEMENT.encode().hex() == BYTES
    assert UpdateStatement.decode(bytes.fromhex(BYTES)) == STATEMENT
    assert STATEMENT.commitments == (bytes([3]) * 32,)


def test_an_envelope_is_magic_version_statement_and_proof() -> None:
    raw = ENVELOPE.encode()
    n = len(STATEMENT.encode())
    assert raw[:14] == b"zkpotupd\x02\x00" + n.to_bytes(4, "little")
    assert raw[14:] == STATEMENT.encode() + ENVELOPE.proof
    assert UpdateEnvelope.decode(raw) == ENVELOPE
    assert ENVELOPE.committed == bytes(range(128, 224))
    longest = replace(OCCASION, chain_id=b"c" * 64, task_id=b"t" * 64, client_key=b"k" * 64)
    most = replace(ENVELOPE, statement=replace(STATEMENT, occasion=longest)).encode()
    assert len(most) <= MAX_UPDATE_BYTES


def test_no_bytes_are_of_both_kinds() -> None:
    """Whatever is signed or hashed for one can't be taken for the other."""
    assert Statement.decode(STATEMENT.encode()) is None
    assert Envelope.decode(ENVELOPE.encode()) is None
    assert not STATEMENT.encode().startswith(Statement.HEADER)
    assert not Statement.HEADER.startswith(UpdateStatement.HEADER)


@given(st.data())
def test_every_other_string_is_refused(data: st.DataObject) -> None:
    raw = ENVELOPE.encode()
    at = data.draw(st.integers(0, len(raw) - 1))
    change = data.draw(st.sampled_from(["cut", "more", "flip"]))
    if change == "cut":
        assert UpdateEnvelope.decode(raw[:at]) is None
    elif change == "more":
        assert UpdateEnvelope.decode(raw + raw[:at] + b"\0") is None
    else:
        altered = raw[:at] + bytes([raw[at] ^ 1 << data.draw(st.integers(0, 7))]) + raw[at + 1 :]
        found = UpdateEnvelope.decode(altered)
        assert found is None or (found != ENVELOPE and found.encode() == altered)


@pytest.mark.parametrize("name", ["verifying_key_digest", "origin_digest", "commitment"])
def test_fields_of_another_length_are_refused(name: str) -> None:
    for value in (b"", bytes(31), bytes(33)):
        with pytest.raises(FieldInvalid, match=name):
            replace(STATEMENT, **{name: value})


def test_public_models_have_names_of_their_own() -> None:
    rng = np.random.default_rng(1)
    models = [random_model(Architecture.mlp(sizes), rng) for sizes in ([3, 2], [3, 2], [2, 3])]
    digests = {compute_origin_digest(model) for model in models}
    assert len(digests) == 3
    assert all(len(digest) == 32 for digest in digests)
