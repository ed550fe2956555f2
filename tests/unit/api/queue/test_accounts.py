"""What one owner may have in the queue."""

from __future__ import annotations

import pytest

from api.errors import OwnerFull
from api.queue.admin import QueueAdmin
from api.queue.jobs import Progress
from api.queue.queue import JobQueue, Standing, hash_name
from api.settings import MAX_TASKS_PER_JOB
from tests.support.queue_server import (
    NewQueue,
    finish,
    make_spec,
    take,
)


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
    monkeypatch.setattr("api.queue.queue.IDEMPOTENCY_KEYS", 2)
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
