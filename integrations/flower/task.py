"""What all clients of a Flower app and its server agree on before they start: a folder.

    key/                   of `prover.keys.folder`; a server reads the verifying half alone
    samples.safetensors    `images` uint8[N, ...] and `labels` uint8[N], in public
    task.json              digests of both, how many samples have to be right, and the scales

The digest of task.json names all of it, and stands in every proof. Whoever makes the key could
forge proofs under it: here that is whoever runs the server, which is the one to be convinced.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors.numpy import save as save_tensors

from federated.errors import ScalesInvalid, TensorFileInvalid
from federated.task_scales import TaskScales, find_scales
from federated.tensor_file import read_tensors
from integrations.flower.arrays import Arrays, read_floats
from kernels.backend import Backend
from kernels.files import write_whole
from kernels.numpy_types import UInt8Array
from prover.circuit.accuracy import compile_accuracy
from prover.circuit.public_inputs import PublicLayout, ShardInputs
from prover.errors import FormatError, KeyMismatch, ShapeMismatch
from prover.groth16.setup import setup_accuracy
from prover.keys.card import KeyCard
from prover.keys.folder import load_verifying_half, save_key
from prover.keys.halves import VerifyingKey
from prover.model.network import Architecture, canonical_json
from prover.progress import StageProgress, silent
from prover.randomness import RandomBytes

KEY, SAMPLES, TASK = "key", "samples.safetensors", "task.json"
FORMAT = "zkpot-flower-task-1"
MAX_TASK_BYTES = 1 << 16
MAX_HEADER_BYTES = 1 << 12
_AGAIN = "copy the folder again from whoever made the task"


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """A network, public samples, a key for both, and how many samples have to be right.

    inputs    : the samples, with the circuit's public layout
    n_correct : of N, 1 to N
    """

    key: VerifyingKey
    card: KeyCard
    scales: TaskScales
    inputs: ShardInputs
    n_correct: int

    @property
    def architecture(self) -> Architecture:
        return self.card.architecture

    @property
    def n_samples(self) -> int:
        return len(self.inputs.labels)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of task.json: 32 bytes."""
        return hashlib.sha256(self.encode()).digest()

    def encode(self) -> bytes:
        """Canonical JSON and a line end."""
        value = {
            "format": FORMAT,
            "key_digest": self.key.digest.hex(),
            "n_correct": self.n_correct,
            "samples_digest": self.inputs.digest.hex(),
            "scales": {
                "mean": self.scales.mean,
                "std": self.scales.std,
                "weights": list(self.scales.weights),
            },
        }
        return canonical_json(value) + b"\n"


def make_task(
    folder: Path,
    architecture: Architecture,
    *,
    warm_up: Arrays,
    mean: float,
    std: float,
    images: UInt8Array,
    labels: UInt8Array,
    n_correct: int,
    random_bytes: RandomBytes,
    backend: Backend,
    progress: StageProgress = silent,
) -> Task:
    """Sets a key up and writes the folder; once, by whoever runs the server.

    warm_up        : arrays of a public model that was trained a little, which the scales are found
                     from; weights may grow by half before they are clipped
    mean, std      : of pixel / 255, as the clients' own code normalizes samples
    images, labels : uint8[N, ...] and uint8[N]; N decides what a proof costs
    raises         : ArraysUnsupported, CalibrationFailed, ShapeMismatch, CircuitTooLarge, OSError
    """
    _require_count(n_correct, len(labels))
    accuracy = compile_accuracy(architecture, len(labels))
    inputs = ShardInputs.of(accuracy.public_layout, images, labels)
    of_pixels = TaskScales(weights=(1.0,) * len(architecture.layers), mean=mean, std=std)
    model = read_floats(warm_up, architecture, of_pixels)
    scales = find_scales(model, inputs.images, progress, architecture=architecture)
    key = setup_accuracy(accuracy, random_bytes=random_bytes, backend=backend, progress=progress)
    card = KeyCard.of(accuracy)
    task = Task(key=key.verifying, card=card, scales=scales, inputs=inputs, n_correct=n_correct)
    save_key(key, folder / KEY, card)
    tensors = {"images": inputs.images, "labels": inputs.labels}
    write_whole(folder / SAMPLES, [save_tensors(tensors)])
    write_whole(folder / TASK, [task.encode()])
    return task


def load_task(folder: Path) -> Task:
    """The task of a folder, without the proving half of its key.

    Raises FormatError, KeyMismatch when parts of different tasks are mixed, OSError.
    """
    value = _read_json(folder / TASK)
    try:
        scales = TaskScales(
            weights=tuple(map(float, value["scales"]["weights"])),
            mean=float(value["scales"]["mean"]),
            std=float(value["scales"]["std"]),
        )
        digest, n_correct = bytes.fromhex(value["key_digest"]), int(value["n_correct"])
    except (KeyError, TypeError, ValueError, ScalesInvalid):
        raise _refuse(folder / TASK) from None
    key, card = load_verifying_half(folder / KEY, expected_digest=digest)
    inputs = _load_samples(folder / SAMPLES, card)
    task = Task(key=key, card=card, scales=scales, inputs=inputs, n_correct=n_correct)
    if len(scales.weights) != len(card.architecture.layers):
        raise _refuse(folder / TASK)
    if canonical_json(value) + b"\n" != task.encode():
        raise KeyMismatch("task.json and the samples are of different tasks", next_step=_AGAIN)
    _require_count(n_correct, task.n_samples)
    return task


def _read_json(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        raw = file.read(MAX_TASK_BYTES + 1)
    try:
        value = json.loads(raw.decode("ascii")) if len(raw) <= MAX_TASK_BYTES else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise _refuse(path)
    return value


def _load_samples(path: Path, card: KeyCard) -> ShardInputs:
    try:
        found = read_tensors(path.read_bytes(), max_header_bytes=MAX_HEADER_BYTES)
        return ShardInputs.of(
            PublicLayout(card.architecture, card.n_samples), found["images"], found["labels"]
        )
    except (TensorFileInvalid, KeyError, ShapeMismatch):
        raise _refuse(path) from None


def _require_count(n_correct: int, n_samples: int) -> None:
    if not 1 <= n_correct <= n_samples:
        raise ShapeMismatch(f"1 to {n_samples} samples have to be right, not {n_correct}")


def _refuse(path: Path) -> FormatError:
    return FormatError("it is no part of a task", where=str(path), next_step=_AGAIN)
