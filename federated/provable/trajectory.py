"""A trajectory: how a client's weights went from a public start to what it proves, step by step.

    start      M(0), public                         D_M(0) opens under the blinding 0
    step t     M(t) -> M(t + 1) on batch number[t]  D_M(t + 1) under a blinding of its own

The trajectory and its blindings are the owner's alone; the commitments are what everybody sees
before a beacon draws steps. A file is what its bytes say and no more: whether each step is one is
asked by whoever proves it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Self

import numpy as np

from federated.provable.batches import CommittedBatches
from federated.provable.files import read_bounded
from federated.provable.steps import train_steps
from kernels.array import FrArray, G1Array
from kernels.bn254 import R
from kernels.numpy_types import Int32Array, Int64Array
from prover.errors import FormatError, ShapeMismatch
from prover.model.network import QuantizedModel
from prover.model.zkq import encode_model
from prover.pedersen.commitment import Blinding, Committer, ModelCommitment, SecretCommitment
from prover.pedersen.opening import combine_commitments
from prover.progress import StageProgress, silent
from prover.randomness import RandomBytes, draw_scalar
from prover.training.commitments import (
    MAX_BATCHES,
    MAX_STEPS,
    TRAIN_AGAIN,
    Numbers,
    RecipeBytes,
    TrajectoryCommitments,
    parse_recipe,
)
from prover.training.masters import export, start
from prover.training.recipe import TrainingRecipe
from prover.wire.array_kinds import Array, Scalars
from prover.wire.kinds import Digest
from prover.wire.records import Sealed, header

TRAJECTORY_NAME = "trajectory"
BLINDINGS_NAME = "trajectory.blindings"
COMMITMENTS_NAME = "trajectory.commit"
STAGE = "commitments to steps"
MAX_MASTER_BYTES = 1 << 31
MASTER_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Trajectory(Sealed):
    """The private half: masters before the first step and after each, flat.

    recipe, start, batches, numbers : as in the public half
    """

    HEADER: ClassVar[bytes] = header(b"zkpottrj", 2)
    MAX_BYTES: ClassVar[int] = MAX_MASTER_BYTES + (1 << 20)
    NAME: ClassVar[str] = "trajectory"
    NEXT_STEP: ClassVar[str] = TRAIN_AGAIN
    recipe: RecipeBytes
    start: Digest
    batches: Digest
    numbers: Numbers
    masters: Annotated[Int32Array, Array("int32")] = field(repr=False)

    def check_whole(self) -> None:
        recipe, n = parse_recipe(self.recipe), len(self.numbers)
        self.require(recipe is not None, "has no recipe")
        assert recipe is not None, "just required"
        self.require(1 <= n <= MAX_STEPS, f"has not 1 to {MAX_STEPS} steps")
        self.require(int(self.numbers.max()) < MAX_BATCHES, "names a batch that none can be")
        n_wires = recipe.architecture.n_parameters
        self.require(len(self.masters) == (n + 1) * n_wires, "has not all masters of each step")
        least, greatest = recipe.master_range
        fits = least <= int(self.masters.min()) and int(self.masters.max()) <= greatest
        self.require(fits, "has a master weight out of range")

    @property
    def n_steps(self) -> int:
        return len(self.numbers)

    def get_recipe(self) -> TrainingRecipe:
        """What its steps are steps of."""
        found = parse_recipe(self.recipe)
        assert found is not None, "checked when it was made"
        return found

    def get_masters(self, step: int) -> Int64Array:
        """M(step), int64[n_parameters], 0 <= step <= T. Private."""
        masters: Int64Array = self.masters.reshape(self.n_steps + 1, -1)[step].astype(np.int64)
        return masters

    def export(self) -> QuantizedModel:
        """The int8 model at its end. Private."""
        return export(self.get_recipe(), self.get_masters(self.n_steps))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrajectoryBlindings(Sealed):
    """rho of D_M(1) to D_M(T), the owner's secret. Never logged, never sent.

    commitments : digest of the public half
    """

    HEADER: ClassVar[bytes] = header(b"zkpottrb", 2)
    MAX_BYTES: ClassVar[int] = 1 << 22
    NAME: ClassVar[str] = "file of a trajectory's blindings"
    NEXT_STEP: ClassVar[str] = TRAIN_AGAIN
    commitments: Digest
    rho: Annotated[FrArray, Scalars(1, MAX_STEPS)] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PublicStart:
    """Where a trajectory begins: masters that everybody knows, and the 32 bytes that name them.

    masters : int64[n_parameters] in the recipe's range
    """

    name: bytes
    masters: Int64Array

    @classmethod
    def of_model(cls, recipe: TrainingRecipe, model: QuantizedModel) -> Self:
        """That of a .zkq model, by the sha256 of its file. Raises ShapeMismatch, RangeExceeded."""
        return cls(name=digest_model(model), masters=start(recipe, model))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class CommittedTrajectory:
    """A trajectory with its commitments and their blindings: the files of one folder."""

    trajectory: Trajectory
    public: TrajectoryCommitments
    blindings: TrajectoryBlindings

    def get_blinding(self, step: int) -> int:
        """rho of D_M(step); 0 of the public start. Secret."""
        return self.blindings.rho[step - 1 : step].to_ints()[0] if step else 0

    def get_commitment(self, step: int, committer: Committer | None = None) -> SecretCommitment:
        """D_M(step) with its rho. Secret.

        committer : of step 0 alone, whose commitment anybody can make and nobody keeps
        """
        rho = self.get_blinding(step)
        if step:
            d = self.public.d[step - 1 : step]
        else:
            assert committer is not None, "the public start is committed to here"
            d = committer.commit(self.trajectory.get_masters(0), rho)
        return SecretCommitment(public=ModelCommitment(d=d), blinding=Blinding(rho=rho))


def record_trajectory(
    recipe: TrainingRecipe,
    begin: PublicStart,
    batches: CommittedBatches,
    numbers: Int64Array,
    progress: StageProgress = silent,
) -> Trajectory:
    """Trains from a public start on the batches of these numbers, and keeps every step.

    raises : FormatError for batches of another shape; ShapeMismatch for numbers that are none of
             1 to MAX_STEPS batches, and for more steps than a file holds; RangeExceeded, for the
             owner's eyes
    """
    batches.require_recipe(recipe)
    require_length(recipe, len(numbers))
    if int(numbers.min()) < 0 or int(numbers.max()) >= batches.n_batches:
        raise ShapeMismatch(f"a step takes one of {batches.n_batches} batches")
    kept = train_steps(recipe, begin.masters, numbers, batches.get_samples, progress)
    return Trajectory(
        recipe=recipe.encode(),
        start=begin.name,
        batches=batches.public.digest,
        numbers=numbers.astype(np.uint32),
        masters=kept.reshape(-1),
    )


def require_length(recipe: TrainingRecipe, n_steps: int) -> None:
    """Raises ShapeMismatch unless a file holds so many steps."""
    a_step = MASTER_BYTES * recipe.architecture.n_parameters
    most = min(MAX_STEPS, MAX_MASTER_BYTES // a_step - 1)
    if not 1 <= n_steps <= most:
        raise ShapeMismatch(
            f"{n_steps} steps: a trajectory of {recipe.architecture.name} has 1 to {most}; "
            "train for fewer steps, and start again from their model"
        )


def commit_trajectory(
    trajectory: Trajectory,
    random_bytes: RandomBytes,
    committer: Committer,
    progress: StageProgress = silent,
) -> CommittedTrajectory:
    """Commits to the masters after each step, each under a fresh blinding.

    holds : D_M(t + 1) = D_M(t) + C(M(t + 1) - M(t); rho(t + 1) - rho(t)), and changes are shorter
            than masters, many of them zero: half the time
    """
    n = trajectory.n_steps
    rho = [draw_scalar(random_bytes) for _ in range(n)]
    points = [committer.commit(trajectory.get_masters(1), rho[0])]
    progress(STAGE, 1, n)
    for step in range(1, n):
        change = trajectory.get_masters(step + 1) - trajectory.get_masters(step)
        own = committer.commit(change, (rho[step] - rho[step - 1]) % R)
        points.append(combine_commitments(G1Array.concat([points[-1], own]), [1, 1]))
        progress(STAGE, step + 1, n)
    public = TrajectoryCommitments(
        recipe=trajectory.recipe,
        start=trajectory.start,
        batches=trajectory.batches,
        numbers=trajectory.numbers,
        d=G1Array.concat(points),
    )
    blindings = TrajectoryBlindings(commitments=public.digest, rho=FrArray.from_ints(rho))
    return CommittedTrajectory(trajectory=trajectory, public=public, blindings=blindings)


def load_trajectory(folder: Path) -> CommittedTrajectory:
    """The files of a folder. Raises FormatError, also when they are not of each other; OSError."""
    trajectory = Trajectory.decode(
        read_bounded(folder / TRAJECTORY_NAME, Trajectory.MAX_BYTES),
        where=str(folder / TRAJECTORY_NAME),
    )
    public = load_trajectory_commitments(folder / COMMITMENTS_NAME)
    blindings = TrajectoryBlindings.decode(
        read_bounded(folder / BLINDINGS_NAME, TrajectoryBlindings.MAX_BYTES),
        where=str(folder / BLINDINGS_NAME),
    )
    shared = ("recipe", "start", "batches")
    is_of = all(getattr(trajectory, name) == getattr(public, name) for name in shared)
    is_of = is_of and np.array_equal(trajectory.numbers, public.numbers)
    if not is_of or blindings.commitments != public.digest or len(blindings.rho) != len(public.d):
        raise FormatError(
            f"{TRAJECTORY_NAME}, {COMMITMENTS_NAME} and {BLINDINGS_NAME} are not of one training",
            where=str(folder),
            next_step=TRAIN_AGAIN,
        )
    return CommittedTrajectory(trajectory=trajectory, public=public, blindings=blindings)


def load_trajectory_commitments(path: Path) -> TrajectoryCommitments:
    """The public half alone. Raises FormatError, OSError."""
    raw = read_bounded(path, TrajectoryCommitments.MAX_BYTES)
    return TrajectoryCommitments.decode(raw, where=str(path))


def digest_model(model: QuantizedModel) -> bytes:
    """sha256 of the model's .zkq file."""
    return hashlib.sha256(encode_model(model)).digest()
