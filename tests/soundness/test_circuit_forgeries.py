"""The whole accuracy circuit: what it accepts, and every forgery it refuses.

A private wire has one defining row, so an assignment of the committed wires has one candidate for
the
rest: when that candidate fails, no witness exists for these challenges.
"""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from kernels.integers import to_scalars
from prover.circuit.accuracy import compile_accuracy
from prover.circuit.constraints import Group
from prover.circuit.witness import solve_committed
from prover.model.layers import Requant
from prover.model.network import Architecture
from tests.soundness.circuits import CIRCUITS, SMALL
from tests.support.assignments import draw_scalars
from tests.support.detectors import private_freedom, vacuous
from tests.support.forgeries import FORGERIES, Lie, Scene
from tests.support.models import random_model


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene.of()


def test_honest_witness_is_accepted(scene: Scene) -> None:
    honest = scene.count(scene.infer(), scene.honest_hits())
    assert honest.failing() == []


def test_solver_agrees_with_the_slow_one(scene: Scene) -> None:
    """`solve_committed` gives the very wires of the arbitrary-precision inference of the tests."""
    committed = solve_committed(scene.accuracy, scene.model, scene.images, scene.labels)
    honest = scene.count(scene.infer(), scene.honest_hits())
    assert committed.claimed == scene.n_correct
    assert honest.scalars(Group.LINKED).equals(to_scalars(committed.model))
    assert honest.scalars(Group.ADVICE).equals(to_scalars(committed.advice))


@pytest.mark.parametrize("claimed", [0, 1, 2])
def test_a_lower_claim_is_accepted(claimed: int, scene: Scene) -> None:
    hits = dict(list(scene.honest_hits().items())[:claimed])
    assert scene.count(scene.infer(), hits).failing() == []


@pytest.mark.parametrize("lie", FORGERIES, ids=lambda lie: lie.__name__)
def test_forgery_is_refused(lie: Lie, scene: Scene, rng: Random) -> None:
    forgery = lie(scene)
    assert tuple(forgery.assignment.failing()) == forgery.refused_by
    challenges = draw_scalars(rng, scene.accuracy.n_challenges)
    scene.publish(forgery.assignment, forgery.claimed, challenges)
    assert tuple(forgery.assignment.failing()) == forgery.refused_by


@pytest.mark.parametrize("name", SMALL)
def test_no_row_is_vacuous(name: str, rng: Random) -> None:
    assert vacuous(compile_accuracy(*CIRCUITS[name]).circuit, rng) == []


def test_circuit_is_neither_vacuous_nor_free(scene: Scene, rng: Random) -> None:
    honest = scene.count(scene.infer(), scene.honest_hits())
    assert vacuous(scene.accuracy.circuit, rng) == []
    assert private_freedom(scene.accuracy.circuit, honest.complete()) == 0


def test_circuit_holds_nothing_private(scene: Scene) -> None:
    """Hole 7: constants of the circuit come from shapes, not from a model, multiplier or data."""
    architecture = scene.accuracy.architecture
    other = Architecture.mlp([6, 4, 3], requant=Requant(shift=10, multiplier=5, q_bits=9))
    assert other.digest != architecture.digest
    assert compile_accuracy(other, 4).digest == scene.accuracy.digest
    stranger = random_model(architecture, np.random.default_rng(77))
    labels = stranger.logits(scene.images).argmax(axis=1).astype(np.uint8)
    again = Scene(
        accuracy=scene.accuracy,
        model=stranger,
        images=255 - scene.images,
        labels=labels,
        challenges=scene.challenges,
    )
    assert again.count(again.infer(), {}).failing() == []
