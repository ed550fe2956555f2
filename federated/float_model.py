"""A trained float MLP as plain arrays, and its file; needs no PyTorch.

The file is safetensors with tensors `LAYER.weight` float32[n_out, n_in] and `LAYER.bias`
float32[n_out], and a metadata record; no pickle. Hidden layers have ReLU. The network sees
(pixel / 255 - mean) / std; `federated.quantize` folds that into the first layer.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save as save_tensors

from federated.errors import FloatModelInvalid, TensorFileInvalid
from federated.tensor_file import read_header, read_tensors
from kernels.numpy_types import Float32Array, UInt8Array
from prover.errors import ArchitectureInvalid
from prover.model.presets import parse_architecture

FORMAT = "zkpot-float-v1"
MAX_FILE_BYTES = 1 << 30
MAX_HEADER_BYTES = 1 << 18  # of 64 layers with their metadata
_AT_ONCE = 1 << 11  # samples


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class FloatModel:
    """A trained MLP as plain arrays.

    sizes   : widths, input and classes included
    weights : float32[sizes[i+1], sizes[i]] per layer; biases float32[sizes[i+1]]
    mean    : of pixel / 255; std likewise
    record  : how it came about (dataset, settings), for people; nothing is computed from it
    """

    sizes: tuple[int, ...]
    weights: tuple[Float32Array, ...]
    biases: tuple[Float32Array, ...]
    mean: float
    std: float
    record: dict[str, Any]

    @property
    def name(self) -> str:
        return "-".join(["mlp", *map(str, self.sizes)])

    def activations(self, images: UInt8Array) -> list[npt.NDArray[np.float64]]:
        """Per layer the outputs before ReLU, float64[N, n_out], for uint8[N, d]; last: logits."""
        x = (images.astype(np.float64) / 255.0 - self.mean) / self.std
        outputs = []
        for w, b in zip(self.weights, self.biases, strict=True):
            outputs.append(x @ w.T.astype(np.float64) + b)
            x = np.maximum(outputs[-1], 0.0)
        return outputs

    def accuracy(self, images: UInt8Array, labels: UInt8Array) -> float:
        """Share of samples whose greatest logit is the label's; some samples at a time."""
        starts = range(0, len(images), _AT_ONCE)
        guesses = [self.activations(images[i : i + _AT_ONCE])[-1].argmax(axis=1) for i in starts]
        return float(np.mean(np.concatenate(guesses) == labels))


def encode_float_model(model: FloatModel) -> bytes:
    """Safetensors bytes with the metadata that `decode_float_model` reads.

    The metadata has one key, since safetensors writes several in no fixed order.
    """
    tensors: dict[str, Float32Array] = {}
    for i, (w, b) in enumerate(zip(model.weights, model.biases, strict=True)):
        tensors[f"{i}.weight"], tensors[f"{i}.bias"] = w, b
    header = {"mean": model.mean, "name": model.name, "record": model.record, "std": model.std}
    text = json.dumps(header, sort_keys=True)
    return save_tensors(tensors, metadata={FORMAT: text})


def decode_float_model(raw: bytes) -> FloatModel:
    """Inverse of `encode_float_model`; FloatModelInvalid for anything else."""
    try:
        header = _parse_header(read_header(raw, max_bytes=MAX_HEADER_BYTES))
        tensors = read_tensors(raw, max_header_bytes=MAX_HEADER_BYTES)
    except TensorFileInvalid as error:
        raise FloatModelInvalid(str(error)) from error
    try:
        architecture = parse_architecture(header["name"])
    except ArchitectureInvalid as error:
        raise FloatModelInvalid(str(error)) from error
    sizes = tuple(shape[0] for shape in architecture.shapes)
    expected = {f"{i}.weight": s for i, s in enumerate(architecture.weight_shapes)}
    expected |= {f"{i}.bias": s for i, s in enumerate(architecture.bias_shapes)}
    if {name: t.shape for name, t in tensors.items()} != expected or any(
        t.dtype != np.float32 or not np.isfinite(t).all() for t in tensors.values()
    ):
        raise FloatModelInvalid(
            f"its tensors are not the finite float32 tensors of {architecture.name}; train it again"
        )
    n = len(architecture.layers)
    return FloatModel(
        sizes=sizes,
        weights=tuple(tensors[f"{i}.weight"] for i in range(n)),
        biases=tuple(tensors[f"{i}.bias"] for i in range(n)),
        mean=header["mean"],
        std=header["std"],
        record=header["record"],
    )


def load_float_model(path: Path) -> FloatModel:
    """Reads a file of `zkpot train`; FloatModelInvalid, or OSError when it cannot be read."""
    with path.open("rb") as stream:
        raw = stream.read(MAX_FILE_BYTES + 1)
    if len(raw) > MAX_FILE_BYTES:
        raise FloatModelInvalid(f"larger than {MAX_FILE_BYTES} bytes")
    return decode_float_model(raw)


def _parse_header(raw: bytes) -> dict[str, Any]:
    """Name, mean, std and record out of the safetensors metadata, each of its type."""
    try:
        header = json.loads(json.loads(raw)["__metadata__"][FORMAT])
    except (ValueError, KeyError, TypeError, RecursionError):
        header = None
    kinds = {"mean": float, "name": str, "record": dict, "std": float}
    if (
        not isinstance(header, dict)
        or {key: type(value) for key, value in header.items()} != kinds
        or not (math.isfinite(header["mean"]) and 0 < header["std"] < math.inf)
    ):
        raise FloatModelInvalid("no model that `zkpot train` wrote; train it again")
    return header
