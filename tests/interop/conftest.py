"""The real snarkjs, installed once: a fixture of all tests of this folder.

npm installs the pinned version once into `build/`; without node, npm or a registry these skip.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.snarkjs import SnarkJs

PACKAGE = "snarkjs@0.7.6"
WAIT_S = 3600.0  # of one command, the longest: to prepare powers for a large circuit


def install(folder: Path) -> Path:
    """The command-line program of the package, installed by the first process that asks."""
    program = folder / "node_modules" / "snarkjs" / "build" / "cli.cjs"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock")
            words = ["npm", "install", *quiet, "--prefix", str(folder), PACKAGE]
            done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
            if done.returncode or not program.exists():
                pytest.skip(f"npm cannot install {PACKAGE}: {done.stderr.strip()[-200:]}")
    return program


@pytest.fixture(scope="session")
def snarkjs(root: Path) -> SnarkJs:
    """snarkjs(*arguments): whether it exits with 0."""
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not found: install Node.js to run snarkjs")
    program = install(root / "build" / "interop" / PACKAGE)

    def run(*arguments: object) -> bool:
        words = ["node", str(program), *map(str, arguments)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=WAIT_S, check=False)
        assert done.returncode in (0, 1), done.stderr  # anything else: it could not run
        return done.returncode == 0

    return run
