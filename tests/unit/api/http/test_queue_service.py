"""The service over a real queue: uploads, jobs, proofs, owners, refusals, failures, metrics."""

from __future__ import annotations

import base64
import errno
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import structlog
from prometheus_client import CollectorRegistry, generate_latest
from redis import Redis
from safetensors.numpy import save

from api.assembly import KEYS, build_service, build_worker, open_store
from api.http import queue_service
from api.http.auth import Caller, Scope
from api.http.problems import ApiProblem
from api.http.queue_service import QueueService
from api.http.schemas import Job, JobRequest, PriorityName, VerifyRequest
from api.http.verifier import Verifier
from api.queue.admin import Heartbeat, QueueAdmin
from api.queue.metrics import QueueCollector
from api.queue.tasks import JobQueue
from api.settings import MAX_TASKS_PER_JOB, Settings
from api.shards import Container
from api.store.keyfolder import load_half
from api.valkey.embedded import connect
from api.verifying import Proven, judge_file
from kernels.backend import get_backend
from prover.circuit.accuracy import compile_accuracy
from prover.errors import FormatError
from prover.groth16 import verify as verify_module
from prover.groth16.commitment import Blinding, SecretCommitment
from prover.groth16.verify import Claim, equations_hold
from prover.keys.card import KeyCard
from prover.keys.folder import VERIFYING_NAME, load_proving_key, load_verifying_half
from prover.keys.halves import VerifyingKey
from prover.model.layers import Requant
from prover.model.network import Architecture
from prover.model.zkq import decode_model, encode_model
from prover.pipeline import commit_job
from prover.wire.envelope import Envelope
from tests.support.foreign import vector
from tests.support.models import random_model
from tests.support.queue_server import running_server

ALICE = Caller(name="alice", scopes=frozenset({Scope.READ, Scope.JOBS}))
BOB = Caller(name="bob", scopes=frozenset({Scope.READ, Scope.JOBS}))
ARCHITECTURE = Architecture.mlp([4, 3, 2])
MODEL = encode_model(random_model(ARCHITECTURE, np.random.default_rng(1)))
N_SAMPLES = 4


def make_samples(n: int, width: int = 4) -> dict[str, Any]:
    rng = np.random.default_rng(n)
    return {
        "images": rng.integers(0, 256, (n, width), dtype=np.uint8),
        "labels": rng.integers(0, 2, n, dtype=np.uint8),
    }


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    folder = tmp_path_factory.mktemp("service")
    with running_server(folder):
        yield replace(Settings(data_dir=folder), retry_first_ms=1, retry_last_ms=1)


@pytest.fixture
def redis(settings: Settings) -> Iterator[Redis]:
    with connect(settings) as client:
        client.flushall()
        yield client


@pytest.fixture
def service(redis: Redis, settings: Settings) -> QueueService:
    return build_service(redis, settings)


def work(redis: Redis, settings: Settings) -> None:
    """A worker does all that waits."""
    log = structlog.wrap_logger(structlog.testing.CapturingLogger())
    worker = build_worker(redis, settings, name="w", stop=Event(), log=log)
    while worker.run_one():
        pass


def upload(service: QueueService, n: int = N_SAMPLES, **change: Any) -> JobRequest:
    """A request of Alice's about n samples of her own."""
    dataset = service.put_dataset(ALICE, save(make_samples(n))).id
    model_id = service.put_model(ALICE, MODEL).id
    fields = {"model_id": model_id, "dataset": dataset, "n_samples": N_SAMPLES}
    return JobRequest(**{**fields, **change})


def do(service: QueueService, redis: Redis, settings: Settings, request: JobRequest) -> Job:
    job = service.submit(ALICE, request, None)
    assert job.state == "queued"
    work(redis, settings)
    return service.get_job(ALICE, job.id)


