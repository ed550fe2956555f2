"""The queue as its operator sees it: load, workers that are up, dead letters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from api.queue.jobs import OPEN_STATES, JobState, Priority
from api.queue.queue import JobQueue

MAX_HEARTBEAT_BYTES = 1 << 12
MAX_LETTERS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorityLoad:
    """Tasks of one priority.

    oldest_age_s : of the task that has waited longest; None when none waits
    """

    waiting: int
    leased: int
    oldest_age_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLoad:
    """The queue at a glance. jobs : open jobs by state; dead : dead letters; limit : of tasks"""

    priorities: Mapping[Priority, PriorityLoad]
    jobs: Mapping[JobState, int]
    retrying: int
    dead: int
    limit: int

    @property
    def running(self) -> int:
        """Jobs that workers are at."""
        return self.jobs[JobState.RUNNING]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """What a worker says of itself.

    seen_s_ago      : filled in when it is read
    gpu_utilization : in [0, 1]; None without a GPU
    threads, memory_bytes : that its proofs may take; 0 and None: unknown
    lanes, probe_s  : what it computes with, and `prover.costs.time_probe` there; empty and None
                      until it has proven
    """

    worker: str
    backend: str
    device: str
    job_id: str | None
    draining: bool
    resident_bytes: int
    cached_bytes: int
    gpu_utilization: float | None = None
    threads: int = 0
    memory_bytes: int | None = None
    lanes: str = ""
    probe_s: float | None = None
    seen_s_ago: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A task that was given up, and why."""

    id: str
    job_id: str
    task: int
    attempts: int
    code: str
    message: str


class QueueAdmin:
    """Looks into a queue and clears what is stuck. Raises redis.RedisError."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue, self._redis, self._prefix = queue, queue.redis, queue.prefix

    def view_load(self) -> QueueLoad:
        self._queue.tick()  # also makes the groups
        states = self._redis.hgetall(self._prefix + "states")
        return QueueLoad(
            priorities={priority: self._view_priority(priority) for priority in Priority},
            jobs={s: max(0, int(states.get(s.value.encode(), 0))) for s in OPEN_STATES},
            retrying=self._redis.zcard(self._prefix + "retry"),
            dead=self._redis.xlen(self._prefix + "dead"),
            limit=self._queue.settings.queue_limit,
        )

    def _view_priority(self, priority: Priority) -> PriorityLoad:
        stream = f"{self._prefix}queue:{priority.value}"
        length = int(self._redis.xlen(stream))
        (group,) = self._redis.xinfo_groups(stream)
        leased = int(group["pending"])
        first = self._redis.xrange(stream, min="(" + group["last-delivered-id"].decode(), count=1)
        age = None
        if first:
            made_ms = int(first[0][0].split(b"-")[0])
            age = max(0.0, self.read_clock() - made_ms / 1000)
        return PriorityLoad(waiting=max(0, length - leased), leased=leased, oldest_age_s=age)

    def read_clock(self) -> float:
        """Seconds since 1970 by the server, whose clock is the queue's."""
        seconds, micros = self._redis.time()
        return float(seconds) + float(micros) / 1e6

    def beat(self, heartbeat: Heartbeat) -> None:
        """Shows that a worker is up, for one lease."""
        key = f"{self._prefix}worker:{heartbeat.worker}"
        value = asdict(heartbeat) | {"seen_at": self.read_clock()}
        with self._redis.pipeline() as pipe:
            pipe.set(key, json.dumps(value), px=self._queue.settings.lease_ms)
            pipe.sadd(self._prefix + "worker-names", heartbeat.worker)
            pipe.execute()

    def retire(self, worker: str) -> None:
        """A worker that stops says so."""
        self._redis.delete(f"{self._prefix}worker:{worker}")
        self._redis.srem(self._prefix + "worker-names", worker)

    def list_workers(self) -> list[Heartbeat]:
        """Workers that have reported within a lease, by name."""
        now, found = self.read_clock(), []
        for name in sorted(self._redis.smembers(self._prefix + "worker-names")):
            raw = self._redis.get(self._prefix.encode() + b"worker:" + name)
            heartbeat = None if raw is None else _decode_heartbeat(raw, now)
            if heartbeat is None:
                self._redis.srem(self._prefix + "worker-names", name)
            else:
                found.append(heartbeat)
        return found

    def list_dead(self, limit: int = MAX_LETTERS) -> list[DeadLetter]:
        """Newest first."""
        entries = self._redis.xrevrange(self._prefix + "dead", count=min(limit, MAX_LETTERS))
        return [
            DeadLetter(
                id=entry.decode(),
                job_id=fields[b"job"].decode(),
                task=int(fields[b"task"]),
                attempts=int(fields[b"attempts"]),
                code=fields[b"code"].decode(),
                message=fields[b"message"].decode(),
            )
            for entry, fields in entries
        ]

    def replay(self, letter: str) -> str:
        """Starts the job of a dead letter anew, all of its tasks, and removes the letter.

        returns : replayed; or not_found (no such letter), gone (the job's time to live is over),
                  not_failed (it was submitted again meanwhile), files_gone (the private ones that
                  it came with were deleted when it failed)
        """
        if not _is_entry_id(letter):
            return "not_found"
        return str(self._queue.scripts.run("replay", letter=letter).decode())

    def purge(self) -> int:
        """Deletes all dead letters; how many there were. Their jobs stay failed."""
        letters = self.list_dead()
        n = 0
        while letters:
            n += int(self._redis.xdel(self._prefix + "dead", *(letter.id for letter in letters)))
            letters = self.list_dead()
        return n


def _decode_heartbeat(raw: bytes, now: float) -> Heartbeat | None:
    """None for what is no heartbeat of this version."""
    try:
        value = json.loads(raw) if len(raw) <= MAX_HEARTBEAT_BYTES else {}
        seen_at = float(value.pop("seen_at"))
        return replace(Heartbeat(**value), seen_s_ago=max(0.0, now - seen_at))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _is_entry_id(text: str) -> bool:
    milliseconds, _, number = text.partition("-")
    return all(p.isascii() and p.isdigit() and len(p) <= 20 for p in (milliseconds, number))
