"""Training by steps that can be proven: exact integers from masters to masters (PROTOCOL 4.6).

Its settings have scales that are powers of two and no normalization, so that a vector of floats
holds masters exactly: none is longer than 24 bits.

    weight  x = M 2^-u S_w          bias  x = M beta 2^-u S_w S_x
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from consensus.learning.training_mean import divide_masters
from federated.data import LabeledImages
from federated.experiments.simulation.interface import Setting
from federated.provable.recipes import make_trainable, suggest_recipe
from federated.rounding import compute_value_scales
from federated.task_scales import TaskScales, dequantize
from kernels.numpy_types import Float32Array, Float64Array, Int64Array
from prover.errors import RangeExceeded
from prover.model.network import Architecture
from prover.training.draws import draw_start
from prover.training.masters import start
from prover.training.recipe import TrainingRecipe
from prover.training.step import train_step

SCALE = 2.0**-10
"""S_w of every layer. It changes no result: logits are read by their order alone."""
RAW = (0.0, 1 / 255)
"""Mean and standard deviation with which a network sees a pixel as the integer that it is."""
STEP_SAMPLES = 64
"""Of a batch for which `suggest_recipe` suggests a rate; fewer take a greater one."""


def find_recipe(architecture: Architecture, *, batch_size: int = STEP_SAMPLES) -> TrainingRecipe:
    """The suggested recipe, with a rate that makes steps on fewer samples as long."""
    recipe = suggest_recipe(architecture, batch_size=batch_size)
    return replace(recipe, rate=max(1, STEP_SAMPLES // batch_size))


def make_exact(setting: Setting, seed: bytes) -> Setting:
    """The setting for training by exact steps: other rounding, and the drawn start that tasks of
    such training have.

    Raises RecipeInvalid for a network that no step is proven of.
    """
    recipe = find_recipe(make_trainable(setting.architecture))
    scales = TaskScales(weights=(SCALE,) * recipe.n_layers, mean=RAW[0], std=RAW[1])
    masters = start(recipe, draw_start(recipe, seed))
    return replace(
        setting,
        architecture=recipe.architecture,
        scales=scales,
        start=dequantize(divide_masters(recipe, masters, 1), scales),
    )


def to_masters(vector: Float32Array, recipe: TrainingRecipe, scales: TaskScales) -> Int64Array:
    """The masters nearest to a vector float32[P], clipped to their range: int64[P]."""
    least, greatest = recipe.master_range
    exact = vector.astype(np.float64) / _list_units(recipe, scales)
    return np.clip(np.rint(exact), least, greatest).astype(np.int64)


def from_masters(masters: Int64Array, recipe: TrainingRecipe, scales: TaskScales) -> Float32Array:
    """The vector of masters, exactly: inverse of `to_masters`."""
    return (masters * _list_units(recipe, scales)).astype(np.float32)


def train_exactly(
    setting: Setting,
    start_vector: Float32Array,
    samples: Sequence[LabeledImages],
    batches: Int64Array,
) -> Float32Array:
    """float32[n, P]: where each client's steps lead, a client after the other.

    samples : of each client; batches : int64[n, steps, batch_size], indices of its own samples
    A client whose step would leave a range stops before it: there is no proof of such a step.
    """
    recipe = find_recipe(setting.architecture, batch_size=batches.shape[2])
    begin = to_masters(start_vector, recipe, setting.scales)
    found = []
    for own, numbers in zip(samples, batches, strict=True):
        masters = begin
        try:
            for batch in numbers:
                masters = train_step(recipe, masters, own.images[batch], own.labels[batch]).after
        except RangeExceeded:
            pass  # `masters` are those before the step that was refused
        found.append(from_masters(masters, recipe, setting.scales))
    return np.stack(found)


def _list_units(recipe: TrainingRecipe, scales: TaskScales) -> Float64Array:
    """What one unit of each master is in a vector: float64[P]."""
    architecture, unit = recipe.architecture, 2.0**-recipe.master_bits
    values = compute_value_scales(architecture, scales.weights)
    parts = []
    for layer, (n_out, n_in) in enumerate(architecture.weight_shapes):
        weight = unit * scales.weights[layer]
        bias = weight * values[layer] * recipe.bias_input
        parts += [np.full(n_out * n_in, weight), np.full(n_out, bias)]
    return np.concatenate(parts)
