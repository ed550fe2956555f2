"""Trajectories: each step is one, each commitment opens, and files are of each other or refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federated.provable import trajectory as module
from federated.provable.steps import STAGE, train_steps
from federated.provable.trajectory import (
    BLINDINGS_NAME,
    COMMITMENTS_NAME,
    TRAJECTORY_NAME,
    CommittedTrajectory,
    PublicStart,
    Trajectory,
    TrajectoryBlindings,
    digest_model,
    load_trajectory,
    load_trajectory_commitments,
    record_trajectory,
    require_length,
)
from prover.errors import FieldInvalid, FormatError, RangeExceeded, ShapeMismatch
from prover.pedersen.opening import opens
from prover.training.commitments import MAX_STEPS, TrajectoryCommitments
from prover.training.draws import draw_start
from prover.training.masters import export, start
from prover.training.step import train_step
from tests.support.provable import (
    make_batches,
    make_committer,
    make_numbers,
    make_small_recipe,
    make_start,
    make_trajectory,
)
from tests.support.training import step_slowly


def save(folder: Path, committed: CommittedTrajectory) -> None:
    (folder / TRAJECTORY_NAME).write_bytes(committed.trajectory.encode())
    (folder / BLINDINGS_NAME).write_bytes(committed.blindings.encode())
    (folder / COMMITMENTS_NAME).write_bytes(committed.public.encode())


def test_each_step_is_the_evaluators_and_that_of_its_formulas() -> None:
    recipe, batches, numbers = make_small_recipe(), make_batches(), make_numbers()
    trajectory = make_trajectory().trajectory
    model = draw_start(recipe, b"start")
    assert (trajectory.get_masters(0) == start(recipe, model)).all()
    assert trajectory.start == digest_model(model)
    assert trajectory.batches == batches.public.digest
    assert trajectory.numbers.tolist() == numbers.tolist()
    for step, number in enumerate(numbers.tolist()):
        before, after = trajectory.get_masters(step), trajectory.get_masters(step + 1)
        images, labels = batches.get_samples(number)
        assert (train_step(recipe, before, images, labels).after == after).all()
        slowly = step_slowly(recipe, before.tolist(), images.tolist(), labels.tolist())
        assert after.tolist() == slowly
        assert (after != before).any()
    assert (trajectory.export().wires == export(recipe, after).wires).all()


def test_masters_that_no_int8_model_has_are_a_start_too() -> None:
    """As the mean of a round's masters is; by whatever name it has."""
    recipe, batches, numbers = make_small_recipe(), make_batches(), make_numbers(2)
    masters = make_start(recipe).masters + np.arange(recipe.architecture.n_parameters)
    begin = PublicStart(name=b"\x07" * 32, masters=masters)
    trajectory = record_trajectory(recipe, begin, batches, numbers)
    assert trajectory.start == begin.name
    assert (trajectory.get_masters(0) == masters).all()
    after = train_step(recipe, masters, *batches.get_samples(int(numbers[0]))).after
    assert (trajectory.get_masters(1) == after).all()


def test_commitments_open_to_masters_and_to_nothing_else() -> None:
    committed, committer = make_trajectory(), make_committer()
    assert committed.get_blinding(0) == 0, "the start is public: anybody commits to it"
    for step in range(1, 8):
        d, rho = committed.public.d[step - 1 : step], committed.get_blinding(step)
        assert opens(d, committed.trajectory.get_masters(step), rho, committer)
        assert not opens(d, committed.trajectory.get_masters(step - 1), rho, committer)
        assert not opens(d, committed.trajectory.get_masters(step), 0, committer)
    rho = committed.blindings.rho.to_ints()
    assert len(set(rho)) == 7
    assert max(rho).bit_length() > 250


def test_progress_and_errors_name_the_step() -> None:
    recipe, batches = make_small_recipe(), make_batches()
    seen: list[tuple[str, int, int]] = []
    masters = start(recipe, draw_start(recipe, b"start"))
    train_steps(
        recipe, masters, make_numbers(3), batches.get_samples, lambda *now: seen.append(now)
    )
    assert seen == [(STAGE, done, 3) for done in (1, 2, 3)]
    numbers = make_numbers(60)
    hasty = replace(recipe, rate=64)
    with pytest.raises(RangeExceeded, match="take ") as caught:
        train_steps(hasty, masters, numbers, batches.get_samples)
    words = caught.value.quantity.split()
    step, number = int(words[1]), int(words[3].strip("):"))
    assert number == numbers[step]
    assert f"layer {caught.value.layer}: step {step} (batch {number}): " in str(caught.value)
    assert str(caught.value.value) not in caught.value.public_message
    assert step == 0 or train_steps(hasty, masters, numbers[:step], batches.get_samples).any()


