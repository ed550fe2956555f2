"""What the HTTP routes ask of the queue, its store of uploads and the keys on disk.

Every method may block and is called in a thread. Refusals are `ApiProblem`; things of another owner
do not exist for a caller who is no admin.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from redis.exceptions import RedisError

from api.http.auth import Caller, Scope
from api.http.importer import MAX_SAMPLES as MAX_CALIBRATION
from api.http.importer import PixelNumbers, import_onnx
from api.http.planning import choose_machine, plan_job
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
from api.http.verifier import load_circuit
from api.http.verifier_pool import VerifierPool
from api.http.views import find_key_digest, view_circuit, view_proof, view_stated
from api.queue.admin import QueueAdmin
from api.queue.jobs import (
    AccuracyWork,
    Groth16Work,
    JobEvent,
    JobRecord,
    JobSpec,
    JobState,
    Priority,
)
from api.queue.queue import JobQueue
from api.settings import MAX_TASKS_PER_JOB
from api.store.keyfolder import load_half
from api.store.keyshelf import KeyShelf
from api.store.private import PrivatePart
from api.store.uploads import UploadKind, UploadStore, parse_samples
from federated.sources.datasets import DATASETS
from kernels.encoding import encode_g1
from prover.errors import ArchitectureInvalid, FormatError, KeyMismatch
from prover.keys.card import KeyCard
from prover.keys.folder import CARD_NAME, VERIFYING_NAME
from prover.model.network import Architecture
from prover.model.presets import parse_architecture
from prover.model.samples import flatten_samples, is_sample_shape
from prover.model.zkq import decode_model
from prover.pedersen.commitment import SecretCommitment
from prover.plan import Plan
from prover.shards import Container
from prover.wire.dataset import shard_digest
from prover.wire.envelope import Envelope

_REMEMBERED = 4096
"""Models, and sets of samples, whose sizes are kept in memory."""
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Service:
    """Queue, store and workers as the HTTP API shows them."""

    def __init__(
        self, queue: JobQueue, store: UploadStore, keys: KeyShelf, verifiers: VerifierPool
    ) -> None:
        """keys : a folder for each key, by the digest of its card"""
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
        architecture = self._find_architecture(caller, request)
        plan, worker = self._plan_samples(caller, architecture, request.dataset, request.n_samples)
        cards = [(card.architecture, card.n_samples) for *_, card in self._list_cards()]
        has_key = (architecture, plan.n_samples) in cards
        return PlanAnswer.model_validate(plan.to_json() | {"worker": worker, "has_key": has_key})

    def submit(self, caller: Caller, request: JobRequest, idempotency_key: str | None) -> Job:
        """Puts a job into the queue, once per idempotency key.

        ApiProblem: not_found, bad_dataset, refused, queue_full, idempotency_conflict, in_flight
        """
        spec = JobSpec(
            owner=caller.name,
            work=self._plan(caller, request),
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
            spec = JobSpec(owner=caller.name, work=work, priority=priority)
            self._store.require_room(witness.seek(0, os.SEEK_END))
            with self._store.private.new() as folder:
                folder.write(PrivatePart.WITNESS, witness)
                record, is_new = self._queue.submit(
                    spec, idempotency_key=idempotency_key, private=folder.name
                )
                if is_new:
                    folder.keep()
        self._clear()
        return Job.model_validate(record)

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
        return self._collect(self._find(caller, job_id))[0]

    def describe_proof(self, caller: Caller, job_id: str) -> ProofView:
        """The proof as `get_proof` gives it, with what it says."""
        record = self._find(caller, job_id)
        raw, first = self._collect(record)
        return view_proof(
            job_id,
            raw,
            is_groth16=isinstance(record.spec.work, Groth16Work),
            circuit=self._find_circuit(first),
            seconds=record.seconds,
        )

    def list_circuits(self) -> CircuitList:
        """Circuits that have a key here."""
        return CircuitList(circuits=[view_circuit(*found) for found in self._list_cards()])

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
        found = [one for one in self._list_cards() if one[1].hex() == named]
        circuit, shape = None, None
        if found:
            circuit, shape = view_circuit(*found[0]), list(found[0][2].architecture.input_shape)
        stated = view_stated(raw, circuit, shape)
        if stated is None:
            raise ApiProblem("invalid_request", "these bytes are no proof of this version")
        return stated

    def get_circuit_file(self, digest: str, name: str) -> bytes:
        """`verifying.key` or `circuit.json`, all that a verifier reads. ApiProblem not_found."""
        if not _DIGEST.fullmatch(digest) or name not in (VERIFYING_NAME, CARD_NAME):
            raise ApiProblem("not_found", "no circuit here has this digest")
        key, card = load_circuit(self._keys, digest)
        return card.encode() if name == CARD_NAME else key.encode()

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

    def _plan(self, caller: Caller, request: JobRequest) -> AccuracyWork:
        """The work that is asked for. ApiProblem unless it fits the model, the samples and us."""
        with refusing_callers():
            self._store.require(caller.name, UploadKind.MODEL, request.model_id)
            architecture = self._decode_architecture(caller.name, request.model_id)
            if request.commitment_id is not None:
                self._store.require(caller.name, UploadKind.COMMITMENT, request.commitment_id)
        plan, _ = self._plan_samples(caller, architecture, request.dataset, request.n_samples)
        return AccuracyWork(
            model_id=request.model_id,
            dataset=request.dataset,
            n_total=plan.n_total,
            n_samples=plan.n_samples,
            commitment_id=request.commitment_id,
            **request.statement.model_dump(),
        )

    def _plan_samples(
        self, caller: Caller, architecture: Architecture, dataset: str, n_samples: int | None
    ) -> tuple[Plan, str | None]:
        """The plan of a job on these samples, and the worker that it is for. ApiProblem."""
        with refusing_callers():
            if _DIGEST.fullmatch(dataset):
                self._store.require(caller.name, UploadKind.DATASET, dataset)
            n_total, shape = self._measure_samples(caller.name, dataset)
            chosen = choose_machine(self._admin.list_workers(), self._queue.settings)
        if not is_sample_shape(shape, architecture.input_shape):
            raise ApiProblem(
                "bad_dataset",
                f"samples {list(shape)}, the model takes {list(architecture.input_shape)}",
            )
        if n_samples is not None and n_total > MAX_TASKS_PER_JOB * n_samples:
            raise ApiProblem(
                "refused",
                f"{n_total} samples make more than {MAX_TASKS_PER_JOB} shards of at most "
                f"{n_samples}: take more n_samples",
            )
        try:
            plan = plan_job(architecture, n_total, n_samples, chosen.machine)
        except ArchitectureInvalid as error:
            raise ApiProblem("refused", str(error)) from None
        return plan, chosen.worker

    def _find_architecture(self, caller: Caller, request: PlanRequest) -> Architecture:
        """That the request names. ApiProblem not_found, invalid_request."""
        if (request.model_id is None) == (request.architecture is None):
            raise ApiProblem("invalid_request", "give one of model_id and architecture")
        if request.model_id is None:
            try:
                return parse_architecture(str(request.architecture))
            except ArchitectureInvalid as error:
                raise ApiProblem("invalid_request", str(error)) from None
        with refusing_callers():
            self._store.require(caller.name, UploadKind.MODEL, request.model_id)
            return self._decode_architecture(caller.name, request.model_id)

    def _list_cards(self) -> Iterator[tuple[str, bytes, KeyCard]]:
        """Digest of the card, digest of the key, and card, of all keys that are whole."""
        with refusing_callers():
            digests = self._keys.list_circuits()
        for digest in digests:
            try:
                key_digest, card = self._view_half(self._keys.find(digest))
            except (FormatError, KeyMismatch, OSError):
                continue  # half made, or by another version
            yield digest, key_digest, card

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
