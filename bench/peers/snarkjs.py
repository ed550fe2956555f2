"""snarkjs 0.7.6: `groth16 prove` on the same files, a whole process. npm fetches it once."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from time import perf_counter
from typing import Any

from bench.errors import Unavailable
from bench.foreign import ForeignBench
from bench.registry import Task
from bench.scratch import Scratch
from prover.formats.json_io import read_proof, read_public

PACKAGE = "snarkjs@0.7.6"
FOLDER = Path("bench") / "out" / PACKAGE
LIMIT_S = 600


def prove_task(bench: ForeignBench) -> Task[Any]:
    """Seconds of the process, by its own clock so that one run is enough.

    Raises Unavailable without node, npm or a registry.
    """
    program = _install()
    scratch = Scratch()
    outputs = proof, public = scratch.file("proof.json"), scratch.file("public.json")
    words = [
        "node",
        str(program),
        "groth16",
        "prove",
        *map(str, (bench.zkey, bench.wtns, *outputs)),
    ]

    def run() -> tuple[Scratch, float]:
        start = perf_counter()
        done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        if done.returncode:
            raise Unavailable(f"snarkjs ended with {done.returncode}")
        return scratch, perf_counter() - start

    return Task(
        run=run,
        answer=lambda _: bench.judge(read_public(public), read_proof(proof)),
        reading=lambda result: result[1],
        n_max=1,
    )


def _install() -> Path:
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    if missing:
        raise Unavailable(f"{' and '.join(missing)} not found")
    program = FOLDER / "node_modules" / "snarkjs" / "build" / "cli.cjs"
    if not program.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock")
        words = ["npm", "install", *quiet, "--prefix", str(FOLDER), PACKAGE]
        subprocess.run(words, capture_output=True, timeout=LIMIT_S, check=False)
    if not program.exists():
        raise Unavailable(f"npm cannot install {PACKAGE}")
    return program
