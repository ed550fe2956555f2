"""ezkl (halo2 with KZG): the same network in one proof of ten samples, in a process of its own.

`$EZKL_PYTHON` names the interpreter that has `ezkl` and `onnx`; default: the one that runs this.
Measured: `ezkl.prove` alone, with keys and witness made before. It keeps weights private but binds
them to no commitment, which makes its statement weaker than ours.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import Unavailable
from bench.proving import AccuracyBench
from bench.registry import Task
from bench.scratch import Scratch
from bench.settings import ezkl_python
from kernels.numpy_types import Float32Array

BATCH = 10
PIXEL_MAX = 255
WEIGHT_MAX = 127
CHILD = Path(__file__).with_name("ezkl_child.py")
LIMIT_S = 900


def prove_task(bench: AccuracyBench) -> Task[Any]:
    """Seconds per sample. Raises Unavailable without ezkl; two or three minutes of setup."""
    _require_ezkl()
    scratch = Scratch()
    images, labels = bench.samples(BATCH)
    w0, b0, w1, b1 = float_network(bench)
    np.savez(scratch.file("network.npz"), labels=labels, w0=w0, b0=b0, w1=w1, b1=b1)
    pixels = (images.reshape(-1) / PIXEL_MAX).tolist()
    scratch.file("input.json").write_text(json.dumps({"input_data": [pixels]}))
    _run("setup", scratch)
    expected = bench.count_correct(images, labels)

    def run() -> dict[str, Any]:
        result: dict[str, Any] = json.loads(_run("prove", scratch).splitlines()[-1])
        return result

    return Task(
        run=run,
        answer=lambda r: [r["valid"], r["forged"], r["correct"] == expected],
        reading=lambda r: float(r["seconds"]) / BATCH,
        n_max=1,
    )


def float_network(bench: AccuracyBench) -> tuple[Float32Array, ...]:
    """w0, b0, w1, b1 of the quantized model in real numbers, before rounding.

    With x in [0, 1]: y/255 = relu(w0 x + b0); logits are divided by 255 * 127. What is the greatest
    stays the greatest.
    """
    model = bench.model
    requant = model.architecture.layers[0].requant
    assert requant is not None, "the first layer is hidden"
    step = requant.multipliers[0] / (1 << requant.shift)
    w0, w1 = (w.astype(np.float64) for w in model.weights)
    b0, b1 = (b.astype(np.float64) for b in model.biases)
    scaled = (w0 * step, b0 * step / PIXEL_MAX, w1 / WEIGHT_MAX, b1 / (PIXEL_MAX * WEIGHT_MAX))
    return tuple(values.astype(np.float32) for values in scaled)


def _require_ezkl() -> None:
    words = [ezkl_python(), "-I", "-c", "import ezkl, onnx"]
    try:
        done = subprocess.run(words, capture_output=True, timeout=LIMIT_S, check=False)
    except OSError as error:
        raise Unavailable(f"$EZKL_PYTHON cannot be run: {error.strerror}") from error
    if done.returncode:
        raise Unavailable("ezkl or onnx is not installed (name an interpreter in $EZKL_PYTHON)")


def _run(step: str, scratch: Scratch) -> str:
    words = [ezkl_python(), "-I", str(CHILD), step, str(scratch.path)]  # -I: this file is no `ezkl`
    done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise Unavailable(f"ezkl {step} failed: {last}")
    return done.stdout
