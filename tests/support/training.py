"""Small recipes, masters and batches, and the step written out in Python's integers."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

import numpy as np

from kernels.numpy_types import Int64Array, UInt8Array
from prover.circuit.training.step import StepCircuit
from prover.errors import RangeExceeded
from prover.model.layers import Requant
from prover.model.network import Architecture
from prover.training.loss import EXP_TABLE
from prover.training.masters import split_masters
from prover.training.recipe import TrainingRecipe
from prover.training.step import StepTrace, train_step
from tests.support.assignments import Assignment, draw_scalars


def make_recipe(widths: list[int], **numbers: Any) -> TrainingRecipe:
    """A recipe of small numbers, so that small networks leave no range and meet every case."""
    chosen = {"batch_size": 4, "master_bits": 6, "logit_shift": 6, "error_bits": 14} | numbers
    requant = chosen.pop("requant", Requant(shift=6, q_bits=13))
    return TrainingRecipe(architecture=Architecture.mlp(widths, requant=requant), **chosen)


def draw_masters(recipe: TrainingRecipe, rng: np.random.Generator, most: int = 40) -> Int64Array:
    """Masters whose weights lie in [-most, most]."""
    bound = most << recipe.master_bits
    return rng.integers(-bound, bound + 1, recipe.architecture.n_parameters)


def draw_batch(
    recipe: TrainingRecipe, rng: np.random.Generator, n: int | None = None
) -> tuple[UInt8Array, UInt8Array]:
    """Images and labels of n samples, default as many as a batch holds."""
    n = recipe.batch_size if n is None else n
    images = rng.integers(0, 256, (n, recipe.widths[0]), dtype=np.uint8)
    return images, rng.integers(0, recipe.widths[-1], n, dtype=np.uint8)


def step_slowly(
    recipe: TrainingRecipe, masters: list[int], images: list[list[int]], labels: list[int]
) -> list[int]:
    """M' by the formulas of PROTOCOL 4.6, sample by sample."""
    u, beta, e, back = (
        recipe.master_bits,
        recipe.bias_input,
        recipe.loss_bits,
        recipe.backward_shift,
    )
    layers = [
        (w.tolist(), b.tolist()) for w, b in split_masters(recipe, np.array(masters, dtype=object))
    ]
    seen = [
        (
            [[(m + 2 ** (u - 1)) // 2**u for m in row] for row in w],
            [(m + 2 ** (u - 1)) // 2**u for m in b],
        )
        for w, b in layers
    ]
    sums = [([[0] * len(w[0]) for _ in w], [0] * len(b)) for w, b in layers]
    for image, label in zip(images, labels, strict=True):
        inputs, gates, a = [], [], image
        for index, (w, b) in enumerate(seen):
            inputs.append(a)
            z = [
                sum(x * y for x, y in zip(row, a, strict=True)) + beta * k
                for row, k in zip(w, b, strict=True)
            ]
            if index < len(seen) - 1:
                shift = recipe.hidden[index].shift
                q = [(x + 2 ** (shift - 1)) // 2**shift for x in z]
                a = [min(max(x, 0), 255) for x in q]
                gates.append([int(0 < x < 255) for x in q])
        share = [int(EXP_TABLE[min((max(z) - x) // 2**recipe.logit_shift, 255)]) for x in z]
        total = sum(share)
        delta = [
            (2 ** (e + 1) * x + total) // (2 * total) - 2**e * (c == label)
            for c, x in enumerate(share)
        ]
        for index in reversed(range(len(seen))):
            w, _ = seen[index]
            for i, d in enumerate(delta):
                for j, x in enumerate(inputs[index]):
                    sums[index][0][i][j] += d * x
                sums[index][1][i] += d * beta
            if index:
                v = [
                    sum(d * row[j] for d, row in zip(delta, w, strict=True))
                    for j in range(len(w[0]))
                ]
                delta = [
                    g * ((x + 2 ** (back - 1)) // 2**back)
                    for g, x in zip(gates[index - 1], v, strict=True)
                ]
    flat = [x for w, b in sums for x in [*(y for row in w for y in row), *b]]
    return [m - recipe.rate * g for m, g in zip(masters, flat, strict=True)]


# -- circuits --------------------------------------------------------------------------------------


def make_small_recipe(widths: list[int], **numbers: Any) -> TrainingRecipe:
    """A recipe whose circuit has few rows: small tables, of quotients above all."""
    requant = Requant(shift=8, q_bits=9 if len(widths) < 4 else 10)
    return make_recipe(widths, **{"requant": requant, "master_bits": 12} | numbers)


def draw_step(
    recipe: TrainingRecipe, rng: np.random.Generator, n: int | None = None, most: int = 30
) -> StepTrace:
    """A step that leaves no range: random masters and samples, drawn again until one does not."""
    for _ in range(100):
        try:
            return train_step(recipe, draw_masters(recipe, rng, most), *draw_batch(recipe, rng, n))
        except RangeExceeded:
            continue
    raise AssertionError("no step of a hundred stays in its ranges")


def assign_step(
    step: StepCircuit,
    wires: Mapping[str, Any],
    rng: Random,
    *,
    n_real: int,
) -> Assignment:
    """Any integers mod r as the wires of a step, with limbs and multiplicities that fit them."""
    challenges = draw_scalars(rng, step.n_challenges)
    named = {f"challenge/{n}": c for n, c in zip(step.plan.challenges, challenges, strict=True)}
    return Assignment.of(step.circuit, {"n_real": n_real, **named, **wires})
