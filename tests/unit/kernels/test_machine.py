"""Processors and memory that a process may use: affinity and control groups, from false files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from kernels.machine import count_memory, count_processors

GIB = 1 << 30
V2_MOUNT = "30 23 0:26 {top} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNTS = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "33 31 0:30 {top} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 {top} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)
MEMINFO = "MemTotal:       16777216 kB\nMemFree:         100000 kB\n"


def write(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def write_v2(root: Path, files: Mapping[str, str], *, top: str = "/", own: str = "/") -> Path:
    names = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    process = {"proc/self/cgroup": f"0::{own}\n", "proc/self/mountinfo": V2_MOUNT.format(top=top)}
    return write(root, process | names)


def write_v1(root: Path, files: Mapping[str, str], *, top: str = "/", own: str = "/") -> Path:
    names = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    groups = f"9:name=systemd:{own}\n4:memory:{own}\n3:cpuset:/\n2:cpu,cpuacct:{own}\n0::/\n"
    process = {"proc/self/cgroup": groups, "proc/self/mountinfo": V1_MOUNTS.format(top=top)}
    return write(root, process | names)


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("max 100000", 64),
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("10000 100000", 1),
        ("25600000 100000", 64),
        ("1000000 500000", 2),
        ("", 64),
        ("nonsense", 64),
        ("-1 100000", 64),
        ("0 100000", 64),
        ("200000 0", 64),
    ],
)
def test_a_quota_of_version_2_bounds_processors(tmp_path: Path, quota: str, expected: int) -> None:
    assert count_processors(write_v2(tmp_path, {"cpu.max": quota + "\n"}), 64) == expected


@pytest.mark.parametrize(
    ("quota", "expected"), [("-1", 64), ("300000", 3), ("50000", 1), ("", 64), ("x", 64)]
)
def test_a_quota_of_version_1_bounds_processors(tmp_path: Path, quota: str, expected: int) -> None:
    files = {"cpu,cpuacct/cpu.cfs_quota_us": quota, "cpu,cpuacct/cpu.cfs_period_us": "100000"}
    assert count_processors(write_v1(tmp_path, files), 64) == expected


def test_affinity_bounds_what_a_quota_would_allow(tmp_path: Path) -> None:
    assert count_processors(write_v2(tmp_path, {"cpu.max": "800000 100000"}), 3) == 3


def test_every_group_above_counts(tmp_path: Path) -> None:
    """The least of them, wherever it stands; groups beside it do not."""
    files = {
        "cpu.max": "max 100000",
        "pods/cpu.max": "400000 100000",
        "pods/one/cpu.max": "max 100000",
        "pods/two/cpu.max": "100000 100000",
    }
    assert count_processors(write_v2(tmp_path, files, own="/pods/one"), 64) == 4
    files["pods/one/cpu.max"] = "200000 100000"
    assert count_processors(write_v2(tmp_path, files, own="/pods/one"), 64) == 2


@pytest.mark.parametrize(("top", "own"), [("/docker/ab", "/docker/ab"), ("/docker/ab", "/../cd")])
@pytest.mark.parametrize("lay", [write_v1, write_v2])
def test_a_container_sees_its_group_as_the_top(
    tmp_path: Path, lay: Callable[..., Path], top: str, own: str
) -> None:
    files = {
        "cpu.max": "200000 100000",
        "cpu,cpuacct/cpu.cfs_quota_us": "200000",
        "cpu,cpuacct/cpu.cfs_period_us": "100000",
    }
    assert count_processors(lay(tmp_path, files, top=top, own=own), 64) == 2


def test_what_cannot_be_read_limits_nothing(tmp_path: Path) -> None:
    assert count_processors(tmp_path, 5) == 5
    assert count_processors(tmp_path, 0) == 1
    assert count_memory(tmp_path) is None
    broken = {"proc/self/cgroup": "x\n1:cpu\n", "proc/self/mountinfo": "a - b\n - \n\n1 2 3\n"}
    assert count_processors(write(tmp_path, broken), 5) == 5


def test_this_machine_has_processors_and_memory() -> None:
    assert count_processors() >= 1
    assert (count_memory() or GIB) >= GIB // 4


def test_memory_is_the_least_of_machine_and_groups(tmp_path: Path) -> None:
    root = write_v2(tmp_path, {"memory.max": "max\n"})
    assert count_memory(root) is None
    write(root, {"proc/meminfo": MEMINFO})
    assert count_memory(root) == 16 * GIB
    write(root, {"sys/fs/cgroup/memory.max": f"{2 * GIB}\n"})
    assert count_memory(root) == 2 * GIB
    unlimited = {"memory/memory.limit_in_bytes": "9223372036854771712\n", "memory.max": "max\n"}
    assert count_memory(write_v1(tmp_path, unlimited)) == 16 * GIB
    limited = {"memory/memory.limit_in_bytes": f"{3 * GIB}\n"}
    assert count_memory(write_v1(tmp_path, limited)) == 3 * GIB
