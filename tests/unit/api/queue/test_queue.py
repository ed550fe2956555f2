"""The queue on a real server: jobs from submission to their end."""

from __future__ import annotations

import pytest

from api.errors import IdempotencyConflict, QueueFull, RecordInvalid
from api.queue.jobs import JobState, Priority, Progress
from api.queue.queue import JobQueue, Standing
from tests.support.queue_server import (
    NewQueue,
    ends_of,
    finish,
    make_spec,
    n_entries,
    state_of,
    take,
)


def test_a_job_from_submission_to_result(queue: JobQueue) -> None:
    spec = make_spec()
    record, is_new = queue.submit(spec)
    assert is_new
    assert record.id == spec.id
    assert (record.state, record.n_tasks, record.attempts) == (JobState.QUEUED, 1, 0)
    lease = take(queue)
    assert lease.spec == spec
    assert (lease.job_id, lease.task, lease.attempt) == (spec.id, 0, 1)
    assert state_of(queue, spec.id) is JobState.RUNNING
    assert queue.get_results(spec.id) is None
    progress = Progress(stage="prove", done=1, total=4, fraction=0.25)
    assert queue.report(lease, progress) is Standing.HELD
    seen = queue.get(spec.id)
    assert seen is not None
    assert seen.progress == progress
    assert finish(queue, lease, b"bytes")
    done = queue.get(spec.id)
    assert done is not None
    assert (done.state, done.n_done, done.seconds) == (JobState.DONE, 1, 0.5)
    assert done.finished_at is not None
    assert queue.get_results(spec.id) == [b"bytes"]
    assert n_entries(queue) == 0
    kinds = [event.type for event in queue.read_events(spec.id)]
    assert kinds == ["state", "state", "progress", "end"]


def test_the_same_request_is_the_same_job(queue: JobQueue) -> None:
    first, _ = queue.submit(make_spec())
    again, is_new = queue.submit(make_spec())
    assert (again.id, is_new) == (first.id, False)
    assert n_entries(queue) == 1
    other, is_new = queue.submit(make_spec(owner="bob"))
    assert is_new
    assert other.id != first.id


def test_a_job_that_is_done_is_not_done_again(queue: JobQueue) -> None:
    queue.submit(make_spec())
    finish(queue, take(queue))
    record, is_new = queue.submit(make_spec())
    assert (record.state, is_new) == (JobState.DONE, False)


def test_a_job_that_failed_starts_anew(queue: JobQueue) -> None:
    spec = make_spec()
    queue.submit(spec)
    lost = take(queue)
    queue.fail(lost, "bad", "it is bad", retry=False)
    record, is_new = queue.submit(spec)
    assert (record.state, record.error, is_new) == (JobState.QUEUED, None, True)
    assert not finish(queue, lost)  # of the first run
    assert finish(queue, take(queue))


def test_an_idempotency_key_names_one_request(queue: JobQueue) -> None:
    spec = make_spec()
    queue.submit(spec, idempotency_key="k")
    with pytest.raises(IdempotencyConflict):
        queue.submit(make_spec(1), idempotency_key="k")
    queue.submit(make_spec(1, owner="bob"), idempotency_key="k")
    queue.cancel(spec.id)
    record, is_new = queue.submit(spec, idempotency_key="k")
    assert (record.state, is_new) == (JobState.CANCELLED, False)
    assert queue.submit(spec, idempotency_key="k2")[1]


def test_priorities_are_served_in_their_order(queue: JobQueue) -> None:
    for number, priority in enumerate([Priority.LOW, Priority.HIGH, Priority.NORMAL]):
        queue.submit(make_spec(number, priority=priority))
    leases = []
    for worker in ("a", "b", "c"):
        leases.append(take(queue, worker))
    assert [lease.spec.priority for lease in leases] == list(Priority)
    assert queue.lease("d") is None


def test_shards_end_as_one_result(queue: JobQueue) -> None:
    spec = make_spec(n_tasks=3)
    queue.submit(spec)
    leases = [take(queue, f"w{i}") for i in range(3)]
    assert sorted(lease.task for lease in leases) == [0, 1, 2]
    for lease in reversed(leases):
        assert queue.get_results(spec.id) is None
        assert finish(queue, lease, b"shard %d" % lease.task)
    assert queue.get_results(spec.id) == [b"shard 0", b"shard 1", b"shard 2"]
    assert ends_of(queue, spec.id) == ["done"]


def test_progress_of_shards_adds_up(queue: JobQueue) -> None:
    spec = make_spec(n_tasks=4)
    queue.submit(spec)
    first, second = take(queue, "a"), take(queue, "b")
    finish(queue, first)
    queue.report(second, Progress(stage="prove", done=1, total=2, fraction=0.5))
    record = queue.get(spec.id)
    assert record is not None
    assert record.progress is not None
    assert record.progress.fraction == pytest.approx(1.5 / 4)


def names(queue: JobQueue, key: str) -> set[bytes]:
    """Names of private files that the queue has."""
    find = queue.redis.hkeys if key == "private-folders" else queue.redis.smembers
    return set(find(queue.prefix + key))


