"""Keys of plain Groth16: those of circom and snarkjs, and of circuits without committed groups.

They have no file of ours (`prover.formats` reads and writes theirs), and a gamma, which ours have
not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from kernels.array import G1Array, G2Array
from kernels.cpu.words.fixed_msm import FixedBases
from kernels.pairing import PreparedG2, prepare_g2
from prover.keys.halves import Queries


@dataclass(frozen=True, kw_only=True, eq=False)
class PlainKey:
    """What a verifier needs; every point array but `public` has length 1.

    public : [K_k/gamma]_1 for the constant one and the public wires, length 1 + n_public
    """

    alpha: G1Array
    public: G1Array
    beta: G2Array
    gamma: G2Array
    delta: G2Array

    @property
    def n_public(self) -> int:
        """Public wires, the constant one not counted."""
        return len(self.public) - 1

    @cached_property
    def fixed_lines(self) -> PreparedG2:
        """Pairing lines of beta, gamma and delta."""
        return prepare_g2(G2Array.concat([self.beta, self.gamma, self.delta]))

    @cached_property
    def public_bases(self) -> FixedBases:
        """`public` as bases of the sum that every check takes."""
        return FixedBases(self.public)


@dataclass(frozen=True, kw_only=True, eq=False)
class PlainProvingKey(Queries):
    """Both halves of a key of plain Groth16: no advice, no linked groups."""

    verifying: PlainKey

    @property
    def n_public(self) -> int:
        return self.verifying.n_public
