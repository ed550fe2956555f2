"""Proofs of a client's training in a round: of the steps that were drawn, then of the export.

    trajectory, batches, drawn steps, D_W  ──prove──>  `TrainingProofs`, which others verify

Who proves sees all of it: the client's own machine, or a service that it trusts with its data.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from federated.errors import ProvingFailed
from federated.provable.batches import CommittedBatches
from federated.provable.proving import EndProver, StepProver
from federated.provable.trajectory import CommittedTrajectory
from kernels.backend import Backend
from kernels.machine import count_memory
from prover.circuit.sizes import CircuitSizes
from prover.circuit.training.export import ExportCircuit
from prover.circuit.training.sizes import compute_step_sizes
from prover.circuit.training.step import StepCircuit
from prover.errors import SelfCheckFailed, UnsatisfiedConstraint
from prover.groth16.prove import prepare
from prover.keys.folder import load_half, load_proving_key
from prover.keys.halves import ProvingKey, VerifyingKey
from prover.keys.training_card import ExportCard, StepCard
from prover.pedersen.commitment import Committer, SecretCommitment
from prover.plan import must_stream
from prover.progress import StageProgress, silent
from prover.randomness import RandomBytes
from prover.steps import compile_export_for_key, compile_step_for_key
from prover.wire.statement import Occasion
from prover.wire.training import TrainingProofs

STAGE = "proof of export"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class TrainingRequest:
    """What a prover of training is handed; committed, batches and of_model are secret.

    committed : the trajectory of the round
    batches   : that it was trained on
    drawn     : t of each step to prove, ascending
    of_model  : D_W, the commitment to the export of its end
    """

    committed: CommittedTrajectory
    batches: CommittedBatches
    drawn: tuple[int, ...]
    of_model: SecretCommitment
    occasion: Occasion


class TrainingProver(Protocol):
    """Whoever proves a client's training."""

    def prove(self, request: TrainingRequest) -> bytes:
        """An encoded `TrainingProofs`. Raises ProvingFailed."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OwnTrainingProver:
    """The client's own machine: nothing secret leaves it.

    committer : of as many values as masters have, for the public start
    """

    step: StepCircuit
    step_key: ProvingKey
    export: ExportCircuit
    export_key: ProvingKey
    committer: Committer
    random_bytes: RandomBytes
    backend: Backend
    progress: StageProgress = silent

    @classmethod
    def load(
        cls,
        step: Path,
        export: Path,
        *,
        step_key: bytes,
        export_key: bytes,
        committer: Committer,
        random_bytes: RandomBytes,
        backend: Backend,
        progress: StageProgress = silent,
    ) -> Self:
        """With the keys of two folders; step_key, export_key: sha256 that their halves must have.

        Raises FormatError, KeyMismatch, CircuitTooLarge, OSError.
        holds : where this machine's memory has no room for a key's bases, they stay in their file
        """
        step_half, step_card = load_half(step, StepCard, expected_digest=step_key)
        export_half, export_card = load_half(export, ExportCard, expected_digest=export_key)
        sizes = compute_step_sizes(step_card.plan)
        return cls(
            step=compile_step_for_key(step_card, step_half),
            step_key=_load(step, step_half, sizes, backend),
            export=compile_export_for_key(export_card, export_half),
            export_key=_load(export, export_half, export_card.plan.sizes, backend),
            committer=committer,
            random_bytes=random_bytes,
            backend=backend,
            progress=progress,
        )

    def prove(self, request: TrainingRequest) -> bytes:
        """Each proof is verified before it leaves. Raises ProvingFailed; ShapeMismatch for a
        trajectory that is none, which is a bug of whoever made it."""
        steps = StepProver(
            step=self.step,
            key=self.step_key,
            occasion=request.occasion,
            committer=self.committer,
            backend=self.backend,
            random_bytes=self.random_bytes,
            clock=time.perf_counter,
        )
        try:
            proven = steps.prove(request.committed, request.batches, request.drawn, self.progress)
            return TrainingProofs(steps=proven, export=self._prove_export(request)).encode()
        except (SelfCheckFailed, UnsatisfiedConstraint) as error:
            raise ProvingFailed(f"the own prover of training failed: {error}") from None

    def _prove_export(self, request: TrainingRequest) -> bytes:
        prover = EndProver(
            export=self.export,
            key=self.export_key,
            occasion=request.occasion,
            backend=self.backend,
            random_bytes=self.random_bytes,
            clock=time.perf_counter,
        )
        self.progress(STAGE, 0, 1)
        envelope = prover.prove(request.committed, request.of_model)
        self.progress(STAGE, 1, 1)
        return envelope


def _load(
    folder: Path, verifying: VerifyingKey, sizes: CircuitSizes, backend: Backend
) -> ProvingKey:
    streams = must_stream(sizes, count_memory())
    return prepare(load_proving_key(folder, verifying, streams=streams), backend)
