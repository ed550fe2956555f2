"""The order in which wires are solved: every one once, and none before what it waits for."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.integers import HOST
from prover.circuit import advice, steps
from prover.circuit.advice import Together, plan_reading, read_one_by_one
from prover.circuit.constraints import Circuit, Rule
from prover.circuit.linear_form import LinearForm
from prover.circuit.steps import plan_steps
from tests.support.forgeries import Scene


@pytest.fixture(scope="module")
def circuit() -> Circuit:
    return Scene.of().accuracy.circuit


def test_every_private_wire_is_solved_once_after_its_operands(circuit: Circuit) -> None:
    r1cs = circuit.r1cs
    solved = np.zeros(r1cs.n_wires, dtype=np.bool_)
    solved[: r1cs.advice.stop] = True
    for step in plan_steps(circuit):
        assert not solved[step.places].any()
        own = np.zeros_like(solved)
        own[step.places] = True
        sides = {
            Rule.PRODUCT: (r1cs.a, r1cs.b),
            Rule.QUOTIENT: (r1cs.b, r1cs.c),
            Rule.TOTAL: (r1cs.c,),
            Rule.POWERS: (r1cs.b,),
        }[step.rule]
        for matrix in sides:
            for first, last in step.rows:
                read = matrix.cols[matrix.indptr[first] : matrix.indptr[last]]
                assert (solved | (own if step.rule is Rule.TOTAL else False))[read].all()
        assert sum(last - first for first, last in step.rows) == len(step.places)
        solved[step.places] = True
    assert solved.all()
    assert plan_steps(circuit) is plan_steps(circuit)


def test_steps_are_few_and_bounded(circuit: Circuit, monkeypatch: pytest.MonkeyPatch) -> None:
    n_blocks = sum(block.rule is not None for block in circuit.row_blocks)
    assert len(plan_steps(circuit)) <= n_blocks / 3
    monkeypatch.setattr(steps, "MAX_ROWS", 20)
    short = tuple(steps._plan_steps(circuit))
    assert len(plan_steps(circuit)) < len(short) < n_blocks
    assert all(len(step.places) <= 20 or len(step.blocks) == 1 for step in short)


def test_forms_read_together_are_those_read_one_by_one(circuit: Circuit) -> None:
    plan = plan_reading(circuit)
    assert plan is not None
    values = np.random.default_rng(1).integers(-1000, 1000, circuit.r1cs.advice.stop)
    one_by_one = read_one_by_one(values, HOST)
    batches = [batch for batch, _ in plan.hints] + [plan.lookups]
    assert sum(len(batch.forms) for batch in batches) > 2 * len(batches)
    for batch in batches:
        together = Together(batch, values, HOST)
        for form in batch.forms:
            assert (together(form) == one_by_one(form)).all()
    assert len(plan.limits) == len(Together(plan.lookups, values, HOST).found)


def test_forms_that_are_too_large_are_not_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advice, "MAX_TERMS", 10)
    assert plan_reading(Scene.of().accuracy.circuit) is None
    packed = LinearForm.of_wires(np.arange(3)).shifted(4)
    with pytest.raises(OverflowError):
        _ = advice.Batch((packed,)).rows
