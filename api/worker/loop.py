"""A worker: one process, one device, one task at a time.

    lease ──> prove, renewing the lease in a second thread ──> publish ──> lease ...

A worker that is told to stop finishes its task, and gives it back when that takes longer than it is
given. A worker that dies does nothing: its lease runs out and another one takes the task. One that
was frozen and wakes up finds its task fenced off.
"""

from __future__ import annotations

import time
from collections.abc import Callable
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
from api.worker.work import TaskProver, TaskResult
from kernels.backend import Backend
from prover.costs import time_probe

BLOCK_MS = 1000
"""How long an idle worker waits for a task before it looks for lost ones."""
PUBLISH_S = 600.0
"""How long a finished proof waits for a server that does not take it."""
SWEEP_S = 600.0
_FIRST_PAUSE_S = 0.1
_LAST_PAUSE_S = 5.0

Log = Any
"""A structlog logger. Ids, codes, stages and times go there; nothing of a model or a witness."""


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
    ) -> None:
        """name     : unique to this process
        stop        : from then on no new task is taken
        gpu_address : of the GPU whose use is reported
        """
        self.queue, self.prover, self.devices = queue, prover, devices
        self.name, self._log, self._stop = name, log, stop
        self._gpu_address = gpu_address
        self._admin, self._meter = QueueAdmin(queue), Meter(queue)
        self._lease: Lease | None = None
        self._standing = Standing.HELD
        self._give_back = False
        self._lock = Lock()
        self._ended = Event()
        self._changed = Event()  # what the heartbeat has to say
        self._swept_at = float("-inf")
        self._counted_hits = self._counted_misses = 0
        self._lanes = ""
        self._probe_s: float | None = None  # of the device, measured when it has proven

    def run(self) -> None:
        """Until `stop` is set and the task under way has ended."""
        keeper = Thread(target=self._keep, name="lease keeper", daemon=True)
        keeper.start()
        pause_s = _FIRST_PAUSE_S
        try:
            while not self._stop.is_set():
                try:
                    if not self.run_one():
                        self._idle()
                    self._sweep()
                    pause_s = _FIRST_PAUSE_S
                except (RedisError, OSError) as error:
                    self._log.warning("queue or store unreachable", error=type(error).__name__)
                    self._stop.wait(pause_s)
                    pause_s = min(_LAST_PAUSE_S, 2 * pause_s)
        finally:
            self._ended.set()
            self._changed.set()
            keeper.join()
            self._say_goodbye()

    def run_one(self) -> bool:
        """Takes one task and works on it; False when there is none. Raises RedisError, OSError."""
        try:
            lease = self.queue.lease(self.name)
        except RecordInvalid as error:
            self._log.error("task passed over", error=str(error))
            return True
        if lease is None:
            self._clear()  # also to look for a task ends jobs: of lost workers, and of late ones
            return False
        with self._lock:
            self._lease, self._standing = lease, Standing.HELD
        self._changed.set()
        log = self._log.bind(job=lease.job_id, task=lease.task, attempt=lease.attempt)
        try:
            self._work(lease, log)
        finally:
            with self._lock:
                self._lease = None
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

    def _work(self, lease: Lease, log: Log) -> None:
        started = time.monotonic()
        report = TaskReport(
            lambda progress: self._send(lease, progress), self._check, clock=time.monotonic
        )

        def agree(private: str) -> str:
            standing, name = self.queue.agree(lease, private)
            if standing is not Standing.HELD:
                raise Abandoned(standing)
            return name

        def prove(backend: Backend) -> TaskResult:
            result = self.prover.prove(
                lease.spec, lease.task, backend=backend, report=report, agree=agree
            )
            if self._probe_s is None:
                self._attempt(lambda: self._time(backend), "device not timed")
            return result

        log.info("task started", kind=lease.spec.kind)
        try:
            result = self.devices.run(prove)
        except Abandoned as abandoned:
            self._give_up(lease, abandoned, log)
            return
        except RedisError:
            raise  # the task stays leased and comes again
        except Exception as error:
            self._fail(lease, error, log)
            return
        seconds = time.monotonic() - started
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

    def _check(self) -> None:
        if self._give_back:
            raise Abandoned(None)
        if self._standing is not Standing.HELD:
            raise Abandoned(self._standing)

    def _time(self, backend: Backend) -> None:
        """For plans of the jobs to come; its kernels have just been loaded."""
        self._lanes = backend.info().lanes
        self._probe_s = time_probe(backend, time.perf_counter)

    # -- between tasks

    def _idle(self) -> None:
        bell = self.queue.hear_bell()
        if self.run_one():  # came between the last look and the bell
            return
        self.queue.wait(bell, BLOCK_MS)

    def _sweep(self) -> None:
        """Also while tasks wait: what has passed its time to live goes, however busy it is."""
        if time.monotonic() - self._swept_at > SWEEP_S:
            self._swept_at = time.monotonic()
            files, keys = self.prover.sweep(self.queue)
            self._log.debug("swept", files=files, keys=keys)

    # -- the second thread

    def _keep(self) -> None:
        """Renews the lease and says that the worker is up: three times a lease, and at its ends."""
        pause_s = self.queue.settings.lease_ms / 3000
        stopping_since: float | None = None
        while True:
            if self._stop.is_set() and stopping_since is None:
                stopping_since = time.monotonic()
            if stopping_since is not None:
                late = time.monotonic() - stopping_since > self.queue.settings.drain_s
                self._give_back = self._give_back or late
            self._attempt(self._renew, "lease not renewed")
            self._attempt(self._beat, "heartbeat not sent")
            self._changed.wait(pause_s)
            self._changed.clear()
            if self._ended.is_set():
                return

    def _attempt(self, call: Callable[[], None], complaint: str) -> None:
        """Without this thread the lease would run out, so no error of a device ends it either."""
        try:
            call()
        except Exception as error:
            self._log.warning(complaint, error=type(error).__name__)

    def _renew(self) -> None:
        with self._lock:
            lease = self._lease
        if lease is None:
            return
        standing = self.queue.renew(lease)
        with self._lock:
            if self._lease is lease:
                self._standing = standing

    def _beat(self) -> None:
        self._admin.beat(self._describe())
        memory = self.prover.keys.memory
        hits, misses = memory.hits, memory.misses
        self._meter.count("cache_hits", hits - self._counted_hits)
        self._counted_hits = hits
        self._meter.count("cache_misses", misses - self._counted_misses)
        self._counted_misses = misses

    def _describe(self) -> Heartbeat:
        lease = self._lease
        return Heartbeat(
            worker=self.name,
            backend=self.devices.current,
            device=self.devices.describe(),
            job_id=None if lease is None else lease.job_id,
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
