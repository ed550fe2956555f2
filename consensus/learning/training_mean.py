"""The global model of a round that trained: the exact mean of masters, from which the next starts.

    mean M = floor(sum_i M_i / n + 1/2)                            n models, all of one weight

A global model has values times 2^16. A weight of master bits u is there as M << (16 - u), a bias,
which is beta times a weight of its own, as that times beta: exact both ways, as u is 16 at most, so
the next round's masters are those of the model itself and nothing is rounded in between.
"""

from __future__ import annotations

import hashlib

import numpy as np

from consensus.learning.aggregate import FRACTION_BITS, MAX_TOTAL_WEIGHT, GlobalModel
from kernels.numpy_types import Int64Array
from prover.errors import FieldInvalid
from prover.training.draws import draw_start
from prover.training.masters import split_masters, start
from prover.training.recipe import TrainingRecipe


def divide_masters(recipe: TrainingRecipe, sums: Int64Array, total: int) -> GlobalModel:
    """The mean of masters, given their sum and the weight of all.

    sums : int64[n_parameters]; total : positive, 2^39 at most
    Raises ValueError for another total, FieldInvalid for a sum that masters don't have.
    """
    if not 1 <= total <= MAX_TOTAL_WEIGHT:
        raise ValueError("weights are positive, 2^39 in all")
    quotient, rest = np.divmod(sums, total)  # exact, as 2 s would not fit where weights are many
    mean = quotient + (2 * rest + total) // (2 * total)
    _require_range(recipe, mean)
    return GlobalModel(architecture=recipe.architecture, numbers=mean * _list_units(recipe))


def read_masters(recipe: TrainingRecipe, model: GlobalModel) -> Int64Array:
    """The masters that a global model was made of, int64[n_parameters]: inverse of `divide_masters`
    for one client. FieldInvalid for a model of another architecture, or of no masters.
    """
    if model.architecture.encode() != recipe.architecture.encode():
        raise FieldInvalid("the global model has another architecture than the recipe")
    masters, rest = np.divmod(model.numbers, _list_units(recipe))
    if rest.any():
        raise FieldInvalid("the global model is between masters")
    _require_range(recipe, masters)
    return masters


def find_start(
    recipe: TrainingRecipe, genesis_digest: bytes, global_model: GlobalModel | None
) -> tuple[Int64Array, bytes]:
    """What clients of a round start from: masters, and the name that trajectories have for them.

    global_model : of the rounds before; None: there is none yet, and the genesis draws the start
    returns      : int64[n_parameters], 32 bytes: digest of the global model's blob, or of genesis
    raises       : as `read_masters`
    """
    if global_model is None:
        return start(recipe, draw_start(recipe, genesis_digest)), genesis_digest
    digest = hashlib.sha256(global_model.encode()).digest()
    return read_masters(recipe, global_model), digest


def _list_units(recipe: TrainingRecipe) -> Int64Array:
    """What one unit of each master is in a global model."""
    units = np.ones(recipe.architecture.n_parameters, dtype=np.int64)
    for _, biases in split_masters(recipe, units):
        biases *= recipe.bias_input
    return units << (FRACTION_BITS - recipe.master_bits)


def _require_range(recipe: TrainingRecipe, masters: Int64Array) -> None:
    least, greatest = recipe.master_range
    if not least <= int(masters.min()) <= int(masters.max()) <= greatest:
        raise FieldInvalid("the global model has a master weight out of range")
