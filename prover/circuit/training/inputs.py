"""What a verifier of training knows: the public wires of a statement, and the chain of steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kernels.array import FrArray
from prover.circuit.training.export_plan import ExportPlan
from prover.circuit.training.plan import StepPlan
from prover.wire.statement import Occasion
from prover.wire.training import ExportStatement, StepStatement


@dataclass(frozen=True, slots=True, kw_only=True)
class StepInputs:
    """Statements about one recipe: the `public_inputs` of `prover.groth16.verify.admit`."""

    plan: StepPlan

    def __call__(self, statement: StepStatement, challenges: Sequence[int]) -> FrArray | None:
        """The public wires; None for more real samples than the batch has, or none.

        raises : KeyMismatch when the transcript draws as many challenges as another circuit has
        """
        public = self.plan.compute_public(statement.n_real, challenges)
        fits = 1 <= statement.n_real <= self.plan.recipe.batch_size
        return public if fits else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportInputs:
    """Likewise, of exports."""

    plan: ExportPlan

    def __call__(self, statement: ExportStatement, challenges: Sequence[int]) -> FrArray | None:
        """The public wires. Raises KeyMismatch as `StepInputs`."""
        return self.plan.compute_public(challenges)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A batch that a step has to be on: its commitment, compressed, and its real samples."""

    data: bytes
    n_real: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """What a verifier expects of the steps of one client and round.

    occasion : of all statements
    start    : D_M(0), compressed: of public masters under the blinding 0, or of what the client has
               committed to before
    batches  : of the steps 0, 1, ..., in the order that was drawn
    """

    occasion: Occasion
    start: bytes
    batches: tuple[Drawn, ...]

    def find_break(self, statements: Sequence[StepStatement]) -> int | None:
        """The first step that is not the one that has to come there; None where all are.

        holds : from the start each statement begins where the one before ended, is numbered by its
                place, and is on the batch of its place: so a valid proof of each says that the last
                `after` is what training from the start on these batches gives, and nothing else.
                The number of steps is their number: a missing one is a break behind the last.
        """
        at = self.start
        for t, batch in enumerate(self.batches):
            if t == len(statements):
                return t
            found = statements[t]
            expected = (self.occasion, t, at, batch.data, batch.n_real)
            if expected != (found.occasion, found.step, found.before, found.data, found.n_real):
                return t
            at = found.after
        return None if len(statements) == len(self.batches) else len(self.batches)
