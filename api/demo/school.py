"""How the clients of a demonstration learn: in floats by the task's scales, or step by step."""

from __future__ import annotations

import secrets
from contextlib import suppress
from threading import Lock
from typing import Protocol

from api.demo.stage import Role, Stage, StepKeys, WarmStart
from consensus.learning.aggregate import GlobalModel
from federated.attacks import Impostor, ImpostorProver
from federated.client import Learn
from federated.local import improve
from federated.provable.batches import CommittedBatches
from federated.provable.steps import iterate_steps
from federated.provable.training_prover import OwnTrainingProver, TrainingProver, TrainingRequest
from federated.rounds.store import SecretStore
from federated.rounds.training import Trainee, take_batches
from federated.task_scales import dequantize
from kernels.backend import Backend
from kernels.numpy_types import Int64Array
from prover.errors import RangeExceeded
from prover.model.network import QuantizedModel
from prover.pedersen.commitment import Committer
from prover.training.draws import order_batches

ELSEWHERE_STEPS = 200
"""How much longer than the others the impostor trains, on batches of its choice."""


class School(Protocol):
    """Where clients learn to learn."""

    def enroll(self, index: int, role: Role, store: SecretStore) -> Learn | Trainee:
        """How the client of this index learns, in one of these ways for all clients."""


def open_school(stage: Stage, turn: Lock, backend: Backend) -> School:
    """turn : held by who proves, since a proof takes all processors"""
    if isinstance(stage.learning, WarmStart):
        return _FloatSchool(stage, stage.learning)
    return _StepSchool(stage, stage.learning, turn, backend)


class _FloatSchool:
    """One at a time: each takes a processor, and there are others who need one."""

    def __init__(self, stage: Stage, warm: WarmStart) -> None:
        self._stage, self._warm, self._training = stage, warm, Lock()

    def enroll(self, index: int, role: Role, store: SecretStore) -> Learn:
        """Trains on from the global model, on its own samples and the public ones."""
        stage, warm = self._stage, self._warm
        samples = stage.own[index] + stage.public

        def learn(model: GlobalModel | None, learning_round: int) -> QuantizedModel:
            with self._training:
                return improve(
                    warm.start if model is None else dequantize(model, warm.scales),
                    samples,
                    architecture=stage.plan.architecture,
                    scales=warm.scales,
                    seed=stage.plan.seed + learning_round * len(stage.own) + index,
                    progress=lambda what, done, total: None,
                    settings=stage.plan.local,
                )

        return learn


class _TrainingInTurn:
    """A prover of training that several threads share."""

    def __init__(self, prover: TrainingProver, turn: Lock) -> None:
        self._prover, self._turn = prover, turn

    def prove(self, request: TrainingRequest) -> bytes:
        """Raises ProvingFailed."""
        with self._turn:
            return self._prover.prove(request)


class _StepSchool:
    """All steps are of one recipe, and proven under one copy of each key."""

    def __init__(self, stage: Stage, keys: StepKeys, turn: Lock, backend: Backend) -> None:
        self._stage, self._backend = stage, backend
        self._committer = Committer(stage.plan.architecture.n_parameters, backend)
        own = OwnTrainingProver(
            step=keys.step.circuit,
            step_key=keys.step.key,
            export=keys.export.circuit,
            export_key=keys.export.key,
            committer=self._committer,
            random_bytes=secrets.token_bytes,
            backend=backend,
        )
        self._prover = _TrainingInTurn(own, turn)

    def enroll(self, index: int, role: Role, store: SecretStore) -> Trainee:
        """On its own samples and the public ones, as committed batches."""
        stage, task = self._stage, self._stage.genesis.task
        batches = take_batches(
            task,
            stage.own[index] + stage.public,
            store,
            random_bytes=secrets.token_bytes,
            backend=self._backend,
        )
        if role is not Role.IMPOSTOR:
            return Trainee(
                task,
                batches,
                prover=self._prover,
                committer=self._committer,
                random_bytes=secrets.token_bytes,
            )
        return Impostor(
            task,
            batches,
            prover=ImpostorProver(self._prover, self._committer, random_bytes=secrets.token_bytes),
            committer=self._committer,
            random_bytes=secrets.token_bytes,
            elsewhere=lambda masters: self._train_elsewhere(masters, batches),
        )

    def _train_elsewhere(self, masters: Int64Array, batches: CommittedBatches) -> Int64Array:
        """The masters of many more steps, on all that the client has, as far as ranges hold."""
        numbers = order_batches(b"elsewhere", n_batches=batches.n_batches, n_steps=ELSEWHERE_STEPS)
        last = masters
        with suppress(RangeExceeded):
            for after in iterate_steps(
                self._stage.plan.recipe, masters, numbers, batches.get_samples
            ):
                last = after
        return last
