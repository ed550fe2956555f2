"""Jobs of training in the queue: a task for each step and the export, and how many are proven."""

from __future__ import annotations

from typing import Any

import pytest

from api.errors import RecordInvalid
from api.queue.jobs import JobSpec, JobState, TrainingWork
from api.queue.queue import JobQueue
from prover.wire.training import MAX_ROUND_STEPS
from tests.support.queue_server import finish, make_spec, take


def make_training(n_steps: int, order_id: str = "ab" * 32) -> JobSpec:
    return JobSpec(owner="alice", work=TrainingWork(order_id=order_id, n_steps=n_steps))


def count(queue: JobQueue, name: str) -> int:
    return int(float(queue.redis.hget(queue.prefix + "counters", name) or 0))


def find_steps(queue: JobQueue, job_id: str) -> tuple[int | None, int, JobState]:
    record = queue.get(job_id)
    assert record is not None
    return record.n_steps_done, record.n_done, record.state


def test_steps_are_counted_and_the_export_is_none(queue: JobQueue) -> None:
    spec = make_training(2)
    assert JobSpec.decode(spec.encode()) == spec
    record, _ = queue.submit(spec)
    assert (record.n_tasks, record.n_steps_done, spec.kind) == (3, 0, "training")
    leases = {lease.task: lease for lease in (take(queue, name) for name in "abc")}
    assert sorted(leases) == [0, 1, 2]
    seen = []
    for task in (1, 2, 0):  # in whatever order they are done
        assert finish(queue, leases[task], b"%d" % task)
        seen.append(find_steps(queue, spec.id))
    running, done = JobState.RUNNING, JobState.DONE
    assert seen == [(1, 1, running), (1, 2, running), (2, 3, done)]
    assert queue.get_results(spec.id) == [b"0", b"1", b"2"]
    assert (count(queue, "steps"), count(queue, "proofs")) == (2, 3)
    steps = [e.data for e in queue.read_events(spec.id) if e.data.get("stage") == "steps"]
    assert [(e["done"], e["total"], round(e["fraction"], 3)) for e in steps] == [
        (1, 2, 0.333),
        (2, 2, 1.0),
    ]
    assert queue.read_events(spec.id)[-1].type == "end"


def test_a_result_that_is_sent_again_counts_once(queue: JobQueue) -> None:
    spec = make_training(2)
    queue.submit(spec)
    lease = take(queue)
    assert finish(queue, lease)
    assert finish(queue, lease)
    assert find_steps(queue, spec.id)[:2] == (1, 1)
    assert count(queue, "steps") == 1


def test_a_job_that_starts_anew_begins_at_no_step(queue: JobQueue) -> None:
    spec = make_training(2)
    queue.submit(spec)
    finish(queue, take(queue))
    queue.cancel(spec.id)
    record, is_new = queue.submit(spec)
    assert is_new
    assert (record.n_steps_done, record.n_done) == (0, 0)


def test_other_jobs_have_no_steps(queue: JobQueue) -> None:
    spec = make_spec()
    queue.submit(spec)
    finish(queue, take(queue))
    assert find_steps(queue, spec.id) == (None, 1, JobState.DONE)
    assert count(queue, "steps") == 0


@pytest.mark.parametrize(
    "change",
    [
        {"n_steps": 0},
        {"n_steps": MAX_ROUND_STEPS + 1},
        {"n_steps": True},
        {"n_steps": 1.0},
        {"order_id": "AB" * 32},
        {"order_id": ""},
    ],
)
def test_what_cannot_be_meant_is_no_job(change: dict[str, Any]) -> None:
    with pytest.raises(RecordInvalid):
        TrainingWork(**{"order_id": "ab" * 32, "n_steps": 1, **change})
