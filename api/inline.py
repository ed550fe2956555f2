"""A `ServiceBackend` for one machine without a queue server: one prover thread in this process.

Jobs live in memory and end with the process; models and data sets too, so nothing private is
written to disk. Keys are kept on disk by `KeyStore`.
"""

from __future__ import annotations

import hashlib
import heapq
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from api.auth import Caller
from api.inline_views import find_statements, view_accuracy_proof, view_groth16_proof
from api.key_card import CARD_NAME
from api.problems import ApiProblem
from api.proof_runs import Made, Prover
from api.schemas import (
    Circuit,
    CircuitList,
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
    WorkerList,
    WorkerView,
)
from api.service import JobEvent
from api.uploads import Uploads
from prover.errors import ProverError
from prover.keyfile import VERIFYING_NAME

MAX_WAITING = 1000
MAX_KEPT = 2000
MAX_EVENTS = 1000
RETRY_S = 5
_RANK = {PriorityName.HIGH: 0, PriorityName.NORMAL: 1, PriorityName.LOW: 2}
_FINAL = ("done", "failed", "cancelled", "expired")

Work = Callable[[Callable[[str, int, int, int, float], None]], Made]


class _Stopped(Exception):
    """Raised by a report to end a job that was cancelled or is too late; carries its state."""

    def __init__(self, state: str) -> None:
        self.state = state
        super().__init__(state)


@dataclass(slots=True)
class _Entry:
    """A job with what its owner does not see."""

    job: Job
    owner: str
    work: Work
    cleanup: Callable[[], None]
    events: list[JobEvent] = field(default_factory=list)
    n_events: int = 0
    made: Made | None = None
    stop: bool = False


