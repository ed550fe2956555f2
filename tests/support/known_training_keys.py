"""Verifying keys whose exponents are known, and proofs of any statement under them.

Such a key is of no circuit, but has as many groups, challenges and public inputs as one; what a
verifier does with it does not depend on more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from kernels.array import G1Array, G2Array
from kernels.bn254 import G1, G2, R
from kernels.encoding import encode_g1
from kernels.reference import mul_g1, mul_g2
from prover.groth16.transcript import compute_challenges
from prover.wire.envelope import AnyStatement, Proof


def g1(*exponents: int) -> G1Array:
    return G1Array.from_ints([mul_g1(x % R, G1) for x in exponents])


def g2(*exponents: int) -> G2Array:
    return G2Array.from_ints([mul_g2(x % R, G2) for x in exponents])


@dataclass(frozen=True, kw_only=True)
class Exponents:
    """Of a proof. own, link, advice : of D', pi, D_A"""

    a: int
    b: int
    c: int
    own: int
    link: int
    advice: int

    @property
    def proof(self) -> Proof:
        return Proof(
            a=g1(self.a),
            b=g2(self.b),
            c=g1(self.c),
            own=g1(self.own),
            link=g1(self.link),
            d_a=g1(self.advice),
        )


@dataclass(frozen=True, kw_only=True)
class KnownKey:
    """Exponents of a verifying key. public : of the points of the constant one and of each input"""

    alpha: int
    beta: int
    delta: int
    delta_a: int
    k1: tuple[int, ...]
    k2: int
    public: tuple[int, ...]
    n_challenges: int

    @classmethod
    def draw(cls, seed: int, *, n_linked: int, n_numbers: int, n_challenges: int) -> KnownKey:
        rng = Random(seed)
        alpha, beta, delta, delta_a, k2 = (rng.randrange(1, R) for _ in range(5))
        return cls(
            alpha=alpha,
            beta=beta,
            delta=delta,
            delta_a=delta_a,
            k1=tuple(rng.randrange(1, R) for _ in range(n_linked)),
            k2=k2,
            public=tuple(rng.randrange(1, R) for _ in range(1 + n_numbers + n_challenges)),
            n_challenges=n_challenges,
        )

    def simulate(
        self,
        statement: AnyStatement,
        commitments: Sequence[int],
        numbers: Sequence[int],
        *,
        seed: int = 1,
        errors: tuple[int, int] = (0, 0),
    ) -> Exponents:
        """A proof of a statement about commitments of these exponents, without a witness.

        numbers : public inputs before the challenges
        errors  : by what the equation of the proof and that of the link are off
        """
        rng = Random(seed)
        a, b, own, advice = (rng.randrange(1, R) for _ in range(4))
        linked = sum(k * d for k, d in zip(self.k1, commitments, strict=True))
        link = (linked + self.k2 * own - errors[1]) % R
        committed = encode_g1(g1(own, link, advice))
        challenges = compute_challenges(
            statement.encode(), committed=committed, n_challenges=self.n_challenges
        )
        inputs = [1, *numbers, *challenges]
        x = sum(point * s for point, s in zip(self.public, inputs, strict=True))
        rest = a * b - self.alpha * self.beta - x - own - advice * self.delta_a - errors[0]
        c = rest * pow(self.delta, -1, R) % R
        return Exponents(a=a, b=b, c=c, own=own, link=link, advice=advice)
