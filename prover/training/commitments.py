"""What everybody sees of provable training: commitments to batches and to the steps on them.

    batches     D_X,b of every batch, by number, before any beacon draws their order
    trajectory  D_M(1), ..., D_M(T), before any beacon draws steps

Both are files, and blobs of a chain. What they commit to is their owner's (`federated.provable`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from kernels.array import G1Array
from kernels.encoding import encode_g1
from kernels.numpy_types import UInt32Array
from prover.errors import ArchitectureInvalid, RecipeInvalid
from prover.model.layers import MAX_DIMENSION
from prover.model.zkq import MAX_MANIFEST_BYTES
from prover.training.recipe import TrainingRecipe
from prover.wire.array_kinds import Array, Points
from prover.wire.kinds import Bytes, Digest, Number
from prover.wire.records import Document, header
from prover.wire.training import StepStatement

MAX_BATCHES = 1 << 16
MAX_STEPS = 1 << 16
MAX_RECIPE_BYTES = MAX_MANIFEST_BYTES + (1 << 10)
COMMIT_AGAIN = "commit the data again with `zkpot data commit`"
TRAIN_AGAIN = "train again with `zkpot train --provable`"

RecipeBytes = Annotated[bytes, Bytes(1, MAX_RECIPE_BYTES)]
Numbers = Annotated[UInt32Array, Array("uint32")]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BatchCommitments(Document):
    """D_X,b of every batch, in the order of their numbers.

    n_in       : values of a sample; n_classes : labels are below
    batch_size : samples of a batch; the last has as many or fewer, which is not shown
    """

    HEADER: ClassVar[bytes] = header(b"zkpotdat", 1)
    MAX_BYTES: ClassVar[int] = 1 << 22
    NAME: ClassVar[str] = "file of committed batches"
    NEXT_STEP: ClassVar[str] = COMMIT_AGAIN
    n_in: Annotated[int, Number(1, MAX_DIMENSION)]
    n_classes: Annotated[int, Number(2, 256)]
    batch_size: Annotated[int, Number(*TrainingRecipe.LIMITS["batch_size"])]
    d: Annotated[G1Array, Points(G1Array, 1, MAX_BATCHES)]

    @property
    def digest(self) -> bytes:
        """sha256 of the file: by which trajectories and secrets name it."""
        return hashlib.sha256(self.encode()).digest()

    def fits(self, recipe: TrainingRecipe) -> bool:
        """Whether the recipe takes such batches."""
        wanted = (recipe.widths[0], recipe.widths[-1], recipe.batch_size)
        return (self.n_in, self.n_classes, self.batch_size) == wanted


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrajectoryCommitments(Document):
    """D_M(1) to D_M(T), and what each step is said to have taken.

    recipe  : its canonical bytes
    start   : sha256 of the .zkq file of the public model that training began from
    batches : digest of the committed batches
    numbers : of the batch of each step
    """

    HEADER: ClassVar[bytes] = header(b"zkpottrc", 1)
    MAX_BYTES: ClassVar[int] = 1 << 22
    NAME: ClassVar[str] = "file of a trajectory's commitments"
    NEXT_STEP: ClassVar[str] = TRAIN_AGAIN
    recipe: RecipeBytes
    start: Digest
    batches: Digest
    numbers: Numbers
    d: Annotated[G1Array, Points(G1Array, 1, MAX_STEPS)]

    def check_whole(self) -> None:
        self.require(parse_recipe(self.recipe) is not None, "has no recipe")
        self.require(len(self.d) == len(self.numbers), "has not one commitment for each step")
        self.require(int(self.numbers.max()) < MAX_BATCHES, "names a batch that none can be")

    @property
    def digest(self) -> bytes:
        """sha256 of the file."""
        return hashlib.sha256(self.encode()).digest()


def expect_step(
    found: StepStatement,
    t: int,
    *,
    path: TrajectoryCommitments,
    data: BatchCommitments,
    start: bytes,
) -> StepStatement:
    """What a statement of step t of a trajectory has to be: `found`, but for all that the
    commitments fix.

    path, data : the trajectory is on batches that there are
    start      : D_M(0), compressed; read for step 0 alone
    """
    number = int(path.numbers[t])
    n_real = data.batch_size
    if number == len(data.d) - 1:
        # How many samples the last batch has is not published; its commitment fixes it, since
        # padding has the label 0 and the circuit counts all others.
        n_real = min(found.n_real, n_real)
    return replace(
        found,
        step=t,
        n_real=n_real,
        before=_encode(path.d, t - 1) if t else start,
        after=_encode(path.d, t),
        data=_encode(data.d, number),
    )


def _encode(points: G1Array, index: int) -> bytes:
    return encode_g1(points[index : index + 1])


def parse_recipe(raw: bytes) -> TrainingRecipe | None:
    """The recipe of canonical bytes; None for all others."""
    try:
        found = TrainingRecipe.from_manifest(json.loads(raw.decode("ascii")))
    except (RecipeInvalid, ArchitectureInvalid, ValueError, RecursionError):
        return None
    return found if found.encode() == raw else None
