"""A real queue server for tests, and jobs to put into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from api.queue.jobs import AccuracyWork, JobSpec, JobState, Priority
from api.queue.queue import JobQueue, Lease
from api.settings import Settings
from api.valkey.embedded import EmbeddedServer, connect

NewQueue = Callable[..., JobQueue]
_prefixes = count()


@contextmanager
def running_server(data_dir: Path) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(data_dir)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def new_queue(data_dir: Path, **settings: int) -> JobQueue:
    """An empty queue of its own on the server of a data directory."""
    chosen = replace(Settings(data_dir=data_dir), **settings)  # type: ignore[arg-type]
    return JobQueue(connect(chosen), chosen, prefix=f"test{next(_prefixes)}:")


def make_spec(
    number: int = 0,
    *,
    n_tasks: int = 1,
    owner: str = "alice",
    priority: Priority = Priority.NORMAL,
    deadline_s: int | None = None,
) -> JobSpec:
    """A job of made-up ids; another number is another job."""
    return JobSpec(
        owner=owner,
        priority=priority,
        deadline_s=deadline_s,
        work=AccuracyWork(
            model_id=f"{number:064x}",
            dataset="mnist:test[0:16]",
            n_total=16 * n_tasks,
            n_samples=16,
            chain_id="chain",
            task_id="task",
            round_index=0,
            commit_height=0,
            client_key="00",
        ),
    )


def take(queue: JobQueue, worker: str = "w") -> Lease:
    lease = queue.lease(worker)
    assert lease is not None
    return lease


def finish(queue: JobQueue, lease: Lease, result: bytes = b"proof") -> bool:
    return queue.complete(lease, result, seconds=0.5, n_samples=16)


def state_of(queue: JobQueue, job_id: str) -> JobState:
    record = queue.get(job_id)
    assert record is not None
    return record.state


def age(queue: JobQueue, lease: Lease, idle_ms: int = 10**9) -> None:
    """As if the worker had not renewed for so long, or the server's clock had leapt ahead."""
    stream = f"{queue.prefix}queue:{lease.spec.priority.value}"
    queue.redis.xclaim(stream, "workers", lease.worker, 0, [lease.entry], idle=idle_ms, justid=True)


def idle_of(queue: JobQueue, lease: Lease) -> int:
    stream = f"{queue.prefix}queue:{lease.spec.priority.value}"
    (pending,) = queue.redis.xpending_range(stream, "workers", lease.entry, lease.entry, 1)
    return int(pending["time_since_delivered"])


def n_entries(queue: JobQueue) -> int:
    return sum(int(queue.redis.xlen(f"{queue.prefix}queue:{p.value}")) for p in Priority)


def ends_of(queue: JobQueue, job_id: str) -> list[Any]:
    return [e.data["state"] for e in queue.read_events(job_id) if e.type == "end"]
