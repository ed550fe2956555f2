"""What the HTTP routes ask of the queue, its store of uploads and the keys on disk.

Every method may block and is called in a thread. Refusals are `ApiProblem`; things of another owner
do not exist for a caller who is no admin.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO

from redis.exceptions import RedisError

from api.http.auth import Caller, Scope
from api.http.circuits import Circuits
from api.http.importer import MAX_SAMPLES as MAX_CALIBRATION
from api.http.importer import PixelNumbers, import_onnx
from api.http.planning import Planner
from api.http.problems import ApiProblem
from api.http.schemas import (
    CircuitList,
    CommitmentReceipt,
    DatasetList,
    DatasetReceipt,
    DatasetView,
    ImportReceipt,
    Job,
    JobList,
    JobRequest,
    ModelReceipt,
    PlanAnswer,
    PlanRequest,
    ProofStated,
    ProofView,
    QueueView,
    VerifyAnswer,
    VerifyRequest,
    WorkerList,
)
from api.http.service_refusals import refusing_callers
from api.http.training import open_order, require_keys, require_whole
from api.http.verifier_pool import VerifierPool
from api.http.views import find_key_digest, view_proof, view_stated
from api.queue.admin import QueueAdmin
from api.queue.jobs import (
    Groth16Work,
    JobEvent,
    JobRecord,
    JobSpec,
    JobState,
    Priority,
    TrainingWork,
)
from api.queue.queue import JobQueue
from api.store.keyshelf import KeyShelf
from api.store.private import PrivateFolder, PrivatePart
from api.store.uploads import UploadKind, UploadStore, parse_samples
from federated.sources.datasets import DATASETS
from kernels.encoding import encode_g1
from prover.keys.card import KeyCard
from prover.model.samples import flatten_samples
from prover.model.zkq import decode_model
from prover.pedersen.commitment import SecretCommitment
from prover.shards import Container
from prover.wire.dataset import shard_digest
from prover.wire.training import TrainingProofs


class Service:
    """Queue, store and workers as the HTTP API shows them."""

    def __init__(
        self, queue: JobQueue, store: UploadStore, keys: KeyShelf, verifiers: VerifierPool
    ) -> None:
        """keys : a folder for each key, by the digest of its card"""
        self._queue, self._admin = queue, QueueAdmin(queue)
        self._store, self._verifiers = store, verifiers
        self._circuits, self._planner = Circuits(keys), Planner(store, queue)

    def sweep(self) -> None:
        """Deletes uploads that have expired, private files that no job has, and what writers have
        left that were killed. Raises RedisError, OSError."""
        self._store.sweep()
        self._store.private.sweep(self._queue)

    def close(self) -> None:
        """Ends what it started."""
        self._verifiers.close()

    def ping(self) -> None:
        """ApiProblem `unavailable` unless the queue takes writes."""
        with refusing_callers():
            self._queue.write_probe()

    def put_model(self, caller: Caller, raw: bytes) -> ModelReceipt:
        """Stores a .zkq file. ApiProblem, ProverError."""
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

    def import_model(
        self, caller: Caller, raw: bytes, pixels: PixelNumbers, dataset: str
    ) -> ImportReceipt:
        """Stores the model of an ONNX file. ApiProblem, ProverError.

        dataset : whose first samples the scales of a float network are found on
        """
        with refusing_callers():
            images, _ = self._store.load_samples(caller.name, dataset)
        made = import_onnx(raw, pixels, images[:MAX_CALIBRATION])
        receipt = self.put_model(caller, made.raw)
        return ImportReceipt(
            **receipt.model_dump(), is_calibrated=made.is_calibrated, notes=list(made.notes)
        )

    def put_dataset(self, caller: Caller, raw: bytes) -> DatasetReceipt:
        """Stores a safetensors file of images and labels. ApiProblem, ProverError."""
        with refusing_callers():
            images, labels = parse_samples(raw)
            kept = self._store.put(caller.name, UploadKind.DATASET, raw)
        return DatasetReceipt(
            id=kept.id,
            n_samples=len(labels),
            n_bytes=kept.n_bytes,
            digest=shard_digest(flatten_samples(images), labels).hex(),
            expires_at=kept.expires_at,
        )

    def put_commitment(self, caller: Caller, raw: bytes) -> CommitmentReceipt:
        """Stores a `prover.pedersen.commitment.SecretCommitment`. ApiProblem, ProverError."""
        d_w = encode_g1(SecretCommitment.decode(raw).public.d)
        with refusing_callers():
            kept = self._store.put(caller.name, UploadKind.COMMITMENT, raw)
        return CommitmentReceipt(id=kept.id, d_w=d_w.hex(), expires_at=kept.expires_at)

    def plan(self, caller: Caller, request: PlanRequest) -> PlanAnswer:
        """What a job would take. ApiProblem: not_found, bad_dataset, refused, invalid_request."""
        architecture, plan, worker = self._planner.plan(caller, request)
        cards = [(c.architecture, c.n_samples) for *_, c in self._circuits.list_of(KeyCard)]
        has_key = (architecture, plan.n_samples) in cards
        return PlanAnswer.model_validate(plan.to_json() | {"worker": worker, "has_key": has_key})

    def submit(self, caller: Caller, request: JobRequest, idempotency_key: str | None) -> Job:
        """Puts a job into the queue, once per idempotency key.

        ApiProblem: not_found, bad_dataset, refused, queue_full, idempotency_conflict, in_flight
        """
        spec = JobSpec(
            owner=caller.name,
            work=self._planner.plan_work(caller, request),
            priority=request.priority,
            deadline_s=request.deadline_s,
        )
        with refusing_callers():
            record, _ = self._queue.submit(spec, idempotency_key=idempotency_key)
        self._clear()
        return Job.model_validate(record)

    def submit_groth16(
        self,
        caller: Caller,
        *,
        zkey: BinaryIO,
        witness: BinaryIO,
        priority: Priority,
        idempotency_key: str | None,
    ) -> Job:
        """A job for snarkjs users. The files can seek; they are the request's own."""
        with refusing_callers():
            work = Groth16Work(
                zkey_id=self._store.put_file(caller.name, UploadKind.ZKEY, zkey).id,
                witness_id=self._store.private.identify(witness),
            )
        return self._submit_with_files(
            JobSpec(owner=caller.name, work=work, priority=priority),
            idempotency_key,
            n_bytes=witness.seek(0, os.SEEK_END),
            write=lambda folder: folder.write(PrivatePart.WITNESS, witness),
        )

    def submit_training(
        self,
        caller: Caller,
        *,
        order: BinaryIO,
        priority: Priority,
        deadline_s: int | None,
        idempotency_key: str | None,
    ) -> Job:
        """A job of steps of a trajectory and its export. The file can seek; it is the request's
        own. ApiProblem bad_order, refused; else as `submit`."""
        n_bytes = order.seek(0, os.SEEK_END)
        with refusing_callers():
            self._store.require_room(n_bytes)
            found = open_order(order)
            self._planner.require_training(found.recipe)
            require_keys(found, self._circuits)
            require_whole(found, n_bytes)
            work = TrainingWork(
                order_id=self._store.private.identify(order), n_steps=found.head.n_steps
            )
        return self._submit_with_files(
            JobSpec(owner=caller.name, work=work, priority=priority, deadline_s=deadline_s),
            idempotency_key,
            n_bytes=n_bytes,
            write=lambda folder: folder.write_pages(PrivatePart.ORDER, order),
        )

    def list_jobs(self, caller: Caller, *, limit: int, before: str | None) -> JobList:
        """Newest first; an admin sees everybody's."""
        owner = None if caller.may(Scope.ADMIN) else caller.name
        with refusing_callers():
            page = self._queue.list_jobs(owner=owner, limit=limit, before=before)
        self._clear()
        return JobList.model_validate(page)

    def get_job(self, caller: Caller, job_id: str) -> Job:
        """ApiProblem not_found."""
        return Job.model_validate(self._find(caller, job_id))

    def cancel(self, caller: Caller, job_id: str) -> Job:
        """Cancels a job, also while it runs; one that has ended stays as it is. ApiProblem
        not_found.
        """
        found = self._find(caller, job_id)
        with refusing_callers():
            record = self._queue.cancel(job_id)
        self._clear()
        return Job.model_validate(record or found)

    def read_events(
        self, caller: Caller, job_id: str, *, after: str, block_ms: int
    ) -> list[JobEvent]:
        """Entries behind `after` ("0-0": all), waiting at most block_ms for the first."""
        self._find(caller, job_id)
        with refusing_callers():
            return self._queue.read_events(job_id, after=after, block_ms=block_ms)

    def get_proof(self, caller: Caller, job_id: str) -> bytes:
        """What `zkpot verify` reads, or proof.json of a Groth16 job. ApiProblem not_ready, gone."""
        return self._collect(self._find(caller, job_id))

    def describe_proof(self, caller: Caller, job_id: str) -> ProofView:
        """The proof as `get_proof` gives it, with what it says."""
        record = self._find(caller, job_id)
        raw = self._collect(record)
        named = find_key_digest(raw)
        found = self._circuits.find_by_key(named) if named else None
        return view_proof(
            job_id,
            raw,
            kind=record.spec.kind,
            circuit=found[0].digest if found else None,
            seconds=record.seconds,
        )

    def list_circuits(self) -> CircuitList:
        """Circuits that have a key here."""
        return self._circuits.describe()

    def list_datasets(self) -> DatasetList:
        """Built-in samples, and how many of them are here."""
        return DatasetList(
            datasets=[
                DatasetView(
                    name=one.name,
                    title=one.title,
                    sample_shape=list(one.sample_shape),
                    n_classes=one.n_classes,
                    here={split: self._store.count_here(one, split) for split in one.full},
                )
                for one in DATASETS.values()
            ]
        )

    def describe_stated(self, raw: bytes) -> ProofStated:
        """What a proof says of itself. ApiProblem invalid_request for other bytes."""
        named = find_key_digest(raw)
        found = self._circuits.find_by_key(named) if named else None
        circuit, card = found or (None, None)
        shape = None if card is None else list(card.architecture.input_shape)
        stated = view_stated(raw, circuit, shape)
        if stated is None:
            raise ApiProblem("invalid_request", "these bytes are no proof of this version")
        return stated

    def get_circuit_file(self, digest: str, name: str) -> bytes:
        """`verifying.key` or `circuit.json`, all that a verifier reads. ApiProblem not_found."""
        return self._circuits.get_file(digest, name)

    def verify(self, caller: Caller, request: VerifyRequest) -> VerifyAnswer:
        """The verdict on any bytes. ApiProblem not_found, bad_dataset, refused, unavailable."""
        return self._verifiers.verify(caller.name, request)

    def view_queue(self) -> QueueView:
        """Lengths and ages."""
        with refusing_callers():
            return QueueView.model_validate(self._admin.view_load())

    def view_workers(self) -> WorkerList:
        """Workers that are up."""
        with refusing_callers():
            return WorkerList.model_validate({"workers": self._admin.list_workers()})

    def _submit_with_files(
        self,
        spec: JobSpec,
        idempotency_key: str | None,
        *,
        n_bytes: int,
        write: Callable[[PrivateFolder], None],
    ) -> Job:
        """A job whose private files come with it: they are written, and are the job's if it is new.

        ApiProblem as `submit`
        """
        with refusing_callers():
            self._store.require_room(n_bytes)
            with self._store.private.new() as folder:
                write(folder)
                record, is_new = self._queue.submit(
                    spec, idempotency_key=idempotency_key, private=folder.name
                )
                if is_new:
                    folder.keep()
        self._clear()
        return Job.model_validate(record)

    def _clear(self) -> None:
        """Private files of jobs that have ended go; if not now, then with the next call."""
        with suppress(RedisError, OSError):
            self._store.private.clear(self._queue)

    def _find(self, caller: Caller, job_id: str) -> JobRecord:
        with refusing_callers():
            record = self._queue.get(job_id)
        if record is not None and record.state is JobState.EXPIRED:
            self._clear()
        if record is None or not caller.may_see(record.spec.owner):
            raise ApiProblem("not_found", "no job of yours has this id")
        return record

    def _collect(self, record: JobRecord) -> bytes:
        """What a job that is done publishes. ApiProblem not_ready."""
        with refusing_callers():
            results = self._queue.get_results(record.id)
        if results is None:
            raise ApiProblem("not_ready", f"the job is {record.state.value}")
        if isinstance(record.spec.work, TrainingWork):
            return TrainingProofs(steps=tuple(results[:-1]), export=results[-1]).encode()
        return results[0] if len(results) == 1 else Container(tuple(results)).encode()
