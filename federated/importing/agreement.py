"""What the file itself answers, by onnxruntime, beside what the integers answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as runtime_errors

from federated.errors import OnnxFileInvalid
from federated.importing.network import Samples
from kernels.numpy_types import BoolArray, Float64Array, Int64Array, UInt8Array

_AT_ONCE = 64
_QUIET = 4  # errors that are raised need no line of a log as well
_RAISED = tuple(
    kind
    for kind in vars(runtime_errors).values()
    if isinstance(kind, type) and issubclass(kind, Exception)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Of n samples: how many both put into the same class, and how many each gets right.

    n_tied : of those they differ on, samples whose class of ours is one of several that the file
             gives the very same greatest number, as coarse logits do
    n_file : how many onnxruntime itself puts into the same class with its optimizations and
             without: of a network that is unsure no more can be asked for
    """

    n: int
    n_same: int
    n_tied: int
    n_file: int
    n_right: int
    n_right_file: int

    @property
    def share(self) -> float:
        return self.n_same / self.n


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What onnxruntime answers, [N, n_classes] each: as it runs by default, and node by node."""

    optimized: Float64Array
    plain: Float64Array


def compare(
    logits: Int64Array,
    answers: Answers,
    labels: UInt8Array | Int64Array,
) -> Agreement:
    """logits : of the integers, [N, n_classes]; labels : [N]"""
    ours, theirs = logits.argmax(axis=1), answers.optimized.argmax(axis=1)
    differs: BoolArray = ours != theirs
    chosen = np.take_along_axis(answers.optimized, ours[:, None], axis=1)[:, 0]
    return Agreement(
        n=len(labels),
        n_same=int((~differs).sum()),
        n_tied=int((differs & (chosen == answers.optimized.max(axis=1))).sum()),
        n_file=int((theirs == answers.plain.argmax(axis=1)).sum()),
        n_right=int((ours == labels).sum()),
        n_right_file=int((theirs == labels).sum()),
    )


def run_file(path: Path, samples: Samples, images: UInt8Array) -> Answers:
    """The file's answers for uint8[N, ...] samples in our order.

    Raises OnnxFileInvalid where onnxruntime does not run the file.
    """
    levels = onnxruntime.GraphOptimizationLevel
    return Answers(
        optimized=_run(path, samples, images, levels.ORT_ENABLE_ALL),
        plain=_run(path, samples, images, levels.ORT_DISABLE_ALL),
    )


def _run(path: Path, samples: Samples, images: UInt8Array, level: Any) -> Float64Array:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _QUIET
    options.graph_optimization_level = level
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        (given,) = [x for x in session.get_inputs() if x.name not in _initializers(session)]
        dtype = {"tensor(uint8)": np.uint8, "tensor(float16)": np.float16}
        kind = dtype.get(given.type, np.float64 if "double" in given.type else np.float32)
        batch = given.shape[0] if isinstance(given.shape[0], int) else None
        answers = []
        for start in range(0, len(images), batch or _AT_ONCE):
            part = images[start : start + (batch or _AT_ONCE)]
            fed = samples.feed(part).astype(kind)
            if batch is not None and len(part) < batch:
                fed = np.concatenate([fed, np.repeat(fed[-1:], batch - len(part), axis=0)])
            answers.append(session.run(None, {given.name: fed})[0][: len(part)])
    except _RAISED as error:
        raise OnnxFileInvalid(
            "onnxruntime does not run it", "update onnxruntime, or export with an older opset"
        ) from error
    found: Float64Array = np.concatenate(answers).astype(np.float64)
    return found.reshape(len(images), -1)


def _initializers(session: onnxruntime.InferenceSession) -> set[str]:
    """Names of constants that a caller may override."""
    return {x.name for x in session.get_overridable_initializers()}
