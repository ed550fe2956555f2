"""Measurements that need a process of their own: peak memory, and starting from a cold cache.

`python -m bench.isolated start` and `python -m bench.isolated memory LG_N` print one JSON object
{answers, value}; the functions below start them and read it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from bench.errors import Unavailable
from bench.inputs import (
    Inputs,
    digest_mont,
    expect_msm_g1,
    expect_msm_g2,
    expect_ntt,
    random_scalars,
)
from bench.registry import Task
from kernels.array import FrMont, G1Array, G2Array, SparseMatrix
from kernels.backend import get_backend
from kernels.bn254 import G1, G2, P, R

START_LG_N = 10
WARM_LG_N = 10
MIB = float(1 << 20)
CHILD_LIMIT_S = 900


def cold_start_task() -> Task[dict[str, Any]]:
    """Seconds of a whole process that compiles and uses every kernel, its cache being empty."""

    def run() -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as empty:
            return _timed_start(cache_dir=Path(empty))

    return Task(run=run, answer=_answers, reading=_value)


def warm_start_task() -> Task[dict[str, Any]]:
    """The same with the user's cache, which a first run fills."""
    _timed_start(cache_dir=None)
    return Task(run=partial(_timed_start, cache_dir=None), answer=_answers, reading=_value)


def _timed_start(*, cache_dir: Path | None) -> dict[str, Any]:
    start = perf_counter()
    result = run_child("start", cache_dir=cache_dir)
    return result | {"value": perf_counter() - start}


def memory_task(lg_n: int) -> Task[dict[str, Any]]:
    """MiB that the peak of one MSM of 2^lg_n adds to a process that holds its inputs."""
    return Task(run=partial(run_child, "memory", str(lg_n)), answer=_answers, reading=_value)


def run_child(
    *arguments: str,
    cache_dir: Path | None = None,
    module: str = "bench.isolated",
    limit_s: int = CHILD_LIMIT_S,
) -> dict[str, Any]:
    """The JSON object that `python -m MODULE ARGUMENTS` prints.

    Raises Unavailable with the last line of its errors if it fails, or if it takes longer.
    """
    place = [] if cache_dir is None else ["env", f"ZKPOT_CACHE_DIR={cache_dir}"]
    command = [*place, sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise Unavailable(f"process ended with {done.returncode}: {last}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def expect_start() -> list[Any]:
    """The answers of `use_every_kernel`."""
    n = 1 << START_LG_N
    scalars = random_scalars(n)
    answers: list[Any] = _as_json(
        [
            expect_msm_g1(scalars),
            expect_msm_g2(scalars[:64]),
            expect_ntt(START_LG_N),
            [True, False],
            [(3 * i + 2 * pow(i + 1, -1, R)) % R for i in range(n)],
        ]
    )
    return answers


def expect_memory(lg_n: int) -> Any:
    """The answer of `memory_task`."""
    return _as_json(expect_msm_g1(random_scalars(1 << lg_n)))


def use_every_kernel() -> list[Any]:
    """One small call of each operation that a prover and a verifier use."""
    from kernels.pairing import pairing_product_is_one

    backend = get_backend("cpu")
    inputs = Inputs(backend)
    n = 1 << START_LG_N
    scalars = random_scalars(n)
    g2 = G2Array.from_ints([G2, G2])
    cancel, repeat = G1Array.from_ints([G1, (1, P - 2)]), G1Array.from_ints([G1, G1])
    counting = FrMont.from_ints(range(n))
    inverses = backend.batch_inverse(FrMont.from_ints(range(1, n + 1)))
    combined = backend.add(backend.matvec(_diagonal(n, 3), counting), backend.scale(inverses, 2))
    answers: list[Any] = _as_json(
        [
            backend.msm_g1(scalars, inputs.bases_g1(n)).to_ints()[0],
            backend.msm_g2(scalars[:64], inputs.bases_g2(64)).to_ints()[0],
            digest_mont(backend.ntt(inputs.sequence(n)), backend),
            [pairing_product_is_one(cancel, g2), pairing_product_is_one(repeat, g2)],
            combined.to_ints(),
        ]
    )
    return answers


def measure_memory(lg_n: int) -> tuple[Any, float]:
    """(affine result, MiB of peak beyond inputs) of one MSM in G1, kernels already loaded."""
    backend = get_backend("cpu")
    inputs = Inputs(backend)
    scalars, bases = random_scalars(1 << lg_n), inputs.bases_g1(1 << lg_n)
    small = 1 << WARM_LG_N
    backend.msm_g1(scalars[:small], bases[:small])
    reset_peak()
    before = read_status_bytes("VmRSS")
    total = backend.msm_g1(scalars, bases)
    beyond = (read_status_bytes("VmHWM") - before) / MIB
    return total.to_ints()[0], beyond


def reset_peak() -> None:
    """Forgets the peak of the resident set so far (Linux). Raises OSError elsewhere."""
    Path("/proc/self/clear_refs").write_text("5")


def read_status_bytes(field: str) -> int:
    """A field of /proc/self/status that counts in kB, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}")


def _diagonal(n: int, factor: int) -> SparseMatrix:
    return SparseMatrix(
        indptr=np.arange(n + 1, dtype=np.int64),
        cols=np.arange(n, dtype=np.uint32),
        coeffs=np.full(n, factor, dtype=np.int64),
        n_cols=n,
        wide=FrMont(np.zeros((0, 4), dtype=np.uint64)),
    )


def _answers(result: dict[str, Any]) -> Any:
    return result["answers"]


def _value(result: dict[str, Any]) -> float:
    return float(result["value"])


def _as_json(value: Any) -> Any:
    """What the value is after a trip through JSON: tuples are lists."""
    return json.loads(json.dumps(value))


def main(arguments: list[str]) -> None:
    """Entry of the child process."""
    match arguments:
        case ["start"]:
            print(json.dumps({"answers": use_every_kernel(), "value": 0.0}))
        case ["memory", lg_n]:
            total, beyond = measure_memory(int(lg_n))
            print(json.dumps({"answers": total, "value": beyond}))
        case _:
            raise SystemExit("usage: python -m bench.isolated start | memory LG_N")


if __name__ == "__main__":
    main(sys.argv[1:])
