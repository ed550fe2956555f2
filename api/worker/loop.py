"""A worker: one process, one device, one task at a time, or two that share it (`seats`).

    lease ──> prove, renewing the lease in another thread ──> publish ──> lease ...

Each task has a lane: a thread, and a name that its leases are under. One lane at a time looks for a
task. A worker that is told to stop finishes its tasks, and gives them back when that takes longer
than it is given. A worker that dies does nothing: its leases run out and others take the tasks. One
that was frozen and wakes up finds its tasks fenced off.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from threading import Event, Lock, Thread
from typing import Any

from redis.exceptions import RedisError

from api.console.machine import find_memory
from api.errors import Abandoned, Audience, OwnerFull, RecordInvalid, describe
from api.process.system import read_gpu_utilization, read_resident_bytes
from api.queue.admin import Heartbeat, QueueAdmin
from api.queue.jobs import Progress
from api.queue.metrics import Meter
from api.queue.queue import JobQueue, Lease, Standing
from api.settings import share_threads
from api.worker.devices import Devices
from api.worker.reporting import TaskReport
from api.worker.seats import Seat, Seats
from api.worker.work import TaskProver, TaskResult
from kernels.backend import Backend
from prover.costs import time_probe

BLOCK_MS = 1000
"""How long an idle worker waits for a task before it looks for lost ones."""
PUBLISH_S = 600.0
"""How long a finished proof waits for a server that does not take it."""
LOOK_S = 0.25
"""How often a worker with a task in hand looks for another: it hears no bell, since one that is
idle is to have a new task."""
SWEEP_S = 600.0
_FIRST_PAUSE_S = 0.1
_LAST_PAUSE_S = 5.0

Log = Any
"""A structlog logger. Ids, codes, stages and times go there; nothing of a model or a witness."""


@dataclass(slots=True, kw_only=True, eq=False)
class Held:
    """A task in the worker's hands, and whether it still is."""

    lease: Lease
    seat: Seat
    standing: Standing = Standing.HELD