class InlineService:
    """Queue, store and worker in one process."""

    def __init__(self, prover: Prover, uploads: Uploads) -> None:
        self._prover, self._uploads = prover, uploads
        self._entries: dict[str, _Entry] = {}
        self._waiting: list[tuple[int, int, str]] = []
        self._numbers = count()
        self._changed = threading.Condition()
        self._running: str | None = None
        self._draining = False
        self._idempotent: dict[tuple[str, str], tuple[str, str]] = {}
        self._thread = threading.Thread(target=self._serve, name="prover", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stops the running job at its next report and waits for the thread."""
        with self._changed:
            self._draining = True
            for entry in self._entries.values():
                entry.stop = True
            self._changed.notify_all()
        self._thread.join()

    # -- for the routes

    def ping(self) -> None:
        if not self._thread.is_alive():
            raise ApiProblem("unavailable", "the prover has stopped")

    def put_model(self, caller: Caller, raw: bytes) -> ModelReceipt:
        return self._uploads.put_model(caller.name, raw)

    def put_dataset(self, caller: Caller, raw: bytes) -> DatasetReceipt:
        return self._uploads.put_dataset(caller.name, raw)

    def submit(self, caller: Caller, request: JobRequest, idempotency_key: str | None) -> Job:
        model = self._uploads.get_model(caller.name, request.model_id)
        images, labels = self._uploads.get_samples(caller.name, request.dataset)
        shape = model.architecture.input_shape
        if images.shape[1:] != shape:
            raise ApiProblem(
                "bad_dataset", f"samples {list(images.shape[1:])}, the model takes {list(shape)}"
            )

        def work(report: Callable[[str, int, int, int, float], None]) -> Made:
            return self._prover.prove_accuracy(
                model,
                images,
                labels,
                n_samples=request.n_samples,
                fields=request.statement,
                report=report,
            )

        now = time.time()
        job = Job(
            id=_digest(caller.name, request.model_dump_json()),
            kind="accuracy",
            state="queued",
            priority=request.priority,
            created_at=now,
            expires_at=None if request.deadline_s is None else now + request.deadline_s,
            attempts=0,
            dataset=request.dataset,
            model_id=request.model_id,
            n_samples=request.n_samples,
            shards=-(-len(labels) // request.n_samples),
        )
        return self._put(_Entry(job, caller.name, work, lambda: None), idempotency_key)

    def submit_groth16(
        self,
        caller: Caller,
        *,
        zkey: Path,
        witness: Path,
        priority: PriorityName,
        idempotency_key: str | None,
    ) -> Job:
        files = self._uploads.keep_files(zkey, witness)

        def work(report: Callable[[str, int, int, int, float], None]) -> Made:
            return self._prover.prove_groth16(files.zkey, files.witness, report=report)

        job = Job(
            id=_digest(caller.name, files.digest),
            kind="groth16",
            state="queued",
            priority=priority,
            created_at=time.time(),
            attempts=0,
        )
        try:
            kept = self._put(_Entry(job, caller.name, work, files.delete), idempotency_key)
        except ApiProblem:
            files.delete()
            raise
        return kept

    def list_jobs(self, caller: Caller, *, limit: int, before: str | None) -> JobList:
        with self._changed:
            seen = [e for e in reversed(self._entries.values()) if caller.may_see(e.owner)]
        jobs = [entry.job for entry in seen]
        if before is not None:
            at = next((i for i, job in enumerate(jobs) if job.id == before), len(jobs))
            jobs = jobs[at + 1 :]
        more = len(jobs) > limit
        return JobList(jobs=jobs[:limit], next=jobs[limit - 1].id if more else None)

    def get_job(self, caller: Caller, job_id: str) -> Job:
        return self._find(caller, job_id).job

    def cancel(self, caller: Caller, job_id: str) -> Job:
        entry = self._find(caller, job_id)
        with self._changed:
            if entry.job.state == "queued":
                self._end(entry, "cancelled")
            elif entry.job.state == "running":
                entry.stop = True
            return entry.job

    def read_events(
        self, caller: Caller, job_id: str, *, after: str, block_ms: int
    ) -> Sequence[JobEvent]:
        entry = self._find(caller, job_id)
        place = _order(after)

        def fresh() -> list[JobEvent]:
            return [event for event in entry.events if _order(event.id) > place]

        with self._changed:
            self._changed.wait_for(lambda: bool(fresh()), block_ms / 1000)
            return fresh()

    def get_proof(self, caller: Caller, job_id: str) -> bytes:
        return self._get_made(caller, job_id).raw

    def describe_proof(self, caller: Caller, job_id: str) -> ProofView:
        made = self._get_made(caller, job_id)
        if made.circuit is None:
            return view_groth16_proof(job_id, made)
        return view_accuracy_proof(job_id, made, find_statements(made.raw))

    def list_circuits(self) -> CircuitList:
        return CircuitList(
            circuits=[
                Circuit(
                    digest=digest,
                    architecture=card.architecture.name,
                    n_samples=card.n_samples,
                    origin=card.origin.value,
                    verifying_key=f"/v1/circuits/{digest}/{VERIFYING_NAME}",
                    card=f"/v1/circuits/{digest}/{CARD_NAME}",
                )
                for digest, card in self._prover.keys.list_cards().items()
            ]
        )

    def get_circuit_file(self, digest: str, name: str) -> bytes:
        raw = self._prover.keys.read(digest, name)
        if raw is None:
            raise ApiProblem("not_found", "no circuit here has this digest")
        return raw

    def load_dataset(self, caller: Caller, dataset: str) -> tuple[Any, Any]:
        return self._uploads.get_samples(caller.name, dataset)

    def view_queue(self) -> QueueView:
        with self._changed:
            jobs = [entry.job for entry in self._entries.values()]
        now = time.time()
        views = {}
        for priority in PriorityName:
            mine = [job for job in jobs if job.priority is priority]
            ages = [now - job.created_at for job in mine if job.state == "queued"]
            views[priority.value] = PriorityView(
                waiting=len(ages),
                leased=sum(job.state == "running" for job in mine),
                oldest_age_s=max(ages, default=None),
            )
        running = sum(view.leased for view in views.values())
        return QueueView(priorities=views, running=running, retrying=0, dead=0, limit=MAX_WAITING)

    def view_workers(self) -> WorkerList:
        info = self._prover.backend.info()
        worker = WorkerView(
            id="prover",
            backend=info.name,
            device=f"{info.n_threads} threads, {info.lanes} lanes",
            job_id=self._running,
            draining=self._draining,
            seen_s_ago=0.0,
        )
        return WorkerList(workers=[worker] if self._thread.is_alive() else [])

    # -- the queue

    def _find(self, caller: Caller, job_id: str) -> _Entry:
        with self._changed:
            entry = self._entries.get(job_id)
        if entry is None or not caller.may_see(entry.owner):
            raise ApiProblem("not_found", "no job of yours has this id")
        return entry

    def _get_made(self, caller: Caller, job_id: str) -> Made:
        entry = self._find(caller, job_id)
        if entry.made is None:
            raise ApiProblem("not_ready", f"the job is {entry.job.state}")
        return entry.made

    def _put(self, entry: _Entry, idempotency_key: str | None) -> Job:
        """The same request is the same job, unless that job has ended without a proof."""
        with self._changed:
            if idempotency_key is not None:
                name, digest = (entry.owner, idempotency_key), entry.job.id
                if self._idempotent.setdefault(name, (digest, digest))[0] != digest:
                    raise ApiProblem("idempotency_conflict")
            known = self._entries.get(entry.job.id)
            if known is not None and known.job.state not in _FINAL[1:]:
                entry.cleanup()
                return known.job
            if len(self._waiting) >= MAX_WAITING:
                raise ApiProblem(
                    "queue_full",
                    f"{len(self._waiting)} jobs wait",
                    headers={"Retry-After": str(RETRY_S)},
                )
            self._entries.pop(entry.job.id, None)
            self._entries[entry.job.id] = entry
            rank = _RANK[entry.job.priority]
            heapq.heappush(self._waiting, (rank, next(self._numbers), entry.job.id))
            self._forget_old()
            self._changed.notify_all()
            return entry.job

    def _forget_old(self) -> None:
        ended = [e for e in self._entries.values() if e.job.state in _FINAL]
        for entry in ended[: max(0, len(self._entries) - MAX_KEPT)]:
            del self._entries[entry.job.id]

    # -- the prover's thread

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._draining or bool(self._waiting))
                if self._draining:
                    return
                entry = self._entries.get(heapq.heappop(self._waiting)[2])
                if entry is None or entry.job.state != "queued":
                    continue
                entry.job = entry.job.model_copy(update={"state": "running", "attempts": 1})
                self._running = entry.job.id
            self._run(entry)

    def _run(self, entry: _Entry) -> None:
        error: Failure | None = None
        state = "done"
        try:
            entry.made = entry.work(lambda *progress: self._report(entry, *progress))
        except _Stopped as stopped:
            state = stopped.state
        except ProverError as failure:
            state, error = "failed", Failure(code=failure.code, message=failure.public_message)
        except (OSError, MemoryError) as failure:
            code = "out_of_memory" if isinstance(failure, MemoryError) else "io_error"
            state, error = "failed", Failure(code=code, message="this machine could not do it")
        except Exception:
            # Its text may hold private numbers. The job fails by name and the thread lives on.
            state = "failed"
            error = Failure(code="internal", message="a fault of the service; it is not your input")
        with self._changed:
            self._running = None
            self._end(entry, state, error)

    def _report(
        self, entry: _Entry, stage: str, done: int, total: int, shard: int, fraction: float
    ) -> None:
        with self._changed:
            if entry.stop:
                raise _Stopped("cancelled")
            if entry.job.expires_at is not None and time.time() > entry.job.expires_at:
                raise _Stopped("expired")
            progress = Progress(stage=stage, done=done, total=total, fraction=fraction)
            entry.job = entry.job.model_copy(update={"progress": progress, "shards_done": shard})
            self._emit(entry, "progress", {**progress.model_dump(), "shard": shard})

    def _end(self, entry: _Entry, state: str, error: Failure | None = None) -> None:
        entry.cleanup()
        ended = {"state": state, "error": error, "finished_at": time.time()}
        if state == "done":
            ended["shards_done"] = entry.job.shards
        entry.job = entry.job.model_copy(update=ended)
        self._emit(entry, "end", {"state": state})

    def _emit(self, entry: _Entry, kind: str, data: dict[str, Any]) -> None:
        entry.n_events += 1
        entry.events.append(JobEvent(f"{entry.n_events}-0", kind, data))
        del entry.events[:-MAX_EVENTS]
        self._changed.notify_all()


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _order(event_id: str) -> tuple[int, int]:
    major, _, minor = event_id.partition("-")
    return int(major), int(minor)
