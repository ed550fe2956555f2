"""Packs of bounded errors: what they refuse, and what a digit that is too narrow would let pass.

A build is broken on purpose in each attack: the same committed wires pass it and fail ours, by the
equation of the layer alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from random import Random
from typing import Any

import numpy as np
import pytest

from kernels.array import FrMont
from kernels.bn254 import R
from prover.circuit.accuracy import AccuracyCircuit, compile_accuracy
from prover.circuit.constraints import Circuit, System
from prover.circuit.gadgets.activation import (
    build_clamp,
    build_pair_table,
    build_quotient,
    compute_clamp_rows,
)
from prover.circuit.gadgets.linear import (
    build_combinations,
    build_outputs,
    build_weight_sum,
    require_requantized,
    sum_outputs,
)
from prover.circuit.gadgets.lookup import RangeTable
from prover.circuit.linear_form import LinearForm
from prover.circuit.public_inputs import PublicLayout
from prover.circuit.sizing.choices import make_choices
from prover.circuit.sizing.packing import Packing, RequantBound
from prover.errors import ShapeMismatch
from prover.model.layers import Requant
from prover.model.network import Architecture
from tests.support.assignments import Assignment, Tensor, draw_scalars
from tests.support.detectors import committed_freedom, private_freedom, vacuous
from tests.support.forgeries import Scene

N, D_OUT, SHIFT, Q_BITS, TABLE_BITS = 3, 3, 2, 4, 3
Q_RANGE, Y_RANGE = (-8, 7), (0, 3)
ACCUMULATOR = 3
BOUND = RequantBound(accumulator=ACCUMULATOR, shift=SHIFT, q_range=Q_RANGE, fraction_bits=1)
EQUATION = ["layer/linear/equation"]
Errors = Mapping[tuple[int, int], Fraction | int]


def digits(bound: int, *, samples: int, outputs: int) -> Packing:
    return Packing(samples=samples, outputs=outputs, bits=bound.bit_length())


def build(packing: Packing) -> Circuit:
    """One requantized layer of one input with all its tables.

    Weights and biases have no ranges here: the assignments below keep |z| <= ACCUMULATOR.
    """
    system = System()
    s, m, g = (system.public(name) for name in ("s", "m", "g"))
    ranges = RangeTable.build(system, "range table", system.public("range"), TABLE_BITS)
    clamp = build_pair_table(
        system, "clamp table", system.public("clamp"), g, compute_clamp_rows(Q_RANGE, Y_RANGE)
    )
    powers = system.powers("samples/powers/power", s, N)
    weights, biases = system.model("weights", (D_OUT, 1)), system.model("biases", (D_OUT,))
    system.require("layer/places/weights", a=weights, b=weights, c=system.advice("w2", (D_OUT, 1)))
    system.require("layer/places/biases", a=biases, b=biases, c=system.advice("b2", (D_OUT,)))
    weight_sum = build_weight_sum(
        system, "samples/weights/sum", powers=powers, packing=packing, n_samples=N
    )
    inputs = build_combinations(
        system,
        "layer/input",
        powers=powers,
        activations=system.advice("x", (N, 1)),
        packing=packing,
    )
    outputs = build_outputs(
        system,
        "layer/linear",
        inputs=inputs,
        weight_sum=weight_sum,
        weights=weights,
        biases=biases,
        packing=packing,
    )
    label = "layer/activation"
    quotient = build_quotient(system, label, shape=(N, D_OUT), shift=SHIFT, ranges=ranges)
    build_clamp(system, label, q=quotient.q, q_min=Q_RANGE[0], clamp=clamp, g=g)
    rounded = sum_outputs(
        system,
        "layer/linear/output",
        values=quotient.scale_back(SHIFT),
        powers=powers,
        packing=packing,
    )
    require_requantized(
        system,
        "layer/linear",
        outputs=outputs,
        multiplier=m,
        weight_sum=weight_sum,
        rounded=rounded,
        n_outputs=D_OUT,
        shift=SHIFT,
        packing=packing,
    )
    ranges.table.close()
    clamp.close()
    return system.build({})


def assign(
    circuit: Circuit,
    rng: Random,
    errors: Errors | None = None,
    *,
    multiplier: int = 1,
    x: tuple[int, ...] = (1, 0, 2),
    weights: tuple[int, ...] = (1, -1, 1),
    biases: tuple[int, ...] = (0, 1, -2),
) -> Assignment:
    """The layer with errors added to q 2^s + rem, and q, rem and y that fit the sums."""
    z = np.array([[w * v + b for w, b in zip(weights, biases, strict=True)] for v in x])
    assert abs(z).max() <= ACCUMULATOR
    q, rem = np.zeros((N, D_OUT), dtype=object), np.zeros((N, D_OUT), dtype=object)
    for place in np.ndindex(N, D_OUT):
        total = multiplier * int(z[place]) + (1 << (SHIFT - 1)) + (errors or {}).get(place, 0)
        q[place] = total // (1 << SHIFT)
        rest = Fraction(total) - q[place] * (1 << SHIFT)
        rem[place] = rest.numerator * pow(rest.denominator, -1, R) % R
    s, g, at_range, at_clamp = draw_scalars(rng, 4)
    return Assignment.of(
        circuit,
        {
            **{"s": s, "g": g, "range": at_range, "clamp": at_clamp, "m": multiplier},
            **{"x": x, "weights": weights, "w2": [w * w for w in weights]},
            **{"biases": biases, "b2": [b * b for b in biases]},
            "layer/activation/q": q,
            "layer/activation/rem": rem,
            "layer/activation/y": np.clip(q, *Y_RANGE),
        },
    )


SHAPES = [(1, 1), (2, 1), (1, 2), (3, 1), (1, 3), (2, 2), (3, 3)]


@pytest.mark.parametrize(("samples", "outputs"), SHAPES)
def test_packed_layer_is_accepted_and_neither_vacuous_nor_free(
    samples: int, outputs: int, rng: Random
) -> None:
    circuit = build(digits(BOUND.compute(1), samples=samples, outputs=outputs))
    honest = assign(circuit, rng)
    assert honest.failing() == []
    assert vacuous(circuit, rng) == []
    assert private_freedom(circuit, honest.complete()) == 0


@pytest.mark.parametrize(("samples", "outputs"), SHAPES)
def test_no_errors_within_the_tables_cancel(samples: int, outputs: int, rng: Random) -> None:
    """Random errors, and pairs that cancel at digits of another width, whole and halves."""
    circuit = build(digits(BOUND.compute(1), samples=samples, outputs=outputs))
    places = list(np.ndindex(N, D_OUT))
    for trial in range(12):
        first, second = rng.sample(places, 2)
        step = Fraction(rng.choice([1, -1]), rng.choice([1, 2]))
        cancelling = {first: step * (1 << rng.randrange(5)), second: -step}
        drawn = {place: Fraction(rng.randrange(-32, 33), 2) for place in places}
        forged = assign(circuit, rng, cancelling if trial % 2 else drawn)
        assert forged.failing() == EQUATION


@pytest.mark.parametrize(
    ("samples", "outputs", "greater", "less"),
    [
        (2, 1, (0, 1), (1, 1)),  # between two samples of a pack
        (1, 2, (2, 0), (2, 1)),  # between two outputs of a pack
        (2, 2, (1, 0), (0, 1)),  # from the last sample of an output to the first of the next
        (3, 3, (2, 1), (0, 2)),
    ],
)
def test_errors_cancel_where_digits_are_too_narrow(
    samples: int, outputs: int, greater: tuple[int, int], less: tuple[int, int], rng: Random
) -> None:
    """[N] C = 8: one sum greater by 8, the one at the next digit less by 1, all tables content."""
    errors = {greater: 8, less: -1}
    broken = build(Packing(samples=samples, outputs=outputs, bits=3))
    assert assign(broken, rng, errors).failing() == []
    ours = build(digits(BOUND.compute(1), samples=samples, outputs=outputs))
    assert assign(ours, rng, errors).failing() == EQUATION


def test_errors_do_not_cancel_between_packs(rng: Random) -> None:
    """Digits that are too narrow are so within a pack only: packs have powers of s between them."""
    broken = build(Packing(samples=2, outputs=2, bits=3))
    for other in ((2, 1), (1, 2), (0, 2)):
        assert assign(broken, rng, {(1, 1): 8, other: -1}).failing() == EQUATION


def test_fractions_need_bits_of_their_own(rng: Random) -> None:
    """[N] C = 64 exceeds |e| <= 37, but a remainder looked up as 2 rem may be off by one half."""
    whole = RequantBound(accumulator=ACCUMULATOR, shift=SHIFT, q_range=Q_RANGE, fraction_bits=0)
    assert (whole.compute(1), BOUND.compute(1)) == (37, 74)
    errors = {(0, 0): 32, (1, 0): Fraction(-1, 2)}
    arguments: dict[str, Any] = {"x": (1, 0, 0), "weights": (-1, 0, 0), "biases": (-2, 0, 0)}
    broken = build(digits(whole.compute(1), samples=2, outputs=1))
    assert assign(broken, rng, errors, **arguments).failing() == []
    ours = build(digits(BOUND.compute(1), samples=2, outputs=1))
    assert assign(ours, rng, errors, **arguments).failing() == EQUATION


def test_a_greater_multiplier_needs_wider_digits(rng: Random) -> None:
    """[N] Within the bound on m a quotient that leaves its table has no way back; beyond it has."""
    packing = digits(BOUND.compute(1), samples=2, outputs=1)
    most = BOUND.find_multiplier(packing.limit)
    assert BOUND.compute(most) < packing.limit <= BOUND.compute(most + 1)
    circuit = build(packing)
    # m z is below the table at z = -3; the sum comes back into it as if it were C / 2 greater.
    errors = {(0, 0): packing.limit // 2, (1, 0): Fraction(-1, 2)}
    layer: dict[str, Any] = {"x": (1, 0, 0), "weights": (-3, 0, 0), "biases": (0, 0, 0)}
    for multiplier, refused_by in ((most, ["clamp table/sum"]), (22, [])):
        forged = assign(circuit, rng, errors, multiplier=multiplier, **layer)
        assert forged.failing() == refused_by


# -- whole circuits --------------------------------------------------------------------------------


def compile_with(
    monkeypatch: pytest.MonkeyPatch, architecture: Architecture, n: int, packings: list[Packing]
) -> AccuracyCircuit:
    """The circuit with other packings than the compiler's."""
    choices = make_choices(architecture, n)
    chosen = {
        index: replace(choice, packing=packing)
        for (index, choice), packing in zip(choices.packings.items(), packings, strict=True)
    }
    with monkeypatch.context() as patch:
        patch.setattr(
            "prover.circuit.accuracy.make_choices", lambda *_: replace(choices, packings=chosen)
        )
        return compile_accuracy(architecture, n)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene.of()