class Worker:
    """Takes tasks from the queue until it is told to stop."""

    def __init__(
        self,
        queue: JobQueue,
        prover: TaskProver,
        devices: Devices,
        *,
        name: str,
        log: Log,
        stop: Event,
        gpu_address: str | None = None,
        seats: Seats | None = None,
    ) -> None:
        """name     : unique to this process
        stop        : from then on no new task is taken; set when a lane ends by a fault
        gpu_address : of the GPU whose use is reported
        seats       : default one
        """
        self.queue, self.prover, self.devices = queue, prover, devices
        self.name, self._log, self._stop = name, log, stop
        self._gpu_address = gpu_address
        self._admin, self._meter = QueueAdmin(queue), Meter(queue)
        self.seats = seats or Seats()
        self._held: list[Held] = []
        self._give_back = False
        self._lock = Lock()  # of what is held
        self._looking = Lock()
        self._ended = Event()
        self._changed = Event()  # what the heartbeat has to say
        self._swept_at = float("-inf")
        self._counted_hits = self._counted_misses = 0
        self._lanes = ""
        self._probe_s: float | None = None  # of the device, measured when it has proven

    def run(self) -> None:
        """Until `stop` is set and the tasks under way have ended."""
        keeper = Thread(target=self._keep, name="lease keeper", daemon=True)
        keeper.start()
        lanes = [
            Thread(target=self._run_lane, args=(lane,), name=f"lane {lane}", daemon=True)
            for lane in range(1, self.seats.n)
        ]
        for thread in lanes:
            thread.start()
        try:
            self._run_lane(0)
        finally:
            for thread in lanes:
                thread.join()
            self._ended.set()
            self._changed.set()
            keeper.join()
            self._say_goodbye()

    def _run_lane(self, lane: int) -> None:
        pause_s = _FIRST_PAUSE_S
        try:
            while not self._stop.is_set():
                try:
                    self._run_next(lane)
                    if lane == 0:
                        self._sweep()
                    pause_s = _FIRST_PAUSE_S
                except (RedisError, OSError) as error:
                    self._log.warning("queue or store unreachable", error=type(error).__name__)
                    self._stop.wait(pause_s)
                    pause_s = min(_LAST_PAUSE_S, 2 * pause_s)
        finally:
            self._stop.set()

    def run_one(self) -> bool:
        """Takes one task and works on it; False when there is none. Raises RedisError, OSError."""
        with self._looking:
            held = self._take(0)
        return held is not None and self._do(held)

    def _run_next(self, lane: int) -> None:
        """A task if there is one, or comes while nothing is in hand; else a pause."""
        with self._looking:
            if self._stop.is_set() or not self.seats.wait_for_room(LOOK_S):
                return
            beside = bool(self.seats.taken)
            held = self._take(lane, beside=beside)
            if held is None and beside:
                self.seats.rest(LOOK_S)
            elif held is None:
                held = self._await_task(lane)
        if held is not None:
            self._do(held)

    def _take(self, lane: int, *, beside: bool = False) -> Held | None:
        """The next task, with a seat. Raises RedisError, OSError."""
        name = f"{self.name} lane {lane}" if lane else self.name
        lease: Lease | None = None
        while not self._stop.is_set():
            try:
                lease = self.queue.lease(name, beside=beside)
                break
            except RecordInvalid as error:
                self._log.error("task passed over", error=str(error))
        if lease is None:
            if not beside:  # also to look for a task ends jobs: of lost workers, and of late ones
                self._clear()
            return None
        seat = self.seats.take(lambda: self._ask(held), is_alone=lease.attempt > 1)
        held = Held(lease=lease, seat=seat)
        with self._lock:
            self._held.append(held)
        self._changed.set()
        return held

    def _await_task(self, lane: int) -> Held | None:
        bell = self.queue.hear_bell()
        held = self._take(lane)  # came between the last look and the bell
        if held is None:
            self.queue.wait(bell, BLOCK_MS)
        return held

    def _do(self, held: Held) -> bool:
        """Works on a task to its end; True."""
        lease = held.lease
        log = self._log.bind(job=lease.job_id, task=lease.task, attempt=lease.attempt)
        try:
            self._work(held, log)
        finally:
            held.seat.leave()
            with self._lock:
                self._held.remove(held)
            self._changed.set()
            self._clear()
        return True

    def _clear(self) -> None:
        """Private files of jobs that have ended go; if not now, then with the next task."""
        try:
            self.prover.store.private.clear(self.queue)
        except (RedisError, OSError) as error:
            self._log.warning("private files not deleted", error=type(error).__name__)

    # -- one task

    def _work(self, held: Held, log: Log) -> None:
        lease, started = held.lease, time.monotonic()
        report = TaskReport(
            lambda progress: self._send(lease, progress),
            lambda: self._check(held),
            clock=time.monotonic,
        )

        def agree(private: str) -> str:
            standing, name = self.queue.agree(lease, private)
            if standing is not Standing.HELD:
                raise Abandoned(standing)
            return name

        def prove(backend: Backend) -> TaskResult:
            result = self.prover.prove(
                lease.spec,
                lease.task,
                backend=backend,
                report=report,
                agree=agree,
                seat=held.seat,
            )
            if self._probe_s is None:
                self._attempt(lambda: self._time(backend, held.seat), "device not timed")
            return result

        log.info("task started", kind=lease.spec.kind)
        try:
            held.seat.begin()
            result = self.devices.run(prove)
        except Abandoned as abandoned:
            self._give_up(lease, abandoned, log)
            return
        except RedisError:
            raise  # the task stays leased and comes again
        except Exception as error:
            self._fail(lease, error, log)
            return
        seconds = time.monotonic() - started - held.seat.waited_s
        try:
            counted = self._until_answered(
                lambda: self.queue.complete(
                    lease, result.raw, seconds=seconds, n_samples=result.n_samples
                ),
                log,
            )
        except OwnerFull as error:
            self._fail(lease, error, log)
            return
        log.info("task ended", seconds=round(seconds, 3), counted=bool(counted))
        if counted:
            self._meter.observe_stages(report.stages_s)

    def _fail(self, lease: Lease, error: Exception, log: Log) -> None:
        told = describe(error, Audience.CALLER)
        # An owner without room for this result would have none for the same one, made again.
        retry = told.retry_s is not None and not isinstance(error, OwnerFull)
        log.warning("task failed", code=told.code, retry=retry, error=type(error).__name__)
        self._until_answered(lambda: self.queue.fail(lease, told.code, told.text, retry=retry), log)

    def _give_up(self, lease: Lease, abandoned: Abandoned, log: Log) -> None:
        log.info("task abandoned", why=str(abandoned))
        if abandoned.standing is None:
            self._until_answered(lambda: self.queue.release(lease), log)

    def _until_answered(self, call: Callable[[], Any], log: Log) -> Any:
        """A proof is worth waiting for a server that is down, or full, for a while."""
        ends_at, pause_s = time.monotonic() + PUBLISH_S, _FIRST_PAUSE_S
        while True:
            try:
                return call()
            except RedisError as error:
                if time.monotonic() > ends_at or self._give_back:
                    raise
                log.warning("queue unreachable", error=type(error).__name__)
            self._ended.wait(pause_s)
            pause_s = min(_LAST_PAUSE_S, 2 * pause_s)

    def _send(self, lease: Lease, progress: Progress) -> None:
        try:
            standing = self.queue.report(lease, progress)
        except RedisError:
            return  # progress is for the eye; the lease tells whether the work goes on
        if standing is not Standing.HELD:
            raise Abandoned(standing)

    def _check(self, held: Held) -> None:
        if self._give_back:
            raise Abandoned(None)
        if held.standing is not Standing.HELD:
            raise Abandoned(held.standing)

    def _ask(self, held: Held) -> None:
        """A task that waits for its seat reports nothing, which would tell how it stands."""
        self._attempt(lambda: self._renew(held), "lease not renewed")
        self._check(held)

    def _time(self, backend: Backend, seat: Seat) -> None:
        """For plans of the jobs to come; its kernels have just been loaded."""
        with seat.device():
            self._lanes = backend.info().lanes
            self._probe_s = time_probe(backend, time.perf_counter)

    # -- between tasks

    def _sweep(self) -> None:
        """Also while tasks wait: what has passed its time to live goes, however busy it is."""
        if time.monotonic() - self._swept_at > SWEEP_S:
            self._swept_at = time.monotonic()
            files, keys = self.prover.sweep(self.queue)
            self._log.debug("swept", files=files, keys=keys)

    # -- the keeper's thread

    def _keep(self) -> None:
        """Renews leases and says that the worker is up: three times a lease, and at its ends."""
        pause_s = self.queue.settings.lease_ms / 3000
        stopping_since: float | None = None
        while True:
            if self._stop.is_set() and stopping_since is None:
                stopping_since = time.monotonic()
            if stopping_since is not None:
                late = time.monotonic() - stopping_since > self.queue.settings.drain_s
                self._give_back = self._give_back or late
            with self._lock:
                all_held = list(self._held)
            for held in all_held:
                self._attempt(partial(self._renew, held), "lease not renewed")
            self._attempt(self._beat, "heartbeat not sent")
            self._changed.wait(pause_s)
            self._changed.clear()
            if self._ended.is_set():
                return

    def _attempt(self, call: Callable[[], None], complaint: str) -> None:
        """Without this thread leases would run out, so no error of a device ends it either."""
        try:
            call()
        except Exception as error:
            self._log.warning(complaint, error=type(error).__name__)

    def _renew(self, held: Held) -> None:
        held.standing = self.queue.renew(held.lease)

    def _beat(self) -> None:
        self._admin.beat(self._describe())
        memory = self.prover.keys.memory
        hits, misses = memory.hits, memory.misses
        self._meter.count("cache_hits", hits - self._counted_hits)
        self._counted_hits = hits
        self._meter.count("cache_misses", misses - self._counted_misses)
        self._counted_misses = misses

    def _describe(self) -> Heartbeat:
        with self._lock:
            first = self._held[0].lease if self._held else None
        return Heartbeat(
            worker=self.name,
            backend=self.devices.current,
            device=self.devices.describe(),
            job_id=None if first is None else first.job_id,
            draining=self._stop.is_set(),
            resident_bytes=read_resident_bytes(),
            cached_bytes=self.prover.keys.memory.n_bytes,
            gpu_utilization=read_gpu_utilization(self.devices.current, self._gpu_address),
            threads=share_threads(1),
            memory_bytes=find_memory(self.queue.settings),
            lanes=self._lanes,
            probe_s=self._probe_s,
        )

    def _say_goodbye(self) -> None:
        try:
            self._admin.retire(self.name)
        except RedisError:
            self._log.warning("left without a word")  # the heartbeat ends by itself
