"""Training steps through whole proofs: a chain of them, and every way to break it."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest

from kernels.encoding import encode_g1
from prover.circuit.training.inputs import StepInputs, Trajectory
from prover.circuit.training.step import compile_step
from prover.circuit.training.witness import solve_step
from prover.errors import (
    KeyMismatch,
    SelfCheckFailed,
    UnsatisfiedConstraint,
)
from prover.groth16.commitment import Opening
from prover.groth16.setup_training import setup_step
from prover.groth16.verify_training import verify_steps, verify_trajectory
from prover.groth16.whole import prove_statement
from prover.keys.training_card import StepCard
from prover.progress import Stages, silent
from prover.steps import (
    PUBLIC,
    commit_values,
    compile_step_for_key,
)
from prover.training.masters import start
from prover.training.step import StepTrace, train_step
from prover.wire.envelope import Proof
from prover.wire.training import StepEnvelope
from prover.wire.update import UpdateEnvelope
from prover.wire.verdict import Verdict
from tests.support.tiny_circuits import seeded
from tests.support.training import draw_batch, make_small_recipe
from tests.support.trajectories import (
    BACKEND,
    FAILED,
    N_STEPS,
    OCCASION,
    VALID,
    Step,
    chain,
    commit,
    committer,
    public_model,
    recipe,
    step_circuit,
    step_key,
    train,
)


def expect(steps: tuple[Step, ...] | list[Step], **change: Any) -> Trajectory:
    """What the chain asks of a client whose batches were drawn in this order."""
    public = commit_values(start(recipe(), public_model()), PUBLIC, committer())
    expected = Trajectory(
        occasion=OCCASION,
        start=encode_g1(public.public.d),
        batches=tuple(step.drawn for step in steps),
    )
    return replace(expected, **change)


def judge(raws: list[bytes], expected: Trajectory) -> tuple[Verdict, int | None]:
    return verify_trajectory(
        raws,
        key=step_key().verifying,
        inputs=StepInputs(plan=step_circuit().plan),
        expected=expected,
        random_bytes=seeded(9),
    )


def judge_each(*raws: bytes) -> list[Verdict]:
    return verify_steps(
        raws,
        key=step_key().verifying,
        inputs=StepInputs(plan=step_circuit().plan),
        random_bytes=seeded(9),
    )


@pytest.fixture(scope="module")
def raws() -> list[bytes]:
    return [step.proven.envelope for step in chain()]


def restate(raw: bytes, **change: Any) -> bytes:
    envelope = StepEnvelope.decode(raw)
    assert envelope is not None
    return replace(envelope, statement=replace(envelope.statement, **change)).encode()


# -- what passes -----------------------------------------------------------------------------------


def test_a_chain_of_steps_from_the_public_model_passes(raws: list[bytes]) -> None:
    assert judge_each(*raws) == [VALID] * N_STEPS
    assert judge(raws, expect(chain())) == (VALID, None)
    envelope = StepEnvelope.decode(raws[0])
    assert envelope is not None
    assert len(envelope.proof) == 224
    assert set(chain()[0].proven.timings_s) == {
        *("witness 1", "commit", "challenges", "witness 2", "prove", "verify")
    }


def test_no_steps_at_all_are_a_trajectory_of_none() -> None:
    assert judge([], expect([])) == (VALID, None)


# -- the chain -------------------------------------------------------------------------------------


def test_steps_in_another_order_are_refused(raws: list[bytes]) -> None:
    expected = expect(chain())
    for order, broken in (([1, 0, 2], 0), ([0, 2, 1], 1), ([0, 0, 1], 1)):
        found = judge([raws[i] for i in order], expected)
        assert found == (Verdict.WRONG_STATEMENT, broken)


def test_a_missing_or_further_step_is_refused(raws: list[bytes]) -> None:
    assert judge(raws[:2], expect(chain())) == (Verdict.WRONG_STATEMENT, 2)
    assert judge(raws[1:], expect(chain())) == (Verdict.WRONG_STATEMENT, 0)
    assert judge(raws, expect(chain()[:2])) == (Verdict.WRONG_STATEMENT, 2)


def test_another_batch_than_drawn_is_refused(raws: list[bytes]) -> None:
    """Two batches exchanged; the same one twice; the right one, said to have fewer samples."""
    first, second, third = (step.drawn for step in chain())
    for batches, broken in (
        ((second, first, third), 0),
        ((first, first, third), 1),
        ((first, second, replace(third, n_real=3)), 2),
    ):
        expected = replace(expect(chain()), batches=batches)
        assert judge(raws, expected) == (Verdict.WRONG_STATEMENT, broken)


def test_another_start_is_refused(raws: list[bytes]) -> None:
    """Masters that are not the public model's, or theirs under a blinding."""
    masters = start(recipe(), public_model())
    for other in (commit(masters, 3), commit(masters + 1, 4)):
        expected = expect(chain(), start=encode_g1(other.public.d))
        assert judge(raws, expected) == (Verdict.WRONG_STATEMENT, 0)


