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
from dataclasses import dataclass

import numpy as np

from federated.provable.batches import CommittedBatches
from federated.provable.trajectory import (
    CommittedTrajectory,
    digest_model,
)
from kernels.array import G1Array
from kernels.backend import Backend
from kernels.encoding import encode_g1
from prover.circuit.training.export import ExportCircuit
from prover.circuit.training.inputs import StepInputs
from prover.circuit.training.step import StepCircuit
from prover.errors import ShapeMismatch
from prover.groth16.verify_training import verify_steps
from prover.keys.halves import ProvingKey, VerifyingKey
from prover.model.network import QuantizedModel
from prover.pedersen.commitment import Committer, SecretCommitment
from prover.progress import Clock, StageProgress, silent
from prover.randomness import RandomBytes
from prover.steps import PUBLIC, prove_export, prove_step
from prover.training.commitments import BatchCommitments, TrajectoryCommitments
from prover.training.masters import start
from prover.training.recipe import TrainingRecipe
from prover.training.step import train_step
from prover.wire.statement import Occasion
from prover.wire.training import ExportEnvelope, StepEnvelope
from prover.wire.verdict import Verdict

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

    public, batches : the commitments; model : the public start
    """

    recipe: TrainingRecipe
    occasion: Occasion
    public: TrajectoryCommitments
    batches: BatchCommitments
    model: QuantizedModel

    def find_fault(
        self,
        raws: Sequence[bytes],
        chosen: Sequence[int],
        *,
        key: VerifyingKey,
        inputs: StepInputs,
        committer: Committer,
        random_bytes: RandomBytes,
    ) -> str | None:
        """Why the envelopes do not prove the chosen steps, in their order; None when they do.

        holds : each begins at the commitment before it, or at the public start, and ends at its
                own, on the batch of its number: commitments were public before steps were drawn
        """
        if inputs.plan.recipe != self.recipe:
            return "the trajectory or the key is of another recipe"
        misfit = self.find_misfit(raws, chosen, get_committer=lambda: committer)
        if misfit is not None:
            return misfit
        verdicts = verify_steps(raws, key=key, inputs=inputs, random_bytes=random_bytes)
        wrong = [t for t, v in zip(chosen, verdicts, strict=True) if v is not Verdict.VALID]
        return f"the proof of step {wrong[0]} does not hold" if wrong else None

    def find_misfit(
        self,
        raws: Sequence[bytes],
        chosen: Sequence[int],
        *,
        get_committer: Callable[[], Committer],
    ) -> str | None:
        """`find_fault` but for the key and the equations: in what the statements of the envelopes
        are not those of the chosen steps.

        get_committer : called where the step from the public start is among them
        """
        if self.public.recipe != self.recipe.encode():
            return "the trajectory or the key is of another recipe"
        if self.public.batches != self.batches.digest:
            return "the trajectory is on other committed batches"
        if self.public.start != digest_model(self.model):
            return "the trajectory starts from another model"
        if len(raws) != len(chosen):
            return f"there are {len(raws)} proofs for {len(chosen)} steps"
        first = self._commit_start(get_committer()) if 0 in chosen else b""
        for t, raw in zip(chosen, raws, strict=True):
            envelope = StepEnvelope.decode(raw)
            if envelope is None or not self._is_expected(envelope, t, first):
                return f"the proof of step {t} is of something else"
        return None

    def find_export_misfit(self, raw: bytes) -> str | None:
        """In what an export's statement is not of the masters that the last step ended at."""
        envelope = ExportEnvelope.decode(raw)
        last = _encode(self.public.d, len(self.public.d) - 1)
        found = None if envelope is None else envelope.statement
        if found is None or (found.occasion, found.masters) != (self.occasion, last):
            return "the proof of the export is of something else than the last step's end"
        return None

    def _commit_start(self, committer: Committer) -> bytes:
        return encode_g1(committer.commit(start(self.recipe, self.model), PUBLIC.rho))

    def _is_expected(self, envelope: StepEnvelope, t: int, first: bytes) -> bool:
        number, found = int(self.public.numbers[t]), envelope.statement
        if number >= len(self.batches.d):
            return False
        # How many samples the last batch has is not published; its commitment fixes it, since
        # padding has the label 0 and the circuit counts all others.
        is_last = number == len(self.batches.d) - 1
        n_real = found.n_real if is_last else self.batches.batch_size
        return (found.occasion, found.step, found.n_real) == (self.occasion, t, n_real) and (
            found.before,
            found.after,
            found.data,
        ) == (
            first if t == 0 else _encode(self.public.d, t - 1),
            _encode(self.public.d, t),
            _encode(self.batches.d, number),
        )


def _encode(points: G1Array, index: int) -> bytes:
    return encode_g1(points[index : index + 1])
