"""A framework's arrays: which are the task's network, there and back."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest

from federated.task_scales import TaskScales
from integrations.errors import ArraysUnsupported
from integrations.flower.arrays import (
    decode_integers,
    flatten,
    list_floats,
    list_integers,
    list_shapes,
    read_floats,
    read_integers,
)
from prover.model.network import Architecture
from prover.model.presets import parse_architecture

NAMES = ("mlp-6-4-3", "lenet5")


def make_scales(architecture: Architecture) -> TaskScales:
    return TaskScales(weights=(0.01,) * len(architecture.layers), mean=0.5, std=0.5)


def draw(architecture: Architecture, dtypes: tuple[Any, Any]) -> list[Any]:
    rng = np.random.default_rng(4)
    return [
        rng.integers(-100, 101, shape).astype(dtypes[i % 2])
        for i, shape in enumerate(list_shapes(architecture))
    ]


@pytest.mark.parametrize("name", NAMES)
def test_floats_there_and_back(name: str) -> None:
    architecture = parse_architecture(name)
    arrays = draw(architecture, (np.float32, np.float64))
    model = read_floats(arrays, architecture, make_scales(architecture))
    for back, array in zip(list_floats(model), arrays, strict=True):
        assert back.dtype == np.float32
        assert np.array_equal(back, array)


@pytest.mark.parametrize("name", NAMES)
def test_integers_there_and_back(name: str) -> None:
    architecture = parse_architecture(name)
    arrays = draw(architecture, (np.int8, np.int32))
    model = read_integers(arrays, architecture)
    assert model is not None
    for back, array in zip(list_integers(model), arrays, strict=True):
        assert back.dtype == array.dtype
        assert np.array_equal(back, array)
    assert np.array_equal(flatten(arrays), model.wires)


def test_layers_without_parameters_have_no_arrays() -> None:
    architecture = parse_architecture("lenet5")
    assert len(list_shapes(architecture)) == 10  # two convolutions and three linear layers
    assert len(architecture.layers) > 5


@pytest.mark.parametrize("change", ["missing", "more", "turned", "flat"])
def test_other_shapes_are_refused_in_words(change: str) -> None:
    architecture = parse_architecture("mlp-6-4-3")
    arrays = draw(architecture, (np.float32, np.float32))
    match change:
        case "missing":
            arrays.pop()
        case "more":
            arrays.append(arrays[-1])
        case "turned":
            arrays[0] = arrays[0].T
        case "flat":
            arrays[0] = arrays[0].reshape(-1)
    with pytest.raises(ArraysUnsupported, match=r"this task proves mlp-6-4-3: \[\(4, 6\), \(4,\)"):
        read_floats(arrays, architecture, make_scales(architecture))
    assert read_integers([a.astype(np.int8) for a in arrays], architecture) is None


def save(array: Any) -> bytes:
    stream = BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_a_strangers_files_are_those_of_its_integers(name: str) -> None:
    architecture = parse_architecture(name)
    arrays = draw(architecture, (np.int8, np.int32))
    found = decode_integers([save(array) for array in arrays], architecture)
    assert found is not None
    assert all(np.array_equal(a, b) for a, b in zip(found, arrays, strict=True))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raws: raws[:-1],
        lambda raws: [*raws, raws[-1]],
        lambda raws: [b"", *raws[1:]],
        lambda raws: [raws[0][:-1], *raws[1:]],
        lambda raws: [raws[0] + b"x", *raws[1:]],
        lambda raws: [raws[0].replace(b"(4, 6)", b"(6, 4)"), *raws[1:]],
        lambda raws: [raws[0].replace(b"(4, 6)", b"(9**9,"), *raws[1:]],
        lambda raws: [raws[0].replace(b"|i1", b"|u1"), *raws[1:]],
        lambda raws: [raws[0], save(np.array([None] * 4)), *raws[2:]],
        lambda raws: [raws[0], raws[1].replace(b"<i4", b">i4"), *raws[2:]],
    ],
)
def test_no_other_files_are_read(spoil: Callable[[list[bytes]], list[bytes]]) -> None:
    architecture = parse_architecture("mlp-6-4-3")
    raws = [save(array) for array in draw(architecture, (np.int8, np.int32))]
    assert decode_integers(raws, architecture) is not None
    assert spoil(raws) != raws
    assert decode_integers(spoil(raws), architecture) is None


def test_what_is_sent_lies_as_it_is_read() -> None:
    """Whatever the order in memory of the arrays that an app has trained."""
    architecture = parse_architecture("mlp-6-4-3")
    arrays = [np.asfortranarray(a) for a in draw(architecture, (np.int8, np.int32))]
    model = read_integers(arrays, architecture)
    assert model is not None
    assert decode_integers([save(a) for a in list_integers(model)], architecture) is not None


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_no_number_that_is_not_finite(number: float) -> None:
    architecture = parse_architecture("mlp-6-4-3")
    arrays = draw(architecture, (np.float32, np.float32))
    arrays[2][1, 1] = number
    with pytest.raises(ArraysUnsupported, match="not finite"):
        read_floats(arrays, architecture, make_scales(architecture))


@pytest.mark.parametrize(
    ("index", "dtype", "value"),
    [(0, np.int16, 1), (0, np.uint8, 1), (1, np.int64, 1), (1, np.float32, 1), (0, np.int8, -128),
     (1, np.int32, 1 << 23), (3, np.int32, -(1 << 23) - 1)],
)  # fmt: skip
def test_a_strangers_integers_are_of_their_types_and_ranges(
    index: int, dtype: Any, value: int
) -> None:
    architecture = parse_architecture("mlp-6-4-3")
    arrays = draw(architecture, (np.int8, np.int32))
    arrays[index] = arrays[index].astype(dtype)
    arrays[index].flat[0] = value
    assert read_integers(arrays, architecture) is None
