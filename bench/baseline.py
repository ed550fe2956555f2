"""Results kept in the repository: `bench/baselines/DEVICE.json`, one file for each kind of GPU.

{device, driver, clocks: {sm_mhz, sm_max_mhz, memory_max_mhz}, commit, rows}
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypedDict

from bench.device import describe_commit
from bench.registry import Row
from kernels.files import write_whole

BASELINES = Path("bench") / "baselines"
UNKNOWN = "unknown"
_CLOCKS = {
    "sm_mhz": "clocks.sm",
    "sm_max_mhz": "clocks.max.sm",
    "memory_max_mhz": "clocks.max.mem",
}
_QUERY_LIMIT_S = 30


class Baseline(TypedDict):
    """The content of a file. `clocks` that the driver does not tell are 0."""

    device: str
    driver: str
    clocks: dict[str, int]
    commit: str
    rows: list[Row]


def query_driver() -> str:
    """A line for each GPU: name, driver and clocks. Empty without nvidia-smi."""
    columns = ",".join(("name", "driver_version", *_CLOCKS.values()))
    command = ["nvidia-smi", f"--query-gpu={columns}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_QUERY_LIMIT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


def describe_gpu(name: str, lines: str) -> tuple[str, dict[str, int]]:
    """(driver, clocks) of the first GPU of that name in what `query_driver` gives."""
    for line in lines.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == 2 + len(_CLOCKS) and cells[0] == name:
            clocks = [int(cell) if cell.isdecimal() else 0 for cell in cells[2:]]
            return cells[1], dict(zip(_CLOCKS, clocks, strict=True))
    return UNKNOWN, dict.fromkeys(_CLOCKS, 0)


def save_baseline(
    rows: Sequence[Row],
    *,
    device: str,
    folder: Path = BASELINES,
    query: Callable[[], str] = query_driver,
) -> Path:
    """Writes the rows of a run on that device, in place of an older run's."""
    driver, clocks = describe_gpu(device, query())
    baseline = Baseline(
        device=device, driver=driver, clocks=clocks, commit=describe_commit(), rows=list(rows)
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name_file(device)}.json"
    write_whole(path, [f"{json.dumps(baseline, indent=1)}\n".encode()])
    return path


def name_file(device: str) -> str:
    """ "NVIDIA H100 80GB HBM3" -> "nvidia-h100-80gb-hbm3"."""
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-") or UNKNOWN
