"""A job: what is asked for, its record in the queue, and the states it goes through.

    queued ──> running ──> done
      ^ |        │ │ ├───> failed      a permanent error, or too many attempts (dead letter)
      │ └────────┼─┼─┼───> cancelled   by its owner, also while it runs
      │          v │ └───> expired     its deadline passed, also while it waits
      └───── retrying

A job is one task or, when it needs several proofs, one task for each: of a shard of its samples, or
of a step of its training, with the export as the last. All of them wait in the queue side by side
and the job is done when the last one is. States in the last column are ends: the queue enters one
of them once. A job that failed, was cancelled or expired starts anew when the same request comes
again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, ClassVar

from api.errors import RecordInvalid
from api.settings import MAX_TASKS_PER_JOB
from prover.model.network import canonical_json
from prover.wire.kinds import MAX_NUMBER
from prover.wire.training import MAX_ROUND_STEPS

MAX_SPEC_BYTES = 1 << 13
MAX_EVENT_BYTES = 1 << 12
MAX_MESSAGE_CHARACTERS = 500
_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Priority(StrEnum):
    """Which queue a job waits in; a higher one is served first."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def is_end(self) -> bool:
        return self not in OPEN_STATES


OPEN_STATES = frozenset({JobState.QUEUED, JobState.RUNNING, JobState.RETRYING})


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyWork:
    """A proof of accuracy.

    model_id   : of the owner's model in the store
    dataset    : reference of built-in samples, or the id of the owner's samples
    n_total    : samples of the data set
    n_samples  : samples of the circuit; the data set is split into shards of at most this many
    client_key : hexadecimal
    commitment_id : of the owner's commitment with its blinding in the store; None: a new one
    """

    KIND: ClassVar[str] = "accuracy"
    model_id: str
    dataset: str
    n_total: int
    n_samples: int
    chain_id: str
    task_id: str
    round_index: int
    commit_height: int
    client_key: str
    commitment_id: str | None = None

    def __post_init__(self) -> None:
        _require_digest(self.model_id)
        if self.commitment_id is not None:
            _require_digest(self.commitment_id)
        _require(isinstance(self.dataset, str) and 1 <= len(self.dataset) <= 80)
        for number, least in (
            (self.n_total, 1),
            (self.n_samples, 1),
            (self.round_index, 0),
            (self.commit_height, 0),
        ):
            _require(type(number) is int and least <= number < MAX_NUMBER)
        for name in (self.chain_id, self.task_id):
            _require(isinstance(name, str) and 1 <= len(name.encode()) <= 64)
        _require(re.fullmatch(r"([0-9a-f]{2}){1,64}", str(self.client_key)) is not None)
        _require(self.n_tasks <= MAX_TASKS_PER_JOB)

    @property
    def n_tasks(self) -> int:
        """Shards of the data set."""
        return -(-self.n_total // self.n_samples)


@dataclass(frozen=True, slots=True, kw_only=True)
class Groth16Work:
    """A proof for a snarkjs user.

    zkey_id    : of the owner's key in the store
    witness_id : `PrivateFiles.identify` of the witness, which is among the private files of the job
    """

    KIND: ClassVar[str] = "groth16"
    zkey_id: str
    witness_id: str

    def __post_init__(self) -> None:
        _require_digest(self.zkey_id)
        _require_digest(self.witness_id)

    @property
    def n_tasks(self) -> int:
        return 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingWork:
    """Proofs of steps of a trajectory, a task for each, and of its export: the last task.

    order_id : `PrivateFiles.identify` of the order, which is among the private files of the job
    n_steps  : that it asks for
    """

    KIND: ClassVar[str] = "training"
    order_id: str
    n_steps: int

    def __post_init__(self) -> None:
        _require_digest(self.order_id)
        _require(type(self.n_steps) is int and 1 <= self.n_steps <= MAX_ROUND_STEPS)

    @property
    def n_tasks(self) -> int:
        return self.n_steps + 1


Work = AccuracyWork | Groth16Work | TrainingWork
_KINDS: Mapping[str, type[Work]] = {
    work.KIND: work for work in (AccuracyWork, Groth16Work, TrainingWork)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """What is asked for. Raises RecordInvalid for what cannot be meant."""

    owner: str
    work: Work
    priority: Priority = Priority.NORMAL
    deadline_s: int | None = None

    def __post_init__(self) -> None:
        _require(isinstance(self.owner, str) and 1 <= len(self.owner) <= 64)
        _require(
            self.deadline_s is None
            or (type(self.deadline_s) is int and 0 < self.deadline_s < 1 << 31)
        )

    @property
    def kind(self) -> str:
        return self.work.KIND

    @property
    def n_tasks(self) -> int:
        return self.work.n_tasks

    @property
    def id(self) -> str:
        """32 hexadecimal digits: the same request of the same owner is the same job."""
        return hashlib.sha256(b"zkpot job v1\x00" + self.encode()).hexdigest()[:32]

    def encode(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(
            {
                "owner": self.owner,
                "kind": self.kind,
                "work": asdict(self.work),
                "priority": self.priority.value,
                "deadline_s": self.deadline_s,
            }
        )

    @classmethod
    def decode(cls, raw: bytes) -> JobSpec:
        """Inverse of `encode`. Raises RecordInvalid for every other byte string."""
        try:
            _require(len(raw) <= MAX_SPEC_BYTES)
            value = json.loads(raw)
            spec = cls(
                owner=value["owner"],
                work=_KINDS[value["kind"]](**value["work"]),
                priority=Priority(value["priority"]),
                deadline_s=value["deadline_s"],
            )
            _require(spec.encode() == raw)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise RecordInvalid("the queue holds something that is no job") from None
        return spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a job stands. `fraction` is of the whole job, in [0, 1]."""

    stage: str
    done: int
    total: int
    fraction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a job failed: a stable code, and a sentence without private values."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """A job as the queue holds it; times in seconds since 1970 by the server's clock.

    deadline_at : the job expires then
    attempts    : how often a worker took one of its tasks
    n_steps_done : of a training's steps, those that are proven; None of another job
    seconds     : of proving, over all tasks
    """

    id: str
    spec: JobSpec
    state: JobState
    created_at: float
    finished_at: float | None
    deadline_at: float | None
    attempts: int
    n_tasks: int
    n_done: int
    n_steps_done: int | None
    seconds: float
    progress: Progress | None
    error: Failure | None

    @classmethod
    def decode(cls, job_id: str, stored: Mapping[bytes, bytes]) -> JobRecord:
        """A record from the fields of the queue's hash. Raises RecordInvalid."""
        try:
            values = {name.decode(): value for name, value in stored.items()}
            spec = JobSpec.decode(values["spec"])
            n_tasks, n_done = int(values["n_tasks"]), int(values["n_done"])
            fraction = float(values.get("fractions", b"0")) / n_tasks
            n_steps_done = None
            if isinstance(spec.work, TrainingWork):
                n_steps_done = int(values.get("n_steps_done", b"0"))
            progress = None
            if "stage" in values:
                progress = Progress(
                    stage=values["stage"].decode()[:64],
                    done=int(values["stage_done"]),
                    total=int(values["stage_total"]),
                    fraction=min(1.0, max(0.0, fraction)),
                )
            error = None
            if "error_code" in values:
                error = Failure(
                    code=values["error_code"].decode()[:64],
                    message=values["error_message"].decode()[:MAX_MESSAGE_CHARACTERS],
                )
            return cls(
                id=job_id,
                spec=spec,
                state=JobState(values["state"].decode()),
                created_at=int(values["created_ms"]) / 1000,
                finished_at=_seconds(values.get("finished_ms")),
                deadline_at=_seconds(values.get("deadline_ms")),
                attempts=int(values["attempts"]),
                n_tasks=n_tasks,
                n_done=n_done,
                n_steps_done=n_steps_done,
                seconds=float(values.get("seconds", b"0")),
                progress=progress,
                error=error,
            )
        except (ValueError, KeyError, ZeroDivisionError, OverflowError):
            raise RecordInvalid("the queue holds something that is no job") from None


@dataclass(frozen=True, slots=True)
class JobEvent:
    """An entry of a job's progress stream. `type` is state, progress or, of the last one, end."""

    id: str
    type: str
    data: dict[str, Any]

    @classmethod
    def decode(cls, entry: bytes, fields: Mapping[bytes, bytes]) -> JobEvent:
        """An event from an entry of the queue's stream. Raises RecordInvalid."""
        try:
            raw = fields[b"data"]
            _require(len(raw) <= MAX_EVENT_BYTES)
            data = json.loads(raw)
            _require(isinstance(data, dict))
            return cls(entry.decode(), fields[b"type"].decode()[:32], data)
        except (KeyError, ValueError, RecursionError):
            raise RecordInvalid("the queue holds something that is no event") from None


def is_job_id(text: str) -> bool:
    """Whether the text can be the id of a job: what goes into the server's key names is checked."""
    return _ID.fullmatch(text) is not None


def _seconds(milliseconds: bytes | None) -> float | None:
    return None if milliseconds is None else int(milliseconds) / 1000


def _require_digest(text: object) -> None:
    _require(isinstance(text, str) and _DIGEST.fullmatch(text) is not None)


def _require(holds: bool) -> None:
    if not holds:
        raise RecordInvalid("a field of the job is out of range")
