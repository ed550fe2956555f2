"""The HTTP service as a client's prover: what it is handed, and every way in which it can fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

from api.client.http import Client
from api.client.prover import MAX_TRIES, ServiceProver
from api.errors import ServiceGone
from api.http.auth import LOCAL, Caller
from api.http.problems import ApiProblem
from api.http.schemas import DatasetReceipt, Job, JobRequest
from api.queue.jobs import Priority
from api.settings import Settings
from api.store.uploads import UploadKind, parse_samples
from federated.client import ProofOrder
from federated.errors import ProvingFailed
from prover.model.zkq import encode_model
from prover.pedersen.commitment import SecretCommitment
from prover.wire.statement import Occasion
from prover.wire.training import TrainingProofs
from tests.support.learning import commitment_of, model_of
from tests.support.ordered import trained
from tests.support.queue_server import running_server
from tests.support.serving import serve
from tests.support.still_service import PROOF, StillService


class Ending(StillService):
    """Ends each job as soon as it comes. state : in which; "": of training, in none"""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.state, self.n_busy = "done", 0
        self.requests: list[JobRequest] = []
        self.orders: list[bytes] = []

    def submit(self, caller: Caller, request: JobRequest, idempotency_key: str | None) -> Job:
        if self.n_busy:
            self.n_busy -= 1
            raise ApiProblem("queue_full", headers={"Retry-After": "7"})
        self.requests.append(request)
        job = super().submit(caller, request, idempotency_key)
        if not job.state.is_end:  # the same request again is the same job
            self.finish(job.id, self.state)
        return job

    def submit_training(self, caller: Caller, *, order: BinaryIO, **rest: Any) -> Job:
        job = super().submit_training(caller, order=order, **rest)
        order.seek(0)
        self.orders.append(order.read())
        if self.state == "done":
            for task, raw in enumerate((*PROOFS.steps, PROOFS.export)):
                lease = self.queue.lease(f"training-{task}")
                assert lease is not None
                assert self.queue.complete(lease, raw, seconds=0.5, n_samples=0)
        elif self.state:
            self.finish(job.id, self.state)
        return job

    def read_upload(self, kind: UploadKind, upload: str | None) -> bytes:
        assert upload is not None
        return self.store.get(LOCAL.name, kind, upload)


def make_order() -> ProofOrder:
    public, blinding = commitment_of(0)
    generator = np.random.default_rng(1)
    return ProofOrder(
        model=model_of(0),
        commitment=SecretCommitment(public=public, blinding=blinding),
        images=generator.integers(0, 256, size=(16, 6), dtype=np.uint8),
        labels=generator.integers(0, 3, size=16, dtype=np.uint8),
        occasion=Occasion(
            chain_id=b"chain",
            task_id=b"task",
            round_index=2,
            commit_height=9,
            client_key=b"\x07" * 32,
        ),
    )


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Ending]:
    with running_server(tmp_path), closing(Ending(Settings(data_dir=tmp_path))) as service:
        yield service


@pytest.fixture
def url(service: Ending) -> Iterator[str]:
    with serve(service) as address:
        yield address


def test_the_service_is_handed_the_whole_order(service: Ending, url: str) -> None:
    order = make_order()
    assert ServiceProver(url).prove(order) == PROOF
    (request,) = service.requests
    model = service.read_upload(UploadKind.MODEL, request.model_id)
    assert model == encode_model(order.model)
    images, labels = parse_samples(service.read_upload(UploadKind.DATASET, request.dataset))
    assert np.array_equal(images, order.images)
    assert np.array_equal(labels, order.labels)
    commitment = service.read_upload(UploadKind.COMMITMENT, request.commitment_id)
    assert commitment == order.commitment.encode()
    assert request.n_samples == 16
    assert request.statement.model_dump() == {
        "chain_id": "chain",
        "task_id": "task",
        "round_index": 2,
        "commit_height": 9,
        "client_key": "07" * 32,
    }


def test_a_busy_service_is_asked_again(service: Ending, url: str) -> None:
    waits: list[float] = []
    service.n_busy = 3
    assert ServiceProver(url, sleep=waits.append).prove(make_order()) == PROOF
    assert waits == [7.0] * 3
    service.n_busy = 10**6
    with pytest.raises(ProvingFailed, match="stays busy"):
        ServiceProver(url, sleep=waits.append).prove(make_order())
    assert len(waits) == 3 + MAX_TRIES


@pytest.mark.parametrize("state", ["failed", "cancelled", "expired"])
def test_a_job_that_ends_otherwise_is_no_proof(service: Ending, url: str, state: str) -> None:
    service.state = state
    with pytest.raises(ProvingFailed, match=f"ended {state}"):
        ServiceProver(url).prove(make_order())


def test_refusals_and_silence_are_named(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    with pytest.raises(ProvingFailed, match=r"127\.0\.0\.1:1 does not answer"):
        ServiceProver("http://127.0.0.1:1").prove(make_order())

    def vanish(*_: Any) -> Job:
        raise ServiceGone(300.0)

    with monkeypatch.context() as patch:
        patch.setattr(Client, "wait", vanish)
        with pytest.raises(ProvingFailed, match="has not answered for 300 s"):
            ServiceProver(url).prove(make_order())

    def refuse(*_: Any) -> DatasetReceipt:
        raise ApiProblem("bad_dataset", "these are no samples")

    monkeypatch.setattr(Ending, "put_dataset", refuse)
    with pytest.raises(ProvingFailed, match="these are no samples"):
        ServiceProver(url).prove(make_order())


PROOFS = TrainingProofs(steps=(b"a", b"b", b"c"), export=b"d")
ORDER = trained().write()


def write_order(stream: BinaryIO) -> None:
    stream.write(ORDER)


def test_an_order_of_training_is_handed_over_whole(service: Ending, url: str) -> None:
    assert ServiceProver(url).prove_training(write_order) == PROOFS
    assert service.orders == [ORDER]
    (job,) = service.list_jobs(LOCAL, limit=9, before=None).jobs
    assert (job.kind, job.steps, job.steps_done) == ("training", 3, 3)


def test_an_order_that_is_none_is_no_proof(service: Ending, url: str) -> None:
    with pytest.raises(ProvingFailed, match="refused the job: bad_order"):
        ServiceProver(url).prove_training(lambda stream: None)
    service.state = "failed"
    with pytest.raises(ProvingFailed, match="ended failed: a failure"):
        ServiceProver(url).prove_training(write_order)


def test_an_order_waits_with_its_options(service: Ending, url: str) -> None:
    service.state = ""
    with Client.connect(url) as client:
        order = BytesIO(ORDER)
        first = client.submit_training(
            order, priority=Priority.LOW, deadline_s=900, idempotency_key="one"
        )
        again = client.submit_training(
            order, priority=Priority.LOW, deadline_s=900, idempotency_key="one"
        )
    assert (first.id, first.state, first.priority) == (again.id, "queued", "low")
    assert first.expires_at == pytest.approx(first.created_at + 900)
