"""Bounds on updates as a circuit: what it accepts, and every forgery it refuses.

A private wire has one defining row, so an assignment of the committed wires has one candidate for
the rest: when that candidate fails, no witness exists for these challenges.
"""

from __future__ import annotations

from dataclasses import asdict
from math import isqrt
from random import Random

import numpy as np
import pytest

from kernels.array import FrArray
from kernels.bn254 import R
from kernels.integers import to_scalars
from kernels.reference import Reference
from prover.circuit.constraints import Group, check_independence
from prover.circuit.norm.circuit import (
    SQUARES,
    NormCircuit,
    compile_norm,
    compile_plan,
    solve_update,
)
from prover.circuit.norm.plan import NormPlan, plan_norm, require_norm
from prover.circuit.sizing.widths import WidthChoice
from prover.circuit.witness import check, solve_private
from prover.errors import ArchitectureInvalid, CircuitTooLarge, ShapeMismatch, UpdateExceeds
from prover.model.layers import MAX_DIMENSION
from prover.model.network import Architecture
from prover.model.presets import parse_architecture
from prover.model.update import BIAS_UNIT, MAX_BIAS_CHANGE, MAX_SQUARES, UpdateBounds
from tests.support.assignments import draw_scalars
from tests.support.conv_nets import make_residual
from tests.support.detectors import committed_freedom, private_freedom, vacuous
from tests.support.updates import (
    BOUNDS,
    TINY,
    assign_update,
    compile_tiny,
    measure_norm,
)

PLANS = pytest.mark.parametrize("tabled", list(BOUNDS), ids=lambda names: "+".join(names) or "none")
HONEST = [3, -2, 0, 1, -1, 4, *([0] * 14), 2, -3, 1, 0, 1, -1, 0, 1]
N_WEIGHTS = 24


def draw(norm: NormCircuit, rng: Random) -> list[int]:
    return draw_scalars(rng, norm.n_challenges)


