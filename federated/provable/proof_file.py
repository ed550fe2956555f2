"""A proof of training as one file: all that a verifier needs beside the keys.

    trajectory, batches   the files of commitments, as they lie on disk
    start, seed           the public model that training began from, and what was drawn from where
    n_drawn, beacon       how many steps are proven, and by what they were drawn
    steps, export         their envelopes, and that of the model at the end

Steps are drawn from the beacon and the commitments: a beacon that nobody knew when they were made
lets nobody choose. That it is such a one no file can show: who verifies has to know the beacon, and
the commitments from before it. Without one they are drawn from the commitments alone, and who
cheats may commit again, under other blindings, until a draw suits it.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np

from consensus.learning.samples import draw_nested
from prover.training.commitments import MAX_STEPS, BatchCommitments, TrajectoryCommitments
from prover.training.draws import order_batches
from prover.wire.kinds import NUMBER_BYTES, Bytes, Listed, Number
from prover.wire.records import Document, encode_fields, header
from prover.wire.training import EnvelopeBytes

MAGIC = b"zkpottrf"
SEED_BYTES = NUMBER_BYTES
MAX_BEACON_BYTES = 64
MAX_START_BYTES = 1 << 27
_DRAW = b"zkpot drawn steps of a file v1"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class TrainingProof(Document):
    """What is said of a training, with its proofs; envelopes are not decoded here.

    start   : the .zkq file of the public model; empty: it was drawn from the seed
    seed    : that the order of batches was drawn from, as `zkpot train --seed` takes it, in 8
              bytes; empty: the order is whatever the trajectory says
    n_drawn : how many steps are proven; all of them: nothing was drawn
    beacon  : of the draw; empty: none but the commitments themselves
    steps   : a `StepEnvelope` for each of `chosen`, in their order
    export  : the `ExportEnvelope` of the masters at the end
    """

    HEADER: ClassVar[bytes] = header(MAGIC, 1)
    MAX_BYTES: ClassVar[int] = 1 << 28
    NAME: ClassVar[str] = "proof of training"
    NEXT_STEP: ClassVar[str] = "fetch it again, or make it again with `zkpot prove training`"
    trajectory: TrajectoryCommitments
    batches: BatchCommitments
    start: Annotated[bytes, Bytes(0, MAX_START_BYTES)]
    seed: Annotated[bytes, Bytes(0, SEED_BYTES, step=SEED_BYTES)]
    n_drawn: Annotated[int, Number(1, MAX_STEPS)]
    beacon: Annotated[bytes, Bytes(0, MAX_BEACON_BYTES)]
    steps: Annotated[tuple[EnvelopeBytes, ...], Listed(1, MAX_STEPS)]
    export: EnvelopeBytes

    def check_whole(self) -> None:
        n, path = self.n_steps, self.trajectory
        self.require(path.batches == self.batches.digest, "is on other committed batches")
        fits = int(path.numbers.max()) < len(self.batches.d)
        self.require(fits, "names a batch that was not committed to")
        self.require(bool(self.start or self.seed), "says nothing of its start")
        self.require(self.n_drawn <= n, "has drawn more steps than there are")
        self.require(self.n_drawn < n or not self.beacon, "has a beacon, and nothing to draw")
        fits = len(self.steps) == self.n_drawn
        self.require(fits, "has not one proof for each step that it has to prove")

    @property
    def n_steps(self) -> int:
        return len(self.trajectory.d)

    @property
    def is_full(self) -> bool:
        """Whether each step is proven."""
        return self.n_drawn == self.n_steps

    @property
    def chosen(self) -> tuple[int, ...]:
        """Which steps are proven, ascending."""
        return choose_steps(self.trajectory, self.n_drawn, self.beacon)


def choose_steps(trajectory: TrajectoryCommitments, n_drawn: int, beacon: bytes) -> tuple[int, ...]:
    """Which steps have to be proven, ascending: all when n_drawn is their number, or more.

    beacon : empty: none but the commitments
    holds  : they are among those of a greater n_drawn. The number stands in the file, so a prover
             chooses it knowing the beacon; independent draws for each would be as many chances
    """
    seed = sha256(encode_fields([_DRAW, beacon, trajectory.digest])).digest()
    n_steps = len(trajectory.d)
    return tuple(draw_nested(seed, n_steps, min(n_drawn, n_steps)).tolist())


def has_drawn_order(trajectory: TrajectoryCommitments, n_batches: int, seed: bytes) -> bool:
    """Whether each step is on the batch that this seed draws for it."""
    n_steps = len(trajectory.numbers)
    order = order_batches(seed, n_batches=n_batches, n_steps=n_steps)
    return np.array_equal(trajectory.numbers, order)


def is_training_proof(path: Path) -> bool:
    """Whether a file begins as a proof of training does. Raises OSError."""
    with path.open("rb") as stream:
        return stream.read(len(MAGIC)) == MAGIC
