"""The server's side: which replies of a round count, and why the others do not.

Everything here comes from strangers, and gets an answer, never an exception.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from consensus.learning.aggregate import GlobalModel, combine, divide
from federated.float_model import FloatModel
from federated.task_scales import dequantize
from integrations.flower.arrays import Arrays, read_integers
from integrations.flower.sums import open_sum
from integrations.flower.task import Task
from integrations.flower.tickets import Mode, Ticket
from kernels.array import G1Array
from kernels.backend import Backend
from kernels.cpu.words.power import power_fp
from kernels.encoding import Refused, decode_g1
from prover.errors import FieldInvalid, FormatError
from prover.groth16.verify import verify_batch
from prover.judging import REASONS
from prover.model.network import QuantizedModel
from prover.pedersen.commitment import Blinding, Committer
from prover.pedersen.opening import opens
from prover.randomness import RandomBytes
from prover.wire.envelope import Envelope
from prover.wire.statement import Statement
from prover.wire.verdict import Verdict


class Reason(StrEnum):
    """Why a reply does not count: a stable code for metrics and logs."""

    MISSING = "missing"
    TWICE = "twice"
    MALFORMED = "malformed"
    OTHER_TASK = "other_task"
    OTHER_CLIENT = "other_client"
    STALE = "stale"
    BELOW_THRESHOLD = "below_threshold"
    OTHER_MODEL = "other_model"
    FORGED = "forged"


SENTENCES = {
    Reason.MISSING: "it carries no proof: is the mod in the ClientApp?",
    Reason.TWICE: "this node has answered in this round before",
    Reason.MALFORMED: "its arrays, its proof or its blinding are none of this task",
    Reason.OTHER_TASK: "the proof is for another task, key or set of samples",
    Reason.OTHER_CLIENT: "the proof is another node's",
    Reason.STALE: "the proof is of another round, or of another run",
    Reason.BELOW_THRESHOLD: "it claims fewer correct samples than the task asks for",
    Reason.OTHER_MODEL: "the proof is of another model than the one that was sent",
    Reason.FORGED: "the proof does not hold for its statement",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reply:
    """What a node has sent, as it came; None where it sent none.

    arrays, blinding : looked at where models travel OPEN
    """

    node: int
    envelope: bytes | None
    arrays: Arrays | None = field(default=None, repr=False)
    blinding: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Accepted:
    """A reply that counts. commitment : D_W, of length 1; model : None where it is MASKED"""

    node: int
    n_correct: int
    commitment: G1Array
    model: QuantizedModel | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A reply that does not count. detail : more about it, of public things only"""

    node: int
    reason: Reason
    detail: str

    def __str__(self) -> str:
        return f"node {self.node}: {self.reason}: {self.detail}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Candidate:
    """A reply whose proof alone is left to be verified."""

    envelope: bytes
    accepted: Accepted


