"""Statements and envelopes: one value, one encoding; every other byte string is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kernels.array import G1Array, G2Array
from kernels.bn254 import P, R
from kernels.encoding import encode_g1, encode_g2
from prover.errors import FieldInvalid
from prover.groth16.transcript import compute_challenges
from prover.keys.halves import VerifyingKey
from prover.wire.envelope import MAX_ENVELOPE_BYTES, PROOF_BYTES, Envelope, Proof
from prover.wire.statement import MAX_LINKED, MAX_MULTIPLIERS, Statement
from prover.wire.verdict import Verdict
from tests.support.proof_vectors import PROOF as VECTORS
from tests.support.proof_vectors import make_proof
from tests.support.statements import make_statement, restate
from tests.support.toy_protocol import TOY, honest, verdict_of


def example(**changes: Any) -> Statement:
    base = make_statement(
        chain_id=b"chain",
        task_id=b"task",
        round_index=1,
        commit_height=2,
        client_key=b"key",
        verifying_key_digest=bytes(32),
        shard_index=3,
        n_real=1000,
        dataset_digest=bytes([1]) * 32,
        multipliers=(1, 32767),
        claimed_correct=970,
        commitments=(bytes([2]) * 32,),
    )
    return restate(base, **changes)


CHANGES: list[dict[str, Any]] = [
    {"chain_id": b"other"},
    {"task_id": b"x" * 64},
    {"round_index": 2**63 - 1},
    {"commit_height": 0},
    {"client_key": b"\0"},
    {"verifying_key_digest": b"\xff" * 32},
    {"shard_index": 9},
    {"n_real": 970},
    {"dataset_digest": b"\xaa" * 32},
    {"multipliers": ()},
    {"claimed_correct": 0},
    {"commitments": (bytes(32),)},
    {"commitments": ()},
    {"commitments": (bytes([2]) * 32, bytes([3]) * 32)},
]


def test_every_field_is_in_the_encoding() -> None:
    assert {name for change in CHANGES for name in change} == example().list_values().keys()
    encodings = {example(**change).encode() for change in CHANGES} | {example().encode()}
    assert len(encodings) == len(CHANGES) + 1


@pytest.mark.parametrize("change", CHANGES)
def test_statements_survive_a_round_trip(change: dict[str, Any]) -> None:
    statement = example(**change)
    assert Statement.decode(statement.encode()) == statement


@pytest.mark.parametrize(
    "change",
    [
        {"chain_id": b""},
        {"task_id": b"x" * 65},
        {"client_key": b""},
        {"round_index": -1},
        {"commit_height": 2**63},
        {"verifying_key_digest": bytes(31)},
        {"commitments": (bytes(33),)},
        {"commitments": (bytes(32),) * (MAX_LINKED + 1)},
        {"dataset_digest": b""},
        {"claimed_correct": 1001},
        {"claimed_correct": -1},
        {"claimed_correct": 970 + R},
        {"multipliers": (0,)},
        {"multipliers": (1 << 15,)},
        {"multipliers": (1,) * (MAX_MULTIPLIERS + 1)},
    ],
)
def test_fields_out_of_range_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(FieldInvalid):
        example(**change)


def test_bytes_out_of_range_are_no_statement() -> None:
    raw = example().encode()
    assert Statement.decode(b"") is None
    assert Statement.decode(raw[:-1]) is None
    assert Statement.decode(raw + b"\0") is None
    assert Statement.decode(bytes([8, 0, 0, 0, 1]) + raw[5:]) is None  # protocol version 1
    for at in range(len(raw)):
        for delta in (1, 0x80):
            changed = raw[:at] + bytes([raw[at] ^ delta]) + raw[at + 1 :]
            decoded = Statement.decode(changed)
            assert decoded is None or (decoded.encode() == changed and decoded != example())


def test_the_largest_statement_fits_an_envelope() -> None:
    largest = example(
        chain_id=b"c" * 64,
        task_id=b"t" * 64,
        client_key=b"k" * 64,
        multipliers=(1,) * MAX_MULTIPLIERS,
        commitments=(bytes(32),) * MAX_LINKED,
    )
    raw = Envelope(statement=largest, proof=bytes(PROOF_BYTES)).encode()
    assert len(raw) <= MAX_ENVELOPE_BYTES
    assert Envelope.decode(raw) is not None


def test_envelopes_survive_a_round_trip() -> None:
    raw = honest().envelope
    envelope = Envelope.decode(raw)
    assert envelope is not None
    assert envelope.encode() == raw
    assert envelope.statement == honest().statement
    assert len(envelope.proof) == PROOF_BYTES
    assert envelope.committed == envelope.proof[128:]
    proof = Proof.decode(envelope.proof)
    assert isinstance(proof, Proof)
    assert proof.encode() == envelope.proof
    assert proof.a.equals(honest().points.a)


@pytest.mark.parametrize("cut", [0, 1, 8, 13, 14, 100])
def test_cut_and_grown_envelopes_are_refused(cut: int) -> None:
    raw = honest().envelope
    assert Envelope.decode(raw[:cut]) is None
    assert Envelope.decode(raw[: len(raw) - 1 - cut]) is None
    assert Envelope.decode(raw + bytes(1 + cut)) is None
    assert Envelope.decode(raw[:10] + bytes([raw[10] ^ 1]) + raw[11:]) is None
    assert Envelope.decode(raw[:8] + b"\2\0" + raw[10:]) is None


def coordinate_plus_p(compressed: bytes) -> bytes:
    """The same x, written as x + p where that fits under the flags."""
    value = int.from_bytes(compressed, "little") & ((1 << 254) - 1)
    return ((value + P) % (1 << 256)).to_bytes(32, "little")


def test_points_have_one_encoding() -> None:
    proof = honest().proof.encode()
    assert isinstance(Proof.decode(proof), Proof)
    assert Proof.decode(proof[:-1]) is Verdict.MALFORMED
    assert Proof.decode(coordinate_plus_p(proof[:32]) + proof[32:]) is Verdict.MALFORMED
    assert Proof.decode(b"\xff" * 32 + proof[32:]) is Verdict.MALFORMED
    infinity_with_payload = b"\1" + bytes(30) + b"\x40"
    assert Proof.decode(infinity_with_payload + proof[32:]) is Verdict.MALFORMED


def test_points_outside_their_groups_are_named() -> None:
    proof = honest().proof.encode()
    x = next(x for x in range(1, 50) if pow(x**3 + 3, (P - 1) // 2, P) == P - 1)
    off_curve = x.to_bytes(32, "little")
    assert Proof.decode(off_curve + proof[32:]) is Verdict.NOT_ON_CURVE
    for at in (96, 128, 160, 192):
        changed = proof[:at] + off_curve + proof[at + 32 :]
        assert Proof.decode(changed) is Verdict.NOT_ON_CURVE
    outside = [
        Proof.decode(proof[:32] + x.to_bytes(32, "little") + bytes(32) + proof[96:])
        for x in range(1, 20)
    ]
    assert Verdict.WRONG_SUBGROUP in outside
    assert set(outside) <= {Verdict.WRONG_SUBGROUP, Verdict.NOT_ON_CURVE}


def test_a_proof_has_one_length_and_each_point_its_place() -> None:
    raw = honest().proof.encode()
    proof = Proof.decode(raw)
    assert isinstance(proof, Proof)
    assert len(raw) == PROOF_BYTES == 224
    points = [honest().linked.own, honest().linked.link, honest().d_a]
    assert raw[128:] == b"".join(map(encode_g1, points))
    assert all(a.equals(b) for a, b in zip(points, [proof.own, proof.link, proof.d_a], strict=True))
    for other in (raw[:160], raw[:-32], raw + raw[:32], raw + raw[:64]):
        assert Proof.decode(other) is Verdict.MALFORMED


# -- committed vectors -----------------------------------------------------------------------------


def test_vectors_of_version_3() -> None:
    """Old bytes keep their meaning: key, envelope, challenges and verdicts as committed."""
    vectors = json.loads(VECTORS.read_text("ascii"))
    key = VerifyingKey.decode(bytes.fromhex(vectors["verifying_key"]))
    assert key.encode().hex() == vectors["verifying_key"]
    assert key.digest.hex() == vectors["verifying_key_digest"]
    envelope = Envelope.decode(bytes.fromhex(vectors["envelope"]))
    assert envelope is not None
    assert envelope.encode().hex() == vectors["envelope"]
    assert envelope.statement.encode().hex() == vectors["statement"]
    challenges = compute_challenges(
        envelope.statement.encode(),
        committed=envelope.committed,
        n_challenges=key.n_challenges,
    )
    assert [str(c) for c in challenges] == vectors["challenges"]
    public = TOY.public_inputs(envelope.statement, challenges)
    assert public is not None
    assert [str(x) for x in public.to_ints()] == vectors["public"]
    assert verdict_of(envelope.encode(), key) is Verdict.VALID


def test_refused_vectors_of_version_3() -> None:
    vectors = json.loads(VECTORS.read_text("ascii"))
    key = VerifyingKey.decode(bytes.fromhex(vectors["verifying_key"]))
    assert {case["verdict"] for case in vectors["refused"]} == set(Verdict) - {Verdict.VALID}
    for case in vectors["refused"]:
        assert verdict_of(bytes.fromhex(case["envelope"]), key) == case["verdict"], case["why"]


def test_vectors_are_what_the_code_makes_today() -> None:
    assert json.loads(VECTORS.read_text("ascii")) == make_proof()


def test_infinity_encodes_an_absent_group() -> None:
    assert encode_g1(G1Array.zeros(1)) == bytes(31) + b"\x40"
    assert encode_g2(G2Array.zeros(1)) == bytes(63) + b"\x40"
