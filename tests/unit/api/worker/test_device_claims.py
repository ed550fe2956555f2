"""Workers of one machine, each with a GPU of its own, on drivers that only pretend."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import structlog

from api.assembly import build_worker
from api.errors import ClaimsUnavailable, SettingsInvalid
from api.process.system import read_gpu_utilization
from api.settings import Settings
from api.valkey import primary
from api.valkey.embedded import connect
from api.worker import device_claims
from api.worker.device_claims import ClaimedDevices, claim_one, claiming
from kernels.cuda.launch.device import FoundDevice, list_devices
from kernels.errors import BackendUnavailable, DeviceError
from tests.support.fake_cupy import CUDARuntimeError, FakeCupy

N_GPUS = 4
PATIENCE_S = 60.0
CLAIMING = """
import sys
from pathlib import Path
from api.worker.device_claims import claim_one
from kernels.cuda.launch.device import list_devices
from tests.support.fake_cupy import FakeCupy
claim = claim_one(Path(sys.argv[1]), list_devices(FakeCupy(4)), "another")
print(claim and claim.device.ordinal, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def gpus() -> tuple[FoundDevice, ...]:
    return list_devices(FakeCupy(N_GPUS))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, backend="cuda")


@pytest.fixture
def log() -> Any:
    return structlog.wrap_logger(structlog.testing.CapturingLogger(), processors=[])


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    made: list[subprocess.Popen[str]] = []
    yield made
    for process in made:
        process.kill()
        process.communicate()


