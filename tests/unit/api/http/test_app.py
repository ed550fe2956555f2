"""The application: what its routes share, probes, metrics, the page."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from api.http.problems import KINDS, MEDIA_TYPE
from api.http.schemas import JobRequest
from tests.support.queue_server import running_server
from tests.support.routes import expect_problem, make_http
from tests.support.still_service import StillService, still_service


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


def test_a_failure_shows_nothing_of_itself(
    http: TestClient, service: StillService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError("rho = 17")

    monkeypatch.setattr(service, "view_queue", fail)
    answer = http.get("/v1/queue")
    expect_problem(answer, 500, "internal")
    assert "17" not in answer.text


def test_readiness_follows_the_queue(tmp_path: Path) -> None:
    with (
        running_server(tmp_path) as server,
        still_service(tmp_path) as service,
        make_http(service) as http,
    ):
        assert http.get("/readyz").status_code == 200
        server.stop()
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
