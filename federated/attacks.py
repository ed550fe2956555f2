"""Clients that cheat, to show that nobody believes them. They take the place of an honest prover.

    the liar    has a proof of its honest count, and claims a greater one over it
    the forger  has no proof: it makes one up, or takes another client's for its own

Each lie is signed by its client as any transaction, and states word for word what the chain expects
of it: only the equations of the proof stand against it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from federated.client import ProofOrder, Prover
from federated.errors import ProvingFailed
from kernels.array import FrArray, G1Array, G2Array
from kernels.bn254 import G1, G2
from kernels.cpu.words.group import mul_g1
from kernels.encoding import encode_g1
from prover.model.samples import flatten_samples
from prover.randomness import RandomBytes, draw_scalar
from prover.wire.dataset import shard_digest
from prover.wire.envelope import Envelope
from prover.wire.envelope import Proof as Points
from prover.wire.statement import Statement


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
        links=points[3:4],
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
