"""The service without a queue server: order, cancellation, deadlines, failures, owners, uploads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from api.auth import Caller, Scope
from api.inline import InlineService
from api.problems import ApiProblem
from api.proof_runs import Made
from api.schemas import JobRequest, PriorityName
from api.uploads import TIME_TO_LIVE_S, Uploads
from prover.errors import RangeExceeded
from prover.model import Architecture
from prover.model_bytes import encode_model
from tests.support.models import random_model

ALICE = Caller(name="alice", scopes=frozenset({Scope.READ, Scope.JOBS}))
BOB = Caller(name="bob", scopes=frozenset({Scope.READ, Scope.JOBS}))
MODEL = encode_model(random_model(Architecture.mlp([4, 3, 2]), np.random.default_rng(1)))


class FakeProver:
    """Takes a job when told to, and ends it as told; `order` is what it was given."""

    def __init__(self) -> None:
        self.may_go, self.taken = Event(), Event()
        self.order: list[int] = []
        self.fault: Exception | None = None

    def prove_accuracy(self, *_: Any, n_samples: int, report: Any, **__: Any) -> Made:
        self.order.append(n_samples)
        self.taken.set()
        assert self.may_go.wait(30)
        report("commit", 1, 1, 0, 0.5)
        if self.fault is not None:
            raise self.fault
        return Made(raw=b"made", circuit="0" * 64, seconds=0.1)

    def prove_groth16(self, zkey: Path, witness: Path, *, report: Any) -> Made:
        report("read", 1, 1, 0, 0.0)
        both = zkey.read_bytes() + witness.read_bytes()
        return Made(raw=b'{"proof": "%b"}' % both, circuit=None, seconds=0.1)


@pytest.fixture
def prover() -> FakeProver:
    return FakeProver()


@pytest.fixture
def service(prover: FakeProver, tmp_path: Path) -> Iterator[InlineService]:
    service = InlineService(prover, Uploads(tmp_path))  # type: ignore[arg-type]
    service.start()
    yield service
    prover.may_go.set()
    service.close()


@pytest.fixture
def request_16(service: InlineService) -> JobRequest:
    samples = {"images": np.ones((5, 4), np.uint8), "labels": np.zeros(5, np.uint8)}
    dataset = service.put_dataset(ALICE, save(samples)).id
    model_id = service.put_model(ALICE, MODEL).id
    return JobRequest(model_id=model_id, dataset=dataset, n_samples=16)


def wait_for_end(service: InlineService, job_id: str) -> str:
    """The state at the end; every event is seen once, in order."""
    after, seen = "0-0", []
    while not seen or seen[-1].type != "end":
        events = service.read_events(ALICE, job_id, after=after, block_ms=10_000)
        assert events, "no end in time"
        seen += events
        after = events[-1].id
    assert [e.id for e in seen] == [f"{i + 1}-0" for i in range(len(seen))]
    return str(seen[-1].data["state"])


def test_higher_priority_first_then_first_come(
    service: InlineService, prover: FakeProver, request_16: JobRequest
) -> None:
    def submit(n: int, priority: str) -> str:
        change = {"n_samples": n, "priority": PriorityName(priority)}
        return service.submit(ALICE, request_16.model_copy(update=change), None).id

    first = submit(2, "normal")
    assert prover.taken.wait(30)
    jobs = [first, submit(3, "low"), submit(4, "normal"), submit(5, "normal"), submit(6, "high")]
    queue = service.view_queue()
    assert {p: v.waiting for p, v in queue.priorities.items()} == {"high": 1, "normal": 2, "low": 1}
    assert queue.running == 1
    prover.may_go.set()
    assert {wait_for_end(service, job) for job in jobs} == {"done"}
    assert prover.order == [2, 6, 4, 5, 3]
    assert service.get_proof(ALICE, first) == b"made"


def test_cancel_waiting_and_running(
    service: InlineService, prover: FakeProver, request_16: JobRequest
) -> None:
    running = service.submit(ALICE, request_16, None)
    assert prover.taken.wait(30)
    waiting = service.submit(ALICE, request_16.model_copy(update={"n_samples": 17}), None)
    assert service.cancel(ALICE, waiting.id).state == "cancelled"
    assert service.cancel(ALICE, running.id).state == "running"
    prover.may_go.set()
    assert wait_for_end(service, running.id) == "cancelled"
    assert prover.order == [16]
    with pytest.raises(ApiProblem, match="not_ready"):
        service.get_proof(ALICE, running.id)
    again = service.submit(ALICE, request_16, None)  # ended without a proof: it may run again
    assert wait_for_end(service, again.id) == "done"


def test_a_deadline_ends_a_job(
    service: InlineService,
    prover: FakeProver,
    request_16: JobRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = service.submit(ALICE, request_16.model_copy(update={"deadline_s": 5}), None)
    assert job.expires_at is not None
    late = job.expires_at + 1
    monkeypatch.setattr("api.inline.time.time", lambda: late)
    prover.may_go.set()
    assert wait_for_end(service, job.id) == "expired"


def test_failures_are_named_without_private_numbers(
    service: InlineService, prover: FakeProver, request_16: JobRequest
) -> None:
    prover.may_go.set()
    prover.fault = RangeExceeded(
        layer=1, quantity="bias", value=987654321, bound=(-5, 5), next_step="quantize again"
    )
    first = service.submit(ALICE, request_16, None)
    assert wait_for_end(service, first.id) == "failed"
    error = service.get_job(ALICE, first.id).error
    assert error is not None
    assert error.code == "range_exceeded"
    assert "987654321" not in error.message
    prover.fault = RuntimeError("weight 987654321")
    second = service.submit(ALICE, request_16.model_copy(update={"n_samples": 17}), None)
    assert wait_for_end(service, second.id) == "failed"
    error = service.get_job(ALICE, second.id).error
    assert error is not None
    assert (error.code, "987654321" in error.message) == ("internal", False)
    service.ping()  # the thread lives on


def test_groth16_files_are_deleted_after_the_job(service: InlineService, tmp_path: Path) -> None:
    paths = {name: tmp_path / name for name in ("zkey", "witness")}
    for name, path in paths.items():
        path.write_bytes(name.encode())
    priority = PriorityName.NORMAL
    job = service.submit_groth16(
        ALICE, zkey=paths["zkey"], witness=paths["witness"], priority=priority, idempotency_key=None
    )
    for path in paths.values():
        path.unlink()  # the request's own files end with the request
    assert wait_for_end(service, job.id) == "done"
    assert service.describe_proof(ALICE, job.id).groth16 == {"proof": "zkeywitness"}


def test_things_of_others_do_not_exist(
    service: InlineService, prover: FakeProver, request_16: JobRequest
) -> None:
    prover.may_go.set()
    job = service.submit(ALICE, request_16, None)
    for ask in (service.get_job, service.cancel, service.get_proof, service.describe_proof):
        with pytest.raises(ApiProblem, match="not_found"):
            ask(BOB, job.id)
    with pytest.raises(ApiProblem, match="not_found"):
        service.submit(BOB, request_16, None)
    assert service.list_jobs(BOB, limit=10, before=None).jobs == []


def test_lists_go_on_where_they_ended(
    service: InlineService, prover: FakeProver, request_16: JobRequest
) -> None:
    prover.may_go.set()
    ids = [
        service.submit(ALICE, request_16.model_copy(update={"n_samples": n}), None).id
        for n in range(2, 7)
    ]
    first = service.list_jobs(ALICE, limit=2, before=None)
    rest = service.list_jobs(ALICE, limit=9, before=first.next)
    assert [job.id for job in (*first.jobs, *rest.jobs)] == ids[::-1]
    assert rest.next is None


@pytest.mark.parametrize(
    "tensors",
    [
        {"images": np.ones((2, 4), np.uint8)},
        {"images": np.ones((2, 4), np.uint8), "labels": np.zeros(3, np.uint8)},
        {"images": np.ones((2, 4), np.float32), "labels": np.zeros(2, np.uint8)},
        {"images": np.ones((0, 4), np.uint8), "labels": np.zeros(0, np.uint8)},
        {"images": np.ones(4, np.uint8), "labels": np.zeros(4, np.uint8)},
    ],
)
def test_samples_of_other_shapes_are_refused(
    service: InlineService, tensors: dict[str, Any]
) -> None:
    with pytest.raises(ApiProblem, match="bad_dataset"):
        service.put_dataset(ALICE, save(tensors))


@pytest.mark.parametrize("raw", [b"", b"\xff" * 64, b"\x80\x04pickle"])
def test_bytes_that_are_no_samples_are_refused(service: InlineService, raw: bytes) -> None:
    with pytest.raises(ApiProblem, match="bad_dataset"):
        service.put_dataset(ALICE, raw)


def test_uploads_expire(tmp_path: Path) -> None:
    now = [1000.0]
    uploads = Uploads(tmp_path, clock=lambda: now[0])
    receipt = uploads.put_model("alice", MODEL)
    assert receipt.expires_at == 1000.0 + TIME_TO_LIVE_S
    uploads.get_model("alice", receipt.id)
    now[0] = receipt.expires_at
    with pytest.raises(ApiProblem, match="not_found"):
        uploads.get_model("alice", receipt.id)
