"""Where a benchmark ran: the processor and the commit, so that only like is compared with like."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

from kernels.machine import count_processors, describe_processor

ROOT = Path(__file__).resolve().parent.parent


def describe_device() -> str:
    """Processor, usable cores and system in words."""
    n_cores = count_processors()
    return f"{describe_processor()}, {n_cores} cores, {platform.system()} {platform.machine()}"


def describe_commit() -> str:
    """Commit of the tree, with "-dirty" if it has changes; "unknown" outside a repository."""
    try:
        head = _git("rev-parse", "HEAD")
        return f"{head}-dirty" if _git("status", "--porcelain", "--untracked-files=no") else head
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()
