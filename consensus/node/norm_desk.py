"""A node's side of bounds on updates: key, global model, verdicts on second envelopes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

from consensus.content.interface import Blobs
from consensus.disk.task_keys import load_norm_key
from consensus.learning.admission import find_norm_fault, is_norm_asked
from consensus.learning.aggregate import GlobalModel
from consensus.learning.chain_state import ChainState
from consensus.wire.genesis import Task
from consensus.wire.transactions import Proof
from prover.circuit.norm.inputs import UpdateInputs
from prover.circuit.norm.plan import NormPlan
from prover.groth16.verify import verify_updates
from prover.keys.halves import VerifyingKey
from prover.pedersen.commitment import Committer
from prover.randomness import RandomBytes
from prover.wire.verdict import Verdict


class NormDesk:
    """Judges proofs of bounds of one task; remembers the commitment to the last global model.

    load_committer : for as many wires as a model has; asked only when there are bounds to judge
    Blobs that a call reads must be there: BlobUnavailable else. Not for several threads at a time.
    """

    def __init__(
        self,
        task: Task,
        blobs: Blobs,
        load_committer: Callable[[], Committer],
        random_bytes: RandomBytes,
    ) -> None:
        self._task, self._blobs = task, blobs
        self._load_committer, self._random_bytes = load_committer, random_bytes
        self._origin: tuple[bytes, UpdateInputs] | None = None

    def list_needed(self, state: ChainState) -> tuple[bytes, ...]:
        """Digests of the blobs that proofs of this round are judged by."""
        norm = self._task.norm
        if norm is None or not is_norm_asked(state):
            return ()
        return norm.verifying_key_digest, state.global_model

    def find_fault(self, state: ChainState, proof: Proof) -> str | None:
        """What is wrong with the second envelope, without any pairing."""
        if not is_norm_asked(state):
            return find_norm_fault(state, proof)
        return find_norm_fault(state, proof, self._load_origin(state).digest)

    def judge(self, state: ChainState, proofs: Sequence[Proof]) -> list[Verdict]:
        """Verdicts of the equations alone, in one batch; VALID where nothing is asked."""
        if not proofs or not is_norm_asked(state):
            return [Verdict.VALID] * len(proofs)
        return verify_updates(
            [proof.norm for proof in proofs],
            key=self._key,
            inputs=self._load_origin(state),
            random_bytes=self._random_bytes,
        )

    def _load_origin(self, state: ChainState) -> UpdateInputs:
        """The global model, rounded as for the margin, and the commitment that is subtracted."""
        if self._origin is None or self._origin[0] != state.global_model:
            model = GlobalModel.parse(self._blobs.get(state.global_model)).rounded()
            inputs = UpdateInputs.of(self._plan, model, self._load_committer())
            self._origin = state.global_model, inputs
        return self._origin[1]

    @cached_property
    def _key(self) -> VerifyingKey:
        return load_norm_key(self._task, self._blobs)

    @cached_property
    def _plan(self) -> NormPlan:
        norm = self._task.norm
        assert norm is not None, "nothing is judged in a task without bounds"
        return norm.make_card(self._task.architecture).plan
