"""The toy statement proven end to end, with every intermediate value at hand for attacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from kernels.array import FrArray, FrMont, G1Array
from kernels.backend import get_backend
from kernels.encoding import encode_g1
from prover.groth16.commitment import (
    Blinding,
    ModelCommitment,
    commit_advice,
    commit_model,
    draw_blinding,
)
from prover.groth16.prove import compute_points
from prover.groth16.setup import Trapdoor, draw_trapdoor, setup
from prover.groth16.transcript import compute_challenges
from prover.groth16.verify import verify
from prover.keys.halves import ProvingKey, VerifyingKey
from prover.randomness import draw_scalar
from prover.wire.envelope import Envelope, Groth16Points, Proof
from prover.wire.statement import Statement
from prover.wire.verdict import Verdict
from tests.support.tiny_circuits import ToyCircuit, seeded

TOY = ToyCircuit()
BACKEND = get_backend("cpu")


@cache
def toy_trapdoor() -> Trapdoor:
    return draw_trapdoor(seeded(2024))


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
    blinding: Blinding
    rho_a: int
    commitment: ModelCommitment
    d_a: G1Array
    statement: Statement
    challenges: list[int]
    public: list[int]
    points: Groth16Points
    key: ProvingKey = field(repr=False)

    @property
    def proof(self) -> Proof:
        c = self.commitment
        p = self.points
        return Proof(a=p.a, b=p.b, c=p.c, d_w=c.d_w, pok_w=c.pok_w, d_a=self.d_a)

    @property
    def envelope(self) -> bytes:
        return Envelope(statement=self.statement, proof=self.proof.encode()).encode()


def prove_toy(
    *,
    model: tuple[int, int] = (1, 1),
    random_bytes: Callable[[int], bytes],
    key: ProvingKey | None = None,
    blinding: Blinding | None = None,
    edit: Callable[[Statement], Statement] = lambda s: s,
) -> ToyProof:
    """An honest proof; `edit` changes the statement before the challenges are drawn."""
    key = key or toy_key()
    advice = TOY.solve_advice(model)
    blinding = blinding or draw_blinding(random_bytes)
    commitment = commit_model(key, FrArray.from_ints(model), blinding, BACKEND)
    rho_a = draw_scalar(random_bytes)
    d_a = commit_advice(key, FrArray.from_ints(advice), rho_a, BACKEND)
    statement = edit(
        TOY.statement(
            key_digest=key.verifying.digest, d_w=encode_g1(commitment.d_w), claimed=sum(advice)
        )
    )
    challenges = compute_challenges(
        statement.encode(),
        pok_w=encode_g1(commitment.pok_w),
        d_a=encode_g1(d_a),
        n_challenges=TOY.n_challenges,
    )
    public = [statement.claimed_correct, challenges[0], *TOY.combine(challenges[0])]
    wires = [1, *public, *model, *advice, *TOY.solve_private(public, model, advice)]
    points = compute_points(
        key,
        TOY.r1cs,
        FrMont.from_ints(wires),
        rho_w=blinding.rho,
        rho_a=rho_a,
        random_bytes=random_bytes,
        backend=BACKEND,
    )
    return ToyProof(
        model=model,
        advice=advice,
        blinding=blinding,
        rho_a=rho_a,
        commitment=commitment,
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
