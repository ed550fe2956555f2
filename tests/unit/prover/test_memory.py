"""Memory of a request is a small multiple of its bytes: no copy of all samples as doubles."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from federated.float_model import FloatModel
from kernels import integers
from kernels.bn254 import R
from kernels.cpu.words.weighted_sums import compute_powers, sum_bytes
from kernels.integers import exact_matmul
from kernels.numpy_types import UInt8Array
from prover.circuit.accuracy import compile_accuracy
from prover.circuit.witness import solve_committed
from prover.model.layers import Linear, Requant
from prover.model.network import Architecture
from prover.model.planes import Conv2d, Window
from prover.model.pooling import Flatten, SumPool
from prover.model.ranges import compute_ranges
from tests.support.models import random_images, random_model

MIB = 1 << 20
BLOCK_BYTES = 8 * integers.BLOCK_VALUES


def measure_peak(call: Callable[[], object]) -> int:
    """Bytes taken at the most beyond what there was before."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def draw_samples(n: int, d: int) -> UInt8Array:
    return np.random.default_rng(n).integers(0, 256, (n, d), dtype=np.uint8)


def test_sums_of_a_shard_take_less_than_its_bytes() -> None:
    samples = draw_samples(2_000, 16_384)
    powers = compute_powers(3**90 % R, len(samples))
    peak = measure_peak(lambda: sum_bytes(samples, powers))
    assert peak < samples.nbytes  # as doubles they were eight times as much


def test_inference_takes_less_than_the_bytes_of_its_samples() -> None:
    model = random_model(Architecture.mlp([16_384, 2]), np.random.default_rng(1))
    samples = draw_samples(3_000, 16_384)
    assert measure_peak(lambda: model.logits(samples)) < samples.nbytes


def test_inference_of_large_planes_takes_few_samples_at_a_time() -> None:
    """256 samples make 128 MiB of every array of the first layer, and a trace keeps five."""
    window = Window(kernel=(3, 3), pads=(1, 1, 1, 1))
    architecture = Architecture.of(
        (1, 64, 64),
        [
            Conv2d(n_out=16, window=window, inputs=(0,), requant=Requant()),
            SumPool(window=Window(kernel=(64, 64)), inputs=(1,)),
            Flatten(inputs=(2,)),
            Linear(n_out=2, inputs=(3,)),
        ],
    )
    model = random_model(architecture, np.random.default_rng(1))
    images = draw_samples(256, 64 * 64).reshape(256, 1, 64, 64)
    logits: list[np.ndarray[tuple[int, ...], np.dtype[np.int64]]] = []
    assert measure_peak(lambda: logits.append(model.logits(images))) < 200 * MIB
    assert np.array_equal(logits[0][200:], model.logits(images[200:]))


def test_padding_takes_no_memory() -> None:
    """One sample of 8 KiB in a circuit for 2,048: the padding alone would be 16 MiB, then 128."""
    accuracy = compile_accuracy(Architecture.mlp([8_192, 2]), 2_048)
    model = random_model(accuracy.architecture, np.random.default_rng(1))
    images = draw_samples(1, 8_192)
    labels = np.zeros(1, dtype=np.uint8)
    peak = measure_peak(lambda: solve_committed(accuracy, model, images, labels))
    assert peak < 12 * MIB


def test_range_analysis_takes_a_few_times_the_bytes_of_the_weights() -> None:
    model = random_model(Architecture.mlp([16_384, 256]), np.random.default_rng(1))
    n_bytes = model.weights[0].nbytes
    assert measure_peak(lambda: compute_ranges(model)) < 3 * n_bytes + 2 * BLOCK_BYTES


def test_float_accuracy_takes_a_share_of_doubles() -> None:
    model = FloatModel(
        architecture=Architecture.mlp((1_024, 2)),
        weights=(np.ones((2, 1_024), dtype=np.float32),),
        biases=(np.array([0, 1], dtype=np.float32),),
        mean=0.5,
        std=1.0,
        record={},
    )
    samples = draw_samples(20_000, 1_024)
    labels = np.ones(len(samples), dtype=np.uint8)
    assert model.accuracy(samples, labels) == 1
    assert measure_peak(lambda: model.accuracy(samples, labels)) < 3 * samples.nbytes


@pytest.mark.parametrize("block", [1, 3, 16, 1 << 20])
@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 7, 3), (2, 9, 20), (0, 4, 2)])
def test_blocks_of_a_product_are_the_product(
    block: int, shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integers, "BLOCK_VALUES", block)
    n, n_in, n_out = shape
    x = draw_samples(n, n_in)
    weight = np.random.default_rng(2).integers(-127, 128, (n_out, n_in), dtype=np.int8)
    expected = x.astype(np.int64) @ weight.T.astype(np.int64)
    assert np.array_equal(exact_matmul(x, weight), expected)
    if n:
        assert np.array_equal(exact_matmul(x[0], weight), expected[0])


def test_padding_is_the_zero_sample() -> None:
    """A shard, and the same with its padding written out, have the same activations."""
    accuracy = compile_accuracy(Architecture.mlp([6, 4, 3]), 9)
    rng = np.random.default_rng(4)
    model = random_model(accuracy.architecture, rng)
    images = random_images(accuracy.architecture, 5, rng)
    labels = np.zeros(5, dtype=np.uint8)
    short = solve_committed(accuracy, model, images, labels, claimed=0)
    blank = np.zeros((4, 6), dtype=np.uint8)
    requant = model.trace(np.concatenate([images, blank]))[0].requant
    assert requant is not None
    for name in ("q", "rem", "y"):
        block = accuracy.circuit.wire_blocks[f"layer 0/activation/{name}"]
        found = short.advice[block.start : block.stop].reshape(block.shape)
        assert np.array_equal(found, getattr(requant, name))