@PLANS
def test_updates_within_the_bounds_are_accepted(tabled: tuple[str, ...], rng: Random) -> None:
    norm = compile_tiny(tabled)
    b = norm.bounds
    weight = min(b.weight, isqrt(b.squares // 2) - 1)
    edges = [weight, -weight, *([0] * 22), b.bias, -b.bias, 0, 0]
    for update in ([0] * 28, HONEST, [-d for d in HONEST], edges):
        assert assign_update(norm, update, draw(norm, rng)).failing() == []


@PLANS
def test_the_solver_finds_the_same_wires(tabled: tuple[str, ...], rng: Random) -> None:
    norm = compile_tiny(tabled)
    challenges = draw(norm, rng)
    solved = solve_update(norm, np.array(HONEST, dtype=np.int64))
    honest = assign_update(norm, HONEST, challenges)
    update, advice = to_scalars(solved.update), to_scalars(solved.advice)
    assert honest.scalars(Group.LINKED).equals(update)
    assert honest.scalars(Group.ADVICE).equals(advice)
    public = norm.plan.compute_public(challenges)
    assert public.equals(FrArray.from_ints(challenges))
    backend = Reference()
    z = solve_private(norm.circuit, public=public, model=update, advice=advice, backend=backend)
    check(norm.circuit, z, backend)


# -- forgeries: each is consistent but for the one lie it needs ------------------------------------


def find_refusal(tabled: tuple[str, ...], kind: str) -> list[str]:
    return [f"{kind} table/sum"] if kind in tabled else ["range table/sum"]


@PLANS
@pytest.mark.parametrize("kind", ["weight", "bias"])
def test_a_change_that_is_no_integer_of_its_bound_is_refused(
    tabled: tuple[str, ...], kind: str, rng: Random
) -> None:
    """Beyond by one, far beyond, negative mod r, and fractions, whose squares would be small."""
    norm = compile_tiny(tabled)
    bound: int = getattr(norm.bounds, kind)
    half, root_of_minus_one = pow(2, -1, R), pow(5, (R - 1) // 4, R)
    assert root_of_minus_one**2 % R == R - 1
    power = 1 << (2 * bound).bit_length()
    for change in (
        *(bound + 1, -bound - 1, power - bound, power, -power, 1 << 64, R // 2, R - bound - 1),
        *(half, -half, (bound + half) % R, pow(BIAS_UNIT, -1, R), root_of_minus_one),
    ):
        update = list(HONEST)
        update[0 if kind == "weight" else N_WEIGHTS] = change
        for squares in (None, 0):  # the true sum mod r, and one that is in range
            failing = assign_update(norm, update, draw(norm, rng), squares=squares).failing()
            assert set(find_refusal(tabled, kind)) <= set(failing), change


def test_a_fraction_in_limbs_is_refused(rng: Random) -> None:
    """A bias moved by 1/2, with limbs that suit it: every scaled low limb is a row of the table.

    Only the lookup of the unscaled one is left to refuse it. Halves do no harm by themselves; B/m
    mod r would, see PROTOCOL 4.2.
    """
    plan = NormPlan(
        architecture=TINY,
        bounds=BOUNDS["weight",],
        tabled=("weight",),
        widths=WidthChoice(table_bits=5, rows_by_bits={5: 0}),
    )
    norm, bound, half = compile_plan(plan), plan.bounds.bias, pow(2, -1, R)
    whole = assign_update(norm, [*HONEST[:N_WEIGHTS], 0, 0, 0, 0], draw(norm, rng))
    assert whole.failing() == []
    squares = int(whole[SQUARES])
    forged = assign_update(
        norm, [*HONEST[:N_WEIGHTS], half, 0, 0, 0], draw(norm, rng), squares=squares + half * half
    )
    parts = {  # what is left below the fraction, of B + 1/2, B - 1/2 and L - S - 1/4
        "layer 0/biases/bound/below": (bound, [3]),
        "layer 0/biases/bound/above": (bound - 1, [3]),
        "update/squares/bound": (plan.bounds.scaled_squares - squares - 1, [2, 7, 12, 17]),
    }
    for label, (value, shifts) in parts.items():
        limbs = forged[f"{label}/limbs"].reshape(-1, len(shifts))
        limbs[0] = [value >> shift & 31 for shift in shifts]
    forged.fill(keep=[f"{label}/limbs" for label in parts])
    assert forged.failing() == ["range table/sum"]


@PLANS
def test_a_sum_of_squares_above_its_bound_is_refused(tabled: tuple[str, ...], rng: Random) -> None:
    """One more than the bound allows, each change being within its own."""
    norm = compile_tiny(tabled)
    limit = norm.bounds.squares
    update = [0] * 28
    rest = limit
    for i in range(N_WEIGHTS):
        update[i] = min(isqrt(rest), norm.bounds.weight)
        rest -= update[i] ** 2
    assert rest == 0, "the bound is met exactly"
    assert assign_update(norm, update, draw(norm, rng)).failing() == []
    update[-1] = 1  # a bias of 1 has 1/255^2 of the square of a weight
    assert assign_update(norm, update, draw(norm, rng)).failing() == ["range table/sum"]
    with pytest.raises(UpdateExceeds, match=r"sum of squares: .* at most"):
        solve_update(norm, np.array(update, dtype=np.int64))


@PLANS
def test_another_sum_than_that_of_the_squares_is_refused(
    tabled: tuple[str, ...], rng: Random
) -> None:
    norm = compile_tiny(tabled)
    limit = norm.bounds.scaled_squares
    true = int(assign_update(norm, HONEST, draw(norm, rng))[SQUARES])
    for lie in (true - 1, true + 1, 0, -1, limit, true - BIAS_UNIT**2):
        forged = assign_update(norm, HONEST, draw(norm, rng), squares=lie)
        assert forged.failing() == ["update/squares/sum"]
    for lie in (limit + 1, true + (1 << 64), -(1 << 64), R // 2, true * pow(2, -200, R) % R):
        forged = assign_update(norm, HONEST, draw(norm, rng), squares=lie)
        assert set(forged.failing()) >= {"update/squares/sum", "range table/sum"}


@PLANS
def test_forged_multiplicities_are_refused(tabled: tuple[str, ...], rng: Random) -> None:
    norm = compile_tiny(tabled)
    for name in ("range", *tabled):
        forged = assign_update(norm, HONEST, draw(norm, rng))
        forged[f"{name} table/multiplicity"][0] += 1
        assert forged.failing() == [f"{name} table/sum"]


# -- the detectors, sizes and refusals -------------------------------------------------------------


@PLANS
def test_no_row_is_vacuous_and_no_wire_depends(tabled: tuple[str, ...], rng: Random) -> None:
    norm = compile_tiny(tabled)
    check_independence(norm.r1cs)
    assert vacuous(norm.circuit, rng) == []
    assert (
        private_freedom(norm.circuit, assign_update(norm, HONEST, draw(norm, rng)).complete()) == 0
    )


def test_committed_wires_are_pinned(rng: Random) -> None:
    """No direction of update or advice is free, with every table row looked up at most once.

    Of limbs this is asked in `test_gadget_lookup`; here both kinds have tables of their own.
    """
    architecture, update = Architecture.mlp([1, 2]), [1, 0, -1, 1]
    tabled, widths = ("weight", "bias"), WidthChoice(table_bits=4, rows_by_bits={4: 0})
    for squares in range(2, 300):
        bounds = UpdateBounds(weight=1, bias=1, squares=squares)
        norm = compile_plan(
            NormPlan(architecture=architecture, bounds=bounds, tabled=tabled, widths=widths)
        )
        honest = assign_update(norm, update, draw(norm, rng))
        assert honest.failing() == []
        if max(honest["range table/multiplicity"]) == 1:
            break
    else:
        pytest.fail("no bound has limbs that are all different")
    n_committed = norm.r1cs.n_linked + norm.r1cs.n_advice
    draws = [
        assign_update(norm, update, draw(norm, rng)).complete() for _ in range(n_committed + 2)
    ]
    assert committed_freedom(norm.circuit, draws) == 0


GOLDEN = {
    ("mlp-784-128-10", 20, 20_000, 500_000): (204_259, 1, 101_770, 578, 204_256, 204_800),
    ("mlp-784-128-10", 127, 1 << 20, 1 << 24): (204_887, 1, 101_770, 1_068, 204_884, 212_992),
    ("mlp-6-4-3", 3, 100, 40): (139, 1, 43, 43, 136, 256),
    ("mlp-6-4-3", 254, MAX_BIAS_CHANGE, MAX_SQUARES): (337, 1, 43, 170, 335, 512),
}


@pytest.mark.parametrize("case", GOLDEN, ids=str)
def test_sizes_are_golden_and_known_before_compiling(case: tuple[str, int, int, int]) -> None:
    name, weight, bias, squares = case
    bounds = UpdateBounds(weight=weight, bias=bias, squares=squares)
    sizes = plan_norm(parse_architecture(name), bounds).sizes
    found = (sizes.n_rows, sizes.n_public, sizes.n_model, sizes.n_advice, sizes.n_private)
    assert (*found, sizes.domain) == GOLDEN[case]
    norm = compile_norm(parse_architecture(name), bounds)
    assert asdict(measure_norm(norm)) == asdict(sizes)
    report = norm.explain()
    assert sum(line.rows for line in report.lines) == report.rows == sizes.n_rows


@PLANS
def test_sizes_of_every_plan(tabled: tuple[str, ...]) -> None:
    assert asdict(measure_norm(compile_tiny(tabled))) == asdict(
        plan_norm(TINY, BOUNDS[tabled]).sizes
    )


def test_circuits_of_other_bounds_differ() -> None:
    bounds = UpdateBounds(weight=4, bias=100, squares=40)
    digests = {
        compile_norm(TINY, bounds).digest,
        compile_norm(TINY, UpdateBounds(weight=5, bias=100, squares=40)).digest,
        compile_norm(TINY, UpdateBounds(weight=4, bias=101, squares=40)).digest,
        compile_norm(TINY, UpdateBounds(weight=4, bias=100, squares=41)).digest,
        compile_norm(Architecture.mlp([2, 2]), bounds).digest,
    }
    assert len(digests) == 5


def test_what_is_too_large_is_refused_before_it_is_compiled() -> None:
    bounds = UpdateBounds(weight=4, bias=100, squares=40)
    wide = Architecture.mlp([MAX_DIMENSION, 60, 2])
    with pytest.raises(CircuitTooLarge, match=r"bounds on updates of mlp-.* take a smaller"):
        compile_norm(wide, bounds, max_rows=1 << 26)
    sizes = plan_norm(TINY, bounds).sizes
    assert require_norm(TINY, bounds, max_bytes=sizes.compile_bytes).sizes == sizes
    with pytest.raises(CircuitTooLarge, match="MiB to compile"):
        require_norm(TINY, bounds, max_bytes=sizes.compile_bytes - 1)


def test_another_shape_is_refused() -> None:
    norm = compile_tiny(("weight",))
    for update in (np.zeros(27, dtype=np.int64), np.zeros(28, dtype=np.int32)):
        with pytest.raises(ShapeMismatch, match="an update must be int64"):
            solve_update(norm, update)  # type: ignore[arg-type]
    assert issubclass(CircuitTooLarge, ArchitectureInvalid)


def test_networks_of_all_kinds_of_layers_have_bounds(rng: Random) -> None:
    """Layers without parameters are none of it; kernels are weights like others."""
    architecture = make_residual()
    n = architecture.n_parameters
    norm = compile_norm(architecture, UpdateBounds(weight=4, bias=9, squares=6 * n))
    assert asdict(measure_norm(norm)) == asdict(norm.plan.sizes)
    update = np.random.default_rng(2).integers(-2, 3, n)
    solved = solve_update(norm, update)
    public = norm.plan.compute_public(draw(norm, rng))
    z = solve_private(
        norm.circuit,
        public=public,
        model=to_scalars(solved.update),
        advice=to_scalars(solved.advice),
        backend=Reference(),
    )
    check(norm.circuit, z, Reference())
    first = architecture.weight_shapes[0]
    update[int(np.prod(first)) - 1] = 5
    with pytest.raises(UpdateExceeds):
        solve_update(norm, update)
