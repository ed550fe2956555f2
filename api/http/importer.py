"""ONNX networks of callers become models, each in a process of its own with limits of its own.

    parent --> header | the file | samples, uint8[n, *shape]
    parent <-- header | the bytes of a .zkq file, none after a refusal

A header is its length, 4 bytes little-endian, and JSON. A file may be made so that reading it takes
long, or much memory: then the process ends, and the API goes on.
"""

from __future__ import annotations

import json
import math
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from api.errors import Audience, describe
from api.http.problems import ApiProblem
from api.http.verifier import NICENESS, read_frame, send_frame
from api.settings import write_bare_environment
from federated.errors import FederatedError
from kernels.numpy_types import UInt8Array
from prover.errors import ProverError

MAX_SAMPLES = 1 << 10
"""That a network is calibrated on."""
IMPORT_S = 300.0
_MEMORY_BYTES = 8 << 30
_MISSING = "this service imports no ONNX files: its operator has to `pip install 'zkpot[onnx]'`"
_BOUNDS = "importing this file takes more time or memory than a caller may take"


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelNumbers:
    """What the file is given for a pixel p: (scale * p - mean) / std; one number, or one for each
    channel. None: 1/255, or 1 of a file that takes uint8."""

    scale: float | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """raw : of the .zkq file; notes : what was changed of the file's numbers"""

    raw: bytes
    is_calibrated: bool
    notes: tuple[str, ...]


def parse_numbers(text: str) -> tuple[float, ...]:
    """`0.5` or `0.4,0.5,0.6`. Raises ValueError."""
    numbers = tuple(float(part) for part in text.split(","))
    if not all(math.isfinite(n) for n in numbers):
        raise ValueError(f"{text} is no number")
    return numbers


def import_onnx(file: bytes, pixels: PixelNumbers, images: UInt8Array) -> Imported:
    """The model of an ONNX file. ApiProblem `refused`, with the reason.

    images : uint8[n, ...], for the scales of a file that is not quantized
    """
    asked = {"pixels": asdict(pixels), "n_bytes": len(file), "shape": list(images.shape)}
    header = json.dumps(asked).encode("ascii")
    sent = len(header).to_bytes(4, "little") + header + file + images.tobytes()
    argv = [sys.executable, "-m", "api.http.importer"]
    try:
        done = subprocess.run(
            argv,
            input=sent,
            env=write_bare_environment(),
            capture_output=True,
            timeout=IMPORT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ApiProblem("refused", _BOUNDS) from None
    n = int.from_bytes(done.stdout[:4], "little")
    if done.returncode != 0 or len(done.stdout) < 4 + n:
        raise ApiProblem("refused", _BOUNDS)
    found = json.loads(done.stdout[4 : 4 + n])
    if "refused" in found:
        raise ApiProblem("refused", found["refused"])
    return Imported(
        raw=done.stdout[4 + n :],
        is_calibrated=found["is_calibrated"],
        notes=tuple(found["notes"]),
    )


# -- the process -----------------------------------------------------------------------------------


def main() -> None:
    """Imports the one file on standard input."""
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what anything prints is no answer
    asked = read_frame(sys.stdin.buffer)
    assert isinstance(asked, dict)
    file = sys.stdin.buffer.read(asked["n_bytes"])
    images = np.frombuffer(sys.stdin.buffer.read(), dtype=np.uint8).reshape(asked["shape"])
    raw = b""
    try:
        found, raw = _import(file, asked["pixels"], images)
    except ModuleNotFoundError:
        found = {"refused": _MISSING}
    except (FederatedError, ProverError) as error:
        found = {"refused": describe(error, Audience.CALLER).text}
    send_frame(answers, found)
    answers.write(raw)
    answers.flush()


def _import(
    file: bytes, numbers: dict[str, Any], images: UInt8Array
) -> tuple[dict[str, Any], bytes]:
    from federated.importing.float_graph import take_floats
    from federated.importing.graph import Pixels
    from federated.importing.importer import calibrate_network, decode_network
    from federated.importing.qdq import take_integers
    from prover.model.ranges import compute_ranges
    from prover.model.samples import shape_samples
    from prover.model.zkq import encode_model

    pixels = Pixels(scale=numbers["scale"], mean=tuple(numbers["mean"]), std=tuple(numbers["std"]))
    network = decode_network(file, pixels)
    notes: Sequence[str] = network.notes
    if network.is_quantized:
        integers = take_integers(network)
        made, notes = integers.model, integers.notes
    else:
        shape = take_floats(network).architecture.input_shape
        made = calibrate_network(network, shape_samples(images, shape), lambda *_: None)
    compute_ranges(made)
    found = {"is_calibrated": not network.is_quantized, "notes": list(notes)}
    return found, encode_model(made)


if __name__ == "__main__":
    main()
