"""Programs of npm, at pinned versions, installed once into `build/`."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest


def install(root: Path, package: str, program: str) -> Path:
    """The file `program` of a package such as `name@version`; skips the test without node, npm or
    a registry. The first process that asks installs it."""
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not found: install Node.js to run {package}")
    folder = root / "build" / "interop" / package
    found = folder / "node_modules" / package.rpartition("@")[0] / program
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.exists():
            quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock")
            words = ["npm", "install", *quiet, "--prefix", str(folder), package]
            done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
            if done.returncode or not found.exists():
                pytest.skip(f"npm cannot install {package}: {done.stderr.strip()[-200:]}")
    return found
