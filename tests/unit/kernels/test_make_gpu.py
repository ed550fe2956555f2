"""`make gpu`: it stops where there is no device, and does all its steps where there is one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

STAMPS = ("base", "dev", "gpu")
Make = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """Where a test puts the programs that `make` finds before all others."""
    folder = tmp_path / "tools"
    folder.mkdir()
    return folder


@pytest.fixture
def make_gpu(root: Path, tmp_path: Path, tools: Path) -> Make:
    """`make gpu` on a copy of the Makefile, whose interpreter is a program that always fails."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(root / name, tmp_path / name)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        path = f"{tools}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            ["env", "-u", "MAKEFLAGS", f"PATH={path}", "make", "gpu", "PYTHON=false", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def put_environment(folder: Path) -> Path:
    """An environment that is ready, of programs that write down how they are called."""
    log = folder / "log"
    for name in ("python", "zkpot"):
        put(folder / ".venv" / "bin" / name, f'echo "{name} $*" >> "{log}"')
    for stamp in STAMPS:
        path = folder / ".venv" / "stamps" / stamp
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return log


@pytest.mark.parametrize("answer", ["echo No devices were found; exit 6", "exit 127"])
def test_without_a_device_it_stops_before_anything_is_installed(
    make_gpu: Make, tmp_path: Path, tools: Path, answer: str
) -> None:
    put(tools / "nvidia-smi", answer)
    done = make_gpu()
    assert done.returncode != 0
    assert "make gpu needs a CUDA device" in done.stdout
    assert "Python" not in done.stdout  # what it says when it comes to the environment
    assert not (tmp_path / ".venv").exists()
    log = put_environment(tmp_path)
    assert make_gpu("-j2").returncode != 0
    assert not log.exists()


def test_with_a_device_it_tests_and_then_measures(
    make_gpu: Make, tmp_path: Path, tools: Path
) -> None:
    put(tools / "nvidia-smi", "echo GPU 0")
    assert "Python 3.11" in make_gpu().stdout  # now it comes to the environment
    log = put_environment(tmp_path)
    put(tools / "compute-sanitizer", f'echo "sanitizer $*" >> "{log}"')
    done = make_gpu()
    assert done.returncode == 0, done.stdout + done.stderr
    first, tests, memory, races, last = log.read_text().splitlines()
    assert first == "zkpot info --backend cuda"
    assert tests == "python -m pytest tests/conformance -m gpu"
    # Calls of the driver that numba-cuda tries in vain are no fault of an access.
    assert memory.startswith(
        "sanitizer --tool memcheck --report-api-errors no --error-exitcode 1 .venv/bin/python"
    )
    assert races.startswith("sanitizer --tool racecheck --error-exitcode 1 .venv/bin/python")
    assert last == "zkpot bench cuda"


def test_a_fault_that_the_sanitizer_finds_ends_it(
    make_gpu: Make, tmp_path: Path, tools: Path
) -> None:
    put(tools / "nvidia-smi", "echo GPU 0")
    put(tools / "compute-sanitizer", "exit 1")
    log = put_environment(tmp_path)
    assert make_gpu().returncode != 0
    assert log.read_text().splitlines()[-1] == "python -m pytest tests/conformance -m gpu"


def test_a_device_that_cannot_be_opened_ends_it(
    make_gpu: Make, tmp_path: Path, tools: Path
) -> None:
    """Tests of a backend that is unavailable are skipped, which must not pass for a success."""
    put(tools / "nvidia-smi", "echo GPU 0")
    log = put_environment(tmp_path)
    put(tmp_path / ".venv" / "bin" / "zkpot", "exit 1")
    assert make_gpu().returncode != 0
    assert not log.exists()


@pytest.mark.skipif(shutil.which("compute-sanitizer") is not None, reason="the sanitizer is here")
def test_without_the_sanitizer_it_says_so_and_goes_on(
    make_gpu: Make, tmp_path: Path, tools: Path
) -> None:
    put(tools / "nvidia-smi", "echo GPU 0")
    log = put_environment(tmp_path)
    done = make_gpu()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "compute-sanitizer is not installed" in done.stdout
    assert log.read_text().splitlines()[-1] == "zkpot bench cuda"
