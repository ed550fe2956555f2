"""Verifications under way: so many for each caller, and none keeps other requests waiting."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Event, Semaphore

import pytest
from httpx2 import Response
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient

from api.http import app as app_module
from api.http.app import build_app
from api.http.auth import Caller, KeyEntry, KeyRing, Scope, make_key
from api.http.schemas import VerifyAnswer, VerifyRequest
from tests.support.still_service import StillService

ASKED = {"proof_base64": "", "circuit": "0" * 64, "dataset": "mnist:test[0:16]"}
WAIT_S = 30.0


def make_keys(*names: str) -> tuple[KeyRing, list[dict[str, str]]]:
    """A key each, and the headers that show it."""
    entries, headers, rng = [], [], Random(1)
    for name in names:
        key, line = make_key(name, [Scope.VERIFY, Scope.READ], rng.randbytes)
        caller = Caller(name=name, scopes=frozenset({Scope.VERIFY, Scope.READ}))
        digest = bytes.fromhex(json.loads(line)["sha256"])
        entries.append(KeyEntry(digest=digest, caller=caller))
        headers.append({"Authorization": f"Bearer {key}"})
    return KeyRing(entries), headers


@pytest.mark.parametrize("share", [1, 45])  # 45: more than the 40 threads that requests share
def test_verifications_of_one_caller_stop_nobody_else(
    share: int, service: StillService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "MAX_VERIFICATIONS", share + 1)
    monkeypatch.setattr(app_module, "MAX_VERIFICATIONS_PER_CALLER", share)
    begun, go_on = Semaphore(0), Event()

    def hold(_: Caller, __: VerifyRequest) -> VerifyAnswer:
        begun.release()
        assert go_on.wait(WAIT_S)
        return VerifyAnswer(verdict="malformed")

    monkeypatch.setattr(service, "verify", hold)
    ring, (alice, bob) = make_keys("alice", "bob")
    rates = {"verify": "1000/second"}
    app = build_app(service, keys=ring, registry=CollectorRegistry(), rates=rates)
    with TestClient(app, raise_server_exceptions=False) as http:

        def ask(headers: dict[str, str]) -> Response:
            return http.post("/v1/verify", json=ASKED, headers=headers)

        with ThreadPoolExecutor(share + 1) as pool:
            try:
                held = [pool.submit(ask, alice) for _ in range(share)]
                for _ in held:
                    assert begun.acquire(timeout=WAIT_S)
                assert http.get("/v1/jobs", headers=bob).status_code == 200
                refused = ask(alice)
                held.append(pool.submit(ask, bob))
                assert begun.acquire(timeout=WAIT_S)  # bob's got in
                refused_in_all = ask(bob)
            finally:
                go_on.set()
        for answer in (refused, refused_in_all):
            assert (answer.status_code, answer.json()["code"]) == (429, "too_many_verifications")
            assert int(answer.headers["Retry-After"]) >= 1
        assert [one.result().json()["verdict"] for one in held] == ["malformed"] * (share + 1)
        assert ask(alice).status_code == 200  # its places are free again
