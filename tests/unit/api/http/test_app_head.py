"""HEAD, for whatever is there to GET: the same head, no body; probes and proxies ask so."""

from __future__ import annotations

from http.client import HTTPConnection
from urllib.parse import urlsplit

import anyio
import numpy as np
import pytest
from anyio import Event, fail_after, sleep_forever, wait_all_tasks_blocked
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient
from starlette.types import Message, Scope

from api.http import app as app_module
from api.http.app import build_app
from api.http.auth import LOCAL, KeyRing
from api.http.schemas import JobRequest
from api.http.service import JobEvent
from prover.model.network import Architecture
from prover.model.zkq import encode_model
from tests.support.memory_service import MemoryService
from tests.support.models import random_model
from tests.support.serving import serve

PROBES = ["/healthz", "/readyz", "/", "/metrics", "/openapi.json", "/docs", "/web/app.js"]
CHANGING = frozenset({"content-length", "x-request-id", "date"})


@pytest.fixture
def service() -> MemoryService:
    return MemoryService()


@pytest.fixture
def job_id(service: MemoryService) -> str:
    architecture = Architecture.mlp([4, 3, 2])
    raw = encode_model(random_model(architecture, np.random.default_rng(1)))
    model_id = service.put_model(LOCAL, raw).id
    request = JobRequest(model_id=model_id, dataset="mnist:test[0:16]", n_samples=16)
    return service.submit(LOCAL, request, None).id


def make_http(service: MemoryService) -> TestClient:
    app = build_app(service, keys=KeyRing(), registry=CollectorRegistry())
    return TestClient(app, base_url="http://localhost", raise_server_exceptions=False)


def test_what_has_get_has_head(service: MemoryService, job_id: str) -> None:
    with make_http(service) as http:
        for path in (*PROBES, f"/v1/jobs/{job_id}", "/v1/jobs", "/v1/jobs/none", "/nothing"):
            got, head = http.get(path), http.head(path)
            assert (head.status_code, head.content) == (got.status_code, b""), path
            assert set(head.headers) == set(got.headers)
            same = set(got.headers) - CHANGING
            assert {n: head.headers[n] for n in same} == {n: got.headers[n] for n in same}
        assert http.head("/v1/models").status_code == 405  # nor has it GET
        service.is_up = False
        assert http.head("/readyz").status_code == 503


def test_a_stream_whose_head_is_asked_for_ends(
    service: MemoryService, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "MAX_STREAMS", 1)
    with make_http(service) as http:
        for _ in range(2):  # its place is free again
            answer = http.head(f"/v1/jobs/{job_id}/events")
            assert (answer.status_code, answer.content) == (200, b"")
            assert answer.headers["Content-Type"].startswith("text/event-stream")


def test_a_reader_that_leaves_a_stream_is_no_failure(service: MemoryService, job_id: str) -> None:
    """Right before the framework gives it the next event."""
    service.events[job_id] = [JobEvent(f"{i}-0", "progress", {}) for i in range(1, 50)]
    app = build_app(service, keys=KeyRing(), registry=CollectorRegistry())
    path = f"/v1/jobs/{job_id}/events"
    scope: Scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
        "method": "GET", "path": path, "raw_path": path.encode(), "root_path": "", "scheme": "http",
        "query_string": b"", "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1),
    }  # fmt: skip
    sent: list[str] = []

    async def ask() -> None:
        reads, asked = Event(), iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> Message:
            message = next(asked, None)
            if message is not None:
                return message
            await reads.wait()
            await wait_all_tasks_blocked()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message["type"])
            if message["type"] == "http.response.body":
                reads.set()
                await sleep_forever()  # it reads no more

        with fail_after(30):
            await app(scope, receive, send)

    anyio.run(ask)
    assert sent == ["http.response.start", "http.response.body"]


def test_a_connection_goes_on_after_a_head(service: MemoryService, job_id: str) -> None:
    """No byte of a body follows, which the next answer would begin with."""
    with serve(service) as url:
        parts = urlsplit(url)
        connection = HTTPConnection(str(parts.hostname), parts.port, timeout=30)
        for path in ("/", "/metrics", f"/v1/jobs/{job_id}"):
            connection.request("HEAD", path)
            head = connection.getresponse()
            assert (head.status, head.read()) == (200, b"")
            assert int(head.headers["Content-Length"]) > 0
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b'{"status":"ok"}')
        connection.close()