def test_tasks_of_a_job_agree_on_the_first_folder_offered(queue: JobQueue) -> None:
    spec = make_spec(n_tasks=2)
    queue.submit(spec)
    first, second = take(queue, "a"), take(queue, "b")
    assert queue.agree(first, "") == (Standing.HELD, "")
    assert queue.agree(second, "second") == (Standing.HELD, "second")
    assert queue.agree(second, "second") == (Standing.HELD, "second")  # its answer was lost
    assert queue.agree(first, "first") == (Standing.HELD, "second")
    assert names(queue, "private-folders") == {b"second"}
    finish(queue, first)
    assert names(queue, "private-ended") == set()
    finish(queue, second)
    assert names(queue, "private-folders") == set()
    assert names(queue, "private-ended") == {b"second"}
    assert queue.agree(first, "late") == (Standing.LOST, "")
    assert not queue.redis.exists(f"{queue.prefix}private:{spec.id}")


def test_a_new_job_takes_its_folder_over_and_no_other_one(queue: JobQueue) -> None:
    spec = make_spec()
    assert queue.submit(spec, private="first", idempotency_key="a")[1]
    assert queue.submit(spec, private="first", idempotency_key="a")[1]  # the answer was lost
    for key in ("a", None):
        assert not queue.submit(spec, private="other", idempotency_key=key)[1]
    with pytest.raises(IdempotencyConflict):
        queue.submit(make_spec(1), private="other", idempotency_key="a")
    assert names(queue, "private-folders") == {b"first"}
    queue.cancel(spec.id)
    assert queue.submit(spec, private="again")[1]
    assert names(queue, "private-folders") == {b"again"}
    assert names(queue, "private-ended") == {b"first"}


def test_a_waiting_job_is_cancelled(queue: JobQueue) -> None:
    spec = make_spec(n_tasks=2)
    queue.submit(spec)
    record = queue.cancel(spec.id)
    assert record is not None
    assert record.state is JobState.CANCELLED
    assert queue.lease("w") is None
    assert n_entries(queue) == 0


def test_a_running_job_is_cancelled(queue: JobQueue) -> None:
    spec = make_spec()
    queue.submit(spec)
    lease = take(queue)
    queue.cancel(spec.id)
    assert queue.renew(lease) is Standing.CANCELLED
    assert not finish(queue, lease)
    assert state_of(queue, spec.id) is JobState.CANCELLED
    assert ends_of(queue, spec.id) == ["cancelled"]


def test_a_job_that_has_ended_stays_as_it_is(queue: JobQueue) -> None:
    spec = make_spec()
    queue.submit(spec)
    finish(queue, take(queue))
    record = queue.cancel(spec.id)
    assert record is not None
    assert record.state is JobState.DONE
    assert queue.cancel("0" * 32) is None
    assert queue.cancel("no id") is None


@pytest.mark.parametrize("when", ["waiting", "running"])
def test_a_job_expires(queue: JobQueue, when: str) -> None:
    spec = make_spec(deadline_s=100)
    record, _ = queue.submit(spec)
    assert record.deadline_at is not None
    assert record.deadline_at - record.created_at == pytest.approx(100)
    lease = take(queue) if when == "running" else None
    queue.redis.hset(f"{queue.prefix}job:{spec.id}", "deadline_ms", 1)
    queue.redis.zadd(queue.prefix + "deadlines", {spec.id: 1})
    if lease is not None:
        assert not finish(queue, lease)
        assert queue.renew(lease) is Standing.EXPIRED
    ended = queue.get(spec.id)
    assert ended is not None
    assert ended.error is not None
    assert (ended.state, ended.error.code) == (JobState.EXPIRED, "expired")
    assert queue.lease("w") is None


def test_a_full_queue_refuses(make_queue: NewQueue) -> None:
    queue = make_queue(queue_limit=4096)
    queue.submit(make_spec(0, n_tasks=4000))
    with pytest.raises(QueueFull) as refused:
        queue.submit(make_spec(1, n_tasks=97))
    assert refused.value.load == 4000
    assert queue.get(make_spec(1, n_tasks=97).id) is None
    queue.submit(make_spec(2, n_tasks=96))
    queue.cancel(make_spec(0, n_tasks=4000).id)
    queue.submit(make_spec(1, n_tasks=97))


def test_what_has_ended_is_kept_for_a_while(make_queue: NewQueue) -> None:
    queue = make_queue(result_ttl_s=77)
    spec = make_spec()
    queue.submit(spec)
    assert queue.redis.ttl(f"{queue.prefix}job:{spec.id}") == -1
    finish(queue, take(queue))
    for kind in ("job", "results", "events"):
        assert 0 < queue.redis.ttl(f"{queue.prefix}{kind}:{spec.id}") <= 77


def test_bytes_that_are_no_job_are_refused_by_name(queue: JobQueue) -> None:
    spec = make_spec()
    queue.submit(spec)
    queue.redis.hset(f"{queue.prefix}job:{spec.id}", "spec", b"{}")
    with pytest.raises(RecordInvalid):
        queue.get(spec.id)
