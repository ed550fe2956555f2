"""A node's side of training: what clients show of theirs, against what a task asks.

    REGISTER   the batches             of the recipe's shape
    COMMIT     the trajectory          from the round's start, on these batches, in the drawn order
    PROVE      the proofs of training  of the drawn steps and the export, then all their pairings

The rules are `consensus.learning.training`, which knows neither blocks nor blobs. Of a round is
remembered D_M(0), which everybody computes from the global model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

from consensus.content.interface import Blobs
from consensus.disk.task_keys import load_training_keys
from consensus.learning.admission import describe_occasion
from consensus.learning.aggregate import GlobalModel
from consensus.learning.chain_state import NO_MODEL, ChainState, Commitment
from consensus.learning.training import (
    TrainingClaim,
    TrainingCommit,
    TrainingRound,
    TrainingStart,
    find_batches_fault,
    find_path_fault,
    find_training_fault,
)
from consensus.learning.training_mean import find_start
from consensus.wire.genesis import Genesis
from consensus.wire.task_training import TrainingTerms
from consensus.wire.transactions import Commit, Proof, Register
from kernels.encoding import encode_g1
from prover.groth16.verify_training import TrainingKeys, verify_trainings
from prover.pedersen.commitment import Committer
from prover.randomness import RandomBytes
from prover.wire.training import TrainingProofs
from prover.wire.verdict import Verdict


class TrainingDesk:
    """Judges what the clients of one chain show of their training; finds no fault in a task that
    asks for none.

    load_committer : for as many wires as a model has; asked only when there are proofs to judge
    Blobs that a call reads must be there: BlobUnavailable else. Not for several threads at a time.
    """

    def __init__(
        self,
        genesis: Genesis,
        blobs: Blobs,
        load_committer: Callable[[], Committer],
        random_bytes: RandomBytes,
    ) -> None:
        self._genesis, self._task, self._blobs = genesis, genesis.task, blobs
        self._load_committer, self._random_bytes = load_committer, random_bytes
        self._origin: tuple[bytes, bytes] | None = None

    def list_needed(self, state: ChainState) -> tuple[bytes, ...]:
        """Digests of the blobs that proofs of this round are judged by, whoever sends them."""
        training = self._task.training
        if training is None:
            return ()
        model = () if state.global_model == NO_MODEL else (state.global_model,)
        return (*training.key_digests, *model)

    def find_fault(self, state: ChainState, tx: Register | Commit | Proof) -> str | None:
        """What is wrong with the blobs that a client names, without any pairing.

        Requires that `find_admission_fault` lets it pass.
        """
        if self._task.training is None:
            return None
        match tx:
            case Register():
                fault = find_batches_fault(self._terms, self._blobs.get(tx.batches))
            case Commit():
                fault = self._find_commit_fault(state, tx)
            case Proof():
                fault = self._find_proof_fault(state, tx)
        return fault and f"its training: {fault}"

    def judge(self, proofs: Sequence[Proof]) -> list[Verdict]:
        """Verdicts of the equations alone, of all proofs in one batch; VALID where nothing is
        asked. Requires that `find_fault` has found none."""
        if not proofs or self._task.training is None:
            return [Verdict.VALID] * len(proofs)
        return verify_trainings(
            [TrainingProofs.parse(self._blobs.get(proof.training)) for proof in proofs],
            keys=self._keys,
            random_bytes=self._random_bytes,
        )

    # -- faults ------------------------------------------------------------------------------------

    def _find_commit_fault(self, state: ChainState, tx: Commit) -> str | None:
        commit = _describe(state, tx.client_key, tx)
        return find_path_fault(
            self._terms,
            TrainingStart(start=self._name_start(state), order_beacon=state.order_beacon),
            commit,
            batches=self._blobs.get(commit.batches),
            trajectory=self._blobs.get(commit.trajectory),
        )

    def _find_proof_fault(self, state: ChainState, tx: Proof) -> str | None:
        committed = state.commits[tx.client_key]
        commit = _describe(state, tx.client_key, committed)
        return find_training_fault(
            self._terms,
            TrainingRound(
                start=self._name_start(state),
                order_beacon=state.order_beacon,
                masters=self._commit_start(state),
                draw_beacon=state.beacon,
            ),
            TrainingClaim(
                occasion=describe_occasion(state, tx.client_key),
                commit=commit,
                d_w=committed.d_w,
            ),
            batches=self._blobs.get(commit.batches),
            trajectory=self._blobs.get(commit.trajectory),
            proofs=self._blobs.get(tx.training),
        )

    # -- where a round starts ----------------------------------------------------------------------

    def _name_start(self, state: ChainState) -> bytes:
        """What a trajectory of this round says that it starts from."""
        is_first = state.global_model == NO_MODEL
        return self._genesis.digest if is_first else state.global_model

    def _commit_start(self, state: ChainState) -> bytes:
        """D_M(0), compressed."""
        name = self._name_start(state)
        if self._origin is None or self._origin[0] != name:
            is_first = state.global_model == NO_MODEL
            model = None if is_first else GlobalModel.parse(self._blobs.get(state.global_model))
            masters, _ = find_start(self._terms.recipe, self._genesis.digest, model)
            self._origin = name, encode_g1(self._load_committer().commit(masters, 0))
        return self._origin[1]

    # -- the task ----------------------------------------------------------------------------------

    @cached_property
    def _terms(self) -> TrainingTerms:
        training = self._task.training
        assert training is not None, "nothing is judged in a task without training"
        return training.make_terms(self._task.architecture)

    @cached_property
    def _keys(self) -> TrainingKeys:
        return load_training_keys(self._task, self._blobs)


def _describe(state: ChainState, client_key: bytes, of: Commit | Commitment) -> TrainingCommit:
    """What a client commits to in the round under way, as it is sent or as the chain has it."""
    return TrainingCommit(
        learning_round=state.learning_round,
        client_key=client_key,
        batches=state.batches[client_key],
        trajectory=of.trajectory,
        d_m=of.d_m,
    )
