"""One step of integer SGD: against its formulas, sample by sample, and at its ranges."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from prover.errors import RangeExceeded, RecipeInvalid, ShapeMismatch
from prover.model.layers import Requant
from prover.model.network import Architecture, QuantizedModel
from prover.model.presets import parse_architecture
from prover.training.batch import count_batch_wires, make_batch
from prover.training.loss import EXP_TABLE, compute_loss
from prover.training.masters import export, round_masters, split_masters, start
from prover.training.recipe import TrainingRecipe
from prover.training.step import train_step
from tests.support.training import draw_batch, draw_masters, make_recipe, step_slowly


@pytest.mark.parametrize("widths", [[6, 3], [6, 5, 3], [4, 6, 5, 2], [3, 4, 3, 4, 3]], ids=str)
@pytest.mark.parametrize("rate", [1, 4])
def test_a_step_is_what_its_formulas_say(widths: list[int], rate: int) -> None:
    recipe = make_recipe(widths, rate=rate, master_bits=14)
    rng = np.random.default_rng(len(widths) + rate)
    moved = 0
    for n in (1, 2, 4, 3, 4, 4):
        masters = draw_masters(recipe, rng)
        images, labels = draw_batch(recipe, rng, n)
        trace = train_step(recipe, masters, images, labels)
        assert trace.after.dtype == np.int64
        expected = step_slowly(recipe, masters.tolist(), images.tolist(), labels.tolist())
        assert trace.after.tolist() == expected
        moved += int((trace.after != masters).any())
    assert moved > 3


def test_a_trace_has_all_that_a_witness_needs() -> None:
    recipe = make_recipe([6, 5, 3], master_bits=14)
    rng = np.random.default_rng(3)
    trace = train_step(recipe, draw_masters(recipe, rng, 90), *draw_batch(recipe, rng, 3))
    hidden, loss = trace.hidden[0], trace.loss
    shift = recipe.hidden[0].shift
    (w, b), (last, last_b) = split_masters(recipe, trace.weights)
    z = trace.batch.images.astype(np.int64) @ w.T + recipe.bias_input * b
    assert ((hidden.q << shift) + hidden.rem - (1 << (shift - 1)) == z).all()
    assert ((hidden.rem >= 0) & (hidden.rem < 1 << shift)).all()
    assert (hidden.a == np.clip(hidden.q, 0, 255)).all()
    assert set(hidden.gate.reshape(-1).tolist()) == {0, 1}
    assert (trace.logits == hidden.a @ last.T + recipe.bias_input * last_b).all()
    distance = ((loss.step + loss.excess) << recipe.logit_shift) + loss.rem
    assert (loss.top[:, None] - distance == trace.logits).all()
    assert ((loss.excess == 0) | (loss.step == 255)).all()
    assert (loss.total >= 4096).all()
    assert (loss.delta[3] == 0).all(), "padding"
    v = loss.delta @ last
    rounded = (hidden.w << recipe.backward_shift) + hidden.w_rem
    assert (rounded - (1 << (recipe.backward_shift - 1)) == v).all()
    assert (hidden.delta == hidden.gate * hidden.w).all()


def test_padding_moves_nothing() -> None:
    """A step on n samples is the same in a batch of any size."""
    rng = np.random.default_rng(5)
    small, large = (make_recipe([6, 5, 3], master_bits=14, batch_size=b) for b in (2, 7))
    masters, (images, labels) = draw_masters(small, rng), draw_batch(small, rng)
    found = [train_step(x, masters, images, labels).after for x in (small, large)]
    assert (found[0] == found[1]).all()


def test_the_table_of_exponentials() -> None:
    """Correctly rounded, and far from a tie: no machine's exp can change it."""
    for t, x in enumerate(EXP_TABLE.tolist()):
        exact = 4096 * (Decimal(-t) / 16).exp()
        assert abs(exact - x) < Decimal("0.4999")
    assert (EXP_TABLE[0], EXP_TABLE[-1], len(EXP_TABLE)) == (4096, 0, 256)


