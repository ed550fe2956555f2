"""Suggested recipes learn digits, for networks of several depths; others are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from federated.data import load
from federated.provable.recipes import make_trainable, suggest_recipe
from federated.provable.steps import iterate_steps
from kernels.numpy_types import UInt8Array
from prover.errors import RecipeInvalid
from prover.model.network import is_correct
from prover.model.presets import parse_architecture
from prover.training.draws import draw_start, order_batches
from prover.training.masters import export, start
from prover.training.recipe import TrainingRecipe
from prover.training.step import train_step

SEED = bytes(8)


def suggest(name: str) -> TrainingRecipe:
    return suggest_recipe(make_trainable(parse_architecture(name)))


def load_digits(split: str, tmp_path: Path) -> tuple[UInt8Array, UInt8Array]:
    return load("mnist", split, tmp_path / "nothing-fetched")


@pytest.mark.parametrize(
    ("name", "at_least"),
    [("mlp-784-10", 0.75), ("mlp-784-24-16-10", 0.6)],
)
def test_one_pass_over_the_packaged_digits_teaches(
    name: str, at_least: float, tmp_path: Path
) -> None:
    images, labels = load_digits("train", tmp_path)
    test_images, test_labels = load_digits("test", tmp_path)
    recipe = suggest(name)
    masters = start(recipe, draw_start(recipe, SEED))

    def get(number: int) -> tuple[UInt8Array, UInt8Array]:
        chosen = slice(number * 64, number * 64 + 64)
        return images[chosen], labels[chosen]

    order = order_batches(SEED, n_batches=94, n_steps=94)
    *_, last = iterate_steps(recipe, masters, order, get)
    before, after = (
        is_correct(export(recipe, m).logits(test_images), test_labels).mean()
        for m in (masters, last)
    )
    assert before < 0.3
    assert after > at_least


def test_quotients_spread_and_logits_begin_near_a_unit(tmp_path: Path) -> None:
    recipe = suggest("mlp-784-128-10")
    images, labels = load_digits("train", tmp_path)
    masters = start(recipe, draw_start(recipe, SEED))
    trace = train_step(recipe, masters, images[:64], labels[:64])
    assert 40 < trace.hidden[0].q.std() < 110
    assert 0.5 < trace.logits.std() / (16 << recipe.logit_shift) < 2


def test_a_network_with_convolutions_is_refused() -> None:
    with pytest.raises(RecipeInvalid, match="linear layers"):
        suggest("lenet5")