def test_masters_exchanged_between_steps_are_refused(raws: list[bytes]) -> None:
    """D_M' of step 0 is not D_M of step 1: both steps hold, the chain does not."""
    other = train(chain()[0].trace.after + 1, commit(chain()[0].trace.after + 1, 8), [3], seed=2)
    jumped = other[0].prove(t=1)
    assert judge_each(jumped.envelope) == [VALID]
    expected = expect([chain()[0], other[0], chain()[2]])
    found = judge([raws[0], jumped.envelope, raws[2]], expected)
    assert found == (Verdict.WRONG_STATEMENT, 1)
    said = restate(jumped.envelope, before=encode_g1(chain()[0].after.public.d))
    assert judge_each(said) == [FAILED]


@pytest.mark.parametrize("t", [0, 2])
def test_a_step_of_another_number_is_refused(t: int, raws: list[bytes]) -> None:
    """Said to be it, and proven under it: the number is in the statement."""
    assert judge_each(restate(raws[1], step=t)) == [FAILED]
    moved = chain()[1].prove(t=t).envelope
    assert judge_each(moved) == [VALID]
    assert judge([raws[0], moved, raws[2]], expect(chain())) == (Verdict.WRONG_STATEMENT, 1)


@pytest.mark.parametrize(
    "change",
    [{"client_key": b"thief"}, {"chain_id": b"other"}, {"round_index": 2}, {"commit_height": 3}],
)
def test_a_step_on_another_occasion_is_refused(change: dict[str, Any], raws: list[bytes]) -> None:
    occasion = replace(OCCASION, **change)
    assert judge_each(restate(raws[0], occasion=occasion)) == [FAILED]
    assert judge(raws, expect(chain(), occasion=occasion)) == (Verdict.WRONG_STATEMENT, 0)


# -- statements that the witness does not fit ------------------------------------------------------


def forge(step: Step, trace: StepTrace) -> bytes:
    """A proof of the step's statement over the wires of any trace, nothing checked."""
    solved = solve_step(step_circuit(), trace)
    secrets = (step.before, step.after, step.data)
    ticks = count()
    whole = prove_statement(
        step_circuit().circuit,
        step_key(),
        step.proven.statement,
        StepInputs(plan=step_circuit().plan),
        openings=[
            Opening(wires=wires, rho=secret.blinding.rho)
            for wires, secret in zip(solved.linked_scalars, secrets, strict=True)
        ],
        advice=solved.advice_scalars,
        random_bytes=seeded(3),
        backend=BACKEND,
        stages=Stages(clock=lambda: float(next(ticks)), report=silent),
    )
    return StepEnvelope(statement=step.proven.statement, proof=whole.proof.encode()).encode()


def test_a_forger_of_the_right_witness_is_none() -> None:
    assert judge_each(forge(chain()[0], chain()[0].trace)) == [VALID]


def test_one_more_in_a_weight_does_not_verify() -> None:
    """Committed to, claimed and used: the circuit alone refuses it."""
    step = chain()[0]
    moved = step.trace.after.copy()
    moved[3] += 1
    lie = replace(step.trace, after=moved)
    with pytest.raises(UnsatisfiedConstraint, match="gradient/equation"):
        step.__class__(0, lie, step.before, commit(moved, 7), step.data).prove()


def test_wires_that_are_not_committed_to_do_not_verify() -> None:
    """A true step of other masters, or on other data, under the commitments of this one."""
    step = chain()[0]
    rng = np.random.default_rng(7)
    images, labels = draw_batch(recipe(), rng, 1)
    other_data = train_step(recipe(), step.trace.before, images, labels)
    batch = step.trace.batch
    other_masters = train_step(
        recipe(),
        step.trace.before + 2,
        batch.images[: batch.n_real],
        (batch.y[: batch.n_real] - 1).astype(np.uint8),
    )
    for trace in (other_data, other_masters):
        assert judge_each(forge(step, trace)) == [FAILED]