def test_files_come_back(tmp_path: Path) -> None:
    committed = make_trajectory()
    save(tmp_path, committed)
    found = load_trajectory(tmp_path)
    assert found.trajectory.encode() == committed.trajectory.encode()
    assert found.public.encode() == committed.public.encode()
    assert found.blindings.encode() == committed.blindings.encode()
    assert found.trajectory.get_recipe() == make_small_recipe()
    assert load_trajectory_commitments(tmp_path / COMMITMENTS_NAME).digest == found.public.digest
    shown = str(committed) + str(committed.trajectory) + str(committed.blindings)
    assert str(committed.get_blinding(1)) not in shown
    assert str(int(committed.trajectory.get_masters(1)[0])) not in shown


@pytest.mark.parametrize("name", [TRAJECTORY_NAME, BLINDINGS_NAME, COMMITMENTS_NAME])
def test_files_of_two_trainings_do_not_belong_together(tmp_path: Path, name: str) -> None:
    save(tmp_path, make_trajectory(6, seed=2))
    other = (tmp_path / name).read_bytes()
    save(tmp_path, make_trajectory())
    (tmp_path / name).write_bytes(other)
    with pytest.raises(FormatError, match="not of one training"):
        load_trajectory(tmp_path)


CHANGES: dict[str, Callable[[Trajectory], dict[str, object]]] = {
    "has no recipe": lambda t: {"recipe": t.recipe.replace(b'"rate":1', b'"rate": 1')},
    "has not 1 to": lambda t: {"numbers": t.numbers[:0]},
    "names a batch": lambda t: {"numbers": t.numbers + np.uint32(1 << 16)},
    "has not all masters": lambda t: {"masters": t.masters[:-1]},
    "a master weight out of range": lambda t: {"masters": t.masters + np.int32(1 << 28)},
    "is no flat array of int32": lambda t: {"masters": t.masters.astype(np.int64)},
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_no_training_leaves_is_refused(what: str) -> None:
    trajectory = make_trajectory(2).trajectory
    with pytest.raises(FieldInvalid, match=what):
        replace(trajectory, **CHANGES[what](trajectory))  # type: ignore[arg-type]


def test_commitments_say_what_each_step_took() -> None:
    public = make_trajectory(2).public
    with pytest.raises(FieldInvalid, match="one commitment for each step"):
        replace(public, numbers=public.numbers[:1])
    with pytest.raises(FieldInvalid, match="names a batch"):
        replace(public, numbers=public.numbers + np.uint32(1 << 16))
    with pytest.raises(FieldInvalid, match="no recipe"):
        replace(public, recipe=b"[" * 50_000)


@pytest.mark.parametrize("kind", [Trajectory, TrajectoryCommitments, TrajectoryBlindings])
def test_bytes_that_are_no_file_are_refused(kind: type[Trajectory]) -> None:
    committed = make_trajectory(2)
    parts = (committed.trajectory, committed.public, committed.blindings)
    raw = next(part for part in parts if isinstance(part, kind)).encode()
    assert kind.decode(raw).encode() == raw
    for other in (b"", raw[:-1], raw + b"\x00", b"x" + raw[1:], raw[:8] + b"\x09" + raw[9:]):
        with pytest.raises(FormatError, match="zkpot train --provable"):
            kind.decode(other)


def test_steps_that_no_file_holds_are_refused_before_any(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, batches = make_small_recipe(), make_batches()
    begin = make_start(recipe)
    with pytest.raises(ShapeMismatch, match=f"has 1 to {MAX_STEPS}"):
        require_length(recipe, MAX_STEPS + 1)
    monkeypatch.setattr(module, "MAX_MASTER_BYTES", 4 * recipe.architecture.n_parameters * 4)
    require_length(recipe, 3)
    for n_steps in (0, 4):
        with pytest.raises(ShapeMismatch, match="has 1 to 3; train for fewer steps"):
            record_trajectory(recipe, begin, batches, make_numbers(n_steps))
    for number in (-1, 3):
        with pytest.raises(ShapeMismatch, match="one of 3 batches"):
            record_trajectory(recipe, begin, batches, np.array([0, number]))


@cache
def encode_private() -> tuple[tuple[type[Trajectory] | type[TrajectoryBlindings], bytes], ...]:
    committed = make_trajectory(2)
    private = (committed.trajectory, committed.blindings)
    return tuple((type(one), one.encode()) for one in private)


@settings(max_examples=40)
@given(st.integers(0, 1 << 20), st.integers(1, 255))
def test_damaged_files_are_seen_when_they_are_read(at: int, flip: int) -> None:
    for kind, whole in encode_private():
        raw = bytearray(whole)
        raw[at % len(raw)] ^= flip
        with pytest.raises(FormatError, match="zkpot train"):
            kind.decode(bytes(raw))


def test_a_damaged_weight_is_seen_though_all_else_fits() -> None:
    raw = bytearray(encode_private()[0][1])
    raw[-40] ^= 1
    with pytest.raises(FormatError, match="its checksum is another"):
        Trajectory.decode(bytes(raw))
