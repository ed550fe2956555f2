"""The routes: what they take, refuse and answer, over a service in memory."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from threading import Barrier, Event
from typing import Any, BinaryIO
from urllib.request import urlopen

import numpy as np
import pytest
from fastapi.routing import APIRoute
from httpx2 import Response
from prometheus_client import CollectorRegistry
from starlette.requests import Request
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Send
from starlette.types import Scope as Scopes

from api.client.http import Client, ServiceRefused
from api.http import app as app_module
from api.http.app import build_app
from api.http.auth import Caller, KeyEntry, KeyRing, Scope, make_key
from api.http.problems import KINDS, MEDIA_TYPE, ApiProblem
from api.http.routes import chain as routes_chain
from api.http.routes import jobs as routes_jobs
from api.http.routes import stock as routes_stock
from api.http.routes.common import GuardedRoute
from api.http.schemas import Job, JobRequest, ModelReceipt
from api.http.service import JobEvent
from prover.model.network import Architecture
from prover.model.zkq import encode_model
from tests.support.memory_service import LIMIT, PROOF, MemoryService
from tests.support.models import random_model
from tests.support.serving import serve

ARCHITECTURE = Architecture.mlp([4, 3, 2])
BASE_URL = "http://localhost"
OCTETS = {"Content-Type": "application/octet-stream"}


def make_http(
    service: MemoryService, *, keys: KeyRing | None = None, rates: dict[str, str] | None = None
) -> TestClient:
    app = build_app(service, keys=keys or KeyRing(), registry=CollectorRegistry(), rates=rates)
    return TestClient(app, base_url=BASE_URL, raise_server_exceptions=False)


@pytest.fixture
def service() -> MemoryService:
    return MemoryService()


@pytest.fixture
def http(service: MemoryService) -> Iterator[TestClient]:
    with make_http(service) as client:
        yield client


@pytest.fixture(scope="module")
def model() -> bytes:
    return encode_model(random_model(ARCHITECTURE, np.random.default_rng(1)))


@pytest.fixture
def request_body(http: TestClient, model: bytes) -> dict[str, object]:
    model_id = Client(http).upload_model(model).id
    return {"model_id": model_id, "dataset": "mnist:test[0:16]", "n_samples": 16}


def expect_problem(answer: object, status: int, code: str) -> dict[str, object]:
    assert isinstance(answer, Response)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, MEDIA_TYPE), answer.text
    problem: dict[str, object] = answer.json()
    assert problem["code"] == code
    assert problem["status"] == status
    assert problem["next_step"]
    return problem


def test_a_job_from_model_to_proof(http: TestClient, service: MemoryService, model: bytes) -> None:
    zkpot = Client(http, sleep=lambda _: None)
    receipt = zkpot.upload_model(model)
    assert receipt.architecture == ARCHITECTURE.name
    job = zkpot.submit(JobRequest(model_id=receipt.id, dataset="mnist:test[0:16]", n_samples=16))
    assert job.state == "queued"
    service.step(job.id, "commit", 1, 2, 0.4)
    service.finish(job.id, "done")
    events = list(zkpot.follow(job.id))
    assert [(e.id, e.type) for e in events] == [("1-0", "progress"), ("2-0", "end")]
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
    http: TestClient, service: MemoryService, request_body: dict[str, object]
) -> None:
    job_id = http.post("/v1/jobs", json=request_body).json()["id"]
    for i in range(3):
        service.step(job_id, "commit", i, 3, 0.1 * i)
    service.finish(job_id, "done")
    answer = http.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": "2-0"})
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert "id: 2-0" not in answer.text
    assert answer.text.index("id: 3-0") < answer.text.index("id: 4-0")
    for wrong in ("x; DROP", f"{1 << 64}-0"):
        bad = http.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": wrong})
        expect_problem(bad, 422, "invalid_request")


def test_methods_that_nobody_knows_are_refused_and_not_counted(http: TestClient) -> None:
    expect_problem(http.request("MADE-UP", "/v1/jobs"), 405, "method_not_allowed")
    assert "MADE-UP" not in http.get("/metrics").text


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:8000"},
        {"Host": "localhost.evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "[::1"},
        {"Host": ""},
        {"Host": "localhost", "Origin": "https://evil.example"},
        {"Host": "localhost", "Origin": "null"},
        {"Host": "localhost", "Origin": "http://203.0.113.7"},
        {"Host": "localhost:8000", "Origin": "http://localhost:3000"},
        {"Host": "localhost", "Origin": "http://[::1"},
    ],
)
def test_pages_of_other_sites_are_refused_where_no_key_is_asked_for(
    http: TestClient, headers: dict[str, str]
) -> None:
    """A name that was made to point here, and a form that sends to here."""
    for answer in (http.get("/v1/jobs", headers=headers), http.post("/v1/models", headers=headers)):
        expect_problem(answer, 403, "unknown_host")
        assert answer.headers["Connection"] == "close"


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "localhost:8000"},
        {"Host": "LOCALHOST"},
        {"Host": "zkpot.localhost"},
        {"Host": "127.0.0.1:8000", "Origin": "http://127.0.0.1:8000"},
        {"Host": "[::1]:8000"},
        {"Host": "192.168.1.5"},
        {"Host": "Prover:8000", "Origin": "http://prover:8000"},
    ],
)
def test_our_names_and_addresses_are_served(
    service: MemoryService, headers: dict[str, str]
) -> None:
    app = build_app(service, keys=KeyRing(), registry=CollectorRegistry(), names=["prover"])
    with TestClient(app) as client:
        assert client.get("/v1/jobs", headers=headers).status_code == 200


def test_with_keys_any_name_is_served(service: MemoryService) -> None:
    ring, headers = make_ring(Scope.READ)
    with make_http(service, keys=ring) as client:
        answer = client.get("/v1/jobs", headers={**headers, "Host": "prover.example"})
    assert answer.status_code == 200


def make_ring(scope: Scope) -> tuple[KeyRing, dict[str, str]]:
    """One key, and the headers that show it."""
    key, line = make_key("alice", [scope], Random(1).randbytes)
    digest = bytes.fromhex(json.loads(line)["sha256"])
    entry = KeyEntry(digest=digest, caller=Caller(name="alice", scopes=frozenset({scope})))
    return KeyRing([entry]), {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize(
    ("scope", "headers", "status", "code"),
    [
        (Scope.JOBS, {"Authorization": ""}, 401, "unauthorized"),
        (Scope.READ, {}, 403, "forbidden"),
    ],
)
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/jobs/groth16", {"files": {"zkey": b"a", "witness": b"b"}}),
        ("/v1/jobs", {"json": {}}),
        ("/v1/verify", {"json": {}}),
        ("/v1/models", {"content": b"a"}),
    ],
)
def test_no_body_is_read_of_who_may_not_send_it(
    service: MemoryService,
    scope: Scope,
    headers: dict[str, str],
    status: int,
    code: str,
    path: str,
    body: dict[str, Any],
) -> None:
    ring, shown = make_ring(scope)
    app = build_app(service, keys=ring, registry=CollectorRegistry())
    read: list[str] = []

    async def watched(outer: Scopes, receive: Receive, send: Send) -> None:
        async def note() -> Message:
            message = await receive()
            read.append(message["type"])
            return message

        await app(outer, note, send)

    with TestClient(watched, base_url=BASE_URL, raise_server_exceptions=False) as client:
        answer = client.post(path, headers={**shown, **headers}, **body)
    expect_problem(answer, status, code)
    assert answer.headers["Connection"] == "close"
    assert "http.request" not in read


def test_no_body_is_read_of_who_sends_too_often(service: MemoryService) -> None:
    with make_http(service, rates={"submit": "1/hour"}) as client:
        expect_problem(client.post("/v1/models", content=b"a"), 422, "bad_model")
        answer = client.post("/v1/models", content=b"a")
    expect_problem(answer, 429, "rate_limited")
    assert answer.headers["Connection"] == "close"


def test_a_witness_under_way_is_no_file_that_could_be_left_behind(
    http: TestClient, service: MemoryService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
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


@pytest.mark.parametrize(
    ("is_announced", "headers"),
    [
        (True, OCTETS),
        (False, OCTETS),
        (False, {**OCTETS, "Content-Length": "1", "Transfer-Encoding": "chunked"}),
    ],
)
def test_bodies_under_way_are_limited_together(
    service: MemoryService,
    model: bytes,
    monkeypatch: pytest.MonkeyPatch,
    is_announced: bool,
    headers: dict[str, str],
) -> None:
    """While one model is being received there is no room for a second one; then there is.

    A length beside a transfer coding announces nothing: the body is as long as its chunks are.
    """
    room = len(model) if is_announced else routes_stock.MAX_MODEL_BYTES
    monkeypatch.setattr(app_module, "MAX_BODIES_BYTES", room)
    put, answers = service.put_model, list[Response]()

    def send(client: TestClient) -> Response:
        content = model if is_announced else iter([model])
        return client.post("/v1/models", content=content, headers=headers)

    def put_while_another_comes(caller: Caller, raw: bytes) -> ModelReceipt:
        monkeypatch.setattr(service, "put_model", put)
        answers.append(send(client))
        return put(caller, raw)

    monkeypatch.setattr(service, "put_model", put_while_another_comes)
    with make_http(service) as client:
        assert send(client).status_code == 201
        (second,) = answers
        expect_problem(second, 429, "too_many_uploads")
        assert int(second.headers["Retry-After"]) >= 1
        assert second.headers["Connection"] == "close"
        assert send(client).status_code == 201


def test_every_route_of_the_service_asks_who_calls() -> None:
    routers = (routes_jobs.router, routes_stock.router, routes_chain.router)
    routes = [route for router in routers for route in router.routes]
    assert len(routes) > 15
    for route in routes:
        assert isinstance(route, GuardedRoute)
        assert route.find_admission().scope in Scope


def test_who_has_read_the_end_waits_for_nothing(
    http: TestClient, service: MemoryService, request_body: dict[str, object]
) -> None:
    job_id = http.post("/v1/jobs", json=request_body).json()["id"]
    service.finish(job_id, "failed")
    answer = http.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": "1-0"})
    assert [line for line in answer.text.splitlines() if line.startswith("event:")] == [
        "event: end"
    ]


def test_a_stream_whose_job_cannot_be_read_any_more_ends(
    http: TestClient,
    service: MemoryService,
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
    service: MemoryService, request_body: dict[str, object], monkeypatch: pytest.MonkeyPatch
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


def test_a_full_queue_pushes_back(http: TestClient, request_body: dict[str, object]) -> None:
    for n in range(2, LIMIT + 2):
        assert http.post("/v1/jobs", json={**request_body, "n_samples": n}).status_code == 202
    answer = http.post("/v1/jobs", json={**request_body, "n_samples": LIMIT + 2})
    expect_problem(answer, 429, "queue_full")
    assert int(answer.headers["Retry-After"]) >= 1


def test_groth16_files_become_a_job(http: TestClient) -> None:
    files = {"zkey": ("../../etc/passwd", b"zkey"), "witness": ("w", b"wtns")}
    answer = http.post("/v1/jobs/groth16", files=files)
    assert answer.status_code == 202, answer.text
    assert answer.json()["kind"] == "groth16"
    expect_problem(http.post("/v1/jobs/groth16", files={"zkey": b"z"}), 422, "invalid_request")


def test_keys_scopes_and_owners(service: MemoryService, model: bytes, tmp_path: Path) -> None:
    random = Random(7)
    made = {
        name: make_key(name, scopes, random.randbytes)
        for name, scopes in {
            "alice": [Scope.READ, Scope.JOBS],
            "bob": [Scope.READ, Scope.JOBS],
            "reader": [Scope.READ],
            "admin": [Scope.ADMIN],
        }.items()
    }
    (tmp_path / "keys").write_text("\n".join(line for _, line in made.values()))
    bearer = {name: {"Authorization": f"Bearer {key}"} for name, (key, _) in made.items()}
    octets = {"Content-Type": "application/octet-stream"}
    with make_http(service, keys=KeyRing.load(tmp_path / "keys")) as http:
        refused = http.get("/v1/jobs")
        expect_problem(refused, 401, "unauthorized")
        assert refused.headers["WWW-Authenticate"] == "Bearer"
        expect_problem(
            http.post("/v1/models", content=model, headers={**octets, **bearer["reader"]}),
            403,
            "forbidden",
        )
        stored = http.post("/v1/models", content=model, headers={**octets, **bearer["alice"]})
        body = {"model_id": stored.json()["id"], "dataset": "mnist:test[0:16]"}
        expect_problem(http.post("/v1/jobs", json=body, headers=bearer["bob"]), 404, "not_found")
        job = http.post("/v1/jobs", json=body, headers=bearer["alice"]).json()
        path = f"/v1/jobs/{job['id']}"
        for sub in ("", "/events", "/proof"):
            expect_problem(http.get(path + sub, headers=bearer["bob"]), 404, "not_found")
        expect_problem(http.delete(path, headers=bearer["bob"]), 404, "not_found")
        assert http.get("/v1/jobs", headers=bearer["bob"]).json()["jobs"] == []
        assert http.get(path, headers=bearer["admin"]).status_code == 200
        for open_path in ("/", "/healthz", "/readyz", "/metrics", "/openapi.json"):
            assert http.get(open_path).status_code == 200


def test_rates_are_per_caller(service: MemoryService) -> None:
    with make_http(service, rates={"read": "2/hour"}) as http:
        assert [http.get("/v1/jobs").status_code for _ in range(2)] == [200, 200]
        answer = http.get("/v1/jobs")
        expect_problem(answer, 429, "rate_limited")
        assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.parametrize(
    "change",
    [
        {"n_samples": -1},
        {"n_samples": 0},
        {"n_samples": float("nan")},
        {"n_samples": float("inf")},
        {"n_samples": 1e400},
        {"n_samples": 10**30},
        {"n_samples": True},
        {"n_samples": "16"},
        {"deadline_s": -5},
        {"deadline_s": float("nan")},
        {"priority": "urgent"},
        {"dataset": "../../etc/passwd"},
        {"dataset": "mnist:test[0:16]/../.."},
        {"dataset": "mnist:test[0:16]\n"},
        {"model_id": "../" * 10},
        {"model_id": "0" * 64 + "\n"},
        {"statement": {"round_index": -1}},
        {"statement": {"round_index": 2**63}},
        {"statement": {"chain_id": "x" * 65}},
        {"statement": {"chain_id": ""}},
        {"statement": {"unknown": 1}},
        {"unknown": 1},
    ],
)
def test_numbers_and_names_out_of_range(
    http: TestClient, request_body: dict[str, object], change: dict[str, object]
) -> None:
    raw = json.dumps({**request_body, **change})  # NaN and Infinity as Python writes them
    answer = http.post("/v1/jobs", content=raw, headers={"Content-Type": "application/json"})
    problem = expect_problem(answer, 422, "invalid_request")
    assert problem["errors"]


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"\xff\xfe", b"[" * 60_000, b'{"a":' * 10_000, b'"' + b"a" * 100]
)
def test_bodies_that_are_no_json(http: TestClient, raw: bytes) -> None:
    answer = http.post("/v1/jobs", content=raw, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422), answer.text
    assert answer.headers["Content-Type"] == MEDIA_TYPE
    assert http.get("/healthz").status_code == 200


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/verify"])
@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":[' + b"[]," * 600 + b"[]]}",
        b"[" * 2000,
        b"{" + b",".join(b'"%d":0' % i for i in range(1200)) + b"}",
    ],
)
def test_json_of_more_values_than_any_request_has_is_not_parsed(
    http: TestClient, path: str, raw: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be between all other requests, for seconds where a body has MiB."""
    monkeypatch.setattr(Request, "json", None)
    answer = http.post(path, content=raw, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")
    assert answer.json()["detail"] == "more than 1024 brackets, braces and commas"


def test_bodies_over_the_limit(http: TestClient) -> None:
    def expect_limit(answer: Response, limit: int) -> None:
        problem = expect_problem(answer, 413, "body_too_large")
        assert problem["detail"] == f"the limit is {limit} bytes"

    expect_limit(http.post("/v1/jobs", content=b"a" * (1 << 17)), routes_jobs.MAX_JOB_BYTES)

    def chunks() -> Iterator[bytes]:  # without Content-Length
        for _ in range(32):
            yield b"a" * 4096

    large = http.post("/v1/verify", content=iter([b"a" * (1 << 24)]))
    expect_limit(large, routes_stock.MAX_VERIFY_BYTES)
    expect_limit(http.post("/v1/jobs", content=chunks()), routes_jobs.MAX_JOB_BYTES)


def test_every_route_that_takes_a_body_limits_it() -> None:
    routes = [*routes_jobs.router.routes, *routes_stock.router.routes]
    with_body = [
        r
        for r in routes
        if isinstance(r, APIRoute) and {"POST", "PUT"}.intersection(r.methods or ())
    ]
    assert len(with_body) == 6
    assert all(r.max_body_size for r in with_body)


def bomb(n_manifest: int, manifest: bytes) -> bytes:
    """A .zkq file whose manifest is hostile."""
    import struct

    return struct.pack("<8sIIQ", b"zkpotQM\x00", 1, n_manifest, 0) + manifest


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"PK\x03\x04" + b"\0" * 100,
        b"\x80\x04\x95" + b"\0" * 64,  # a pickle
        bomb(0xFFFFFFFF, b"{}"),
        bomb(60_000, b"[" * 60_000),
        bomb(2, b"{}"),
        bomb(
            96,
            b'{"input_shape":[1048576,1048576],"layers":[],"margin_bits":999999999999}'.ljust(96),
        ),
    ],
)
def test_hostile_models(http: TestClient, raw: bytes) -> None:
    headers = {"Content-Type": "application/octet-stream"}
    expect_problem(http.post("/v1/models", content=raw, headers=headers), 422, "bad_model")