def test_probabilities_are_rounded_shares() -> None:
    recipe = make_recipe([6, 3])
    logits = np.array([[0, 0, 0], [5000, -5000, 0], [64, 0, 127], [1 << 20, 0, 1]])
    loss = compute_loss(recipe, logits, np.zeros_like(logits))
    assert not loss.delta.any(), "no label: all padding"
    for p, share in zip(loss.p.tolist(), loss.share.tolist(), strict=True):
        for x, y in zip(p, share, strict=True):
            assert abs(Fraction(256 * y, sum(share)) - x) <= Fraction(1, 2)
    assert loss.p[0].tolist() == [85, 85, 85]
    assert loss.p[3].tolist() == [256, 0, 0]


def test_it_learns() -> None:
    """Which of three pixels is bright: from nothing to all of it, in integers."""
    recipe = make_recipe([9, 12, 3], batch_size=32, master_bits=16, logit_shift=7)
    rng = np.random.default_rng(8)
    masters = draw_masters(recipe, rng, 20)

    def draw(n: int) -> tuple[Any, Any]:
        labels = rng.integers(0, 3, n, dtype=np.uint8)
        images = rng.integers(0, 60, (n, 9), dtype=np.uint8)
        for pixel in range(3):
            images[np.arange(n), labels * 3 + pixel] += 60
        return images, labels

    images, labels = draw(200)
    before = (export(recipe, masters).logits(images).argmax(1) == labels).mean()
    for _ in range(60):
        masters = train_step(recipe, masters, *draw(32)).after
    after = (export(recipe, masters).logits(images).argmax(1) == labels).mean()
    assert before < 0.7
    assert after > 0.95


# -- start and export ------------------------------------------------------------------------------


def make_model(recipe: TrainingRecipe, biases: Sequence[int]) -> QuantizedModel:
    rng = np.random.default_rng(1)
    weights = rng.integers(-127, 128, (3, 6)).astype(np.int8)
    return QuantizedModel(
        architecture=recipe.architecture,
        weights=(weights,),
        biases=(np.array(biases, dtype=np.int32),),
    )


