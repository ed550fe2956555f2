"""Circuits of training say what PROTOCOL 4.6 says, no more and no less, of random recipes.

Every row at random elements of the field, against the definition written out in loops: stronger
than forged witnesses, as it holds for whatever is committed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Any

import numpy as np
import pytest

from kernels.backend import get_backend
from prover.circuit.training.export import compile_export
from prover.circuit.training.plan import plan_step
from prover.circuit.training.range_tables import Ranges
from prover.circuit.training.sizes import compute_step_sizes
from prover.circuit.training.step import compile_step
from prover.errors import RecipeInvalid
from prover.model.layers import Linear, Requant
from prover.model.network import Architecture
from prover.training.loss import EXP_TABLE
from prover.training.recipe import TrainingRecipe
from tests.support.detectors import undetermined
from tests.support.training import make_small_recipe
from tests.support.training_audit import audit_export, audit_step

BACKEND = get_backend("cpu")
KINDS = {
    *("packs of samples", "packs of outputs", "several packs", "tight digits"),
    "layers that share a table",
}


def draw_recipe(rng: Random, most_rows: int) -> TrainingRecipe:
    """Any numbers that a recipe may have, of a circuit of so many rows."""
    while True:
        numbers = {name: rng.randint(*span) for name, span in TrainingRecipe.LIMITS.items()}
        ends = {name: rng.choice(span) for name, span in TrainingRecipe.LIMITS.items()}
        numbers |= {name: end for name, end in ends.items() if rng.random() < 0.1}
        numbers["batch_size"] = rng.choice([1, 2, 3, 5, 8, 13])
        widths = [rng.choice([1, 2, 3, 5, 9]) for _ in range(rng.randint(1, 4))]
        kinds = [Requant(shift=rng.randint(1, 16), q_bits=rng.randint(9, 11)) for _ in range(2)]
        layers = [
            Linear(n_out=n, inputs=(i,), requant=rng.choice(kinds))
            for i, n in enumerate(widths[1:])
        ]
        layers.append(Linear(n_out=rng.randint(2, 5), inputs=(len(layers),)))
        architecture = Architecture.of((widths[0],), layers, None)
        try:
            recipe = TrainingRecipe(architecture=architecture, **numbers)
        except RecipeInvalid:
            continue
        if compute_step_sizes(plan_step(recipe)).n_rows < most_rows:
            return recipe


def check_rows(seed: int, most_rows: int) -> Counter[str]:
    rng = Random(seed)
    recipe = draw_recipe(rng, most_rows)
    step, export = compile_step(recipe), compile_export(recipe)
    assert undetermined(step.circuit) == undetermined(export.circuit) == []
    audit_export(export, rng, BACKEND)
    return audit_step(step, rng, BACKEND)


def test_rows_say_what_the_definition_says() -> None:
    kinds = sum((check_rows(seed, 6000) for seed in range(12)), Counter[str]())
    assert {name for name, n in kinds.items() if n} >= KINDS


@pytest.mark.soak
@pytest.mark.parametrize("start", range(0, 1000, 100))
def test_rows_of_many_recipes(start: int) -> None:
    for seed in range(start, start + 100):
        check_rows(1000 + seed, 40_000)


_REQUIRE = Ranges.require


def admit_fractions(ranges: Ranges, label: str, value: Any, bits: int, *, why: str) -> None:
    table = ranges.by_bits.get(bits, ranges.by_bits[ranges.plan.table_bits])
    table.require_range(label, value, bits, exact=False, why=why)


FAULTS: Mapping[str, tuple[str, object]] = {
    "gates are open at 255": ("prover.circuit.training.step.RELU_RANGE", (0, 256)),
    "exponentials begin elsewhere": (
        "prover.circuit.training.step.EXP_TABLE",
        np.roll(EXP_TABLE, 1),
    ),
    "ranges admit fractions": (
        "prover.circuit.training.range_tables.Ranges.require",
        admit_fractions,
    ),
    "digits are too short": (
        "prover.circuit.training.plan._bound_backward",
        lambda recipe, layer: 1 << 10,
    ),
    "distances saturate elsewhere": ("prover.circuit.training.loss.TABLE_ROWS", 255),
}
"""By what a compiler gets wrong: another definition of it."""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_compiler_with_a_fault_is_told(
    fault: str, rng: Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, other = FAULTS[fault]
    monkeypatch.setattr(target, other)
    step = compile_step(make_small_recipe([6, 5, 3], batch_size=9))
    with pytest.raises(AssertionError):
        audit_step(step, rng, BACKEND)
