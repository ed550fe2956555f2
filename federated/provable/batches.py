"""A client's samples as numbered batches, and the commitments that say so before any beacon.

    D_X,b = Pedersen commitment to batch b's wires (`prover.training.batch`) under a blinding of
            its own

Samples are shuffled once, by the owner's own randomness, so that folders sorted by class make
batches of all classes; the private file has them in that order. All batches are full but the last.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np

from federated.data import LabeledImages
from federated.provable.files import read_bounded
from kernels.array import FrArray, G1Array
from kernels.numpy_types import UInt8Array
from prover.errors import FormatError
from prover.model.network import Architecture
from prover.pedersen.commitment import Blinding, Committer, ModelCommitment, SecretCommitment
from prover.progress import StageProgress, silent
from prover.randomness import RandomBytes, draw_scalar
from prover.training.batch import count_batch_wires, make_batch
from prover.training.commitments import COMMIT_AGAIN, MAX_BATCHES, BatchCommitments
from prover.training.recipe import TrainingRecipe
from prover.wire.array_kinds import Array, Scalars
from prover.wire.kinds import Digest
from prover.wire.records import Sealed, header

PUBLIC_NAME, SECRET_NAME = "batches.commit", "batches.secret"
STAGE = "commitments to batches"
MAX_PIXEL_BYTES = 1 << 31
_WORD_BYTES = 8

Bytewise = Annotated[UInt8Array, Array("uint8")]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class BatchSecret(Sealed):
    """The private half: samples in their order, and the blinding of each batch's commitment.

    commitments : digest of the public half
    """

    HEADER: ClassVar[bytes] = header(b"zkpotdas", 2)
    MAX_BYTES: ClassVar[int] = MAX_PIXEL_BYTES + (1 << 27)
    NAME: ClassVar[str] = "secret of committed batches"
    NEXT_STEP: ClassVar[str] = COMMIT_AGAIN
    commitments: Digest
    rho: Annotated[FrArray, Scalars(1, MAX_BATCHES)] = field(repr=False)
    pixels: Bytewise = field(repr=False)
    labels: Bytewise = field(repr=False)

    def check_whole(self) -> None:
        self.require(len(self.labels) > 0, "has no samples")
        self.require(len(self.pixels) <= MAX_PIXEL_BYTES, f"has over {MAX_PIXEL_BYTES} bytes")
        self.require(len(self.pixels) % len(self.labels) == 0, "has not one sample for each label")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class CommittedBatches:
    """Numbered batches with their commitments: both files of a folder, which belong together."""

    public: BatchCommitments
    secret: BatchSecret

    @property
    def n_samples(self) -> int:
        return len(self.secret.labels)

    @property
    def n_batches(self) -> int:
        return len(self.public.d)

    def get_samples(self, number: int) -> tuple[UInt8Array, UInt8Array]:
        """Images uint8[n, n_in] and labels uint8[n] of a batch, without padding."""
        size = self.public.batch_size
        labels = self.secret.labels
        images = self.secret.pixels.reshape(len(labels), -1)
        return images[number * size : (number + 1) * size], labels[number * size :][:size]

    def get_blinding(self, number: int) -> int:
        """rho of D_X,b. Secret."""
        return self.secret.rho[number : number + 1].to_ints()[0]

    def get_commitment(self, number: int) -> SecretCommitment:
        """D_X,b with its rho. Secret."""
        public = ModelCommitment(d=self.public.d[number : number + 1])
        return SecretCommitment(public=public, blinding=Blinding(rho=self.get_blinding(number)))

    def require_recipe(self, recipe: TrainingRecipe) -> None:
        """Raises FormatError unless the recipe takes such batches."""
        public, widths = self.public, recipe.widths
        if not public.fits(recipe):
            raise FormatError(
                f"it has batches of {public.batch_size} samples of {public.n_in} values and "
                f"{public.n_classes} classes, and the recipe takes {recipe.batch_size} of "
                f"{widths[0]} and {widths[-1]}",
                where="committed batches",
                next_step="commit the data again with another --batch or --arch",
            )


def commit_batches(
    samples: LabeledImages,
    *,
    n_classes: int,
    batch_size: int,
    random_bytes: RandomBytes,
    committer: Committer,
    progress: StageProgress = silent,
) -> CommittedBatches:
    """Shuffles the samples, cuts them into batches, and commits to each under a fresh blinding.

    random_bytes : of the system, for whom samples are secrets
    committer    : of `count_wires` values, or more
    cost         : one sum over the wires a batch; of 8 bits, so most are free where pixels are 0
    raises       : ShapeMismatch
    """
    words = np.frombuffer(random_bytes(_WORD_BYTES * len(samples)), dtype="<u8")
    shuffled = samples.take(np.argsort(words, kind="stable").astype(np.int64))
    recipe = _describe(shuffled.images.shape[1], n_classes, batch_size)
    starts = range(0, len(shuffled), batch_size)
    rho = [draw_scalar(random_bytes) for _ in starts]
    points = []
    for number, (at, blinding) in enumerate(zip(starts, rho, strict=True)):
        wires = make_batch(
            recipe,
            shuffled.images[at : at + batch_size],
            shuffled.labels[at : at + batch_size],
        ).wires
        points.append(committer.commit(wires, blinding))
        progress(STAGE, number + 1, len(starts))
    public = BatchCommitments(
        n_in=recipe.widths[0],
        n_classes=n_classes,
        batch_size=batch_size,
        d=G1Array.concat(points),
    )
    secret = BatchSecret(
        commitments=public.digest,
        rho=FrArray.from_ints(rho),
        pixels=shuffled.images.reshape(-1),
        labels=shuffled.labels,
    )
    return CommittedBatches(public=public, secret=secret)


def count_wires(n_in: int, n_classes: int, batch_size: int) -> int:
    """How many values the commitment to a batch is to."""
    return count_batch_wires(_describe(n_in, n_classes, batch_size))


def load_commitments(folder: Path) -> BatchCommitments:
    """The public half alone. Raises FormatError, OSError."""
    path = folder / PUBLIC_NAME
    raw = read_bounded(path, BatchCommitments.MAX_BYTES)
    return BatchCommitments.decode(raw, where=str(path))


def load_batches(folder: Path) -> CommittedBatches:
    """Both files of a folder. Raises FormatError, also when they are not of each other; OSError."""
    public, path = load_commitments(folder), folder / SECRET_NAME
    secret = BatchSecret.decode(read_bounded(path, BatchSecret.MAX_BYTES), where=str(path))
    n_batches = -(-len(secret.labels) // public.batch_size)
    belongs = (
        secret.commitments == public.digest
        and len(secret.rho) == len(public.d) == n_batches
        and len(secret.pixels) == public.n_in * len(secret.labels)
        and int(secret.labels.max()) < public.n_classes
    )
    if not belongs:
        raise FormatError(
            f"it is not the secret of {PUBLIC_NAME} beside it",
            where=str(path),
            next_step=COMMIT_AGAIN,
        )
    return CommittedBatches(public=public, secret=secret)


def _describe(n_in: int, n_classes: int, batch_size: int) -> TrainingRecipe:
    """A recipe of one layer: of a recipe, batches see the two ends and their size alone."""
    return TrainingRecipe(architecture=Architecture.mlp([n_in, n_classes]), batch_size=batch_size)
