"""How jobs, events and the load of the queue are looked at."""

from __future__ import annotations

from threading import Event, Thread

from api.queue.admin import QueueAdmin
from api.queue.jobs import JobState, Priority, Progress
from api.queue.queue import (
    JobQueue,
)
from tests.support.queue_server import (
    finish,
    make_spec,
    take,
)


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
