"""A worker and its task, from lease to end, with work that does what the test says."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread

import numpy as np
import pytest
import structlog
from typer.testing import CliRunner

from api.assembly import build_worker
from api.cli import build_app
from api.errors import Audience, TaskFailed, describe
from api.queue.admin import QueueAdmin
from api.queue.jobs import AccuracyWork, JobRecord, JobSpec, JobState
from api.queue.queue import MAX_RESULT_BYTES, JobQueue, Lease, Standing
from api.settings import Settings
from api.store.keycache import KeyCache
from api.store.keyfolder import KeyFolder
from api.store.opening import KEYS
from api.store.uploads import UploadKind, UploadStore
from api.valkey.embedded import connect
from api.worker.devices import Devices
from api.worker.loop import Worker
from api.worker.seats import Seat, Seats
from api.worker.work import Agree, TaskProver, TaskResult
from consensus.errors import SealBroken, StoreFailed, StoreKeyMissing, WrongStoreKey
from kernels.backend import Backend, get_backend
from prover.model.presets import parse_architecture
from prover.model.zkq import encode_model
from prover.progress import StageProgress
from prover.shards import Container
from tests.support.models import random_model
from tests.support.queue_server import make_spec, new_queue, running_server
from tests.support.tiny_circuits import seeded

PATIENCE_S = 60.0
"""Of waits that end with an event; only a test that fails waits so long."""
LEASE_MS = 300
Act = Callable[[StageProgress], TaskResult]
MADE = TaskResult(raw=b"proof", n_samples=16)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scripted(TaskProver):
    """Does what the test says."""

    act: Act

    def prove(
        self,
        spec: JobSpec,
        task: int,
        *,
        backend: Backend,
        report: StageProgress,
        agree: Agree,
        seat: Seat,
    ) -> TaskResult:
        return self.act(report)


class CountingQueue(JobQueue):
    """Says when a lease was renewed twice."""

    def __init__(self, queue: JobQueue) -> None:
        super().__init__(queue.redis, queue.settings, prefix=queue.prefix)
        self.n_renewals, self.renewed_twice = 0, Event()

    def renew(self, lease: Lease) -> Standing:
        standing = super().renew(lease)
        self.n_renewals += 1
        if self.n_renewals == 2:
            self.renewed_twice.set()
        return standing


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("w")
    with running_server(folder):
        yield folder


@pytest.fixture
def queue(data_dir: Path) -> Iterator[CountingQueue]:
    queue = new_queue(data_dir, lease_ms=LEASE_MS, drain_s=1, retry_first_ms=1, retry_last_ms=1)
    with queue.redis:
        yield CountingQueue(queue)


@pytest.fixture
def stop() -> Event:
    return Event()


def make_worker(
    queue: JobQueue, act: Act, stop: Event, load: Callable[[str], Backend] = get_backend
) -> Worker:
    folder = queue.settings.data_dir
    prover = Scripted(
        store=UploadStore.in_folder(folder, ttl_s=60, limit_bytes=1 << 20),
        keys=KeyCache(KeyFolder(folder / KEYS), budget_bytes=1, random_bytes=seeded(1)),
        random_bytes=seeded(2),
        act=act,
    )
    log = structlog.wrap_logger(structlog.testing.CapturingLogger())
    devices = Devices(["cpu"], on_fault=lambda *_: None, load=load)
    return Worker(queue, prover, devices, name="w", log=log, stop=stop)


def find(queue: JobQueue, job_id: str) -> JobRecord:
    record = queue.get(job_id)
    assert record is not None
    return record


def counters(queue: JobQueue) -> dict[str, float]:
    stored = queue.redis.hgetall(queue.prefix + "counters")
    return {name.decode(): float(value) for name, value in stored.items()}


def test_a_task_is_published_counted_and_timed(queue: CountingQueue, stop: Event) -> None:
    def act(report: StageProgress) -> TaskResult:
        for stage in ("witness 1", "commit", "witness 2", "verify"):
            report(stage, 0, 1)
            report(stage, 1, 1)
        return MADE

    job = queue.submit(make_spec())[0].id
    worker = make_worker(queue, act, stop)
    assert worker.run_one()
    assert not worker.run_one()
    assert find(queue, job).state is JobState.DONE
    assert queue.get_results(job) == [MADE.raw]
    assert counters(queue)["samples"] == MADE.n_samples
    stages = queue.redis.hgetall(queue.prefix + "stages")
    assert {name.decode().split("|")[0] for name in stages} == {"witness", "commit", "verify"}


def test_a_task_that_cannot_succeed_is_tried_once(queue: CountingQueue, stop: Event) -> None:
    def act(report: StageProgress) -> TaskResult:
        raise TaskFailed("dataset_changed", "the data set is another one")

    job = queue.submit(make_spec())[0].id
    assert make_worker(queue, act, stop).run_one()
    record = find(queue, job)
    assert record.state is JobState.FAILED
    assert record.error is not None
    assert (record.error.code, record.attempts) == ("dataset_changed", 1)


def test_a_task_that_may_succeed_is_tried_again(queue: CountingQueue, stop: Event) -> None:
    errors = [OSError(errno.ENOSPC, "no space")]

    def act(report: StageProgress) -> TaskResult:
        if errors:
            raise errors.pop()
        stop.set()
        return MADE

    job = queue.submit(make_spec())[0].id
    make_worker(queue, act, stop).run()
    record = find(queue, job)
    assert (record.state, record.attempts) == (JobState.DONE, 2)
    assert counters(queue)["retries"] == 1


def test_a_cancelled_task_is_left_at_its_next_report(queue: CountingQueue, stop: Event) -> None:
    job = queue.submit(make_spec())[0].id
    reached = []

    def act(report: StageProgress) -> TaskResult:
        queue.cancel(job)
        report("commit", 0, 1)
        reached.append("after the report")
        return MADE

    assert make_worker(queue, act, stop).run_one()
    assert reached == []
    assert find(queue, job).state is JobState.CANCELLED
    assert queue.get_results(job) is None


def test_a_result_of_a_task_that_another_has_is_fenced_off(
    queue: CountingQueue, stop: Event
) -> None:
    job = queue.submit(make_spec())[0].id

    def act(report: StageProgress) -> TaskResult:
        stream = f"{queue.prefix}queue:normal"
        (pending,) = queue.redis.xpending_range(stream, "workers", "-", "+", 1)
        queue.redis.xclaim(
            stream, "workers", "w", 0, [pending["message_id"]], idle=10**9, justid=True
        )
        other = queue.lease("other")
        assert other is not None
        assert queue.complete(other, b"of the other", seconds=1, n_samples=16)
        return MADE

    assert make_worker(queue, act, stop).run_one()
    assert queue.get_results(job) == [b"of the other"]
    assert (counters(queue)["fenced"], counters(queue)["proofs"]) == (1, 1)


def test_a_worker_that_stops_late_gives_its_task_back(queue: CountingQueue, stop: Event) -> None:
    job = queue.submit(make_spec())[0].id

    def act(report: StageProgress) -> TaskResult:
        stop.set()
        for _ in range(int(PATIENCE_S / 0.01)):
            report("prove", 0, 1)
            Event().wait(0.01)
        raise AssertionError("nobody asked for the task back")

    make_worker(queue, act, stop).run()
    assert find(queue, job).state is JobState.QUEUED
    assert QueueAdmin(queue).list_workers() == []
    again = queue.lease("other")
    assert again is not None
    assert again.attempt == 1


def test_an_idle_worker_hears_of_a_new_task(queue: CountingQueue, stop: Event) -> None:
    def act(report: StageProgress) -> TaskResult:
        stop.set()
        return MADE

    thread = Thread(target=make_worker(queue, act, stop).run)
    thread.start()
    job = queue.submit(make_spec())[0].id
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert find(queue, job).state is JobState.DONE


def test_the_heartbeat_tells_at_once_what_a_worker_does(
    data_dir: Path, stop: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two renewals of an hour's lease."""
    queue = new_queue(data_dir, lease_ms=3_600_000)
    beats: SimpleQueue[str | None] = SimpleQueue()
    monkeypatch.setattr(QueueAdmin, "beat", lambda self, beat: beats.put(beat.job_id))
    seen: list[str | None] = []
    heard = Event()

    def act(report: StageProgress) -> TaskResult:
        seen.append(beats.get(timeout=PATIENCE_S))
        heard.set()
        return MADE

    with queue.redis:
        thread = Thread(target=make_worker(queue, act, stop).run)
        thread.start()
        try:
            assert beats.get(timeout=PATIENCE_S) is None
            job = queue.submit(make_spec())[0].id
            assert heard.wait(PATIENCE_S)
            assert beats.get(timeout=PATIENCE_S) is None
        finally:
            stop.set()
            thread.join(PATIENCE_S)
    assert seen == [job]
    assert not thread.is_alive()


