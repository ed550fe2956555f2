"""Clients that cheat, to show that nobody believes them. They take the place of an honest prover.

    the liar      has a proof of its honest count, and claims a greater one over it
    the forger    has no proof: it makes one up, or takes another client's for its own
    the impostor  has a model from elsewhere, of which its accuracy and its export are true, and
                  says that its steps led there: all are honest but the last

Each lie is signed by its client as any transaction, and states word for word what the chain expects
of it: only the equations of the proof stand against it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from consensus.learning.aggregate import GlobalModel
from consensus.learning.chain_state import ChainState
from federated.client import ProofOrder, Prover
from federated.errors import ProvingFailed
from federated.provable.training_prover import TrainingProver, TrainingRequest
from federated.provable.trajectory import CommittedTrajectory, Trajectory
from federated.rounds.training import Trainee
from kernels.array import FrArray, G1Array, G2Array
from kernels.bn254 import G1, G2
from kernels.cpu.words.group import mul_g1
from kernels.encoding import encode_g1
from kernels.numpy_types import Int64Array
from prover.model.samples import flatten_samples
from prover.pedersen.commitment import Committer, draw_blinding
from prover.randomness import RandomBytes, draw_scalar
from prover.steps import commit_values
from prover.training.masters import export
from prover.training.step import train_step
from prover.wire.dataset import shard_digest
from prover.wire.envelope import Envelope
from prover.wire.envelope import Proof as Points
from prover.wire.statement import Statement
from prover.wire.training import StepEnvelope, TrainingProofs


class LyingProver:
    """Claims `extra` more correct samples than its proof shows, at most all of them."""

    def __init__(self, honest: Prover, *, extra: int) -> None:
        self._honest, self._extra = honest, extra

    def prove(self, order: ProofOrder) -> bytes:
        envelope = Envelope.decode(self._honest.prove(order))
        if envelope is None:
            raise ProvingFailed("the prover gave back no envelope of this version; update it")
        return raise_claim(envelope, extra=self._extra).encode()


class ForgingProver:
    """Claims every sample, over a proof of another client if there is one, or else made up."""

    def __init__(
        self,
        find_other: Callable[[], Envelope | None],
        *,
        key_digest: bytes,
        random_bytes: RandomBytes,
    ) -> None:
        """key_digest : of the task's verifying key"""
        self._find_other, self._random_bytes = find_other, random_bytes
        self._key_digest = key_digest

    def prove(self, order: ProofOrder) -> bytes:
        other = self._find_other()
        if other is not None:
            return take_over(other, order).encode()
        statement = state_own(order, key_digest=self._key_digest, claimed=len(order.labels))
        return make_up(statement, random_bytes=self._random_bytes).encode()


class Impostor(Trainee):
    """Puts masters from elsewhere in the place of those at the end of its honest steps."""

    def __init__(
        self, *arguments: Any, elsewhere: Callable[[Int64Array], Int64Array], **options: Any
    ) -> None:
        """elsewhere : from the masters that all start from to those that it shows as its own"""
        super().__init__(*arguments, **options)
        self._elsewhere = elsewhere

    def record(
        self, state: ChainState, client_key: bytes, origin: GlobalModel | None
    ) -> Trajectory:
        """All masters but the last as a `Trainee` has them."""
        honest = super().record(state, client_key, origin)
        masters = honest.masters.copy()
        others = self._elsewhere(honest.get_masters(0))
        masters[-len(others) :] = others
        return replace(honest, masters=masters)


class ImpostorProver:
    """Proves all honest steps and the true export; over the last step lies the proof of another."""

    def __init__(
        self, honest: TrainingProver, committer: Committer, *, random_bytes: RandomBytes
    ) -> None:
        """committer : of as many values as masters have"""
        self._honest, self._committer, self._random_bytes = honest, committer, random_bytes

    def prove(self, request: TrainingRequest) -> bytes:
        """Of two steps or more. Raises ProvingFailed."""
        last = request.committed.trajectory.n_steps - 1
        *others, drawn = request.drawn
        if drawn != last:
            return self._honest.prove(request)  # nobody has drawn the false step
        true = self._prove(replace(request, drawn=tuple(others) or (0,)))
        step = StepEnvelope.decode(self._prove(self._step_honestly(request)).steps[0])
        if step is None:
            raise ProvingFailed("the prover gave back no envelope of this version; update it")
        after = encode_g1(request.committed.public.d[-1:])
        lie = replace(step, statement=replace(step.statement, after=after))
        steps = (*true.steps[: len(others)], lie.encode())
        return TrainingProofs(steps=steps, export=true.export).encode()

    def _prove(self, request: TrainingRequest) -> TrainingProofs:
        proofs = TrainingProofs.decode(self._honest.prove(request))
        if proofs is None:
            raise ProvingFailed("the prover gave back no proofs of this version; update it")
        return proofs

    def _step_honestly(self, request: TrainingRequest) -> TrainingRequest:
        """The last step alone, to where it leads, with what has to be committed to for it."""
        committed, path = request.committed, request.committed.trajectory
        recipe, last = path.get_recipe(), path.n_steps - 1
        images, labels = request.batches.get_samples(int(path.numbers[last]))
        after = train_step(recipe, path.get_masters(last), images, labels).after
        masters = path.masters.copy()
        masters[-len(after) :] = after
        rho = draw_scalar(self._random_bytes)
        d = G1Array.concat([committed.public.d[:-1], self._committer.commit(after, rho)])
        public = replace(committed.public, d=d)
        blindings = replace(
            committed.blindings,
            commitments=public.digest,
            rho=FrArray.from_ints([*committed.blindings.rho.to_ints()[:-1], rho]),
        )
        honest = replace(path, masters=masters)
        model = commit_values(
            export(recipe, after).wires, draw_blinding(self._random_bytes), self._committer
        )
        return replace(
            request,
            committed=CommittedTrajectory(trajectory=honest, public=public, blindings=blindings),
            drawn=(last,),
            of_model=model,
        )


def raise_claim(envelope: Envelope, *, extra: int) -> Envelope:
    """The same proof under a statement that claims more."""
    statement = envelope.statement
    claimed = min(statement.n_real, statement.claimed_correct + extra)
    return replace(envelope, statement=replace(statement, claimed_correct=claimed))


def make_up(statement: Statement, *, random_bytes: RandomBytes) -> Envelope:
    """A statement over points of the curves that nobody computed."""
    drawn = FrArray.from_ints([draw_scalar(random_bytes) for _ in range(5)])
    points = mul_g1(drawn, G1Array.from_ints([G1] * 5))
    proof = Points(
        a=points[0:1],
        b=G2Array.from_ints([G2]),
        c=points[1:2],
        own=points[2:3],
        link=points[3:4],
        d_a=points[4:5],
    )
    return Envelope(statement=statement, proof=proof.encode())


def take_over(other: Envelope, order: ProofOrder) -> Envelope:
    """Another client's proof and its count, in the thief's name and under its D_W."""
    theirs = other.statement
    own = state_own(order, key_digest=theirs.verifying_key_digest, claimed=theirs.claimed_correct)
    return replace(other, statement=own)


def state_own(order: ProofOrder, *, key_digest: bytes, claimed: int) -> Statement:
    """What an honest prover would state, but for the count."""
    return Statement(
        occasion=order.occasion,
        verifying_key_digest=key_digest,
        shard_index=0,
        n_real=len(order.labels),
        dataset_digest=shard_digest(flatten_samples(order.images), order.labels),
        multipliers=order.model.architecture.multipliers,
        claimed_correct=claimed,
        commitments=(encode_g1(order.commitment.public.d),),
    )
