"""What no route sees: unknown methods, names and pages of other sites."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient

from api.http.app import build_app
from api.http.auth import KeyRing, Scope
from tests.support.routes import expect_problem, make_http, make_ring
from tests.support.still_service import StillService


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
def test_our_names_and_addresses_are_served(service: StillService, headers: dict[str, str]) -> None:
    app = build_app(service, keys=KeyRing(), registry=CollectorRegistry(), names=["prover"])
    with TestClient(app) as client:
        assert client.get("/v1/jobs", headers=headers).status_code == 200


def test_with_keys_any_name_is_served(service: StillService) -> None:
    ring, headers = make_ring(Scope.READ)
    with make_http(service, keys=ring) as client:
        answer = client.get("/v1/jobs", headers={**headers, "Host": "prover.example"})
    assert answer.status_code == 200
