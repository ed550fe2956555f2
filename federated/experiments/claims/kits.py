"""Circuits and keys of the tasks that are lied to, made once in a process.

Trapdoors are drawn and forgotten: no lie of this experiment has one. Networks are small, so that a
proof takes a fraction of a second; the rules and the equations are those of any other.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from consensus.content.interface import Blobs
from consensus.learning.samples import SamplePool
from consensus.wire.genesis import Task
from consensus.wire.task_norm import TaskNorm
from consensus.wire.task_training import TaskTraining
from federated.experiments.chains.tasks import make_round
from federated.provable.recipes import make_trainable, suggest_recipe
from kernels.backend import Backend
from prover.circuit.accuracy import AccuracyCircuit, compile_accuracy
from prover.circuit.norm.circuit import NormCircuit, compile_norm
from prover.circuit.training.export import ExportCircuit, compile_export
from prover.circuit.training.step import StepCircuit, compile_step
from prover.groth16.setup import setup_accuracy
from prover.groth16.setup_norm import setup_norm
from prover.groth16.setup_training import setup_export, setup_step
from prover.keys.halves import ProvingKey
from prover.keys.training_card import ExportCard, StepCard
from prover.model.network import Architecture
from prover.model.presets import parse_architecture
from prover.model.update import UpdateBounds
from prover.pedersen.commitment import Committer
from prover.training.recipe import TrainingRecipe

N_SAMPLES = 64
N_STEPS = 2
STEP_SAMPLES = 8
BOUNDS = UpdateBounds(weight=12, bias=2048, squares=12_000)
LOOSE = UpdateBounds(weight=254, bias=1 << 16, squares=4_000_000)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AccuracyKit:
    """What proofs of accuracy take.

    key, other : of the same circuit, by two setups
    recipe     : by which models of this experiment are trained
    """

    circuit: AccuracyCircuit
    key: ProvingKey
    other: ProvingKey
    committer: Committer
    recipe: TrainingRecipe
    backend: Backend

    @property
    def architecture(self) -> Architecture:
        return self.circuit.architecture


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BoundsKit:
    """What proofs of bounds take: those of the task, and looser ones that nobody asks for."""

    norm: NormCircuit
    key: ProvingKey
    loose: NormCircuit
    loose_key: ProvingKey


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingKit:
    """What proofs of training take."""

    step: StepCircuit
    step_key: ProvingKey
    export: ExportCircuit
    export_key: ProvingKey


def make_accuracy_kit(name: str, backend: Backend) -> AccuracyKit:
    """name : of a network of linear layers, such as mlp-784-16-10"""
    architecture = make_trainable(parse_architecture(name))
    circuit = compile_accuracy(architecture, N_SAMPLES)
    key, other = (
        setup_accuracy(circuit, random_bytes=secrets.token_bytes, backend=backend) for _ in range(2)
    )
    return AccuracyKit(
        circuit=circuit,
        key=key,
        other=other,
        committer=Committer(architecture.n_parameters, backend),
        recipe=suggest_recipe(architecture, batch_size=STEP_SAMPLES),
        backend=backend,
    )


def make_bounds_kit(kit: AccuracyKit) -> BoundsKit:
    """Bounds for the same network."""
    norm, loose = (compile_norm(kit.architecture, bounds) for bounds in (BOUNDS, LOOSE))
    key, loose_key = (
        setup_norm(one, random_bytes=secrets.token_bytes, backend=kit.backend)
        for one in (norm, loose)
    )
    return BoundsKit(norm=norm, key=key, loose=loose, loose_key=loose_key)


def make_training_kit(kit: AccuracyKit) -> TrainingKit:
    """Training by the same recipe."""
    step, export = compile_step(kit.recipe), compile_export(kit.recipe)
    return TrainingKit(
        step=step,
        step_key=setup_step(step, random_bytes=secrets.token_bytes, backend=kit.backend),
        export=export,
        export_key=setup_export(export, random_bytes=secrets.token_bytes, backend=kit.backend),
    )


class Kits:
    """Kits of one device, each made when it is first asked for."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._accuracy: dict[str, AccuracyKit] = {}
        self._bounds: dict[str, BoundsKit] = {}
        self._training: dict[str, TrainingKit] = {}

    def get_accuracy(self, name: str) -> AccuracyKit:
        """name : of a network of linear layers, such as mlp-784-16-10"""
        if name not in self._accuracy:
            self._accuracy[name] = make_accuracy_kit(name, self.backend)
        return self._accuracy[name]

    def get_bounds(self, name: str) -> BoundsKit:
        if name not in self._bounds:
            self._bounds[name] = make_bounds_kit(self.get_accuracy(name))
        return self._bounds[name]

    def get_training(self, name: str) -> TrainingKit:
        if name not in self._training:
            self._training[name] = make_training_kit(self.get_accuracy(name))
        return self._training[name]


def make_task(
    kit: AccuracyKit,
    blobs: Blobs,
    pool: SamplePool,
    *,
    n_clients: int,
    bounds: BoundsKit | None = None,
    training: TrainingKit | None = None,
) -> Task:
    """A task of one round under these keys, whose pool is there."""
    return make_round(
        kit.circuit,
        kit.key,
        blobs,
        pool,
        n_clients=n_clients,
        norm=None if bounds is None else _ask_for_bounds(bounds, blobs),
        training=None if training is None else _ask_for_training(training, blobs),
    )


def _ask_for_bounds(kit: BoundsKit, blobs: Blobs) -> TaskNorm:
    return TaskNorm(
        bounds=kit.norm.bounds,
        circuit_digest=kit.norm.digest,
        verifying_key_digest=blobs.put(kit.key.verifying.encode()),
    )


def _ask_for_training(kit: TrainingKit, blobs: Blobs) -> TaskTraining:
    return TaskTraining.of(
        StepCard.of(kit.step),
        ExportCard.of(kit.export),
        step_key=blobs.put(kit.step_key.verifying.encode()),
        export_key=blobs.put(kit.export_key.verifying.encode()),
        n_steps=N_STEPS,
        n_drawn=N_STEPS,
    )
