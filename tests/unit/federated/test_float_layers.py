"""Float networks compute what their integers stand for, need no PyTorch, and survive a file."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from federated.errors import FloatModelInvalid
from federated.float_layers import apply_layer, is_relu
from federated.float_model import (
    FORMAT,
    FloatModel,
    decode_float_model,
    encode_float_model,
    is_same_network,
)
from federated.rounding import get_real_parameters
from kernels.numpy_types import UInt8Array
from prover.errors import ShapeMismatch
from prover.model.layers import Linear, Requant
from prover.model.network import Architecture
from prover.model.planes import Conv2d, Window
from prover.model.pooling import Add, Flatten, MaxPool, SumPool
from prover.model.presets import PRESETS, parse_architecture
from prover.model.samples import shape_samples

SIGNED = Requant(least=-128, greatest=127)
NETWORK = Architecture.of(
    (2, 9, 8),
    [
        Conv2d(
            n_out=4, window=Window(kernel=(3, 2), stride=(2, 1), pads=(1, 0, 2, 1)),
            inputs=(0,), requant=Requant(), pad_values=(9, 250),
        ),
        Conv2d(
            n_out=4, window=Window(kernel=(3, 3), pads=(1, 1, 1, 1)),
            inputs=(1, 1), requant=SIGNED, skip_scale=7,
        ),
        Add(inputs=(1, 2), scales=(3, 4), requant=Requant()),
        MaxPool(window=Window(kernel=(2, 3), stride=(1, 2), pads=(1, 1, 0, 1)), inputs=(3,)),
        SumPool(window=Window(kernel=(2, 2), stride=(2, 1)), inputs=(4,)),
        Flatten(inputs=(5,)),
        Linear(n_out=6, inputs=(6,), requant=Requant()),
        Linear(n_out=3, inputs=(7,)),
    ],
)  # fmt: skip
"""Every kind of layer, with uneven kernels, strides and pads."""


def draw_network(
    architecture: Architecture = NETWORK, seed: int = 0, *, mean: float = 0.4, std: float = 0.3
) -> FloatModel:
    rng = np.random.default_rng(seed)

    def draw(
        shape: tuple[int, ...], size: float
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return (size * rng.standard_normal(shape)).astype(np.float32)

    return FloatModel(
        architecture=architecture,
        weights=tuple(
            draw(shape, 1.4 / np.sqrt(max(1, np.prod(shape[1:]))))
            for shape in architecture.weight_shapes
        ),
        biases=tuple(draw(shape, 0.1) for shape in architecture.bias_shapes),
        mean=mean,
        std=std,
        record={"drawn": seed},
    )


def draw_images(n: int, architecture: Architecture = NETWORK, seed: int = 1) -> UInt8Array:
    shape = (n, *architecture.input_shape)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("index", range(len(NETWORK.layers)))
def test_a_layer_computes_what_its_integers_do(index: int) -> None:
    """On integers, with skips and additions of weight one, and means in place of sums."""
    layer = NETWORK.layers[index]
    if isinstance(layer, Conv2d) and layer.has_skip:
        layer = replace(layer, skip_scale=1)
    elif isinstance(layer, Add):
        layer = replace(layer, scales=(1, 1))
    rng = np.random.default_rng(index)
    shapes = [NETWORK.shapes[value] for value in layer.inputs]
    values = [rng.integers(-99, 100, (5, *shape)) for shape in shapes]
    w = rng.integers(-127, 128, NETWORK.weight_shapes[index]).astype(np.int8)
    b = rng.integers(-999, 1000, NETWORK.bias_shapes[index]).astype(np.int32)
    expected = layer.accumulate(values, w, b).astype(np.float64)
    if isinstance(layer, SumPool):
        expected /= layer.window.area
    pads = layer.pad_values if isinstance(layer, Conv2d) else ()
    floats = [x.astype(np.float64) for x in (*values, w, b)]
    found = apply_layer(layer, floats[:-2], floats[-2], floats[-1], pads)
    assert found.shape[1:] == NETWORK.shapes[index + 1]
    assert np.array_equal(found, expected)


def test_normalization_folds_into_the_entrance() -> None:
    """On raw pixels, whose border are raw pixels too, the folded layer does the same."""
    model, images = draw_network(), draw_images(6)
    entrance = NETWORK.layers[0]
    assert isinstance(entrance, Conv2d)
    w, b = get_real_parameters(model, 0)
    found = apply_layer(entrance, [images.astype(np.float64)], w, b, entrance.pad_values)
    assert np.allclose(found, next(model.trace(images)), atol=1e-4)
    # Without pixels of its own a border is black.
    black = replace(entrance, pad_values=())
    plain = replace(model, architecture=replace(NETWORK, layers=(black, *NETWORK.layers[1:])))
    found = apply_layer(black, [images.astype(np.float64)], w, b)
    assert np.allclose(found, next(plain.trace(images)), atol=1e-4)


def test_a_trace_goes_on_from_any_layer() -> None:
    model, images = draw_network(), draw_images(4)
    steps = model.activations(images)
    values = {0: model.normalize(images.astype(np.float32))}
    for index, z in enumerate(steps):
        layer = NETWORK.layers[index]
        values[index + 1] = np.maximum(z, 0) if is_relu(layer.requant) else z
        rest = list(model.trace_from(index + 1, values))
        assert len(rest) == len(steps) - index - 1
        assert all(np.array_equal(a, b) for a, b in zip(rest, steps[index + 1 :], strict=True))


def test_samples_at_a_time_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = draw_network(), draw_images(7)
    whole = model.logits(images)
    monkeypatch.setattr("federated.float_model._AT_ONCE", 1000)
    monkeypatch.setattr("federated.float_layers._AT_ONCE", 900)
    assert 1 <= model.at_once < 7
    assert np.allclose(model.logits(images), whole, atol=1e-5)
    assert np.allclose(model.logits(images.reshape(7, -1)), whole, atol=1e-5)
    assert model.accuracy(images, whole.argmax(axis=1).astype(np.uint8)) == 1


@pytest.mark.parametrize("architecture", [NETWORK, *map(parse_architecture, PRESETS)])
def test_files_of_networks(architecture: Architecture) -> None:
    model = draw_network(architecture)
    raw = encode_float_model(model)
    assert raw == encode_float_model(model)
    found = decode_float_model(raw)
    assert found.architecture == architecture
    assert (found.mean, found.std, found.record) == (0.4, 0.3, {"drawn": 0})
    pairs = zip((*found.weights, *found.biases), (*model.weights, *model.biases), strict=True)
    assert all(np.array_equal(a, b) and a.dtype == np.float32 for a, b in pairs)


def test_files_of_impossible_networks() -> None:
    raw = encode_float_model(draw_network())
    n = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:n])
    inner = json.loads(header["__metadata__"][FORMAT])
    for change in (
        {"input_shape": [2, 5, 8]},
        {"layers": inner["architecture"]["layers"][:-1]},
        {"layers": []},
        {"margin_bits": 0.5},
        {"more": 1},
    ):
        altered = {**inner, "architecture": {**inner["architecture"], **change}}
        header["__metadata__"] = {FORMAT: json.dumps(altered)}
        text = json.dumps(header).encode()
        with pytest.raises(FloatModelInvalid):
            decode_float_model(len(text).to_bytes(8, "little") + text + raw[n:])


def test_the_same_network_in_other_integers() -> None:
    narrow = Requant(shift=5, multiplier=3, q_bits=11)
    first, second, addition = NETWORK.layers[:3]
    assert isinstance(first, Conv2d) and isinstance(second, Conv2d) and isinstance(addition, Add)  # noqa: PT018
    others = (
        replace(first, requant=narrow),
        replace(second, skip_scale=300, requant=replace(narrow, least=-100, greatest=99)),
        replace(addition, scales=(1, 900), requant=narrow),
        *NETWORK.layers[3:],
    )
    assert is_same_network(NETWORK, Architecture.of((2, 9, 8), others))
    for layer in (
        replace(first, n_out=4, pad_values=()),
        replace(first, requant=replace(narrow, least=-1)),
        replace(first, window=replace(first.window, pads=(2, 0, 1, 1))),
    ):
        changed = Architecture.of((2, 9, 8), [layer, *NETWORK.layers[1:]])
        assert not is_same_network(NETWORK, changed)


def test_samples_take_the_shape_of_a_network() -> None:
    images = np.arange(2 * 28 * 28, dtype=np.uint8).reshape(2, 28, 28)
    for shape in ((784,), (1, 28, 28), (28, 28)):
        found = shape_samples(images if shape != (784,) else images.reshape(2, -1), shape)
        assert found.shape == (2, *shape)
        assert (found.reshape(-1) == images.reshape(-1)).all()
    assert shape_samples(images.reshape(2, -1), (1, 28, 28)).shape == (2, 1, 28, 28)
    colours = np.zeros((2, 32, 32, 3), dtype=np.uint8)
    refused: list[tuple[np.ndarray[tuple[int, ...], np.dtype[np.uint8]], tuple[int, ...]]] = [
        (colours, (3, 32, 32)),  # colours last
        (images, (784,)),
        (images, (1, 28, 27)),
        (images.reshape(2, 56, 14), (1, 28, 28)),
    ]
    for wrong, shape in refused:
        with pytest.raises(ShapeMismatch, match="samples must be uint8"):
            shape_samples(wrong, shape)
    with pytest.raises(ShapeMismatch):
        shape_samples(images.astype(np.int8), (1, 28, 28))  # type: ignore[arg-type]
