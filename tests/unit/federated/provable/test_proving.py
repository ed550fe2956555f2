"""Proofs of a trajectory's steps, under one key: of the drawn steps, and of nothing else."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from random import Random

import numpy as np
import pytest

from consensus.learning.training import draw_steps
from federated.data import LabeledImages
from federated.provable.batches import commit_batches
from federated.provable.proving import StepJudge, StepProver, compute_escape
from federated.provable.trajectory import PublicStart, commit_trajectory, record_trajectory
from prover.circuit.training.inputs import StepInputs
from prover.errors import ShapeMismatch
from prover.groth16.verify_training import verify_steps
from prover.training.draws import draw_start, order_batches
from prover.wire.verdict import Verdict
from tests.support.trajectories import (
    BACKEND,
    OCCASION,
    committer,
    public_model,
    recipe,
    step_circuit,
    step_key,
)

RNG = np.random.default_rng(2)
N_STEPS = 5
PLACE = (OCCASION.round_index, OCCASION.client_key)
SAMPLES = LabeledImages(
    images=RNG.integers(0, 256, (10, 4), dtype=np.uint8),
    labels=RNG.integers(0, 2, 10, dtype=np.uint8),
)
BATCHES = commit_batches(
    SAMPLES,
    n_classes=2,
    batch_size=recipe().batch_size,
    random_bytes=Random(3).randbytes,
    committer=committer(),
)
COMMITTED = commit_trajectory(
    record_trajectory(
        recipe(),
        PublicStart.of_model(recipe(), public_model()),
        BATCHES,
        order_batches(b"beacon", n_batches=BATCHES.n_batches, n_steps=N_STEPS),
    ),
    Random(4).randbytes,
    committer(),
)


@pytest.fixture(scope="module")
def prover() -> StepProver:
    ticks = count()
    return StepProver(
        step=step_circuit(),
        key=step_key(),
        occasion=OCCASION,
        committer=committer(),
        backend=BACKEND,
        random_bytes=Random(5).randbytes,
        clock=lambda: float(next(ticks)),
    )


@pytest.fixture(scope="module")
def proofs(prover: StepProver) -> tuple[bytes, ...]:
    return prover.prove(COMMITTED, BATCHES, range(N_STEPS))


JUDGE = StepJudge(
    recipe=recipe(),
    occasion=OCCASION,
    public=COMMITTED.public,
    batches=BATCHES.public,
    begin=PublicStart.of_model(recipe(), public_model()),
)


def find_fault(judge: StepJudge, raws: list[bytes], chosen: list[int]) -> str | None:
    """Why the envelopes do not prove the chosen steps, in their order; None when they do."""
    misfit = judge.find_misfit(raws, chosen, get_committer=committer)
    if misfit is not None:
        return misfit
    verdicts = verify_steps(
        raws,
        key=step_key().verifying,
        inputs=StepInputs(plan=step_circuit().plan),
        random_bytes=Random(6).randbytes,
    )
    wrong = [t for t, v in zip(chosen, verdicts, strict=True) if v is not Verdict.VALID]
    return f"the proof of step {wrong[0]} does not hold" if wrong else None


def test_all_steps_or_drawn_ones_are_proven(proofs: tuple[bytes, ...]) -> None:
    assert find_fault(JUDGE, list(proofs), list(range(N_STEPS))) is None
    chosen = draw_steps(b"later beacon", *PLACE, n_steps=N_STEPS, n_drawn=2)
    assert len(chosen) == 2
    assert find_fault(JUDGE, [proofs[t] for t in chosen], chosen) is None


def test_proofs_of_something_else_are_refused(proofs: tuple[bytes, ...]) -> None:
    for raws, chosen, why in (
        ([proofs[1]], [2], "step 2 is of something else"),
        ([proofs[0], proofs[2]], [0, 1], "step 1 is of something else"),
        ([proofs[0]], [0, 1], "1 proofs for 2 steps"),
        ([b""], [0], "step 0 is of something else"),
        ([proofs[3][:-1] + bytes([proofs[3][-1] ^ 1])], [3], "step 3 does not hold"),
    ):
        assert why in str(find_fault(JUDGE, raws, chosen))


def test_another_trajectory_start_or_data_is_refused(proofs: tuple[bytes, ...]) -> None:
    public = COMMITTED.public
    swapped = replace(public, numbers=np.roll(public.numbers, 1))
    other = draw_start(recipe(), b"other")
    points = replace(BATCHES.public, d=public.d[:3])
    for judge, why in (
        (replace(JUDGE, public=swapped), "of something else"),
        (replace(JUDGE, begin=PublicStart.of_model(recipe(), other)), "starts from another model"),
        (replace(JUDGE, batches=points), "other committed batches"),
        (replace(JUDGE, recipe=replace(recipe(), rate=2)), "another recipe"),
        (replace(JUDGE, occasion=replace(OCCASION, round_index=9)), "of something else"),
    ):
        assert why in str(find_fault(judge, list(proofs), list(range(N_STEPS))))


def test_a_client_cannot_prove_what_it_did_not_do(prover: StepProver) -> None:
    trajectory = COMMITTED.trajectory
    masters = trajectory.masters.copy()
    masters[-1] += 1
    lie = replace(COMMITTED, trajectory=replace(trajectory, masters=masters))
    with pytest.raises(ShapeMismatch, match=f"step {N_STEPS - 1} of the trajectory is no step"):
        prover.prove(lie, BATCHES, [N_STEPS - 1])
    elsewhere = replace(COMMITTED, trajectory=replace(trajectory, batches=bytes(32)))
    with pytest.raises(ShapeMismatch, match="other committed batches"):
        prover.prove(elsewhere, BATCHES, [0])


def test_drawn_steps_are_different_and_a_cheater_seldom_escapes() -> None:
    beacons = [i.to_bytes(2, "little") for i in range(400)]
    drawn = [draw_steps(beacon, *PLACE, n_steps=20, n_drawn=5) for beacon in beacons]
    assert all(len(set(one)) == 5 and max(one) < 20 for one in drawn)
    escaped = sum(not set(one) & {3, 4} for one in drawn) / len(drawn)
    assert abs(escaped - compute_escape(n_steps=20, n_drawn=5, n_bad=2)) < 0.08
    assert compute_escape(n_steps=20, n_drawn=5, n_bad=2) < (1 - 2 / 20) ** 5
    assert compute_escape(n_steps=20, n_drawn=20, n_bad=1) == 0
    assert compute_escape(n_steps=20, n_drawn=0, n_bad=1) == 1
