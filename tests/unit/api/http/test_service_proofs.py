"""The service with a worker: proofs, the keys that they need, commitments made before."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from api.http import circuits as circuits_module
from api.http.problems import ApiProblem
from api.http.schemas import JobRequest, VerifyRequest
from api.http.service import Service
from api.http.verifier import Verifier
from api.queue.jobs import Priority
from api.store.keyfolder import load_half, load_half_of_any
from api.store.keyshelf import KeyShelf
from api.store.opening import KEYS, open_shelf
from kernels.backend import get_backend
from prover.groth16 import verify as verify_module
from prover.groth16.verify import Claim, equations_hold
from prover.judging import Proven, judge_file
from prover.keys.card import Card
from prover.keys.folder import VERIFYING_NAME, load_verifying_half
from prover.keys.halves import VerifyingKey
from prover.model.layers import Requant
from prover.model.network import Architecture
from prover.model.zkq import decode_model, encode_model
from prover.pedersen.commitment import Blinding, Committer, SecretCommitment
from prover.pipeline import commit_job
from prover.shards import Container
from prover.wire.envelope import Envelope
from tests.support.models import random_model
from tests.support.proving_service import (
    ALICE,
    BOB,
    N_SAMPLES,
    do,
    make_samples,
    submit_product,
    upload,
    work,
)
from tests.support.still_service import ARCHITECTURE, MODEL, StillService


def test_two_shards_become_one_proof(service: StillService) -> None:
    job = do(service, upload(service, 6))
    assert (job.state, job.shards, job.shards_done) == ("done", 2, 2)
    view = service.describe_proof(ALICE, job.id)
    assert view.circuit is not None
    assert [s.n_real for s in view.statements] == [3, 3]
    assert len({tuple(s.commitments) for s in view.statements}) == 1
    key, card = load_verifying_half(service.settings.data_dir / KEYS / view.circuit)
    samples = make_samples(6)
    outcome = judge_file(
        service.get_proof(ALICE, job.id),
        key=key,
        layout=card.layout,
        images=samples["images"],
        labels=samples["labels"],
        expected={},
        random_bytes=secrets.token_bytes,
    )
    assert isinstance(outcome, Proven)
    assert outcome.n_correct == view.claimed_correct
    assert view.circuit in {circuit.digest for circuit in service.list_circuits().circuits}
    events = service.read_events(ALICE, job.id, after="0-0", block_ms=0)
    while more := service.read_events(ALICE, job.id, after=events[-1].id, block_ms=0):
        events = more  # how many there are depends on the time that proving took
    assert events[-1].type == "end"


def test_a_container_with_false_shards_names_the_first_for_less_than_two_products(
    service: StillService, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = upload(service, 10)
    job = do(service, request)
    container = Container.decode(service.get_proof(ALICE, job.id))
    assert container is not None
    first, second, third = (Envelope.decode(raw) for raw in container.envelopes)
    assert first is not None
    assert second is not None
    assert third is not None
    exchanged = [first, replace(second, proof=third.proof), replace(third, proof=second.proof)]
    raw = Container(tuple(envelope.encode() for envelope in exchanged)).encode()
    circuit = service.describe_proof(ALICE, job.id).circuit
    assert circuit is not None
    ask = VerifyRequest(
        proof_base64=base64.b64encode(raw).decode(), circuit=circuit, dataset=request.dataset
    )
    with closing(service):
        found = service.verify(ALICE, ask)
    assert (found.verdict, found.statements) == ("pairing_failed", [])
    assert found.reason is not None
    assert found.reason.startswith("shard 1: ")
    products = []

    def count(claims: Sequence[Claim], **rest: Any) -> bool:
        products.append(len(claims))
        return equations_hold(claims, **rest)

    monkeypatch.setattr(verify_module, "equations_hold", count)
    verifier = Verifier(service.store, open_shelf(service.settings))
    assert verifier.verify("alice", ask) == found
    assert products == [3, 1, 1]


def test_a_key_is_read_once_however_often_circuits_are_asked_for(
    service: StillService, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = do(service, upload(service))
    folders = list[Path]()

    def count(folder: Path) -> tuple[VerifyingKey, Card]:
        folders.append(folder)
        return load_half_of_any(folder)

    monkeypatch.setattr(circuits_module, "load_half_of_any", count)
    service.get_proof(ALICE, job.id)
    assert folders == []
    circuit = service.describe_proof(ALICE, job.id).circuit
    assert service.list_circuits() == service.list_circuits()
    assert service.describe_proof(ALICE, job.id).circuit == circuit is not None
    assert sorted(folders) == sorted(set(folders))
    folder = service.settings.data_dir / KEYS / str(circuit)
    times = folder.stat().st_atime_ns, (folder / VERIFYING_NAME).stat().st_mtime_ns + 1
    os.utime(folder / VERIFYING_NAME, ns=times)  # as if another key had come
    service.list_circuits()
    assert folders.count(folder) == 2


def test_models_of_other_multipliers_do_not_share_a_card(service: StillService) -> None:
    """Their circuit is one: the proofs of who came second failed under the first one's card."""
    samples, circuits = make_samples(N_SAMPLES), set()
    dataset = service.put_dataset(ALICE, save(samples)).id
    for multiplier in (3, 5):
        requant = Requant(shift=8, q_bits=9, multiplier=multiplier)
        model = random_model(Architecture.mlp([4, 3, 2], requant=requant), np.random.default_rng(1))
        model_id = service.put_model(ALICE, encode_model(model)).id
        request = JobRequest(model_id=model_id, dataset=dataset, n_samples=N_SAMPLES)
        view = service.describe_proof(ALICE, do(service, request).id)
        assert view.circuit is not None
        key, card = load_half(service.settings.data_dir / KEYS / view.circuit)
        outcome = judge_file(
            service.get_proof(ALICE, view.job_id),
            key=key,
            layout=card.layout,
            **samples,
            expected={},
            random_bytes=secrets.token_bytes,
        )
        assert isinstance(outcome, Proven)
        (listed,) = (c for c in service.list_circuits().circuits if c.digest == view.circuit)
        assert (listed.multipliers, listed.key_digest) == ([multiplier], key.digest.hex())
        circuits.add(view.circuit)
    assert len(circuits) == 2


