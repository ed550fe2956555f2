"""An order of training proofs: what a prover that is trusted with a trajectory is handed.

    order = length of the head, 4 bytes | head | a record of each step | the record of the export

Each record has all that its proof is made of, and the head says where it lies: proofs are made one
by one, by whoever reads no more than a part. All of it is secret but for the head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Annotated, BinaryIO, ClassVar, TypeVar

import numpy as np

from federated.provable.batches import CommittedBatches
from federated.provable.trajectory import CommittedTrajectory
from kernels.numpy_types import Int32Array, UInt8Array, UInt32Array
from prover.errors import FieldInvalid, FormatError
from prover.pedersen.commitment import Committer, SecretCommitment
from prover.training.commitments import MAX_RECIPE_BYTES, MAX_STEPS, RecipeBytes, parse_recipe
from prover.training.recipe import TrainingRecipe
from prover.wire.array_kinds import Array
from prover.wire.kinds import DIGEST_BYTES, Bytes
from prover.wire.records import BARE, LENGTH_BYTES, Document, Record, header
from prover.wire.statement import Occasion
from prover.wire.training import MAX_ROUND_STEPS

ORDER_AGAIN = "write the order again from the files of `zkpot train --provable`"
MAX_HEAD_BYTES = MAX_RECIPE_BYTES + 8 * (MAX_ROUND_STEPS + 1) + (1 << 10)
NAME = "order of training proofs"
_SECRETS_BYTES = 1 << 10  # of a record, beside its numbers

ReadRange = Callable[[int, int], bytes]
"""read(start, length) gives these bytes of an order, fewer where it ends before."""
Key = Annotated[bytes, Bytes(0, DIGEST_BYTES, step=DIGEST_BYTES)]
Masters = Annotated[Int32Array, Array("int32")]
Pixels = Annotated[UInt8Array, Array("uint8")]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OrderHead(Document):
    """What is asked for.

    step_key, export_key : sha256 of the verifying keys that it must be proven under; empty: of the
                           prover's own, whichever they are
    steps   : t of each step to prove, ascending
    lengths : of the records in bytes, the last one of the export
    """

    HEADER: ClassVar[bytes] = header(b"zkpottro", 1)
    MAX_BYTES: ClassVar[int] = MAX_HEAD_BYTES
    NAME: ClassVar[str] = NAME
    NEXT_STEP: ClassVar[str] = ORDER_AGAIN
    occasion: Annotated[Occasion, BARE]
    recipe: RecipeBytes
    step_key: Key
    export_key: Key
    steps: Annotated[UInt32Array, Array("uint32")]
    lengths: Annotated[UInt32Array, Array("uint32")]

    def check_whole(self) -> None:
        n, steps = len(self.steps), self.steps.tolist()
        self.require(parse_recipe(self.recipe) is not None, "has no recipe")
        self.require(1 <= n <= MAX_ROUND_STEPS, f"has not 1 to {MAX_ROUND_STEPS} steps")
        self.require(steps == sorted(set(steps)), "has steps that do not ascend")
        self.require(steps[-1] < MAX_STEPS, "has a step that none can be")
        self.require(len(self.lengths) == n + 1, "has not one record for each step and the export")

    @property
    def n_steps(self) -> int:
        return len(self.steps)

    def get_recipe(self) -> TrainingRecipe:
        """What its steps are steps of."""
        found = parse_recipe(self.recipe)
        assert found is not None, "checked when it was made"
        return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class StepOrder(Record):
    """One step, private: where it starts, its batch, and the three commitments.

    masters        : before the step
    pixels, labels : of the real samples of its batch
    """

    before: SecretCommitment
    after: SecretCommitment
    data: SecretCommitment
    masters: Masters = field(repr=False)
    pixels: Pixels = field(repr=False)
    labels: Pixels = field(repr=False)

    def find_misfit(self, recipe: TrainingRecipe) -> str | None:
        """Why it is no step of this recipe by its sizes; None when it may be one."""
        n = len(self.labels)
        if len(self.masters) != recipe.architecture.n_parameters:
            return "has another number of masters than its recipe"
        if not 1 <= n <= recipe.batch_size or len(self.pixels) != n * recipe.widths[0]:
            return "has another batch than its recipe takes"
        return None if int(self.labels.max()) < recipe.widths[-1] else "has a label of no class"

    @property
    def images(self) -> UInt8Array:
        """uint8[n, n_in] of the real samples."""
        return self.pixels.reshape(len(self.labels), -1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ExportOrder(Record):
    """The export, private: masters at the end, and the commitments to them and to their model."""

    of_masters: SecretCommitment
    of_model: SecretCommitment
    masters: Masters = field(repr=False)

    def find_misfit(self, recipe: TrainingRecipe) -> str | None:
        """Why these are no masters of this recipe by their number; None when they may be."""
        fits = len(self.masters) == recipe.architecture.n_parameters
        return None if fits else "has another number of masters than its recipe"


R = TypeVar("R", StepOrder, ExportOrder)


class TrainingOrder:
    """An order whose head has been read, and whose records are read when they are asked for."""

    def __init__(self, read: ReadRange) -> None:
        """Raises FormatError for what does not begin as an order does, and what `read` raises."""
        self._read = read
        length = int.from_bytes(read(0, LENGTH_BYTES), "little")
        raw = read(LENGTH_BYTES, min(length, MAX_HEAD_BYTES + 1))
        if len(raw) != length:
            raise _refuse("it ends, or is too long, in its head")
        self.head = OrderHead.decode(raw)
        self._starts = list(accumulate(self.head.lengths.tolist(), initial=LENGTH_BYTES + length))
        self.recipe = self.head.get_recipe()

    @property
    def n_bytes(self) -> int:
        """Of the whole order."""
        n_bytes: int = self._starts[-1]
        return n_bytes

    def read_step(self, index: int) -> StepOrder:
        """The step of this place. Raises FormatError, and what `read` raises."""
        return self._read_record(StepOrder, index, f"step {self.head.steps[index]}")

    def read_export(self) -> ExportOrder:
        """Raises as `read_step`."""
        return self._read_record(ExportOrder, self.head.n_steps, "export")

    def require_whole(self, n_bytes: int) -> None:
        """Raises FormatError unless there are so many bytes, and each record is one of the recipe.

        cost : memory for one record, which is as long as the recipe makes it
        """
        if n_bytes != self.n_bytes:
            raise _refuse(f"it has {n_bytes} bytes, its head says {self.n_bytes}")
        for index in range(self.head.n_steps):
            self.read_step(index)
        self.read_export()

    def _read_record(self, kind: type[R], index: int, what: str) -> R:
        start, end = self._starts[index : index + 2]
        if end - start > bound_record(self.recipe):
            raise _refuse(f"the record of {what} is longer than its recipe makes it")
        try:
            found = kind.parse(self._read(start, end - start))
        except FieldInvalid as error:
            raise _refuse(f"the record of {what}: {error}") from None
        misfit = found.find_misfit(self.recipe)
        if misfit is not None:
            raise _refuse(f"the record of {what} {misfit}")
        return found


def bound_record(recipe: TrainingRecipe) -> int:
    """The most bytes that a record of this recipe has."""
    samples = recipe.batch_size * (recipe.widths[0] + 1)
    return 4 * recipe.architecture.n_parameters + samples + _SECRETS_BYTES


def write_order(
    stream: BinaryIO,
    committed: CommittedTrajectory,
    batches: CommittedBatches,
    chosen: Sequence[int],
    *,
    occasion: Occasion,
    of_model: SecretCommitment,
    committer: Committer,
    step_key: bytes = b"",
    export_key: bytes = b"",
) -> None:
    """Writes the order of these steps of a trajectory, and of its export, into a file that can
    seek.

    chosen    : t of each, ascending
    of_model  : commitment to the model at its end
    committer : of as many values as masters have, for the public start
    raises    : FormatError for steps that are none, or batches of another trajectory; FieldInvalid
                for steps that do not ascend, or too many; OSError
    """
    trajectory = committed.trajectory
    if trajectory.batches != batches.public.digest:
        raise _refuse("the trajectory was trained on other committed batches")
    if any(not 0 <= t < trajectory.n_steps for t in chosen):
        raise _refuse(f"the trajectory has steps 0 to {trajectory.n_steps - 1}")
    head = OrderHead(
        occasion=occasion,
        recipe=trajectory.recipe,
        step_key=step_key,
        export_key=export_key,
        steps=np.array(chosen, dtype=np.uint32),
        lengths=np.zeros(len(chosen) + 1, dtype=np.uint32),
    )
    head_bytes = len(head.encode())
    stream.seek(LENGTH_BYTES + head_bytes)
    lengths = [stream.write(_order_step(committed, batches, t, committer)) for t in chosen]
    end = trajectory.n_steps
    export = ExportOrder(
        of_masters=committed.get_commitment(end),
        of_model=of_model,
        masters=_get_masters(committed, end),
    )
    lengths.append(stream.write(export.encode()))
    stream.seek(0)
    stream.write(head_bytes.to_bytes(LENGTH_BYTES, "little"))
    stream.write(replace(head, lengths=np.array(lengths, dtype=np.uint32)).encode())


def _order_step(
    committed: CommittedTrajectory,
    batches: CommittedBatches,
    t: int,
    committer: Committer,
) -> bytes:
    number = int(committed.trajectory.numbers[t])
    images, labels = batches.get_samples(number)
    return StepOrder(
        before=committed.get_commitment(t, committer),
        after=committed.get_commitment(t + 1),
        data=batches.get_commitment(number),
        masters=_get_masters(committed, t),
        pixels=images.reshape(-1),
        labels=labels,
    ).encode()


def _get_masters(committed: CommittedTrajectory, t: int) -> Int32Array:
    return committed.trajectory.get_masters(t).astype(np.int32)


def _refuse(what: str) -> FormatError:
    return FormatError(what, where=NAME, next_step=ORDER_AGAIN)
