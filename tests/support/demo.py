"""One run of `zkpot demo`, for all tests that look at what it leaves behind."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = Path(sys.executable).parent / "zkpot"
LIMIT_S = 1100


def zkpot(
    data_dir: Path, *arguments: str, limit_s: float = LIMIT_S
) -> subprocess.CompletedProcess[str]:
    """A command as a process of its own, with this data directory."""
    return subprocess.run(
        [PROGRAM, *arguments],
        env={**os.environ, "ZKPOT_DATA_DIR": str(data_dir)},
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )


@dataclass(frozen=True)
class Demo:
    """A demonstration that has ended. told : what it said, as JSON"""

    data_dir: Path
    told: dict[str, Any]

    @property
    def folder(self) -> Path:
        return self.data_dir / "demo"

    @property
    def homes(self) -> list[Path]:
        """The validators' folders, by index."""
        return sorted((self.folder / "chain").glob("node-*"))


def run_once(folder: Path) -> Demo:
    """Runs it from an empty folder, or finds that another process has run it there.

    Who comes second waits: a second run would take longer.
    """
    data_dir, told = folder / "data", folder / "told.json"
    folder.mkdir(exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not told.exists():
            done = zkpot(data_dir, "demo", "--json")
            assert done.returncode == 0, done.stderr + done.stdout
            assert "page: http://127.0.0.1:" in done.stderr
            told.write_text(done.stdout)
    return Demo(data_dir=data_dir, told=json.loads(told.read_text()))
