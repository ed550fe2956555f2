"""What the HTTP API takes and gives. Requests refuse unknown members; numbers are bounded here."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AliasPath, BaseModel, ConfigDict, Field, StringConstraints

from api.queue.admin import PriorityLoad
from api.queue.jobs import Failure, JobState, Priority, Progress
from prover.wire.kinds import MAX_NUMBER

MAX_SAMPLES = 1 << 12
"""Samples that one circuit may be compiled for."""
MAX_DEADLINE_S = 7 * 24 * 3600

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
# The statement holds 64 bytes; hexadecimal here, so that every byte string can be said.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
HexBytes = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{2}){1,64}$")]
Number = Annotated[int, Field(strict=True, ge=0, lt=MAX_NUMBER)]
ArchitectureName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,64}$")]
DatasetName = Annotated[
    str,
    StringConstraints(
        pattern=r"^([a-z][a-z0-9-]{0,31}:(train|test)(\[[0-9]{1,9}:[0-9]{1,9}\])?|[0-9a-f]{64})$",
        max_length=80,
    ),
]


CircuitSamples = Annotated[int, Field(strict=True, ge=1, le=MAX_SAMPLES)]


PixelText = Annotated[str, StringConstraints(pattern=r"^[0-9eE+., -]{1,128}$")]


class Request(BaseModel):
    """Bodies are JSON objects of exactly these members, numbers finite and of their own type."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class Answer(BaseModel):
    """What is sent. Where it shows a part of something that the service holds, it is validated from
    that, and a member of another name there says where it is."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, from_attributes=True, validate_by_name=True
    )


class StatementFields(Request):
    """Where the proof counts; verifiers compare these with what they expect."""

    chain_id: Name = "zkpot"
    task_id: Name = "accuracy"
    round_index: Number = 0
    commit_height: Number = 0
    client_key: HexBytes = Field(default="00", description="public key of the client, hexadecimal")


class JobRequest(Request):
    """A proof of accuracy: this model, these samples."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model_id": "3f" * 32,
                    "dataset": "mnist:test[0:1024]",
                    "n_samples": 1024,
                    "priority": "normal",
                    "deadline_s": 600,
                    "statement": {
                        "chain_id": "zkpot",
                        "task_id": "mnist",
                        "round_index": 0,
                        "commit_height": 0,
                        "client_key": "00",
                    },
                }
            ]
        }
    )

    model_id: Digest = Field(description="from POST /v1/models")
    dataset: DatasetName = Field(
        description="built-in samples, or an id from POST /v1/datasets",
        examples=["mnist:test[0:1024]"],
    )
    n_samples: CircuitSamples | None = Field(
        default=None,
        description="samples of the circuit, a larger set is split into shards; default as many as "
        "there are, up to 1,024 and to what fits into a worker's memory",
    )
    commitment_id: Digest | None = Field(
        default=None, description="from POST /v1/commitments; otherwise a new commitment is made"
    )
    priority: Priority = Priority.NORMAL
    deadline_s: Annotated[int, Field(strict=True, ge=1, le=MAX_DEADLINE_S)] | None = Field(
        default=None, description="seconds from now after which the job fails as expired"
    )
    statement: StatementFields = StatementFields()


