"""What `proof_v3.json`, `shards_v2.json` and `circuit_v3.json` of `tests/vectors` hold, from seeds.

`python -m tests.support.proof_vectors` writes the files.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from kernels.array import G1Array
from kernels.bn254 import G1, P
from kernels.encoding import encode_g1
from prover.keys.card import KeyCard
from prover.shards import MAX_SHARDS, Container
from prover.wire.envelope import Envelope, Proof
from prover.wire.verdict import Verdict
from tests.support.learning import accuracy
from tests.support.statements import restate
from tests.support.toy_protocol import honest, toy_key

FOLDER = Path(__file__).resolve().parent.parent / "vectors"
PROOF, SHARDS, CARD = (
    FOLDER / name for name in ("proof_v3.json", "shards_v2.json", "circuit_v3.json")
)
OFF_CURVE = next(x for x in range(1, 50) if pow(x**3 + 3, (P - 1) // 2, P) == P - 1)


def make_proof() -> dict[str, Any]:
    """The valid envelope with all that follows from it, and those that are refused."""
    run = honest()
    return {
        "verifying_key": toy_key().verifying.encode().hex(),
        "verifying_key_digest": toy_key().verifying.digest.hex(),
        "envelope": run.envelope.hex(),
        "statement": run.statement.encode().hex(),
        "challenges": [str(c) for c in run.challenges],
        "public": [str(x) for x in run.public],
        "refused": [
            {"verdict": verdict.value, "why": why, "envelope": raw.hex()}
            for verdict, why, raw in list_refused()
        ],
    }


def list_refused() -> list[tuple[Verdict, str, bytes]]:
    run, raw = honest(), honest().envelope
    proof = run.proof.encode()
    (d_w,) = run.statement.commitments
    another = encode_g1(G1Array.from_ints([G1]))

    def with_proof(changed: bytes) -> bytes:
        return Envelope(statement=run.statement, proof=changed).encode()

    def with_statement(**changes: Any) -> bytes:
        return Envelope(statement=restate(run.statement, **changes), proof=proof).encode()

    off_curve = OFF_CURVE.to_bytes(32, "little")
    return [
        (Verdict.MALFORMED, "one byte too many", raw + b"\0"),
        (Verdict.MALFORMED, "version 2", raw[:8] + b"\2\0" + raw[10:]),
        (Verdict.MALFORMED, "coordinate of A is p or more", with_proof(b"\xff" * 32 + proof[32:])),
        (Verdict.MALFORMED, "no link", raw[:-96] + raw[-32:]),
        (Verdict.NOT_ON_CURVE, "A is off the curve", with_proof(off_curve + proof[32:])),
        (Verdict.NOT_ON_CURVE, "D_W is off the curve", with_statement(commitments=(off_curve,))),
        (Verdict.WRONG_SUBGROUP, "B is outside the subgroup", with_proof(leave_subgroup(proof))),
        (
            Verdict.WRONG_KEY,
            "statement names another key",
            with_statement(verifying_key_digest=bytes(32)),
        ),
        (
            Verdict.WRONG_STATEMENT,
            "statement is about data the verifier has not",
            with_statement(dataset_digest=bytes(32)),
        ),
        (
            Verdict.WRONG_STATEMENT,
            "statement is about two commitments, the key links one",
            with_statement(commitments=(d_w, d_w)),
        ),
        (
            Verdict.PAIRING_FAILED,
            "statement is about another commitment",
            with_statement(commitments=(another,)),
        ),
        (
            Verdict.PAIRING_FAILED,
            "one more correct sample claimed",
            with_statement(claimed_correct=run.statement.claimed_correct + 1),
        ),
        (Verdict.PAIRING_FAILED, "another round", with_statement(round_index=4)),
        (
            Verdict.PAIRING_FAILED,
            "C is the point of D_A",
            with_proof(proof[:96] + proof[192:] + proof[128:]),
        ),
        (
            Verdict.PAIRING_FAILED,
            "D' and pi are exchanged",
            with_proof(proof[:128] + proof[160:192] + proof[128:160] + proof[192:]),
        ),
    ]


def leave_subgroup(proof: bytes) -> bytes:
    """B on the twist, but of another order."""
    candidates = (proof[:32] + x.to_bytes(64, "little") + proof[96:] for x in range(1, 50))
    return next(raw for raw in candidates if Proof.decode(raw) is Verdict.WRONG_SUBGROUP)


def make_shards() -> dict[str, Any]:
    """Two envelopes, their container, and what is none."""
    first = honest().envelope
    decoded = Envelope.decode(first)
    assert decoded is not None
    second = replace(decoded, statement=replace(decoded.statement, shard_index=1)).encode()
    raw = Container((first, second)).encode()
    counted = {n: raw[:10] + n.to_bytes(4, "little") + raw[14:] for n in (1, 3, MAX_SHARDS + 1)}
    refused = {
        "no bytes": b"",
        "cut before the number of envelopes": raw[:10],
        "no envelope": raw[:10] + bytes(4),
        "the last envelope is cut": raw[:-1],
        "a byte after the last envelope": raw + b"\0",
        "fewer envelopes than announced": counted[3],
        "more envelopes than announced": counted[1],
        "more than 4,096 envelopes announced": counted[MAX_SHARDS + 1],
        "another version": raw[:8] + b"\1\0" + raw[10:],
        "other magic bytes": b"zkpotprf" + raw[8:],
    }
    return {
        "envelopes": [first.hex(), second.hex()],
        "container": raw.hex(),
        "refused": [{"why": why, "bytes": bad.hex()} for why, bad in refused.items()],
    }


if __name__ == "__main__":
    PROOF.write_text(json.dumps(make_proof(), indent=1) + "\n", "ascii")
    SHARDS.write_text(json.dumps(make_shards(), indent=1) + "\n", "ascii")
    CARD.write_bytes(KeyCard.of(accuracy()).encode())
