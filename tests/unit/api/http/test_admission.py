"""Who is let in, how often, and how much is read of whom."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
from fastapi.routing import APIRoute
from httpx2 import Response
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Send
from starlette.types import Scope as Scopes

from api.http import app as app_module
from api.http import service as service_module
from api.http.app import build_app
from api.http.auth import Caller, KeyRing, Scope, make_key
from api.http.routes import chain as routes_chain
from api.http.routes import jobs as routes_jobs
from api.http.routes import stock as routes_stock
from api.http.routes.common import READERS, SUBMITTERS, VERIFIERS, GuardedRoute, make_router
from api.http.schemas import ModelReceipt
from tests.support.routes import BASE_URL, OCTETS, expect_problem, make_http, make_ring
from tests.support.still_service import DATASET, MODEL, StillService


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
    service: StillService,
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


def test_no_body_is_read_of_who_sends_too_often(service: StillService) -> None:
    with make_http(service, rates={"submit": "1/hour"}) as client:
        expect_problem(client.post("/v1/models", content=b"a"), 422, "bad_model")
        answer = client.post("/v1/models", content=b"a")
    expect_problem(answer, 429, "rate_limited")
    assert answer.headers["Connection"] == "close"


@pytest.mark.parametrize(
    ("is_announced", "headers"),
    [
        (True, OCTETS),
        (False, OCTETS),
        (False, {**OCTETS, "Content-Length": "1", "Transfer-Encoding": "chunked"}),
    ],
)
def test_bodies_under_way_are_limited_together(
    service: StillService,
    monkeypatch: pytest.MonkeyPatch,
    is_announced: bool,
    headers: dict[str, str],
) -> None:
    """While one model is being received there is no room for a second one; then there is.

    A length beside a transfer coding announces nothing: the body is as long as its chunks are.
    """
    room = len(MODEL) if is_announced else routes_stock.MAX_MODEL_BYTES
    monkeypatch.setattr(app_module, "MAX_BODIES_BYTES", room)
    put, answers = service.put_model, list[Response]()

    def send(client: TestClient) -> Response:
        content = MODEL if is_announced else iter([MODEL])
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


def test_every_route_declares_who_may_use_it() -> None:
    """Whoever looks needs one scope, whoever leaves something here another."""
    routers = (routes_jobs.router, routes_stock.router, routes_chain.router)
    routes = [route for router in routers for route in router.routes]
    assert len(routes) > 15
    for route in routes:
        assert isinstance(route, GuardedRoute)
        looks = route.path in ("/v1/verify", "/v1/proofs")
        writes = VERIFIERS if looks else SUBMITTERS
        assert route.admission == (READERS if route.methods == {"GET"} else writes), route.path


def test_a_route_that_declares_nothing_cannot_be_made() -> None:
    def ask() -> None:
        raise AssertionError("nobody asks")

    with pytest.raises(KeyError, match="admission"):
        make_router("/v1").get("/new")(ask)


def test_what_others_uploaded_is_not_there(
    service: StillService,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither for a plan nor for an import, which starts no process for it; no log has a key."""
    monkeypatch.setattr(service_module, "import_onnx", None)
    alice = Caller(name="alice", scopes=frozenset({Scope.JOBS}))
    model, dataset = service.put_model(alice, MODEL).id, service.put_dataset(alice, DATASET).id
    key, line = make_key("bob", [Scope.JOBS], Random(8).randbytes)
    (tmp_path / "keys").write_text(line)
    bob = {"Authorization": f"Bearer {key}"}
    with make_http(service, keys=KeyRing.load(tmp_path / "keys")) as http:
        for asked in (
            {"model_id": model, "dataset": "mnist:test[0:8]"},
            {"architecture": "mlp-4-3-2", "dataset": dataset},
        ):
            expect_problem(http.post("/v1/plan", json=asked, headers=bob), 404, "not_found")
        for name in (dataset, model, "0" * 64):
            path = f"/v1/models/onnx?dataset={name}"
            answer = http.post(path, content=b"noise", headers=OCTETS | bob)
            expect_problem(answer, 404, "not_found")
    assert key not in caplog.text


def test_keys_scopes_and_owners(service: StillService, tmp_path: Path) -> None:
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
    with make_http(service, keys=KeyRing.load(tmp_path / "keys")) as http:
        refused = http.get("/v1/jobs")
        expect_problem(refused, 401, "unauthorized")
        assert refused.headers["WWW-Authenticate"] == "Bearer"
        expect_problem(
            http.post("/v1/models", content=MODEL, headers={**OCTETS, **bearer["reader"]}),
            403,
            "forbidden",
        )
        alice = Caller(name="alice", scopes=frozenset({Scope.JOBS}))
        body = service.make_request(alice).model_dump(mode="json")
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


def test_rates_are_per_caller(service: StillService) -> None:
    with make_http(service, rates={"read": "2/hour"}) as http:
        assert [http.get("/v1/jobs").status_code for _ in range(2)] == [200, 200]
        answer = http.get("/v1/jobs")
        expect_problem(answer, 429, "rate_limited")
        assert int(answer.headers["Retry-After"]) >= 1


def test_every_route_that_takes_a_body_limits_it() -> None:
    routes = [*routes_jobs.router.routes, *routes_stock.router.routes]
    with_body = [
        r
        for r in routes
        if isinstance(r, APIRoute) and {"POST", "PUT"}.intersection(r.methods or ())
    ]
    assert len(with_body) == 10
    assert all(r.max_body_size for r in with_body)
