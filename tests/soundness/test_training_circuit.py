"""A step of training as a circuit: it accepts what the evaluator computes, and nothing else.

A private wire has one defining row, so an assignment of the committed wires has one candidate for
the rest: when that candidate fails, no witness exists for these challenges.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pytest

from kernels.backend import get_backend
from kernels.bn254 import R
from kernels.integers import to_scalars
from prover.circuit.constraints import Group, check_independence
from prover.circuit.sizes import CircuitSizes
from prover.circuit.training.plan import plan_step
from prover.circuit.training.sizes import StepCounts, compute_step_sizes, require_step
from prover.circuit.training.step import StepCircuit, compile_step
from prover.circuit.training.witness import list_step_wires, solve_step
from prover.circuit.witness import check, solve_private
from prover.errors import CircuitTooLarge, KeyMismatch, ShapeMismatch, UnsatisfiedConstraint
from prover.model.presets import parse_architecture
from prover.training.recipe import TrainingRecipe
from tests.support.detectors import private_freedom, vacuous
from tests.support.training import assign_step, draw_step, make_small_recipe

BACKEND = get_backend("cpu")
NETWORKS: dict[str, dict[str, Any]] = {
    "6-5-3": {"widths": [6, 5, 3]},
    "6-3": {"widths": [6, 3], "batch_size": 3},
    "4-6-5-2": {"widths": [4, 6, 5, 2], "rate": 3, "batch_size": 5},
    "5-4-2, one sample": {"widths": [5, 4, 2], "batch_size": 1, "bias_input": 7},
    "9-7-3, many": {"widths": [9, 7, 3], "batch_size": 40, "master_bits": 18, "loss_bits": 6},
}


@cache
def compiled(name: str) -> StepCircuit:
    return compile_step(make_small_recipe(**NETWORKS[name]))


@pytest.mark.parametrize("name", NETWORKS)
def test_what_the_evaluator_computes_is_accepted(name: str, rng: Random) -> None:
    """Whole batches, one sample, all but one; by the solver of a prover and wire by wire."""
    step, source = compiled(name), np.random.default_rng(5)
    batch_size = step.recipe.batch_size
    for n in sorted({1, max(1, batch_size - 1), batch_size}):
        trace = draw_step(step.recipe, source, n)
        wires = list_step_wires(step, trace)
        honest = assign_step(step, wires, rng, n_real=n)
        assert honest.failing(BACKEND) == []
        solved = solve_step(step, trace)
        model, advice = to_scalars(np.concatenate(solved.linked)), solved.advice_scalars
        assert honest.scalars(Group.LINKED).equals(model)
        assert honest.scalars(Group.ADVICE).equals(advice)
        assert [len(x) for x in solved.linked] == list(step.r1cs.linked)
        challenges = [int(honest[f"challenge/{c}"]) for c in step.plan.challenges]
        public = step.plan.compute_public(n, challenges)
        z = solve_private(step.circuit, public=public, model=model, advice=advice, backend=BACKEND)
        check(step.circuit, z, BACKEND)


# -- any number changed ----------------------------------------------------------------------------


def change_numbers(name: str, n_changes: int, seed: int) -> list[str]:
    """Single numbers of honest steps changed, limbs and multiplicities made to fit: those accepted.

    Blocks are met alike, whatever their sizes; of each change half is by one, the rest anything.
    """
    step, source, rng = compiled(name), np.random.default_rng(seed), Random(seed)
    accepted: list[str] = []
    blocks = [b.label for b in step.circuit.wire_blocks.values() if b.group == Group.LINKED]
    hinted = {hint.block.label for hint in step.circuit.hints}
    blocks += [
        b.label
        for b in step.circuit.wire_blocks.values()
        if b.group == Group.ADVICE and b.label not in hinted
    ]
    for index in range(n_changes):
        if index % 20 == 0:
            n = rng.randint(1, step.recipe.batch_size)
            trace = draw_step(step.recipe, source, n)
            honest = assign_step(step, list_step_wires(step, trace), rng, n_real=n)
        label = blocks[index % len(blocks)]
        forged = honest.copy()
        tensor = forged[label]
        place = tuple(rng.randrange(k) for k in tensor.shape)
        by = rng.choice([1, -1, 1 << rng.randrange(20), pow(2, -1, R), rng.randrange(1, R)])
        tensor[place] = (int(tensor[place]) + by) % R
        forged.fill()
        if not forged.failing(BACKEND):
            accepted.append(f"{label}{list(place)} by {by}")
    return accepted


@pytest.mark.parametrize("name", ["6-5-3", "4-6-5-2"])
def test_any_single_number_changed_is_refused(name: str) -> None:
    assert change_numbers(name, 40, seed=3) == []


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", NETWORKS)
def test_any_single_number_changed_is_refused_at_length(name: str) -> None:
    assert change_numbers(name, 1000, seed=4) == []


def test_another_number_of_real_samples_is_refused(rng: Random) -> None:
    step = compiled("6-5-3")
    trace = draw_step(step.recipe, np.random.default_rng(2), 3)
    wires = list_step_wires(step, trace)
    for n_real in (0, 2, 4, R - 1):
        forged = assign_step(step, wires, rng, n_real=n_real)
        assert forged.failing(BACKEND) == ["loss/labels/count"]


# -- the detectors, sizes and refusals -------------------------------------------------------------


def test_no_row_is_vacuous_and_no_wire_depends(rng: Random) -> None:
    step = compiled("6-5-3")
    check_independence(step.r1cs)
    assert vacuous(step.circuit, rng) == []
    trace = draw_step(step.recipe, np.random.default_rng(2), 3)
    honest = assign_step(step, list_step_wires(step, trace), rng, n_real=3)
    assert private_freedom(step.circuit, honest.complete(BACKEND)) == 0


def measure(step: StepCircuit) -> dict[str, Any]:
    """The sizes that are exact, counted in the compiled circuit."""
    r1cs = step.r1cs
    return {
        "n_rows": r1cs.n_rows,
        "n_public": r1cs.n_public,
        "n_model": r1cs.n_linked,
        "n_advice": r1cs.n_advice,
        "n_private": r1cs.n_private,
        "nnz": tuple(m.nnz for m in r1cs.matrices),
        "n_private_in_a": int(np.isin(np.arange(r1cs.n_wires)[r1cs.private], r1cs.a.cols).sum()),
    }


def require_at_least(sizes: CircuitSizes, step: StepCircuit) -> None:
    for most, m in zip(sizes.occurring, step.r1cs.matrices, strict=True):
        assert most >= len(np.unique(m.cols))


@pytest.mark.parametrize("name", NETWORKS)
def test_sizes_are_known_before_compiling(name: str) -> None:
    step = compiled(name)
    sizes = compute_step_sizes(step.plan)
    found = measure(step)
    assert {key: asdict(sizes)[key] for key in found} == found
    require_at_least(sizes, step)
    report = step.explain()
    assert sum(line.rows for line in report.lines) == report.rows == sizes.n_rows
    assert report.subject.startswith("a training step of mlp-")
    assert report.wires["before"] == report.wires["after"] == step.recipe.architecture.n_parameters


def test_reach_of_a_step_on_mnist() -> None:
    """784-128-10 on 64 samples: at most 0.65 million rows, four a weight and three a pixel."""
    recipe = TrainingRecipe(architecture=parse_architecture("mlp-784-128-10"))
    sizes = compute_step_sizes(require_step(recipe))
    assert sizes.n_rows <= 650_000
    assert sizes.domain == 622_592
    doubled = TrainingRecipe(architecture=recipe.architecture, batch_size=128)
    assert compute_step_sizes(require_step(doubled)).domain < 1 << 20


def test_chances_of_all_checks_together() -> None:
    """The numbers of PROTOCOL 4.6: roots that false claims of a step on MNIST have at most."""
    plan = plan_step(TrainingRecipe(architecture=parse_architecture("mlp-784-128-10")))
    counts, widths = StepCounts.of(plan), plan.recipe.widths
    degrees = {name: 2 if name.startswith("clamp") else 1 for name in counts.tables}
    tables = sum(d * (counts.lookups[x] + counts.tables[x]) for x, d in degrees.items())
    packings = [choice.packing for choice in (*plan.forward, *plan.backward)]
    outputs = (*widths[1:], *widths[1:-1])
    products = sum(
        p.count_groups(n) * (p.count_packs(plan.recipe.batch_size) - 1)
        for p, n in zip(packings, outputs, strict=True)
    )
    gradients = sum(n_in * n_out for n_in, n_out in pairwise(widths))
    assert (tables, products, gradients) == (386_163, 1_548, 101_632)
    assert counts.lookups.keys() == counts.tables.keys()
    assert tables + products + gradients < 1 << 19


def test_what_is_too_large_is_refused_before_it_is_compiled() -> None:
    recipe = compiled("6-5-3").recipe
    with pytest.raises(CircuitTooLarge, match=r"a training step of mlp-6-5-3 has .* smaller"):
        compile_step(recipe, max_rows=1000)
    n_bytes = compute_step_sizes(plan_step(recipe)).compile_bytes
    assert require_step(recipe, max_bytes=n_bytes)
    with pytest.raises(CircuitTooLarge, match="MiB to compile"):
        require_step(recipe, max_bytes=n_bytes - 1)


def test_circuits_of_other_recipes_differ() -> None:
    changes: list[dict[str, int]] = [
        *({}, {"rate": 2}, {"master_bits": 13}, {"bias_input": 5}, {"loss_bits": 7}),
        *({"logit_shift": 7}, {"backward_shift": 6}, {"error_bits": 13}, {"batch_size": 5}),
    ]
    digests = {compile_step(make_small_recipe([4, 3, 2], **change)).digest for change in changes}
    assert len(digests) == len(changes)


def test_what_does_not_belong_together_is_refused() -> None:
    step, other = compiled("6-5-3"), compiled("4-6-5-2")
    trace = draw_step(other.recipe, np.random.default_rng(1))
    with pytest.raises(ShapeMismatch, match="another recipe"):
        solve_step(step, trace)
    with pytest.raises(KeyMismatch, match="the circuit of a training step for"):
        step.plan.compute_public(1, [2])
    with pytest.raises(ShapeMismatch, match="canonical"):
        step.plan.compute_public(1, [R] * step.n_challenges)


def test_a_lookup_that_leaves_its_table_is_named() -> None:
    """Before anything is committed, by the solver of an honest prover."""
    step = compiled("6-5-3")
    trace = draw_step(step.recipe, np.random.default_rng(1))
    trace.before[0] += 1 << 30
    with pytest.raises(UnsatisfiedConstraint, match="layer 0/weights/rounding"):
        solve_step(step, trace)
