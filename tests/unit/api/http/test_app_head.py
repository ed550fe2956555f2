"""HEAD, for whatever is there to GET: the same head, no body; probes and proxies ask so."""

from __future__ import annotations

from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import pytest
from anyio import Event, fail_after, sleep_forever, wait_all_tasks_blocked
from prometheus_client import CollectorRegistry
from starlette.types import Message, Scope

from api.http import app as app_module
from api.http.app import build_app
from api.http.auth import KeyRing
from tests.support.queue_server import running_server
from tests.support.routes import make_http
from tests.support.serving import serve
from tests.support.still_service import StillService, still_service

PROBES = ["/healthz", "/readyz", "/", "/metrics", "/openapi.json", "/docs", "/web/app.js"]
CHANGING = frozenset({"content-length", "x-request-id", "date"})


@pytest.fixture
def job_id(service: StillService) -> str:
    return service.put_job().id


def test_what_has_get_has_head(tmp_path: Path) -> None:
    with (
        running_server(tmp_path) as server,
        still_service(tmp_path) as service,
        make_http(service) as http,
    ):
        job_id = service.put_job().id
        for path in (*PROBES, f"/v1/jobs/{job_id}", "/v1/jobs", "/v1/jobs/none", "/nothing"):
            got, head = http.get(path), http.head(path)
            assert (head.status_code, head.content) == (got.status_code, b""), path
            assert set(head.headers) == set(got.headers)
            same = set(got.headers) - CHANGING
            assert {n: head.headers[n] for n in same} == {n: got.headers[n] for n in same}
        assert http.head("/v1/models").status_code == 405  # nor has it GET
        server.stop()
        assert http.head("/readyz").status_code == 503


def test_a_stream_whose_head_is_asked_for_ends(
    service: StillService, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "MAX_STREAMS", 1)
    with make_http(service) as http:
        for _ in range(2):  # its place is free again
            answer = http.head(f"/v1/jobs/{job_id}/events")
            assert (answer.status_code, answer.content) == (200, b"")
            assert answer.headers["Content-Type"].startswith("text/event-stream")


def test_a_reader_that_leaves_a_stream_is_no_failure(service: StillService, job_id: str) -> None:
    """Right before the framework gives it the next event."""
    for i in range(50):
        service.step(job_id, "prove", i, 50, 0.5)
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


def test_a_connection_goes_on_after_a_head(service: StillService, job_id: str) -> None:
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