def with_bits(scene: Scene, monkeypatch: pytest.MonkeyPatch, *bits: int) -> Scene:
    packings = [
        replace(choice.packing, bits=b)
        for choice, b in zip(scene.accuracy.choices.packings.values(), bits, strict=True)
    ]
    accuracy = scene.accuracy
    return replace(
        scene,
        accuracy=compile_with(monkeypatch, accuracy.architecture, accuracy.n_samples, packings),
    )


def test_the_scene_has_packs_of_samples_and_of_outputs(scene: Scene) -> None:
    first, last = (choice.packing for choice in scene.accuracy.choices.packings.values())
    assert (first.samples, first.outputs) == (1, 4)
    assert (last.samples, last.outputs) == (4, 2)
    for choice in scene.accuracy.choices.packings.values():
        assert choice.packing.bits >= choice.error_bits


def test_a_wrong_sample_would_win_at_the_expense_of_padding(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[N] Logits of the wrong sample gain 2^c t at its label, those of the padding lose t."""

    def attack(victim: Scene) -> list[str]:
        inputs = victim.infer()
        logits, label = inputs["layer 1/logits"].copy(), int(victim.labels[2])
        t = (int(logits[2].max()) - int(logits[2, label])) // 16 + 1
        logits[2, label] += 16 * t
        logits[3, label] -= t
        inputs["layer 1/logits"] = logits
        hits = victim.honest_hits() | {2: label}
        return victim.count(inputs, hits).failing()

    first = scene.accuracy.choices.packings[0].packing.bits
    assert attack(with_bits(scene, monkeypatch, first, 4)) == []
    assert attack(scene) == ["layer 1/linear/equation"]


def test_hidden_units_would_trade(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """[N] One unit's remainder gains 2^c, the next one's loses 1; q, y and later layers agree."""

    def attack(victim: Scene) -> list[str]:
        def alter(layer: int, step: dict[str, Tensor]) -> None:
            rem = step["rem"]
            assert rem[0, 0] < 1016
            assert rem[0, 1] > 0
            rem[0, 0] += 8
            rem[0, 1] -= 1

        return victim.count(victim.infer(alter=alter), {}).failing()

    last = scene.accuracy.choices.packings[1].packing.bits
    assert attack(with_bits(scene, monkeypatch, 3, last)) == []
    assert attack(scene) == ["layer 0/linear/equation"]


def test_unbounded_levels_would_free_the_logits(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[N] All logits of a sample and its level move by 2^c, those of the next sample by -1."""

    def attack(victim: Scene) -> list[str]:
        inputs = victim.infer()
        logits = inputs["layer 1/logits"].copy()
        logits[0] += victim.accuracy.choices.packings[1].packing.limit
        logits[1] -= 1
        inputs["layer 1/logits"] = logits
        return victim.count(inputs, victim.honest_hits()).failing()

    assert attack(scene) == ["range table/sum"]
    require = RangeTable.require_range

    def skip_levels(
        self: RangeTable, label: str, value: LinearForm, bits: int, **more: Any
    ) -> None:
        if not label.endswith("level range"):
            require(self, label, value, bits, **more)

    with monkeypatch.context() as patch:
        patch.setattr(RangeTable, "require_range", skip_levels)
        broken = compile_accuracy(scene.accuracy.architecture, scene.accuracy.n_samples)
    assert attack(replace(scene, accuracy=broken)) == []


@pytest.mark.parametrize("shift", [1, 10, 24])
def test_multipliers_end_where_the_packs_do(shift: int) -> None:
    """The verifier takes the greatest one that the digits hold for, and no greater one."""
    requant = Requant(shift=shift, multiplier=3)
    architecture = Architecture.mlp([6, 40, 3], requant=requant)
    choices, layout = make_choices(architecture, 4), PublicLayout(architecture, 4)
    (most,) = choices.max_multipliers
    table_bits, packing = choices.widths.table_bits, choices.packings[0].packing
    bound = RequantBound(
        accumulator=architecture.public_bounds[0],
        shift=shift,
        q_range=requant.q_range,
        fraction_bits=-shift % table_bits,
    )
    assert bound.compute(most) < packing.limit <= bound.compute(most + 1)
    images, labels = np.zeros((1, 6), dtype=np.uint8), np.zeros(1, dtype=np.uint8)

    def ask(m: int) -> None:
        challenges = [2] * len(layout.challenges)
        layout.compute(
            claimed=0, multipliers=(m,), images=images, labels=labels, challenges=challenges
        )

    ask(3)
    ask(min(most, (1 << 15) - 1))
    with pytest.raises(ShapeMismatch, match="multiplier"):
        ask(most + 1)


def test_the_detector_of_freedom_reads_the_coefficients_of_packs() -> None:
    """Two rows that say the same of two wires: the second is 2^20 times the first."""
    system = System()
    first, second = system.advice("first", ()), system.advice("second", ())
    pack = first + second.shifted(200)
    system.require("pack", c=pack)
    system.require("pack again", c=pack * (1 << 20))
    circuit = system.build({})
    assert committed_freedom(circuit, [FrMont.from_ints([1, 0, 0])]) == 1
