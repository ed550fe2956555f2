"""Vectors of parameters, and the models of floats and of integers that they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from consensus.learning.aggregate import GlobalModel
from federated.errors import FloatModelInvalid
from federated.float_model import FloatModel
from federated.task_scales import TaskScales, dequantize, quantize_for_task
from kernels.numpy_types import Float32Array
from prover.errors import RangeExceeded
from prover.model.layers import Shape
from prover.model.network import Architecture, QuantizedModel


def list_shapes(architecture: Architecture) -> list[Shape]:
    """Shapes of the tensors of a vector, in their order: weights and biases of each layer."""
    pairs = zip(architecture.weight_shapes, architecture.bias_shapes, strict=True)
    return [shape for pair in pairs for shape in pair]


def split_vectors(architecture: Architecture, vectors: Float32Array) -> list[Float32Array]:
    """The tensors of vectors [..., P], as views [..., *shape] in the order of `list_shapes`."""
    found, at = [], 0
    for shape in list_shapes(architecture):
        end = at + prod(shape)
        found.append(vectors[..., at:end].reshape((*vectors.shape[:-1], *shape)))
        at = end
    return found


def join_tensors(tensors: Sequence[Float32Array]) -> Float32Array:
    """Tensors [n, *shape], in the order of `list_shapes`, as vectors [n, P]."""
    n = len(tensors[0])
    parts = [np.ascontiguousarray(tensor, dtype=np.float32).reshape(n, -1) for tensor in tensors]
    joined: Float32Array = np.concatenate(parts, axis=1)
    return joined


def to_vector(model: FloatModel) -> Float32Array:
    """float32[P] of a model."""
    pairs = zip(model.weights, model.biases, strict=True)
    (vector,) = join_tensors([tensor[None] for pair in pairs for tensor in pair])
    found: Float32Array = vector
    return found


def to_model(vector: Float32Array, architecture: Architecture, scales: TaskScales) -> FloatModel:
    """The model of a vector, float32[P], under a task's normalization.

    Raises FloatModelInvalid when it has another length, or a number that is none.
    """
    if vector.shape != (architecture.n_parameters,) or not np.isfinite(vector).all():
        raise FloatModelInvalid(f"it is no vector of {architecture.n_parameters} finite numbers")
    tensors = split_vectors(architecture, np.asarray(vector, dtype=np.float32))
    return FloatModel(
        architecture=architecture,
        weights=tuple(tensors[0::2]),
        biases=tuple(tensors[1::2]),
        mean=scales.mean,
        std=scales.std,
        record={},
    )


def to_integers(
    vector: Float32Array, architecture: Architecture, scales: TaskScales
) -> QuantizedModel | None:
    """The integers of a vector by the task's scales, clipped to the ranges of weight and bias.

    None where they could leave the ranges of the circuit on some sample: no proof is of them.
    """
    try:
        return quantize_for_task(to_model(vector, architecture, scales), architecture, scales)
    except RangeExceeded:
        return None


def from_global(model: GlobalModel, scales: TaskScales) -> Float32Array:
    """float32[P] of a global model."""
    return to_vector(dequantize(model, scales))
