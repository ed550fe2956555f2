"""Proofs of a trajectory's steps: all of them, or those that a beacon draws once all are committed.

    prover    trajectory, batches, drawn steps           -> an envelope for each
              trajectory, commitment to its int8 model   -> an envelope of the export
    verifier  commitments, public start, drawn steps     -> whether each is the step it has to be
              commitments                                -> whether the export is of the last

Which are drawn in a task's rounds, `consensus.learning.training.draw_steps` says. Commitments to
all steps are public before any is drawn, so steps that are proven one by one are
steps of one chain. Who cheats in a share f of the steps escapes q draws with chance (1 - f)^q; one
bad step can suffice, and only proofs of all steps rule it out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from federated.provable.batches import CommittedBatches
from federated.provable.trajectory import CommittedTrajectory, PublicStart
from kernels.backend import Backend
from kernels.encoding import encode_g1
from prover.circuit.training.export import ExportCircuit
from prover.circuit.training.step import StepCircuit
from prover.errors import ShapeMismatch
from prover.keys.halves import ProvingKey
from prover.pedersen.commitment import Committer, SecretCommitment
from prover.progress import Clock, StageProgress, silent
from prover.randomness import RandomBytes
from prover.steps import PUBLIC, prove_export, prove_step
from prover.training.commitments import BatchCommitments, TrajectoryCommitments, expect_step
from prover.training.recipe import TrainingRecipe
from prover.training.step import train_step
from prover.wire.statement import Occasion
from prover.wire.training import ExportEnvelope, StepEnvelope, StepStatement

STAGE = "proofs of steps"


def compute_escape(*, n_steps: int, n_drawn: int, n_bad: int) -> float:
    """The chance that none of the bad steps is drawn: below (1 - f)^q, f = n_bad / n_steps, since
    no step is drawn twice."""
    chance = 1.0
    for drawn in range(min(n_drawn, n_steps)):
        chance *= max(0, n_steps - n_bad - drawn) / (n_steps - drawn)
    return chance


@dataclass(frozen=True, slots=True, kw_only=True)
class StepProver:
    """A client that proves steps under one key.

    committer : of as many values as masters have, for the public start
    """

    step: StepCircuit
    key: ProvingKey
    occasion: Occasion
    committer: Committer
    backend: Backend
    random_bytes: RandomBytes
    clock: Clock

    def prove(
        self,
        committed: CommittedTrajectory,
        batches: CommittedBatches,
        chosen: Sequence[int],
        progress: StageProgress = silent,
    ) -> tuple[bytes, ...]:
        """An envelope for each of the chosen steps, in their order.

        Raises ShapeMismatch for batches or a step that are not the trajectory's; else as
        `prover.steps.prove_step`.
        """
        trajectory = committed.trajectory
        if trajectory.batches != batches.public.digest:
            raise ShapeMismatch("the trajectory was trained on other committed batches")
        found = []
        for done, t in enumerate(chosen):
            number = int(trajectory.numbers[t])
            images, labels = batches.get_samples(number)
            trace = train_step(trajectory.get_recipe(), trajectory.get_masters(t), images, labels)
            if not np.array_equal(trace.after, trajectory.get_masters(t + 1)):
                raise ShapeMismatch(f"step {t} of the trajectory is no step on batch {number}")
            proven = prove_step(
                self.step,
                self.key,
                trace,
                t=t,
                occasion=self.occasion,
                before=committed.get_commitment(t, self.committer),
                after=committed.get_commitment(t + 1),
                data=batches.get_commitment(number),
                random_bytes=self.random_bytes,
                backend=self.backend,
                clock=self.clock,
            )
            found.append(proven.envelope)
            progress(STAGE, done + 1, len(chosen))
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndProver:
    """A client that proves which int8 model a trajectory ended at, under one key."""

    export: ExportCircuit
    key: ProvingKey
    occasion: Occasion
    backend: Backend
    random_bytes: RandomBytes
    clock: Clock

    def prove(
        self,
        committed: CommittedTrajectory,
        model: SecretCommitment,
        progress: StageProgress | None = None,
    ) -> bytes:
        """The envelope of the export.

        model  : commitment to the wires of `Trajectory.export`
        raises : as `prover.steps.prove_export`
        """
        end = committed.trajectory.n_steps
        proven = prove_export(
            self.export,
            self.key,
            committed.trajectory.get_masters(end),
            occasion=self.occasion,
            of_masters=committed.get_commitment(end),
            of_model=model,
            random_bytes=self.random_bytes,
            backend=self.backend,
            clock=self.clock,
            progress=progress,
        )
        return proven.envelope


@dataclass(frozen=True, slots=True, kw_only=True)
class StepJudge:
    """What a verifier knows of a trajectory before any step is drawn.

    public, batches : the commitments; begin : the public start
    holds : a step whose statement is no misfit and whose proof verifies begins at the commitment
            before it, or at the public start, and ends at its own, on the batch of its number:
            commitments were public before steps were drawn
    """

    recipe: TrainingRecipe
    occasion: Occasion
    public: TrajectoryCommitments
    batches: BatchCommitments
    begin: PublicStart

    def find_misfit(
        self,
        raws: Sequence[bytes],
        chosen: Sequence[int],
        *,
        get_committer: Callable[[], Committer],
    ) -> str | None:
        """In what the statements of the envelopes are not those of the chosen steps, in their
        order; None where they are.

        get_committer : called where the step from the public start is among them
        """
        if self.public.recipe != self.recipe.encode():
            return "the trajectory or the key is of another recipe"
        if self.public.batches != self.batches.digest:
            return "the trajectory is on other committed batches"
        if self.public.start != self.begin.name:
            return "the trajectory starts from another model"
        if len(raws) != len(chosen):
            return f"there are {len(raws)} proofs for {len(chosen)} steps"
        first = self._commit_start(get_committer()) if 0 in chosen else b""
        for t, raw in zip(chosen, raws, strict=True):
            envelope = StepEnvelope.decode(raw)
            if envelope is None or not self._is_expected(envelope.statement, t, first):
                return f"the proof of step {t} is of something else"
        return None

    def find_export_misfit(self, raw: bytes) -> str | None:
        """In what an export's statement is not of the masters that the last step ended at."""
        envelope = ExportEnvelope.decode(raw)
        last = encode_g1(self.public.d[-1:])
        found = None if envelope is None else envelope.statement
        if found is None or (found.occasion, found.masters) != (self.occasion, last):
            return "the proof of the export is of something else than the last step's end"
        return None

    def _commit_start(self, committer: Committer) -> bytes:
        return encode_g1(committer.commit(self.begin.masters, PUBLIC.rho))

    def _is_expected(self, found: StepStatement, t: int, first: bytes) -> bool:
        if int(self.public.numbers[t]) >= len(self.batches.d):
            return False
        expected = expect_step(found, t, path=self.public, data=self.batches, start=first)
        return found == replace(expected, occasion=self.occasion)
