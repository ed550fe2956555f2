"""The toy statement proven end to end, with every intermediate value at hand for attacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from kernels.array import FrArray, FrMont, G1Array
from kernels.backend import get_backend
from kernels.encoding import encode_g1
from prover.groth16.commitment import Linked, Opening, commit_advice, link_groups
from prover.groth16.prove import compute_points
from prover.groth16.setup import setup
from prover.groth16.transcript import compute_challenges
from prover.groth16.trapdoor import Trapdoor, draw_trapdoor
from prover.groth16.verify import verify
from prover.keys.halves import ProvingKey, VerifyingKey
from prover.pedersen.commitment import Committer
from prover.randomness import draw_scalar
from prover.wire.envelope import Envelope, Groth16Points, Proof, encode_committed
from prover.wire.statement import Statement
from prover.wire.verdict import Verdict
from tests.support.tiny_circuits import ToyCircuit, seeded

TOY = ToyCircuit()
BACKEND = get_backend("cpu")


@cache
def toy_trapdoor() -> Trapdoor:
    return draw_trapdoor(seeded(2024), n_linked=1)


@cache
def toy_committer() -> Committer:
    return Committer(2, BACKEND)


def commit_toy(model: Sequence[int], rho: int) -> G1Array:
    """D of the two wires of the toy's model."""
    return toy_committer().commit(FrArray.from_ints(model), rho)


@cache
def toy_key() -> ProvingKey:
    return setup(
        TOY.r1cs,
        circuit_digest=TOY.digest,
        n_challenges=TOY.n_challenges,
        trapdoor=toy_trapdoor(),
        backend=BACKEND,
    )


@dataclass(frozen=True, kw_only=True)
class ToyProof:
    """One run of the prover; fields are what an attacker who made it knows."""

    model: tuple[int, int]
    advice: list[int]
    rho: int
    rho_a: int
    d_w: G1Array
    linked: Linked
    d_a: G1Array
    statement: Statement
    challenges: list[int]
    public: list[int]
    points: Groth16Points
    key: ProvingKey = field(repr=False)

    @property
    def proof(self) -> Proof:
        p, x = self.points, self.linked
        return Proof(a=p.a, b=p.b, c=p.c, own=x.own, link=x.link, d_a=self.d_a)

    @property
    def envelope(self) -> bytes:
        return Envelope(statement=self.statement, proof=self.proof.encode()).encode()


def prove_toy(
    *,
    model: tuple[int, int] = (1, 1),
    random_bytes: Callable[[int], bytes],
    key: ProvingKey | None = None,
    rho: int | None = None,
    edit: Callable[[Statement], Statement] = lambda s: s,
) -> ToyProof:
    """An honest proof; `edit` changes the statement before the challenges are drawn."""
    key = key or toy_key()
    advice = TOY.solve_advice(model)
    rho = draw_scalar(random_bytes) if rho is None else rho
    d_w = commit_toy(model, rho)
    opening = Opening(wires=FrArray.from_ints(model), rho=rho)
    linked = link_groups(key, [opening], draw_scalar(random_bytes), BACKEND)
    rho_a = draw_scalar(random_bytes)
    d_a = commit_advice(key, FrArray.from_ints(advice), rho_a, BACKEND)
    statement = edit(
        TOY.statement(
            key_digest=key.verifying.digest, commitments=(encode_g1(d_w),), claimed=sum(advice)
        )
    )
    challenges = compute_challenges(
        statement.encode(),
        committed=encode_committed(own=linked.own, link=linked.link, d_a=d_a),
        n_challenges=TOY.n_challenges,
    )
    public = [statement.claimed_correct, challenges[0], *TOY.combine(challenges[0])]
    wires = [1, *public, *model, *advice, *TOY.solve_private(public, model, advice)]
    points = compute_points(
        key,
        TOY.r1cs,
        FrMont.from_ints(wires),
        blindings=linked.blindings,
        rho_a=rho_a,
        random_bytes=random_bytes,
        backend=BACKEND,
    )
    return ToyProof(
        model=model,
        advice=advice,
        rho=rho,
        rho_a=rho_a,
        d_w=d_w,
        linked=linked,
        d_a=d_a,
        statement=statement,
        challenges=challenges,
        public=public,
        points=points,
        key=key,
    )


@cache
def honest() -> ToyProof:
    """One honest proof, shared by tests that only read it."""
    return prove_toy(random_bytes=seeded(7))


def verdict_of(raw: bytes, key: VerifyingKey | None = None, seed: int = 99) -> Verdict:
    return verify(
        raw,
        key=key or toy_key().verifying,
        public_inputs=TOY.public_inputs,
        random_bytes=seeded(seed),
    )


def with_proof(run: ToyProof, **points: Any) -> bytes:
    """The envelope of a run with some points of its proof replaced."""
    proof = replace(run.proof, **points)
    return Envelope(statement=run.statement, proof=proof.encode()).encode()
