"""The processes of the service put together from their parts: queue, store, keys, devices, logs."""

from __future__ import annotations

import os
import secrets
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from api.console.machine import find_memory
from api.http.service import Service
from api.http.verifier_pool import VerifierPool
from api.queue.metrics import Meter
from api.queue.queue import JobQueue
from api.settings import Settings
from api.store.keycache import KeyCache
from api.store.opening import open_keys, open_shelf, open_store
from api.worker.device_claims import ClaimedDevices
from api.worker.devices import Devices
from api.worker.loop import Worker
from api.worker.seats import Seats
from api.worker.work import TaskProver
from kernels.errors import BackendUnavailable, DeviceError
from kernels.private_folder import make_private_folder


def build_service(redis: Redis, settings: Settings) -> Service:
    """What the HTTP routes ask; to be closed."""
    queue, store = JobQueue(redis, settings), open_store(settings)
    return Service(queue, store, open_shelf(settings), VerifierPool.of(settings))


def build_worker(
    redis: Redis,
    settings: Settings,
    *,
    name: str,
    stop: Event,
    log: Any,
    claimed: ClaimedDevices | None = None,
) -> Worker:
    """A worker for the settings' device, and for the one that takes over when it fails.

    claimed : the GPU that is this worker's
    """
    claimed = claimed or ClaimedDevices()
    queue = JobQueue(redis, settings)
    meter = Meter(queue)

    def on_fault(device: str, error: Exception) -> None:
        told = {"device": device, "error": type(error).__name__}
        if isinstance(error, BackendUnavailable | DeviceError):
            told["reason"] = str(error)  # other errors may show what the work was about
        log.warning("device failed, another takes over", **told)
        try:
            meter.count("device_faults")
        except RedisError:
            log.warning("fault not counted")

    keys = KeyCache(
        open_keys(settings),
        budget_bytes=settings.key_cache_bytes,
        random_bytes=secrets.token_bytes,
        memory_bytes=find_memory(settings),
    )
    prover = TaskProver(store=open_store(settings), keys=keys, random_bytes=secrets.token_bytes)
    names = [settings.backend, settings.fallback_backend]
    devices = Devices(names, on_fault=on_fault, load=claimed.load)
    return Worker(
        queue,
        prover,
        devices,
        name=name,
        log=log,
        stop=stop,
        gpu_address=claimed.address,
        seats=Seats(settings.tasks_in_flight, memory_bytes=find_memory(settings)),
    )


@contextmanager
def spooling(settings: Settings) -> Iterator[None]:
    """A folder of the data directory is this process's place for temporary files meanwhile.

    The API keeps the body of an upload there, in files without a name, until all of it is there.
    The system's folder may be in memory, or there may be none. Raises OSError.
    """
    folder = settings.data_dir / "spool"
    make_private_folder(folder)
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


def make_name() -> str:
    """A name that no other worker has: this machine, this process, and a random part."""
    return f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(3)}"
