"""A device that fails is replaced: for one task, and for good when it fails again and again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from api.worker.devices import MAX_FAULTS, Devices
from kernels.backend import Backend
from kernels.errors import BackendUnavailable, DoesNotFit
from prover.errors import SelfCheckFailed, UnsatisfiedConstraint


class Bench:
    """Devices that are their names; notes which were tried, and what was said of them."""

    def __init__(self, *missing: str) -> None:
        self.tried: list[str] = []
        self.faults: list[tuple[str, str]] = []
        self._missing = missing

    def load(self, name: str) -> Any:
        self.tried.append(name)
        if name in self._missing:
            raise BackendUnavailable(f"no {name} here")
        return name

    def devices(self, *names: str) -> Devices:
        return Devices(names, on_fault=self.note, load=self.load)

    def note(self, name: str, error: Exception) -> None:
        self.faults.append((name, type(error).__name__))


@pytest.mark.parametrize("error", [RuntimeError(), MemoryError(), SelfCheckFailed("no proof")])
def test_the_next_device_does_the_work_again(error: Exception) -> None:
    bench = Bench()

    def work(backend: Backend) -> str:
        if str(backend) == "cuda":
            raise error
        return f"made on {backend}"

    assert bench.devices("cuda", "cpu").run(work) == "made on cpu"
    assert bench.faults == [("cuda", type(error).__name__)]


def test_a_device_that_is_missing_is_passed_over_and_given_up_after_some_tasks() -> None:
    bench = Bench("cuda")
    devices = bench.devices("cuda", "cpu")
    for n in range(MAX_FAULTS + 2):
        assert devices.current == ("cuda" if n < MAX_FAULTS else "cpu")
        assert devices.run(str) == "cpu"
    assert bench.tried.count("cuda") == MAX_FAULTS
    assert bench.tried.count("cpu") == MAX_FAULTS + 2
    assert len(bench.faults) == MAX_FAULTS


def test_a_task_too_large_for_a_device_is_no_fault_of_it() -> None:
    bench = Bench()
    devices = bench.devices("cuda", "cpu")

    def work(backend: Backend) -> str:
        if str(backend) == "cuda":
            raise DoesNotFit(what="a key", needed=2, granted=1)
        return str(backend)

    for _ in range(MAX_FAULTS + 1):
        assert devices.current == "cuda"
        assert devices.run(work) == "cpu"
    assert bench.faults == [("cuda", "DoesNotFit")] * (MAX_FAULTS + 1)


def test_an_error_of_the_work_is_no_fault_of_the_device() -> None:
    bench = Bench()

    def work(backend: Backend) -> str:
        raise UnsatisfiedConstraint(label="row", index=(3,), n_failing=1)

    with pytest.raises(UnsatisfiedConstraint):
        bench.devices("cuda", "cpu").run(work)
    assert bench.tried == ["cuda"]
    assert bench.faults == []


def test_work_that_no_device_can_do_takes_none_away() -> None:
    bench = Bench()
    devices = bench.devices("cuda", "cpu")

    def work(backend: Backend) -> str:
        raise SelfCheckFailed("a wrong witness")

    for _ in range(MAX_FAULTS):
        with pytest.raises(SelfCheckFailed):
            devices.run(work)
    assert devices.current == "cuda"


def test_the_last_device_s_error_is_the_caller_s() -> None:
    bench = Bench("cuda", "cpu")
    with pytest.raises(BackendUnavailable, match="no cpu here"):
        bench.devices("cuda", "cpu").run(str)
    alone = Bench("cpu")
    devices = alone.devices("cpu", "cpu")  # the fallback is the device itself: tried once
    for _ in range(MAX_FAULTS + 1):
        with pytest.raises(BackendUnavailable):
            devices.run(str)
    assert alone.tried == ["cpu"] * (MAX_FAULTS + 1)
    assert alone.faults == []


@pytest.mark.parametrize(
    "fault",
    [
        "OSError(30, 'Read-only file system', '/home/.cupy')",
        "AttributeError('row_stack')",
        "ImportError('libcuda.so.1')",
        "RuntimeError('driver')",
    ],
)
def test_a_cupy_that_cannot_be_imported_leaves_the_work_to_the_cpu(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cupy.py").write_text(f"raise {fault}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path))
    told: list[str] = []
    devices = Devices(["cuda", "cpu"], on_fault=lambda _, error: told.append(str(error)))
    assert devices.run(lambda backend: backend.info().name) == "cpu"
    assert devices.describe() == "unavailable"
    assert told == [devices.explain()]
    assert "cupy" in told[0]
    assert fault.partition("'")[2].partition("'")[0] in told[0]


def test_devices_are_described_for_people() -> None:
    assert Bench("cuda").devices("cuda").describe() == "unavailable"
    real = Devices(["cpu"], on_fault=lambda *_: None)
    assert re.fullmatch(r"\d+ threads?, \w+", real.describe())  # no path of the machine