def test_the_lease_outlives_a_device_that_cannot_be_described(
    queue: CountingQueue, stop: Event
) -> None:
    class Broken:
        def info(self) -> None:
            raise RuntimeError("device lost")

    def act(report: StageProgress) -> TaskResult:
        renewed = queue.renewed_twice.wait(PATIENCE_S)
        stop.set()
        assert renewed
        return MADE

    def load(name: str) -> Backend:
        return Broken()  # type: ignore[return-value]

    job = queue.submit(make_spec())[0].id
    make_worker(queue, act, stop, load).run()
    assert find(queue, job).state is JobState.DONE


def test_a_worker_outlives_a_store_that_cannot_be_swept(
    queue: CountingQueue, stop: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = []

    def sweep(store: UploadStore) -> int:
        jobs.append(queue.submit(make_spec())[0].id)
        raise PermissionError(errno.EACCES, "not yours")

    def act(report: StageProgress) -> TaskResult:
        stop.set()
        return MADE

    monkeypatch.setattr(UploadStore, "sweep", sweep)
    make_worker(queue, act, stop).run()
    assert find(queue, jobs[0]).state is JobState.DONE


def test_a_worker_that_is_never_idle_sweeps_too(
    queue: CountingQueue, stop: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def act(report: StageProgress) -> TaskResult:
        done.append("task")
        if done.count("task") == 2:
            stop.set()
        return MADE

    def sweep(store: UploadStore) -> int:
        done.append("sweep")
        return 0

    monkeypatch.setattr(UploadStore, "sweep", sweep)
    for number in range(2):
        queue.submit(make_spec(number))
    make_worker(queue, act, stop).run()
    assert done == ["task", "sweep", "task"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Wordy(TaskProver):
    """Makes a result of some size."""

    n_bytes: int

    def _prove_shard(self, *_: object) -> TaskResult:
        return TaskResult(raw=bytes(self.n_bytes), n_samples=1)


@pytest.mark.parametrize("excess", [0, 1])
def test_a_result_that_the_queue_would_not_take_fails_by_name(tmp_path: Path, excess: int) -> None:
    prover = Wordy(
        store=UploadStore.in_folder(tmp_path, ttl_s=60, limit_bytes=1),
        keys=KeyCache(KeyFolder(tmp_path), budget_bytes=1, random_bytes=seeded(1)),
        random_bytes=seeded(2),
        n_bytes=MAX_RESULT_BYTES + excess,
    )

    def prove() -> TaskResult:
        return prover.prove(
            make_spec(),
            0,
            backend=get_backend("cpu"),
            report=lambda *_: None,
            agree=lambda name: name,
            seat=Seats().take(lambda: None),
        )

    if not excess:
        assert len(prove().raw) == MAX_RESULT_BYTES
        return
    with pytest.raises(TaskFailed, match=str(MAX_RESULT_BYTES)) as caught:
        prove()
    assert describe(caught.value).code == "result_too_large"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StoreFailed("s3://secret/place", "does not answer", "wait"), "store_failed"),
        (WrongStoreKey("uploads/secret"), "wrong_store_key"),
        (SealBroken("uploads/secret"), "seal_broken"),
        (StoreKeyMissing(), "store_key_missing"),
    ],
)
def test_failures_of_the_store_have_names_and_tell_no_place(error: Exception, code: str) -> None:
    told = describe(error, Audience.CALLER)
    assert told.code == code
    assert told.retry_s is not None  # another worker may be set up rightly
    assert "secret" not in told.text


