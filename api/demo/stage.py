"""What a demonstration needs before anything runs: data, keys, a chain, and who takes part."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from api.store.keycache import KeyCache, ReadyKey
from api.store.keyfolder import KeyFolder
from consensus.content.blobs import FileBlobs
from consensus.disk.development import BLOBS, create_chain
from consensus.learning.samples import SamplePool
from consensus.wire.genesis import LEAST_SAMPLES, Genesis, Task, Timeouts, set_phases
from consensus.wire.task_training import TaskTraining
from federated.data import DatasetRef, LabeledImages, load_samples
from federated.float_model import FloatModel
from federated.local import LOCAL, WARM_UP, warm_up
from federated.partition import split_by_label
from federated.provable.recipes import suggest_recipe
from federated.task_scales import TaskScales, quantize_for_task
from federated.train import TrainSettings
from kernels.backend import Backend
from prover.circuit.accuracy import AccuracyCircuit
from prover.circuit.training.export import ExportCircuit
from prover.circuit.training.step import StepCircuit
from prover.keys.training_card import ExportCard, StepCard
from prover.model.network import Architecture
from prover.model.presets import parse_architecture
from prover.pedersen.commitment import Committer, draw_blinding
from prover.pipeline import commit_job, prove_job
from prover.training.draws import draw_start
from prover.training.recipe import TrainingRecipe
from prover.wire.statement import Occasion

Report = Callable[[str, int, int], None]
CHAIN, CLIENTS, LOGS = "chain", "clients", "logs"
"""Folders of a demonstration."""


class Role(StrEnum):
    HONEST = "honest"
    LIAR = "liar"
    FORGER = "forger"
    IMPOSTOR = "impostor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The size of the demonstration; the default one proves in 2^18 rows.

    dataset, model : their names; the data set's is the task's
    least_percent  : of a proof's samples, correct ones of a proof that counts
    train, test    : references of real samples that are here; the test set is the pool
    n_public       : first samples of `train`, which everyone has; clients share the rest
    n_least        : own samples of a client, at least
    concentration  : of the split by classes, see `federated.partition`
    warm_up, local : how the start is trained, and how clients train in a round
    n_steps        : of integer SGD that a client takes in a round instead, each proven; 0: none
    memory_bytes   : of the process that proves for all; None: as much as it takes
    """

    dataset: str = "mnist"
    model: str = "mlp-784-48-10"
    architecture: Architecture = field(default_factory=lambda: parse_architecture("mlp-784-48-10"))
    n_samples: int = 512
    least_percent: int = 50
    train: str = "mnist:train[0:6000]"
    test: str = "mnist:test[0:2048]"
    n_public: int = 500
    n_least: int = 200
    concentration: float = 0.5
    warm_up: TrainSettings = WARM_UP
    local: TrainSettings = LOCAL
    seed: int = 1
    n_validators: int = 4
    roles: tuple[Role, ...] = (Role.HONEST, Role.HONEST, Role.HONEST, Role.LIAR, Role.FORGER)
    n_rounds: int = 3
    block_ms: int = 1000
    phase_ms: int = 120_000  # who is silent for so long is not waited for any more
    memory_bytes: int | None = None
    n_steps: int = 0

    @property
    def recipe(self) -> TrainingRecipe:
        """How clients train where each step is proven."""
        return suggest_recipe(self.architecture)

    @property
    def threshold(self) -> int:
        """Least count of a proof that counts."""
        return max(1, self.n_samples * self.least_percent // 100)

    @property
    def is_small(self) -> bool:
        """Whether proofs are of fewer samples than a task's usually have to be."""
        return self.n_samples < LEAST_SAMPLES


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WarmStart:
    """What clients learn from where no step is proven: a model of public samples, its scales."""

    start: FloatModel
    scales: TaskScales


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepKeys:
    """What they prove their training under where each step is."""

    step: ReadyKey[StepCircuit]
    export: ReadyKey[ExportCircuit]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stage:
    """Ready to play. Folders: `chain` of genesis and validators, `clients` of their secrets."""

    plan: Plan
    folder: Path
    genesis: Genesis
    blobs: FileBlobs
    ready: ReadyKey[AccuracyCircuit]
    learning: WarmStart | StepKeys
    public: LabeledImages
    own: tuple[LabeledImages, ...]
    test: LabeledImages

    @property
    def chain(self) -> Path:
        return self.folder / CHAIN


def set_up(plan: Plan, folder: Path, data_dir: Path, backend: Backend, report: Report) -> Stage:
    """Loads, trains a start, makes or finds the keys, tries a proof, deals a chain's keys.

    Raises FederatedError, ProverError, IdentityError, OSError.
    """
    train, test = (_load(reference, data_dir) for reference in (plan.train, plan.test))
    public, rest = train.split(plan.n_public)
    parts = split_by_label(
        rest.labels,
        n_clients=len(plan.roles),
        concentration=plan.concentration,
        seed=plan.seed,
        least=plan.n_least,
    )
    keys = KeyCache(
        KeyFolder(data_dir / "keys"),
        budget_bytes=1 << 33,
        random_bytes=secrets.token_bytes,
        memory_bytes=plan.memory_bytes,
    )
    ready = keys.get(plan.architecture, plan.n_samples, backend, report)
    learning: WarmStart | StepKeys
    if plan.n_steps:
        learning = StepKeys(
            step=keys.get_step(plan.recipe, backend, report),
            export=keys.get_export(plan.recipe, backend, report),
        )
    else:
        start, scales = warm_up(public, plan.architecture, report, settings=plan.warm_up)
        learning = WarmStart(start=start, scales=scales)
    _try_proof(plan, ready, learning, test, backend, report)
    (folder / CHAIN).mkdir(mode=0o700, parents=True)
    blobs = FileBlobs(folder / CHAIN / BLOBS)
    genesis = create_chain(
        folder / CHAIN,
        chain_id=b"demo",
        task=_make_task(plan, ready, learning, test, blobs),
        timeouts=Timeouts(
            propose_ms=3000,
            prevote_ms=1500,
            precommit_ms=1500,
            increase_ms=500,
            empty_block_ms=plan.block_ms,
            longest_empty_ms=8 * plan.block_ms,
        ),
        n_validators=plan.n_validators,
        random_bytes=secrets.token_bytes,
    )
    return Stage(
        plan=plan,
        folder=folder,
        genesis=genesis,
        blobs=blobs,
        ready=ready,
        learning=learning,
        public=public,
        own=tuple(rest.take(part) for part in parts),
        test=test,
    )


def _load(reference: str, data_dir: Path) -> LabeledImages:
    samples = load_samples(DatasetRef.parse(reference), data_dir)
    return LabeledImages(images=samples.images, labels=samples.labels)


def _try_proof(
    plan: Plan,
    ready: ReadyKey[AccuracyCircuit],
    learning: WarmStart | StepKeys,
    test: LabeledImages,
    backend: Backend,
    report: Report,
) -> None:
    """Proves a start, so that every kernel is compiled before many processes want it."""
    if isinstance(learning, WarmStart):
        model = quantize_for_task(learning.start, plan.architecture, learning.scales)
    else:
        model = draw_start(plan.recipe, b"trial")
    blinding = draw_blinding(secrets.token_bytes)
    committer = Committer(plan.architecture.n_parameters, backend, report)
    report("first proof", 0, 1)
    commitment = commit_job(model, blinding, committer)
    shard, _ = test.split(plan.n_samples)
    prove_job(
        ready.circuit,
        ready.key,
        model,
        images=shard.images,
        labels=shard.labels,
        occasion=Occasion(
            chain_id=b"trial",
            task_id=b"trial",
            round_index=0,
            commit_height=0,
            client_key=b"trial",
        ),
        commitment=commitment,
        blinding=blinding,
        random_bytes=secrets.token_bytes,
        backend=backend,
        clock=time.perf_counter,
    )
    report("first proof", 1, 1)


def _make_task(
    plan: Plan,
    ready: ReadyKey[AccuracyCircuit],
    learning: WarmStart | StepKeys,
    test: LabeledImages,
    blobs: FileBlobs,
) -> Task:
    pool = SamplePool.of(images=test.images, labels=test.labels)
    return Task(
        task_id=plan.dataset.encode(),
        architecture=plan.architecture,
        circuit_digest=ready.circuit.digest,
        verifying_key_digest=blobs.put(ready.key.verifying.encode()),
        sealed=False,
        pools=(blobs.put(pool.encode()),),
        n_samples=plan.n_samples,
        threshold=plan.threshold,
        margin=None,
        n_rounds=plan.n_rounds,
        n_expected=len(plan.roles),
        collusion=1,
        **set_phases(plan.phase_ms),
        allow_few_samples=plan.is_small,
        **_ask_for_learning(plan, learning, blobs),
    )


def _ask_for_learning(
    plan: Plan, learning: WarmStart | StepKeys, blobs: FileBlobs
) -> dict[str, Any]:
    """The scales that all divide by, or a proof of every step."""
    if isinstance(learning, WarmStart):
        return {"scales": learning.scales.to_lists()}
    step, export = learning.step, learning.export
    training = TaskTraining.of(
        StepCard.of(step.circuit),
        ExportCard.of(export.circuit),
        step_key=blobs.put(step.key.verifying.encode()),
        export_key=blobs.put(export.key.verifying.encode()),
        n_steps=plan.n_steps,
        n_drawn=plan.n_steps,
    )
    return {"training": training}
