"""Circuits of random graphs of layers: honest witnesses pass, one wrong number does not."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kernels.integers import to_scalars
from prover.circuit.accuracy import compile_accuracy
from prover.circuit.constraints import Group
from prover.circuit.sizes import compute_sizes
from prover.circuit.witness import solve_committed
from prover.errors import RangeExceeded
from prover.model.network import Architecture
from tests.support.accuracy_protocol import backend
from tests.support.assignments import draw_scalars
from tests.support.forgeries import Scene
from tests.support.graphs import graphs
from tests.support.models import random_images, random_model


def make_scene(architecture: Architecture, n: int, n_real: int, seed: int) -> Scene:
    """Every sample counts, as the model says."""
    rng = np.random.default_rng(seed)
    try:
        model = random_model(architecture, rng)
    except RangeExceeded:
        assume(False)
        raise
    images = random_images(architecture, n_real, rng)
    accuracy = compile_accuracy(architecture, n)
    return Scene(
        accuracy=accuracy,
        model=model,
        images=images,
        labels=model.logits(images).argmax(axis=1).astype(np.uint8),
        challenges=tuple(draw_scalars(Random(seed), accuracy.n_challenges)),
    )


def check_graph(architecture: Architecture, n: int, n_real: int, seed: int) -> None:
    assume(compute_sizes(architecture, n).n_rows < 40_000)
    scene = make_scene(architecture, n, n_real, seed)
    inputs = scene.infer()
    honest = scene.count(inputs, {})
    assert honest.failing(backend()) == []
    committed = solve_committed(scene.accuracy, scene.model, scene.images, scene.labels, claimed=0)
    assert honest.scalars(Group.LINKED).equals(to_scalars(committed.model))
    assert honest.scalars(Group.ADVICE).equals(to_scalars(committed.advice))
    draw = Random(seed)
    # A weight may meet zeros only; every other number has one right value.
    others = sorted(label for label in inputs if not label.endswith("/weights"))
    for label in draw.sample(others, k=3):
        forged = honest.copy()
        place = tuple(draw.randrange(k) for k in inputs[label].shape)
        forged[label][place] += draw.choice([1, -1, 1 << draw.randrange(12)])
        forged.fill()
        assert forged.failing(backend()) != [], (label, place)


@settings(max_examples=25)
@given(graphs(), st.integers(1, 12), st.integers(0, 3), st.integers(0, 1000))
def test_random_graphs(architecture: Architecture, n: int, missing: int, seed: int) -> None:
    check_graph(architecture, n, max(1, n - missing), seed)


@pytest.mark.soak
@settings(max_examples=2000)
@given(graphs(), st.integers(1, 40), st.integers(0, 3), st.integers(0, 1000))
def test_many_random_graphs(architecture: Architecture, n: int, missing: int, seed: int) -> None:
    check_graph(architecture, n, max(1, n - missing), seed)