def test_uploads_are_octets(http: TestClient, model: bytes) -> None:
    headers = {"Content-Type": "application/x-pickle"}
    answer = http.post("/v1/models", content=model, headers=headers)
    expect_problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/jobs/..%2f..%2fetc%2fpasswd",
        "/v1/jobs/%00",
        "/v1/circuits/../verifying.key",
        "/v1/circuits/..%2f..%2f/verifying.key",
        f"/v1/circuits/{'0' * 64}/proving.key",
        "/web/../app.py",
        "/web/..%2fapp.py",
        "/web/%2e%2e/auth.py",
        "/web//etc/passwd",
    ],
)
def test_path_tricks_find_nothing(http: TestClient, path: str) -> None:
    answer = http.get(path)
    assert answer.status_code in (404, 422)
    assert answer.headers["Content-Type"] == MEDIA_TYPE


def test_problems_do_not_repeat_what_was_sent(
    http: TestClient, request_body: dict[str, object]
) -> None:
    secret = "s3cret-value"
    answer = http.post("/v1/jobs", json={**request_body, "priority": secret, secret[:4]: secret})
    assert answer.status_code == 422
    assert secret not in answer.text


def test_a_failure_shows_nothing_of_itself(
    http: TestClient, service: MemoryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError("rho = 17")

    monkeypatch.setattr(service, "view_queue", fail)
    answer = http.get("/v1/queue")
    expect_problem(answer, 500, "internal")
    assert "17" not in answer.text


def test_readiness_follows_the_queue(http: TestClient, service: MemoryService) -> None:
    assert http.get("/readyz").status_code == 200
    service.is_up = False
    expect_problem(http.get("/readyz"), 503, "unavailable")
    assert http.get("/healthz").status_code == 200


def test_metrics_count_requests_and_stay_out_of_the_schema(http: TestClient) -> None:
    http.get("/v1/jobs")
    http.get(f"/v1/jobs/{'1' * 64}")
    shown = http.get("/metrics").text
    assert 'handler="/v1/jobs"' in shown
    assert "1" * 64 not in shown  # no series per job
    assert "/metrics" not in http.get("/openapi.json").json()["paths"]


def test_every_operation_is_described(http: TestClient) -> None:
    document = http.get("/openapi.json").json()
    operations = [op for path in document["paths"].values() for op in path.values()]
    assert len(operations) >= 15
    for operation in operations:
        assert operation["summary"]
        assert operation["tags"]
    assert document["components"]["schemas"]["JobRequest"]["examples"]
    JobRequest.model_validate(document["components"]["schemas"]["JobRequest"]["examples"][0])


def test_problem_codes_have_a_next_step() -> None:
    assert all(kind.next_step and 400 <= kind.status < 600 for kind in KINDS.values())


def test_the_page_is_served_with_a_policy(http: TestClient) -> None:
    page = http.get("/")
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert "<script>" not in page.text
    for path in ("/web/app.js", "/web/style.css", "/web/format.js", "/web/events.js"):
        assert http.get(path).status_code == 200


def test_the_client_tells_what_was_refused(http: TestClient) -> None:
    with pytest.raises(ServiceRefused, match="not_found") as refused:
        Client(http).job("0" * 64)
    assert refused.value.problem.status == 404


def test_bytes_that_are_no_commitment_are_refused(http: TestClient) -> None:
    octets = {"Content-Type": "application/octet-stream"}
    answer = http.post("/v1/commitments", content=b"\xff" * 99, headers=octets)
    assert answer.status_code == 422, answer.text
    long = http.post("/v1/commitments", content=b"\xff" * 2000, headers=octets)
    expect_problem(long, 413, "body_too_large")
