"""Proofs of training over HTTP: an order becomes a job, its steps are shared, its secrets go."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import structlog
from starlette.testclient import TestClient

from api.assembly import build_worker
from api.client.http import Client
from api.http.auth import Caller
from api.http.problems import ApiProblem
from api.http.routes.jobs import MAX_ORDER_BYTES
from api.http.schemas import CircuitKind, Job
from api.queue.admin import Heartbeat, QueueAdmin
from api.queue.jobs import Priority
from api.store.keyfolder import load_half_of
from api.store.opening import KEYS
from federated.provable.orders import OrderHead
from kernels.encoding import encode_g1
from prover.keys.halves import VerifyingKey
from prover.keys.training_card import ExportCard, StepCard
from prover.pedersen.commitment import SecretCommitment
from prover.wire.records import LENGTH_BYTES
from prover.wire.training import TrainingProofs
from prover.wire.verdict import Verdict
from tests.support.ordered import CHOSEN, judge, open_order, recipe, trained
from tests.support.proving_service import ALICE, BOB, upload, work
from tests.support.proving_service import do as prove_accuracy
from tests.support.routes import expect_problem, make_http
from tests.support.still_service import MODEL, StillService
from tests.support.training import make_small_recipe

RAW = trained().write()
PATH = "/v1/jobs/training"
NUMBER = int(trained().path.public.numbers[CHOSEN[0]])
"""Of the batch of the first step."""
SECRETS = (
    trained().path.trajectory.get_masters(2).astype("<i4").tobytes()[:64],
    trained().batches.get_samples(NUMBER)[0].tobytes(),
    trained().batches.get_blinding(NUMBER).to_bytes(32, "little"),
    trained().path.get_blinding(3).to_bytes(32, "little"),
    trained().model.blinding.rho.to_bytes(32, "little"),
)


def submit(service: StillService, raw: bytes = RAW, caller: Caller = ALICE) -> Job:
    return service.submit_training(
        caller,
        order=BytesIO(raw),
        priority=Priority.NORMAL,
        deadline_s=None,
        idempotency_key=None,
    )


def do(service: StillService, raw: bytes = RAW) -> Job:
    job = submit(service, raw)
    work(service)
    return service.get_job(ALICE, job.id)


def find_keys(service: StillService) -> dict[CircuitKind, VerifyingKey]:
    """The service's own, by what their circuits are of."""
    folder, found = service.settings.data_dir / KEYS, {}
    for one in service.list_circuits().circuits:
        kinds = {CircuitKind.STEP: StepCard, CircuitKind.EXPORT: ExportCard}
        if one.kind in kinds:
            found[one.kind], card = load_half_of(folder / one.digest, kinds[one.kind])
            assert card.recipe == recipe()
    return found


def judge_by(service: StillService, proofs: TrainingProofs) -> Verdict:
    keys = find_keys(service)
    return judge(proofs, keys[CircuitKind.STEP], keys[CircuitKind.EXPORT])


@pytest.fixture(autouse=True)
def sweep(service: StillService) -> None:
    """Nothing is left of jobs of other tests."""
    service.sweep()


@pytest.fixture
def proven(service: StillService) -> Job:
    return do(service)


def fetch(service: StillService, job: Job) -> TrainingProofs:
    found = TrainingProofs.decode(service.get_proof(ALICE, job.id))
    assert found is not None
    return found


# -- from an order to proofs


def test_an_order_becomes_proofs_of_what_it_commits_to(
    http: TestClient, service: StillService
) -> None:
    answer = http.post(PATH, files={"order": RAW}, data={"priority": "high", "deadline_s": "600"})
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert answer.headers["Location"] == f"/v1/jobs/{job['id']}"
    assert (job["kind"], job["state"], job["priority"]) == ("training", "queued", "high")
    assert (job["steps"], job["steps_done"], job["shards"]) == (3, 0, 4)
    assert job["expires_at"] == pytest.approx(job["created_at"] + 600, abs=1)
    expect_problem(http.get(f"/v1/jobs/{job['id']}/proof"), 409, "not_ready")
    work(service)
    ended = http.get(f"/v1/jobs/{job['id']}").json()
    assert (ended["state"], ended["steps_done"], ended["shards_done"]) == ("done", 3, 4)
    raw = http.get(f"/v1/jobs/{job['id']}/proof").content
    proofs = TrainingProofs.decode(raw)
    assert proofs is not None
    assert judge_by(service, proofs) is Verdict.VALID
    view = http.get(f"/v1/jobs/{job['id']}/proof", headers={"Accept": "application/json"}).json()
    path, batches, told = trained().path, trained().batches, view["training"]
    assert [step["step"] for step in told["steps"]] == list(CHOSEN)
    for step, t in zip(told["steps"], CHOSEN, strict=True):
        number = int(path.public.numbers[t])
        assert step["n_real"] == len(batches.get_samples(number)[1])
        assert (step["chain_id"], step["round_index"]) == ("chain", 1)
    assert told["steps"][1]["verifying_key_digest"] == (
        find_keys(service)[CircuitKind.STEP].digest.hex()
    )
    assert (view["statements"], view["claimed_correct"], view["groth16"]) == ([], 0, None)