def test_links_of_other_groups_do_not_serve(raws: list[bytes]) -> None:
    """D' in the place of pi, commitments of masters exchanged; each point of another proof."""
    envelope = StepEnvelope.decode(raws[0])
    assert envelope is not None
    mine, theirs = Proof.decode(envelope.proof), Proof.decode(chain()[0].prove(77).envelope[-224:])
    assert isinstance(mine, Proof)
    assert isinstance(theirs, Proof)
    swapped = replace(mine, own=mine.link, link=mine.own)
    mixed = [
        replace(mine, **{name: getattr(theirs, name)})
        for name in ("a", "b", "c", "own", "link", "d_a")
    ]
    forged = [replace(envelope, proof=proof.encode()).encode() for proof in (swapped, *mixed)]
    assert judge_each(*forged) == [FAILED] * 7
    statement = envelope.statement
    crossed = restate(raws[0], before=statement.after, after=statement.before)
    assert judge_each(crossed) == [FAILED]


def test_other_numbers_of_real_samples_are_refused(raws: list[bytes]) -> None:
    assert judge_each(restate(raws[0], n_real=2)) == [FAILED]
    for n_real in (0, recipe().batch_size + 1):
        assert judge_each(restate(raws[0], n_real=n_real)) == [Verdict.WRONG_STATEMENT]


def test_other_bytes_and_keys_are_refused(raws: list[bytes]) -> None:
    assert judge_each(restate(raws[0], verifying_key_digest=bytes(32))) == [Verdict.WRONG_KEY]
    assert judge_each(b"zkpotupd" + raws[0][8:], raws[0][:-1], b"") == [Verdict.MALFORMED] * 3
    assert UpdateEnvelope.decode(raws[0]) is None
    assert judge([raws[0], b"?", raws[2]], expect(chain())) == (Verdict.MALFORMED, 1)
    bent = raws[1][:-32] + b"\xff" * 32  # D_A as no point
    assert judge([raws[0], bent, raws[2]], expect(chain()))[1] == 1


def test_one_false_proof_fails_a_trajectory(raws: list[bytes]) -> None:
    other = chain()[1].prove(t=0).envelope
    mixed = StepEnvelope.decode(raws[1])
    assert mixed is not None
    false = replace(mixed, proof=other[-224:]).encode()
    assert judge([raws[0], false, raws[2]], expect(chain())) == (FAILED, 1)
    assert judge([raws[0][:-224] + other[-224:]], expect(chain()[:1])) == (FAILED, 0)


def test_true_steps_among_false_ones_pass_each_by_itself(raws: list[bytes]) -> None:
    """The same one twice is two true statements, of which a chain takes the first alone."""
    proof = chain()[1].prove(t=0).envelope[-224:]
    false = raws[1][:-224] + proof
    found = judge_each(raws[0], false, raws[2], b"", raws[0], restate(raws[2], step=1))
    assert found == [VALID, FAILED, VALID, Verdict.MALFORMED, VALID, FAILED]
    assert judge([raws[0], *raws], expect(chain())) == (Verdict.WRONG_STATEMENT, 1)
    assert judge([], expect(chain())) == (Verdict.WRONG_STATEMENT, 0)
    assert judge(raws, expect([])) == (Verdict.WRONG_STATEMENT, 0)


# -- what the prover refuses -----------------------------------------------------------------------


def test_what_does_not_belong_together_is_refused() -> None:
    step = chain()[0]
    for change in ({"before": step.after}, {"data": chain()[1].data}):
        with pytest.raises(SelfCheckFailed):
            step.prove(**change)
    other = compile_step(make_small_recipe([4, 3, 2], rate=2))
    key = setup_step(other, random_bytes=seeded(5), backend=BACKEND)
    with pytest.raises(KeyMismatch, match="another circuit than a training step of mlp-4-3-2"):
        compile_step_for_key(StepCard.of(step_circuit()), key.verifying)
    assert compile_step_for_key(StepCard.of(other), key.verifying).digest == other.digest
