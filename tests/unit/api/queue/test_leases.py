"""Tasks in the hands of workers: lost, renewed, given back, failed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from api.queue.admin import QueueAdmin
from api.queue.jobs import JobState, Progress
from api.queue.queue import (
    JobQueue,
    Standing,
)
from tests.support.queue_server import (
    NewQueue,
    age,
    ends_of,
    finish,
    idle_of,
    make_spec,
    n_entries,
    state_of,
    take,
)


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


def test_who_has_a_task_in_hand_takes_no_lost_one_beside_it(queue: JobQueue) -> None:
    queue.submit(make_spec(0))
    lost = take(queue, "dead")
    age(queue, lost)
    queue.submit(make_spec(1))
    fresh = queue.lease("busy", beside=True)
    assert fresh is not None
    assert (fresh.spec, fresh.attempt) == (make_spec(1), 1)
    assert queue.lease("busy lane 1", beside=True) is None
    assert take(queue, "idle").entry == lost.entry


def test_two_names_of_one_worker_hold_a_task_each(queue: JobQueue) -> None:
    for number in range(2):
        queue.submit(make_spec(number))
    first, second = take(queue, "w"), queue.lease("w lane 1", beside=True)
    assert second is not None
    assert {first.spec, second.spec} == {make_spec(0), make_spec(1)}
    for lease in (first, second):
        assert queue.renew(lease) is Standing.HELD
        assert finish(queue, lease)


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
