"""rapidsnark (C++ and assembly): its `prover` on the same files, a whole process.

`$RAPIDSNARK_PROVER` names the program, built from iden3/rapidsnark: by the project's own files, or
by cmake with nasm and GMP. It tests no points of a key, and does not verify what it has made.
"""

from __future__ import annotations

import subprocess
from typing import Any

from bench.errors import Unavailable
from bench.foreign import ForeignBench
from bench.registry import Task
from bench.scratch import Scratch
from bench.settings import rapidsnark_prover
from prover.formats.json_io import read_proof, read_public

LIMIT_S = 600


def prove_task(bench: ForeignBench) -> Task[Any]:
    """One process from start to end. Raises Unavailable where it cannot be run."""
    scratch = Scratch()
    proof, public = scratch.file("proof.json"), scratch.file("public.json")
    words = [rapidsnark_prover(), *map(str, (bench.zkey, bench.wtns, proof, public))]

    def run() -> Scratch:
        try:
            done = subprocess.run(
                words, capture_output=True, text=True, timeout=LIMIT_S, check=False
            )
        except OSError as error:
            raise Unavailable(f"$RAPIDSNARK_PROVER cannot be run: {error.strerror}") from error
        if done.returncode:
            raise Unavailable(f"rapidsnark ended with {done.returncode}")
        return scratch

    return Task(run=run, answer=lambda _: bench.judge(read_public(public), read_proof(proof)))
