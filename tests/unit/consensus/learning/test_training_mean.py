"""The mean of masters as a global model, and that model's masters: exact both ways."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from hashlib import sha256
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.learning.aggregate import MAX_TOTAL_WEIGHT, ONE, GlobalModel
from consensus.learning.training_mean import divide_masters, find_start, read_masters
from kernels.numpy_types import Int64Array
from prover.errors import FieldInvalid
from prover.model.network import Architecture
from prover.training.draws import draw_start
from prover.training.masters import export, start
from prover.training.recipe import TrainingRecipe
from tests.support.training import make_small_recipe

RECIPE = make_small_recipe([4, 3, 2])
N = RECIPE.architecture.n_parameters
LEAST, GREATEST = RECIPE.master_range
GENESIS = sha256(b"genesis").digest()


def with_bits(bits: int) -> TrainingRecipe:
    return replace(RECIPE, master_bits=bits)


def draw_masters(seed: int, recipe: TrainingRecipe = RECIPE) -> Int64Array:
    least, greatest = recipe.master_range
    return np.random.default_rng(seed).integers(least, greatest + 1, N)


@given(
    seed=st.integers(0, 99),
    n=st.integers(1, 9),
    bits=st.integers(RECIPE.LIMITS["master_bits"][0], 16),
)
def test_the_mean_is_the_definition(seed: int, n: int, bits: int) -> None:
    """floor(s / n + 1/2) of each, and from there the very same masters."""
    recipe = with_bits(bits)
    sums = sum((draw_masters(seed + 100 * i, recipe) for i in range(n)), np.zeros(N, np.int64))
    model = divide_masters(recipe, sums, n)
    expected = [floor(Fraction(int(s), n) + Fraction(1, 2)) for s in sums]
    assert read_masters(recipe, model).tolist() == expected
    assert GlobalModel.parse(model.encode()).encode() == model.encode()


def test_halves_are_rounded_up_for_both_signs() -> None:
    sums = np.array([1, -1, 3, -3] + [0] * (N - 4))
    assert read_masters(RECIPE, divide_masters(RECIPE, sums, 2)).tolist()[:4] == [1, 0, 2, -1]


def test_values_are_those_of_the_models() -> None:
    """A weight of the global model is M / 2^u, a bias beta times that; rounded, the export's."""
    masters = draw_masters(1)
    model = divide_masters(RECIPE, masters, 1)
    u, beta = RECIPE.master_bits, RECIPE.bias_input
    first = Fraction(int(model.weights[0].reshape(-1)[0]), ONE)
    assert first == Fraction(int(masters[0]), 1 << u)
    n_weights = model.weights[0].size
    assert Fraction(int(model.biases[0][0]), ONE) == Fraction(
        beta * int(masters[n_weights]), 1 << u
    )
    exported = export(RECIPE, masters)
    for rounded, weights in zip(model.rounded().weights, exported.weights, strict=True):
        assert (rounded == weights).all()


@pytest.mark.parametrize("bits", [4, RECIPE.master_bits, 16])
def test_masters_at_the_ends_of_their_range_have_a_mean(bits: int) -> None:
    recipe = with_bits(bits)
    for master in recipe.master_range:
        model = divide_masters(recipe, np.full(N, 3 * master), 3)
        assert (read_masters(recipe, model) == master).all()
        assert (np.abs(model.rounded().weights[0]) == 127).all()


@pytest.mark.parametrize("k", [0, N - 1])
@pytest.mark.parametrize("beyond", [2 * LEAST - 2, 2 * GREATEST + 1])
def test_a_sum_that_no_masters_have_is_refused(k: int, beyond: int) -> None:
    """Of a weight and of a bias, whose own range is far wider in a global model."""
    sums = np.zeros(N, dtype=np.int64)
    sums[k] = beyond
    with pytest.raises(FieldInvalid, match="out of range"):
        divide_masters(RECIPE, sums, 2)


@pytest.mark.parametrize("total", [0, -1, MAX_TOTAL_WEIGHT + 1])
def test_a_total_weight_out_of_range_is_refused(total: int) -> None:
    with pytest.raises(ValueError, match="weights are positive"):
        divide_masters(RECIPE, np.zeros(N, dtype=np.int64), total)


def test_sums_of_the_greatest_weight_do_not_wrap() -> None:
    sums = np.full(N, with_bits(16).master_range[1] * MAX_TOTAL_WEIGHT)
    model = divide_masters(with_bits(16), sums, MAX_TOTAL_WEIGHT)
    assert (read_masters(with_bits(16), model) == with_bits(16).master_range[1]).all()


# -- what is no masters ----------------------------------------------------------------------------


@pytest.mark.parametrize("k", [0, N - 1])
def test_numbers_between_masters_are_refused(k: int) -> None:
    """Of a weight a unit of the global model is less than one of masters, and so of a bias."""
    recipe = with_bits(12)
    numbers = divide_masters(recipe, draw_masters(2, recipe), 1).numbers.copy()
    numbers[k] += -1 if numbers[k] > 0 else 1
    between = GlobalModel(architecture=recipe.architecture, numbers=numbers)
    with pytest.raises(FieldInvalid, match="between masters"):
        read_masters(recipe, between)


def test_a_bias_that_no_weight_is_behind_is_refused() -> None:
    numbers = np.zeros(N, dtype=np.int64)
    numbers[-1] = (GREATEST + 1) * RECIPE.bias_input << (16 - RECIPE.master_bits)
    beyond = GlobalModel(architecture=RECIPE.architecture, numbers=numbers)
    with pytest.raises(FieldInvalid, match="out of range"):
        read_masters(RECIPE, beyond)


def test_a_model_of_another_architecture_is_refused() -> None:
    other = Architecture.mlp([4, 2])
    model = GlobalModel(architecture=other, numbers=np.zeros(other.n_parameters, dtype=np.int64))
    with pytest.raises(FieldInvalid, match="another architecture"):
        read_masters(RECIPE, model)


# -- where a round starts --------------------------------------------------------------------------


def test_the_first_round_starts_from_what_the_genesis_draws() -> None:
    masters, name = find_start(RECIPE, GENESIS, None)
    assert name == GENESIS
    assert (masters == start(RECIPE, draw_start(RECIPE, GENESIS))).all()
    other, _ = find_start(RECIPE, sha256(b"another").digest(), None)
    assert (masters != other).any()


def test_later_rounds_start_from_the_global_model() -> None:
    mean = draw_masters(3)
    model = divide_masters(RECIPE, mean, 1)
    masters, name = find_start(RECIPE, GENESIS, model)
    assert (masters == mean).all()
    assert name == sha256(model.encode()).digest()
