"""Freivalds' check of linear layers: accepted, refused and forged accumulators."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from kernels.bn254 import R
from prover.circuit.constraints import Circuit, System
from prover.circuit.gadgets.activation import Quotient
from prover.circuit.gadgets.linear import (
    build_combinations,
    build_outputs,
    build_weight_sum,
    require_logits,
    require_requantized,
    sum_outputs,
)
from prover.circuit.linear_form import LinearForm
from prover.circuit.sizing.packing import Packing
from tests.support.assignments import Assignment, draw_scalars
from tests.support.detectors import committed_freedom, private_freedom, vacuous

N, D_IN, D_OUT, SHIFT = 3, 2, 2, 4
PACKINGS = [
    Packing(),
    Packing(samples=2, bits=100),
    Packing(outputs=2, bits=100),
    Packing(samples=3, outputs=2, bits=42),
]


def build_layer(*, requantized: bool, packing: Packing = PACKINGS[0]) -> Circuit:
    """One layer over committed inputs x, with no ranges: the equations alone."""
    system = System()
    s = system.public("s")
    powers = system.powers("samples/powers/power", s, N)
    weight_sum = build_weight_sum(
        system, "samples/weights/sum", powers=powers, packing=packing, n_samples=N
    )
    weights, biases = system.model("weights", (D_OUT, D_IN)), system.model("biases", (D_OUT,))
    inputs = build_combinations(
        system,
        "layer/input",
        powers=powers,
        activations=system.advice("x", (N, D_IN)),
        packing=packing,
    )
    # As the tables of a whole circuit: where a parameter has a place of its own.
    system.require(
        "layer/places/weights", a=weights, b=weights, c=system.advice("w2", (D_OUT, D_IN))
    )
    system.require("layer/places/biases", a=biases, b=biases, c=system.advice("b2", (D_OUT,)))
    outputs = build_outputs(
        system,
        "layer/linear",
        inputs=inputs,
        weight_sum=weight_sum,
        weights=weights,
        biases=biases,
        packing=packing,
    )

    def sum_up(values: LinearForm) -> LinearForm:
        return sum_outputs(
            system, "layer/linear/output", values=values, powers=powers, packing=packing
        )

    if requantized:
        m = system.public("m")
        quotient = Quotient(system.advice("q", (N, D_OUT)), system.advice("rem", (N, D_OUT)))
        require_requantized(
            system,
            "layer/linear",
            outputs=outputs,
            multiplier=m,
            weight_sum=weight_sum,
            rounded=sum_up(quotient.scale_back(SHIFT)),
            n_outputs=D_OUT,
            shift=SHIFT,
            packing=packing,
        )
    else:
        summed = sum_up(system.advice("logits", (N, D_OUT)))
        require_logits(system, "layer/linear", outputs=outputs, summed=summed)
    return system.build({})


def assign(circuit: Circuit, rng: Random, *, multiplier: int = 3) -> Assignment:
    """An honest layer with random tensors."""
    draw = np.random.default_rng(rng.randrange(1 << 32))
    x = draw.integers(0, 256, (N, D_IN))
    weights, biases = draw.integers(-127, 128, (D_OUT, D_IN)), draw.integers(-999, 999, D_OUT)
    z = x @ weights.T + biases
    inputs: dict[str, object] = {"x": x, "weights": weights, "biases": biases}
    inputs |= {"w2": weights**2, "b2": biases**2}
    if "q" in circuit.wire_blocks:
        t = z * multiplier + (1 << (SHIFT - 1))
        inputs |= {"q": t >> SHIFT, "rem": t & ((1 << SHIFT) - 1), "m": multiplier}
    else:
        inputs["logits"] = z
    return Assignment.of(circuit, {**inputs, "s": draw_scalars(rng, 1)[0]})


@pytest.mark.parametrize("packing", PACKINGS, ids=str)
@pytest.mark.parametrize("requantized", [True, False])
def test_layer_is_accepted_and_not_vacuous(
    requantized: bool, packing: Packing, rng: Random
) -> None:
    circuit = build_layer(requantized=requantized, packing=packing)
    honest = assign(circuit, rng)
    assert honest.failing() == []
    assert vacuous(circuit, rng) == []
    assert private_freedom(circuit, honest.complete()) == 0


@pytest.mark.parametrize("packing", PACKINGS, ids=str)
@pytest.mark.parametrize("requantized", [True, False])
def test_layer_is_worth_one_equation_per_pack(
    requantized: bool, packing: Packing, rng: Random
) -> None:
    """Unpacked N * D_OUT equations in all, though each challenge shows only D_OUT of them.

    Over the field a pack is one equation; that it is as many as it has digits follows from ranges,
    which are not here (`test_packing.py`).
    """
    circuit = build_layer(requantized=requantized, packing=packing)
    honest = assign(circuit, rng)
    draws = []
    for _ in range(N + 2):
        honest["s"] = draw_scalars(rng, 1)[0]
        draws.append(honest.complete())
    n_committed = circuit.r1cs.n_linked + circuit.r1cs.n_advice
    n_equations = packing.count_packs(N) * packing.count_groups(D_OUT) + D_OUT * (D_IN + 1)
    assert committed_freedom(circuit, draws) == n_committed - n_equations


@pytest.mark.parametrize("packing", PACKINGS, ids=str)
@pytest.mark.parametrize(
    ("label", "place", "step"),
    [
        ("x", (0, 0), 1),
        ("weights", (1, 0), -1),
        ("biases", (0,), 1),
        ("q", (2, 1), 1),
        ("rem", (0, 1), R - 1),
    ],
)
def test_one_wrong_wire_is_refused(
    label: str, place: tuple[int, ...], step: int, packing: Packing, rng: Random
) -> None:
    forged = assign(build_layer(requantized=True, packing=packing), rng)
    forged[label][place] += step
    for parameter, square in (("weights", "w2"), ("biases", "b2")):
        forged[square] = forged[parameter] ** 2
    assert forged.failing() == ["layer/linear/equation"]


def test_errors_that_cancel_over_samples_are_refused(rng: Random) -> None:
    """A plain sum over samples would accept both; weights s^n do not."""
    forged = assign(build_layer(requantized=False), rng)
    logits = forged["logits"]
    logits[0, 0] += 5
    logits[1, 0] -= 5
    assert forged.failing() == ["layer/linear/equation"]
    swapped = assign(build_layer(requantized=False), rng)
    swapped["logits"] = swapped["logits"][[1, 0, 2]]
    assert swapped.failing() == ["layer/linear/equation"]


def test_a_challenge_known_in_advance_would_be_no_challenge(rng: Random) -> None:
    """Why s is drawn after the commitment: errors that cancel at one s fail at another."""
    forged = assign(build_layer(requantized=False), rng)
    logits = forged["logits"]
    logits[0, 0] += int(forged["s"])
    logits[1, 0] -= 1
    assert forged.failing() == []
    forged["s"] = draw_scalars(rng, 1)[0]
    assert forged.failing() == ["layer/linear/equation"]
