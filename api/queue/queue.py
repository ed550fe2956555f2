"""The queue of proof jobs: what the API and the workers do with it.

Its rules run in the server, each in one step: `scripts/*.lua`, first `scripts/include/basics.lua`.

A client submits, follows and cancels; a worker leases a task, renews and reports while it works,
and completes, fails or releases it. Delivery is at least once and a result counts once: every call
of a worker names the pair (entry, attempt) that it holds, and is refused when another holds the
task by now. All methods raise redis.RedisError when the server does not answer.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from api.errors import SHARES, IdempotencyConflict, OwnerFull, QueueFull, RecordInvalid
from api.queue.jobs import (
    MAX_MESSAGE_CHARACTERS,
    JobEvent,
    JobRecord,
    JobSpec,
    Progress,
    TrainingWork,
    is_job_id,
)
from api.settings import Settings
from kernels.lua import Scripts

PREFIX = "zkpot:"
SCRIPTS = Path(__file__).parent / "scripts"
MAX_RESULT_BYTES = 1 << 22
IDEMPOTENCY_TTL_S = 24 * 3600
IDEMPOTENCY_KEYS = 100_000
"""Of one owner at a time."""
_EVENTS_PER_READ = 200
_PROBE_MS = 60_000
_NO_WRITES = ("MISCONF", "OOM", "command not allowed when used memory")
"""How a server begins that has no room; the last is an OOM whose prefix the client drops."""


class Standing(StrEnum):
    """Whether a worker still holds its task."""

    HELD = "held"
    LOST = "lost"  # another worker has it, or its job has ended
    CANCELLED = "cancelled"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A task in the hands of a worker."""

    job_id: str
    task: int
    entry: str
    attempt: int
    worker: str
    spec: JobSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Jobs, newest first, and where to go on."""

    jobs: tuple[JobRecord, ...]
    next: str | None


class JobQueue:
    """The queue on one server, under one prefix."""

    def __init__(self, redis: Redis, settings: Settings, *, prefix: str = PREFIX) -> None:
        # Any: the client's types are for all its modes, ours answers with bytes and lists.
        self.redis: Any = redis
        self.settings, self.prefix = settings, prefix
        self.scripts = Scripts(redis, SCRIPTS, prefix=prefix)

    # -- clients

    def submit(
        self, spec: JobSpec, *, idempotency_key: str | None = None, private: str = ""
    ) -> tuple[JobRecord, bool]:
        """The job of this request, and whether it is a new one.

        private : name of its folder of `api.store.private`, which a new job takes over

        A job that failed, was cancelled or expired starts anew, unless the idempotency key was
        sent before: then the answer is the same as the first time.
        raises : QueueFull, OwnerFull, IdempotencyConflict
        """
        owner = hash_name(spec.owner)
        idem = f"{owner}:{hash_name(idempotency_key)}" if idempotency_key is not None else ""
        outcome, detail = self.scripts.run(
            "submit",
            job=spec.id,
            spec=spec.encode(),
            owner=owner,
            priority=spec.priority.value,
            n_tasks=spec.n_tasks,
            deadline_s=spec.deadline_s or 0,
            ttl_s=self.settings.result_ttl_s,
            idem=idem,
            idem_ttl_s=IDEMPOTENCY_TTL_S,
            tasks_limit=self.settings.queue_limit,
            owner_tasks=self.settings.owner_tasks_limit,
            owner_bytes=self.settings.owner_bytes_limit,
            owner_keys=IDEMPOTENCY_KEYS,
            private=private,
        )
        if outcome.decode() in SHARES:
            raise OwnerFull(outcome.decode(), int(detail))
        if outcome == b"full":
            raise QueueFull(int(detail))
        if outcome == b"conflict":
            raise IdempotencyConflict
        record = self.get(spec.id)
        if record is None:
            raise RecordInvalid("the job is gone although it was just there")
        return record, outcome == b"created"

    def get(self, job_id: str) -> JobRecord | None:
        """The job, with deadlines that have passed applied; None when there is none (any more).

        A server that takes no writes, its disk or memory being full, still answers.
        """
        if not is_job_id(job_id):
            return None
        record = self._read(job_id)
        if record is not None and record.deadline_at is not None and not record.state.is_end:
            self._tick_if_writable()
            record = self._read(job_id)
        return record

    def list_jobs(self, *, owner: str | None, limit: int, before: str | None = None) -> Page:
        """Newest first, of one owner or of all; `before` is the `next` of an earlier page."""
        name = "jobs" if owner is None else f"jobs:{hash_name(owner)}"
        index = self.prefix + name
        start = 0
        if before is not None:
            rank = self.redis.zrevrank(index, before) if is_job_id(before) else None
            if rank is None:
                return Page(jobs=(), next=None)
            start = rank + 1
        self._tick_if_writable()
        jobs: list[JobRecord] = []
        while len(jobs) <= limit:
            ids = self.redis.zrevrange(index, start, start + limit)
            if not ids:
                break
            start += len(ids)
            for raw in ids:
                stored = self.redis.hgetall(self._key("job", raw.decode()))
                if stored:
                    jobs.append(JobRecord.decode(raw.decode(), stored))
                else:  # its time to live is over
                    self.redis.zrem(index, raw)
                    start -= 1
        more = len(jobs) > limit
        return Page(jobs=tuple(jobs[:limit]), next=jobs[limit - 1].id if more else None)

    def cancel(self, job_id: str) -> JobRecord | None:
        """Ends the job unless it has ended; its worker hears of it at its next report."""
        if is_job_id(job_id):
            self.scripts.run("cancel", job=job_id)
        return self.get(job_id)

    def get_results(self, job_id: str) -> list[bytes] | None:
        """What the tasks of a job that is done made, in their order; None before and after that."""
        record = self.get(job_id)
        if record is None:
            return None
        stored = self.redis.hgetall(self._key("results", job_id))
        names = [str(task).encode() for task in range(record.n_tasks)]
        if record.n_done != record.n_tasks or not all(name in stored for name in names):
            return None
        return [stored[name] for name in names]

    def read_events(self, job_id: str, *, after: str = "0-0", block_ms: int = 0) -> list[JobEvent]:
        """Events behind `after`, waiting at most block_ms (0: not at all) for the first."""
        if not is_job_id(job_id):
            return []
        key = self._key("events", job_id)
        found = self.redis.xread({key: after}, count=_EVENTS_PER_READ, block=block_ms or None)
        entries = found[0][1] if found else []
        return [JobEvent.decode(entry, fields) for entry, fields in entries]

    # -- workers

    def lease(self, worker: str, *, beside: bool = False) -> Lease | None:
        """A task to work on, the most urgent first, tasks of lost workers before new ones.

        worker : unique to this process; it holds no other task under this name
        beside : the process is at work for another one: tasks of lost workers are left to others
        """
        found = self.scripts.run(
            "lease",
            worker=worker,
            lease_ms=self.settings.lease_ms,
            max_deliveries=self.settings.max_deliveries,
            beside=int(beside),
        )
        if not found:
            return None
        job_id, task, entry, attempt, spec = found
        return Lease(
            job_id=job_id.decode(),
            task=int(task),
            entry=entry.decode(),
            attempt=int(attempt),
            worker=worker,
            spec=JobSpec.decode(spec),
        )

    def hear_bell(self) -> str:
        """The last ring. Taken before a `lease` that finds nothing, `wait` misses no later one."""
        last = self.redis.xrevrange(self.prefix + "bell", count=1)
        return str(last[0][0].decode()) if last else "0-0"

    def wait(self, bell: str, block_ms: int) -> None:
        """Returns when a task has come since that ring, or after block_ms."""
        self.redis.xread({self.prefix + "bell": bell}, count=1, block=block_ms)

    def renew(self, lease: Lease) -> Standing:
        """Another whole lease from now, if the task is still this worker's."""
        return self._stand("renew", lease, worker=lease.worker)

    def report(self, lease: Lease, progress: Progress) -> Standing:
        """Shows how far the task is; `progress.fraction` is of this task."""
        return self._stand(
            "report",
            lease,
            stage=progress.stage[:64],
            done=progress.done,
            total=progress.total,
            fraction=min(1.0, max(0.0, progress.fraction)),
        )

    def agree(self, lease: Lease, private: str) -> tuple[Standing, str]:
        """The folder of `api.store.private` that the tasks of the job share: the first that one
        offers.

        private : name of the one offered; "" only asks, and is the answer when there is none
        """
        stands, name = self.scripts.run("agree", **_held(lease), private=private)
        return Standing(stands.decode()), name.decode()

    def complete(self, lease: Lease, result: bytes, *, seconds: float, n_samples: int) -> bool:
        """Publishes the result, once; the last task ends the job. False when it was fenced off.

        raises : OwnerFull, the task being held still
        """
        if len(result) > MAX_RESULT_BYTES:
            raise ValueError(f"a result of {len(result)} bytes, limit {MAX_RESULT_BYTES}")
        work = lease.spec.work
        n_steps = work.n_steps if isinstance(work, TrainingWork) else 0
        done = self.scripts.run(
            "complete",
            **_held(lease),
            result=result,
            seconds=f"{seconds:.6f}",
            samples=n_samples,
            steps=int(lease.task < n_steps),
            n_steps=n_steps,
            owner_bytes=self.settings.owner_bytes_limit,
        )
        if done == b"full":
            raise OwnerFull("bytes", 0)
        return bool(done == b"stored")

    def fail(self, lease: Lease, code: str, message: str, *, retry: bool) -> Standing:
        """Ends the job, or puts the task back after a pause that doubles with every attempt.

        A task without attempts left goes to the dead letters. message : without private values
        """
        pause = self.settings.retry_first_ms << min(lease.attempt - 1, 30)
        return self._stand(
            "fail",
            lease,
            code=code[:64],
            message=message[:MAX_MESSAGE_CHARACTERS],
            delay_ms=min(pause, self.settings.retry_last_ms) if retry else -1,
            max_deliveries=self.settings.max_deliveries,
        )

    def release(self, lease: Lease) -> Standing:
        """Gives the task back as if it had never been taken: for a worker that stops."""
        return self._stand("release", lease)

    def write_probe(self) -> None:
        """Returns if the server takes writes: a replica, or one without room, answers reads."""
        self.redis.set(self.prefix + "probe", b"", px=_PROBE_MS)

    def tick(self) -> None:
        """Puts due retries back and ends jobs whose deadline has passed."""
        self.scripts.run("tick")

    def _read(self, job_id: str) -> JobRecord | None:
        stored = self.redis.hgetall(self._key("job", job_id))
        return JobRecord.decode(job_id, stored) if stored else None

    def _tick_if_writable(self) -> None:
        try:
            self.tick()
        except ResponseError as error:
            if not str(error).startswith(_NO_WRITES):
                raise

    def _stand(self, script: str, lease: Lease, **arguments: object) -> Standing:
        return Standing(self.scripts.run(script, **_held(lease), **arguments).decode())

    def _key(self, kind: str, job_id: str) -> str:
        return f"{self.prefix}{kind}:{job_id}"


def hash_name(name: str) -> str:
    """A caller's name or key as it goes into the server's key names: 32 hexadecimal digits."""
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _held(lease: Lease) -> dict[str, object]:
    """What `scripts/include/holder.lua` takes."""
    return {
        "job": lease.job_id,
        "task": lease.task,
        "entry": lease.entry,
        "attempt": lease.attempt,
    }