@pytest.mark.parametrize("name", ["circuit.json", "verifying.key"])
def test_a_key_that_was_altered_is_not_served(
    name: str, service: StillService, tmp_path: Path
) -> None:
    job = do(service, upload(service))
    folder = service.settings.data_dir / KEYS / str(service.describe_proof(ALICE, job.id).circuit)
    shutil.copytree(folder, tmp_path / folder.name)
    own = Service(service.queue, service.store, KeyShelf(tmp_path), service._verifiers)
    assert [c.digest for c in own.list_circuits().circuits] == [folder.name]
    assert own.get_circuit_file(folder.name, name) == (folder / name).read_bytes()
    path = tmp_path / folder.name / name
    raw = path.read_bytes().replace(b'"n_samples":4', b'"n_samples":5')
    path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    assert own.list_circuits().circuits == []
    for file in ("circuit.json", "verifying.key"):
        with pytest.raises(ApiProblem) as refused:
            own.get_circuit_file(folder.name, file)
        assert refused.value.code == "not_found"


def make_commitment() -> bytes:
    """By the model's owner, who needs no key for it."""
    blinding = Blinding(rho=7)
    committer = Committer(ARCHITECTURE.n_parameters, get_backend("cpu"))
    made = commit_job(decode_model(MODEL), blinding, committer)
    return SecretCommitment(public=made, blinding=blinding).encode()


def test_a_proof_under_a_commitment_made_before(service: StillService) -> None:
    assert do(service, upload(service)).state == "done"  # makes the key
    receipt = service.put_commitment(ALICE, make_commitment())
    request = upload(service, 6, commitment_id=receipt.id)
    job = do(service, request)
    assert job.state == "done", job.error
    statements = service.describe_proof(ALICE, job.id).statements
    assert [s.commitments for s in statements] == [[receipt.d_w]] * len(statements)
    with pytest.raises(ApiProblem, match="not_found"):
        service.submit(BOB, request, None)


def test_a_commitment_to_another_model_proves_nothing(service: StillService) -> None:
    assert do(service, upload(service)).state == "done"
    receipt = service.put_commitment(ALICE, make_commitment())
    other = encode_model(random_model(ARCHITECTURE, np.random.default_rng(2)))
    request = upload(service, model_id=service.put_model(ALICE, other).id, commitment_id=receipt.id)
    job = do(service, request)
    assert job.state == "failed"
    with pytest.raises(ApiProblem, match="not_ready"):
        service.get_proof(ALICE, job.id)


def test_groth16_witness_is_deleted_after_the_job(service: StillService) -> None:
    job = submit_product(service, Priority.HIGH)
    assert len(list(service.settings.data_dir.glob("private/*/witness"))) == 1
    work(service)
    assert list(service.settings.data_dir.glob("private/*")) == []
    view = service.describe_proof(ALICE, job.id)
    assert view.groth16 is not None
    assert view.groth16["public"] == ["33"]
    assert json.loads(service.get_proof(ALICE, job.id)) == view.groth16


def test_two_jobs_with_one_witness_each_have_their_own(service: StillService) -> None:
    jobs = [submit_product(service, priority) for priority in (Priority.HIGH, Priority.LOW)]
    work(service)
    assert [service.get_job(ALICE, job.id).state for job in jobs] == ["done", "done"]
    assert list(service.settings.data_dir.glob("private/*")) == []
