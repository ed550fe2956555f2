"""What a job will take, asked over HTTP; and the circuit that a job takes when it asks for none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save
from starlette.testclient import TestClient

from api.http.auth import LOCAL
from api.http.planning import choose_machine
from api.http.schemas import PlanRequest, VerifyRequest
from api.queue.admin import Heartbeat, QueueAdmin
from api.settings import Settings
from prover.circuit.sizes import compute_sizes
from prover.costs import REFERENCE_NS, Unit
from prover.model.presets import parse_architecture
from prover.model.zkq import encode_model
from tests.support.models import random_model
from tests.support.proving_service import make_samples, work
from tests.support.routes import OCTETS, expect_problem
from tests.support.still_service import ARCHITECTURE, MODEL, PROOF, StillService

MNIST = {"architecture": "mlp-784-128-10", "dataset": "mnist:test[0:256]"}
WORKER = Heartbeat(
    worker="w-1",
    backend="cpu",
    device="",
    job_id=None,
    draining=False,
    resident_bytes=1,
    cached_bytes=0,
    threads=4,
    memory_bytes=8 << 30,
)


def test_rows_key_memory_and_seconds_are_told(http: TestClient) -> None:
    answer = http.post("/v1/plan", json=MNIST)
    assert answer.status_code == 200
    found = answer.json()
    sizes = compute_sizes(parse_architecture(MNIST["architecture"]), 256)
    assert found["rows"] == sizes.n_rows
    assert (found["samples"], found["samples_per_proof"], found["proofs"]) == (256, 256, 1)
    assert found["key_bytes"] > 64 * sizes.n_rows
    assert found["prove_memory_bytes"] > found["key_bytes"]
    assert all(seconds > 0 for seconds in found["seconds"].values())
    assert not found["has_key"]


def test_an_uploaded_model_and_uploaded_samples(http: TestClient, service: StillService) -> None:
    request = service.make_request(n_samples=None)
    body = {"model_id": request.model_id, "dataset": request.dataset}
    found = http.post("/v1/plan", json=body).json()
    assert (found["architecture"], found["samples_per_proof"]) == (ARCHITECTURE.name, 16)


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"architecture": "mlp-5-10"}, 422, "samples [784], the model takes [5]"),
        ({"architecture": "transformer"}, 422, "or one of lenet5"),
        ({"model_id": "0" * 64}, 422, "give one of"),
        ({"model_id": "0" * 64, "architecture": None}, 404, "no model"),
        ({"architecture": None}, 422, "give one of"),
        ({"dataset": "mnist:test[0:20000]"}, 422, "10000"),
        ({"n_samples": 0}, 422, "n_samples"),
        ({"dataset": "mnist:train[0:6000]", "architecture": "mlp-784-9000-10"}, 422, "smaller"),
    ],
)
def test_what_cannot_be_planned_is_refused(
    http: TestClient, change: dict[str, object], status: int, words: str
) -> None:
    answer = http.post("/v1/plan", json=MNIST | change)
    assert answer.status_code == status, answer.json()
    assert words in answer.text


def test_a_plan_is_for_the_worker_with_the_least_memory(
    http: TestClient, service: StillService
) -> None:
    """A shard may come to any of them."""
    admin = QueueAdmin(service.queue)
    admin.beat(WORKER)
    admin.beat(replace(WORKER, worker="w-2", memory_bytes=330 << 20))
    admin.beat(replace(WORKER, worker="w-3", memory_bytes=1 << 20, draining=True))
    found = http.post("/v1/plan", json=MNIST).json()
    assert (found["worker"], found["memory_bytes"]) == ("w-2", 330 << 20)
    assert found["proofs"] > 1
    assert max(found["setup_memory_bytes"], found["prove_memory_bytes"]) <= 330 << 20
    refused = http.post("/v1/plan", json=MNIST | {"n_samples": 256})
    assert refused.status_code == 422
    assert "take fewer samples" in refused.text


def test_a_worker_that_was_timed_has_its_own_speed() -> None:
    settings = Settings()
    alone = choose_machine([], settings)
    assert alone.worker is None
    known = REFERENCE_NS["ifma"]
    slow = replace(WORKER, lanes="ifma", probe_s=3e-9 * known[Unit.PROBE])
    found = choose_machine([slow], settings)
    assert found.machine.threads == 4
    assert found.machine.speeds_ns[Unit.ADD_G1] == pytest.approx(3 * known[Unit.ADD_G1])
    fast = choose_machine([WORKER], settings)
    assert fast.machine.speeds_ns == known


@pytest.mark.parametrize(("n", "n_samples", "shards"), [(5, 5, 1), (1, 1, 1), (2050, 684, 3)])
def test_a_job_takes_a_circuit_of_its_samples(
    service: StillService, n: int, n_samples: int, shards: int
) -> None:
    dataset = service.put_dataset(LOCAL, save(make_samples(n))).id
    model_id = service.put_model(LOCAL, MODEL).id
    job = service.put_job(model_id=model_id, dataset=dataset, n_samples=None)
    assert (job.n_samples, job.shards) == (n_samples, shards)


def test_built_in_samples_are_listed(http: TestClient) -> None:
    found = {one["name"]: one for one in http.get("/v1/datasets").json()["datasets"]}
    assert found["mnist"]["here"] == {"train": 6000, "test": 2048}
    assert found["cifar10"]["sample_shape"] == [3, 32, 32]


def test_what_a_proof_states_is_told_unverified(http: TestClient) -> None:
    """This one is under no key of the service, and proves nothing."""
    found = http.post("/v1/proofs", content=PROOF, headers=OCTETS).json()
    assert (found["n_real"], found["claimed_correct"]) == (64, 60)
    assert (found["circuit"], found["sample_shape"]) == (None, None)
    refused = http.post("/v1/proofs", content=b"noise", headers=OCTETS)
    expect_problem(refused, 422, "invalid_request")


@pytest.mark.slow
def test_a_network_with_convolutions_goes_every_way(service: StillService) -> None:
    """Planned, proven by a worker under a key that it makes, and verified: samples come as rows."""
    architecture = parse_architecture("lenet5")
    raw = encode_model(random_model(architecture, np.random.default_rng(6)))
    model_id = service.put_model(LOCAL, raw).id
    dataset = "mnist:test[0:2]"
    plan = service.plan(LOCAL, PlanRequest(model_id=model_id, dataset=dataset))
    assert (plan.architecture, plan.samples_per_proof, plan.has_key) == (
        architecture.name,
        2,
        False,
    )
    job = service.put_job(model_id=model_id, dataset=dataset, n_samples=None)
    work(service)
    proof = service.describe_proof(LOCAL, job.id)
    assert proof.circuit is not None
    stated = service.describe_stated(service.get_proof(LOCAL, job.id))
    assert stated.sample_shape == [1, 28, 28]
    answer = service.verify(
        LOCAL,
        VerifyRequest(proof_base64=proof.proof_base64, circuit=proof.circuit, dataset=dataset),
    )
    assert (answer.verdict, answer.n_real) == ("valid", 2)
    assert answer.claimed_correct == proof.claimed_correct
    assert service.plan(LOCAL, PlanRequest(architecture="lenet5", dataset=dataset)).has_key
