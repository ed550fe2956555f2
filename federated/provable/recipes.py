"""Recipes that do well: numbers of integer SGD, found by trying."""

from __future__ import annotations

from dataclasses import replace

from prover.model.layers import Linear, Requant
from prover.model.network import Architecture
from prover.training.recipe import TrainingRecipe

HIDDEN = Requant(shift=8)
"""Of hidden layers: with the weights of `draw_start` a quotient spreads by about 70."""


def make_trainable(architecture: Architecture) -> Architecture:
    """The same layers with the rounding that a step of training takes: to ReLU, by shift 8."""
    layers = [
        replace(layer, requant=HIDDEN)
        if isinstance(layer, Linear) and layer.requant is not None
        else layer
        for layer in architecture.layers
    ]
    return Architecture.of(architecture.input_shape, layers, None)


def suggest_recipe(architecture: Architecture, *, batch_size: int = 64) -> TrainingRecipe:
    """A recipe for networks of this kind, whose start is drawn or a model of an earlier round.

    Logits begin at about one unit of the exponent; a step is as long as float SGD's at a rate of
    about 0.5. Raises RecipeInvalid for an architecture that no step is proven of.
    """
    return TrainingRecipe(
        architecture=architecture,
        batch_size=batch_size,
        master_bits=16,
        rate=1,
        logit_shift=9,
        backward_shift=7,
    )
