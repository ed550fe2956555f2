"""A real queue server for tests, and jobs to put into it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

from api.queue.jobs import AccuracyWork, JobSpec, Priority
from api.queue.tasks import JobQueue
from api.settings import Settings
from api.valkey.embedded import EmbeddedServer, connect

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
