"""Circuits of random networks say what PROTOCOL section 1 says, no more and no less.

Twice, by definitions that share no code with the model: every row at random elements of the field
(`tests.support.residuals`), and whole witnesses, true ones and ones with a lie, which must be
accepted if and only if they are true.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest

from kernels.array import FrArray
from kernels.bn254 import R
from kernels.integers import to_scalars
from prover.circuit.accuracy import AccuracyCircuit, compile_accuracy
from prover.circuit.constraints import Circuit, Group, System
from prover.circuit.sample_sums import SampleSums
from prover.circuit.sizes import compute_sizes
from prover.circuit.sizing.choices import make_choices
from prover.circuit.witness import solve_committed
from prover.model.layers import Layer, Linear, Requant
from prover.model.network import Architecture
from prover.model.planes import Conv2d, Window
from prover.model.pooling import Flatten, MaxPool
from tests.support.accuracy_protocol import backend
from tests.support.assignments import Assignment, draw_scalars
from tests.support.audit import audit
from tests.support.conv_nets import make_lenet, make_residual
from tests.support.detectors import undetermined
from tests.support.forgeries import Scene
from tests.support.random_nets import draw_net
from tests.support.truth import COUNT, compute_wires, draw_case, is_true, list_correct

SAMPLES = (1, 1, 2, 3, 4, 7, 13, 30)

KINDS = {
    *("linear", "conv2d", "add", "sum_pool", "max_pool", "flatten", "skip", "coloured border"),
    *("fused pool", "plain pool", "windows of one number", "multipliers per channel"),
    *("jumps over numbers", "strides that kernels do not divide", "tight digits"),
    *("packs of samples", "packs of columns", "packs of outputs"),
}


def make_wide_pools() -> Architecture:
    """Windows of so many numbers that their differences are multiplied in pairs first."""

    def slide(side: int, stride: int, value: int) -> MaxPool:
        pads = (side // 2,) * 4
        window = Window(kernel=(side, side), stride=(stride, stride), pads=pads)
        return MaxPool(window=window, inputs=(value,))

    requant = Requant(shift=9, q_bits=10, multiplier=(3, 200))
    layers: list[Layer] = [
        Conv2d(n_out=2, window=Window(kernel=(1, 1)), inputs=(0,), requant=requant),
        slide(5, 2, 1),
        slide(5, 1, 2),
        Flatten(inputs=(3,)),
        Linear(n_out=2, inputs=(4,)),
    ]
    return Architecture.of((1, 6, 6), layers)


FIXED = {"lenet": make_lenet, "residual": make_residual, "wide pools": make_wide_pools}


def draw_circuit(rng: Random, most_rows: int) -> AccuracyCircuit:
    while True:
        architecture, n = draw_net(rng, most=80), rng.choice(SAMPLES)
        if compute_sizes(architecture, n).n_rows < most_rows:
            return compile_accuracy(architecture, n)


def check_rows(seed: int, most_rows: int) -> Counter[str]:
    rng = Random(seed)
    accuracy = draw_circuit(rng, most_rows)
    assert undetermined(accuracy.circuit) == []
    return audit(accuracy, rng, backend())


def test_rows_say_what_the_definition_says() -> None:
    """Of networks that have one of everything together."""
    kinds = sum((check_rows(seed, 4000) for seed in range(73, 93)), Counter[str]())
    assert {name for name, n in kinds.items() if n} >= KINDS


@pytest.mark.soak
@pytest.mark.parametrize("start", range(0, 2000, 100))
def test_rows_of_many_networks(start: int) -> None:
    for seed in range(start, start + 100):
        check_rows(seed, 60_000)


@pytest.mark.parametrize("n_samples", [1, 3])
@pytest.mark.parametrize("name", FIXED)
def test_rows_of_networks_with_one_of_everything(name: str, n_samples: int, rng: Random) -> None:
    accuracy = compile_accuracy(FIXED[name](), n_samples)
    assert undetermined(accuracy.circuit) == []
    audit(accuracy, rng, backend())


_COMPUTE = SampleSums.compute


def sum_over_zeros(sums: SampleSums, *arguments: Any, **named: Any) -> FrArray:
    return _COMPUTE(replace(sums, pad_values=()), *arguments, **named)


BROKEN: Mapping[str, tuple[str, int, str, object]] = {
    "numbers meet the wrong windows": (
        *("residual", 3, "prover.circuit.sizing.sliding.Axis.exponents"),
        property(lambda axis: axis.used // axis.stride),
    ),
    "no number is moved back": (
        *("lenet", 3, "prover.circuit.sizing.sliding.Axis.inverses"),
        property(lambda axis: np.zeros(axis.kernel, dtype=np.int64)),
    ),
    "biases are weighed by blocks": (
        *("residual", 1, "prover.circuit.sizing.packing.Packing.spread_columns"),
        lambda packing, grid, width: grid[:, np.arange(width) // packing.columns],
    ),
    "the border is black": (
        "lenet",
        1,
        "prover.circuit.sample_sums.SampleSums.compute",
        sum_over_zeros,
    ),
    "a channel has the skip of another": (
        *("lenet", 1, "prover.model.planes.Conv2d.skip_scales"),
        property(lambda layer: layer.skip_scale[::-1]),
    ),
    "fractions have no bits": (
        *("wide pools", 3, "prover.circuit.sizing.choices._Plan._count_fraction_bits"),
        lambda plan, bits: 0,
    ),
}
"""By what it gets wrong: a network that shows it, its samples, and another definition."""


@pytest.mark.parametrize("fault", BROKEN)
def test_a_compiler_with_a_fault_is_told(
    fault: str, rng: Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, n_samples, target, other = BROKEN[fault]
    make_choices.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(target, other)
        accuracy = compile_accuracy(FIXED[name](), n_samples)
        with pytest.raises(AssertionError):
            audit(accuracy, rng, backend())
    make_choices.cache_clear()


def test_a_wire_with_another_definition_is_told() -> None:
    """Its row scaled, so that it is half of what it was; or about a wire that comes after it."""
    system = System()
    x = system.advice("x", ())
    first = system.product("first", x, x)
    system.require("second is first", c=system.total("second", first + x) - first)
    circuit = system.build({})
    assert undetermined(circuit) == []
    wire = circuit.r1cs.private.start

    def with_c(row: int, **changes: int) -> Circuit:
        c = circuit.r1cs.c
        at = int(c.indptr[row])
        arrays = {name: getattr(c, name).copy() for name in changes}
        for name, value in changes.items():
            arrays[name][at] = value
        return replace(circuit, r1cs=replace(circuit.r1cs, c=replace(c, **arrays)))

    assert undetermined(with_c(0, coeffs=2)) == ["first"]
    assert undetermined(with_c(0, cols=wire + 1)) == ["first"]


# -- lies ------------------------------------------------------------------------------------------

Lie = Callable[[Scene, Assignment, Random], None]
"""Changes committed wires; limbs and multiplicities follow."""


def list_layers(forged: Assignment) -> list[str]:
    """Parts of the wires of layers that requantize."""
    return [label[:-2] for label in forged.values if label.endswith("/activation/q")]


def draw_place(tensor: np.ndarray, rng: Random) -> tuple[int, ...]:
    return tuple(rng.randrange(n) for n in tensor.shape)


def trade_quotient_and_remainder(scene: Scene, forged: Assignment, rng: Random) -> None:
    """q 2^s + rem stays, the pair of q and y is in the table."""
    part = rng.choice(list_layers(forged))
    requant = scene.accuracy.architecture.layers[int(part.split()[1].split("/")[0])].requant
    assert requant is not None
    place, step = draw_place(forged[f"{part}/q"], rng), rng.choice([1, -1])
    forged[f"{part}/q"][place] += step
    forged[f"{part}/rem"][place] -= step << requant.shift
    if f"{part}/y" in forged.values:
        q = forged[f"{part}/q"][place]
        forged[f"{part}/y"][place] = min(max(q, requant.least), requant.greatest)


def trade_remainders(scene: Scene, forged: Assignment, rng: Random) -> None:
    """What one gains the other loses, at the same digit or at one of another width."""
    rem = forged[f"{rng.choice(list_layers(forged))}/rem"]
    gain, loss = rng.choice([(1, 1), (1, 1), (2, 1), (1 << rng.randrange(12), 1)])
    rem[draw_place(rem, rng)] += gain
    rem[draw_place(rem, rng)] -= loss


def exchange_places(scene: Scene, forged: Assignment, rng: Random) -> None:
    """All that a layer says of two of its numbers: tables are content."""
    part = rng.choice(list_layers(forged))
    one, other = (draw_place(forged[f"{part}/q"], rng) for _ in range(2))
    for name in ("q", "rem", "y"):
        tensor = forged.values.get(f"{part}/{name}")
        if tensor is not None:
            tensor[one], tensor[other] = tensor[other], tensor[one]


def exchange_samples(scene: Scene, forged: Assignment, rng: Random) -> None:
    """All that is said of two samples, padding as well."""
    n = scene.accuracy.n_samples
    one, other = rng.randrange(n), rng.randrange(n)
    hints = {hint.block.label for hint in forged.circuit.hints}
    for label, block in forged.circuit.wire_blocks.items():
        if block.group == Group.ADVICE and label not in hints:
            forged[label][[one, other]] = forged[label][[other, one]]


def exchange_parameters(scene: Scene, forged: Assignment, rng: Random) -> None:
    """Two weights of a layer; another model, unless they are alike."""
    weights = forged[rng.choice([k for k in forged.values if k.endswith("/weights")])]
    one, other = draw_place(weights, rng), draw_place(weights, rng)
    weights[one], weights[other] = weights[other], weights[one]


def trade_weight_and_bias(scene: Scene, forged: Assignment, rng: Random) -> None:
    """A weight more, a bias less by one of the numbers that it might meet: right for one sample."""
    part = rng.choice([k for k in forged.values if k.endswith("/weights")]).removesuffix("/weights")
    place = draw_place(forged[f"{part}/weights"], rng)
    forged[f"{part}/weights"][place] += 1
    forged[f"{part}/biases"][place[0]] -= int(rng.choice(scene.images.reshape(-1)))


def move_logits_and_level(scene: Scene, forged: Assignment, rng: Random) -> None:
    """All logits of a sample and its level: differences stay."""
    logits, n = forged[last_logits(scene)], rng.randrange(scene.accuracy.n_samples)
    step = rng.choice([1, -1, 1 << rng.randrange(20)])
    logits[n] += step
    forged[f"{COUNT}/level"][n] += step


def move_level(scene: Scene, forged: Assignment, rng: Random) -> None:
    """A level may be any that splits the logits."""
    forged[f"{COUNT}/level"][rng.randrange(scene.accuracy.n_samples)] += rng.choice([-50, -1, 1, 9])


def move_hit(scene: Scene, forged: Assignment, rng: Random) -> None:
    """Another class, another sample, and the label and level that go with it."""
    hit, level = forged[f"{COUNT}/hit"], forged[f"{COUNT}/level"]
    logits, n = forged[last_logits(scene)], rng.randrange(len(hit))
    c = rng.randrange(hit.shape[1])
    if hit.any():
        hit[tuple(rng.choice(np.argwhere(hit.astype(bool)).tolist()))] = 0
    hit[n, c] = 1
    level[n] = logits[n, c]
    if rng.random() < 0.5:
        forged[f"{COUNT}/label"][n] = c + 1


def last_logits(scene: Scene) -> str:
    return f"layer {len(scene.accuracy.architecture.layers) - 1}/logits"


LIES: tuple[Lie, ...] = (
    trade_quotient_and_remainder,
    trade_remainders,
    exchange_places,
    exchange_samples,
    exchange_parameters,
    trade_weight_and_bias,
    move_logits_and_level,
    move_level,
    move_hit,
)


def check_witnesses(seed: int, n_places: int, n_lies: int) -> Counter[str]:
    """Verdicts of a circuit are those of the definition; how many lies were true after all."""
    rng = Random(seed)
    scene = draw_case(rng)
    model = scene.model
    inputs = compute_wires(
        scene,
        [w.astype(object) for w in model.weights],
        [b.astype(object) for b in model.biases],
    )
    correct = list_correct(scene, inputs[last_logits(scene)])
    claimed = rng.choice([len(correct), rng.randint(0, len(correct))])
    honest = scene.count(inputs, {n: int(scene.labels[n]) for n in correct[:claimed]})
    committed = solve_committed(scene.accuracy, model, scene.images, scene.labels, claimed=claimed)
    assert honest.scalars(Group.LINKED).equals(to_scalars(committed.model))
    assert honest.scalars(Group.ADVICE).equals(to_scalars(committed.advice))
    verdicts: Counter[str] = Counter()

    def judge(name: str, forged: Assignment) -> None:
        scene.publish(forged, claimed, draw_scalars(rng, scene.accuracy.n_challenges))
        truth = is_true(scene, forged, claimed)
        assert (forged.failing(backend()) == []) == truth, (seed, name)
        verdicts[f"{name}: {truth}"] += 1

    judge("honest", honest)
    hints = {hint.block.label for hint in honest.circuit.hints}
    blocks = honest.circuit.wire_blocks.values()
    for label in [b.label for b in blocks if b.group in (Group.LINKED, Group.ADVICE)]:
        for _ in range(min(n_places, honest[label].size)):
            forged = honest.copy()
            forged[label][draw_place(forged[label], rng)] += rng.choice([1, -1, rng.randrange(R)])
            forged.fill(keep=hints & {label})
            judge(label.rpartition("/")[2], forged)
    for lie in LIES:
        for _ in range(n_lies):
            forged = honest.copy()
            lie(scene, forged, rng)
            forged.fill()
            judge(lie.__name__, forged)
    return verdicts


def test_witnesses_are_accepted_if_they_are_true() -> None:
    verdicts = sum((check_witnesses(seed, 1, 1) for seed in range(5)), Counter[str]())
    assert {lie.__name__ for lie in LIES} <= {name.partition(":")[0] for name in verdicts}
    assert {name.partition(" ")[2] for name in verdicts} == {"True", "False"}


@pytest.mark.soak
@pytest.mark.parametrize("start", range(1000, 1200, 10))
def test_many_witnesses(start: int) -> None:
    for seed in range(start, start + 10):
        check_witnesses(seed, 4, 6)
