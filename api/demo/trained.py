"""What clients of a demonstration have shown of their training, step by step, recounted.

Each step is judged by itself, under the keys that the genesis names, so that the story can say
which one does not hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from api.demo.search import Secret
from consensus.content.interface import Blobs
from consensus.disk.task_keys import load_training_keys
from consensus.learning.aggregate import GlobalModel
from consensus.learning.training_mean import divide_masters
from consensus.wire.genesis import Task
from consensus.wire.transactions import Proof
from federated.provable.trajectory import CommittedTrajectory
from kernels.numpy_types import Int64Array
from prover.groth16.verify_training import TrainingKeys, verify_exports, verify_steps
from prover.randomness import RandomBytes
from prover.training.masters import export
from prover.training.recipe import TrainingRecipe
from prover.wire.training import StepEnvelope, TrainingProofs
from prover.wire.verdict import Verdict

Trained = Mapping[int, CommittedTrajectory]
"""A client's training of each round. Private."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """A client's steps in one round.

    n_steps : that it took; drawn : t of those that it had to prove
    false   : t of those whose proof does not verify
    exports : whether its model is proven to be that of the last one
    """

    n_steps: int
    drawn: tuple[int, ...]
    false: tuple[int, ...]
    exports: bool

    @property
    def n_proven(self) -> int:
        return len(self.drawn) - len(self.false)

    @property
    def hold(self) -> bool:
        return not self.false and self.exports

    def describe(self) -> str:
        """For people: how many of the steps are proven, or which are not, counted from 1."""
        if not self.false:
            return f"{self.n_proven} of {self.n_steps} steps proven"
        which = ", ".join(str(t + 1) for t in self.false)
        return f"step {which} of {self.n_steps} does not verify"


class StepCounter:
    """Judges proofs of training of one task."""

    def __init__(self, task: Task, blobs: Blobs, random_bytes: RandomBytes) -> None:
        self._task, self._blobs, self._random_bytes = task, blobs, random_bytes

    def count(self, proof: Proof | None) -> Steps | None:
        """None for a task without proofs of training, and for a client that sent none.

        Raises BlobUnavailable.
        """
        training = self._task.training
        if training is None or proof is None:
            return None
        proofs = TrainingProofs.decode(self._blobs.get(proof.training))
        if proofs is None:
            return Steps(n_steps=training.n_steps, drawn=(), false=(), exports=False)
        envelopes = [StepEnvelope.decode(raw) for raw in proofs.steps]
        drawn = tuple(envelope.statement.step for envelope in envelopes if envelope is not None)
        keys = self._keys
        verdicts = verify_steps(
            proofs.steps, key=keys.step, inputs=keys.step_inputs, random_bytes=self._random_bytes
        )
        (export,) = verify_exports(
            [proofs.export],
            key=keys.export,
            inputs=keys.export_inputs,
            random_bytes=self._random_bytes,
        )
        return Steps(
            n_steps=training.n_steps,
            drawn=drawn,
            false=tuple(
                envelope.statement.step
                for envelope, verdict in zip(envelopes, verdicts, strict=True)
                if envelope is not None and verdict is not Verdict.VALID
            ),
            exports=export is Verdict.VALID,
        )

    @cached_property
    def _keys(self) -> TrainingKeys:
        return load_training_keys(self._task, self._blobs)


def compute_mean(recipe: TrainingRecipe, trained: Sequence[CommittedTrajectory]) -> GlobalModel:
    """The global model of these clients, from the masters at their ends. At least one."""
    ends = [one.trajectory.get_masters(one.trajectory.n_steps) for one in trained]
    return divide_masters(recipe, sum(ends[1:], ends[0]), len(ends))


def describe_training(task: Task) -> str:
    """What is asked of each client in a round, for people; empty where nothing is."""
    training = task.training
    if training is None:
        return ""
    n, q = training.n_steps, training.n_drawn
    return f"{n} of {n} steps a round" if n == q else f"{q} drawn ones of {n} steps a round"


def list_training_secrets(
    name: str, trained: CommittedTrajectory, model: Int64Array, rho: int
) -> list[Secret]:
    """What is only its owner's of a round: the model, and the masters that it is of, as far as both
    are not what all started from. model, rho : wires, and the blinding of D_W"""
    path, end = trained.trajectory, trained.trajectory.n_steps
    began = path.get_masters(0)
    return [
        Secret(name=name, numbers=model, rho=rho, known=export(path.get_recipe(), began).wires),
        Secret(
            name=name,
            numbers=path.get_masters(end),
            rho=trained.get_blinding(end),
            known=began,
            kinds=("masters", "blinding of masters"),
        ),
    ]
