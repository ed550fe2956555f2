"""Contracts of keys of training, compiled and called with envelopes of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kernels.array import G1Array
from kernels.encoding import Refused, decode_g1
from prover.wire.envelope import Proof
from prover.wire.statement import Occasion
from prover.wire.training import ExportEnvelope, ExportStatement, StepEnvelope, StepStatement
from prover.wire.verdict import Verdict
from tests.support.contracts import SETTINGS, Artifact
from tests.support.npm import install
from tests.support.solidity import SOLC, run_solc

Point = tuple[int, int]
Values = tuple[Any, ...]


def compile_sources(root: Path, sources: Mapping[str, str]) -> dict[str, Artifact]:
    """The contract of each source, by the source's name. Without a warning."""
    request = {
        "language": "Solidity",
        "sources": {name: {"content": source} for name, source in sources.items()},
        "settings": SETTINGS,
    }
    answer = run_solc(install(root, SOLC, "solc.js"), request)
    assert not answer.get("errors"), answer["errors"][0]["formattedMessage"]
    found = {}
    for name in sources:
        (contract,) = answer["contracts"][name].values()
        code = bytes.fromhex(contract["evm"]["bytecode"]["object"])
        found[name] = Artifact(code, contract["abi"])
    return found


def arrange(envelope: StepEnvelope | ExportEnvelope) -> Values:
    """The arguments of `verify`."""
    proof = Proof.decode(envelope.proof)
    assert not isinstance(proof, Verdict)
    return arrange_statement(envelope.statement), arrange_proof(proof)


def arrange_statement(statement: StepStatement | ExportStatement) -> Values:
    points = decode_g1(b"".join(statement.commitments), len(statement.commitments))
    assert not isinstance(points, Refused)
    is_step = isinstance(statement, StepStatement)
    numbers = (statement.step, statement.n_real) if is_step else ()
    return arrange_occasion(statement.occasion), *numbers, list_points(points)


def arrange_occasion(occasion: Occasion) -> Values:
    return tuple(occasion.list_values().values())


def arrange_proof(proof: Proof) -> Values:
    (b,) = proof.b.to_ints()
    (x0, x1), (y0, y1) = b or ((0, 0), (0, 0))
    a, *rest = list_points(G1Array.concat([proof.a, proof.c, proof.own, proof.link, proof.d_a]))
    return a, ((x1, x0), (y1, y0)), *rest


def list_points(points: G1Array) -> list[Point]:
    return [point or (0, 0) for point in points.to_ints()]
