"""Each worker of a machine has a GPU of its own.

All workers may see all GPUs, under the same ordinals: containers do, of which a composition gives
each the whole machine. So a worker claims one, by a lock on a file in the data directory, which
workers share. A lock needs no renewal and no clock: it lasts as long as its process, which keeps
the GPU's memory for so long, be it frozen or not, and ends with it however it dies. A worker for
whom no GPU is left waits until one is.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from api.errors import ClaimsUnavailable
from api.settings import Settings
from kernels.backend import Backend, get_backend
from kernels.cuda.launch.device import FoundDevice, list_devices
from kernels.errors import BackendUnavailable

CUDA = "cuda"
FOLDER = "devices"
LOOK_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Claim:
    """A GPU that is this process's until `release`, or its end."""

    device: FoundDevice
    descriptor: int

    def release(self) -> None:
        os.close(self.descriptor)


@dataclass(frozen=True, slots=True)
class ClaimedDevices:
    """How a worker loads its devices. address : of its GPU, for `nvidia-smi`, where it has one."""

    device: FoundDevice | None = None

    @property
    def address(self) -> str | None:
        return None if self.device is None else self.device.address

    def load(self, name: str) -> Backend:
        """The backend as `get_backend` gives it; the GPU is the claimed one."""
        if name != CUDA or self.device is None:
            return get_backend(name)
        return get_backend(name, self.device.ordinal)


@contextmanager
def claiming(
    settings: Settings,
    *,
    worker: str,
    stop: Event,
    log: Any,
    find: Callable[[], Sequence[FoundDevice]] = list_devices,
) -> Iterator[ClaimedDevices]:
    """The devices of a worker, while this lasts. Waits for a GPU that is free, or for `stop`: then
    nothing is to be loaded.

    Without any GPU there is nothing to claim, and the worker's fallback takes over.
    Raises ClaimsUnavailable.
    """
    if CUDA not in (settings.backend, settings.fallback_backend):
        yield ClaimedDevices()
        return
    try:
        found = find()
    except BackendUnavailable as error:
        log.warning("no GPU can be used", reason=str(error))
        found = ()
    if settings.device is not None:  # somebody knows better
        found = [device for device in found if device.ordinal == settings.device]
    claim = _await_claim(settings, found, worker=worker, stop=stop, log=log)
    if claim is None:
        shared = found[0] if found and settings.device is not None else None
        yield ClaimedDevices(shared)
        return
    try:
        yield ClaimedDevices(claim.device)
    finally:
        claim.release()


def _await_claim(
    settings: Settings, found: Sequence[FoundDevice], *, worker: str, stop: Event, log: Any
) -> Claim | None:
    folder = settings.data_dir / FOLDER
    waits = False
    while found and not stop.is_set():
        claim = claim_one(folder, found, worker)
        if claim is not None:
            log.info("GPU claimed", device=claim.device.ordinal, name=claim.device.name)
            return claim
        if settings.device is not None:
            log.warning("the GPU of ZKPOT_DEVICE is another worker's too", device=settings.device)
            return None
        if not waits:
            hint = "ZKPOT_DEVICE names one to share"
            log.warning("every GPU is another worker's: waits", gpus=len(found), hint=hint)
            waits = True
        stop.wait(LOOK_AGAIN_S)
    return None


def claim_one(folder: Path, devices: Sequence[FoundDevice], worker: str) -> Claim | None:
    """The first of the GPUs that is nobody's, now this process's; None when all are taken.

    worker : a name, left in the file for people who look who has it
    raises : ClaimsUnavailable
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for device in devices:
            descriptor = _lock(folder / device.identity, worker)
            if descriptor is not None:
                return Claim(device, descriptor)
    except OSError as error:
        raise ClaimsUnavailable(
            error.errno,
            f"no lock can be held ({error.strerror}): give a folder with locks, "
            "or each worker its GPU by ZKPOT_DEVICE",
            str(folder),
        ) from error
    return None


def _lock(path: Path, worker: str) -> int | None:
    """A descriptor that holds the lock; None when another one does. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    with suppress(OSError):  # a full disk: the lock holds without a name in it
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{worker}\n".encode())
    return descriptor
