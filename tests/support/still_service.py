"""The service on a real queue without workers, for tests of its routes, its page, its client.

Jobs stand still until a test moves them, by the calls that workers make.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from api.http.auth import LOCAL, Caller
from api.http.schemas import Job, JobRequest
from api.http.service import Service
from api.http.verifier_pool import VerifierPool
from api.queue.admin import Heartbeat, QueueAdmin
from api.queue.jobs import Progress
from api.queue.queue import JobQueue, Lease
from api.settings import MAX_TASKS_PER_JOB, Settings
from api.store.opening import open_shelf, open_store
from api.valkey.embedded import connect
from prover.model.network import Architecture
from prover.model.zkq import encode_model
from prover.wire.envelope import Envelope
from prover.wire.statement import Occasion, Statement
from tests.support.models import random_model

ARCHITECTURE = Architecture.mlp([4, 3, 2])
MODEL = encode_model(random_model(ARCHITECTURE, np.random.default_rng(1)))
_RNG = np.random.default_rng(2)
DATASET = save(
    {
        "images": _RNG.integers(0, 256, (16, 4), dtype=np.uint8),
        "labels": _RNG.integers(0, 2, 16, dtype=np.uint8),
    }
)
PROOF = Envelope(
    proof=bytes(224),
    statement=Statement(
        occasion=Occasion(
            chain_id=b"chain", task_id=b"task", round_index=0, commit_height=0, client_key=b"\0"
        ),
        verifying_key_digest=bytes(32),
        shard_index=0,
        n_real=64,
        dataset_digest=bytes(32),
        multipliers=(1,),
        claimed_correct=60,
        commitments=(bytes(32),),
    ),
).encode()
"""That 60 of 64 samples are right, and proves nothing."""


class StillService(Service):
    """Its jobs, on the settings' server, are moved by hand."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.redis = settings, connect(settings, retries=0)
        self.queue = JobQueue(self.redis, settings)
        self.store, pool = open_store(settings), VerifierPool.of(settings)
        super().__init__(self.queue, self.store, open_shelf(settings), pool)
        self._leases: dict[str, Lease] = {}

    def close(self) -> None:
        super().close()
        self.redis.close()

    def make_request(self, caller: Caller = LOCAL, **change: object) -> JobRequest:
        """Of the caller's: 16 samples and a model for them, both uploaded."""
        fields = {
            "model_id": self.put_model(caller, MODEL).id,
            "dataset": self.put_dataset(caller, DATASET).id,
            "n_samples": 16,
        }
        return JobRequest.model_validate({**fields, **change})

    def put_job(self, caller: Caller = LOCAL, **change: object) -> Job:
        """A new job of the caller's."""
        return self.submit(caller, self.make_request(caller, **change), None)

    def step(self, job_id: str, stage: str, done: int, total: int, fraction: float) -> None:
        """A worker, which has taken the job, reports."""
        progress = Progress(stage=stage, done=done, total=total, fraction=fraction)
        self.queue.report(self._take(job_id), progress)

    def finish(self, job_id: str, state: str) -> None:
        """The job ends, done, failed, cancelled or expired."""
        if state == "cancelled":
            self.queue.cancel(job_id)
        elif state == "expired":
            self.redis.zadd(self.queue.prefix + "deadlines", {job_id: 1})
            self.queue.tick()
        elif state == "failed":
            self.queue.fail(self._take(job_id), "made_up", "a failure", retry=False)
        else:
            assert self.queue.complete(self._take(job_id), PROOF, seconds=0.5, n_samples=16)

    def show_worker(self, name: str) -> None:
        """A worker that is up."""
        heartbeat = Heartbeat(
            worker=name,
            backend="cpu",
            device="",
            job_id=None,
            draining=False,
            resident_bytes=1,
            cached_bytes=0,
        )
        QueueAdmin(self.queue).beat(heartbeat)

    def _take(self, job_id: str) -> Lease:
        """The one task of the job; who waits before it is taken too."""
        while job_id not in self._leases:
            lease = self.queue.lease(f"w-{len(self._leases)}")
            assert lease is not None
            self._leases[lease.job_id] = lease
        return self._leases[job_id]


@contextmanager
def still_service(folder: Path) -> Iterator[StillService]:
    """One with an empty queue, for as many tasks as one job may have, on the folder's server."""
    settings = Settings(
        data_dir=folder, queue_limit=MAX_TASKS_PER_JOB, retry_first_ms=1, retry_last_ms=1
    )
    with closing(StillService(settings)) as service:
        service.redis.flushall()
        yield service
