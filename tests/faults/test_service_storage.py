"""A server that cannot store and a disk that is full: a finished proof waits, nothing is lost."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from api.queue.jobs import JobState
from prover.wire.verdict import Verdict
from tests.support.service_lab import Lab, await_line, go_on, open_lab

DISK_KIB = 2048


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    folder = tmp_path / "disk"
    folder.mkdir()
    if sys.platform != "linux" or mount is None or umount is None:
        pytest.skip("a small disk needs Linux and `mount`")
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={DISK_KIB}k", "tmpfs", folder], capture_output=True
    )
    if made.returncode != 0:
        pytest.skip("a small disk needs the right to mount one")
    yield folder
    subprocess.run([umount, folder], check=True)


def fill(folder: Path) -> Path:
    """A file that takes all that is left."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as stream:
        while _has_written(stream, bytes(4096)):
            pass
    return path


def _has_written(stream: FileIO, raw: bytes) -> bool:
    try:
        return stream.write(raw) > 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False


def can_store(lab: Lab) -> bool:
    try:
        lab.queue.redis.set("probe", os.urandom(1 << 13))
    except RedisError:
        return False
    return True


def test_a_full_disk_holds_a_result_back_until_there_is_room(small_disk: Path, keys: Path) -> None:
    with open_lab(small_disk / "lab", keys) as lab:
        job = lab.submit(lab.make_spec())
        worker = lab.start_worker("w", hold="publish")
        await_line(worker, "held")
        filler = fill(small_disk)
        while can_store(lab):  # the append-only file meets the full disk
            pass
        go_on(worker)
        running = lab.queue.get(job)
        assert running is not None
        assert running.state is JobState.RUNNING
        filler.unlink()
        record = lab.await_end(job)
        assert record.state is JobState.DONE
        assert lab.judge(record) == [Verdict.VALID]
        assert lab.count_ends(job) == 1


def test_a_server_without_memory_refuses_and_takes_the_result_later(
    tmp_path: Path, keys: Path
) -> None:
    with open_lab(tmp_path / "lab", keys) as lab:
        job = lab.submit(lab.make_spec())
        worker = lab.start_worker("w", hold="publish")
        await_line(worker, "held")
        lab.queue.redis.config_set("maxmemory", "1")
        assert not can_store(lab)
        go_on(worker)
        running = lab.queue.get(job)
        assert running is not None
        assert running.state is JobState.RUNNING
        lab.queue.redis.config_set("maxmemory", "0")
        record = lab.await_end(job)
        assert record.state is JobState.DONE
        assert lab.judge(record) == [Verdict.VALID]
        assert lab.count_ends(job) == 1
