"""Verifying keys of training whose exponents are known, and proofs of any statement under them.

Such a key is of no circuit, but has as many groups, challenges and public inputs as its card says;
what a verifier does with it does not depend on more.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from random import Random
from typing import Protocol

from kernels.array import FrArray, G1Array, G2Array
from kernels.bn254 import G1, G2, R
from kernels.cpu.words.group import mul_g1
from kernels.encoding import encode_g1
from kernels.reference import mul_g2
from prover.groth16.transcript import compute_challenges
from prover.keys.card import Card
from prover.keys.halves import NO_FILE, VerifyingKey
from prover.keys.training_card import StepCard, TrainingCard
from prover.training.recipe import TrainingRecipe
from prover.wire.envelope import Proof, encode_committed
from prover.wire.statement import Occasion
from prover.wire.training import ExportEnvelope, ExportStatement, StepEnvelope, StepStatement


class Encoded(Protocol):
    def encode(self) -> bytes: ...


B = 7**80
"""The exponent of B in every proof: points of G2 take long."""


def g1(*exponents: int) -> G1Array:
    scalars = FrArray.from_ints([x % R for x in exponents])
    return mul_g1(scalars, G1Array.from_ints([G1] * len(exponents)))


@cache
def g2(*exponents: int) -> G2Array:
    return G2Array.from_ints([mul_g2(x % R, G2) for x in exponents])


def split_points(exponents: Sequence[int]) -> list[bytes]:
    """Points of these exponents, compressed."""
    return [encode_g1(g1(x)) for x in exponents]


def make_card(recipe: TrainingRecipe, *, of: type[TrainingCard] = StepCard) -> TrainingCard:
    """Of no circuit."""
    return of(architecture=recipe.architecture, recipe=recipe, circuit_digest=bytes(32))


@dataclass(frozen=True, kw_only=True)
class KnownKey:
    """Exponents of a verifying key. public : of the points of the constant one and of each input"""

    card: Card
    alpha: int
    beta: int
    delta: int
    delta_a: int
    k1: tuple[int, ...]
    k2: int
    public: tuple[int, ...]

    @classmethod
    def draw(cls, card: Card, *, seed: int) -> KnownKey:
        rng = Random(seed)
        n_public, _ = card.public_sizes
        alpha, beta, delta, delta_a, k2 = (rng.randrange(1, R) for _ in range(5))
        return cls(
            card=card,
            alpha=alpha,
            beta=beta,
            delta=delta,
            delta_a=delta_a,
            k1=tuple(rng.randrange(1, R) for _ in range(card.N_LINKED)),
            k2=k2,
            public=tuple(rng.randrange(1, R) for _ in range(1 + n_public)),
        )

    @cached_property
    def verifying(self) -> VerifyingKey:
        _, n_challenges = self.card.public_sizes
        return VerifyingKey(
            circuit_digest=self.card.circuit_digest,
            card_digest=self.card.digest,
            proving_digest=NO_FILE,
            ceremony_digest=NO_FILE,
            n_challenges=n_challenges,
            alpha=g1(self.alpha),
            public=g1(*self.public),
            beta=g2(self.beta),
            delta=g2(self.delta),
            delta_a=g2(self.delta_a),
            links=g2(*self.k1, self.k2),
        )

    def simulate(
        self,
        statement: Encoded,
        commitments: Sequence[int],
        numbers: Sequence[int] = (),
        *,
        seed: int = 1,
        error: int = 0,
        zeros: Collection[str] = (),
    ) -> Proof:
        """A proof of a statement about commitments of these exponents, without a witness.

        numbers : public inputs before the challenges
        error   : by what both equations are off, so that their product is not
        zeros   : which of a, own and d_a are infinity
        """
        rng = Random(seed)
        drawn = {name: rng.randrange(1, R) for name in ("a", "own", "d_a")}
        a, own, advice = (0 if name in zeros else x for name, x in drawn.items())
        linked = sum(k * d for k, d in zip(self.k1, commitments, strict=True))
        fixed = {"own": g1(own), "link": g1(linked + self.k2 * own - error), "d_a": g1(advice)}
        challenges = compute_challenges(
            statement.encode(),
            committed=encode_committed(**fixed),
            n_challenges=self.verifying.n_challenges,
        )
        inputs = [1, *numbers, *challenges]
        x = sum(point * s for point, s in zip(self.public, inputs, strict=True))
        rest = a * B - self.alpha * self.beta - x - own - advice * self.delta_a - error
        return Proof(a=g1(a), b=g2(B), c=g1(rest * pow(self.delta, -1, R)), **fixed)

    def prove_step(
        self, occasion: Occasion, step: int, n_real: int, commitments: Sequence[int], *, seed: int
    ) -> StepEnvelope:
        """An envelope about a step between commitments of these exponents."""
        before, after, data = split_points(commitments)
        statement = StepStatement(
            occasion=occasion,
            verifying_key_digest=self.verifying.digest,
            step=step,
            n_real=n_real,
            before=before,
            after=after,
            data=data,
        )
        proof = self.simulate(statement, commitments, [n_real], seed=seed)
        return StepEnvelope(statement=statement, proof=proof.encode())

    def prove_export(
        self, occasion: Occasion, commitments: Sequence[int], *, seed: int
    ) -> ExportEnvelope:
        """An envelope about an export between commitments of these exponents."""
        masters, model = split_points(commitments)
        statement = ExportStatement(
            occasion=occasion,
            verifying_key_digest=self.verifying.digest,
            masters=masters,
            model=model,
        )
        proof = self.simulate(statement, commitments, seed=seed)
        return ExportEnvelope(statement=statement, proof=proof.encode())

    def without_challenges(self) -> KnownKey:
        """The same, with challenges that the points of the key do not depend on."""
        n_numbers = len(self.public) - self.verifying.n_challenges
        padding = (0,) * self.verifying.n_challenges
        return replace(self, public=self.public[:n_numbers] + padding)
