"""The correctness count, exhaustively on a small case: who is counted, and who can be."""

from __future__ import annotations

from itertools import product
from random import Random

import numpy as np
import pytest

from kernels.bn254 import R
from prover.circuit.constraints import Circuit, System
from prover.circuit.gadgets.correctness import build_correctness
from prover.circuit.gadgets.lookup import RangeTable
from prover.circuit.linear_form import LinearForm
from tests.support.assignments import Assignment, draw_scalars
from tests.support.detectors import committed_freedom, private_freedom, vacuous

PART = "correctness/count"
MARGIN_BITS = 3
LEVEL_BITS = 4
N_CLASSES = 3
HALVES = range(-2, 5)  # levels -1, -1/2, ..., 2


def build_count(*, table_bits: int = 2, margin_bits: int = MARGIN_BITS) -> Circuit:
    """Two samples, logits public; margins of 3 bits in a table of 2: the low limb is scaled."""
    system = System()
    s, claimed, label_sum = (system.public(name) for name in ("s", "claimed", "label sum"))
    given, challenge = system.public("given", (2, N_CLASSES)), system.public("challenge")
    ranges = RangeTable.build(system, "table", challenge, table_bits)
    powers = system.powers("samples/powers/power", s, 2)
    logits = system.advice("logits", (2, N_CLASSES))
    # On the A side, `given` has a place of its own; with C sides alone, no row would see a shift
    # of a sample's logits and level together, and the circuit would rightly be refused.
    system.require("logits/public/tie", a=given, b=LinearForm.constant(1), c=logits)
    build_correctness(
        system,
        PART,
        logits=logits,
        powers=powers,
        label_sum=label_sum,
        claimed=claimed,
        margin_bits=margin_bits,
        level_bits=LEVEL_BITS,
        ranges=ranges,
    )
    ranges.table.close()
    return system.build({})


def assign(
    circuit: Circuit,
    logits: object,
    labels: list[int],
    hits: object,
    halves: list[int],
    rng: Random,
    *,
    margin_bits: int = MARGIN_BITS,
) -> Assignment:
    """Labels are y_n (0 = padding), levels are given in halves, the claim is the sum of hits."""
    given, hit = np.array(logits, dtype=object), np.array(hits, dtype=object)
    s, challenge = draw_scalars(rng, 2)
    assignment = Assignment.of(
        circuit,
        {
            "s": s,
            "challenge": challenge,
            "claimed": int(hit.sum()),
            "label sum": sum(y * pow(s, n, R) for n, y in enumerate(labels)),
            "given": given,
            "logits": given,
            f"{PART}/label": labels,
            f"{PART}/hit": hit,
            f"{PART}/level": [h * pow(2, -1, R) % R for h in halves],
        },
    )
    margins = np.array(halves, dtype=object)[:, None] - 2 * given - 2 + hit * (2 << margin_bits)
    limbs = f"{PART}/margin/limbs"
    # In halves a low limb of one bit, scaled, is margin mod 4 over 2: the rest is the high limb.
    if limbs in assignment.values:
        assignment[limbs] = np.clip(margins // 4, 0, 3)[..., None]
        assignment.fill(keep=[limbs])
    return assignment


def is_accepted(circuit: Circuit, logits: list[int], y: int, hit: list[int], rng: Random) -> bool:
    """Whether some level makes the pair (this sample, blank padding) pass."""
    for half in HALVES:
        both = [logits, [0] * N_CLASSES], [y, 0], [hit, [0] * N_CLASSES], [half, 2]
        failing = assign(circuit, *both, rng).failing()
        if not failing:
            return True
        if failing != ["table/sum"]:
            return False  # rows that no level enters
    return False


def test_count_is_exact_for_all_small_samples(rng: Random) -> None:
    """[N] Every logit in {-1, 0, 1}, every label, counted or not."""
    circuit = build_count()
    none = [0] * N_CLASSES
    for logits in product((-1, 0, 1), repeat=N_CLASSES):
        for y in (1, 2, 3):
            others = [v for c, v in enumerate(logits) if c != y - 1]
            hit = [int(c == y - 1) for c in range(N_CLASSES)]
            expected = logits[y - 1] > max(others)
            assert is_accepted(circuit, list(logits), y, hit, rng) == expected, (logits, y)
        assert is_accepted(circuit, list(logits), y, none, rng), logits


@pytest.mark.parametrize("y", range(N_CLASSES + 1))
def test_only_the_label_can_be_hit(y: int, rng: Random) -> None:
    """Every pattern of hits, with logits under which the label would win; y = 0 is padding."""
    circuit = build_count()
    logits = [int(c == max(y - 1, 0)) for c in range(N_CLASSES)]
    for hit in product((0, 1, 2, R - 1), repeat=N_CLASSES):
        accepted = is_accepted(circuit, logits, y, list(hit), rng)
        one_hot = [int(c == y - 1) for c in range(N_CLASSES)]
        assert accepted == (list(hit) in ([0] * N_CLASSES, one_hot)), hit


def test_count_refuses_another_sum_and_other_labels(rng: Random) -> None:
    circuit = build_count()
    logits, hits = [[1, 0, 0], [0, 0, 1]], [[1, 0, 0], [0, 0, 1]]
    honest = assign(circuit, logits, [1, 3], hits, [2, 2], rng)
    assert honest.failing() == []
    for claimed in (0, 1, 3, R - 1):
        forged = honest.copy()
        forged["claimed"] = claimed
        assert forged.failing() == [f"{PART}/count"]
    forged = honest.copy()
    forged["label sum"] = 3 + int(forged["s"])  # the labels in the other order
    assert forged.failing() == [f"{PART}/labels"]


def test_a_level_is_an_integer_of_its_range(rng: Random) -> None:
    """Only so are logits bounded, which packs rely on; the logits follow, so margins agree."""
    circuit = build_count(table_bits=4, margin_bits=4)
    none = [0] * N_CLASSES
    for level, accepted in ((-8, True), (7, True), (-9, False), (8, False), (1 << 60, False)):
        logits = [[level - 1] * N_CLASSES, [0] * N_CLASSES]
        forged = assign(circuit, logits, [1, 0], [none, none], [2 * level, 2], rng)
        assert (forged.failing() == []) is accepted
        assert accepted or forged.failing() == ["table/sum"]
    half = assign(circuit, [[0] * N_CLASSES] * 2, [1, 0], [none, none], [3, 2], rng)
    assert half.failing() == ["table/sum"]


def test_count_is_neither_vacuous_nor_free_but_in_its_levels(rng: Random) -> None:
    """Levels may move between logits; to first order, lookups of different rows pin them."""
    circuit = build_count(table_bits=4, margin_bits=4)
    logits, hits, halves = [[-1, 2, 4], [5, 3, -1]], [[0, 0, 1], [0, 0, 0]], [8, 12]
    draws = [
        assign(circuit, logits, [3, 0], hits, halves, rng, margin_bits=4).complete()
        for _ in range(circuit.r1cs.n_advice + 2)
    ]
    assert assign(circuit, logits, [3, 0], hits, halves, rng, margin_bits=4).failing() == []
    assert vacuous(circuit, rng) == []
    assert private_freedom(circuit, draws[0]) == 0
    assert committed_freedom(circuit, draws) == 0
