"""What this process may use of its machine: processors and memory; and what processor it is.

A container sees the processors and the memory of its host. How much of them it may use stands in
its scheduling affinity and in its control groups, version 1 or 2, of which every one above it
limits it too. What cannot be read limits nothing.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from kernels.errors import SettingInvalid

_ROOT = Path("/")


def count_processors(root: Path = _ROOT, affinity: int | None = None) -> int:
    """Processors that this process can keep busy, at least 1.

    root     : where /proc and the control groups are looked for
    affinity : processors that it may be scheduled on; default: as the system says
    holds    : a quota of 1.5 processors counts as 2, so that nothing is left unused
    """
    found = _get_affinity() if affinity is None else affinity
    for folder in _list_groups(root, "cpu"):
        found = min([found, *_read_quotas(folder)])
    return max(found, 1)


def describe_processor(root: Path = _ROOT) -> str:
    """The model of the first processor, as the system names it. root : where /proc is looked for"""
    lines = _read(root / "proc" / "cpuinfo").splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return next((name for name in names if name), platform.processor() or "unknown processor")


def bound_threads(wanted: str, most: int) -> int:
    """Threads for a process that may have so many: `most`, or fewer where `$ZKPOT_THREADS` says so.

    wanted : what the variable holds; empty: unset. Raises SettingInvalid.
    """
    if not wanted:
        return most
    if not wanted.isdecimal() or int(wanted) < 1:
        raise SettingInvalid(f"ZKPOT_THREADS={wanted!r}: expected a whole number of at least 1")
    return min(int(wanted), most)


def count_memory(root: Path = _ROOT) -> int | None:
    """Bytes of memory that all processes of this control group share; None when nobody says."""
    limits = []
    for line in _read(root / "proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        if name == "MemTotal" and rest.split()[:1] and rest.split()[0].isdecimal():
            limits.append(int(rest.split()[0]) << 10)
    for folder in _list_groups(root, "memory"):
        for file in ("memory.max", "memory.limit_in_bytes"):
            text = _read(folder / file).strip()
            limits += [int(text)] if text.isdecimal() and int(text) > 0 else []
    return min(limits, default=None)


def _get_affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _read_quotas(folder: Path) -> list[int]:
    """Processors that one control group allows, as either version writes it; [] when any number."""
    fields = _read(folder / "cpu.max").split()  # "QUOTA PERIOD", or "max PERIOD"
    files = ("cpu.cfs_quota_us", "cpu.cfs_period_us")  # -1: no quota
    pairs = [fields, [_read(folder / file).strip() for file in files]]
    numbers = [(int(p[0]), int(p[1])) for p in pairs if len(p) == 2 and all(map(_is_count, p))]
    return [-(-quota // period) for quota, period in numbers]


def _is_count(text: str) -> bool:
    return text.isdecimal() and int(text) > 0


def _list_groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of this process's control groups that have a controller, and of all above them."""
    own = [line.split(":", 2) for line in _read(root / "proc/self/cgroup").splitlines()]
    for line in _read(root / "proc/self/mountinfo").splitlines():
        mounted, kind = (part.split() for part in line.partition(" - ")[::2])
        if len(mounted) < 5 or len(kind) < 3:
            continue
        top, mount, version, options = mounted[3], mounted[4], kind[0], kind[2]
        for _, names, path in (group for group in own if len(group) == 3):
            unified = version == "cgroup2" and names == ""
            legacy = version == "cgroup" and controller in names.split(",")
            if unified or (legacy and controller in options.split(",")):
                yield from _climb(root / mount.lstrip("/"), top, path)


def _climb(mount: Path, top: str, path: str) -> Iterator[Path]:
    """The mounted group and those below it, down to the process's; the first alone when its path
    is of another namespace."""
    yield mount
    if not PurePosixPath(path).is_relative_to(top) or ".." in PurePosixPath(path).parts:
        return
    below = PurePosixPath(path).relative_to(top).parts
    for n in range(1, len(below) + 1):
        yield mount.joinpath(*below[:n])


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
