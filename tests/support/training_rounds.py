"""A client's training in a round of a chain, from committed batches to the proofs it shows."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import Any

import numpy as np

from consensus.learning.training import (
    TrainingClaim,
    TrainingCommit,
    TrainingRound,
    draw_order,
    draw_steps,
    find_path_fault,
    find_training_fault,
)
from consensus.wire.task_training import TrainingTerms
from federated.data import LabeledImages
from federated.provable.batches import CommittedBatches, commit_batches
from federated.provable.trajectory import (
    CommittedTrajectory,
    PublicStart,
    commit_trajectory,
    digest_model,
    record_trajectory,
)
from kernels.encoding import encode_g1
from prover.pedersen.commitment import SecretCommitment
from prover.steps import PUBLIC, commit_values
from prover.training.masters import start
from prover.wire.training import (
    ExportEnvelope,
    ExportStatement,
    StepEnvelope,
    StepStatement,
    TrainingProofs,
)
from tests.support.trajectories import OCCASION, commit, committer, public_model, recipe

PLACE = OCCASION.round_index, OCCASION.client_key
N_SAMPLES, N_STEPS = 10, 5  # three batches of 4, 4 and 2 samples; the second pass is cut short
TERMS = TrainingTerms(
    recipe=recipe(), n_steps=N_STEPS, n_drawn=N_STEPS, step_key=b"s" * 32, export_key=b"e" * 32
)


@cache
def of_round() -> TrainingRound:
    public = commit_values(start(recipe(), public_model()), PUBLIC, committer())
    return TrainingRound(
        start=digest_model(public_model()),
        masters=encode_g1(public.public.d),
        order_beacon=b"first beacon",
        draw_beacon=b"second beacon",
    )


@dataclass(frozen=True, kw_only=True)
class Trained:
    """All that a client has after a round's training."""

    batches: CommittedBatches
    trajectory: CommittedTrajectory
    model: SecretCommitment

    @property
    def commit(self) -> TrainingCommit:
        return TrainingCommit(
            learning_round=OCCASION.round_index,
            client_key=OCCASION.client_key,
            batches=self.batches.public.digest,
            trajectory=self.trajectory.public.digest,
            d_m=self.masters[-1],
        )

    @property
    def claim(self) -> TrainingClaim:
        d_w = encode_g1(self.model.public.d)
        return TrainingClaim(occasion=OCCASION, commit=self.commit, d_w=d_w)

    @property
    def masters(self) -> list[bytes]:
        """D_M(0) to D_M(T), compressed."""
        d = self.trajectory.public.d
        return [of_round().masters, *(encode_g1(d[t : t + 1]) for t in range(len(d)))]

    def state_step(self, t: int, terms: TrainingTerms = TERMS) -> StepStatement:
        number = int(self.trajectory.public.numbers[t])
        return StepStatement(
            occasion=OCCASION,
            verifying_key_digest=terms.step_key,
            step=t,
            n_real=len(self.batches.get_samples(number)[1]),
            before=self.masters[t],
            after=self.masters[t + 1],
            data=encode_g1(self.batches.public.d[number : number + 1]),
        )

    def state_export(self, terms: TrainingTerms = TERMS) -> ExportStatement:
        return ExportStatement(
            occasion=OCCASION,
            verifying_key_digest=terms.export_key,
            masters=self.masters[-1],
            model=self.claim.d_w,
        )

    def list_drawn(self, terms: TrainingTerms = TERMS) -> list[int]:
        beacon = of_round().draw_beacon
        return draw_steps(beacon, *PLACE, n_steps=terms.n_steps, n_drawn=terms.n_drawn)

    def show(self, terms: TrainingTerms = TERMS) -> TrainingProofs:
        """The right statements, under proofs that are none."""
        drawn = [self.state_step(t, terms) for t in self.list_drawn(terms)]
        return seal(drawn, self.state_export(terms))

    def find_fault(self, **change: Any) -> str | None:
        """What the rules say, with these arguments in place of the right ones."""
        terms = change.get("terms", TERMS)
        given = {
            "terms": terms,
            "of_round": of_round(),
            "claim": self.claim,
            "batches": self.batches.public.encode(),
            "trajectory": self.trajectory.public.encode(),
            "proofs": self.show(terms),
        } | change
        if isinstance(given["proofs"], TrainingProofs):
            given["proofs"] = given["proofs"].encode()
        return find_training_fault(given.pop("terms"), **given)

    def find_commit_fault(self, **change: Any) -> str | None:
        """What they say when the client commits, with these arguments in place of the right."""
        given = {
            "terms": TERMS,
            "start": of_round(),
            "commit": self.commit,
            "batches": self.batches.public.encode(),
            "trajectory": self.trajectory.public.encode(),
        } | change
        return find_path_fault(given.pop("terms"), **given)

    def find_path_fault(self, **change: Any) -> str | None:
        """What they say of a trajectory that the client commits to, changed so; and again when it
        proves."""
        raw = replace(self.trajectory.public, **change).encode()
        commit = replace(self.commit, trajectory=hashlib.sha256(raw).digest())
        found = self.find_commit_fault(trajectory=raw, commit=commit)
        claim = replace(self.claim, commit=commit)
        assert self.find_fault(trajectory=raw, claim=claim) == found
        return found


def seal(steps: list[StepStatement], export: ExportStatement) -> TrainingProofs:
    return TrainingProofs(
        steps=tuple(StepEnvelope(statement=s, proof=bytes(224)).encode() for s in steps),
        export=ExportEnvelope(statement=export, proof=bytes(224)).encode(),
    )


@cache
def trained(seed: int = 1) -> Trained:
    rng = np.random.default_rng(seed)
    batches = commit_batches(
        LabeledImages(
            images=rng.integers(0, 256, (N_SAMPLES, 4), dtype=np.uint8),
            labels=rng.integers(0, 2, N_SAMPLES, dtype=np.uint8),
        ),
        n_classes=2,
        batch_size=recipe().batch_size,
        random_bytes=Random(seed).randbytes,
        committer=committer(),
    )
    order = draw_order(of_round().order_beacon, *PLACE, n_batches=3, n_steps=N_STEPS)
    begin = PublicStart.of_model(recipe(), public_model())
    path = record_trajectory(recipe(), begin, batches, np.array(order))
    return Trained(
        batches=batches,
        trajectory=commit_trajectory(path, Random(seed).randbytes, committer()),
        model=commit(path.export().wires, seed),
    )
