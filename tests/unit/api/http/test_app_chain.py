"""The chain over HTTP: blocks, clients' trails, the leader, new blocks as events."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry

from api.http.app import build_app
from api.http.auth import Caller, KeyEntry, KeyRing, Scope
from api.http.chain.history import ChainHistory
from consensus.learning.chain import start
from consensus.learning.chain_state import Phase
from tests.support.histories import LAB, grow
from tests.support.learning import N_SAMPLES, Lab, make_training
from tests.support.still_service import StillService


@pytest.fixture(scope="module")
def history() -> ChainHistory:
    """One round and the commits of the next."""
    history = ChainHistory(LAB.genesis)
    state = grow(history, start(LAB.genesis), Phase.ELECT)
    grow(history, state, Phase.BEACON)
    return history


@pytest.fixture
def http(history: ChainHistory, service: StillService) -> Iterator[TestClient]:
    app = build_app(service, keys=KeyRing(), registry=CollectorRegistry(), chain=history)
    with TestClient(app, base_url="http://localhost") as client:
        yield client


def test_blocks_newest_first(http: TestClient, history: ChainHistory) -> None:
    first = http.get("/v1/blocks?limit=3").json()
    assert [b["height"] for b in first["blocks"]] == [8, 7, 6]
    assert first["height"] == history.height == 8
    rest = http.get(f"/v1/blocks?before={first['next']}").json()
    assert [b["height"] for b in rest["blocks"]] == [5, 4, 3, 2, 1]
    assert rest["next"] is None
    every = first["blocks"] + rest["blocks"]
    parents, hashes = [b["parent"] for b in every], [b["hash"] for b in every]
    assert parents == [*hashes[1:], LAB.genesis.digest.hex()]


def test_a_block_says_what_it_did(http: TestClient) -> None:
    proofs = http.get("/v1/blocks/4").json()
    assert (proofs["phase"], proofs["learning_round"]) == ("mask", 0)
    assert [t["kind"] for t in proofs["transactions"]] == ["proof"] * 3
    assert proofs["transactions"][1]["claimed_correct"] == N_SAMPLES - 1
    assert proofs["leader"] == LAB.client(0).hex()
    assert (proofs["round"], proofs["voters"]) == (1, [0, 1, 3])
    masked = http.get("/v1/blocks/5").json()
    assert {t["step"] for t in masked["transactions"]} == {"mask"}
    ended = http.get("/v1/blocks/7").json()
    assert ended["outcome"] == "model"
    assert len(ended["entries"]) == 3
    assert ended["global_model"] is not None
    assert masked["global_model"] is masked["outcome"] is None


def test_the_trail_of_a_client(http: TestClient) -> None:
    trail = http.get(f"/v1/clients/{LAB.client(1).hex()}").json()
    assert (trail["validator"], trail["registered_at"]) == (1, 1)
    first, second = trail["rounds"]
    assert first == {
        "learning_round": 0,
        "committed_at": 2,
        "proven_at": 4,
        "claimed_correct": N_SAMPLES - 1,
        "refused_at": None,
        "n_samples": N_SAMPLES,
        "proven_steps": None,
        "n_steps": None,
        "masked_at": 5,
        "unmasked_at": 6,
        "excluded_for": None,
        "entered_at": 7,
    }
    assert (second["committed_at"], second["proven_at"], second["entered_at"]) == (8, None, None)
    assert trail["governance_weight"] == 10**6 * (N_SAMPLES - 1) // N_SAMPLES
    everyone = http.get("/v1/clients").json()["clients"]
    assert {c["client_key"] for c in everyone} == {LAB.client(i).hex() for i in range(3)}


def test_what_is_proven_of_training_is_shown(service: StillService) -> None:
    """Of the task, of each proof, and in each client's trail."""
    lab = Lab(changes={"training": make_training()})
    history = ChainHistory(lab.genesis)
    grow(history, start(lab.genesis), Phase.MASK, lab)
    app = build_app(service, keys=KeyRing(), registry=CollectorRegistry(), chain=history)
    with TestClient(app, base_url="http://localhost") as http:
        training = http.get("/v1/leader").json()["training"]
        assert (training["proven_steps"], training["n_steps"], training["batch_size"]) == (3, 5, 4)
        assert lab.task.training is not None
        recipe = lab.task.training.make_recipe(lab.task.architecture)
        assert training["recipe"] == recipe.digest.hex()
        blocks = http.get("/v1/blocks").json()["blocks"]
        shown = {(t["kind"], t["proven_steps"]) for b in blocks for t in b["transactions"]}
        assert shown == {("register", None), ("commit", None), ("proof", 3)}
        (first,) = http.get(f"/v1/clients/{lab.client(0).hex()}").json()["rounds"]
        assert (first["proven_steps"], first["n_steps"]) == (3, 5)


def test_the_leader(http: TestClient) -> None:
    leader = http.get("/v1/leader").json()
    assert leader["client_key"] == LAB.client(0).hex()
    assert leader["validator"] == 0
    assert leader["training"] is None
    assert leader["ranking"] == [LAB.client(i).hex() for i in range(3)]
    assert (leader["height"], leader["phase"]) == (8, "beacon")


def test_new_blocks_are_events(http: TestClient) -> None:
    seen = []
    with http.stream("GET", "/v1/blocks/events", headers={"Last-Event-ID": "5"}) as answer:
        assert answer.status_code == 200
        for line in answer.iter_lines():
            if line.startswith("id:"):
                seen.append(int(line.split(":")[1]))
            if len(seen) == 3:
                break
    assert seen == [6, 7, 8]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/blocks/9", 404),
        ("/v1/blocks/0", 422),
        ("/v1/blocks/-1", 422),
        ("/v1/blocks/99999999999999999999", 422),
        ("/v1/clients/" + "0" * 64, 404),
        ("/v1/clients/..%2f..", 404),
        ("/v1/clients/xyz", 422),
        ("/v1/blocks?before=0", 422),
        ("/v1/blocks?limit=NaN", 422),
    ],
)
def test_what_is_not_there(http: TestClient, path: str, status: int) -> None:
    answer = http.get(path)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_service_without_a_chain_says_so(service: StillService) -> None:
    app = build_app(service, keys=KeyRing(), registry=CollectorRegistry())
    with TestClient(app, base_url="http://localhost") as client:
        for path in ("/v1/blocks", "/v1/blocks/1", "/v1/leader", "/v1/clients"):
            answer = client.get(path)
            assert answer.status_code == 404
            assert "ZKPOT_GENESIS" in answer.json()["detail"]


def test_everyone_gets_the_genesis_as_it_is(history: ChainHistory, service: StillService) -> None:
    """Also where all else asks for a key."""
    alice = Caller(name="alice", scopes=frozenset({Scope.READ}))
    ring = KeyRing([KeyEntry(digest=bytes(32), caller=alice)])
    app = build_app(service, keys=ring, registry=CollectorRegistry(), chain=history)
    with TestClient(app, base_url="http://localhost") as client:
        assert client.get("/v1/blocks").status_code == 401
        answer = client.get("/genesis.json")
        assert (answer.status_code, answer.content) == (200, LAB.genesis.encode())
    app = build_app(service, keys=ring, registry=CollectorRegistry())
    with TestClient(app, base_url="http://localhost") as client:
        assert client.get("/genesis.json").json()["code"] == "not_found"
