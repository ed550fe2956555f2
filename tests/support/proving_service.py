"""Jobs of two callers over the service, and a worker that does them."""

from __future__ import annotations

from dataclasses import replace
from threading import Event
from typing import Any

import numpy as np
import structlog
from safetensors.numpy import save

from api.assembly import build_worker
from api.http.auth import Caller, Scope
from api.http.schemas import Job, JobRequest
from api.queue.jobs import Priority
from tests.support.foreign import vector
from tests.support.still_service import MODEL, StillService

ALICE = Caller(name="alice", scopes=frozenset({Scope.READ, Scope.JOBS}))
BOB = Caller(name="bob", scopes=frozenset({Scope.READ, Scope.JOBS}))
N_SAMPLES = 4


def make_samples(n: int, width: int = 4) -> dict[str, Any]:
    rng = np.random.default_rng(n)
    return {
        "images": rng.integers(0, 256, (n, width), dtype=np.uint8),
        "labels": rng.integers(0, 2, n, dtype=np.uint8),
    }


def work(service: StillService, **change: int) -> None:
    """A worker does all that waits."""
    settings = replace(service.settings, **change)  # type: ignore[arg-type]
    log = structlog.wrap_logger(structlog.testing.CapturingLogger())
    worker = build_worker(service.redis, settings, name="w", stop=Event(), log=log)
    while worker.run_one():
        pass


def upload(service: StillService, n: int = N_SAMPLES, **change: Any) -> JobRequest:
    """A request of Alice's about n samples of her own."""
    dataset = service.put_dataset(ALICE, save(make_samples(n))).id
    model_id = service.put_model(ALICE, MODEL).id
    fields = {"model_id": model_id, "dataset": dataset, "n_samples": N_SAMPLES}
    return JobRequest(**{**fields, **change})


def do(service: StillService, request: JobRequest, **change: int) -> Job:
    job = service.submit(ALICE, request, None)
    assert job.state == "queued"
    work(service, **change)
    return service.get_job(ALICE, job.id)


def submit_product(service: StillService, priority: Priority) -> Job:
    zkey, witness = vector("multiplier", ".zkey"), vector("multiplier", ".wtns")
    with zkey.open("rb") as key_file, witness.open("rb") as witness_file:
        return service.submit_groth16(
            ALICE,
            zkey=key_file,
            witness=witness_file,
            priority=priority,
            idempotency_key=None,
        )
