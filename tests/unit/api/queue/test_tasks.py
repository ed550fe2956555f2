"""The queue on a real server: who gets which task, what counts, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from api.queue.admin import QueueAdmin
from api.queue.jobs import JobState, Priority, Progress
from api.queue.tasks import (
    IdempotencyConflict,
    JobQueue,
    Lease,
    OwnerFull,
    QueueFull,
    Standing,
    hash_name,
)
from api.settings import MAX_TASKS_PER_JOB
from tests.support.queue_server import make_spec, new_queue, running_server

NewQueue = Callable[..., JobQueue]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("q")
    with running_server(folder):
        yield folder


@pytest.fixture
def make_queue(data_dir: Path) -> Iterator[NewQueue]:
    made: list[JobQueue] = []

    def make(**settings: int) -> JobQueue:
        made.append(new_queue(data_dir, **settings))
        return made[-1]

    yield make
    for queue in made:
        queue.redis.close()


@pytest.fixture
def queue(make_queue: NewQueue) -> JobQueue:
    return make_queue()


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


# -- a job's way


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


# -- leases


def test_a_lost_task_goes_to_another_worker_and_its_first_one_is_fenced_off(
    queue: JobQueue,
) -> None:
    spec = make_spec()
    queue.submit(spec)
    frozen = take(queue, "frozen")
    assert queue.lease("other") is None
    age(queue, frozen)
    lease = take(queue, "other")
    assert (lease.entry, lease.attempt) == (frozen.entry, 2)
    assert queue.renew(frozen) is Standing.LOST
    assert queue.report(frozen, Progress(stage="x", done=0, total=1, fraction=0)) is (Standing.LOST)
    assert not finish(queue, frozen, b"stale")
    assert queue.fail(frozen, "x", "x", retry=False) is Standing.LOST
    assert queue.release(frozen) is Standing.LOST
    assert finish(queue, lease, b"fresh")
    assert not finish(queue, frozen, b"stale")
    assert queue.get_results(spec.id) == [b"fresh"]
    assert ends_of(queue, spec.id) == ["done"]


def test_a_renewal_begins_a_new_lease_and_counts_no_delivery(queue: JobQueue) -> None:
    queue.submit(make_spec())
    lease = take(queue)
    age(queue, lease)
    assert queue.renew(lease) is Standing.HELD
    assert idle_of(queue, lease) < 10**6
    assert queue.lease("other") is None
    assert finish(queue, lease)


def test_only_the_owner_renews(queue: JobQueue) -> None:
    queue.submit(make_spec())
    lease = take(queue, "owner")
    assert queue.renew(replace(lease, worker="other")) is Standing.LOST
    assert queue.renew(lease) is Standing.HELD


def test_many_live_leases_do_not_hide_a_lost_one(queue: JobQueue) -> None:
    for number in range(25):
        queue.submit(make_spec(number))
    leases = [take(queue, f"w{i}") for i in range(25)]
    age(queue, leases[-1])
    assert take(queue, "other").entry == leases[-1].entry


def test_an_answer_that_was_lost_on_the_way_is_asked_for_again(queue: JobQueue) -> None:
    """The worker took a task and never heard of it: it gets it at once, not after the lease."""
    queue.submit(make_spec())
    unheard = take(queue, "w")
    lease = take(queue, "w")
    assert (lease.entry, lease.attempt) == (unheard.entry, 2)


def test_a_result_that_is_sent_twice_counts_once(queue: JobQueue) -> None:
    spec = make_spec(n_tasks=2)
    queue.submit(spec)
    lease = take(queue)
    assert finish(queue, lease)
    assert finish(queue, lease)
    record = queue.get(spec.id)
    assert record is not None
    assert record.n_done == 1


def test_a_task_that_kills_its_workers_becomes_a_dead_letter(make_queue: NewQueue) -> None:
    queue = make_queue(max_deliveries=2)
    spec = make_spec()
    queue.submit(spec)
    for worker in ("a", "b"):
        age(queue, take(queue, worker))
    assert queue.lease("c") is None
    record = queue.get(spec.id)
    assert record is not None
    assert record.error is not None
    assert (record.state, record.error.code) == (JobState.FAILED, "worker_lost")
    assert n_entries(queue) == 0
    (letter,) = QueueAdmin(queue).list_dead()
    assert (letter.job_id, letter.attempts, letter.code) == (spec.id, 2, "worker_lost")


def test_a_released_task_is_as_it_was(queue: JobQueue) -> None:
    spec = make_spec()
    queue.submit(spec)
    lease = take(queue)
    assert queue.release(lease) is Standing.HELD
    assert state_of(queue, spec.id) is JobState.QUEUED
    again = take(queue)
    assert again.attempt == 1
    assert not finish(queue, lease)
    assert finish(queue, again)


# -- failures


def test_a_retry_waits_and_doubles_its_pause(make_queue: NewQueue) -> None:
    queue = make_queue(retry_first_ms=50_000, retry_last_ms=80_000)
    spec = make_spec()
    queue.submit(spec)
    for pause_ms in (50_000, 80_000):
        lease = take(queue)
        assert queue.fail(lease, "device", "it broke", retry=True) is Standing.HELD
        assert state_of(queue, spec.id) is JobState.RETRYING
        assert queue.lease("w") is None
        ((_, due_ms),) = queue.redis.zrange(queue.prefix + "retry", 0, -1, withscores=True)
        assert due_ms / 1000 - QueueAdmin(queue).read_clock() == pytest.approx(
            pause_ms / 1000, abs=5
        )
        queue.redis.zadd(queue.prefix + "retry", {f"{spec.id}:0": 0})  # the pause is over
    last = take(queue)
    assert last.attempt == 3
    queue.fail(last, "device", "it broke", retry=True)
    record = queue.get(spec.id)
    assert record is not None
    assert record.error is not None
    assert (record.state, record.error.code) == (JobState.FAILED, "device")
    assert len(QueueAdmin(queue).list_dead()) == 1


def test_one_failed_shard_ends_the_job(queue: JobQueue) -> None:
    spec = make_spec(n_tasks=3)
    queue.submit(spec)
    first, second = take(queue, "a"), take(queue, "b")
    finish(queue, first)
    queue.fail(second, "unsatisfied_constraint", "row", retry=False)
    assert state_of(queue, spec.id) is JobState.FAILED
    assert n_entries(queue) == 0
    assert queue.lease("c") is None
    assert queue.get_results(spec.id) is None
    assert ends_of(queue, spec.id) == ["failed"]


def test_a_dead_letter_is_replayed_whole(make_queue: NewQueue) -> None:
    queue = make_queue(max_deliveries=1)
    admin = QueueAdmin(queue)
    spec = make_spec(n_tasks=2)
    queue.submit(spec)
    first, second = take(queue, "a"), take(queue, "b")
    finish(queue, first, b"old")
    queue.fail(second, "device", "it broke", retry=True)
    (letter,) = admin.list_dead()
    assert admin.replay(letter.id) == "replayed"
    assert admin.replay(letter.id) == "not_found"
    assert admin.list_dead() == []
    for worker in ("a", "b"):
        assert finish(queue, take(queue, worker), b"new")
    assert queue.get_results(spec.id) == [b"new", b"new"]
    assert queue.redis.ttl(f"{queue.prefix}job:{spec.id}") > 0


def test_dead_letters_are_replayed_only_where_it_makes_sense(make_queue: NewQueue) -> None:
    queue = make_queue(max_deliveries=1)
    admin = QueueAdmin(queue)
    for number in range(3):
        queue.submit(make_spec(number))
        queue.fail(take(queue), "device", "it broke", retry=True)
    submitted_again, gone, _ = (letter.id for letter in reversed(admin.list_dead()))
    queue.submit(make_spec(0))
    assert admin.replay(submitted_again) == "not_failed"
    queue.redis.delete(f"{queue.prefix}job:{make_spec(1).id}")
    assert admin.replay(gone) == "gone"
    assert admin.replay("no letter") == "not_found"
    assert admin.purge() == 1
    assert admin.purge() == 0


# -- cancelling, deadlines, limits


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


# -- looking


def test_jobs_are_listed_newest_first_in_pages(queue: JobQueue) -> None:
    specs = [make_spec(i) for i in range(5)]
    for spec in specs:
        queue.submit(spec)
    bobs, _ = queue.submit(make_spec(9, owner="bob"))
    queue.redis.delete(f"{queue.prefix}job:{specs[2].id}")  # its time to live is over
    alive = {spec.id for i, spec in enumerate(specs) if i != 2}
    first = queue.list_jobs(owner="alice", limit=3)
    assert len(first.jobs) == 3
    rest = queue.list_jobs(owner="alice", limit=3, before=first.next)
    assert rest.next is None
    listed = [job.id for job in first.jobs + rest.jobs]
    assert len(listed) == 4
    assert set(listed) == alive
    created = [job.created_at for job in first.jobs + rest.jobs]
    assert created == sorted(created, reverse=True)
    assert bobs.id in {job.id for job in queue.list_jobs(owner=None, limit=50).jobs}
    assert queue.list_jobs(owner="alice", limit=3, before="0" * 32).jobs == ()


def test_events_resume_behind_the_last_one(queue: JobQueue) -> None:
    spec = make_spec()
    queue.submit(spec)
    lease = take(queue)
    events = queue.read_events(spec.id)
    assert [e.data for e in events] == [{"state": "queued"}, {"state": "running"}]
    assert queue.read_events(spec.id, after=events[0].id) == events[1:]
    assert queue.read_events(spec.id, after=events[1].id, block_ms=1) == []
    finish(queue, lease)
    (end,) = queue.read_events(spec.id, after=events[1].id, block_ms=1000)
    assert (end.type, end.data) == ("end", {"state": "done"})


def test_events_are_capped(queue: JobQueue) -> None:
    spec = make_spec()
    queue.submit(spec)
    lease = take(queue)
    for i in range(1100):
        queue.report(lease, Progress(stage="prove", done=i, total=1100, fraction=i / 1100))
    assert queue.redis.xlen(f"{queue.prefix}events:{spec.id}") == 1000


def test_lists_forget_jobs_that_are_over_though_nobody_reads_them(queue: JobQueue) -> None:
    specs = [make_spec(number) for number in range(6)]
    for spec in specs[:5]:
        queue.submit(spec)
        queue.cancel(spec.id)
        queue.redis.delete(f"{queue.prefix}job:{spec.id}")  # as its time to live does
    queue.submit(specs[5])
    names = queue.redis.keys(f"{queue.prefix}jobs*")
    assert [queue.redis.zcard(name) for name in names] == [1, 1]  # of all, and of the owner


def test_the_bell_wakes_a_waiting_worker(queue: JobQueue) -> None:
    bell, woken = queue.hear_bell(), Event()

    def listen() -> None:
        queue.wait(bell, 10_000)
        woken.set()

    thread = Thread(target=listen)
    thread.start()
    queue.submit(make_spec())
    assert woken.wait(9)
    thread.join()
    queue.wait(bell, 10_000)  # a ring before the wait is not missed


def test_the_load_is_seen(queue: JobQueue) -> None:
    admin = QueueAdmin(queue)
    empty = admin.view_load()
    assert all(p.waiting == p.leased == 0 for p in empty.priorities.values())
    for i in range(3):
        queue.submit(make_spec(i))
    take(queue)
    load = admin.view_load()
    normal = load.priorities[Priority.NORMAL]
    assert (normal.waiting, normal.leased) == (2, 1)
    assert normal.oldest_age_s is not None
    assert load.jobs == {JobState.QUEUED: 2, JobState.RUNNING: 1, JobState.RETRYING: 0}
    assert load.priorities[Priority.HIGH].oldest_age_s is None


# -- the server's clock


def test_a_clock_that_falls_back_starts_waits_anew(make_queue: NewQueue) -> None:
    """Without this a task of a lost worker would wait until the clock is back where it was."""
    queue = make_queue(lease_ms=50_000, retry_first_ms=60_000)
    queue.submit(make_spec(0))
    queue.submit(make_spec(1))
    retried, held = take(queue, "a"), take(queue, "b")
    queue.fail(retried, "device", "it broke", retry=True)
    age(queue, held, 40_000)
    queue.redis.set(queue.prefix + "clock", 1 << 50)  # what a scripts saw before the fall
    queue.tick()
    assert idle_of(queue, held) < 30_000
    assert take(queue, "c").job_id == retried.job_id
    assert queue.renew(held) is Standing.HELD


def test_bytes_that_are_no_job_are_refused_by_name(queue: JobQueue) -> None:
    from api.queue.jobs import RecordInvalid

    spec = make_spec()
    queue.submit(spec)
    queue.redis.hset(f"{queue.prefix}job:{spec.id}", "spec", b"{}")
    with pytest.raises(RecordInvalid):
        queue.get(spec.id)


# -- what one owner may have


def tallies(queue: JobQueue, owner: str = "alice") -> dict[str, int]:
    """Of an owner, what is not zero."""
    stored = queue.redis.hgetall(f"{queue.prefix}owner:{hash_name(owner)}")
    return {name.decode(): int(value) for name, value in stored.items() if int(value)}


def test_one_owner_cannot_fill_the_queue(make_queue: NewQueue) -> None:
    queue = make_queue(owner_tasks_limit=MAX_TASKS_PER_JOB)
    large = queue.submit(make_spec(n_tasks=MAX_TASKS_PER_JOB - 1))[0].id
    queue.submit(make_spec(1))
    with pytest.raises(OwnerFull, match="as many tasks"):
        queue.submit(make_spec(2))
    queue.submit(make_spec(2, owner="bob"))
    assert not queue.submit(make_spec(1))[1]  # is there already
    queue.cancel(large)
    queue.submit(make_spec(2))
    assert tallies(queue)["tasks"] == 2


@pytest.mark.parametrize("end", ["done", "failed", "cancelled"])
def test_what_an_owner_has_is_counted_until_it_expires(make_queue: NewQueue, end: str) -> None:
    queue = make_queue(result_ttl_s=100)
    job = queue.submit(make_spec(n_tasks=2))[0].id
    assert tallies(queue) == {"tasks": 2}
    finish(queue, take(queue, "a"), bytes(5000))
    assert tallies(queue) == {"tasks": 2, "bytes": 5000}
    last = take(queue, "b")
    if end == "done":
        finish(queue, last, bytes(6000))
    elif end == "failed":
        queue.fail(last, "wrong", "it is wrong", retry=False)
    else:
        queue.cancel(job)
    (total,) = tallies(queue).items()
    assert total[0] == "kept"
    assert (total[1] > 11_000) == (end == "done")
    kept = f"{queue.prefix}kept:{hash_name('alice')}"
    assert 0 < queue.redis.ttl(kept) <= 100
    ((member, _),) = queue.redis.zrange(kept, 0, -1, withscores=True)
    queue.redis.zadd(kept, {member: 1})  # its time to live is over
    queue.submit(make_spec(1))
    assert tallies(queue) == {"tasks": 1}


def test_a_job_that_starts_anew_is_counted_once(make_queue: NewQueue) -> None:
    queue = make_queue(max_deliveries=1)
    admin = QueueAdmin(queue)
    spec = make_spec()
    for start in (lambda: queue.submit(spec), lambda: admin.replay(admin.list_dead()[0].id)):
        start()
        assert tallies(queue) == {"tasks": 1}
        queue.fail(take(queue), "device", "it broke", retry=True)
    assert list(tallies(queue)) == ["kept"]
    assert queue.redis.zcard(f"{queue.prefix}kept:{hash_name('alice')}") == 1


def test_one_owner_cannot_fill_the_memory(make_queue: NewQueue) -> None:
    queue = make_queue(owner_bytes_limit=20_000, result_ttl_s=500)
    for number in range(3):
        queue.submit(make_spec(number))
    finish(queue, take(queue), bytes(8_000))
    lease = take(queue)
    with pytest.raises(OwnerFull, match="as many results"):
        finish(queue, lease, bytes(12_000))
    assert queue.renew(lease) is Standing.HELD
    queue.fail(lease, "quota_full", "too much", retry=False)
    assert finish(queue, take(queue), bytes(3_000))
    with pytest.raises(OwnerFull, match="as many results") as refused:
        queue.submit(make_spec(3))
    assert 400 < refused.value.wait_s <= 500
    queue.submit(make_spec(3, owner="bob"))
    queue.redis.delete(f"{queue.prefix}kept:{hash_name('alice')}")  # as all of it expires
    queue.submit(make_spec(3))


def test_idempotency_keys_of_one_owner_are_limited(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.queue.tasks.IDEMPOTENCY_KEYS", 2)
    spec = make_spec()
    for key in ("a", "b"):
        queue.submit(spec, idempotency_key=key)
    with pytest.raises(OwnerFull, match="idempotency keys") as refused:
        queue.submit(spec, idempotency_key="c")
    assert refused.value.wait_s > 3600
    queue.submit(spec, idempotency_key="a")
    queue.submit(spec)
    queue.submit(make_spec(1, owner="bob"), idempotency_key="c")


def test_the_weight_of_a_job_is_near_what_it_takes(queue: JobQueue) -> None:
    """So that the limit in bytes is one of the server's memory."""
    queue.submit(make_spec())
    lease = take(queue)
    for i in range(200):
        progress = Progress(stage="quotient query", done=i, total=200, fraction=i / 200)
        queue.report(lease, progress)
    finish(queue, lease, bytes(5000))
    kinds = ("job", "results", "events")
    taken = sum(queue.redis.memory_usage(f"{queue.prefix}{k}:{lease.job_id}") for k in kinds)
    assert 0.5 * taken < tallies(queue)["kept"] < 4 * taken
