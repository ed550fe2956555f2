"""A small chain whose task asks for proofs of training, with its keys and clients that do train.

Every round takes N_STEPS steps of a batch of 4; a client has ten batches, of which the last has two
samples: so two drawn orders are hardly ever the same. What a client shows can be lied about.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from random import Random
from typing import Any

import numpy as np

from consensus.aggregation.client_side import RoundClient
from consensus.learning.admission import describe_occasion
from consensus.learning.aggregate import GlobalModel
from consensus.learning.chain_state import NO_MODEL, ChainState, Phase
from consensus.learning.samples import SamplePool
from consensus.learning.training import draw_order, draw_steps
from consensus.learning.training_mean import find_start
from consensus.wire.genesis import Task
from consensus.wire.task_training import TaskTraining
from consensus.wire.transactions import Commit, Proof, Register, Transaction
from federated.data import LabeledImages
from federated.provable.batches import CommittedBatches, commit_batches
from kernels.array import G1Array
from kernels.encoding import encode_g1
from kernels.numpy_types import Int64Array
from prover.circuit.training.export import ExportCircuit, compile_export
from prover.circuit.training.step import StepCircuit, compile_step
from prover.groth16.setup_training import setup_export, setup_step
from prover.keys.halves import ProvingKey
from prover.keys.training_card import ExportCard, StepCard
from prover.model.network import QuantizedModel
from prover.pedersen.commitment import Blinding, Committer, SecretCommitment
from prover.pipeline import commit_job
from prover.steps import commit_values, prove_export, prove_step
from prover.training.commitments import TrajectoryCommitments
from prover.training.masters import export
from prover.training.recipe import TrainingRecipe
from prover.training.step import StepTrace, train_step
from prover.wire.records import Record
from prover.wire.statement import Occasion
from prover.wire.training import TrainingProofs
from tests.support.learning import ARCHITECTURE, BACKEND, N_POOL, ProvenLab, model_of
from tests.support.models import random_images
from tests.support.tiny_circuits import seeded

N_SAMPLES, N_STEPS = 38, 3


@cache
def recipe() -> TrainingRecipe:
    """Drawn weights are 64 at most, and a step moves none by more than 4 255 2^6 2^-13 < 8: in six
    steps none leaves its range, wherever a genesis lets training start.
    """
    return TrainingRecipe(
        architecture=ARCHITECTURE,
        batch_size=4,
        master_bits=13,
        logit_shift=6,
        loss_bits=6,
        backward_shift=10,
        error_bits=14,
    )


@cache
def step_circuit() -> StepCircuit:
    return compile_step(recipe())


@cache
def export_circuit() -> ExportCircuit:
    return compile_export(recipe())


@cache
def step_key() -> ProvingKey:
    return setup_step(step_circuit(), random_bytes=seeded(91), backend=BACKEND)


@cache
def export_key() -> ProvingKey:
    return setup_export(export_circuit(), random_bytes=seeded(92), backend=BACKEND)


@cache
def committer() -> Committer:
    return Committer(max(step_circuit().r1cs.linked), BACKEND)


@cache
def batches_of(i: int) -> CommittedBatches:
    """Of samples that the pool's labels fit."""
    images = random_images(ARCHITECTURE, N_SAMPLES, np.random.default_rng(300 + i))
    labels = model_of(0).logits(images).argmax(axis=1).astype(np.uint8)
    return commit_batches(
        LabeledImages(images=images, labels=labels),
        n_classes=recipe().widths[-1],
        batch_size=recipe().batch_size,
        random_bytes=Random(400 + i).randbytes,
        committer=committer(),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Story:
    """What a client did in a round, and all that it needs to show it.

    start  : what its trajectory is said to start from
    traces : of its steps; masters : commitments to M(0) to M(T)
    """

    batches: CommittedBatches
    start: bytes
    numbers: tuple[int, ...]
    traces: tuple[StepTrace, ...]
    masters: tuple[SecretCommitment, ...]

    @property
    def last(self) -> Int64Array:
        """M(T)."""
        return self.traces[-1].after

    @cached_property
    def model(self) -> QuantizedModel:
        return export(recipe(), self.last)

    @cached_property
    def of_model(self) -> SecretCommitment:
        blinding = Blinding(rho=self.masters[-1].blinding.rho + 1)
        public = commit_job(self.model, blinding, committer())
        return SecretCommitment(public=public, blinding=blinding)

    @cached_property
    def trajectory(self) -> TrajectoryCommitments:
        return TrajectoryCommitments(
            recipe=recipe().encode(),
            start=self.start,
            batches=self.batches.public.digest,
            numbers=np.array(self.numbers, dtype=np.uint32),
            d=G1Array.concat([secret.public.d for secret in self.masters[1:]]),
        )

    @property
    def d_m(self) -> bytes:
        return encode_g1(self.masters[-1].public.d)

    def prove_step(self, t: int, occasion: Occasion) -> bytes:
        number = self.numbers[t]
        blinding = Blinding(rho=self.batches.get_blinding(number))
        return prove_step(
            step_circuit(),
            step_key(),
            self.traces[t],
            t=t,
            occasion=occasion,
            before=self.masters[t],
            after=self.masters[t + 1],
            data=commit_values(self.traces[t].batch.wires, blinding, committer()),
            random_bytes=seeded(t),
            backend=BACKEND,
            clock=lambda: 0.0,
        ).envelope

    def prove_export(self, occasion: Occasion) -> bytes:
        return prove_export(
            export_circuit(),
            export_key(),
            self.last,
            occasion=occasion,
            of_masters=self.masters[-1],
            of_model=self.of_model,
            random_bytes=seeded(9),
            backend=BACKEND,
            clock=lambda: 0.0,
        ).envelope

    def prove(self, steps: Sequence[int], occasion: Occasion) -> TrainingProofs:
        return TrainingProofs(
            steps=tuple(self.prove_step(t, occasion) for t in steps),
            export=self.prove_export(occasion),
        )


def tell(
    batches: CommittedBatches, start: tuple[Int64Array, bytes], numbers: Sequence[int], *, seed: int
) -> Story:
    """Trains from masters, by their name, on batches of these numbers."""
    at, name = start
    traces, masters = [], [commit_values(at, Blinding(rho=0), committer())]
    for t, number in enumerate(numbers):
        traces.append(train_step(recipe(), at, *batches.get_samples(number)))
        at = traces[-1].after
        blinding = Blinding(rho=10**9 + 1000 * seed + t)
        masters.append(commit_values(at, blinding, committer()))
    return Story(
        batches=batches,
        start=name,
        numbers=tuple(numbers),
        traces=tuple(traces),
        masters=tuple(masters),
    )


Tell = Callable[["TrainingLab", int, ChainState], Story]


def tell_truth(lab: TrainingLab, i: int, state: ChainState) -> Story:
    """As an honest client does."""
    return tell(batches_of(i), lab.find_start(state), lab.find_order(i, state), seed=lab.seed(i))


@dataclass
class TrainingLab(ProvenLab):
    """A task of so many drawn steps.

    tell : how clients train, from the state in which they commit
    """

    n_drawn: int = N_STEPS
    tell: Tell = tell_truth
    stories: dict[tuple[int, int], Story] = field(default_factory=dict)

    @cached_property
    def task(self) -> Task:
        training = TaskTraining.of(
            StepCard.of(step_circuit()),
            ExportCard.of(export_circuit()),
            step_key=self.blobs.put(step_key().verifying.encode()),
            export_key=self.blobs.put(export_key().verifying.encode()),
            n_steps=N_STEPS,
            n_drawn=self.n_drawn,
        )
        return replace(super().task, training=training)

    @cached_property
    def pool(self) -> SamplePool:
        """Every image under every label: so any model, whatever the genesis has drawn for it to
        start from, is right about a third, and a drawn shard without one of them is one in 5,000.
        """
        n_classes = recipe().widths[-1]
        images = random_images(ARCHITECTURE, N_POOL // n_classes, np.random.default_rng(3))
        labels = np.tile(np.arange(n_classes, dtype=np.uint8), len(images))
        return SamplePool.of(images=np.repeat(images, n_classes, axis=0), labels=labels)

    # -- what is drawn

    def find_start(self, state: ChainState) -> tuple[Int64Array, bytes]:
        model = None
        if state.global_model != NO_MODEL:
            model = GlobalModel.parse(self.blobs.get(state.global_model))
        return find_start(recipe(), self.genesis.digest, model)

    def find_order(self, i: int, state: ChainState) -> list[int]:
        n_batches = batches_of(i).n_batches
        place = state.learning_round, self.client(i)
        return draw_order(state.order_beacon, *place, n_batches=n_batches, n_steps=N_STEPS)

    def find_drawn(self, i: int, state: ChainState) -> list[int]:
        place = state.learning_round, self.client(i)
        return draw_steps(state.beacon, *place, n_steps=N_STEPS, n_drawn=self.n_drawn)

    def seed(self, i: int) -> int:
        return 7 * i

    # -- what is sent

    def list_due(self, state: ChainState) -> list[Transaction]:
        everyone = range(self.n_clients)
        if state.phase is Phase.COMMIT:
            return [self.commit_trained(i, state) for i in everyone]
        return super().list_due(state)

    def register(self, i: int) -> Register:
        batches = self.blobs.put(batches_of(i).public.encode())
        return self.sign(replace(super().register(i), batches=batches), self.clients[i])

    def commit_trained(self, i: int, state: ChainState) -> Commit:
        """After training for the round."""
        story = self.tell(self, i, state)
        self.stories[i, state.learning_round] = story
        return self.commit_to(i, state.learning_round, story)

    def commit_to(self, i: int, learning_round: int, story: Story, **lies: Any) -> Commit:
        tx = replace(
            self.commit(i, learning_round, d_w=encode_g1(story.of_model.public.d)),
            trajectory=self.blobs.put(story.trajectory.encode()),
            d_m=story.d_m,
        )
        return self.sign(replace(tx, **lies), self.clients[i])

    def prove(self, i: int, state: ChainState, *, claimed: int | None = None) -> Proof:
        return self.show(i, state, self.train(i, state), claimed=claimed)

    def train(self, i: int, state: ChainState) -> TrainingProofs:
        """The proofs of what an honest client has trained."""
        story = self.stories[i, state.learning_round]
        return story.prove(self.find_drawn(i, state), describe_occasion(state, self.client(i)))

    def show(
        self, i: int, state: ChainState, shown: Record | bytes, *, claimed: int | None = None
    ) -> Proof:
        """A true proof of accuracy, with these proofs of training."""
        raw = shown if isinstance(shown, bytes) else shown.encode()
        tx = replace(super().prove(i, state, claimed=claimed), training=self.blobs.put(raw))
        return self.sign(tx, self.clients[i])

    # -- what is proven and summed

    def model(self, i: int, learning_round: int) -> QuantizedModel:
        return self.stories[i, learning_round].model

    def secret(self, i: int, learning_round: int) -> SecretCommitment:
        return self.stories[i, learning_round].of_model

    def mask(self, client: RoundClient, i: int, state: ChainState) -> Record:
        story = self.stories[i, state.learning_round]
        rho = story.masters[-1].blinding.rho
        return client.mask(story.last, rho=rho, weight=1, accepted=state.proofs.keys())

    def average(self, clients: Sequence[int], learning_round: int) -> list[int]:
        """The mean of their masters, halves up, number by number."""
        columns = zip(
            *(self.stories[i, learning_round].last.tolist() for i in clients), strict=True
        )
        n = len(clients)
        return [(2 * sum(column) + n) // (2 * n) for column in columns]
