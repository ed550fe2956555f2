"""Peers that live in another interpreter: one script each, run step by step in a folder."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import Unavailable
from bench.settings import child_environment
from kernels.machine import count_memory

FOLDER = Path(__file__).parent
START_LIMIT_S = 120
GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """An interpreter with a peer's packages.

    setting     : of the environment, which names the interpreter
    packages    : what it must be able to import
    limit_s     : seconds for one step
    environment : what it has beside that of this process
    """

    name: str
    setting: str
    python: str
    packages: tuple[str, ...]
    limit_s: int
    environment: Mapping[str, str] = field(default_factory=dict)

    def require(self, least_bytes: int = 0) -> None:
        """Raises Unavailable without the packages, or on a machine that has less memory."""
        words = [self.python, "-I", "-c", f"import {', '.join(self.packages)}"]
        try:
            done = subprocess.run(words, capture_output=True, timeout=START_LIMIT_S, check=False)
        except OSError as error:
            raise Unavailable(f"${self.setting} cannot be run: {error.strerror}") from error
        if done.returncode:
            raise Unavailable(
                f"{' or '.join(self.packages)} is not installed "
                f"(name an interpreter in ${self.setting})"
            )
        there = count_memory()
        if there is not None and there < least_bytes:
            raise Unavailable(
                f"{self.name} takes {least_bytes / GIB:.0f} GiB, this machine has {there / GIB:.0f}"
            )

    def run(self, script: str, *arguments: str) -> str:
        """What the script prints. Raises Unavailable where it fails or takes too long."""
        # -I: `bench/peers/ezkl.py` is no `ezkl`
        words = [self.python, "-I", str(FOLDER / script), *arguments]
        try:
            done = subprocess.run(
                words,
                capture_output=True,
                text=True,
                timeout=self.limit_s,
                env=child_environment(**self.environment),
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Unavailable(f"{self.name} {arguments[0]} took over {self.limit_s} s") from None
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise Unavailable(f"{self.name} {arguments[0]} failed: {last[-200:]}")
        return done.stdout

    def run_json(self, script: str, *arguments: str) -> dict[str, Any]:
        """The JSON object in the last line that the script prints."""
        found: dict[str, Any] = json.loads(self.run(script, *arguments).splitlines()[-1])
        return found
