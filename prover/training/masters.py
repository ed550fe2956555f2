"""Master weights: what training moves, finely, and the int8 weights that are seen of it.

    W = (M + 2^(u-1)) >> u  in [-127, 127]         M counts in units of 2^-u

Masters are one vector in the order of the model's wires (layer by layer: weights row-major, then
biases), which is what is committed to. The bias of an output is beta W of the weight behind it.
"""

from __future__ import annotations

import numpy as np

from kernels.numpy_types import Int64Array
from prover.errors import RangeExceeded, ShapeMismatch
from prover.model.network import QuantizedModel
from prover.training.recipe import TrainingRecipe

Tensors = tuple[Int64Array, Int64Array]
"""Of one layer: weights [n_out, n_in] and biases [n_out]."""


def split_masters(recipe: TrainingRecipe, masters: Int64Array) -> list[Tensors]:
    """Views of the masters, or of anything in their order, layer by layer."""
    found, at = [], 0
    for n_in, n_out in zip(recipe.widths, recipe.widths[1:], strict=False):
        middle, end = at + n_out * n_in, at + n_out * (n_in + 1)
        found.append((masters[at:middle].reshape(n_out, n_in), masters[middle:end]))
        at = end
    return found


def require_masters(
    recipe: TrainingRecipe,
    masters: Int64Array,
    *,
    quantity: str = "master weight",
    next_step: str = "start from masters whose weights lie in [-127, 127]",
) -> None:
    """Raises ShapeMismatch; RangeExceeded, for the owner's eyes, where W leaves [-127, 127]."""
    n = recipe.architecture.n_parameters
    if masters.dtype != np.int64 or masters.shape != (n,):
        raise ShapeMismatch(f"masters must be int64[{n}], got {masters.dtype}{list(masters.shape)}")
    least, greatest = recipe.master_range
    if least <= int(masters.min()) and int(masters.max()) <= greatest:
        return
    for layer, tensors in enumerate(split_masters(recipe, masters)):
        for value in (f(int(g(t)) for t in tensors) for f, g in ((min, np.min), (max, np.max))):
            if not least <= value <= greatest:
                raise RangeExceeded(
                    layer=layer,
                    quantity=quantity,
                    value=value,
                    bound=(least, greatest),
                    next_step=next_step,
                )


def round_masters(recipe: TrainingRecipe, masters: Int64Array) -> Int64Array:
    """W = (M + 2^(u-1)) >> u of each master weight, int64 in their order."""
    rounded: Int64Array = (masters + (1 << (recipe.master_bits - 1))) >> recipe.master_bits
    return rounded


def start(recipe: TrainingRecipe, model: QuantizedModel) -> Int64Array:
    """The masters of a public model: M = 2^u W, and of a bias b the integer next to 2^u b / beta.

    returns : int64[n_parameters], which anybody commits to under the blinding 0
    raises  : ShapeMismatch for another architecture; RangeExceeded for a bias that no weight in
              [-127, 127] times beta comes near
    """
    if model.architecture.encode() != recipe.architecture.encode():
        raise ShapeMismatch("the model has another architecture than the recipe")
    u, beta = recipe.master_bits, recipe.bias_input
    masters = np.concatenate(
        [
            part
            for w, b in zip(model.weights, model.biases, strict=True)
            for part in (
                w.astype(np.int64).reshape(-1) << u,
                ((b.astype(np.int64) << (u + 1)) + beta) // (2 * beta),
            )
        ]
    )
    require_masters(
        recipe,
        masters,
        quantity="bias as a weight",
        next_step="take a model with smaller biases, or a greater bias input",
    )
    return masters


def export(recipe: TrainingRecipe, masters: Int64Array) -> QuantizedModel:
    """The int8 model of masters: W, and beta W for biases. What a round's proof of accuracy is of.

    Raises ShapeMismatch, RangeExceeded as `require_masters`.
    """
    require_masters(recipe, masters)
    layers = split_masters(recipe, round_masters(recipe, masters))
    return QuantizedModel(
        architecture=recipe.architecture,
        weights=tuple(w.astype(np.int8) for w, _ in layers),
        biases=tuple((b * recipe.bias_input).astype(np.int32) for _, b in layers),
    )
