"""jstprove (GKR on Expander): one sample in one proof, in processes of its own.

`$JSTPROVE_PYTHON` names the interpreter that has `jstprove` 2.1; default: the one that runs this.
Measured: the time that its prover tells, without the start of its Python. Its circuit holds the
weights, and its verifier needs the circuit: weights are no secret. It knows no average pools, so it
proves the network with maxima in their place.

Version 2.1.0 is the last that pip installs on Python 3.11; it wants OpenMPI (Debian: libopenmpi3)
and pins torch 2.6, onnx 1.17 and transformers, though newer ones serve: `pip install --no-deps
jstprove==2.1.0 onnxruntime_extensions psutil toml` beside torch, onnx and onnxruntime. From 2.9 on
the package is for Python 3.12 and has another prover, whose proof for a network of 1,392 weights
had 145 MB and took minutes to verify.
"""

from __future__ import annotations

import json
from typing import Any

from bench.peers.children import Child
from bench.peers.float_graph import PIXEL_MAX, take_maxima, take_surest, write_graph
from bench.proving import AccuracyBench
from bench.scratch import Scratch
from bench.settings import ezkl_python, jstprove_python
from prover.model.network import is_correct

LIMIT_S = 1500
# MPI refuses root otherwise, which is who containers run as.
ROOT_MAY = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
N_CANDIDATES = 64  # among which is the sample it proves


def measure(bench: AccuracyBench, least_bytes: int = 0) -> dict[str, Any]:
    """One proof of one sample: what `jstprove_child.py` prints, and `answers`.

    Raises Unavailable without jstprove, without ezkl's interpreter for its `onnx`, or where the
    machine has less memory than `least_bytes`.
    """
    child = Child(
        name="jstprove",
        setting="JSTPROVE_PYTHON",
        python=jstprove_python(),
        packages=("python.frontend.cli",),
        environment=ROOT_MAY,
        limit_s=LIMIT_S,
    )
    child.require(least_bytes)
    writer = Child(
        name="onnx",
        setting="EZKL_PYTHON",
        python=ezkl_python(),
        packages=("onnx",),
        limit_s=LIMIT_S,
    )
    writer.require()
    scratch, model = Scratch(), take_maxima(bench.model)
    images, labels = take_surest(model, *bench.samples(N_CANDIDATES), 1)
    write_graph(model, images, labels, scratch.path)
    writer.run("onnx_child.py", str(scratch.path))
    pixels = (images.reshape(-1) / PIXEL_MAX).tolist()
    scratch.file("sample.json").write_text(json.dumps({"input": pixels}))
    found = child.run_json("jstprove_child.py", str(scratch.path))
    expected = bool(is_correct(model.logits(images), labels)[0])
    is_right = found["class"] == int(labels[0])
    return found | {"answers": [found["valid"], found["forged"], is_right == expected]}
