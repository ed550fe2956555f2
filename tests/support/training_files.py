"""Proofs of training as files, of the small recipe of `tests.support.trajectories`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from itertools import count
from typing import Any

import numpy as np

from federated.data import LabeledImages
from federated.provable.batches import CommittedBatches, commit_batches
from federated.provable.judging import ProvenTraining, Wanted, judge_training
from federated.provable.proof_file import TrainingProof
from federated.provable.proving import EndProver, StepProver
from federated.provable.trajectory import (
    CommittedTrajectory,
    PublicStart,
    commit_trajectory,
    record_trajectory,
)
from prover.judging import Refusal
from prover.keys.training_card import ExportCard, StepCard
from prover.keys.training_folder import TrainingHalves
from prover.model.network import QuantizedModel
from prover.model.zkq import encode_model
from prover.pedersen.commitment import SecretCommitment, draw_blinding
from prover.steps import commit_values
from prover.training.draws import draw_start, order_batches
from prover.wire.statement import Occasion
from tests.support.tiny_circuits import seeded
from tests.support.trajectories import (
    BACKEND,
    OCCASION,
    committer,
    export_circuit,
    export_key,
    public_model,
    recipe,
    step_circuit,
    step_key,
)

N_STEPS, N_DRAWN = 5, 2
SEED = (3).to_bytes(8, "little")
BEACON = b"a beacon of later"


@dataclass(frozen=True)
class Training:
    """A client's training, with all that it proves from."""

    committed: CommittedTrajectory
    batches: CommittedBatches
    start: QuantizedModel
    model: SecretCommitment
    occasion: Occasion = OCCASION

    def prove_steps(self, chosen: tuple[int, ...], **change: Any) -> tuple[bytes, ...]:
        kit = {"occasion": self.occasion, "random_bytes": seeded(5)} | change
        prover = StepProver(
            step=step_circuit(),
            key=step_key(),
            committer=committer(),
            backend=BACKEND,
            clock=tick(),
            **kit,
        )
        return prover.prove(self.committed, self.batches, chosen)

    def prove_end(self, model: SecretCommitment | None = None) -> bytes:
        prover = EndProver(
            export=export_circuit(),
            key=export_key(),
            occasion=self.occasion,
            backend=BACKEND,
            random_bytes=seeded(6),
            clock=tick(),
        )
        return prover.prove(self.committed, model or self.model)

    def assemble(self, n_drawn: int, beacon: bytes = b"", **change: Any) -> TrainingProof:
        """The file, with a proof of each step that it has to prove."""
        parts = {
            "trajectory": self.committed.public,
            "batches": self.batches.public,
            "start": encode_model(self.start),
            "seed": SEED,
            "n_drawn": n_drawn,
            "beacon": beacon,
            "steps": (b"later",) * n_drawn,
            "export": self.prove_end(),
        } | change
        found = TrainingProof(**parts)
        return found if "steps" in change else replace(found, steps=self.prove_steps(found.chosen))


def tick() -> Any:
    ticks = count()
    return lambda: float(next(ticks))


def train(
    start: QuantizedModel, *, data: int = 2, n_steps: int = N_STEPS, salt: int = 0
) -> Training:
    """Steps on 3 batches, the last of them of 2 samples; salt : of all blindings"""
    rng = np.random.default_rng(data)
    batches = commit_batches(
        LabeledImages(
            images=rng.integers(0, 256, (10, 4), dtype=np.uint8),
            labels=rng.integers(0, 2, 10, dtype=np.uint8),
        ),
        n_classes=2,
        batch_size=recipe().batch_size,
        random_bytes=seeded(data),
        committer=committer(),
    )
    numbers = order_batches(SEED, n_batches=batches.n_batches, n_steps=n_steps)
    trajectory = record_trajectory(
        recipe(), PublicStart.of_model(recipe(), start), batches, numbers
    )
    committed = commit_trajectory(trajectory, seeded(4 + salt), committer())
    wires = trajectory.export().wires
    model = commit_values(wires, draw_blinding(seeded(8 + salt)), committer())
    return Training(committed, batches, start, model)


@cache
def honest() -> Training:
    """From the round's public model."""
    return train(public_model())


@cache
def full() -> TrainingProof:
    """Of all steps."""
    return honest().assemble(N_STEPS)


@cache
def sampled() -> TrainingProof:
    """Of two steps that a beacon drew, one of them the first."""
    return honest().assemble(N_DRAWN, BEACON)


@cache
def drawn() -> TrainingProof:
    """Of three steps from a drawn start, of which the file has the seed alone."""
    return train(draw_start(recipe(), SEED), n_steps=2).assemble(1, start=b"")


@cache
def halves() -> TrainingHalves:
    return TrainingHalves(
        step=step_key().verifying,
        step_card=StepCard.of(step_circuit()),
        export=export_key().verifying,
        export_card=ExportCard.of(export_circuit()),
    )


def judge(raw: bytes, **wanted: Any) -> ProvenTraining | Refusal:
    """Under the keys of the recipe."""
    return judge_training(
        raw,
        keys=halves(),
        wanted=Wanted(**wanted),
        get_committer=lambda n: committer(),
        random_bytes=seeded(9),
    )
