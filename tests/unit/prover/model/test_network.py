"""The integer model against its definition in plain Python integers, and every refusal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from prover.errors import (
    ArchitectureInvalid,
    ProverError,
    QuantizationOverflow,
    RangeExceeded,
    ShapeMismatch,
)
from prover.model.layers import Linear, Requant
from prover.model.network import Architecture, QuantizedModel, is_correct
from prover.model.presets import parse_architecture
from prover.model.ranges import compute_ranges
from tests.support.models import random_images, random_model

SMALL = Architecture.mlp(
    [5, 7, 6, 3],
    requant=[
        Requant(shift=6, multiplier=3, q_bits=12),
        Requant(shift=4, multiplier=5, least=-128, greatest=127, q_bits=12),
    ],
)


LOGITS = Linear(n_out=2, inputs=(0,))


def compute_by_definition(model: QuantizedModel, sample: list[int]) -> list[dict[str, list[int]]]:
    """PROTOCOL section 1, one sample, Python integers only."""
    x = sample
    steps = []
    for layer, w, b in zip(model.architecture.layers, model.weights, model.biases, strict=True):
        rows = [[int(v) for v in row] for row in w]
        z = [sum(p * v for p, v in zip(row, x, strict=True)) for row in rows]
        z = [value + int(c) for value, c in zip(z, b, strict=True)]
        step = {"z": z}
        if layer.requant is not None:
            s, m = layer.requant.shift, layer.requant.multiplier
            t = [value * m + 2 ** (s - 1) for value in z]
            step["q"] = [value // 2**s for value in t]
            step["rem"] = [value % 2**s for value in t]
            low, high = (0, 255) if (layer.requant.least == 0) else (-128, 127)
            step["y"] = [min(max(q, low), high) for q in step["q"]]
            x = step["y"]
        steps.append(step)
    return steps


def build_model(architecture: Architecture, weight: int, bias: int = 0) -> QuantizedModel:
    """All weights equal, all biases equal."""
    return QuantizedModel(
        architecture=architecture,
        weights=tuple(np.full(s, weight, dtype=np.int8) for s in architecture.weight_shapes),
        biases=tuple(np.full(s, bias, dtype=np.int32) for s in architecture.bias_shapes),
    )


def test_trace_is_the_definition() -> None:
    generator = np.random.default_rng(11)
    model = random_model(SMALL, generator)
    images = random_images(SMALL, 40, generator)
    trace = model.trace(images)
    signs, clamped = set(), set()
    for n, sample in enumerate(images.tolist()):
        for step, expected in zip(trace, compute_by_definition(model, sample), strict=True):
            assert step.z[n].tolist() == expected["z"]
            signs.update(np.sign(step.z[n]).tolist())
            if step.requant is None:
                continue
            assert step.requant.q[n].tolist() == expected["q"]
            assert step.requant.rem[n].tolist() == expected["rem"]
            assert step.requant.y[n].tolist() == expected["y"]
            clamped.update((step.requant.q[n] != step.requant.y[n]).tolist())
    assert {-1, 1} <= signs
    assert clamped == {True, False}
    assert (model.logits(images) == trace[-1].z).all()


def test_trace_links_layers_and_solves_the_requantization_equation() -> None:
    generator = np.random.default_rng(12)
    model = random_model(SMALL, generator)
    trace = model.trace(random_images(SMALL, 9, generator))
    for layer, step, following in zip(SMALL.layers, trace, trace[1:], strict=False):
        spec, requant = layer.requant, step.requant
        assert spec is not None
        assert requant is not None
        rebuilt = (requant.q << spec.shift) + requant.rem - (1 << (spec.shift - 1))
        assert (rebuilt == step.z * spec.multiplier).all()
        assert requant.rem.min() >= 0
        assert requant.rem.max() < 1 << spec.shift
        assert (following.x == requant.y).all()


def test_accumulators_are_exact_at_the_extreme() -> None:
    """100,352 * 255 * 127 + 2^23 needs 32 bits: beyond float32 and int32."""
    architecture = Architecture.mlp([100_352, 2])
    model = build_model(architecture, -127, -(2**23))
    images = np.full((1, 100_352), 255, dtype=np.uint8)
    assert model.logits(images).tolist() == [[-(100_352 * 255 * 127) - 2**23] * 2]


@pytest.mark.parametrize(
    ("logits", "label", "expected"),
    [
        ([5, 4, -9], 0, True),
        ([5, 5, -9], 0, False),
        ([5, 4, -9], 1, False),
        ([-7, -7, -6], 2, True),
        ([0, 0, 0], 2, False),
    ],
)
def test_is_correct(logits: list[int], label: int, expected: bool) -> None:
    result = is_correct(np.array([logits], dtype=np.int64), np.array([label], dtype=np.uint8))
    assert result.tolist() == [expected]


def test_is_correct_refuses_labels_out_of_range() -> None:
    logits = np.zeros((2, 3), dtype=np.int64)
    with pytest.raises(ShapeMismatch):
        is_correct(logits, np.array([0, 3], dtype=np.uint8))
    with pytest.raises(ShapeMismatch):
        is_correct(logits, np.array([0], dtype=np.uint8))
    signed: Any = np.array([0, -1], dtype=np.int8)
    with pytest.raises(ShapeMismatch):
        is_correct(logits, signed)


def test_ranges_contain_every_trace_and_are_attained() -> None:
    generator = np.random.default_rng(13)
    model = random_model(SMALL, generator)
    ranges = compute_ranges(model)
    trace = model.trace(random_images(SMALL, 500, generator))
    for layer_range, step in zip(ranges, trace, strict=True):
        assert layer_range.z[0] <= step.z.min()
        assert layer_range.z[1] >= step.z.max()
    # The first layer's bounds are attained by the samples that light the matching pixels.
    w = model.weights[0]
    lit = np.where(np.concatenate([w > 0, w < 0]), 255, 0).astype(np.uint8)
    z = model.trace(lit)[0].z
    assert (int(z.min()), int(z.max())) == ranges[0].z


def test_quotient_at_the_edge_of_its_table() -> None:
    """z = 255*w + b; with s = 1, q = (z + 1) >> 1 and the table ends at 255."""
    architecture = Architecture.mlp([1, 1, 2], requant=Requant(shift=1, q_bits=9))
    edge = build_model(architecture, 2, 0)
    assert compute_ranges(edge)[0].q == (0, 255)
    with pytest.raises(RangeExceeded) as caught:
        compute_ranges(build_model(architecture, 2, 1))
    error = caught.value
    assert (error.layer, error.quantity, error.value) == (0, "quotient", 256)
    assert error.bound == (-256, 255)


def test_quotient_below_its_table() -> None:
    architecture = Architecture.mlp([1, 1, 2], requant=Requant(shift=1, q_bits=9))
    assert compute_ranges(build_model(architecture, 0, -513))[0].q == (-256, -256)
    with pytest.raises(RangeExceeded) as caught:
        compute_ranges(build_model(architecture, 0, -514))
    assert caught.value.value == -257


def test_margin_at_its_bound() -> None:
    architecture = Architecture.mlp([1, 2], margin_bits=9)
    weight = np.array([[2], [0]], dtype=np.int8)
    for bias, fits in ((1, True), (2, False)):
        model = QuantizedModel(
            architecture=architecture,
            weights=(weight,),
            biases=(np.array([bias, 0], dtype=np.int32),),
        )
        if fits:
            assert compute_ranges(model)[0].z == (0, 511)
            continue
        with pytest.raises(RangeExceeded, match="logit margin 512"):
            compute_ranges(model)


def test_default_margin_cannot_be_exceeded() -> None:
    architecture = Architecture.mlp([3, 2])
    weight = np.array([[127] * 3, [-127] * 3], dtype=np.int8)
    bias = np.array([2**23 - 1, -(2**23) + 1], dtype=np.int32)
    model = QuantizedModel(architecture=architecture, weights=(weight,), biases=(bias,))
    low, high = compute_ranges(model)[0].z
    assert 2 ** (architecture.margin_bits - 1) <= high - low < 2**architecture.margin_bits


def test_elements_out_of_range_are_private() -> None:
    with pytest.raises(RangeExceeded) as caught:
        build_model(SMALL, -128)
    assert caught.value.carries_private_values
    assert "-128" in str(caught.value)
    assert "-128" not in caught.value.public_message
    for bias in (2**23 - 1, -(2**23)):
        build_model(SMALL, 0, bias)
    for bias in (2**23, -(2**23) - 1):
        with pytest.raises(RangeExceeded, match="bias"):
            build_model(SMALL, 0, bias)


def test_repr_shows_no_weight() -> None:
    assert repr(build_model(SMALL, 99)) == "QuantizedModel(mlp-5-7-6-3)"


def test_overflow_is_a_matter_of_the_public_bound() -> None:
    """n_in * 127 * 255 * m + m * 2^23 against 2^47."""
    requant = Requant(multiplier=(1 << 15) - 1)
    assert Architecture.mlp([131_072, 2, 2], requant=requant).public_bounds[0] < 2**32
    with pytest.raises(QuantizationOverflow) as caught:
        Architecture.mlp([132_600, 2, 2], requant=requant)
    assert caught.value.layer == 0
    assert not caught.value.carries_private_values


def test_wrong_tensors_are_refused() -> None:
    good = build_model(SMALL, 1)
    with pytest.raises(ShapeMismatch):
        QuantizedModel(architecture=SMALL, weights=good.weights[:2], biases=good.biases)
    wide: Any = tuple(w.astype(np.int16) for w in good.weights)
    with pytest.raises(ShapeMismatch):
        QuantizedModel(architecture=SMALL, weights=wide, biases=good.biases)
    images: Any = np.zeros((1, 5), dtype=np.int64)
    for bad in (images, np.zeros((1, 6), dtype=np.uint8), np.zeros(5, dtype=np.uint8)):
        with pytest.raises(ShapeMismatch):
            good.trace(bad)


def test_architecture_names() -> None:
    architecture = parse_architecture("mlp-784-128-10")
    assert architecture.name == "mlp-784-128-10"
    assert architecture.n_parameters == 784 * 128 + 128 + 128 * 10 + 10
    assert architecture.shapes == ((784,), (128,), (10,))
    assert architecture.public_bounds == (784 * 127 * 255 + 2**23, 128 * 127 * 255 + 2**23)
    assert parse_architecture("mlp-4-2").layers == (LOGITS,)


@pytest.mark.parametrize(
    "name",
    [
        *("", "mlp", "mlp-784", "mlp-0-10", "mlp-784-010", "mlp-784-128-10\n", "cnn-1-2"),
        *("mlp-7٣-2", "mlp-784--10", "mlp-9999999-10", "mlp" + "-2" * 65, "mlp-4-1"),
    ],
)
def test_bad_architecture_names(name: str) -> None:
    with pytest.raises(ArchitectureInvalid):
        parse_architecture(name)


def test_digest_covers_every_public_number() -> None:
    variants = [
        Architecture.mlp([4, 3, 2]),
        Architecture.mlp([4, 2, 2]),
        Architecture.mlp([3, 3, 2]),
        Architecture.mlp([4, 3, 2], requant=Requant(shift=11)),
        Architecture.mlp([4, 3, 2], requant=Requant(multiplier=2)),
        Architecture.mlp([4, 3, 2], requant=Requant(least=-128, greatest=127)),
        Architecture.mlp([4, 3, 2], requant=Requant(q_bits=14)),
        Architecture.mlp([4, 3, 2], margin_bits=30),
    ]
    assert len({a.digest for a in variants}) == len(variants)
    for architecture in variants:
        assert Architecture.from_manifest(architecture.to_manifest()) == architecture


@pytest.mark.parametrize(
    "build",
    [
        lambda: Requant(shift=0),
        lambda: Requant(multiplier=0),
        lambda: Requant(multiplier=1 << 15),
        lambda: Requant(q_bits=8),
        lambda: Linear(n_out=0, inputs=(0,)),
        lambda: Architecture(input_shape=(4,), layers=(), margin_bits=20),
        lambda: Architecture(input_shape=(4,), layers=(LOGITS,), margin_bits=0),
        lambda: Architecture(input_shape=(2, 2), layers=(LOGITS,), margin_bits=20),
        lambda: Architecture(input_shape=(4,), layers=(LOGITS,) * 2, margin_bits=20),
        lambda: Architecture(
            input_shape=(4,),
            layers=(
                Linear(n_out=2, inputs=(0,), requant=Requant()),
                Linear(n_out=2, inputs=(1,)),
                Linear(n_out=2, inputs=(2,)),
            ),
            margin_bits=20,
        ),
        lambda: Architecture.mlp([4, 3, 2], requant=[]),
        lambda: Architecture.mlp([4]),
    ],
)
def test_impossible_architectures(build: Any) -> None:
    with pytest.raises(ProverError):
        build()