def tell(commitment: SecretCommitment) -> str:
    return encode_g1(commitment.public.d).hex()


def test_an_order_is_one_job_whose_statements_are_about_its_commitments(
    service: StillService, proven: Job
) -> None:
    assert submit(service).id == proven.id
    assert submit(service, trained(2).write()).id != proven.id
    assert submit(service, caller=BOB).id != proven.id
    view = service.describe_proof(ALICE, proven.id).training
    assert view is not None
    order = open_order(RAW)
    for index, step in enumerate(view.steps):
        record = order.read_step(index)
        shown = [step.before, step.after, step.data]
        assert shown == [tell(one) for one in (record.before, record.after, record.data)]
    export = order.read_export()
    assert view.export is not None
    assert view.export.masters == tell(export.of_masters)
    assert view.export.model == tell(export.of_model)


def test_two_workers_share_the_steps(service: StillService) -> None:
    log = structlog.wrap_logger(structlog.testing.CapturingLogger())
    workers = [
        build_worker(service.redis, service.settings, name=name, stop=Event(), log=log)
        for name in ("first", "second")
    ]
    job = submit(service)
    done = []
    for worker in (*workers, *workers):
        assert worker.run_one()
        done.append(service.get_job(ALICE, job.id).steps_done)
    assert done == [1, 2, 3, 3]
    assert not workers[0].run_one()
    assert judge_by(service, fetch(service, job)) is Verdict.VALID


# -- orders that are none, or lie


def rewrite(**change: Any) -> bytes:
    """The same records under another head."""
    head = open_order(RAW).head
    fields = {name: getattr(head, name) for name in OrderHead.KINDS} | change
    raw = OrderHead(**fields).encode()
    length = int.from_bytes(RAW[:LENGTH_BYTES], "little")
    return len(raw).to_bytes(LENGTH_BYTES, "little") + raw + RAW[LENGTH_BYTES + length :]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"zkpottro",
        MODEL,
        RAW[:-1],
        RAW + b"\0",
        rewrite(lengths=np.roll(open_order(RAW).head.lengths, 1)),
        rewrite(recipe=replace(recipe(), batch_size=2).encode()),
    ],
)
def test_bytes_that_are_no_order_are_refused(
    http: TestClient, service: StillService, raw: bytes
) -> None:
    expect_problem(http.post(PATH, files={"order": raw}), 422, "bad_order")
    assert service.store.private.measure() == 0


def test_forms_without_an_order_are_refused(http: TestClient) -> None:
    expect_problem(http.post(PATH, data={"priority": "high"}), 422, "invalid_request")
    expect_problem(http.post(PATH, content=b"{}"), 422, "invalid_request")
    answer = http.post(PATH, files={"order": RAW}, data={"deadline_s": "0"})
    expect_problem(answer, 422, "invalid_request")


def test_a_body_is_bounded_before_it_is_read(
    http: TestClient, service: StillService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StillService, "submit_training", None)

    def send() -> Iterator[bytes]:
        raise AssertionError("the body is read")
        yield b""

    headers = {
        "Content-Length": str(MAX_ORDER_BYTES + 1),
        "Content-Type": "multipart/form-data; boundary=x",
    }
    expect_problem(http.post(PATH, content=send(), headers=headers), 413, "body_too_large")


def test_a_recipe_of_a_network_without_end_is_refused_before_its_records_are_read(
    service: StillService,
) -> None:
    endless = make_small_recipe([9, 1 << 18, 3])
    with pytest.raises(ApiProblem, match="rows") as refused:
        submit(service, rewrite(recipe=endless.encode()))
    assert refused.value.code == "refused"


def test_a_recipe_that_no_worker_has_room_for_is_refused(service: StillService) -> None:
    QueueAdmin(service.queue).beat(
        Heartbeat(
            worker="small",
            backend="cpu",
            device="",
            job_id=None,
            draining=False,
            resident_bytes=1,
            cached_bytes=0,
            threads=1,
            memory_bytes=1 << 26,
        )
    )
    with pytest.raises(ApiProblem, match="of memory") as refused:
        submit(service)
    assert refused.value.code == "refused"


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (trained().write((1,), committed=trained().lying), "step 1 .* masters after it"),
        (trained().write((2,), committed=trained().lying), "step 2 .* masters before it"),
        (
            trained().write(of_model=trained(2).model),
            "the export .* model",
        ),
    ],
)
def test_what_does_not_fit_its_commitments_fails_the_job(
    service: StillService, raw: bytes, what: str
) -> None:
    job = do(service, raw)
    assert (job.state, job.error and job.error.code) == ("failed", "training_misfit")
    assert job.error is not None
    assert re.search(what, job.error.message)
    assert service.store.private.measure() == 0


def test_keys_that_are_asked_for_are_those_of_the_proofs(
    service: StillService, proven: Job
) -> None:
    keys = find_keys(service)
    step, export = keys[CircuitKind.STEP].digest, keys[CircuitKind.EXPORT].digest
    asked = do(service, rewrite(step_key=step, export_key=export))
    assert (asked.state, asked.id != proven.id) == ("done", True)
    for wrong in ({"step_key": export}, {"export_key": bytes(32)}):
        with pytest.raises(ApiProblem, match="has the digest") as refused:
            submit(service, rewrite(**wrong))
        assert refused.value.code == "refused"


