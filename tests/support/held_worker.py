"""A worker as a process that stops at a chosen stage until it is told to go on: to be killed there.

    python -m tests.support.held_worker NAME [STAGE [TIME]]

It says `ready` when it takes tasks and `held` when it comes to the stage, for the first or another
time, and goes on with the next line on its standard input. Settings are read from the environment,
like the real one's.
"""

from __future__ import annotations

import secrets
import signal
import sys
from dataclasses import dataclass
from threading import Event

import structlog

from api.queue.jobs import JobSpec
from api.queue.queue import JobQueue, Lease
from api.settings import Settings
from api.store.keycache import KeyCache
from api.store.opening import open_keys, open_store
from api.valkey.embedded import connect
from api.worker.devices import Devices
from api.worker.loop import Worker
from api.worker.seats import Seat, Seats
from api.worker.work import Agree, TaskProver, TaskResult
from kernels.backend import Backend
from prover.progress import StageProgress

PUBLISH = "publish"
"""After the proof is made and before the queue has it."""


class Gate:
    """Stops once, where it is told to. time : 1 for the first that it comes there"""

    def __init__(self, stage: str | None, time: int) -> None:
        self.stage, self.time = stage, time

    def pass_by(self, stage: str) -> None:
        self.time -= stage == self.stage
        if stage == self.stage and self.time == 0:
            self.stage = None
            print("held", flush=True)
            sys.stdin.readline()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldProver(TaskProver):
    """Proves as ever, and stands still at the gate."""

    gate: Gate

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
        def passing(stage: str, done: int, total: int) -> None:
            self.gate.pass_by(stage)
            report(stage, done, total)

        return TaskProver.prove(
            self, spec, task, backend=backend, report=passing, agree=agree, seat=seat
        )


class HeldQueue(JobQueue):
    """Publishes as ever, and stands still before it."""

    gate: Gate

    def complete(self, lease: Lease, result: bytes, *, seconds: float, n_samples: int) -> bool:
        self.gate.pass_by(PUBLISH)
        return super().complete(lease, result, seconds=seconds, n_samples=n_samples)


def main(name: str, stage: str | None = None, time: str = "1") -> None:
    settings = Settings.from_environment()
    stop = Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    gate = Gate(stage, int(time))
    queue = HeldQueue(connect(settings), settings)
    queue.gate = gate
    store = open_store(settings)
    keys = KeyCache(
        open_keys(settings),
        budget_bytes=settings.key_cache_bytes,
        random_bytes=secrets.token_bytes,
    )
    prover = HeldProver(store=store, keys=keys, random_bytes=secrets.token_bytes, gate=gate)
    devices = Devices([settings.backend], on_fault=lambda *_: None)
    log = structlog.wrap_logger(structlog.PrintLogger(sys.stderr))
    print("ready", flush=True)
    seats = Seats(settings.tasks_in_flight)
    Worker(queue, prover, devices, name=name, log=log, stop=stop, seats=seats).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
