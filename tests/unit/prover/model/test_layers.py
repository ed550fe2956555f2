"""Convolutions, pools and additions against their definitions in plain Python, and refusals."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import planes
from kernels.numpy_types import Int64Array
from prover.errors import ArchitectureInvalid, ProverError
from prover.model.layers import Interval, Layer, Linear, Requant
from prover.model.network import Architecture, QuantizedModel
from prover.model.planes import Conv2d, Window
from prover.model.pooling import Add, Flatten, MaxPool, SumPool
from prover.model.presets import PRESETS, parse_architecture
from prover.model.ranges import compute_ranges
from tests.support.models import random_images, random_model

SIGNED = Requant(shift=4, multiplier=3, least=-128, greatest=127, q_bits=15)
PER_CHANNEL = Requant(shift=6, multiplier=(3, 1, 7, 2), q_bits=15)

NETWORK = Architecture.of(
    (2, 7, 6),
    [
        Conv2d(
            n_out=4, window=Window(kernel=(3, 2), stride=(2, 1), pads=(1, 0, 2, 1)),
            inputs=(0,), requant=PER_CHANNEL, pad_values=(9, 250),
        ),
        Conv2d(
            n_out=4, window=Window(kernel=(3, 3), pads=(1, 1, 1, 1)),
            inputs=(1, 1), requant=SIGNED, skip_scale=(5, 1, 300, 2),
        ),
        Add(inputs=(1, 2), scales=(3, 4), requant=Requant(shift=3, q_bits=15)),
        MaxPool(
            window=Window(kernel=(2, 3), stride=(1, 2), pads=(1, 1, 0, 1)), inputs=(3,)
        ),
        SumPool(window=Window(kernel=(2, 2), stride=(2, 1)), inputs=(4,)),
        Flatten(inputs=(5,)),
        Linear(n_out=3, inputs=(6,)),
    ],
)  # fmt: skip
"""Every kind of layer, with uneven kernels, strides and pads."""


def pixel(plane: list[list[int]], row: int, column: int, outside: int | None) -> int | None:
    inside = 0 <= row < len(plane) and 0 <= column < len(plane[0])
    return plane[row][column] if inside else outside


def windows(shape: tuple[int, ...], window: Window, height: int, width: int) -> Any:
    """(output row, output column, kernel row, kernel column, row, column) of every meeting."""
    for i in range(height):
        for j in range(width):
            for ky in range(window.kernel[0]):
                for kx in range(window.kernel[1]):
                    row = i * window.stride[0] + ky - window.pads[0]
                    column = j * window.stride[1] + kx - window.pads[1]
                    yield i, j, ky, kx, row, column


def compute_by_definition(layer: Layer, values: list[Any], w: Any, b: Any) -> Any:
    """z of one sample, by loops over Python integers."""
    x = values[0]
    if isinstance(layer, Flatten):
        return [v for plane in x for row in plane for v in row]
    if isinstance(layer, Linear):
        return [
            sum(p * v for p, v in zip(row, x, strict=True)) + c for row, c in zip(w, b, strict=True)
        ]
    if isinstance(layer, Add):
        left, right = (np.array(v, dtype=object) for v in values)
        return (left * layer.scales[0] + right * layer.scales[1]).tolist()
    assert isinstance(layer, Conv2d | MaxPool | SumPool)
    (channels, *plane) = np.array(x).shape
    height, width = layer.window.output_plane(plane)
    places = list(windows(tuple(plane), layer.window, height, width))
    if isinstance(layer, Conv2d):
        z = [[[c] * width for _ in range(height)] for c in b]
        pads = layer.pad_values or (0,) * channels
        for o in range(layer.n_out):
            for i, j, ky, kx, row, column in places:
                for c in range(channels):
                    value = pixel(x[c], row, column, pads[c])
                    assert value is not None
                    z[o][i][j] += w[o][c][ky][kx] * value
            if layer.has_skip:
                scale = layer.skip_scales[o % len(layer.skip_scales)]
                for i in range(height):
                    for j in range(width):
                        z[o][i][j] += scale * values[1][o][i][j]
        return z
    found: list[Any] = [[[[] for _ in range(width)] for _ in range(height)] for _ in x]
    for c in range(channels):
        for i, j, _, _, row, column in places:
            value = pixel(x[c], row, column, None)
            if value is not None:
                found[c][i][j].append(value)
    pool = sum if isinstance(layer, SumPool) else max
    return [[[pool(seen) for seen in row] for row in rows] for rows in found]


def require_definition(model: QuantizedModel, images: Any) -> None:
    """The trace is what the definition gives, layer by layer, requantization included."""
    layers = model.architecture.layers
    trace = model.trace(images)
    for n in range(len(images)):
        values: list[Any] = [images[n].tolist()]
        for layer, step, w, b in zip(layers, trace, model.weights, model.biases, strict=True):
            taken = [values[v] for v in layer.inputs]
            z = compute_by_definition(layer, taken, w.tolist(), b.tolist())
            assert step.z[n].tolist() == z, layer.kind
            made = np.array(z, dtype=object)
            if layer.requant is not None:
                s, ms = layer.requant.shift, layer.requant.multipliers
                for c in range(len(made)):
                    t = made[c] * ms[c % len(ms)] + 2 ** (s - 1)
                    made[c] = np.clip(t // 2**s, layer.requant.least, layer.requant.greatest)
            assert step.y[n].tolist() == made.tolist()
            values.append(made.tolist())


def test_every_kind_is_its_definition() -> None:
    generator = np.random.default_rng(3)
    model = random_model(NETWORK, generator)
    images = random_images(NETWORK, 3, generator)
    require_definition(model, images)
    trace = model.trace(images)
    clamped = [bool((s.requant.q != s.requant.y).any()) for s in trace if s.requant is not None]
    assert any(clamped)
    assert len(np.unique(trace[-1].z)) > 3


@st.composite
def convolutions(draw: st.DrawFn) -> Architecture:
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    pads = tuple(draw(st.integers(0, k - 1)) for k in (*kernel, *kernel))
    window = Window(
        kernel=kernel,
        stride=draw(st.tuples(st.integers(1, 4), st.integers(1, 4))),
        pads=pads,  # type: ignore[arg-type]
    )
    shape = (draw(st.integers(1, 3)), *(draw(st.integers(k, 8)) for k in kernel))
    layers: list[Layer] = [Conv2d(n_out=2, window=window, inputs=(0,), requant=SIGNED)]
    if draw(st.booleans()):
        layers.append(MaxPool(window=Window(kernel=(1, 1)), inputs=(1,)))
    layers += [Flatten(inputs=(len(layers),)), Linear(n_out=2, inputs=(len(layers) + 1,))]
    return Architecture.of(shape, layers)


@given(convolutions(), st.integers(0, 1 << 30))
def test_any_convolution_is_its_definition(architecture: Architecture, seed: int) -> None:
    generator = np.random.default_rng(seed)
    require_definition(
        random_model(architecture, generator), random_images(architecture, 2, generator)
    )


def test_a_maximum_of_sums_may_be_less_than_any_int32() -> None:
    """Sums of sums, of 129,600 activations of -32767: the greatest of one is itself."""
    requant = Requant(shift=1, least=-32767, greatest=0, q_bits=17)
    layers: list[Layer] = [
        Conv2d(n_out=1, window=Window(kernel=(1, 1)), inputs=(0,), requant=requant)
    ]
    layers += [
        SumPool(window=Window(kernel=(k, k)), inputs=(i,)) for i, k in enumerate((8, 5, 3, 3), 1)
    ]
    layers += [
        MaxPool(window=Window(kernel=(2, 2), pads=(1, 1, 0, 0)), inputs=(5,)),
        Flatten(inputs=(6,)),
        Linear(n_out=2, inputs=(7,)),
    ]
    architecture = Architecture.of((1, 16, 16), layers)
    drawn = random_model(architecture, np.random.default_rng(1))
    weights = (np.full((1, 1, 1, 1), -127, dtype=np.int8), *drawn.weights[1:])
    biases = (np.full(1, -(1 << 16), dtype=np.int32), *drawn.biases[1:])
    model = QuantizedModel(architecture=architecture, weights=weights, biases=biases)
    trace = model.trace(np.zeros((1, 1, 16, 16), dtype=np.uint8))
    assert trace[4].y.item() == trace[5].y.item() == -32767 * (8 * 5 * 3 * 3) ** 2
    assert compute_ranges(model)[5].z[1] < -(1 << 31)


def test_samples_are_computed_some_at_a_time() -> None:
    """More than fit the unrolled windows at once, and each as it is alone."""
    generator = np.random.default_rng(4)
    architecture = parse_architecture("lenet5")
    model = random_model(architecture, generator)
    images = random_images(architecture, 400, generator)
    together = model.trace(images)
    for n in (0, 213, 214, 399):
        for step, alone in zip(together, model.trace(images[n : n + 1]), strict=True):
            assert (step.z[n] == alone.z[0]).all()


def test_ranges_hold_for_every_kind() -> None:
    generator = np.random.default_rng(5)
    model = random_model(NETWORK, generator)
    ranges = compute_ranges(model)
    for step, found, bound in zip(
        model.trace(random_images(NETWORK, 200, generator)),
        ranges,
        NETWORK.public_bounds,
        strict=True,
    ):
        assert found.z[0] <= step.z.min()
        assert step.z.max() <= found.z[1]
        assert max(-found.z[0], found.z[1]) <= bound


def test_bounds_of_a_convolution_are_attained() -> None:
    """Light the pixels that meet positive weights: one window over the whole plane."""
    generator = np.random.default_rng(6)
    layer = Conv2d(n_out=1, window=Window(kernel=(4, 4)), inputs=(0,), requant=SIGNED)
    weight = generator.integers(-127, 128, (1, 3, 4, 4)).astype(np.int8)
    bias = np.array([77], dtype=np.int32)
    zero, full = np.zeros((3, 4, 4), np.int64), np.full((3, 4, 4), 255, np.int64)
    bounds = layer.bounds([Interval(zero, full)], weight, bias)

    def z(lit: Any) -> Int64Array:
        return layer.accumulate([np.where(lit, 255, 0).astype(np.int64)], weight, bias)[0]

    assert (bounds.hi == z(weight > 0)).all()
    assert (bounds.lo == z(weight < 0)).all()


@pytest.mark.parametrize(
    ("name", "n_weights"),
    [("lenet5", 61_470), ("lenet-small", 74_730), ("resnet20", 270_896), ("vgg11", 9_222_848)],
)
def test_presets(name: str, n_weights: int) -> None:
    architecture = parse_architecture(name)
    assert name in PRESETS
    assert sum(int(np.prod(s)) for s in architecture.weight_shapes) == n_weights
    assert Architecture.from_manifest(architecture.to_manifest()) == architecture
    assert architecture.n_classes == 10
    assert architecture.entrance == 0


def variants() -> list[Architecture]:
    same = Window(kernel=(3, 3), pads=(1, 1, 1, 1))

    def build(**change: Any) -> Architecture:
        first: dict[str, Any] = {"n_out": 2, "window": same, "inputs": (0,), "requant": SIGNED}
        second = first | {"inputs": (1, 1), "skip_scale": 3} | change.pop("second", {})
        return Architecture.of(
            (2, 4, 4),
            [
                Conv2d(**first | change),
                Conv2d(**second),
                Flatten(inputs=(2,)),
                Linear(n_out=2, inputs=(3,)),
            ],
            30,
        )

    return [
        build(),
        build(window=Window(kernel=(3, 3), pads=(0, 2, 2, 0))),
        build(pad_values=(0, 1)),
        build(requant=Requant(shift=4, multiplier=(3, 3), least=-128, greatest=127)),
        build(second={"skip_scale": 4}),
        build(second={"skip_scale": (3, 3)}),
        build(second={"inputs": (1,), "skip_scale": 0}),
    ]


def test_digest_covers_every_public_number_of_a_convolution() -> None:
    found = variants()
    assert len({a.digest for a in found}) == len(found)
    for architecture in found:
        assert Architecture.from_manifest(architecture.to_manifest()) == architecture


LOGITS = Linear(n_out=2, inputs=(2,))
PLANE = Window(kernel=(2, 2))


def conv(**change: Any) -> Conv2d:
    fields: dict[str, Any] = {"n_out": 2, "window": PLANE, "inputs": (0,), "requant": SIGNED}
    return Conv2d(**fields | change)


@pytest.mark.parametrize(
    ("why", "build"),
    [
        ("pads", lambda: Window(kernel=(2, 2), pads=(2, 0, 0, 0))),
        ("kernel", lambda: Window(kernel=(0, 2))),
        ("stride", lambda: Window(kernel=(2, 2), stride=(1, 0))),
        ("a list", lambda: Window(kernel=[2, 2])),  # type: ignore[arg-type]
        ("kernel larger", lambda: Window(kernel=(3, 3)).output_plane((2, 4))),
        ("no skip", lambda: conv(skip_scale=1)),
        ("skip_scale", lambda: conv(inputs=(0, 1), skip_scale=0)),
        ("per channel", lambda: conv(inputs=(0, 1), skip_scale=(1, 2, 3))),
        ("pad_values", lambda: conv(pad_values=(256,))),
        ("samples only", lambda: conv(inputs=(1,), pad_values=(1, 1))),
        ("multipliers", lambda: conv(requant=PER_CHANNEL)),
        ("sum pads", lambda: SumPool(window=Window(kernel=(2, 2), pads=(1, 0, 0, 0)), inputs=(1,))),
        ("scales", lambda: Add(inputs=(1, 2), scales=(0, 1), requant=SIGNED)),
        ("least", lambda: Requant(least=1)),
        ("greatest", lambda: Requant(greatest=-1)),
        ("out of table", lambda: Requant(greatest=256, q_bits=9)),
        ("empty", lambda: Requant(multiplier=())),
    ],
)
def test_impossible_layers(why: str, build: Any) -> None:
    with pytest.raises(ArchitectureInvalid):
        build()


@pytest.mark.parametrize(
    ("why", "layers"),
    [
        ("a value that is not there", [conv(inputs=(1,)), Flatten(inputs=(1,)), LOGITS]),
        ("a value that nobody takes", [conv(), conv(), Flatten(inputs=(1,)), LOGITS]),
        ("two entrances", [conv(), conv(inputs=(0, 1), skip_scale=1), Flatten(inputs=(2,))]),
        ("samples pooled", [SumPool(window=PLANE, inputs=(0,)), Flatten(inputs=(1,)), LOGITS]),
        ("the last one pools", [conv(), MaxPool(window=PLANE, inputs=(1,))]),
        ("no requantization", [conv(requant=None), Flatten(inputs=(1,)), LOGITS]),
        ("pad values per channel", [conv(pad_values=(1,)), Flatten(inputs=(1,)), LOGITS]),
        ("planes for a vector", [conv(), Linear(n_out=2, inputs=(1,))]),
        (
            "a skip of another shape",
            [conv(), conv(inputs=(1, 1), skip_scale=1), Flatten(inputs=(2,)),
             Linear(n_out=2, inputs=(3,))],
        ),
    ],
)  # fmt: skip
def test_impossible_networks(why: str, layers: list[Layer]) -> None:
    with pytest.raises(ProverError):
        Architecture.of((2, 4, 4), layers)


def test_samples_may_be_flattened_first() -> None:
    network = Architecture.of(
        (1, 4, 4),
        [
            Flatten(inputs=(0,)),
            Linear(n_out=3, inputs=(1,), requant=SIGNED),
            Linear(n_out=2, inputs=(2,)),
        ],
    )
    assert network.entrance == 1
    generator = np.random.default_rng(7)
    require_definition(random_model(network, generator), random_images(network, 2, generator))


@pytest.mark.parametrize("at_once", [1, 40, 200, 3000])
def test_windows_are_unrolled_in_parts(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    model, images = random_model(NETWORK, rng), random_images(NETWORK, 5, rng)
    whole = model.trace(images)
    monkeypatch.setattr(planes, "AT_ONCE", at_once)
    for before, now in zip(whole, model.trace(images), strict=True):
        assert (before.z == now.z).all()


def test_a_wide_kernel_takes_little_memory() -> None:
    """All windows at once would be 94 MB: 64 * 64 places of 3 * 31 * 31 numbers."""
    window = Window(kernel=(31, 31), pads=(15,) * 4)
    layer = Conv2d(n_out=1, window=window, inputs=(0,), requant=None)
    x, weight = np.ones((1, 3, 64, 64), dtype=np.int64), np.ones((1, 3, 31, 31), dtype=np.int8)
    tracemalloc.start()
    z = layer.accumulate([x], weight, np.zeros(1, dtype=np.int32))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert int(z[0, 0, 32, 32]) == 3 * 31 * 31
    assert int(z[0, 0, 0, 0]) == 3 * 16 * 16
    assert peak < 75 << 20
