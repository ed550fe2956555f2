"""A client's training in the rounds of a task that asks for proofs of it.

    REGISTER  its samples as committed batches, by their digest
    COMMIT    T steps from where all start, on the batches that the beacon of orders drew for it;
              a commitment to each, D_M(1) to D_M(T), and D_W to the export of the last
    PROVE     those of the steps that the round's beacon drew, and the export
    MASK      the masters M(T) under rho(T), in place of its model: no precision is lost

All is computed from what the chain has drawn and what the client has committed to before: nothing
is left to choose.
"""

from __future__ import annotations

import numpy as np

from consensus.learning.admission import describe_occasion
from consensus.learning.aggregate import GlobalModel
from consensus.learning.chain_state import ChainState
from consensus.learning.training import MAX_CLIENT_BATCHES, draw_order, draw_steps
from consensus.learning.training_mean import find_start
from consensus.wire.genesis import Task
from federated.data import LabeledImages
from federated.provable.batches import CommittedBatches, commit_batches, count_wires
from federated.provable.training_prover import TrainingProver, TrainingRequest
from federated.provable.trajectory import (
    CommittedTrajectory,
    PublicStart,
    Trajectory,
    commit_trajectory,
    record_trajectory,
)
from federated.rounds.store import RoundSecrets, SecretStore
from kernels.backend import Backend
from prover.errors import ShapeMismatch
from prover.pedersen.commitment import Committer
from prover.progress import StageProgress, silent
from prover.randomness import RandomBytes


class Trainee:
    """Trains as the task says, on one client's committed batches."""

    def __init__(
        self,
        task: Task,
        batches: CommittedBatches,
        *,
        prover: TrainingProver,
        committer: Committer,
        random_bytes: RandomBytes,
        progress: StageProgress = silent,
    ) -> None:
        """task : one that asks for training; committer : of as many values as its models have

        Raises FormatError for batches of another shape than the task's recipe takes.
        """
        assert task.training is not None, "who trains has a task that asks for it"
        self.terms = task.training.make_terms(task.architecture)
        batches.require_recipe(self.terms.recipe)
        self.batches, self._prover = batches, prover
        self._committer, self._random_bytes, self._progress = committer, random_bytes, progress

    def train(
        self, state: ChainState, client_key: bytes, origin: GlobalModel | None
    ) -> CommittedTrajectory:
        """The training of this round, committed to under fresh blindings.

        origin : the global model; None in a round before there is one
        Raises RangeExceeded, for the owner's eyes; FieldInvalid for a global model of no masters.
        """
        trajectory = self.record(state, client_key, origin)
        return commit_trajectory(trajectory, self._random_bytes, self._committer, self._progress)

    def record(
        self, state: ChainState, client_key: bytes, origin: GlobalModel | None
    ) -> Trajectory:
        """The steps alone, which are one thing whoever takes them. Raises as `train`."""
        recipe = self.terms.recipe
        masters, name = find_start(recipe, state.genesis.digest, origin)
        order = draw_order(
            state.order_beacon,
            state.learning_round,
            client_key,
            n_batches=self.batches.n_batches,
            n_steps=self.terms.n_steps,
        )
        begin = PublicStart(name=name, masters=masters)
        numbers = np.array(order, dtype=np.int64)
        return record_trajectory(recipe, begin, self.batches, numbers, self._progress)

    def prove(self, state: ChainState, client_key: bytes, secrets: RoundSecrets) -> bytes:
        """An encoded `TrainingProofs`. Raises ProvingFailed; requires that the client trained."""
        assert secrets.training is not None, "saved with the model that it is of"
        drawn = draw_steps(
            state.beacon,
            state.learning_round,
            client_key,
            n_steps=self.terms.n_steps,
            n_drawn=self.terms.n_drawn,
        )
        return self._prover.prove(
            TrainingRequest(
                committed=secrets.training,
                batches=self.batches,
                drawn=tuple(drawn),
                of_model=secrets.commitment,
                occasion=describe_occasion(state, client_key),
            )
        )


def take_batches(
    task: Task,
    samples: LabeledImages,
    store: SecretStore,
    *,
    random_bytes: RandomBytes,
    backend: Backend,
    progress: StageProgress = silent,
) -> CommittedBatches:
    """A client's committed batches on this chain: those in its store, or these samples', saved.

    What is there stays, whatever the samples are by now: the chain knows it by its digest.
    Raises FormatError, OSError; ShapeMismatch, also for more batches than nodes read of a client.
    """
    found = store.load_batches()
    if found is not None:
        return found
    assert task.training is not None, "who trains has a task that asks for it"
    recipe = task.training.make_recipe(task.architecture)
    n_in, n_classes, size = recipe.widths[0], recipe.widths[-1], recipe.batch_size
    if len(samples) > MAX_CLIENT_BATCHES * size:
        raise ShapeMismatch(
            f"{len(samples)} samples are more than {MAX_CLIENT_BATCHES} batches of {size}, which "
            f"is what nodes take of a client; give {MAX_CLIENT_BATCHES * size} of them at most"
        )
    batches = commit_batches(
        samples,
        n_classes=n_classes,
        batch_size=size,
        random_bytes=random_bytes,
        committer=Committer(count_wires(n_in, n_classes, size), backend, progress),
        progress=progress,
    )
    store.save_batches(batches)
    return batches
