"""A small client's training as an order of its proofs: what a service of provers is handed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from io import BytesIO
from random import Random
from typing import Any

import numpy as np

from federated.data import LabeledImages
from federated.provable.batches import CommittedBatches, commit_batches
from federated.provable.orders import TrainingOrder, write_order
from federated.provable.trajectory import (
    CommittedTrajectory,
    PublicStart,
    commit_trajectory,
    record_trajectory,
)
from kernels.array import G1Array
from kernels.backend import get_backend
from prover.circuit.training.inputs import ExportInputs, StepInputs
from prover.groth16.verify_training import TrainingKeys, verify_trainings
from prover.keys.halves import VerifyingKey
from prover.keys.training_card import ExportCard, StepCard
from prover.model.layers import Requant
from prover.pedersen.commitment import Committer, SecretCommitment, draw_blinding
from prover.steps import commit_values
from prover.training.draws import draw_start, order_batches
from prover.training.recipe import TrainingRecipe
from prover.wire.statement import Occasion
from prover.wire.training import TrainingProofs
from prover.wire.verdict import Verdict
from tests.support.tiny_circuits import seeded
from tests.support.training import make_small_recipe

WIDTHS = [9, 7, 3]
N_SAMPLES, N_STEPS = 10, 5  # batches of 4, 4 and 2 samples
CHOSEN = (0, 2, 4)
OCCASION = Occasion(
    chain_id=b"chain", task_id=b"task", round_index=1, commit_height=2, client_key=b"client"
)


@cache
def recipe() -> TrainingRecipe:
    return make_small_recipe(WIDTHS, requant=Requant(shift=9, q_bits=9))


@cache
def committer() -> Committer:
    return Committer(128, get_backend("cpu"))


@dataclass(frozen=True, kw_only=True)
class Trained:
    """All that a client has, and the order that it writes of it."""

    batches: CommittedBatches
    path: CommittedTrajectory
    model: SecretCommitment

    def write(self, chosen: Sequence[int] = CHOSEN, **change: Any) -> bytes:
        """An order; with these arguments in place of the right ones."""
        stream = BytesIO()
        given = {"occasion": OCCASION, "of_model": self.model, "committer": committer()} | change
        write_order(
            stream,
            given.pop("committed", self.path),
            given.pop("batches", self.batches),
            chosen,
            **given,
        )
        return stream.getvalue()

    @property
    def lying(self) -> CommittedTrajectory:
        """The same steps under commitments of which those after steps 1 and 2 are exchanged."""
        d = self.path.public.d
        order = [0, 2, 1, *range(3, N_STEPS)]
        swapped = G1Array.concat([d[t : t + 1] for t in order])
        return replace(self.path, public=replace(self.path.public, d=swapped))


@cache
def trained(seed: int = 1) -> Trained:
    rng = np.random.default_rng(seed)
    batches = commit_batches(
        LabeledImages(
            images=rng.integers(0, 256, (N_SAMPLES, WIDTHS[0]), dtype=np.uint8),
            labels=rng.integers(0, WIDTHS[-1], N_SAMPLES, dtype=np.uint8),
        ),
        n_classes=WIDTHS[-1],
        batch_size=recipe().batch_size,
        random_bytes=Random(seed).randbytes,
        committer=committer(),
    )
    begin = PublicStart.of_model(recipe(), draw_start(recipe(), b"start"))
    numbers = order_batches(b"order", n_batches=batches.n_batches, n_steps=N_STEPS)
    path = record_trajectory(recipe(), begin, batches, numbers)
    return Trained(
        batches=batches,
        path=commit_trajectory(path, Random(seed).randbytes, committer()),
        model=commit_values(path.export().wires, draw_blinding(seeded(seed)), committer()),
    )


def open_order(raw: bytes) -> TrainingOrder:
    return TrainingOrder(lambda start, length: raw[start : start + length])


def judge(proofs: TrainingProofs, step: VerifyingKey, export: VerifyingKey) -> Verdict:
    """What a verifier says of proofs under these keys, which are of the recipe's circuits."""
    step_card = StepCard(
        architecture=recipe().architecture, recipe=recipe(), circuit_digest=step.circuit_digest
    )
    export_card = ExportCard(
        architecture=recipe().architecture, recipe=recipe(), circuit_digest=export.circuit_digest
    )
    keys = TrainingKeys(
        step=step,
        step_inputs=StepInputs(plan=step_card.plan),
        export=export,
        export_inputs=ExportInputs(plan=export_card.plan),
    )
    return verify_trainings([proofs], keys=keys, random_bytes=seeded(9))[0]
