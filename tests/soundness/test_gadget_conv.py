"""Freivalds' check of convolutions over samples and positions: accepted, refused and forged."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np
import pytest

from kernels.bn254 import R
from prover.circuit.constraints import Circuit, System
from prover.circuit.gadgets.conv import Positions, build_window_sums
from prover.circuit.gadgets.linear import (
    build_combinations,
    build_outputs,
    build_weight_sum,
    require_logits,
    sum_outputs,
)
from prover.circuit.linear_form import LinearForm
from prover.circuit.sizing.packing import Packing
from prover.circuit.sizing.positions import PositionShapes, grid_shape
from prover.circuit.sizing.sliding import Sliding
from prover.model.planes import Window
from tests.support.assignments import Assignment, draw_scalars
from tests.support.detectors import committed_freedom, private_freedom, vacuous
from tests.support.inference import convolve

N, CHANNELS, N_OUT = 2, 2, 2
PLAIN = Packing()


@dataclass(frozen=True)
class Case:
    """A window on a plane, and how its outputs are packed; digits are wide enough for all of it."""

    window: Window
    plane: tuple[int, int]
    packing: Packing = PLAIN

    @property
    def sliding(self) -> Sliding:
        return Sliding.of(self.window, (CHANNELS, *self.plane))


CASES = {
    "pads": Case(Window(kernel=(3, 2), pads=(1, 1, 2, 0)), (3, 3)),
    "stride": Case(Window(kernel=(2, 3), stride=(2, 2), pads=(1, 0, 0, 1)), (4, 4)),
    "stride that leaves numbers out": Case(Window(kernel=(1, 2), stride=(2, 3)), (3, 5)),
    "one output": Case(Window(kernel=(2, 3)), (2, 3)),
    "one row of outputs": Case(Window(kernel=(2, 2)), (2, 4)),
    "one column of outputs": Case(Window(kernel=(2, 3), pads=(1, 0, 1, 0)), (2, 3)),
    "samples packed": Case(
        Window(kernel=(2, 2), pads=(1, 0, 0, 1)), (3, 3), Packing(samples=2, outputs=2, bits=60)
    ),
    "columns packed": Case(
        Window(kernel=(2, 2), pads=(1, 0, 0, 1)), (3, 3), Packing(columns=2, bits=100)
    ),
    "all columns in one pack": Case(
        Window(kernel=(1, 3), stride=(1, 2), pads=(0, 2, 0, 1)),
        (1, 4),
        Packing(samples=2, columns=3, bits=40),
    ),
    "columns of strided windows packed": Case(
        Window(kernel=(3, 2), stride=(2, 2), pads=(2, 1, 1, 0)), (4, 5), Packing(columns=2, bits=99)
    ),
}


def build_conv(case: Case) -> Circuit:
    """One convolution over committed inputs x, with no ranges: the equations alone."""
    system, sliding, packing = System(), case.sliding, case.packing
    shapes = PositionShapes.of([(sliding, packing, False)])
    challenges = {name: system.public(f"challenge/{name}") for name in shapes.axes}
    powers = system.powers("samples/powers/power", system.public("challenge/s"), N)
    if packing.samples == N:  # else s would have no place
        system.product("samples/powers/use", powers[1], system.advice("any", ()))
    positions = Positions.build(system, challenges, shapes)
    rows, columns = sliding.rows.used, sliding.columns.used
    x = system.advice("x", (N, CHANNELS, *case.plane))[:, :, rows[:, None], columns]
    weights = system.model("weights", (N_OUT, CHANNELS, *case.window.kernel))
    biases = system.model("biases", (N_OUT,))
    # As the tables of a whole circuit: where a parameter has a place of its own.
    for name, form in (("weights", weights), ("biases", biases)):
        squares = system.advice(f"{name} squared", form.shape)
        system.require(f"layer/places/{name}", a=form, b=form, c=squares)
    height, width = grid_shape(sliding, packing)
    grid = None if (height, width) == (1, 1) else positions.grid[:height, :width]
    combined = build_combinations(
        system, "layer/input", powers=powers, activations=x, packing=packing
    )
    inputs = build_window_sums(
        system,
        "layer/input",
        combined=combined,
        positions=positions,
        sliding=sliding,
        packing=packing,
        has_grid=grid is not None,
        is_committed=packing.samples == N,
    )
    weight_sum = build_weight_sum(
        system, "samples/weights/sum", powers=powers, packing=packing, n_samples=N
    )
    places = packing.spread_columns(
        grid or LinearForm.constant([1])[None], sliding.columns.n_out
    ).flat()
    outputs = build_outputs(
        system,
        "layer/conv",
        inputs=inputs.flat(),
        weight_sum=system.product("layer/conv/sum of weights", weight_sum, places.sum(0)),
        weights=weights.reshape((N_OUT, inputs.flat().shape[0])),
        biases=biases,
        packing=packing,
    )
    summed = sum_outputs(
        system,
        "layer/conv/output",
        values=system.advice("z", (N, N_OUT, *sliding.plane)),
        powers=powers,
        packing=packing,
        grid=grid,
    )
    require_logits(system, "layer/conv", outputs=outputs, summed=summed)
    return system.build({})


def assign(case: Case, circuit: Circuit, rng: Random) -> Assignment:
    """An honest layer with random tensors."""
    draw = np.random.default_rng(rng.randrange(1 << 32))

    def numbers(low: int, high: int, *shape: int) -> np.ndarray:
        return draw.integers(low, high, shape).astype(object)

    x = numbers(0, 256, N, CHANNELS, *case.plane)
    weights = numbers(-127, 128, N_OUT, CHANNELS, *case.window.kernel)
    biases = numbers(-999, 999, N_OUT)
    inputs = {
        "x": x,
        "weights": weights,
        "biases": biases,
        "weights squared": weights**2,
        "biases squared": biases**2,
        "z": convolve(x, weights, case.window) + biases[:, None, None],
    }
    made = Assignment.of(circuit, inputs)
    draw_challenges(made, rng)
    return made


def draw_challenges(assignment: Assignment, rng: Random) -> None:
    for label in assignment.values:
        if label.startswith("challenge/"):
            assignment[label] = draw_scalars(rng, 1)[0]


@pytest.mark.parametrize("name", CASES)
def test_convolution_is_accepted_and_neither_vacuous_nor_free(name: str, rng: Random) -> None:
    circuit = build_conv(CASES[name])
    honest = assign(CASES[name], circuit, rng)
    assert honest.failing() == []
    assert vacuous(circuit, rng) == []
    assert private_freedom(circuit, honest.complete()) == 0
    forged = honest.copy()
    for label in ("x", "weights", "z"):
        forged[label] = np.roll(forged[label], 1, axis=-1)
    assert private_freedom(circuit, forged.complete()) == 0


@pytest.mark.parametrize("name", CASES)
def test_every_wrong_output_is_refused(name: str, rng: Random) -> None:
    """Each by one, at every place; digits are wide enough for all of them."""
    circuit = build_conv(CASES[name])
    honest = assign(CASES[name], circuit, rng)
    for place in np.ndindex(honest["z"].shape):
        forged = honest.copy()
        forged["z"][place] += rng.choice([1, -1])
        assert forged.failing() == ["layer/conv/equation"], place


@pytest.mark.parametrize("name", CASES)
def test_wrong_inputs_are_refused_where_a_window_meets_them(name: str, rng: Random) -> None:
    case = CASES[name]
    circuit = build_conv(case)
    honest = assign(case, circuit, rng)
    met = np.zeros(case.plane, dtype=np.bool_)
    met[case.sliding.rows.used[:, None], case.sliding.columns.used] = True
    for place in np.ndindex(honest["x"].shape):
        forged = honest.copy()
        forged["x"][place] += 1
        expected = ["layer/conv/equation"] if met[place[2:]] else []
        assert forged.failing() == expected, place


@pytest.mark.parametrize("name", ["pads", "stride", "one row of outputs"])
def test_convolution_is_worth_one_equation_per_output(name: str, rng: Random) -> None:
    """N n_out H' W' equations in all, though each draw of challenges shows only n_out of them."""
    case = CASES[name]
    circuit = build_conv(case)
    honest = assign(case, circuit, rng)
    n_outputs = honest["z"].size
    draws = []
    for _ in range(n_outputs // N_OUT + 1):
        draw_challenges(honest, rng)
        draws.append(honest.complete())
    n_parameters = circuit.r1cs.n_linked
    n_committed = n_parameters + circuit.r1cs.n_advice
    assert committed_freedom(circuit, draws) == n_committed - n_outputs - n_parameters


@pytest.mark.parametrize("axis", [2, 3])
def test_errors_that_cancel_over_positions_are_refused(axis: int, rng: Random) -> None:
    """A plain sum over positions would accept both; weights x^i y^j do not."""
    case = CASES["pads"]
    honest = assign(case, build_conv(case), rng)
    forged = honest.copy()
    forged["z"] = np.flip(forged["z"], axis=axis)
    assert forged.failing() == ["layer/conv/equation"]
    traded = honest.copy()
    place = [0, 0, 0, 0]
    traded["z"][tuple(place)] += 5
    place[axis] = 1
    traded["z"][tuple(place)] -= 5
    assert traded.failing() == ["layer/conv/equation"]


@pytest.mark.parametrize(("challenge", "place"), [("x", (0, 0, 1, 0)), ("y", (0, 0, 0, 1))])
def test_a_challenge_known_in_advance_would_be_no_challenge(
    challenge: str, place: tuple[int, ...], rng: Random
) -> None:
    """Why x and y are drawn after the commitment: errors that cancel at one fail at another."""
    case = CASES["pads"]
    forged = assign(case, build_conv(case), rng)
    forged["z"][0, 0, 0, 0] += int(forged[f"challenge/{challenge}"])
    forged["z"][place] -= 1
    assert forged.failing() == []
    forged[f"challenge/{challenge}"] = draw_scalars(rng, 1)[0]
    assert forged.failing() == ["layer/conv/equation"]


@pytest.mark.parametrize("factor", [0, R - 1])
def test_weights_and_biases_are_the_committed_ones(factor: int, rng: Random) -> None:
    case = CASES["stride"]
    forged = assign(case, build_conv(case), rng)
    forged["weights"][1, 0, 1, 2] = int(forged["weights"][1, 0, 1, 2]) * factor + 1
    assert "layer/conv/equation" in forged.failing()
