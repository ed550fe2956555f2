"""The weighted mean of models, exact to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from math import floor
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.learning.aggregate import (
    MAX_TOTAL_WEIGHT,
    ONE,
    GlobalModel,
    combine,
    divide,
)
from kernels.numpy_types import Int64Array
from prover.errors import FieldInvalid
from prover.model.network import Architecture, QuantizedModel
from prover.wire.records import encode_fields, split_fields
from tests.support.learning import ARCHITECTURE
from tests.support.models import random_model

TINY = Architecture.mlp([2, 2])
MAGIC_BYTES = 10
HIGH, LOW = (1 << 23) - 1, -(1 << 23)


def tiny(weights: list[int], biases: list[int]) -> QuantizedModel:
    return QuantizedModel(
        architecture=TINY,
        weights=(np.array(weights, dtype=np.int8).reshape(TINY.weight_shapes[0]),),
        biases=(np.array(biases, dtype=np.int32),),
    )


def mean(values: list[int], weights: list[int]) -> int:
    """By the definition, in fractions."""
    total = sum(Fraction(v * w) for v, w in zip(values, weights, strict=True))
    return floor(ONE * total / sum(weights) + Fraction(1, 2))


@given(
    st.lists(
        st.tuples(
            st.integers(-127, 127), st.integers(LOW, HIGH), st.integers(1, MAX_TOTAL_WEIGHT // 8)
        ),
        min_size=1,
        max_size=8,
    )
)
def test_the_mean_is_the_definition(rows: list[tuple[int, int, int]]) -> None:
    models = [(tiny([w, -w, 127, -127], [b, -1 - b]), k) for w, b, k in rows]
    made = combine(models)
    weights = [k for _, _, k in rows]
    expected_w = mean([w for w, _, _ in rows], weights)
    expected_b = mean([b for _, b, _ in rows], weights)
    mirrored = mean([-1 - b for _, b, _ in rows], weights)
    assert made.weights[0].reshape(-1).tolist()[0] == expected_w
    assert made.weights[0].reshape(-1).tolist()[2:] == [127 * ONE, -127 * ONE]
    assert made.biases[0].tolist() == [expected_b, mirrored]


def test_halves_are_rounded_up() -> None:
    """1/2^17 is half a unit: up for both signs, towards plus infinity."""
    weights = [1, 2 * ONE - 1]
    made = combine([(tiny([1, -1, 0, 0], [0, 0]), weights[0]), (tiny([0] * 4, [0, 0]), weights[1])])
    assert made.weights[0].reshape(-1).tolist() == [1, 0, 0, 0]


def test_the_bytes_do_not_depend_on_the_order() -> None:
    models = [(random_model(ARCHITECTURE, np.random.default_rng(i)), 3 + 5 * i) for i in range(6)]
    raw = combine(models).encode()
    for seed in range(4):
        shuffled = models.copy()
        Random(seed).shuffle(shuffled)
        assert combine(iter(shuffled)).encode() == raw


def test_one_model_is_its_own_mean() -> None:
    model = random_model(ARCHITECTURE, np.random.default_rng(1))
    made = combine([(model, 7)])
    pairs = zip(made.weights, model.weights, strict=True)
    assert all((m == w.astype(np.int64) * ONE).all() for m, w in pairs)
    again = made.rounded()
    for a, b in zip((*again.weights, *again.biases), (*model.weights, *model.biases), strict=True):
        assert a.dtype == b.dtype
        assert (a == b).all()


def test_rounded_is_the_nearest_model() -> None:
    made = combine(
        [(tiny([1, -1, 127, -127], [3, HIGH]), 1), (tiny([2, -2, 127, -127], [4, HIGH]), 1)]
    )
    rounded = made.rounded()
    assert rounded.weights[0].reshape(-1).tolist() == [2, -1, 127, -127]
    assert rounded.biases[0].tolist() == [4, HIGH]


@pytest.mark.parametrize(
    "models",
    [
        [],
        [(tiny([0] * 4, [0, 0]), 0)],
        [(tiny([0] * 4, [0, 0]), -1)],
        [(tiny([0] * 4, [0, 0]), MAX_TOTAL_WEIGHT + 1)],
        [
            (tiny([0] * 4, [0, 0]), 1),
            (random_model(ARCHITECTURE, np.random.default_rng(1)), 1),
        ],
    ],
)
def test_what_has_no_mean(models: list[tuple[QuantizedModel, int]]) -> None:
    with pytest.raises(ValueError, match=r"mean of no model|positive weights"):
        combine(models)


def test_a_sum_that_no_models_have_is_refused() -> None:
    """Though a global model may lie up to half a step beyond: masters do, models do not."""
    bounds = np.array([3 * 127, -3 * 127, 0, 0, 3 * HIGH, 3 * LOW])
    assert divide(TINY, bounds, 3).weights[0].reshape(-1).tolist()[:2] == [127 * ONE, -127 * ONE]
    for k, change in ((0, 1), (1, -1), (4, 1), (5, -1)):
        beyond = bounds.copy()
        beyond[k] += change
        with pytest.raises(FieldInvalid, match="out of range"):
            divide(TINY, beyond, 3)


# -- bytes -----------------------------------------------------------------------------------------


def sample() -> GlobalModel:
    return combine(
        [(random_model(ARCHITECTURE, np.random.default_rng(i)), 2 + i) for i in range(3)]
    )


def test_models_have_one_encoding() -> None:
    raw = sample().encode()
    again = GlobalModel.parse(raw)
    assert again.encode() == raw
    assert again.architecture == ARCHITECTURE
    assert (again.biases[1] == sample().biases[1]).all()


def parts() -> list[bytes]:
    return split_fields(sample().encode()[MAGIC_BYTES:], 2)


def join(manifest: bytes, payload: bytes) -> bytes:
    return sample().encode()[:MAGIC_BYTES] + encode_fields((manifest, payload))


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: b"",
        lambda raw: raw[:-1],
        lambda raw: raw + b"\0",
        lambda raw: b"x" + raw[1:],
        lambda raw: join(parts()[0] + b" ", parts()[1]),
        lambda raw: join(b"{}", parts()[1]),
        lambda raw: join(b"[" * 50_000, parts()[1]),
        lambda raw: join(b"\xff", parts()[1]),
        lambda raw: join(parts()[0], parts()[1][8:]),
        lambda raw: join(parts()[0], (127 * ONE + ONE // 2).to_bytes(8, "little") + parts()[1][8:]),
        lambda raw: join(parts()[0], b"\xff" * 7 + b"\x7f" + parts()[1][8:]),
        lambda raw: join(parts()[0], bytes(7) + b"\x80" + parts()[1][8:]),
    ],
)
def test_other_bytes_are_refused(change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(FieldInvalid):
        GlobalModel.parse(change(sample().encode()))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_model_or_refused(tail: bytes) -> None:
    with pytest.raises(FieldInvalid):
        GlobalModel.parse(sample().encode()[:MAGIC_BYTES] + tail)


def with_first(weight: int) -> Int64Array:
    """The numbers of the sample, whose first is a weight and the last a bias."""
    return np.concatenate([[weight], sample().numbers[1:]])


def with_last(bias: int) -> Int64Array:
    return np.concatenate([sample().numbers[:-1], [bias]])


def test_the_numbers_at_the_bounds_fit() -> None:
    for numbers in (
        with_first(127 * ONE + ONE // 2 - 1),
        with_first(-127 * ONE - ONE // 2),
        with_last(HIGH * ONE),
        with_last(LOW * ONE),
    ):
        made = replace(sample(), numbers=numbers)
        assert made.encode() != sample().encode()
        assert max(int(np.abs(w).max()) for w in made.rounded().weights) <= 127


@pytest.mark.parametrize(
    "numbers",
    [
        sample().numbers[:0],
        sample().numbers[1:],
        sample().numbers.astype(np.int32),
        sample().numbers.reshape(1, -1),
        with_last((HIGH + 1) * ONE),
        with_last(LOW * ONE - 1),
        with_first(127 * ONE + ONE // 2),
        with_first(-127 * ONE - ONE // 2 - 1),
    ],
)
def test_tensors_must_fit(numbers: Int64Array) -> None:
    with pytest.raises(FieldInvalid):
        replace(sample(), numbers=numbers)
