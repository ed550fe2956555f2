"""A task with bounds on updates: which second envelopes a block may hold, and what they must prove.

Client 0's model is the global one; the others' weights are up to 40 away from it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from consensus.disk.blob_limits import make_limit
from consensus.disk.task_keys import check_task_keys, load_norm_key
from consensus.learning.admission import (
    expect_update_statement,
    find_admission_fault,
)
from consensus.learning.aggregate import ONE, GlobalModel
from consensus.learning.chain_state import ChainState
from consensus.wire.gossip_messages import MAX_BLOB_BYTES
from consensus.wire.transactions import Proof
from prover.errors import KeyMismatch
from prover.model.update import compute_origin_digest
from prover.wire.update import UpdateEnvelope
from prover.wire.verdict import Verdict
from tests.support.bounded_lab import BOUNDS, BoundedLab, norm_key
from tests.support.learning import (
    ARCHITECTURE,
    ProvenLab,
    model_of,
)
from tests.support.memory_blobs import MemoryBlobs


@cache
def lab() -> BoundedLab:
    return BoundedLab()


@cache
def _accuracy(i: int) -> Proof:
    return lab().prove(i, lab().first)


@cache
def bounded(i: int) -> UpdateEnvelope:
    return lab().bound(i)


def judge(state: ChainState, *proofs: Proof) -> list[Verdict]:
    return lab().verifier().check_proofs(state, proofs)


def test_a_proof_with_its_bounds_counts() -> None:
    proofs = [lab().send(i, bounded(i)) for i in range(2)]
    assert [find_admission_fault(lab().later, proof) for proof in proofs] == [None, None]
    assert judge(lab().later, *proofs) == [Verdict.VALID] * 2
    assert find_block_fault(lab().later, *proofs) is None


def test_a_proof_without_bounds_does_not_count() -> None:
    missing = lab().send(1, None)
    assert find_admission_fault(lab().later, missing) == (
        "the envelope of bounds is missing or malformed"
    )
    assert judge(lab().later, missing, lab().send(0, bounded(0))) == [
        Verdict.WRONG_STATEMENT,
        Verdict.VALID,
    ]


def test_nothing_is_asked_before_there_is_a_global_model() -> None:
    assert judge(lab().first, lab().send(1, None)) == [Verdict.VALID]
    fault = find_admission_fault(lab().first, lab().send(1, bounded(1)))
    assert fault == "bounds are proven that nobody asks for"


def test_nothing_is_asked_in_a_task_without_bounds() -> None:
    state = replace(lab().later, genesis=replace(lab().genesis, task=ProvenLab().task))
    with_bounds = lab().send(1, bounded(1))
    assert find_admission_fault(state, with_bounds) is not None
    with pytest.raises(ValueError, match="no bounds"):
        expect_update_statement(state, lab().client(1), origin_digest=bytes(32))
    with pytest.raises(ValueError, match="no bounds"):
        load_norm_key(state.genesis.task, lab().blobs)


def test_bounds_around_another_model_are_refused() -> None:
    """True ones, from where this client would rather be measured."""
    elsewhere = lab().send(1, lab().bound(1, origin=model_of(1)))
    assert find_admission_fault(lab().later, elsewhere) is None, "which model needs its bytes"
    assert judge(lab().later, elsewhere) == [Verdict.WRONG_STATEMENT]
    assert judge(lab().measure_from(model_of(1)), elsewhere) == [Verdict.VALID]


def test_bounds_renamed_to_the_global_model_do_not_verify() -> None:
    own = lab().bound(1, origin=model_of(1))
    renamed = replace(own.statement, origin_digest=compute_origin_digest(model_of(0)))
    forged = lab().send(1, replace(own, statement=renamed))
    honest = lab().send(0, bounded(0))
    assert judge(lab().later, forged, honest) == [Verdict.PAIRING_FAILED, Verdict.VALID]
    fault = find_block_fault(lab().later, honest, forged)
    assert fault is not None
    assert fault.endswith(f"client {lab().client(1).hex()}: its proof is pairing_failed")


def test_bounds_of_another_client_or_commitment_are_refused() -> None:
    stolen = lab().send(1, bounded(0))
    assert find_admission_fault(lab().later, stolen) == "the statement of bounds is another"
    expected = expect_update_statement(
        lab().later,
        lab().client(1),
        origin_digest=compute_origin_digest(model_of(0)),
    )
    assert expected == bounded(1).statement
    restated = lab().send(1, replace(bounded(0), statement=expected))
    assert judge(lab().later, restated) == [Verdict.PAIRING_FAILED]


@pytest.mark.parametrize(
    "change", [{"round_index": 1}, {"commit_height": 1}, {"chain_id": b"x"}, {"task_id": b"x"}]
)
def test_bounds_on_another_occasion_are_refused(change: dict[str, object]) -> None:
    lied = lab().send(1, lab().bound(1, **change))
    assert find_admission_fault(lab().later, lied) == "the statement of bounds is another"


def test_a_false_proof_of_accuracy_is_not_saved_by_true_bounds() -> None:
    proof = _accuracy(1)
    cut = replace(proof, envelope=proof.envelope[:-32] + bytes(32), norm=bounded(1).encode())
    assert judge(lab().later, lab().sign(cut, lab().clients[1])) != [Verdict.VALID]


def find_block_fault(state: ChainState, *proofs: Proof) -> str | None:
    return lab().verifier().check(state, lab().block(state, proofs))


# -- what a node needs for it ----------------------------------------------------------------------


def test_a_node_fetches_the_key_and_the_global_model() -> None:
    state, verifier = lab().later, lab().verifier()
    block = lab().block(state, [lab().send(1, bounded(1))])
    needed = verifier.list_needed_blobs(state, block)
    asked = lab().task.norm
    assert asked is not None
    assert {asked.verifying_key_digest, state.global_model} <= set(needed)
    assert verifier.find_missing_blobs(needed) == ()
    limit = make_limit(lab().task)
    assert limit(asked.verifying_key_digest) == MAX_BLOB_BYTES


def test_the_key_of_bounds_is_the_genesis_own() -> None:
    task = lab().task
    assert load_norm_key(task, lab().blobs).digest == norm_key().verifying.digest
    check_task_keys(task, lab().blobs)
    check_task_keys(task, MemoryBlobs())
    looser = replace(task.norm, bounds=replace(BOUNDS, weight=41))
    other = replace(task.norm, circuit_digest=bytes(32))
    swapped = replace(task.norm, verifying_key_digest=task.verifying_key_digest)
    for lie in (looser, other, swapped):
        with pytest.raises(KeyMismatch, match="the genesis contradicts the key"):
            check_task_keys(replace(task, norm=lie), lab().blobs)


def test_the_rounded_model_is_what_is_measured_from() -> None:
    """Half a step up rounds up, as for the margin of a task."""
    numbers = model_of(0).wires * ONE + np.where(np.arange(43) % 2, ONE // 2 - 1, -(ONE // 2))
    mean = GlobalModel(architecture=ARCHITECTURE, numbers=numbers)
    state = replace(lab().first, global_model=lab().blobs.put(mean.encode()))
    assert judge(state, lab().send(1, bounded(1))) == [Verdict.VALID]
