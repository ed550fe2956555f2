"""ezkl (halo2 with KZG): the same network in one proof of a batch, in a process of its own.

`$EZKL_PYTHON` names the interpreter that has `ezkl` and `onnx`; default: the one that runs this.
Measured: `ezkl.prove` alone, with keys and witness made before. It keeps weights private but binds
them to no commitment, which makes its statement weaker than ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.peers.children import Child
from bench.peers.float_graph import take_surest, write_graph
from bench.proving import AccuracyBench
from bench.registry import Task
from bench.scratch import Scratch
from bench.settings import ezkl_python

BATCH = 10
N_CANDIDATES = 64  # among which are the samples it proves
LIMIT_S = 900


def prove_task(bench: AccuracyBench) -> Task[Any]:
    """Seconds per sample of one proof of BATCH samples. Raises Unavailable without ezkl."""
    run, expected = prepare(bench, BATCH)
    return Task(
        run=run,
        answer=lambda r: [r["valid"], r["forged"], r["correct"] == expected],
        reading=lambda r: float(r["seconds"]) / BATCH,
        n_max=1,
    )


def measure(bench: AccuracyBench, batch: int, least_bytes: int = 0) -> dict[str, Any]:
    """One proof of `batch` samples: what `ezkl_child.py` prints, and the seconds of setup.

    answers     : as `bench.proving.PROVEN`
    least_bytes : of memory that it takes. Raises Unavailable without them, or without ezkl.
    """
    run, expected = prepare(bench, batch, least_bytes)
    found = run()
    return found | {"answers": [found["valid"], found["forged"], found["correct"] == expected]}


def prepare(
    bench: AccuracyBench, batch: int, least_bytes: int = 0
) -> tuple[Callable[[], dict[str, Any]], int]:
    """(what makes a proof, how many of its samples are correct); minutes of setup."""
    child = _find()
    child.require(least_bytes)
    scratch = Scratch()
    images, labels = take_surest(bench.model, *bench.samples(N_CANDIDATES), batch)
    write_graph(bench.model, images, labels, scratch.path)
    child.run("onnx_child.py", str(scratch.path))
    setup = child.run_json("ezkl_child.py", "setup", str(scratch.path))

    def run() -> dict[str, Any]:
        found = child.run_json("ezkl_child.py", "prove", str(scratch.path))
        return found | {"setup_s": setup["seconds"], "key_bytes": setup["key_bytes"]}

    return run, bench.count_correct(images, labels)


def _find() -> Child:
    return Child(
        name="ezkl",
        setting="EZKL_PYTHON",
        python=ezkl_python(),
        packages=("ezkl", "onnx"),
        limit_s=LIMIT_S,
    )
