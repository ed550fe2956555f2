"""A worker with two tasks in hand: one has the device, the other one its inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from threading import enumerate as enumerate_threads

import numpy as np
import pytest
import structlog

from api.errors import SettingsInvalid
from api.queue.jobs import AccuracyWork, Groth16Work, JobSpec, JobState
from api.queue.queue import JobQueue, Lease, Standing
from api.settings import Settings
from api.store.keycache import KeyCache
from api.store.keyfolder import KeyFolder
from api.store.opening import KEYS
from api.store.private import PrivatePart
from api.store.uploads import UploadKind, UploadStore
from api.worker import loop, seats
from api.worker.devices import Devices
from api.worker.loop import Worker
from api.worker.seats import Seat, Seats
from api.worker.work import Agree, TaskProver, TaskResult
from kernels.array import FrArray
from kernels.backend import Backend, get_backend
from prover.formats.wtns import write_wtns
from prover.model.presets import parse_architecture
from prover.model.zkq import encode_model
from prover.progress import StageProgress
from prover.randomness import RandomBytes
from tests.support.foreign import vector
from tests.support.models import random_model
from tests.support.queue_server import age, make_spec, new_queue, running_server, state_of
from tests.support.tiny_circuits import seeded

PATIENCE_S = 60.0
"""Of waits that end with an event; only a test that fails waits so long."""
LEASE_MS = 300
Act = Callable[[JobSpec, StageProgress, Seat], TaskResult]


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
        return self.act(spec, report, seat)


class Watched(JobQueue):
    """Says of which leases it has renewed; none runs out, however busy the machine is."""

    def __init__(self, queue: JobQueue) -> None:
        super().__init__(queue.redis, queue.settings, prefix=queue.prefix)
        self.renewed: SimpleQueue[str] = SimpleQueue()
        settings = replace(queue.settings, lease_ms=3_600_000)
        self._patient = JobQueue(queue.redis, settings, prefix=queue.prefix)

    def lease(self, worker: str, *, beside: bool = False) -> Lease | None:
        return self._patient.lease(worker, beside=beside)

    def renew(self, lease: Lease) -> Standing:
        standing = super().renew(lease)
        self.renewed.put(lease.job_id)
        return standing


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("w")
    with running_server(folder):
        yield folder


@pytest.fixture
def queue(data_dir: Path) -> Iterator[Watched]:
    queue = new_queue(data_dir, lease_ms=LEASE_MS, drain_s=1, retry_first_ms=1, retry_last_ms=1)
    with queue.redis:
        yield Watched(queue)


@pytest.fixture(autouse=True)
def ask_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seats, "ASK_S", 0.01)
    monkeypatch.setattr(loop, "LOOK_S", 0.01)


def make_worker(
    queue: JobQueue,
    make: Callable[..., TaskProver],
    stop: Event,
    *,
    n: int = 2,
    random_bytes: RandomBytes | None = None,
    memory_bytes: int | None = None,
    name: str = "w",
) -> Worker:
    folder, source = queue.settings.data_dir, random_bytes or seeded(2)
    prover = make(
        store=UploadStore.in_folder(folder, ttl_s=3600, limit_bytes=1 << 30),
        keys=KeyCache(
            KeyFolder(folder / KEYS),
            budget_bytes=1 << 30,
            random_bytes=source,
            memory_bytes=memory_bytes,
        ),
        random_bytes=source,
    )
    log = structlog.wrap_logger(structlog.testing.CapturingLogger())
    devices = Devices(["cpu"], on_fault=lambda *_: None)
    held = Seats(n, memory_bytes=memory_bytes)
    return Worker(queue, prover, devices, name=name, log=log, stop=stop, seats=held)


def list_threads() -> list[str]:
    """Of workers, by name."""
    names = [other.name for other in enumerate_threads()]
    return sorted(name for name in names if name in ("lane 1", "lease keeper"))


@contextmanager
def working(queue: JobQueue, act: Act, name: str = "w") -> Iterator[Event]:
    """A worker with two seats, until the event is set or the block ends; it leaves no thread."""
    before = list_threads()
    stop = Event()
    worker = make_worker(queue, lambda **parts: Scripted(**parts, act=act), stop, name=name)
    thread = Thread(target=worker.run)
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
        assert list_threads() == before


def result_of(spec: JobSpec) -> TaskResult:
    return TaskResult(raw=spec.id.encode(), n_samples=16)


def test_the_next_tasks_inputs_are_read_beside_the_device(queue: Watched) -> None:
    specs = [make_spec(number) for number in range(3)]
    at_inputs = {spec.id: Event() for spec in specs}
    order: list[str] = []

    def act(spec: JobSpec, report: StageProgress, seat: Seat) -> TaskResult:
        at_inputs[spec.id].set()
        with seat.device():
            order.append(spec.id)
            if len(order) < len(specs):
                assert at_inputs[specs[len(order)].id].wait(PATIENCE_S)
        return result_of(spec)

    for spec in specs:
        queue.submit(spec)
    with working(queue, act) as stop:
        while len(order) < len(specs):
            stop.wait(0.01)
    assert order == [spec.id for spec in specs]
    assert [queue.get_results(spec.id) for spec in specs] == [[s.id.encode()] for s in specs]


def test_both_leases_are_renewed(queue: Watched) -> None:
    """One task proves and the other waits for the device, for as long as several leases."""
    first, second = make_spec(0), make_spec(1)

    def act(spec: JobSpec, report: StageProgress, seat: Seat) -> TaskResult:
        with seat.device():
            seen: list[str] = []
            while spec.id == first.id and min(map(seen.count, (first.id, second.id))) < 5:
                seen.append(queue.renewed.get(timeout=PATIENCE_S))
        return result_of(spec)

    for spec in (first, second):
        queue.submit(spec)
    with working(queue, act) as stop:
        while state_of(queue, second.id) is not JobState.DONE:
            stop.wait(0.01)
    for spec in (first, second):
        record = queue.get(spec.id)
        assert record is not None
        assert (record.state, record.attempts) == (JobState.DONE, 1)


@pytest.mark.parametrize("cancelled", [0, 1])
def test_either_task_may_be_cancelled(queue: Watched, cancelled: int) -> None:
    """The one that has the device, or the one that waits for it; the other ends as ever."""
    specs = [make_spec(0), make_spec(1)]
    ended = [Event(), Event()]
    both, after = Event(), list[int]()

    def act(spec: JobSpec, report: StageProgress, seat: Seat) -> TaskResult:
        number = specs.index(spec)
        try:
            if number == 1:
                both.set()
            with seat.device():
                if number == 0:
                    assert both.wait(PATIENCE_S)
                    queue.cancel(specs[cancelled].id)
                    if cancelled == 1:
                        assert ended[1].wait(PATIENCE_S)
                report("commit", 0, 1)
                after.append(number)
            return result_of(spec)
        finally:
            ended[number].set()

    for spec in specs:
        queue.submit(spec)
    with working(queue, act):
        for event in ended:
            assert event.wait(PATIENCE_S)
    assert after == [1 - cancelled]
    assert state_of(queue, specs[cancelled].id) is JobState.CANCELLED
    assert queue.get_results(specs[1 - cancelled].id) == [specs[1 - cancelled].id.encode()]


def test_a_worker_that_stops_late_gives_both_tasks_back(queue: Watched) -> None:
    specs = [make_spec(0), make_spec(1)]
    both, begun = Event(), list[int]()

    def act(spec: JobSpec, report: StageProgress, seat: Seat) -> TaskResult:
        begun.append(specs.index(spec))
        if len(begun) == 2:
            both.set()
        with seat.device():
            assert both.wait(PATIENCE_S)
            stop.set()
            for _ in range(int(PATIENCE_S / 0.01)):
                report("prove", 0, 1)
                Event().wait(0.01)
        raise AssertionError("nobody asked for the task back")

    for spec in specs:
        queue.submit(spec)
    with working(queue, act) as stop:
        assert stop.wait(PATIENCE_S)
    assert [state_of(queue, spec.id) for spec in specs] == [JobState.QUEUED] * 2
    leases = [queue.lease(name) for name in ("one", "other")]
    assert [lease.attempt for lease in leases if lease is not None] == [1, 1]


def test_what_another_worker_died_over_is_worked_alone(queue: Watched) -> None:
    """It may take this worker with it: no other task is in hand, and the first look is for it."""
    lost, fresh = make_spec(0), make_spec(1)
    queue.submit(lost)
    lease = queue.lease("dead")
    assert lease is not None
    age(queue, lease)
    queue.submit(fresh)
    order: list[str] = []
    looked = Event()

    def act(spec: JobSpec, report: StageProgress, seat: Seat) -> TaskResult:
        order.append(spec.id)
        with seat.device():
            if spec.id == lost.id:
                before = queue.renewed.qsize()
                while queue.renewed.qsize() < before + 3:  # many looks' time
                    looked.wait(0.01)
                order.append("alone")
        return result_of(spec)

    with working(queue, act) as stop:
        while state_of(queue, fresh.id) is not JobState.DONE:
            stop.wait(0.01)
    assert order == [lost.id, "alone", fresh.id]


def test_an_idle_worker_takes_a_new_task_before_one_that_is_at_work(queue: Watched) -> None:
    """Who has one in hand hears no bell."""
    first, second = make_spec(0), make_spec(1)
    queue.submit(first)
    takers: list[str] = []
    waiting, release = Event(), Event()

    def act(spec: JobSpec, report: StageProgress, seat: Seat) -> TaskResult:
        if spec.id == second.id:
            takers.append("busy")
            return result_of(spec)
        waiting.set()  # before the device is at work, hence before another task is looked for
        assert release.wait(PATIENCE_S)
        return result_of(spec)

    def idle(spec: JobSpec, report: StageProgress, seat: Seat) -> TaskResult:
        takers.append("idle")
        return result_of(spec)

    with working(queue, act):
        assert waiting.wait(PATIENCE_S)
        with working(queue, idle, "idle") as stop:
            queue.submit(second)
            while state_of(queue, second.id) is not JobState.DONE:
                stop.wait(0.01)
        release.set()
    assert takers == ["idle"]


# -- real proofs


def submit_all(queue: JobQueue) -> list[str]:
    """Three shards of one job under our own key, and two jobs under a foreign one."""
    folder = queue.settings.data_dir
    store = UploadStore.in_folder(folder, ttl_s=3600, limit_bytes=1 << 30)
    model = random_model(parse_architecture("mlp-784-4-10"), np.random.default_rng(3))
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
    jobs = [queue.submit(JobSpec(owner="alice", work=work))[0].id]
    for a, b in ((3, 5), (2, 7)):
        path = folder / "product.wtns"
        write_wtns(path, FrArray.from_ints([1, a * b, a, b]))
        with vector("multiplier", ".zkey").open("rb") as zkey, path.open("rb") as wires:
            foreign = Groth16Work(
                zkey_id=store.put_file("alice", UploadKind.ZKEY, zkey).id,
                witness_id=store.private.identify(wires),
            )
            with store.private.new() as private:
                private.write(PrivatePart.WITNESS, wires)
                spec = JobSpec(owner="alice", work=foreign)
                jobs.append(queue.submit(spec, private=private.name)[0].id)
                private.keep()
    return jobs


@pytest.fixture(scope="module")
def in_flight(data_dir: Path) -> Callable[[int, int | None], list[list[bytes]]]:
    """Results of those jobs by a worker with so many seats, of one seed; memory_bytes: of all."""
    numbers = count()

    def run(n: int, memory_bytes: int | None) -> list[list[bytes]]:
        queue = new_queue(data_dir)
        stop, source = Event(), seeded(9)
        if next(numbers) == 0:  # a key is made once, under randomness of its own
            make_worker(queue, TaskProver, stop).prover.keys.get(
                parse_architecture("mlp-784-4-10"), 16, get_backend("cpu"), lambda *_: None
            )
        with queue.redis:
            worker = make_worker(
                queue, TaskProver, stop, n=n, random_bytes=source, memory_bytes=memory_bytes
            )
            jobs = submit_all(queue)
            thread = Thread(target=worker.run)
            thread.start()
            while any(not state_of(queue, job).is_end for job in jobs):
                stop.wait(0.01)
            stop.set()
            thread.join(PATIENCE_S)
            found = [queue.get_results(job) for job in jobs]
        assert all(found)
        return [results for results in found if results is not None]

    return run


def test_results_do_not_depend_on_how_many_tasks_are_in_flight(
    in_flight: Callable[[int, int | None], list[list[bytes]]],
) -> None:
    one = in_flight(1, None)
    assert [len(results) for results in one] == [3, 1, 1]
    assert in_flight(2, None) == one
    assert in_flight(2, 1 << 28) == one  # less than two proofs take


@pytest.mark.parametrize(
    ("settings", "n"),
    [
        (Settings(), 1),
        (Settings(backend="cuda"), 2),
        (Settings(in_flight=2), 2),
        (Settings(backend="cuda", in_flight=1), 1),
    ],
)
def test_two_tasks_are_in_flight_where_a_device_proves(settings: Settings, n: int) -> None:
    assert settings.tasks_in_flight == n


def test_no_more_than_two_tasks_are_in_flight() -> None:
    with pytest.raises(SettingsInvalid, match="ZKPOT_IN_FLIGHT=3 must be 1 or 2"):
        replace(Settings(), in_flight=3)
