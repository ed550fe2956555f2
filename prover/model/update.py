"""Updates: what a model changed of a public one, W - G, and the bounds that a task may set on it.

An update of an architecture has the model's own order: layer by layer, weights row-major, then
biases. Its size counts a bias as the weight of an input that is always 255, the greatest sample: so
much, and no more, it can move the same sum.

    squares = sum over weights (255 d)^2  +  sum over biases d^2   <=   255^2 bounds.squares
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from math import isqrt, prod
from typing import Any

import numpy as np

from kernels.numpy_types import BoolArray, Int64Array
from prover.errors import BoundsInvalid, ShapeMismatch, UpdateExceeds
from prover.model.layers import BIAS_MAX, BIAS_MIN, INPUT_RANGE, WEIGHT_MAX
from prover.model.network import Architecture, QuantizedModel, label_parameters
from prover.model.zkq import encode_model

BIAS_UNIT = INPUT_RANGE[1]
MAX_WEIGHT_CHANGE = 2 * WEIGHT_MAX
MAX_BIAS_CHANGE = BIAS_MAX - BIAS_MIN
MAX_SQUARES = (1 << 32) - 1  # BIAS_UNIT^2 of it lies below 2^48, with room to be scaled in int64


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateBounds:
    """The most that an update may change; each inclusive, in units of the integer model.

    weight  : |d| of every weight, 1 to 254
    bias    : |d| of every bias, 1 to 2^24 - 1
    squares : sum of d^2 over all weights and of (d / 255)^2 over all biases, 1 to 2^32 - 1
    raises  : BoundsInvalid
    """

    weight: int
    bias: int
    squares: int

    def __post_init__(self) -> None:
        limits = {"weight": MAX_WEIGHT_CHANGE, "bias": MAX_BIAS_CHANGE, "squares": MAX_SQUARES}
        for name, limit in limits.items():
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= limit:
                raise BoundsInvalid(f"the bound on {name} must be an integer from 1 to {limit}")

    @property
    def scaled_squares(self) -> int:
        """The bound on `compute_squares`."""
        return BIAS_UNIT * BIAS_UNIT * self.squares

    def to_manifest(self) -> dict[str, int]:
        """JSON value."""
        return asdict(self)

    @classmethod
    def from_manifest(cls, value: object) -> UpdateBounds:
        """Inverse of `to_manifest`; BoundsInvalid for every other value."""
        if not isinstance(value, dict) or set(value) != {"weight", "bias", "squares"}:
            raise BoundsInvalid("bounds are an object with weight, bias and squares")
        found: dict[str, Any] = value
        return cls(**found)


def compute_update(model: QuantizedModel, origin: QuantizedModel) -> Int64Array:
    """W - G of a model and a public one, int64[n_parameters]. Raises ShapeMismatch."""
    if model.architecture.encode() != origin.architecture.encode():
        raise ShapeMismatch("the model has another architecture than the one it is measured from")
    return model.wires - origin.wires


def compute_origin_digest(origin: QuantizedModel) -> bytes:
    """The name of a public model in statements: sha256 of its .zkq file, 32 bytes."""
    return hashlib.sha256(encode_model(origin)).digest()


def find_biases(architecture: Architecture) -> BoolArray:
    """Which wires of a model are biases: bool[n_parameters]."""
    parts = []
    shapes = zip(architecture.weight_shapes, architecture.bias_shapes, strict=True)
    for index, (weights, biases) in enumerate(shapes):
        kinds = label_parameters(index, np.zeros(weights, np.bool_), np.ones(biases, np.bool_))
        parts += [kind.reshape(-1) for kind in kinds.values()]
    return np.concatenate(parts)


def compute_squares(architecture: Architecture, update: Int64Array) -> int:
    """The size of an update, exactly: sum (255 d)^2 over weights, and of d^2 over biases."""
    is_bias = find_biases(architecture)
    weights, biases = update[~is_bias], update[is_bias]
    of_weights = int((weights * weights).sum())  # below 2^26 of 2^16 each
    of_biases: int = sum(d * d for d in biases.tolist())
    return BIAS_UNIT * BIAS_UNIT * of_weights + of_biases


def require_bounds(architecture: Architecture, update: Int64Array, bounds: UpdateBounds) -> None:
    """UpdateExceeds, for the owner's eyes, when the update leaves a bound."""
    is_bias = find_biases(architecture)
    for quantity, values, bound in (
        ("change of a weight", update[~is_bias], bounds.weight),
        ("change of a bias", update[is_bias], bounds.bias),
    ):
        greatest = int(np.abs(values).max(initial=0))
        if greatest > bound:
            raise UpdateExceeds(quantity=quantity, value=greatest, bound=bound)
    squares = compute_squares(architecture, update)
    if squares > bounds.scaled_squares:
        value = -(-squares // (BIAS_UNIT * BIAS_UNIT))
        raise UpdateExceeds(quantity="sum of squares", value=value, bound=bounds.squares)


def clip_update(
    model: QuantizedModel, origin: QuantizedModel, bounds: UpdateBounds
) -> QuantizedModel:
    """The model itself if its update is within the bounds, else one on its way that is.

    Every change is cut to its bound; if the sum of squares is still too great, all are scaled by
    one factor and rounded toward zero. Raises ShapeMismatch.

    holds : the factor n/m has n^2 <= L and m^2 >= S, and rounding only makes changes smaller
    """
    architecture = model.architecture
    update = compute_update(model, origin)
    most = np.where(find_biases(architecture), bounds.bias, bounds.weight)
    update = np.clip(update, -most, most)
    squares = compute_squares(architecture, update)
    if squares > bounds.scaled_squares:
        n, m = isqrt(bounds.scaled_squares), isqrt(squares - 1) + 1
        # n and a change are below 2^24 each: the product stays below 2^48.
        update = np.sign(update) * (np.abs(update) * n // m)
    return _split(architecture, origin.wires + update)


def _split(architecture: Architecture, wires: Int64Array) -> QuantizedModel:
    """The model that has these wires."""
    tensors: list[list[Int64Array]] = [[], []]
    at = 0
    for shapes in zip(architecture.weight_shapes, architecture.bias_shapes, strict=True):
        for kind, shape in zip(tensors, shapes, strict=True):
            end = at + prod(shape)
            kind.append(wires[at:end].reshape(shape))
            at = end
    weights, biases = tensors
    return QuantizedModel(
        architecture=architecture,
        weights=tuple(w.astype(np.int8) for w in weights),
        biases=tuple(b.astype(np.int32) for b in biases),
    )
