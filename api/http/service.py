"""What the HTTP routes ask of queue and store, in the words of the API.

The routes know this protocol only; `api.http.queue_service` answers it.
Every method may block and is called in a thread. Refusals are `ApiProblem`; things of another owner
do not exist for a caller who is no admin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

from api.http.auth import Caller
from api.http.schemas import (
    CircuitList,
    CommitmentReceipt,
    DatasetReceipt,
    Job,
    JobList,
    JobRequest,
    ModelReceipt,
    PriorityName,
    ProofView,
    QueueView,
    VerifyAnswer,
    VerifyRequest,
    WorkerList,
)


@dataclass(frozen=True, slots=True)
class JobEvent:
    """An entry of a job's progress stream. `id` orders the entries; the last has type "end"."""

    id: str
    type: str
    data: dict[str, Any]


class ServiceBackend(Protocol):
    """Queue, store and workers as the HTTP API shows them."""

    def ping(self) -> None:
        """ApiProblem `unavailable` unless the queue takes writes."""

    def put_model(self, caller: Caller, raw: bytes) -> ModelReceipt:
        """Stores a .zkq file. ApiProblem, ProverError."""

    def put_dataset(self, caller: Caller, raw: bytes) -> DatasetReceipt:
        """Stores a safetensors file of images and labels. ApiProblem, ProverError."""

    def put_commitment(self, caller: Caller, raw: bytes) -> CommitmentReceipt:
        """Stores a `prover.groth16.commitment.SecretCommitment`. ApiProblem, ProverError."""

    def submit(self, caller: Caller, request: JobRequest, idempotency_key: str | None) -> Job:
        """Puts a job into the queue, once per idempotency key.

        ApiProblem: not_found, bad_dataset, refused, queue_full, idempotency_conflict, in_flight
        """

    def submit_groth16(
        self,
        caller: Caller,
        *,
        zkey: BinaryIO,
        witness: BinaryIO,
        priority: PriorityName,
        idempotency_key: str | None,
    ) -> Job:
        """A job for snarkjs users. The files can seek; they are the request's own."""

    def list_jobs(self, caller: Caller, *, limit: int, before: str | None) -> JobList:
        """Newest first; an admin sees everybody's."""

    def get_job(self, caller: Caller, job_id: str) -> Job:
        """ApiProblem not_found."""

    def cancel(self, caller: Caller, job_id: str) -> Job:
        """Also while it runs; a job that has ended stays as it is. ApiProblem not_found."""

    def read_events(
        self, caller: Caller, job_id: str, *, after: str, block_ms: int
    ) -> Sequence[JobEvent]:
        """Entries behind `after` ("0-0": all), waiting at most block_ms for the first."""

    def get_proof(self, caller: Caller, job_id: str) -> bytes:
        """What `zkpot verify` reads, or proof.json of a Groth16 job. ApiProblem not_ready, gone."""

    def describe_proof(self, caller: Caller, job_id: str) -> ProofView:
        """As `get_proof`, with what the proof says."""

    def list_circuits(self) -> CircuitList:
        """Circuits that have a key here."""

    def get_circuit_file(self, digest: str, name: str) -> bytes:
        """`verifying.key` or `circuit.json`, all that a verifier reads. ApiProblem not_found."""

    def verify(self, caller: Caller, request: VerifyRequest) -> VerifyAnswer:
        """The verdict on any bytes. ApiProblem not_found, bad_dataset, refused, unavailable."""

    def view_queue(self) -> QueueView:
        """Lengths and ages."""

    def view_workers(self) -> WorkerList:
        """Workers that are up."""