def test_a_key_that_was_exchanged_meanwhile_fails_the_job(
    service: StillService, proven: Job
) -> None:
    wanted = find_keys(service)[CircuitKind.STEP].digest
    job = submit(service, rewrite(step_key=wanted, steps=open_order(RAW).head.steps + np.uint32(1)))
    (circuit,) = [c for c in service.list_circuits().circuits if c.kind is CircuitKind.STEP]
    folder = service.settings.data_dir / KEYS / circuit.digest
    for path in folder.iterdir():
        path.unlink()
    work(service)
    ended = service.get_job(ALICE, job.id)
    assert ended.error is not None
    assert ended.error.code == "key_mismatch"
    assert wanted.hex() in ended.error.message


# -- whose it is, and what is left of it


def test_who_is_not_the_owner_finds_no_job(service: StillService, proven: Job) -> None:
    for ask in (service.get_job, service.get_proof, service.describe_proof, service.cancel):
        with pytest.raises(ApiProblem) as refused:
            ask(BOB, proven.id)
        assert refused.value.code == "not_found"
    with pytest.raises(ApiProblem, match="not_found"):
        service.read_events(BOB, proven.id, after="0-0", block_ms=0)
    assert service.list_jobs(BOB, limit=9, before=None).jobs == []


def find(service: StillService) -> list[str]:
    """Folders of the data directory, the server's too, in which a secret is."""
    root = service.settings.data_dir
    files = [path for path in root.rglob("*") if path.is_file()]
    found = (p for p in files if any(secret in p.read_bytes() for secret in SECRETS))
    return sorted({str(path.relative_to(root).parts[0]) for path in found})


def test_secrets_are_in_private_files_alone_and_go_with_the_job(service: StillService) -> None:
    assert all(secret in RAW for secret in SECRETS)
    capture = structlog.testing.CapturingLogger()
    job = submit(service)
    assert find(service) == ["private"]
    log = structlog.wrap_logger(capture)
    worker = build_worker(service.redis, service.settings, name="w", stop=Event(), log=log)
    while worker.run_one():
        pass
    assert service.get_job(ALICE, job.id).state == "done"
    assert find(service) == []
    assert capture.calls
    told = repr(capture.calls) + json.dumps(service.describe_proof(ALICE, job.id).model_dump())
    assert not any(secret.hex() in told or repr(secret) in told for secret in SECRETS)


def test_a_job_cancelled_between_its_steps_leaves_nothing(service: StillService) -> None:
    job = submit(service)
    log = structlog.wrap_logger(structlog.testing.CapturingLogger())
    worker = build_worker(service.redis, service.settings, name="w", stop=Event(), log=log)
    worker.run_one()
    ended = service.cancel(ALICE, job.id)
    assert (ended.state, ended.steps_done) == ("cancelled", 1)
    assert find(service) == []
    assert not worker.run_one()
    again = submit(service)
    assert (again.id, again.state, again.steps_done) == (job.id, "queued", 0)


# -- what verifiers are told


def test_envelopes_are_verified_by_their_circuits(service: StillService, proven: Job) -> None:
    proofs = fetch(service, proven)
    circuits = {one.kind: one for one in service.list_circuits().circuits}
    step, export = circuits[CircuitKind.STEP], circuits[CircuitKind.EXPORT]
    assert (step.n_samples, export.n_samples) == (recipe().batch_size, 0)
    with make_http(service) as http:
        client = Client(http)
        found = client.verify(proofs.steps[1], circuit=step.digest)
        assert (found.verdict, found.statements) == ("valid", [])
        assert found.training is not None
        assert [one.step for one in found.training.steps] == [2]
        assert any("compare its commitments" in text for text in found.not_proven)
        ended = client.verify(proofs.export, circuit=export.digest)
        assert ended.verdict == "valid"
        assert ended.training is not None
        assert (ended.training.steps, ended.training.export is not None) == ([], True)
        for raw, circuit, verdict in (
            (proofs.steps[1][:-1], step, "malformed"),
            (proofs.export, step, "malformed"),
            (proofs.steps[1][:-224] + proofs.steps[0][-224:], step, "pairing_failed"),
            (b"", export, "malformed"),
        ):
            told = client.verify(raw, circuit=circuit.digest)
            assert (told.verdict, told.training) == (verdict, None)
            assert told.reason
        folder = service.settings.data_dir / KEYS / step.digest
        for path in (step.verifying_key, step.card):
            assert client.fetch(path) == (folder / Path(path).name).read_bytes()


def test_a_proof_of_accuracy_is_about_samples(service: StillService) -> None:
    job = prove_accuracy(service, upload(service))
    circuit = service.describe_proof(ALICE, job.id).circuit
    assert circuit is not None
    with make_http(service) as http:
        body = {"proof_base64": "", "circuit": circuit}
        expect_problem(http.post("/v1/verify", json=body), 422, "invalid_request")
