"""A `ServiceBackend` over the queue, its store of uploads and the keys on disk."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from redis.exceptions import RedisError

from api.http.auth import Caller, Scope
from api.http.problems import ApiProblem
from api.http.proof_views import (
    Made,
    find_statements,
    view_accuracy_proof,
    view_groth16_proof,
)
from api.http.schemas import (
    Circuit,
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
from api.http.service_refusals import refusing_callers
from api.http.verifier import load_circuit
from api.http.verifier_pool import VerifierPool
from api.queue.admin import QueueAdmin
from api.queue.jobs import (
    AccuracyWork,
    Groth16Work,
    JobRecord,
    JobSpec,
    JobState,
    Priority,
)
from api.queue.tasks import JobQueue
from api.settings import MAX_PROOF_ROWS, MAX_TASKS_PER_JOB
from api.shards import Container
from api.store.keyfolder import load_half
from api.store.private import PrivatePart
from api.store.uploads import UploadKind, UploadStore, parse_samples
from kernels.encoding import encode_g1
from prover.circuit.sizes import require_circuit
from prover.errors import ArchitectureInvalid, FormatError, KeyMismatch
from prover.groth16.commitment import SecretCommitment
from prover.keys.card import KeyCard
from prover.keys.folder import CARD_NAME, VERIFYING_NAME
from prover.model.network import Architecture
from prover.model.zkq import decode_model
from prover.wire.dataset import shard_digest
from prover.wire.envelope import Envelope

_REMEMBERED = 4096
"""Models, and sets of samples, whose sizes are kept in memory."""
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


class QueueService:
    """What the routes ask, answered by the queue. `keys` : a folder for each key, by its card."""

    def __init__(
        self, queue: JobQueue, store: UploadStore, keys: Path, verifiers: VerifierPool
    ) -> None:
        self._queue, self._admin = queue, QueueAdmin(queue)
        self._store, self._keys, self._verifiers = store, keys, verifiers
        # What stands behind a digest or a name never changes.
        self._decode_architecture = lru_cache(_REMEMBERED)(self._decode_architecture_now)
        self._load_half = lru_cache(_REMEMBERED)(self._load_half_now)
        self._measure_samples = lru_cache(_REMEMBERED)(self._measure_samples_now)

    def sweep(self) -> None:
        """Deletes uploads that have expired, private files that no job has, and what writers have
        left that were killed. Raises RedisError, OSError."""
        self._store.sweep()
        self._store.private.sweep(self._queue)

    def close(self) -> None:
        """Ends what it started."""
        self._verifiers.close()

    def ping(self) -> None:
        with refusing_callers():
            self._queue.write_probe()

    def put_model(self, caller: Caller, raw: bytes) -> ModelReceipt:
        architecture = decode_model(raw).architecture
        with refusing_callers():
            kept = self._store.put(caller.name, UploadKind.MODEL, raw)
        return ModelReceipt(
            id=kept.id,
            architecture=architecture.name,
            n_parameters=architecture.n_parameters,
            n_bytes=kept.n_bytes,
            expires_at=kept.expires_at,
        )

    def put_dataset(self, caller: Caller, raw: bytes) -> DatasetReceipt:
        with refusing_callers():
            images, labels = parse_samples(raw)
            kept = self._store.put(caller.name, UploadKind.DATASET, raw)
        return DatasetReceipt(
            id=kept.id,
            n_samples=len(labels),
            n_bytes=kept.n_bytes,
            digest=shard_digest(images, labels).hex(),
            expires_at=kept.expires_at,
        )

    def put_commitment(self, caller: Caller, raw: bytes) -> CommitmentReceipt:
        d_w = encode_g1(SecretCommitment.decode(raw).public.d_w)
        with refusing_callers():
            kept = self._store.put(caller.name, UploadKind.COMMITMENT, raw)
        return CommitmentReceipt(id=kept.id, d_w=d_w.hex(), expires_at=kept.expires_at)

    def submit(self, caller: Caller, request: JobRequest, idempotency_key: str | None) -> Job:
        with refusing_callers():
            self._store.get_path(caller.name, UploadKind.MODEL, request.model_id)
            architecture = self._decode_architecture(caller.name, request.model_id)
            if request.commitment_id is not None:
                self._store.get_path(caller.name, UploadKind.COMMITMENT, request.commitment_id)
            if _DIGEST.fullmatch(request.dataset):
                self._store.get_path(caller.name, UploadKind.DATASET, request.dataset)
            n_total, shape = self._measure_samples(caller.name, request.dataset)
        if shape != architecture.input_shape:
            raise ApiProblem(
                "bad_dataset",
                f"samples {list(shape)}, the model takes {list(architecture.input_shape)}",
            )
        try:
            require_circuit(architecture, request.n_samples, max_rows=MAX_PROOF_ROWS)
        except ArchitectureInvalid as error:
            raise ApiProblem("refused", str(error)) from None
        if n_total > MAX_TASKS_PER_JOB * request.n_samples:
            raise ApiProblem(
                "refused",
                f"{n_total} samples make more than {MAX_TASKS_PER_JOB} shards of at most "
                f"{request.n_samples}: take more n_samples",
            )
        work = AccuracyWork(
            model_id=request.model_id,
            dataset=request.dataset,
            n_total=n_total,
            n_samples=request.n_samples,
            commitment_id=request.commitment_id,
            **request.statement.model_dump(),
        )
        spec = _make_spec(caller, work, request.priority, request.deadline_s)
        with refusing_callers():
            record, _ = self._queue.submit(spec, idempotency_key=idempotency_key)
        self._clear()
        return _view_job(record)

    def submit_groth16(
        self,
        caller: Caller,
        *,
        zkey: BinaryIO,
        witness: BinaryIO,
        priority: PriorityName,
        idempotency_key: str | None,
    ) -> Job:
        with refusing_callers():
            work = Groth16Work(
                zkey_id=self._store.put_file(caller.name, UploadKind.ZKEY, zkey).id,
                witness_id=self._store.private.identify(witness),
            )
            spec = _make_spec(caller, work, priority, None)
            self._store.require_room(witness.seek(0, os.SEEK_END))
            with self._store.private.new() as folder:
                folder.write(PrivatePart.WITNESS, witness)
                record, is_new = self._queue.submit(
                    spec, idempotency_key=idempotency_key, private=folder.name
                )
                if is_new:
                    folder.keep()
        self._clear()
        return _view_job(record)

    def list_jobs(self, caller: Caller, *, limit: int, before: str | None) -> JobList:
        owner = None if caller.may(Scope.ADMIN) else caller.name
        with refusing_callers():
            page = self._queue.list_jobs(owner=owner, limit=limit, before=before)
        self._clear()
        return JobList(jobs=[_view_job(record) for record in page.jobs], next=page.next)

    def get_job(self, caller: Caller, job_id: str) -> Job:
        return _view_job(self._find(caller, job_id))

    def cancel(self, caller: Caller, job_id: str) -> Job:
        found = self._find(caller, job_id)
        with refusing_callers():
            record = self._queue.cancel(job_id)
        self._clear()
        return _view_job(record or found)

    def read_events(
        self, caller: Caller, job_id: str, *, after: str, block_ms: int
    ) -> Sequence[JobEvent]:
        self._find(caller, job_id)
        with refusing_callers():
            events = self._queue.read_events(job_id, after=after, block_ms=block_ms)
        return [JobEvent(event.id, event.kind, event.data) for event in events]

    def get_proof(self, caller: Caller, job_id: str) -> bytes:
        return self._collect(self._find(caller, job_id))[0]

    def describe_proof(self, caller: Caller, job_id: str) -> ProofView:
        record = self._find(caller, job_id)
        raw, first = self._collect(record)
        made = Made(raw=raw, circuit=self._find_circuit(first), seconds=record.seconds)
        if isinstance(record.spec.work, Groth16Work):
            return view_groth16_proof(job_id, made)
        return view_accuracy_proof(job_id, made, find_statements(raw))

    def list_circuits(self) -> CircuitList:
        found = []
        for folder in sorted(self._keys.glob("*")):
            try:
                key_digest, card = self._view_half(folder)
            except (FormatError, KeyMismatch, OSError):
                continue  # half made, or by another version
            digest = folder.name
            found.append(
                Circuit(
                    digest=digest,
                    architecture=card.architecture.name,
                    n_samples=card.n_samples,
                    multipliers=list(card.architecture.multipliers),
                    key_digest=key_digest.hex(),
                    verifying_key=f"/v1/circuits/{digest}/{VERIFYING_NAME}",
                    card=f"/v1/circuits/{digest}/{CARD_NAME}",
                )
            )
        return CircuitList(circuits=found)

    def get_circuit_file(self, digest: str, name: str) -> bytes:
        if not _DIGEST.fullmatch(digest) or name not in (VERIFYING_NAME, CARD_NAME):
            raise ApiProblem("not_found", "no circuit here has this digest")
        key, card = load_circuit(self._keys, digest)
        return card.encode() if name == CARD_NAME else key.encode()

    def verify(self, caller: Caller, request: VerifyRequest) -> VerifyAnswer:
        return self._verifiers.verify(caller.name, request)

    def view_queue(self) -> QueueView:
        with refusing_callers():
            load = self._admin.view_load()
        return QueueView(
            priorities={
                priority.value: PriorityView(
                    waiting=part.waiting, leased=part.leased, oldest_age_s=part.oldest_age_s
                )
                for priority, part in load.priorities.items()
            },
            running=load.jobs.get(JobState.RUNNING, 0),
            retrying=load.retrying,
            dead=load.dead,
            limit=load.limit,
        )

    def view_workers(self) -> WorkerList:
        with refusing_callers():
            beats = self._admin.list_workers()
        return WorkerList(
            workers=[
                WorkerView(
                    id=beat.worker,
                    backend=beat.backend,
                    device=beat.device,
                    job_id=beat.job_id,
                    draining=beat.draining,
                    seen_s_ago=beat.seen_s_ago,
                )
                for beat in beats
            ]
        )

    def _clear(self) -> None:
        """Private files of jobs that have ended go; if not now, then with the next call."""
        with suppress(RedisError, OSError):
            self._store.private.clear(self._queue)

    def _decode_architecture_now(self, owner: str, model_id: str) -> Architecture:
        return decode_model(self._store.get(owner, UploadKind.MODEL, model_id)).architecture

    def _load_half_now(self, folder: Path, _: object) -> tuple[bytes, KeyCard]:
        key, card = load_half(folder)
        return key.digest, card

    def _measure_samples_now(self, owner: str, dataset: str) -> tuple[int, tuple[int, ...]]:
        """How many samples, and the shape of one."""
        images, labels = self._store.load_samples(owner, dataset)
        return len(labels), images.shape[1:]

    def _find(self, caller: Caller, job_id: str) -> JobRecord:
        with refusing_callers():
            record = self._queue.get(job_id)
        if record is not None and record.state is JobState.EXPIRED:
            self._clear()
        if record is None or not caller.may_see(record.spec.owner):
            raise ApiProblem("not_found", "no job of yours has this id")
        return record

    def _collect(self, record: JobRecord) -> tuple[bytes, bytes]:
        """What a job that is done publishes, and the first part of it. ApiProblem not_ready."""
        with refusing_callers():
            results = self._queue.get_results(record.id)
        if results is None:
            raise ApiProblem("not_ready", f"the job is {record.state.value}")
        raw = results[0] if len(results) == 1 else Container(tuple(results)).encode()
        return raw, results[0]

    def _view_half(self, folder: Path) -> tuple[bytes, KeyCard]:
        """Digest of a verifying key, and its card; read again only when a file of them changes.

        Raises FormatError, KeyMismatch, OSError.
        """
        stats = [(folder / name).stat() for name in (VERIFYING_NAME, CARD_NAME)]
        return self._load_half(folder, tuple((s.st_ino, s.st_size, s.st_mtime_ns) for s in stats))

    def _find_circuit(self, envelope: bytes) -> str | None:
        """The circuit whose verifying key the statement names; None for a Groth16 proof."""
        decoded = Envelope.decode(envelope)
        if decoded is None:
            return None
        named = decoded.statement.verifying_key_digest.hex()
        found = (c.digest for c in self.list_circuits().circuits if c.key_digest == named)
        return next(found, None)


def _make_spec(
    caller: Caller,
    work: AccuracyWork | Groth16Work,
    priority: PriorityName,
    deadline_s: int | None,
) -> JobSpec:
    return JobSpec(
        owner=caller.name, work=work, priority=Priority(priority.value), deadline_s=deadline_s
    )


def _view_job(record: JobRecord) -> Job:
    work, progress, error = record.spec.work, record.progress, record.error
    accuracy = work if isinstance(work, AccuracyWork) else None
    return Job(
        id=record.id,
        kind="accuracy" if accuracy else "groth16",
        state=record.state.value,
        priority=PriorityName(record.spec.priority.value),
        created_at=record.created_at,
        finished_at=record.finished_at,
        expires_at=record.deadline_at,
        attempts=record.attempts,
        dataset=accuracy.dataset if accuracy else None,
        model_id=accuracy.model_id if accuracy else None,
        n_samples=accuracy.n_samples if accuracy else None,
        shards=record.n_tasks,
        shards_done=record.n_done,
        progress=Progress(
            stage=progress.stage,
            done=progress.done,
            total=progress.total,
            fraction=progress.fraction,
        )
        if progress
        else None,
        error=Failure(code=error.code, message=error.message) if error else None,
    )
