"""Files and envelopes edited by somebody who knows their structure, digests put right again.

Every edit gives a value with those very bytes, or the one error (or verdict) that the reader names.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from federated.errors import FloatModelInvalid
from federated.float_model import FloatModel, decode_float_model, encode_float_model
from prover.errors import FieldInvalid, FormatError, KeyMismatch
from prover.groth16.verify import verify
from prover.keys.card import KeyCard
from prover.keys.folder import (
    CARD_NAME,
    PROVING_NAME,
    VERIFYING_NAME,
    load_proving_key,
    load_verifying_half,
    load_verifying_key,
    save_key,
)
from prover.keys.halves import VerifyingKey
from prover.model.network import Architecture
from prover.pedersen.commitment import Blinding, ModelCommitment
from prover.wire.envelope import Envelope
from prover.wire.kinds import MAX_NUMBER
from prover.wire.verdict import Verdict
from tests.support.accuracy_protocol import accuracy_key, prove_assignment, scene, shard_inputs
from tests.support.learning import accuracy, proving_key
from tests.support.statements import restate
from tests.support.tiny_circuits import seeded
from tests.support.toy_protocol import honest, toy_key

Edit = tuple[str, int, bytes]
POINTS = (bytes(32), bytes(31) + b"\x40", bytes(31) + b"\xc0", b"\xff" * 32, b"\1" + bytes(31))
NUMBERS = (0, 1, 2, 31, 32, 33, 63, 64, 65, 4095, 4096, (1 << 31) - 1, 1 << 32, (1 << 63) - 1)

chunks = st.one_of(
    st.binary(min_size=1, max_size=8),
    st.sampled_from(POINTS),
    st.sampled_from(NUMBERS).map(lambda n: n.to_bytes(8, "little")),
    st.sampled_from(NUMBERS).map(lambda n: (n % (1 << 32)).to_bytes(4, "little")),
)
kinds = st.sampled_from(["write", "insert", "remove", "cut", "flip"])
edits = st.lists(st.tuples(kinds, st.integers(0, 1 << 20), chunks), min_size=1, max_size=4)


def apply(raw: bytes, edited: list[Edit]) -> bytes:
    for kind, position, chunk in edited:
        at = position % (len(raw) + 1)
        match kind:
            case "write":
                raw = (raw[:at] + chunk + raw[at + len(chunk) :])[: max(len(raw), at + 1)]
            case "insert":
                raw = raw[:at] + chunk + raw[at:]
            case "remove":
                raw = raw[:at] + raw[at + len(chunk) :]
            case "cut":
                raw = raw[:at]
            case _:
                raw = raw[:at] + bytes(b ^ chunk[0] for b in raw[at : at + 1]) + raw[at + 1 :]
    return raw


# -- values with one encoding ----------------------------------------------------------------------


class Encodes(Protocol):
    def encode(self) -> bytes: ...


@cache
def values() -> Mapping[str, tuple[bytes, Callable[[bytes], Encodes]]]:
    return {
        "commitment": (ModelCommitment(d=honest().d_w).encode(), ModelCommitment.decode),
        "blinding": (Blinding(rho=honest().rho).encode(), Blinding.decode),
        "verifying key": (toy_key().verifying.encode(), VerifyingKey.decode),
        "circuit.json": (KeyCard.of(accuracy()).encode(), KeyCard.decode),
    }


@pytest.mark.parametrize("name", ["commitment", "blinding", "verifying key", "circuit.json"])
@settings(max_examples=120)
@given(edited=edits)
def test_edited_values(name: str, edited: list[Edit]) -> None:
    original, decode = values()[name]
    raw = apply(original, edited)
    try:
        value = decode(raw)
    except FormatError as error:
        assert error.where == name  # noqa: PT017
        assert original != raw
    else:
        assert value.encode() == raw


# -- a proving key whose verifying half vouches for it ---------------------------------------------


@settings(
    max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
@given(
    header=st.lists(
        st.tuples(st.integers(0, 17), st.sampled_from([*NUMBERS, (1 << 64) - 1])), max_size=3
    ),
    body=edits,
    keep_body=st.booleans(),
)
def test_edited_proving_keys(
    header: list[tuple[int, int]], body: list[Edit], keep_body: bool, tmp_path: Path
) -> None:
    if not (tmp_path / "original").exists():
        save_key(toy_key(), tmp_path)
        (tmp_path / PROVING_NAME).rename(tmp_path / "original")
    original = (tmp_path / "original").read_bytes()
    raw = bytearray(original if keep_body else apply(original, body))
    for index, number in header:
        at = 8 + 8 * index
        raw[at : at + 8] = number.to_bytes(8, "little")
    (tmp_path / PROVING_NAME).write_bytes(raw)
    vouching = replace(toy_key().verifying, proving_digest=sha256(raw).digest())
    try:
        key = load_proving_key(tmp_path, vouching)
    except (FormatError, KeyMismatch):
        assert raw != original
    else:
        assert key.verifying.encode() == vouching.encode()


# -- folders of a key ------------------------------------------------------------------------------

PINS = {
    CARD_NAME: "card_digest",
    PROVING_NAME: "proving_digest",
}


@settings(
    max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
@given(
    name=st.sampled_from([VERIFYING_NAME, *PINS]),
    edited=edits,
    vouching=st.booleans(),
)
def test_edited_key_folders(name: str, edited: list[Edit], vouching: bool, tmp_path: Path) -> None:
    """Whatever is in a folder, its digest tells: no other one is taken for the key of this one."""
    key = proving_key()
    save_key(key, tmp_path, KeyCard.of(accuracy()))
    original = (tmp_path / name).read_bytes()
    raw = apply(original, edited)
    (tmp_path / name).write_bytes(raw)
    if vouching and name in PINS:
        anew = replace(key.verifying, **{PINS[name]: sha256(raw).digest()})
        (tmp_path / VERIFYING_NAME).write_bytes(anew.encode())
    try:
        verifying, card = load_verifying_half(tmp_path)
        found = [card, load_proving_key(tmp_path, verifying)]
    except (FormatError, KeyMismatch):
        assert raw != original
    else:
        assert len(found) == 2
        assert (verifying.digest == key.verifying.digest) == (raw == original)
        with pytest.raises(KeyMismatch):
            load_verifying_key(tmp_path, expected_digest=sha256(raw + b"another").digest())


# -- envelopes of the whole statement --------------------------------------------------------------


@cache
def envelope() -> Envelope:
    s = scene()
    raw = prove_assignment(s.count(s.infer(), s.honest_hits()), claimed=s.n_correct, seed=11)
    decoded = Envelope.decode(raw)
    assert decoded is not None
    return decoded


def verdict_of(raw: bytes) -> Verdict:
    return verify(
        raw, key=accuracy_key().verifying, public_inputs=shard_inputs(), random_bytes=seeded(1)
    )


counts = st.one_of(st.integers(0, 4), st.sampled_from([1 << 20, 1 << 32, MAX_NUMBER - 1]))
fields = st.one_of(
    st.tuples(
        st.sampled_from(
            ["round_index", "commit_height", "shard_index", "n_real", "claimed_correct"]
        ),
        counts,
    ),
    st.tuples(st.sampled_from(["chain_id", "task_id", "client_key"]), st.binary(max_size=65)),
    st.tuples(
        st.sampled_from(["verifying_key_digest", "dataset_digest"]),
        st.binary(min_size=32, max_size=32),
    ),
    st.tuples(st.just("multipliers"), st.lists(st.integers(0, 1 << 15), max_size=3).map(tuple)),
)


def test_the_envelope_that_is_edited_is_valid() -> None:
    assert verdict_of(envelope().encode()) is Verdict.VALID


@settings(max_examples=60)
@given(changes=st.lists(fields, min_size=1, max_size=3))
def test_edited_statements(changes: list[tuple[str, Any]]) -> None:
    try:
        statement = restate(envelope().statement, **dict(changes))
    except FieldInvalid:
        return
    raw = replace(envelope(), statement=statement).encode()
    assert (verdict_of(raw) is Verdict.VALID) == (raw == envelope().encode())


@settings(max_examples=80)
@given(
    moves=st.lists(
        st.tuples(
            st.sampled_from([0, 32, 64, 96, 128, 160, 192, 224]),
            st.one_of(st.sampled_from(POINTS), st.sampled_from([0, 96, 128, 160, 192, 224])),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_rearranged_points(moves: list[tuple[int, bytes | int]]) -> None:
    """Points swapped, at infinity, or no points at all, D_W of the statement among them."""
    original = envelope()
    before = original.proof + original.statement.commitments[0]
    points = bytearray(before)
    for at, source in moves:
        point = source if isinstance(source, bytes) else before[source : source + 32]
        points[at : at + 32] = point
    statement = replace(original.statement, commitments=(bytes(points[224:]),))
    raw = Envelope(statement=statement, proof=bytes(points[:224])).encode()
    assert (verdict_of(raw) is Verdict.VALID) == (raw == original.encode())


# -- float models ----------------------------------------------------------------------------------

FLOAT_MODEL = FloatModel(
    architecture=Architecture.mlp((3, 2)),
    weights=(np.ones((2, 3), dtype=np.float32),),
    biases=(np.zeros(2, dtype=np.float32),),
    mean=0.5,
    std=1.0,
    record={"dataset": "mnist"},
)
TENSOR_VALUES: Mapping[str, list[object]] = {
    "dtype": ["F16", "BF16", "F64", "I8", "BOOL", "F8_E4M3", "X", None, 1],
    "shape": [[3, 2], [6], [], [0], [-1], [1 << 40, 1 << 40], [2.0, 3], None, "x"],
    "data_offsets": [[0, 24], [24, 32], [8, 0], [0, 1 << 63], [-8, 0], [0], None],
}
METADATA: list[object] = [None, 1, 0.0, -1.0, 1e308, "mlp-3-2", "mlp-1-2", "x", {}, [], True]


def safetensors_file(header: object, body: bytes) -> bytes:
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


@settings(max_examples=150)
@given(data=st.data())
def test_edited_float_models(data: st.DataObject) -> None:
    raw = encode_float_model(FLOAT_MODEL)
    n = 8 + int.from_bytes(raw[:8], "little")
    header, body = json.loads(raw[8:n]), raw[n:]
    part = data.draw(st.sampled_from([*header, "bytes"]))
    if part == "bytes":
        raw = apply(raw, data.draw(edits))
    elif part == "__metadata__":
        ((label, text),) = header[part].items()
        inner = json.loads(text)
        inner[data.draw(st.sampled_from(sorted(inner)))] = data.draw(st.sampled_from(METADATA))
        header[part] = data.draw(
            st.sampled_from([{label: json.dumps(inner)}, {label: 1}, [], None])
        )
        raw = safetensors_file(header, body)
    else:
        name = data.draw(st.sampled_from(sorted(TENSOR_VALUES)))
        header[part][name] = data.draw(st.sampled_from(TENSOR_VALUES[name]))
        raw = safetensors_file(header, body)
    try:
        model = decode_float_model(raw)
    except FloatModelInvalid:
        return
    assert model.name == "mlp-3-2"
    assert all(np.isfinite(t).all() for t in (*model.weights, *model.biases))