def test_shards_over_two_workers_end_as_one_proof_that_verifies(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=data_dir)
    model = random_model(parse_architecture("mlp-784-4-10"), np.random.default_rng(3))
    store = UploadStore.in_folder(data_dir, ttl_s=3600, limit_bytes=1 << 20)
    work = AccuracyWork(
        model_id=store.put("alice", UploadKind.MODEL, encode_model(model)).id,
        dataset="mnist:test[0:40]",
        n_total=40,
        n_samples=16,
        chain_id="chain",
        task_id="task",
        round_index=0,
        commit_height=0,
        client_key="00",
    )
    log = structlog.wrap_logger(structlog.testing.CapturingLogger())
    with connect(settings) as redis:
        workers = [
            build_worker(redis, settings, name=name, stop=Event(), log=log) for name in ("a", "b")
        ]
        plain = workers[0].queue
        job = plain.submit(JobSpec(owner="alice", work=work))[0].id
        assert [worker.run_one() for worker in (*workers, *workers)] == [True, True, True, False]
        results = plain.get_results(job)
    assert results is not None
    loaded = [worker.prover.keys.memory.misses for worker in workers]
    assert loaded == [2, 1]  # a key each; the bases of commitments by who came first alone
    (key,) = (data_dir / KEYS).iterdir()
    proof = tmp_path / "proof.zkp"
    proof.write_bytes(Container(tuple(results)).encode())
    monkeypatch.setenv("ZKPOT_DATA_DIR", str(data_dir))
    asked = ["verify", str(proof), "--key", str(key), "--json", "--dataset"]
    accepted = CliRunner().invoke(build_app(), [*asked, "mnist:test[0:40]"])
    assert accepted.exit_code == 0, accepted.output
    facts = json.loads(accepted.output)
    assert (facts["samples"], facts["shards"]) == (40, 3)
    assert CliRunner().invoke(build_app(), [*asked, "mnist:test[1:41]"]).exit_code == 1
