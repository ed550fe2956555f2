"""A `ServiceBackend` in memory: what the routes are tested against without queue or prover."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, BinaryIO

from api.http.auth import Caller
from api.http.problems import ApiProblem
from api.http.schemas import (
    CircuitList,
    CommitmentReceipt,
    DatasetReceipt,
    Failure,
    Job,
    JobList,
    JobRequest,
    ModelReceipt,
    PriorityName,
    PriorityView,
    Progress,
    ProofView,
    QueueView,
    VerifyAnswer,
    VerifyRequest,
    WorkerList,
    WorkerView,
)
from api.http.service import JobEvent
from prover.errors import FormatError
from prover.model.zkq import decode_model

LIMIT = 8
PROOF = b"not a real proof"


class MemoryService:
    """Jobs stay as they are until a test moves them with `step` or `finish`."""

    def __init__(self) -> None:
        self.models: dict[tuple[str, str], bytes] = {}
        self.owners: dict[str, str] = {}
        self.jobs: dict[str, Job] = {}
        self.events: dict[str, list[JobEvent]] = {}
        self.keys: dict[tuple[str, str], tuple[str, str]] = {}
        self.is_up = True

    def ping(self) -> None:
        if not self.is_up:
            raise ApiProblem("unavailable")

    def put_model(self, caller: Caller, raw: bytes) -> ModelReceipt:
        model = decode_model(raw)
        digest = hashlib.sha256(raw).hexdigest()
        self.models[caller.name, digest] = raw
        return ModelReceipt(
            id=digest,
            architecture=model.architecture.name,
            n_parameters=model.architecture.n_parameters,
            n_bytes=len(raw),
            expires_at=0,
        )

    def put_commitment(self, caller: Caller, raw: bytes) -> CommitmentReceipt:
        raise FormatError("it is no commitment", where="commitment", next_step="commit again")

    def put_dataset(self, caller: Caller, raw: bytes) -> DatasetReceipt:
        raise ApiProblem("bad_dataset", "these are no samples")

    def submit(self, caller: Caller, request: JobRequest, idempotency_key: str | None) -> Job:
        if (caller.name, request.model_id) not in self.models:
            raise ApiProblem("not_found", "no model of yours has this id")
        body = request.model_dump_json()
        digest = hashlib.sha256((caller.name + body).encode()).hexdigest()
        return self._put(caller, digest, body, idempotency_key, request)

    def submit_groth16(
        self,
        caller: Caller,
        *,
        zkey: BinaryIO,
        witness: BinaryIO,
        priority: PriorityName,
        idempotency_key: str | None,
    ) -> Job:
        digest = hashlib.sha256(zkey.read() + witness.read()).hexdigest()
        return self._put(caller, digest, digest, idempotency_key, None)

    def list_jobs(self, caller: Caller, *, limit: int, before: str | None) -> JobList:
        self.ping()
        mine = [j for j in reversed(self.jobs.values()) if caller.may_see(self.owners[j.id])]
        return JobList(jobs=mine[:limit], next=None)

    def get_job(self, caller: Caller, job_id: str) -> Job:
        if job_id not in self.jobs or not caller.may_see(self.owners[job_id]):
            raise ApiProblem("not_found", "no job of yours has this id")
        return self.jobs[job_id]

    def cancel(self, caller: Caller, job_id: str) -> Job:
        self.get_job(caller, job_id)
        self.finish(job_id, "cancelled")
        return self.jobs[job_id]

    def read_events(
        self, caller: Caller, job_id: str, *, after: str, block_ms: int
    ) -> Sequence[JobEvent]:
        self.get_job(caller, job_id)
        return [e for e in self.events[job_id] if _order(e.id) > _order(after)]

    def get_proof(self, caller: Caller, job_id: str) -> bytes:
        if self.get_job(caller, job_id).state != "done":
            raise ApiProblem("not_ready")
        return PROOF

    def describe_proof(self, caller: Caller, job_id: str) -> ProofView:
        raw = self.get_proof(caller, job_id)
        return ProofView(
            job_id=job_id,
            n_bytes=len(raw),
            sha256=hashlib.sha256(raw).hexdigest(),
            proof_base64="",
            statements=[],
            n_real=64,
            claimed_correct=60,
        )

    def list_circuits(self) -> CircuitList:
        return CircuitList(circuits=[])

    def get_circuit_file(self, digest: str, name: str) -> bytes:
        raise ApiProblem("not_found", "no circuit here has this digest")

    def verify(self, caller: Caller, request: VerifyRequest) -> VerifyAnswer:
        return VerifyAnswer(verdict="malformed", reason="nothing is valid here")

    def view_queue(self) -> QueueView:
        waiting = sum(job.state == "queued" for job in self.jobs.values())
        running = sum(job.state == "running" for job in self.jobs.values())
        view = PriorityView(waiting=waiting, leased=running, oldest_age_s=None)
        return QueueView(
            priorities={"normal": view}, running=running, retrying=0, dead=0, limit=LIMIT
        )

    def view_workers(self) -> WorkerList:
        worker = WorkerView(
            id="w-1", backend="cpu", device="", job_id=None, draining=False, seen_s_ago=0.5
        )
        return WorkerList(workers=[worker])

    # -- for tests

    def step(self, job_id: str, stage: str, done: int, total: int, fraction: float) -> None:
        """A worker reports progress."""
        progress = Progress(stage=stage, done=done, total=total, fraction=fraction)
        job = self.jobs[job_id]
        self.jobs[job_id] = job.model_copy(update={"state": "running", "progress": progress})
        self._emit(job_id, "progress", progress.model_dump())

    def finish(self, job_id: str, state: str) -> None:
        """A job ends."""
        error = Failure(code="made_up", message="a failure") if state == "failed" else None
        job = self.jobs[job_id]
        self.jobs[job_id] = job.model_copy(update={"state": state, "error": error})
        self._emit(job_id, "end", {"state": state})

    def _emit(self, job_id: str, kind: str, data: dict[str, Any]) -> None:
        events = self.events[job_id]
        events.append(JobEvent(f"{len(events) + 1}-0", kind, data))

    def _put(
        self,
        caller: Caller,
        digest: str,
        body: str,
        idempotency_key: str | None,
        request: JobRequest | None,
    ) -> Job:
        if idempotency_key is not None:
            first = self.keys.setdefault((caller.name, idempotency_key), (body, digest))
            if first[0] != body:
                raise ApiProblem("idempotency_conflict")
        if digest in self.jobs:
            return self.jobs[digest]
        if len(self.jobs) >= LIMIT:
            raise ApiProblem("queue_full", headers={"Retry-After": "5"})
        self.owners[digest] = caller.name
        self.events[digest] = []
        self.jobs[digest] = Job(
            id=digest,
            kind="accuracy" if request else "groth16",
            state="queued",
            priority=request.priority if request else PriorityName.NORMAL,
            created_at=1.0,
            attempts=0,
            dataset=request.dataset if request else None,
            model_id=request.model_id if request else None,
            n_samples=request.n_samples if request else None,
        )
        return self.jobs[digest]


def _order(event_id: str) -> tuple[int, int]:
    milliseconds, _, number = event_id.partition("-")
    return int(milliseconds), int(number)
