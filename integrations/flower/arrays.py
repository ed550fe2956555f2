"""A framework's arrays and the task's network: weight, bias, weight, bias, in the layers' order.

That is the order of PyTorch's `state_dict` and of the lists of Flower's examples. Layers without
parameters have no arrays. Weights are laid out as in PyTorch: [n_out, n_in] and
[n_out, channels, height, width].
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from itertools import chain
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from federated.float_model import FloatModel
from federated.task_scales import TaskScales
from integrations.errors import ArraysUnsupported
from kernels.numpy_types import Int64Array
from prover.errors import RangeExceeded
from prover.model.layers import Shape
from prover.model.network import Architecture, QuantizedModel

Arrays = Sequence[npt.NDArray[Any]]


def list_shapes(architecture: Architecture) -> list[Shape]:
    """The shapes of a model's arrays, in their order."""
    pairs = zip(architecture.weight_shapes, architecture.bias_shapes, strict=True)
    return [shape for shape in chain.from_iterable(pairs) if prod(shape)]


def read_floats(arrays: Arrays, architecture: Architecture, scales: TaskScales) -> FloatModel:
    """A trained model, of whatever float type its arrays are.

    Raises ArraysUnsupported for other shapes, and for a number that is not finite.
    """
    found = [array.shape for array in arrays]
    supported = f"{architecture.name}: {list_shapes(architecture)}"
    if found != list_shapes(architecture):
        raise ArraysUnsupported(f"have the shapes {found}", supported)
    floats = [np.asarray(array, dtype=np.float32) for array in arrays]
    if not all(np.isfinite(array).all() for array in floats):
        raise ArraysUnsupported(
            "have a number that is not finite: train with a smaller learning rate", supported
        )
    weights, biases = _fill(floats, architecture, np.dtype(np.float32))
    return FloatModel(
        architecture=architecture,
        weights=weights,
        biases=biases,
        mean=scales.mean,
        std=scales.std,
        record={},
    )


def decode_integers(raws: Sequence[bytes], architecture: Architecture) -> list[Any] | None:
    """A stranger's arrays, of the .npy files that NumPy writes of them; None for all else.

    holds : an array has one file, whose header is known before it is read: nothing is parsed, and
            nothing is allocated that the bytes do not fill
    """
    shapes = list_shapes(architecture)
    if len(raws) != len(shapes):
        return None
    found = [
        _decode(raw, np.dtype(np.int32 if index % 2 else np.int8), shape)
        for index, (raw, shape) in enumerate(zip(raws, shapes, strict=True))
    ]
    return None if any(array is None for array in found) else found


def read_integers(arrays: Arrays, architecture: Architecture) -> QuantizedModel | None:
    """The model that a stranger's arrays are; None for arrays of other types, shapes or ranges."""
    if [array.shape for array in arrays] != list_shapes(architecture):
        return None
    weights, biases = arrays[0::2], arrays[1::2]
    if any(w.dtype != np.int8 for w in weights) or any(b.dtype != np.int32 for b in biases):
        return None
    filled = [
        _fill(arrays, architecture, np.dtype(dtype))[kind]
        for kind, dtype in enumerate((np.int8, np.int32))
    ]
    try:
        return QuantizedModel(architecture=architecture, weights=filled[0], biases=filled[1])
    except RangeExceeded:
        return None


def list_integers(model: QuantizedModel) -> list[npt.NDArray[Any]]:
    """Its weights int8 and biases int32."""
    return [np.ascontiguousarray(array) for array in model.parameters.values() if array.size]


def list_floats(model: FloatModel) -> list[npt.NDArray[Any]]:
    """Its weights and biases, float32."""
    pairs = zip(model.weights, model.biases, strict=True)
    return [array for array in chain.from_iterable(pairs) if array.size]


def flatten(arrays: Arrays) -> Int64Array:
    """All numbers, as the wires of a commitment have them: int64[n_parameters]."""
    return np.concatenate([array.reshape(-1).astype(np.int64) for array in arrays])


def _decode(raw: bytes, dtype: np.dtype[Any], shape: Shape) -> npt.NDArray[Any] | None:
    stream = BytesIO()
    np.lib.format.write_array(stream, np.zeros(shape, dtype=dtype))
    n_bytes = dtype.itemsize * prod(shape)
    header = stream.getvalue()[:-n_bytes]
    if len(raw) != len(header) + n_bytes or not raw.startswith(header):
        return None
    return np.frombuffer(raw, dtype=dtype, offset=len(header)).reshape(shape)


def _fill(arrays: Arrays, architecture: Architecture, empty: np.dtype[Any]) -> tuple[Any, Any]:
    """Weights and biases by layer, with empty ones of layers that have none."""
    rest = iter(arrays)
    pairs = zip(architecture.weight_shapes, architecture.bias_shapes, strict=True)
    filled = [
        [next(rest) if prod(shape) else np.zeros(shape, dtype=empty) for shape in pair]
        for pair in pairs
    ]
    return tuple(w for w, _ in filled), tuple(b for _, b in filled)