def test_two_shards_become_one_proof(
    service: QueueService, redis: Redis, settings: Settings
) -> None:
    job = do(service, redis, settings, upload(service, 6))
    assert (job.state, job.shards, job.shards_done) == ("done", 2, 2)
    view = service.describe_proof(ALICE, job.id)
    assert view.circuit is not None
    assert [s.n_real for s in view.statements] == [3, 3]
    assert len({s.d_w for s in view.statements}) == 1
    key, card = load_verifying_half(settings.data_dir / KEYS / view.circuit)
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


def test_a_container_with_false_shards_is_refused_by_one_product(
    service: QueueService, redis: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = upload(service, 10)
    job = do(service, redis, settings, request)
    container = Container.decode(service.get_proof(ALICE, job.id))
    assert container is not None
    first, second, third = (Envelope.decode(raw) for raw in container.envelopes)
    assert first is not None
    assert second is not None
    assert third is not None
    exchanged = [replace(first, proof=second.proof), replace(second, proof=first.proof), third]
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
    assert found.reason.startswith("not all shards hold: ")
    products = []

    def count(claims: Sequence[Claim], **rest: Any) -> bool:
        products.append(len(claims))
        return equations_hold(claims, **rest)

    monkeypatch.setattr(verify_module, "equations_hold", count)
    verifier = Verifier(open_store(settings), settings.data_dir / KEYS)
    assert verifier.verify("alice", ask) == found
    assert products == [3]


def test_a_key_is_read_once_however_often_circuits_are_asked_for(
    service: QueueService, redis: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = do(service, redis, settings, upload(service))
    folders = list[Path]()

    def count(folder: Path) -> tuple[VerifyingKey, KeyCard]:
        folders.append(folder)
        return load_half(folder)

    monkeypatch.setattr(queue_service, "load_half", count)
    service.get_proof(ALICE, job.id)
    assert folders == []
    circuit = service.describe_proof(ALICE, job.id).circuit
    assert service.list_circuits() == service.list_circuits()
    assert service.describe_proof(ALICE, job.id).circuit == circuit is not None
    assert sorted(folders) == sorted(set(folders))
    folder = settings.data_dir / KEYS / str(circuit)
    times = folder.stat().st_atime_ns, (folder / VERIFYING_NAME).stat().st_mtime_ns + 1
    os.utime(folder / VERIFYING_NAME, ns=times)  # as if another key had come
    service.list_circuits()
    assert folders.count(folder) == 2


def test_models_of_other_multipliers_do_not_share_a_card(
    service: QueueService, redis: Redis, settings: Settings
) -> None:
    """Their circuit is one: the proofs of who came second failed under the first one's card."""
    samples, circuits = make_samples(N_SAMPLES), set()
    dataset = service.put_dataset(ALICE, save(samples)).id
    for multiplier in (3, 5):
        requant = Requant(shift=8, q_bits=9, multiplier=multiplier)
        model = random_model(Architecture.mlp([4, 3, 2], requant=requant), np.random.default_rng(1))
        model_id = service.put_model(ALICE, encode_model(model)).id
        request = JobRequest(model_id=model_id, dataset=dataset, n_samples=N_SAMPLES)
        view = service.describe_proof(ALICE, do(service, redis, settings, request).id)
        assert view.circuit is not None
        key, card = load_half(settings.data_dir / KEYS / view.circuit)
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
    name: str, service: QueueService, redis: Redis, settings: Settings, tmp_path: Path
) -> None:
    job = do(service, redis, settings, upload(service))
    folder = settings.data_dir / KEYS / str(service.describe_proof(ALICE, job.id).circuit)
    shutil.copytree(folder, tmp_path / folder.name)
    own = QueueService(service._queue, service._store, tmp_path, service._verifiers)
    assert [c.digest for c in own.list_circuits().circuits] == [folder.name]
    assert own.get_circuit_file(folder.name, name) == (folder / name).read_bytes()
    path = tmp_path / folder.name / name
    path.write_bytes(path.read_bytes().replace(b'"n_samples":4', b'"n_samples":5')[:-1] + b"\1")
    assert own.list_circuits().circuits == []
    for file in ("circuit.json", "verifying.key"):
        with pytest.raises(ApiProblem) as refused:
            own.get_circuit_file(folder.name, file)
        assert refused.value.code == "not_found"


def make_commitment(settings: Settings) -> bytes:
    """Under the key of the model's circuit, which is there."""
    accuracy = compile_accuracy(ARCHITECTURE, N_SAMPLES)
    folder = settings.data_dir / KEYS / KeyCard.of(accuracy).digest.hex()
    blinding = Blinding(rho=7)
    backend = get_backend("cpu")
    key = load_proving_key(folder, load_verifying_half(folder)[0])
    made = commit_job(KeyCard.of(accuracy), key, decode_model(MODEL), blinding, backend=backend)
    return SecretCommitment(public=made, blinding=blinding).encode()


def test_a_proof_under_a_commitment_made_before(
    service: QueueService, redis: Redis, settings: Settings
) -> None:
    assert do(service, redis, settings, upload(service)).state == "done"  # makes the key
    receipt = service.put_commitment(ALICE, make_commitment(settings))
    request = upload(service, 6, commitment_id=receipt.id)
    job = do(service, redis, settings, request)
    assert job.state == "done", job.error
    statements = service.describe_proof(ALICE, job.id).statements
    assert {s.d_w for s in statements} == {receipt.d_w}
    with pytest.raises(ApiProblem, match="not_found"):
        service.submit(BOB, request, None)


def test_a_commitment_to_another_model_proves_nothing(
    service: QueueService, redis: Redis, settings: Settings
) -> None:
    assert do(service, redis, settings, upload(service)).state == "done"
    receipt = service.put_commitment(ALICE, make_commitment(settings))
    other = encode_model(random_model(ARCHITECTURE, np.random.default_rng(2)))
    request = upload(service, model_id=service.put_model(ALICE, other).id, commitment_id=receipt.id)
    job = do(service, redis, settings, request)
    assert job.state == "failed"
    with pytest.raises(ApiProblem, match="not_ready"):
        service.get_proof(ALICE, job.id)


def test_more_shards_than_a_job_may_have_are_refused(service: QueueService) -> None:
    samples = make_samples(2 * MAX_TASKS_PER_JOB + 1)
    dataset = service.put_dataset(ALICE, save(samples)).id
    with pytest.raises(ApiProblem, match="more than 4096 shards"):
        service.submit(ALICE, upload(service, dataset=dataset, n_samples=2), None)


def test_a_store_that_cannot_be_written_is_named(
    service: QueueService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/private/path")

    monkeypatch.setattr(os, "fsync", fail)
    raw = encode_model(random_model(ARCHITECTURE, np.random.default_rng(77)))
    with pytest.raises(ApiProblem, match="unavailable: the store") as refused:
        service.put_model(ALICE, raw)
    assert "/private" not in str(refused.value)


@pytest.mark.parametrize("raw", [b"", b"\xff" * 64, MODEL])
def test_bytes_that_are_no_commitment_are_refused(service: QueueService, raw: bytes) -> None:
    with pytest.raises(FormatError):
        service.put_commitment(ALICE, raw)


def test_a_circuit_without_a_key_fails_by_name_when_keys_are_full(
    service: QueueService, redis: Redis, settings: Settings
) -> None:
    full = replace(settings, keys_limit_bytes=1)
    job = do(service, redis, full, upload(service, 3, n_samples=3))
    assert job.state == "failed"
    assert job.error is not None
    assert job.error.code == "keys_full"
    assert "GET /v1/circuits" in job.error.message


def test_a_caller_with_too_many_results_waits(
    service: QueueService, redis: Redis, settings: Settings
) -> None:
    do(service, redis, settings, upload(service))
    narrow = build_service(redis, replace(settings, owner_bytes_limit=1))
    with pytest.raises(ApiProblem) as refused:
        narrow.submit(ALICE, upload(service, 6), None)
    assert refused.value.code == "quota_full"
    assert refused.value.headers["Retry-After"] == "3600"


def test_a_result_beyond_its_owners_share_fails_by_name(
    service: QueueService, redis: Redis, settings: Settings
) -> None:
    job = submit_product(service, PriorityName.HIGH)
    work(redis, replace(settings, owner_bytes_limit=1))
    ended = service.get_job(ALICE, job.id)
    assert (ended.state, ended.error and ended.error.code) == ("failed", "quota_full")
    assert list(settings.data_dir.glob("private/*")) == []


def submit_product(service: QueueService, priority: PriorityName) -> Job:
    zkey, witness = vector("multiplier", ".zkey"), vector("multiplier", ".wtns")
    with zkey.open("rb") as key_file, witness.open("rb") as witness_file:
        return service.submit_groth16(
            ALICE,
            zkey=key_file,
            witness=witness_file,
            priority=priority,
            idempotency_key=None,
        )


def test_groth16_witness_is_deleted_after_the_job(
    service: QueueService, redis: Redis, settings: Settings
) -> None:
    job = submit_product(service, PriorityName.HIGH)
    assert len(list(settings.data_dir.glob("private/*/witness"))) == 1
    work(redis, settings)
    assert list(settings.data_dir.glob("private/*")) == []
    view = service.describe_proof(ALICE, job.id)
    assert view.groth16 is not None
    assert view.groth16["public"] == ["33"]
    assert json.loads(service.get_proof(ALICE, job.id)) == view.groth16


def test_two_jobs_with_one_witness_each_have_their_own(
    service: QueueService, redis: Redis, settings: Settings
) -> None:
    jobs = [submit_product(service, priority) for priority in (PriorityName.HIGH, PriorityName.LOW)]
    work(redis, settings)
    assert [service.get_job(ALICE, job.id).state for job in jobs] == ["done", "done"]
    assert list(settings.data_dir.glob("private/*")) == []


def test_things_of_others_do_not_exist(service: QueueService) -> None:
    request = upload(service)
    job = service.submit(ALICE, request, None)
    for ask in (service.get_job, service.cancel, service.get_proof, service.describe_proof):
        with pytest.raises(ApiProblem, match="not_found"):
            ask(BOB, job.id)
    with pytest.raises(ApiProblem, match="not_found"):
        service.submit(BOB, request, None)
    assert service.list_jobs(BOB, limit=10, before=None).jobs == []


def test_lists_go_on_where_they_ended(service: QueueService) -> None:
    request = upload(service)
    ids = [
        service.submit(ALICE, request.model_copy(update={"deadline_s": 60 + n}), None).id
        for n in range(5)
    ]
    first = service.list_jobs(ALICE, limit=2, before=None)
    rest = service.list_jobs(ALICE, limit=9, before=first.next)
    assert {job.id for job in (*first.jobs, *rest.jobs)} == set(ids)
    assert len(first.jobs) + len(rest.jobs) == 5
    assert rest.next is None


def test_a_cancelled_job_has_no_proof_and_may_come_again(
    service: QueueService, redis: Redis, settings: Settings
) -> None:
    request = upload(service)
    job = service.submit(ALICE, request, None)
    assert service.cancel(ALICE, job.id).state == "cancelled"
    work(redis, settings)
    with pytest.raises(ApiProblem, match="not_ready"):
        service.get_proof(ALICE, job.id)
    assert do(service, redis, settings, request).state == "done"


def test_a_model_that_is_gone_fails_its_job_by_name(
    service: QueueService, redis: Redis, settings: Settings
) -> None:
    request = upload(service)
    job = service.submit(ALICE, request, None)
    (stored,) = settings.data_dir.glob(f"uploads/*/model/{request.model_id}")
    stored.unlink()
    work(redis, settings)
    error = service.get_job(ALICE, job.id).error
    assert error is not None
    assert error.code == "model_gone"


def test_a_proof_too_large_for_workers_is_refused(service: QueueService) -> None:
    wide = Architecture.mlp([4, 512, 2])
    model = random_model(wide, np.random.default_rng(1))
    model_id = service.put_model(ALICE, encode_model(model)).id
    with pytest.raises(ApiProblem, match="take fewer samples"):
        service.submit(ALICE, upload(service, model_id=model_id, n_samples=4096), None)


def test_a_small_model_of_a_large_circuit_is_refused(service: QueueService) -> None:
    """Its tables of quotients have 2^24 rows; the file has a few hundred bytes."""
    deep = Architecture.mlp([4, 3, 2], requant=Requant(q_bits=24))
    raw = encode_model(random_model(deep, np.random.default_rng(1)))
    assert len(raw) < 600
    model_id = service.put_model(ALICE, raw).id
    with pytest.raises(ApiProblem, match=r"has 167\d{5} rows, and the limit is 4194304"):
        service.submit(ALICE, upload(service, model_id=model_id, n_samples=2), None)


def test_samples_of_another_width_are_refused(service: QueueService) -> None:
    dataset = service.put_dataset(ALICE, save(make_samples(4, width=5))).id
    with pytest.raises(ApiProblem, match="bad_dataset"):
        service.submit(ALICE, upload(service, dataset=dataset), None)


@pytest.mark.parametrize(
    "tensors",
    [
        {"images": np.ones((2, 4), np.uint8)},
        {"images": np.ones((2, 4), np.uint8), "labels": np.zeros(3, np.uint8)},
        {"images": np.ones((2, 4), np.float32), "labels": np.zeros(2, np.uint8)},
        {"images": np.ones((0, 4), np.uint8), "labels": np.zeros(0, np.uint8)},
        {"images": np.ones(4, np.uint8), "labels": np.zeros(4, np.uint8)},
    ],
)
def test_samples_of_other_shapes_are_refused(service: QueueService, tensors: Any) -> None:
    with pytest.raises(ApiProblem, match="bad_dataset"):
        service.put_dataset(ALICE, save(tensors))


@pytest.mark.parametrize("raw", [b"", b"\xff" * 64, b"\x80\x04pickle"])
def test_bytes_that_are_no_samples_are_refused(service: QueueService, raw: bytes) -> None:
    with pytest.raises(ApiProblem, match="bad_dataset"):
        service.put_dataset(ALICE, raw)


def test_every_metric_of_the_dashboard_is_exported(
    service: QueueService, redis: Redis, settings: Settings, root: Path
) -> None:
    do(service, redis, settings, upload(service))
    queue, registry = JobQueue(redis, settings), CollectorRegistry()
    QueueCollector(queue, registry)
    heartbeat = Heartbeat(
        worker="w",
        backend="cuda",
        device="a GPU",
        job_id=None,
        draining=False,
        resident_bytes=1,
        cached_bytes=1,
        gpu_utilization=0.5,
    )
    QueueAdmin(queue).beat(heartbeat)
    text = generate_latest(registry).decode()
    exported = set(re.findall(r"^([a-z_]+)(?:\{|\s)", text, re.MULTILINE))
    board = json.loads((root / "deploy/grafana/dashboards/zkpot.json").read_text())
    expressions = " ".join(t["expr"] for panel in board["panels"] for t in panel["targets"])
    wanted = set(re.findall(r"\b((?:zkpot|redis_stream)_[a-z_]+)", expressions))
    assert len(wanted) > 15
    assert wanted <= exported
    assert 'zkpot_stage_seconds_count{stage="msm"} 1.0' in text
    assert f"zkpot_samples_proven_total {N_SAMPLES:.1f}" in text
