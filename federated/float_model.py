"""A trained float network as plain arrays, and its file; needs no PyTorch.

It is the network of an `Architecture` with real numbers in place of integers: what its layers
compute is in `federated.float_layers`. The network sees (pixel / 255 - mean) / std, around its
planes too, where pixels are those of the layer's `pad_values`; `federated.quantize` folds that into
the first layer. Normalizations of batches are folded into convolutions before a model is made.

The file is safetensors with tensors `LAYER.weight` and `LAYER.bias`, float32, of the layers that
have parameters, and a metadata record; no pickle.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save as save_tensors

from federated.errors import FloatModelInvalid, TensorFileInvalid
from federated.float_layers import Floats, apply_layer, is_relu
from federated.tensor_file import read_header, read_tensors
from kernels.numpy_types import Float32Array, UInt8Array
from prover.errors import ArchitectureInvalid
from prover.model.layers import Layer, Linear, Requant
from prover.model.network import Architecture
from prover.model.planes import Conv2d
from prover.model.pooling import Add
from prover.model.samples import shape_samples

FORMAT = "zkpot-float-v2"
MAX_FILE_BYTES = 1 << 30
MAX_HEADER_BYTES = 1 << 18  # of 64 layers with their metadata
_AT_ONCE = 1 << 21  # numbers of one layer's outputs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class FloatModel:
    """A trained network as plain arrays.

    architecture : its layers; shifts, multipliers and scales are those that integers would have
    weights      : float32 per layer, of `architecture.weight_shapes`; biases likewise
    mean         : of pixel / 255; std likewise
    record       : how it came about (dataset, settings), for people; nothing is computed from it
    """

    architecture: Architecture
    weights: tuple[Float32Array, ...]
    biases: tuple[Float32Array, ...]
    mean: float
    std: float
    record: dict[str, Any]

    @property
    def name(self) -> str:
        return self.architecture.name

    def normalize(self, pixels: Floats) -> Floats:
        """What the network sees of pixels from 0 to 255."""
        return np.asarray((pixels / 255.0 - self.mean) / self.std)

    def trace(self, images: UInt8Array) -> Iterator[Floats]:
        """Layer by layer the outputs before ReLU, [N, *output_shape]; last: logits.

        images : uint8[N, d] or [N, *input_shape]
        values : float64, or float32 of networks with convolutions; each is dropped after the last
                 layer that takes it
        """
        dtype = np.float64 if self.architecture.is_mlp else np.float32
        shaped = shape_samples(images, self.architecture.input_shape)
        yield from self.trace_from(0, {0: self.normalize(shaped.astype(dtype))})

    def trace_from(self, first: int, values: dict[int, Floats]) -> Iterator[Floats]:
        """`trace` from a layer on; values : those that it and later layers take, by number."""
        layers = self.architecture.layers
        last_use = {value: i for i, layer in enumerate(layers) for value in layer.inputs}
        values = dict(values)
        for index in range(first, len(layers)):
            layer = layers[index]
            taken = [values[value] for value in layer.inputs]
            dtype = taken[0].dtype
            w, b = (t.astype(dtype) for t in (self.weights[index], self.biases[index]))
            z = apply_layer(layer, taken, w, b, self._find_pads(index))
            values[index + 1] = np.maximum(z, 0.0) if is_relu(layer.requant) else z
            values = {v: x for v, x in values.items() if last_use.get(v, -1) > index}
            yield z

    def activations(self, images: UInt8Array) -> list[Floats]:
        """All of `trace`."""
        return list(self.trace(images))

    def logits(self, images: UInt8Array) -> Floats:
        """Outputs of the last layer, [N, n_classes]; some samples at a time."""
        starts = range(0, max(len(images), 1), self.at_once)
        return np.concatenate([self._last(images[i : i + self.at_once]) for i in starts])

    def accuracy(self, images: UInt8Array, labels: UInt8Array) -> float:
        """Share of samples whose greatest logit is the label's."""
        return float(np.mean(self.logits(images).argmax(axis=1) == labels))

    @property
    def at_once(self) -> int:
        """How many samples to take at a time, so that no layer makes too many numbers."""
        return max(1, _AT_ONCE // max(map(math.prod, self.architecture.shapes)))

    def _last(self, images: UInt8Array) -> Floats:
        z: Floats = np.empty(0)
        for made in self.trace(images):
            z = made
        return z

    def _find_pads(self, index: int) -> Sequence[float]:
        """What the layer finds around its planes: zeros, but pixels around samples."""
        layer = self.architecture.layers[index]
        if not isinstance(layer, Conv2d) or layer.inputs[0] != 0:
            return ()
        pixels = layer.pad_values or (0,) * self.architecture.input_shape[0]
        return tuple(self.normalize(np.array(pixels, dtype=np.float64)).tolist())


def is_same_network(a: Architecture, b: Architecture) -> bool:
    """Whether two architectures have the same float networks: the same layers, whatever integers
    they would round to."""
    return a.input_shape == b.input_shape and [*map(_strip, a.layers)] == [*map(_strip, b.layers)]


def _strip(layer: Layer) -> Layer:
    """The layer without what only its integers have: shift, multipliers, scales."""
    plain = None
    if layer.requant is not None:
        plain = Requant() if is_relu(layer.requant) else Requant(least=-1)
    if isinstance(layer, Linear):
        return replace(layer, requant=plain)
    if isinstance(layer, Conv2d):
        return replace(layer, requant=plain, skip_scale=1 if layer.has_skip else 0)
    if isinstance(layer, Add):
        assert plain is not None, "an addition requantizes"
        return replace(layer, requant=plain, scales=(1, 1))
    return layer


def encode_float_model(model: FloatModel) -> bytes:
    """Safetensors bytes with the metadata that `decode_float_model` reads.

    The metadata has one key, since safetensors writes several in no fixed order.
    """
    header = {
        "architecture": model.architecture.to_manifest(),
        "mean": model.mean,
        "record": model.record,
        "std": model.std,
    }
    text = json.dumps(header, sort_keys=True)
    return save_tensors(_name_tensors(model), metadata={FORMAT: text})


def decode_float_model(raw: bytes) -> FloatModel:
    """Inverse of `encode_float_model`; FloatModelInvalid for anything else."""
    try:
        header = _parse_header(read_header(raw, max_bytes=MAX_HEADER_BYTES))
        tensors = read_tensors(raw, max_header_bytes=MAX_HEADER_BYTES)
    except TensorFileInvalid as error:
        raise FloatModelInvalid(str(error)) from error
    try:
        architecture = Architecture.from_manifest(header["architecture"])
    except ArchitectureInvalid as error:
        raise FloatModelInvalid(str(error)) from error
    expected = {f"{i}.weight": s for i, s in enumerate(architecture.weight_shapes)}
    expected |= {f"{i}.bias": s for i, s in enumerate(architecture.bias_shapes)}
    present = {name: shape for name, shape in expected.items() if math.prod(shape)}
    if {name: t.shape for name, t in tensors.items()} != present or any(
        t.dtype != np.float32 or not np.isfinite(t).all() for t in tensors.values()
    ):
        raise FloatModelInvalid(
            f"its tensors are not the finite float32 tensors of {architecture.name}; train it again"
        )
    empty = np.zeros(0, dtype=np.float32)
    layers = range(len(architecture.layers))
    return FloatModel(
        architecture=architecture,
        weights=tuple(tensors.get(f"{i}.weight", empty) for i in layers),
        biases=tuple(tensors.get(f"{i}.bias", empty) for i in layers),
        mean=header["mean"],
        std=header["std"],
        record=header["record"],
    )


def _name_tensors(model: FloatModel) -> dict[str, Float32Array]:
    """By the names of the file; layers without parameters have none."""
    named = {f"{i}.weight": w for i, w in enumerate(model.weights)}
    named |= {f"{i}.bias": b for i, b in enumerate(model.biases)}
    return {name: tensor for name, tensor in named.items() if tensor.size}


def load_float_model(path: Path) -> FloatModel:
    """Reads a file of `zkpot train`; FloatModelInvalid, or OSError when it cannot be read."""
    with path.open("rb") as stream:
        raw = stream.read(MAX_FILE_BYTES + 1)
    if len(raw) > MAX_FILE_BYTES:
        raise FloatModelInvalid(f"larger than {MAX_FILE_BYTES} bytes")
    return decode_float_model(raw)


def _parse_header(raw: bytes) -> dict[str, Any]:
    """Architecture, mean, std and record out of the safetensors metadata, each of its type."""
    try:
        header = json.loads(json.loads(raw)["__metadata__"][FORMAT])
    except (ValueError, KeyError, TypeError, RecursionError):
        header = None
    kinds = {"architecture": dict, "mean": float, "record": dict, "std": float}
    if (
        not isinstance(header, dict)
        or {key: type(value) for key, value in header.items()} != kinds
        or not (math.isfinite(header["mean"]) and 0 < header["std"] < math.inf)
    ):
        raise FloatModelInvalid("no model that `zkpot train` wrote; train it again")
    return header