def start(folder: Path) -> subprocess.Popen[str]:
    """A process that claims a GPU and says which."""
    return subprocess.Popen(
        [sys.executable, "-c", CLAIMING, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def told(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_every_gpu_is_found_under_a_name_of_its_own(gpus: tuple[FoundDevice, ...]) -> None:
    assert [gpu.ordinal for gpu in gpus] == [0, 1, 2, 3]
    assert len({gpu.identity for gpu in gpus}) == N_GPUS
    assert [gpu.address for gpu in gpus][:2] == ["0000:00:00.0", "0000:01:00.0"]
    assert gpus == list_devices(FakeCupy(N_GPUS))  # the same in every process
    with pytest.raises(BackendUnavailable, match="cudaErrorNoDevice"):
        list_devices(FakeCupy(0))


def test_no_two_workers_have_one_gpu(gpus: tuple[FoundDevice, ...], tmp_path: Path) -> None:
    claims = [claim_one(tmp_path, gpus, f"worker {i}") for i in range(N_GPUS + 1)]
    assert [claim and claim.device.ordinal for claim in claims] == [0, 1, 2, 3, None]
    assert claims[2] is not None
    assert (tmp_path / gpus[2].identity).read_text() == "worker 2\n"
    claims[2].release()
    again = claim_one(tmp_path, gpus, "late")
    assert again is not None
    assert again.device.ordinal == 2
    for claim in (claims[0], claims[1], claims[3], again):
        assert claim is not None
        claim.release()


def test_processes_that_start_at_once_have_four_gpus_and_the_dead_give_theirs_back(
    gpus: tuple[FoundDevice, ...], tmp_path: Path, processes: list[subprocess.Popen[str]]
) -> None:
    processes += [start(tmp_path) for _ in range(N_GPUS + 1)]
    said = {process.pid: told(process) for process in processes}
    assert sorted(said.values()) == ["0", "1", "2", "3", "None"]
    assert claim_one(tmp_path, gpus, "test") is None
    (third,) = (process for process in processes if said[process.pid] == "2")
    os.kill(third.pid, signal.SIGSTOP)
    assert claim_one(tmp_path, gpus, "test") is None  # frozen, it keeps the GPU's memory
    third.kill()
    third.wait()
    claim = claim_one(tmp_path, gpus, "test")
    assert claim is not None
    assert claim.device.ordinal == 2
    claim.release()


def test_workers_load_the_gpu_that_they_claimed(
    settings: Settings, gpus: tuple[FoundDevice, ...], log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(name: str, device: int | None = None) -> Any:
        return name, device

    monkeypatch.setattr(device_claims, "get_backend", load)
    with ExitStack() as stack, connect(settings) as redis:
        for ordinal in range(N_GPUS):
            claimed = stack.enter_context(
                claiming(settings, worker="w", stop=Event(), log=log, find=lambda: gpus)
            )
            worker = build_worker(redis, settings, name="w", stop=Event(), log=log, claimed=claimed)
            assert worker.devices.run(lambda backend: backend) == ("cuda", ordinal)
            assert claimed.load("cpu") == ("cpu", None)
            assert claimed.address == gpus[ordinal].address


def test_a_worker_for_whom_none_is_left_waits_for_one(
    settings: Settings, gpus: tuple[FoundDevice, ...], log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, got = Event(), list[ClaimedDevices]()

    class Stop(Event):
        def wait(self, timeout: float | None = None) -> bool:
            looked.set()
            return super().wait(0.01)

    first = claim_one(settings.data_dir / "devices", gpus[:1], "first")
    assert first is not None

    def work() -> None:
        with claiming(settings, worker="w", stop=Stop(), log=log, find=lambda: gpus[:1]) as mine:
            got.append(mine)

    waiting = Thread(target=work, daemon=True)
    waiting.start()
    assert looked.wait(PATIENCE_S)
    assert got == []
    first.release()
    waiting.join(PATIENCE_S)
    assert got == [ClaimedDevices(gpus[0])]


def test_a_worker_that_is_stopped_while_it_waits_has_none(
    settings: Settings, gpus: tuple[FoundDevice, ...], log: Any
) -> None:
    first = claim_one(settings.data_dir / "devices", gpus[:1], "first")
    assert first is not None
    stop = Event()
    stop.set()
    with claiming(settings, worker="w", stop=stop, log=log, find=lambda: gpus[:1]) as mine:
        assert mine == ClaimedDevices(None)
    first.release()


def test_a_gpu_that_somebody_chose_is_used_and_seen_to_be(
    settings: Settings, gpus: tuple[FoundDevice, ...], log: Any
) -> None:
    chosen = Settings(data_dir=settings.data_dir, backend="cuda", device=2)
    options: Any = {"worker": "w", "stop": Event(), "log": log, "find": lambda: gpus}
    with claiming(chosen, **options) as mine:
        assert mine == ClaimedDevices(gpus[2])
        assert claim_one(settings.data_dir / "devices", gpus[2:3], "other") is None
        with claiming(chosen, **options) as shared:  # twice on purpose
            assert shared == ClaimedDevices(gpus[2])


def test_without_a_gpu_the_fallback_has_its_turn(settings: Settings, log: Any) -> None:
    def find() -> tuple[FoundDevice, ...]:
        raise BackendUnavailable("no cupy")

    with claiming(settings, worker="w", stop=Event(), log=log, find=find) as mine:
        assert mine == ClaimedDevices(None)
    on_cpu = Settings(data_dir=settings.data_dir)
    with claiming(on_cpu, worker="w", stop=Event(), log=log, find=find) as mine:
        assert mine == ClaimedDevices(None)
    assert not (settings.data_dir / "devices").exists()


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (BackendUnavailable("no cupy"), {"reason": "no cupy"}),
        (
            DeviceError("numba.cuda, compile: row_stack"),
            {"reason": "numba.cuda, compile: row_stack"},
        ),
        (RuntimeError("weights 1, 2, 3"), {}),
    ],
)
def test_the_log_says_why_a_gpu_failed(
    settings: Settings, log: Any, monkeypatch: pytest.MonkeyPatch, fault: Exception, told: Any
) -> None:
    """Where the reason is the device's; other texts may show what the work was about."""

    def load(name: str, device: int | None = None) -> Any:
        if name == "cuda":
            raise fault
        return name

    monkeypatch.setattr(device_claims, "get_backend", load)
    monkeypatch.setattr(primary, "RETRIES", 0)  # of a server that is not there
    with connect(settings) as redis:
        worker = build_worker(redis, settings, name="w", stop=Event(), log=log)
        assert worker.devices.run(str) == "cpu"
    first = log._logger.calls[0].kwargs
    assert first["event"] == "device failed, another takes over"
    assert {name: first[name] for name in first if name == "reason"} == told


def test_a_folder_without_locks_is_named(gpus: tuple[FoundDevice, ...]) -> None:
    with pytest.raises(ClaimsUnavailable, match="ZKPOT_DEVICE"):
        claim_one(Path("/dev/null/devices"), gpus, "w")


def test_the_gpu_of_the_environment() -> None:
    given = {"ZKPOT_DATA_DIR": "/d", "ZKPOT_DEVICE": "0"}
    assert Settings.from_environment(given).device == 0
    assert Settings.from_environment({"ZKPOT_DATA_DIR": "/d"}).device is None
    for wrong in ("-1", "first"):
        with pytest.raises(SettingsInvalid, match="ZKPOT_DEVICE"):
            Settings.from_environment({**given, "ZKPOT_DEVICE": wrong})


def test_the_use_of_the_right_gpu_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\ncase "$*" in *--id=0000:01:00.0*) echo 42;; *) echo 7;; esac\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert read_gpu_utilization("cuda", "0000:01:00.0") == 0.42
    assert read_gpu_utilization("cuda") == 0.07


def test_a_driver_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    cupy = FakeCupy(2)

    def fail(ordinal: int) -> Any:
        raise CUDARuntimeError("cudaErrorInsufficientDriver")

    cupy.cuda.runtime.getDeviceProperties = fail
    with pytest.raises(BackendUnavailable, match="InsufficientDriver"):
        list_devices(cupy)
