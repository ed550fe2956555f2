"""LogUp tables and ranges: accepted, refused and forged witnesses, and the two detectors."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from kernels.bn254 import R
from prover.circuit.constraints import Circuit, System
from prover.circuit.gadgets.activation import build_pair_table, compute_clamp_rows
from prover.circuit.gadgets.lookup import RangeTable, Table, build_integer_table
from prover.circuit.linear_form import LinearForm
from prover.errors import TableCollision
from tests.support.assignments import Assignment, draw_scalars
from tests.support.detectors import committed_freedom, private_freedom, vacuous


def build_range(bits: int, table_bits: int, *, exact: bool = False) -> Circuit:
    """One value x (advice, tied to a public wire) in a range."""
    system = System()
    x_public, challenge = system.public("x is"), system.public("challenge")
    ranges = RangeTable.build(system, "table", challenge, table_bits)
    x = system.advice("x", ())
    system.require("x/public/tie", c=x - x_public)
    ranges.require_range("x/range", x, bits, exact=exact)
    ranges.table.close()
    return system.build({})


def assign(circuit: Circuit, x: int, rng: Random) -> Assignment:
    challenge = draw_scalars(rng, 1)[0]
    return Assignment.of(circuit, {"x": x, "x is": x, "challenge": challenge})


@pytest.mark.parametrize(("bits", "table_bits"), [(3, 3), (2, 3), (5, 3), (6, 3), (8, 3), (1, 4)])
def test_range_accepts_exactly_its_integers(bits: int, table_bits: int, rng: Random) -> None:
    circuit = build_range(bits, table_bits, exact=True)
    half, scaled = pow(2, -1, R), pow(2, -table_bits, R)
    edges = {-(1 << bits), -3, -1, 0, 1, (1 << bits) - 1, 1 << bits, (1 << bits) + 1, half, scaled}
    edges |= {1 << 64, 1 << 128, R // 2, R - (1 << bits)}
    for x in sorted(edges | {rng.randrange(1 << bits) for _ in range(3)}):
        accepted = assign(circuit, x, rng).failing() == []
        assert accepted == (0 <= x < 1 << bits), x


@pytest.mark.parametrize(("bits", "table_bits"), [(3, 3), (2, 3), (5, 3), (8, 3)])
def test_range_is_neither_vacuous_nor_free(bits: int, table_bits: int, rng: Random) -> None:
    circuit = build_range(bits, table_bits)
    x = 1 if bits < 4 else 0b101_01 & ((1 << bits) - 1)  # limbs looked up differ from each other
    draws = [assign(circuit, x, rng).complete() for _ in range(circuit.r1cs.n_advice + 2)]
    assert assign(circuit, x, rng).failing() == []
    assert vacuous(circuit, rng) == []
    assert private_freedom(circuit, draws[0]) == 0
    assert committed_freedom(circuit, draws) == 0


def test_range_low_limb_may_be_a_fraction_unless_exact(rng: Random) -> None:
    """Why biases ask for `exact`: 1/2 times 2^a is an integer of the table."""
    for exact, refused in ((False, []), (True, ["table/sum"])):
        forged = assign(build_range(5, 3, exact=exact), pow(2, -1, R), rng)
        forged["x/range/limbs"] = [0]
        forged.fill(keep=["x/range/limbs"])
        assert forged.failing() == refused


# -- division with remainder: q 2^s + rem = z ------------------------------------------------------


def build_division(*, shift: int, table_bits: int, variant: str = "ours") -> Circuit:
    """z public; q looked up as an integer of the table, rem by the variant under test."""
    system = System()
    z, challenge = system.public("z"), system.public("challenge")
    ranges = RangeTable.build(system, "table", challenge, table_bits)
    q, rem = system.advice("q", ()), system.advice("rem", ())
    system.require("division/equation", c=q * (1 << shift) + rem - z)
    ranges.table.lookup("division/q", q, index=q)
    if variant == "ours":
        ranges.require_range("division/rem", rem, shift)
    elif variant == "unscaled":
        ranges.table.lookup("division/rem", rem, index=rem)
    else:
        top = system.advice("top", ())
        scaled = top * (1 << (2 * table_bits - shift))
        ranges.table.lookup("division/top", scaled, index=scaled)
        low = rem - top * (1 << table_bits)
        ranges.table.lookup("division/low", low, index=low)
    ranges.table.close()
    return system.build({})


def divide(circuit: Circuit, q: int, rem: int, z: int, rng: Random, **more: int) -> Assignment:
    challenge = draw_scalars(rng, 1)[0]
    return Assignment.of(circuit, {"q": q, "rem": rem, "z": z, "challenge": challenge, **more})


@pytest.mark.parametrize(("shift", "table_bits"), [(2, 3), (3, 3), (5, 3)])
def test_division_accepts_one_result(shift: int, table_bits: int, rng: Random) -> None:
    circuit = build_division(shift=shift, table_bits=table_bits)
    z = (3 << shift) + 1
    for q in range(1 << table_bits):
        accepted = divide(circuit, q, z - (q << shift), z, rng).failing() == []
        assert accepted == (q == 3), q


def test_unscaled_remainder_is_not_unique(rng: Random) -> None:
    """[N] rem of 2 bits looked up as it is in a table of 3: rem = 4 passes, q is one less."""
    broken = build_division(shift=2, table_bits=3, variant="unscaled")
    z = 4 * 4
    assert divide(broken, 4, 0, z, rng).failing() == []
    assert divide(broken, 3, 4, z, rng).failing() == []
    ours = build_division(shift=2, table_bits=3)
    assert divide(ours, 4, 0, z, rng).failing() == []
    assert divide(ours, 3, 4, z, rng).failing() == ["table/sum"]


def test_short_limb_on_top_is_not_unique(rng: Random) -> None:
    """[N] rem = top 2^3 + low with top of 2 bits, scaled: top = 7/2 gives rem = 32 = 2^5."""
    broken = build_division(shift=5, table_bits=3, variant="short limb on top")
    z = 4 * 32
    top = 7 * pow(2, -1, R) % R
    assert divide(broken, 4, 0, z, rng, top=0).failing() == []
    assert divide(broken, 3, 32, z, rng, top=top).failing() == []
    ours = build_division(shift=5, table_bits=3)
    forged = divide(ours, 3, 32, z, rng)
    halves = [j * pow(2, -1, R) % R for j in range(16)]
    for limb in [*range(9), *halves, R - 1]:
        forged["division/rem/limbs"] = [limb]
        forged.fill(keep=["division/rem/limbs"])
        assert forged.failing() == ["table/sum"], limb


# -- multiplicities and table rows -----------------------------------------------------------------


@pytest.mark.parametrize("change", [{0: 1}, {1: -1}, {0: 1, 1: -1}, {5: 1, 6: R - 1}])
def test_forged_multiplicities_are_refused(change: dict[int, int], rng: Random) -> None:
    circuit = build_range(3, 3)
    forged = assign(circuit, 1, rng)
    counts = forged["table/multiplicity"]
    for row, step in change.items():
        counts[row] += step
    assert forged.failing() == ["table/sum"]


def test_multiplicities_cannot_buy_a_value_outside(rng: Random) -> None:
    """They are committed before X: the one that would balance the sum is known only afterwards."""
    circuit = build_range(3, 3)
    forged = assign(circuit, 9, rng)
    x = int(forged["challenge"])
    balance = pow(x + 9, -1, R) * (x + 0) % R
    forged["table/multiplicity"] = [balance, *[0] * 7]
    assert forged.failing() == []  # with X known, anything goes
    forged["challenge"] = draw_scalars(rng, 1)[0]
    assert forged.failing() == ["table/sum"]


def test_colliding_rows_are_refused_when_the_table_is_built() -> None:
    system = System()
    challenge, g = system.public("challenge"), system.public("g")
    with pytest.raises(TableCollision, match="twice"):
        build_integer_table(system, "t", challenge, [0, 1, 1])
    rows = np.array([0, 1, 1]), np.array([0, 1, 2])
    with pytest.raises(TableCollision, match="twice"):
        build_pair_table(system, "t", challenge, g, rows)


def build_pair(*, constant: int | None = None) -> Circuit:
    """One pair (q, y = clamp(q, 0, 1)), q in [-2, 2); `constant` in place of the challenge g."""
    system = System()
    challenge, g = system.public("challenge"), system.public("g")
    rows = compute_clamp_rows((-2, 1), (0, 1))
    q, y = system.advice("q", ()), system.advice("y", ())
    if constant is None:
        table = build_pair_table(system, "table", challenge, g, rows)
        part = system.product("pair/clamp/second", g, y)
    else:
        values = LinearForm.constant(rows[0] + constant * rows[1])
        table, part = Table(system, "table", challenge, values), y * constant
        system.require("g/unused/row", a=g)
    table.lookup("pair/clamp/row", q + 2 + part, index=q + 2)
    table.close()
    return system.build({})


def assign_pair(circuit: Circuit, q: int, y: int, rng: Random) -> Assignment:
    challenge, g = draw_scalars(rng, 2)
    return Assignment.of(circuit, {"q": q, "y": y, "challenge": challenge, "g": g})


def test_pair_table_is_the_clamp(rng: Random) -> None:
    circuit = build_pair()
    for q in range(-4, 4):
        for y in range(-2, 4):
            accepted = assign_pair(circuit, q, y, rng).failing() == []
            assert accepted == (-2 <= q < 2 and y == min(max(q, 0), 1)), (q, y)


def test_pair_table_is_neither_vacuous_nor_free(rng: Random) -> None:
    circuit = build_pair()
    honest = assign_pair(circuit, 1, 1, rng)
    draws = []
    for _ in range(circuit.r1cs.n_advice + 2):
        honest["challenge"], honest["g"] = draw_scalars(rng, 2)
        draws.append(honest.complete())
    assert vacuous(circuit, rng) == []
    assert private_freedom(circuit, draws[0]) == 0
    assert committed_freedom(circuit, draws) == 0


def test_constant_between_the_columns_is_unsound(rng: Random) -> None:
    """q + 2 + 4 y with a constant 4: (q, y) = (5, 0) has the sum of the row (1, 1)."""
    broken = build_pair(constant=4)
    forged = assign_pair(broken, 5, 0, rng)
    forged["table/multiplicity"] = [0, 0, 0, 1]
    assert forged.failing() == []
    ours = assign_pair(build_pair(), 5, 0, rng)
    ours["table/multiplicity"] = [0, 0, 0, 1]
    assert ours.failing() == ["table/sum"]


# -- the detectors themselves ----------------------------------------------------------------------


def build_toy(*, broken: bool) -> Circuit:
    """Four bits and their sum; broken: b * 1 = b in place of b * b = b."""
    system = System()
    x = system.public("x")
    bits = system.advice("bits", (4,))
    system.require("toy/bit/boolean", a=bits, b=LinearForm.constant(1) if broken else bits, c=bits)
    system.require("toy/sum/tie", c=(bits * np.array([1, 2, 4, 8])).sum(0) - x)
    return system.build({})


def test_detectors_see_a_broken_toy(rng: Random) -> None:
    sound, broken = build_toy(broken=False), build_toy(broken=True)
    honest = {"x": 5, "bits": [1, 0, 1, 0]}
    draws = [Assignment.of(sound, honest).complete()]
    assert vacuous(sound, rng) == []
    assert committed_freedom(sound, draws) == 0
    draws = [Assignment.of(broken, honest).complete()]
    assert vacuous(broken, rng) == ["toy/bit/boolean"]
    assert committed_freedom(broken, draws) == 3
    forged = {"x": 1000, "bits": [1000, 0, 0, 0]}
    assert Assignment.of(broken, forged).failing() == []
    assert Assignment.of(sound, forged).failing() == ["toy/bit/boolean"]