class PlanRequest(Request):
    """What a job would take: an uploaded model or the name of an architecture, and its samples."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"architecture": "mlp-784-128-10", "dataset": "mnist:test[0:256]"}]
        }
    )

    model_id: Digest | None = Field(default=None, description="from POST /v1/models")
    architecture: ArchitectureName | None = Field(
        default=None, description="in place of a model: mlp-784-128-10, lenet5"
    )
    dataset: DatasetName
    n_samples: CircuitSamples | None = None


class PlanSeconds(Answer):
    """Of a first proof, on one worker; under a key that it has in memory `prove` is all."""

    compile: float
    setup: float = Field(description="of the key, made once")
    load: float
    prove: float = Field(description="of all proofs, one after the other")
    verify: float


class PlanAnswer(Answer):
    """What a job will take, before it starts."""

    architecture: str
    parameters: int
    samples: int
    samples_per_proof: int
    proofs: int
    rows: int
    domain: int
    key_bytes: int
    verifying_key_bytes: int
    key_streams: bool = Field(description="whether the key is read from its file as it is used")
    has_key: bool = Field(description="whether the key is there, so that none is made")
    setup_memory_bytes: int
    prove_memory_bytes: int
    memory_bytes: int | None = Field(description="of the worker with the least")
    worker: str | None = Field(description="that this is about; null: none is up")
    seconds: PlanSeconds


class ModelReceipt(Answer):
    """A stored model. Only its owner can use it, and nobody can read it back."""

    id: Digest
    architecture: str = Field(examples=["mlp-784-128-10"])
    n_parameters: int
    n_bytes: int
    expires_at: float = Field(description="seconds since 1970; then the model is deleted")


class ImportReceipt(ModelReceipt):
    """A model that was made of an ONNX file, stored as one that was uploaded."""

    is_calibrated: bool = Field(description="on samples; else by the file's own int8 and scales")
    notes: list[str] = Field(description="what was changed of the file's numbers")


class DatasetReceipt(Answer):
    """Stored samples."""

    id: Digest
    n_samples: int
    n_bytes: int
    digest: Digest = Field(description="of samples and labels, as in statements")
    expires_at: float


class CommitmentReceipt(Answer):
    """A stored commitment with its blinding. Only its owner can use it; nobody can read it back."""

    id: Digest
    d_w: str = Field(description="the commitment, as in statements")
    expires_at: float


class Job(Answer):
    """A job as its owner sees it."""

    id: str
    kind: Literal["accuracy", "groth16", "training"] = Field(
        validation_alias=AliasPath("spec", "kind")
    )
    state: JobState
    priority: Priority = Field(validation_alias=AliasPath("spec", "priority"))
    created_at: float = Field(description="seconds since 1970")
    finished_at: float | None = None
    expires_at: float | None = Field(
        default=None, description="deadline", validation_alias="deadline_at"
    )
    attempts: int = Field(description="how often a worker has taken it")
    dataset: str | None = Field(default=None, validation_alias=AliasPath("spec", "work", "dataset"))
    model_id: str | None = Field(
        default=None, validation_alias=AliasPath("spec", "work", "model_id")
    )
    n_samples: int | None = Field(
        default=None, validation_alias=AliasPath("spec", "work", "n_samples")
    )
    shards: int = Field(
        default=1,
        validation_alias="n_tasks",
        description="proofs that workers share; of a training its steps, and the export",
    )
    shards_done: int = Field(default=0, validation_alias="n_done")
    steps: int | None = Field(
        default=None,
        validation_alias=AliasPath("spec", "work", "n_steps"),
        description="of a training: how many are proven",
    )
    steps_done: int | None = Field(default=None, validation_alias="n_steps_done")
    progress: Progress | None = None
    error: Failure | None = None


class JobList(Answer):
    """Newest first. `next` continues the list."""

    jobs: list[Job]
    next: str | None = None


class OccasionView(Answer):
    """Where a proof counts, and the key that it was made under."""

    chain_id: str
    task_id: str
    round_index: int
    commit_height: int
    client_key: str
    verifying_key_digest: str


class StatementView(OccasionView):
    """A statement, byte strings in hexadecimal."""

    shard_index: int
    n_real: int
    dataset_digest: str
    multipliers: list[int]
    claimed_correct: int
    commitments: list[str]


class StepView(OccasionView):
    """The masters behind `after` are one step from those behind `before`, on the batch of `data`:
    commitments in hexadecimal."""

    step: int = Field(description="t, which step of its training it is")
    n_real: int
    before: str
    after: str
    data: str


class ExportView(OccasionView):
    """The model behind `model` is the int8 model of the masters behind `masters`."""

    masters: str
    model: str


class TrainingView(Answer):
    """What proofs of training say. Whether the steps are those of one training, and on which
    batches, is for who has the commitments to say."""

    steps: list[StepView]
    export: ExportView | None


class ProofView(Answer):
    """A proof with what it says; the bytes themselves with Accept: application/octet-stream."""

    job_id: str
    n_bytes: int
    sha256: Digest
    proof_base64: str
    statements: list[StatementView] = Field(description="one per shard; empty for other jobs")
    n_real: int
    claimed_correct: int
    circuit: Digest | None = Field(default=None, description="digest, for /v1/circuits")
    seconds: float | None = None
    groth16: dict[str, Any] | None = Field(
        default=None, description="proof and public inputs as snarkjs writes them"
    )
    training: TrainingView | None = None


class VerifyRequest(Request):
    """Bytes of a proof, and the samples that the caller has in mind."""

    proof_base64: Annotated[str, StringConstraints(max_length=1 << 22)] = Field(
        description="an envelope, or of accuracy the container of all shards"
    )
    circuit: Digest
    dataset: DatasetName | None = Field(
        default=None, description="of a proof of accuracy; proofs of training need none"
    )


class CircuitKind(StrEnum):
    """What a circuit proves: how good a model is, a step of its training, or that the model is what
    training ended at."""

    ACCURACY = "accuracy"
    STEP = "step"
    EXPORT = "export"


class Circuit(Answer):
    """A circuit with the multipliers of a task, that a key exists for on this service."""

    digest: Digest = Field(description="sha256 of circuit.json")
    kind: CircuitKind
    architecture: str
    n_samples: int = Field(description="of one proof; a step's batch; 0 of an export")
    multipliers: list[int]
    key_digest: Digest = Field(description="sha256 of verifying.key, as statements name it")
    verifying_key: str = Field(description="path of the verifying half")
    card: str = Field(description="path of circuit.json, which verifiers read beside it")


class ProofStated(Answer):
    """What a proof says of itself, before it is verified."""

    n_bytes: int
    sha256: Digest
    statements: list[StatementView] = Field(description="one per shard")
    n_real: int
    claimed_correct: int
    circuit: Circuit | None = Field(description="whose key it names; null: there is none here")
    sample_shape: list[int] | None = Field(description="that the circuit takes")


class DatasetView(Answer):
    """A built-in data set."""

    name: str = Field(examples=["mnist"])
    title: str
    sample_shape: list[int]
    n_classes: int
    here: dict[str, int] = Field(description="samples of each split that are here")


class DatasetList(Answer):
    datasets: list[DatasetView]


class VerifyAnswer(Answer):
    """The verdict; `valid` or why not."""

    verdict: str = Field(examples=["valid"])
    architecture: str | None = Field(default=None, description="of the network that was proven")
    not_proven: list[str] = Field(
        default_factory=list, description="what a valid proof does not say"
    )
    n_real: int = 0
    claimed_correct: int = 0
    statements: list[StatementView] = Field(default_factory=list)
    training: TrainingView | None = None
    reason: str | None = None


class CircuitList(Answer):
    circuits: list[Circuit]


class QueueView(Answer):
    """The queue at a glance."""

    priorities: dict[str, PriorityLoad]
    running: int
    retrying: int
    dead: int
    limit: int


class WorkerView(Answer):
    """A worker that has reported within its lease."""

    id: str = Field(validation_alias="worker")
    backend: str
    device: str
    job_id: str | None
    draining: bool
    seen_s_ago: float


class WorkerList(Answer):
    workers: list[WorkerView]


class Health(Answer):
    status: Literal["ok"] = "ok"
