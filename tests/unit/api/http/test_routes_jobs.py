"""Jobs over HTTP: submitted, followed, cancelled, their proofs fetched."""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event
from typing import Any, BinaryIO
from urllib.request import urlopen

import pytest
from starlette.testclient import TestClient

from api.client.http import Client, ServiceRefused
from api.http.auth import Caller
from api.http.problems import ApiProblem
from api.http.schemas import Job, JobRequest
from api.queue.jobs import JobEvent
from api.settings import MAX_TASKS_PER_JOB
from tests.support.queue_server import make_spec
from tests.support.routes import expect_problem
from tests.support.serving import serve
from tests.support.still_service import ARCHITECTURE, DATASET, MODEL, PROOF, StillService


def test_a_job_from_model_to_proof(http: TestClient, service: StillService) -> None:
    zkpot = Client(http, sleep=lambda _: None)
    model, dataset = zkpot.upload_model(MODEL), zkpot.upload_dataset(DATASET)
    assert (model.architecture, dataset.n_samples) == (ARCHITECTURE.name, 16)
    job = zkpot.submit(JobRequest(model_id=model.id, dataset=dataset.id, n_samples=16))
    assert job.state == "queued"
    service.step(job.id, "commit", 1, 2, 0.4)
    service.finish(job.id, "done")
    events = list(zkpot.follow(job.id))
    assert [e.type for e in events] == ["state", "state", "progress", "end"]
    assert events[2].data == {"stage": "commit", "done": 1, "total": 2, "fraction": 0.4, "shard": 0}
    assert zkpot.wait(job.id).state == "done"
    assert zkpot.fetch_proof(job.id) == PROOF
    assert zkpot.describe_proof(job.id).claimed_correct == 60
    assert [j.id for j in zkpot.jobs().jobs] == [job.id]


def test_submission_answers_202_with_location_and_retry_after(
    http: TestClient, request_body: dict[str, object]
) -> None:
    answer = http.post("/v1/jobs", json=request_body)
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/v1/jobs/{answer.json()['id']}"
    assert int(answer.headers["Retry-After"]) >= 1
    assert http.get(answer.headers["Location"]).json() == answer.json()
    assert answer.headers["X-Request-ID"]
    assert answer.headers["Cache-Control"] == "no-store"


def test_an_idempotency_key_is_for_one_request(
    http: TestClient, request_body: dict[str, object]
) -> None:
    headers = {"Idempotency-Key": "once"}
    first = http.post("/v1/jobs", json=request_body, headers=headers)
    again = http.post("/v1/jobs", json=request_body, headers=headers)
    assert first.json() == again.json()
    other = http.post("/v1/jobs", json={**request_body, "n_samples": 17}, headers=headers)
    expect_problem(other, 422, "idempotency_conflict")


def test_events_resume_behind_the_last_id(
    http: TestClient, service: StillService, request_body: dict[str, object]
) -> None:
    job_id = http.post("/v1/jobs", json=request_body).json()["id"]
    service.step(job_id, "commit", 0, 3, 0.1)
    service.finish(job_id, "done")
    *_, seen, report, end = service.queue.read_events(job_id)
    answer = http.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": seen.id})
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert f"id: {seen.id}" not in answer.text
    assert answer.text.index(f"id: {report.id}") < answer.text.index(f"id: {end.id}")
    for wrong in ("x; DROP", f"{1 << 64}-0"):
        bad = http.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": wrong})
        expect_problem(bad, 422, "invalid_request")


def test_who_has_read_the_end_waits_for_nothing(
    http: TestClient, service: StillService, request_body: dict[str, object]
) -> None:
    job_id = http.post("/v1/jobs", json=request_body).json()["id"]
    service.finish(job_id, "failed")
    end = service.queue.read_events(job_id)[-1]
    answer = http.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": end.id})
    assert [line for line in answer.text.splitlines() if line.startswith("event:")] == [
        "event: end"
    ]


