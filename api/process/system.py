"""What a process takes of its machine."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

_QUERY = ("nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits")


def read_resident_bytes() -> int:
    """Memory that this process holds now; at its peak where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def read_gpu_utilization(backend: str, address: str | None = None) -> float | None:
    """Busy share of a GPU in [0, 1]; None for another backend, or when nobody tells.

    address : of the GPU on the bus; default the first one
    """
    if backend != "cuda" or shutil.which(_QUERY[0]) is None:
        return None
    query = [*_QUERY, *([] if address is None else [f"--id={address}"])]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=5, check=True)
        return int(done.stdout.splitlines()[0]) / 100
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None
