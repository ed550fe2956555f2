"""Asking the routes of a service, and what a refusal looks like."""

from __future__ import annotations

import json
from random import Random

from httpx2 import Response
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient

from api.http.app import build_app
from api.http.auth import Caller, KeyEntry, KeyRing, Scope, make_key
from api.http.problems import MEDIA_TYPE
from api.http.service import Service

BASE_URL = "http://localhost"
OCTETS = {"Content-Type": "application/octet-stream"}


def make_http(
    service: Service, *, keys: KeyRing | None = None, rates: dict[str, str] | None = None
) -> TestClient:
    app = build_app(service, keys=keys or KeyRing(), registry=CollectorRegistry(), rates=rates)
    return TestClient(app, base_url=BASE_URL, raise_server_exceptions=False)


def make_ring(scope: Scope) -> tuple[KeyRing, dict[str, str]]:
    """One key, and the headers that show it."""
    key, line = make_key("alice", [scope], Random(1).randbytes)
    digest = bytes.fromhex(json.loads(line)["sha256"])
    entry = KeyEntry(digest=digest, caller=Caller(name="alice", scopes=frozenset({scope})))
    return KeyRing([entry]), {"Authorization": f"Bearer {key}"}


def expect_problem(answer: object, status: int, code: str) -> dict[str, object]:
    assert isinstance(answer, Response)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, MEDIA_TYPE), answer.text
    problem: dict[str, object] = answer.json()
    assert problem["code"] == code
    assert problem["status"] == status
    assert problem["next_step"]
    return problem
