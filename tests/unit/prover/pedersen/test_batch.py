"""Openings of many commitments in one sum, and who does not open."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.bn254 import R
from kernels.encoding import encode_g1
from prover.circuit.witness import solve_committed
from prover.pedersen import batch
from prover.pedersen.batch import Opening, judge_openings, openings_hold
from tests.support.learning import ARCHITECTURE, accuracy, commitment_of, committer, model_of
from tests.support.models import random_images, random_labels, random_model
from tests.support.tiny_circuits import seeded


def opening_of(i: int, *, model: int | None = None, rho: int | None = None) -> Opening:
    """Client i's opening; `model` and `rho` may be another's."""
    return Opening(
        d=encode_g1(commitment_of(i)[0].d),
        values=model_of(i if model is None else model).wires,
        rho=commitment_of(i if rho is None else rho)[1].rho,
    )


def holds(*openings: Opening, seed: int = 3) -> bool:
    return openings_hold(openings, committer=committer(), random_bytes=seeded(seed))


def test_wires_are_those_of_the_circuit() -> None:
    for i in range(3):
        model = random_model(ARCHITECTURE, np.random.default_rng(i))
        images = random_images(ARCHITECTURE, 4, np.random.default_rng(i))
        labels = random_labels(ARCHITECTURE, 4, np.random.default_rng(i))
        committed = solve_committed(accuracy(), model, images, labels)
        assert model.wires.tolist() == committed.model.tolist()
        assert committer().n_wires == len(model.wires) == ARCHITECTURE.n_parameters


def test_right_openings_hold_alone_and_together() -> None:
    assert all(holds(opening_of(i)) for i in range(3))
    assert holds(*(opening_of(i) for i in range(3)))
    assert judge_openings([], committer=committer(), random_bytes=seeded(1)) == []


@pytest.mark.parametrize(
    "wrong",
    [
        opening_of(1, model=2),
        opening_of(1, rho=2),
        opening_of(1, model=2, rho=2),
        replace(opening_of(1), rho=0),
        replace(opening_of(1), rho=(opening_of(1).rho + 1) % R),
        replace(opening_of(1), d=opening_of(2).d),
        replace(opening_of(1), d=bytes(31) + b"\x40"),
        replace(opening_of(1), d=b"\xff" * 32),
        replace(opening_of(1), d=b""),
        replace(opening_of(1), values=opening_of(1).values[:-1]),
    ],
)
def test_the_one_who_does_not_open_is_found(wrong: Opening) -> None:
    assert not holds(wrong)
    openings = [opening_of(0), opening_of(2), wrong, opening_of(1)]
    verdicts = judge_openings(openings, committer=committer(), random_bytes=seeded(2))
    assert verdicts == [True, True, False, True]


@pytest.mark.parametrize("index", [0, 5, -1])
@pytest.mark.parametrize("step", [1, -1])
def test_a_single_changed_wire_does_not_open(index: int, step: int) -> None:
    wires = opening_of(0).values.copy()
    wires[index] += step
    assert not holds(replace(opening_of(0), values=wires))


def test_swapped_openings_are_found() -> None:
    """Their plain sum is right; the random weights tell them apart."""
    swapped = [opening_of(0, model=1, rho=1), opening_of(1, model=0, rho=0), opening_of(2)]
    verdicts = judge_openings(swapped, committer=committer(), random_bytes=seeded(2))
    assert verdicts == [False, False, True]


def test_errors_that_cancel_in_a_plain_sum_are_found() -> None:
    up, down = opening_of(0).values.copy(), opening_of(1).values.copy()
    up[3] += 1
    down[3] -= 1
    pair = [replace(opening_of(0), values=up), replace(opening_of(1), values=down)]
    assert judge_openings(pair, committer=committer(), random_bytes=seeded(2)) == [False, False]


@settings(max_examples=10)
@given(st.integers(0, 1000), st.integers(1, 4))
def test_the_sum_is_the_definition(seed: int, n: int) -> None:
    """sum_i t_i w_ik mod r, extreme values and weights included."""
    rng = np.random.default_rng(seed)
    edge = (1 << 23) - 1
    values = rng.choice([-edge, -128, -1, 0, 1, 127, edge], size=(n, 9)).astype(np.int64)
    weights = [(1 << 128) - 1, 1, int.from_bytes(rng.bytes(16), "little") or 1, 1 << 127][:n]
    openings = [Opening(d=b"", values=row, rho=0) for row in values]
    found = batch._combine(openings, weights).to_ints()
    expected = [
        sum(t * int(w) for t, w in zip(weights, column, strict=True)) % R for column in values.T
    ]
    assert found == expected


def test_openings_hide_their_secrets() -> None:
    shown = repr(opening_of(0))
    assert str(opening_of(0).rho) not in shown
    assert "array" not in shown