class Judge:
    """Judges the replies of a task's rounds. Needs the verifying half of the key alone."""

    def __init__(self, task: Task, *, random_bytes: RandomBytes, backend: Backend) -> None:
        self.task, self._random_bytes = task, random_bytes
        self._committer = Committer(task.architecture.n_parameters, backend)

    def judge(self, replies: Sequence[Reply], ticket: Ticket) -> list[Accepted | Refusal]:
        """Of every reply whether it counts, in their order.

        cost : a commitment for each model in the open; one batch of proofs
        """
        seen = set[int]()
        found: list[_Candidate | Refusal] = []
        for reply in replies:
            is_first = reply.node not in seen
            seen.add(reply.node)
            found.append(self._admit(reply, ticket) if is_first else _refuse(reply, Reason.TWICE))
        candidates = [one for one in found if isinstance(one, _Candidate)]
        verdicts = iter(
            verify_batch(
                [one.envelope for one in candidates],
                key=self.task.key,
                public_inputs=self.task.inputs.defer,
                random_bytes=self._random_bytes,
            )
        )
        return [one if isinstance(one, Refusal) else _close(one, next(verdicts)) for one in found]

    def open_sum(self, means: Arrays, accepted: Sequence[Accepted]) -> FloatModel | None:
        """The mean of the accepted models, from what SecAgg+ says that it is; None when it is not.

        accepted : exactly those whose masked arrays were added up
        """
        arch = self.task.architecture
        points = [one.commitment for one in accepted]
        sums = open_sum(means, points, arch, self._committer)
        if sums is None:
            return None
        try:
            return self._to_floats(divide(arch, sums, len(points)))
        except FieldInvalid:
            return None

    def convert(self, accepted: Accepted) -> FloatModel:
        """The real numbers that an accepted model in the open stands for."""
        assert accepted.model is not None, "a masked model is seen by nobody"
        return self._to_floats(combine([(accepted.model, 1)]))

    def _to_floats(self, model: GlobalModel) -> FloatModel:
        return dequantize(model, self.task.scales)

    def _admit(self, reply: Reply, ticket: Ticket) -> _Candidate | Refusal:
        """Everything before the pairings."""
        if reply.envelope is None:
            return _refuse(reply, Reason.MISSING)
        envelope = Envelope.decode(reply.envelope)
        if envelope is None:
            return _refuse(reply, Reason.MALFORMED)
        statement = envelope.statement
        reason = self._find_fault(statement, ticket, reply.node)
        if reason is Reason.BELOW_THRESHOLD:
            counts = f"{statement.claimed_correct} of {self.task.n_correct}"
            return _refuse(reply, reason, f"{SENTENCES[reason]}: {counts}")
        if reason is not None:
            return _refuse(reply, reason)
        commitment = decode_g1(statement.commitments[0], 1, power=power_fp)
        if isinstance(commitment, Refused):
            return _refuse(reply, Reason.MALFORMED)
        model = self._open(reply, commitment) if ticket.mode is Mode.OPEN else None
        if isinstance(model, Refusal):
            return model
        accepted = Accepted(
            node=reply.node,
            n_correct=statement.claimed_correct,
            commitment=commitment,
            model=model,
        )
        return _Candidate(envelope=reply.envelope, accepted=accepted)

    def _find_fault(self, statement: Statement, ticket: Ticket, node: int) -> Reason | None:
        """In what a statement is not the one that this node was asked for."""
        wanted, found = ticket.get_occasion(node), statement.occasion
        of_task = (statement.verifying_key_digest, statement.dataset_digest, found.task_id)
        if of_task != (self.task.key.digest, self.task.inputs.digest, wanted.task_id):
            return Reason.OTHER_TASK
        if found.client_key != wanted.client_key:
            return Reason.OTHER_CLIENT
        if found != wanted:
            return Reason.STALE
        if statement.shard_index != 0 or len(statement.commitments) != 1:
            return Reason.MALFORMED
        if statement.claimed_correct < self.task.n_correct:
            return Reason.BELOW_THRESHOLD
        return None

    def _open(self, reply: Reply, commitment: G1Array) -> QuantizedModel | Refusal:
        """The model that was sent, if it is what D_W commits to."""
        model = None
        if reply.arrays is not None:
            model = read_integers(reply.arrays, self.task.architecture)
        blinding = _read_blinding(reply.blinding)
        if model is None or blinding is None:
            return _refuse(reply, Reason.MALFORMED)
        if not opens(commitment, model.wires, blinding.rho, self._committer):
            return _refuse(reply, Reason.OTHER_MODEL)
        return model


def _read_blinding(raw: bytes | None) -> Blinding | None:
    try:
        return None if raw is None else Blinding.decode(raw)
    except FormatError:
        return None


def _refuse(reply: Reply, reason: Reason, detail: str | None = None) -> Refusal:
    return Refusal(node=reply.node, reason=reason, detail=detail or SENTENCES[reason])


def _close(candidate: _Candidate, verdict: Verdict) -> Accepted | Refusal:
    """A verdict on the proof ends it."""
    accepted = candidate.accepted
    if verdict is Verdict.VALID:
        return accepted
    forged = verdict is Verdict.PAIRING_FAILED
    reason = Reason.FORGED if forged else Reason.MALFORMED
    return Refusal(node=accepted.node, reason=reason, detail=REASONS[verdict])