def test_a_model_starts_as_its_own_masters() -> None:
    recipe = make_recipe([6, 3], master_bits=16)
    model = make_model(recipe, [128, -127 * 128, 65])
    masters = start(recipe, model)
    assert masters[:18].tolist() == [int(w) << 16 for w in model.weights[0].reshape(-1)]
    assert masters[18:].tolist() == [1 << 16, -127 << 16, (65 << 16) // 128]
    exported = export(recipe, masters)
    assert (exported.weights[0] == model.weights[0]).all()
    assert exported.biases[0].tolist() == [128, -127 * 128, 128], "biases are multiples of beta"
    again = start(recipe, exported)
    assert (export(recipe, again).wires == exported.wires).all()


def test_odd_bias_inputs_round_to_the_next_master() -> None:
    recipe = make_recipe([6, 3], master_bits=4, bias_input=3)
    assert start(recipe, make_model(recipe, [1, -1, 3]))[18:].tolist() == [5, -5, 16]


def test_a_model_that_no_masters_stand_for_is_refused() -> None:
    recipe = make_recipe([6, 3], master_bits=16)
    with pytest.raises(RangeExceeded, match=r"bias as a weight .* greater bias input"):
        start(recipe, make_model(recipe, [128 * 128, 0, 0]))
    with pytest.raises(ShapeMismatch, match="another architecture"):
        start(make_recipe([7, 3]), make_model(recipe, [0, 0, 0]))


def test_masters_at_the_ends_of_their_range() -> None:
    recipe = make_recipe([6, 3])
    least, greatest = recipe.master_range
    edges = np.full(21, least)
    edges[1::2] = greatest
    assert set(round_masters(recipe, edges).tolist()) == {-127, 127}
    for index, beyond in ((0, least - 1), (20, greatest + 1)):
        masters = edges.copy()
        masters[index] = beyond
        with pytest.raises(RangeExceeded, match=f"layer 0: master weight {beyond} is outside"):
            export(recipe, masters)


# -- refusals --------------------------------------------------------------------------------------


def test_a_step_that_leaves_a_range_is_refused() -> None:
    recipe = make_recipe([6, 5, 3], master_bits=4)
    rng = np.random.default_rng(3)
    images, labels = draw_batch(recipe, rng)
    with pytest.raises(
        RangeExceeded, match=r"after the step .*\[-2040, 2039\]; take a smaller rate"
    ):
        train_step(recipe, draw_masters(recipe, rng), images, labels)
    masters = np.full(recipe.architecture.n_parameters, 127 << 4)
    narrow = make_recipe([6, 5, 3], master_bits=4, requant=Requant(shift=6, q_bits=9))
    with pytest.raises(RangeExceeded, match=r"layer 0: quotient .* more q_bits"):
        train_step(narrow, masters, images, labels)
    few = make_recipe([6, 5, 3], master_bits=4, error_bits=5)
    with pytest.raises(RangeExceeded, match=r"layer 0: error .* more error bits"):
        train_step(few, draw_masters(few, rng), images, labels)


@pytest.mark.parametrize(
    ("images", "labels", "what"),
    [
        (np.zeros((5, 6), np.uint8), np.zeros(5, np.uint8), "a batch is"),
        (np.zeros((0, 6), np.uint8), np.zeros(0, np.uint8), "a batch is"),
        (np.zeros((2, 7), np.uint8), np.zeros(2, np.uint8), "a batch is"),
        (np.zeros((2, 6), np.int64), np.zeros(2, np.uint8), "a batch is"),
        (np.zeros((2, 6), np.uint8), np.full(2, 3, np.uint8), "labels must"),
        (np.zeros((2, 6), np.uint8), np.zeros(3, np.uint8), "labels must"),
    ],
)
def test_batches_of_other_shapes_are_refused(images: Any, labels: Any, what: str) -> None:
    recipe = make_recipe([6, 5, 3])
    with pytest.raises(ShapeMismatch, match=what):
        make_batch(recipe, images, labels)


def test_the_wires_of_a_batch() -> None:
    recipe = make_recipe([2, 3], batch_size=3)
    batch = make_batch(recipe, np.array([[1, 2], [3, 4]], np.uint8), np.array([2, 0], np.uint8))
    assert batch.wires.tolist() == [1, 2, 3, 4, 0, 0, 3, 1, 0]
    assert (batch.n_real, len(batch.wires)) == (2, count_batch_wires(recipe))


def test_masters_of_other_shapes_are_refused() -> None:
    recipe = make_recipe([6, 3])
    images, labels = draw_batch(recipe, np.random.default_rng(0))
    for masters in (np.zeros(20, np.int64), np.zeros(21, np.int32)):
        with pytest.raises(ShapeMismatch, match="masters must be int64"):
            train_step(recipe, masters, images, labels)  # type: ignore[arg-type]


# -- recipes ---------------------------------------------------------------------------------------


def test_a_recipe_has_one_encoding() -> None:
    recipe = make_recipe([6, 5, 3])
    assert TrainingRecipe.from_manifest(recipe.to_manifest()) == recipe
    assert recipe.digest != make_recipe([6, 5, 3], rate=2).digest
    assert recipe.digest != make_recipe([6, 4, 3]).digest
    broken: list[Any] = [None, {}, {"architecture": {}, "training": {}, "more": 1}]
    numbers = recipe.numbers
    broken += [recipe.to_manifest() | {"training": x} for x in ({}, [], numbers | {"more": 1})]
    for value in broken:
        with pytest.raises(RecipeInvalid):
            TrainingRecipe.from_manifest(value)


@pytest.mark.parametrize("name", TrainingRecipe.LIMITS)
def test_numbers_out_of_range_are_refused(name: str) -> None:
    least, most = TrainingRecipe.LIMITS[name]
    for value in (least - 1, most + 1, True, 2.0, "2"):
        with pytest.raises(RecipeInvalid, match=f"{name} must be"):
            make_recipe([6, 5, 3], **{name: value})


def test_other_networks_are_refused() -> None:
    signed = Requant(least=-128, greatest=127)
    scaled = Requant(multiplier=2)
    for requant in (signed, scaled):
        with pytest.raises(RecipeInvalid, match="layer 0: a hidden layer has ReLU"):
            make_recipe([6, 5, 3], requant=requant)
    with pytest.raises(RecipeInvalid, match="networks of linear layers"):
        TrainingRecipe(architecture=parse_architecture("lenet-small"))


def test_numbers_that_could_wrap_are_refused() -> None:
    with pytest.raises(RecipeInvalid, match=r"layer 0: change of a weight .* smaller rate"):
        make_recipe([6, 5, 3], batch_size=1024, rate=1 << 16, error_bits=24)
    recipe = TrainingRecipe(architecture=Architecture.mlp([784, 128, 10]))
    assert recipe.bound_accumulator(0) < 1 << 26
    assert recipe.bound_change(1) < 1 << 23