def test_a_stream_whose_job_cannot_be_read_any_more_ends(
    http: TestClient,
    service: StillService,
    request_body: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job_id = http.post("/v1/jobs", json=request_body).json()["id"]

    def fail(*_: object, **__: object) -> list[JobEvent]:
        raise ApiProblem("unavailable")

    monkeypatch.setattr(service, "read_events", fail)
    answer = http.get(f"/v1/jobs/{job_id}/events")
    assert answer.status_code == 200
    assert "event:" not in answer.text


def test_waiting_streams_leave_the_threads_of_other_requests_free(
    service: StillService, request_body: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    n_streams = 45  # more than the 40 threads that requests share
    all_wait, go_on = Barrier(n_streams + 1), Event()

    def wait(*_: object, **__: object) -> list[JobEvent]:
        all_wait.wait(timeout=20)
        go_on.wait(timeout=20)
        return [JobEvent("1-0", "end", {})]

    def read(url: str) -> bytes:
        with urlopen(url, timeout=30) as answer:
            return bytes(answer.read())

    with serve(service) as url, ThreadPoolExecutor(n_streams) as pool:
        with Client.connect(url) as client:
            job = client.submit(JobRequest.model_validate(request_body))
        monkeypatch.setattr(service, "read_events", wait)
        for _ in range(n_streams):
            pool.submit(read, f"{url}/v1/jobs/{job.id}/events")
        try:
            all_wait.wait(timeout=20)
            assert job.id.encode() in read(f"{url}/v1/jobs/{job.id}")
        finally:
            go_on.set()


def test_a_stream_of_an_unknown_job_is_refused_before_it_starts(http: TestClient) -> None:
    expect_problem(http.get(f"/v1/jobs/{'0' * 64}/events"), 404, "not_found")


def test_cancel_ends_a_job(http: TestClient, request_body: dict[str, object]) -> None:
    job_id = http.post("/v1/jobs", json=request_body).json()["id"]
    expect_problem(http.get(f"/v1/jobs/{job_id}/proof"), 409, "not_ready")
    assert http.delete(f"/v1/jobs/{job_id}").json()["state"] == "cancelled"


def test_a_full_queue_pushes_back(
    http: TestClient, service: StillService, request_body: dict[str, object]
) -> None:
    service.queue.submit(make_spec(n_tasks=MAX_TASKS_PER_JOB - 1))
    assert http.post("/v1/jobs", json=request_body).status_code == 202
    answer = http.post("/v1/jobs", json={**request_body, "n_samples": 17})
    expect_problem(answer, 429, "queue_full")
    assert int(answer.headers["Retry-After"]) >= 1


def test_groth16_files_become_a_job(http: TestClient) -> None:
    files = {"zkey": ("../../etc/passwd", b"zkey"), "witness": ("w", b"wtns")}
    answer = http.post("/v1/jobs/groth16", files=files)
    assert answer.status_code == 202, answer.text
    assert answer.json()["kind"] == "groth16"
    expect_problem(http.post("/v1/jobs/groth16", files={"zkey": b"z"}), 422, "invalid_request")


def test_a_witness_under_way_is_no_file_that_could_be_left_behind(
    http: TestClient, service: StillService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Too large for memory, it is on the disk without a name: who is killed leaves nothing."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    submit, sent, seen = service.submit_groth16, b"private" * (1 << 18), list[object]()

    def look(caller: Caller, *, witness: BinaryIO, **others: Any) -> Job:
        seen.extend([os.fstat(witness.fileno()).st_size, *tmp_path.rglob("*")])
        return submit(caller, witness=witness, **others)

    monkeypatch.setattr(service, "submit_groth16", look)
    answer = http.post("/v1/jobs/groth16", files={"zkey": b"a", "witness": sent})
    assert answer.status_code == 202
    assert seen == [len(sent)]


def test_the_client_tells_what_was_refused(http: TestClient) -> None:
    with pytest.raises(ServiceRefused, match="not_found") as refused:
        Client(http).job("0" * 64)
    assert refused.value.problem.status == 404
