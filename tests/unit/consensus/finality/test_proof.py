"""Proofs of the ledger as JSON: what holds, and what does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from consensus.errors import LedgerProofInvalid
from consensus.finality.certificate import Statement
from consensus.finality.ledger import read_ledger
from consensus.finality.proof import check_proof, make_proof, show_signature
from consensus.learning.chain_state import Phase
from prover.errors import FieldInvalid
from tests.support.finality import make_certificate
from tests.support.learning import Lab
from tests.support.ledger_vectors import make_lab

LAB = make_lab()
HEAD = LAB.reach(Phase.COMMIT, learning_round=1)
CERTIFICATE = make_certificate(LAB, HEAD)
LEDGER = read_ledger(HEAD)
PROOF = make_proof(CERTIFICATE, LEDGER, LEDGER.leaves, LAB.genesis)


def test_a_proof_holds() -> None:
    certificate, leaves = check_proof(json.loads(json.dumps(PROOF)), LAB.genesis)
    assert certificate == CERTIFICATE
    assert leaves == LEDGER.leaves
    assert {leaf.client_key for leaf in leaves} == {LAB.client(i) for i in range(4)}
    assert sum(leaf.weight for leaf in leaves) == certificate.total_weight
    assert sum(leaf.rewards for leaf in leaves) == certificate.total_rewards


def test_the_ledger_has_bound_clients_only() -> None:
    assert LEDGER.find(LAB.client(4)) is None
    assert HEAD.weights[LAB.client(4)] > 0
    assert LEDGER.total_weight == sum(HEAD.weights.values()) - HEAD.weights[LAB.client(4)]


def test_without_bound_clients_the_root_is_zero() -> None:
    lab = Lab()
    state = lab.reach(Phase.COMMIT)
    said = Statement.of(state)
    assert (said.ledger_root, said.total_weight, said.total_rewards) == (bytes(32), 0, 0)
    proof = make_proof(make_certificate(lab, state), read_ledger(state), (), lab.genesis)
    assert check_proof(proof, lab.genesis)[1] == ()


def put(*place: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(proof: Any) -> None:
        *way, last = place
        for step in way:
            proof = proof[step]
        proof[last] = value

    return change


LIES = {
    "of another chain": (put("genesis", value="0x" + "00" * 32), "another chain"),
    "another version": (put("version", value=2), "version 1"),
    "a true for a version": (put("version", value=True), "number"),
    "a fraction for a version": (put("version", value=1.0), "number"),
    "another key": (put("group_key", 0, value="0x" + "00" * 32), "another group key"),
    "a raised total": (put("certificate", "total_weight", value=10**9), "certificate"),
    "another root": (put("certificate", "ledger_root", value="0x" + "00" * 32), "certificate"),
    "another height": (put("certificate", "height", value=HEAD.height + 1), "certificate"),
    "height 0": (put("certificate", "height", value=0), "values that are none"),
    "no signature": (put("certificate", "signature", value=[]), "two words"),
    "words beyond the field": (
        put("certificate", "signature", value=["0x" + "ff" * 32] * 2),
        "no point",
    ),
    "infinity": (put("certificate", "signature", value=["0x" + "00" * 32] * 2), "no point"),
    "no point": (put("certificate", "signature", value=["0x" + "01" * 32] * 2), "no point"),
    "a raised weight": (put("leaves", 0, "weight", value=10**7), "not under the root"),
    "raised rewards": (put("leaves", 1, "rewards", value=1), "not under the root"),
    "another account": (put("leaves", 0, "account", value="0x" + "00" * 20), "not under the root"),
    "a node as path": (put("leaves", 0, "proof", value=[]), "not under the root"),
    "a long path": (put("leaves", 0, "proof", value=["0x" + "00" * 32] * 17), "no length"),
    "a short hash": (put("leaves", 0, "client_key", value="0x00"), "32 bytes"),
    "no hash": (put("leaves", 0, "client_key", value="0x" + "zz" * 32), "hexadecimal"),
    "a true for a number": (put("leaves", 0, "weight", value=True), "number"),
    "a negative number": (put("leaves", 0, "weight", value=-1), "number"),
    "more fields": (put("more", value=1), "exactly"),
    "leaves that are none": (put("leaves", value=[1]), "exactly"),
    "no list": (put("leaves", value={}), "no list"),
}


@pytest.mark.parametrize(("lie", "why"), LIES.values(), ids=LIES.keys())
def test_a_lie_is_refused(lie: Callable[[dict[str, Any]], None], why: str) -> None:
    proof = deepcopy(PROOF)
    lie(proof)
    with pytest.raises(LedgerProofInvalid, match=why):
        check_proof(proof, LAB.genesis)


@pytest.mark.parametrize("value", [None, [], "x", {}, {"version": 1}])
def test_other_values_are_no_proof(value: Any) -> None:
    with pytest.raises(LedgerProofInvalid):
        check_proof(value, LAB.genesis)


def test_infinity_is_no_signature() -> None:
    with pytest.raises(FieldInvalid):
        show_signature(bytes(31) + b"\x40")
