"""Both phases of the witness on small circuits, against the integer model."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from kernels.array import FrArray
from kernels.bn254 import R
from kernels.integers import to_scalars
from kernels.numpy_types import UInt8Array
from kernels.reference import Reference
from prover.circuit.accuracy import AccuracyCircuit, compile_accuracy
from prover.circuit.witness import Committed, check, solve_committed, solve_private
from prover.errors import ShapeMismatch, UnsatisfiedConstraint
from prover.model.layers import Requant
from prover.model.network import Architecture, QuantizedModel
from tests.support.assignments import draw_scalars
from tests.support.models import random_images, random_labels, random_model

SMALL = Requant(shift=10, multiplier=3, q_bits=9)
NETWORKS = [
    (Architecture.mlp([6, 3]), 2),
    (Architecture.mlp([6, 4, 3], requant=SMALL), 4),
    (
        Architecture.mlp(
            [6, 5, 4, 3], requant=[SMALL, Requant(shift=3, least=-128, greatest=127, q_bits=10)]
        ),
        5,
    ),
]


def solve(
    accuracy: AccuracyCircuit,
    committed: Committed,
    images: UInt8Array,
    labels: UInt8Array,
    rng: Random,
) -> None:
    """Phase 2 and the check, under random challenges."""
    public = accuracy.public_inputs(
        claimed=committed.claimed,
        images=images,
        labels=labels,
        challenges=draw_scalars(rng, accuracy.n_challenges),
    )
    z = solve_private(
        accuracy.circuit,
        public=public,
        model=committed.model_scalars,
        advice=committed.advice_scalars,
        backend=Reference(),
    )
    check(accuracy.circuit, z, Reference())


def draw(accuracy: AccuracyCircuit, n_real: int) -> tuple[QuantizedModel, UInt8Array, UInt8Array]:
    rng = np.random.default_rng(n_real)
    architecture = accuracy.architecture
    model = random_model(architecture, rng)
    images = random_images(architecture, n_real, rng)
    return model, images, random_labels(architecture, n_real, rng)


@pytest.mark.parametrize(("architecture", "n_samples"), NETWORKS)
@pytest.mark.parametrize("padding", [0, 1])
def test_honest_witness_solves_the_circuit(
    architecture: Architecture, n_samples: int, padding: int, rng: Random
) -> None:
    accuracy = compile_accuracy(architecture, n_samples)
    model, images, labels = draw(accuracy, n_samples - padding)
    committed = solve_committed(accuracy, model, images, labels)
    answers = model.logits(images).argmax(axis=1)
    assert committed.claimed == int((answers == labels).sum())
    solve(accuracy, committed, images, labels, rng)


def test_extreme_samples_and_weights(rng: Random) -> None:
    """All weights at their ends, blank and full samples, biases at their ends."""
    architecture = Architecture.mlp([2, 2, 2], requant=Requant(shift=11, q_bits=15))
    accuracy = compile_accuracy(architecture, 3)
    model = QuantizedModel(
        architecture=architecture,
        weights=(
            np.array([[127, 127], [-127, -127]], dtype=np.int8),
            np.array([[127, -127], [-127, 127]], dtype=np.int8),
        ),
        biases=(
            np.array([(1 << 23) - 1, 1 - (1 << 23)], dtype=np.int32),
            np.array([1 - (1 << 23), (1 << 23) - 1], dtype=np.int32),
        ),
    )
    images = np.array([[0, 0], [255, 255], [0, 255]], dtype=np.uint8)
    labels = np.array([1, 1, 0], dtype=np.uint8)
    committed = solve_committed(accuracy, model, images, labels)
    assert committed.claimed == 2
    solve(accuracy, committed, images, labels, rng)


@pytest.fixture(scope="module")
def small() -> AccuracyCircuit:
    return compile_accuracy(*NETWORKS[1])


def test_claims_may_be_lower_but_not_higher(small: AccuracyCircuit, rng: Random) -> None:
    model, images, _ = draw(small, 4)
    labels = model.logits(images).argmax(axis=1).astype(np.uint8)
    for claimed in (0, 3, 4):
        committed = solve_committed(small, model, images, labels, claimed=claimed)
        assert committed.claimed == claimed
        solve(small, committed, images, labels, rng)
    for claimed in (5, -1):
        with pytest.raises(UnsatisfiedConstraint, match="correctness/count/count"):
            solve_committed(small, model, images, labels, claimed=claimed)


def test_ties_are_wrong(small: AccuracyCircuit, rng: Random) -> None:
    model, images, _ = draw(small, 4)
    flat = QuantizedModel(
        architecture=model.architecture,
        weights=(model.weights[0], np.zeros_like(model.weights[1])),
        biases=(model.biases[0], np.zeros_like(model.biases[1])),
    )
    labels = np.zeros(4, dtype=np.uint8)
    committed = solve_committed(small, flat, images, labels)
    assert committed.claimed == 0
    solve(small, committed, images, labels, rng)


def test_lookup_outside_its_table_is_named_without_its_value(small: AccuracyCircuit) -> None:
    model, images, labels = draw(small, 4)
    biases = (model.biases[0].copy(), model.biases[1])
    biases[0][2] = 7_654_321
    wild = QuantizedModel(architecture=model.architecture, weights=model.weights, biases=biases)
    with pytest.raises(UnsatisfiedConstraint) as caught:
        solve_committed(small, wild, images, labels)
    assert caught.value.label == "layer 0/activation/clamp"
    assert caught.value.index == (0, 2)
    assert caught.value.n_failing == 4
    assert "7654321" not in str(caught.value)


def test_misfits_are_refused(small: AccuracyCircuit) -> None:
    model, images, labels = draw(small, 4)
    stranger = random_model(Architecture.mlp([6, 4, 3]), np.random.default_rng(0))
    with pytest.raises(ShapeMismatch, match="another architecture"):
        solve_committed(small, stranger, images, labels)
    with pytest.raises(ShapeMismatch, match="1 to 4 samples"):
        solve_committed(small, model, images.repeat(2, axis=0), labels.repeat(2))
    committed = solve_committed(small, model, images, labels)
    with pytest.raises(ShapeMismatch, match="do not fit the circuit"):
        solve_private(
            small.circuit,
            public=FrArray.zeros(3),
            model=committed.model_scalars,
            advice=committed.advice_scalars,
            backend=Reference(),
        )


def test_repr_shows_no_wire(small: AccuracyCircuit) -> None:
    model, images, labels = draw(small, 4)
    committed = solve_committed(small, model, images, labels)
    assert repr(committed) == f"Committed({small.r1cs.n_linked} model wires, " + (
        f"{small.r1cs.n_advice} advice wires)"
    )


def test_to_scalars_is_reduction_mod_r() -> None:
    edges = [0, 1, -1, 2**31, -(2**31), 2**62 - 1, 1 - 2**62, 255, -127]
    assert to_scalars(np.array(edges, dtype=np.int64)).to_ints() == [v % R for v in edges]
    assert len(to_scalars(np.zeros(0, dtype=np.int64))) == 0
