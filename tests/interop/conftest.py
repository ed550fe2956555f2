"""The real snarkjs, installed once: a fixture of all tests of this folder.

npm installs the pinned version once into `build/`; without node, npm or a registry these skip.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.npm import install
from tests.support.snarkjs import SnarkJs

PACKAGE = "snarkjs@0.7.6"
WAIT_S = 3600.0  # of one command, the longest: to prepare powers for a large circuit


@pytest.fixture(scope="session")
def snarkjs(root: Path) -> SnarkJs:
    """snarkjs(*arguments): whether it exits with 0."""
    program = install(root, PACKAGE, "build/cli.cjs")

    def run(*arguments: object) -> bool:
        words = ["node", str(program), *map(str, arguments)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=WAIT_S, check=False)
        assert done.returncode in (0, 1), done.stderr  # anything else: it could not run
        return done.returncode == 0

    return run
