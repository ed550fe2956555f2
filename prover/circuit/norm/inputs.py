"""What a verifier of bounds on updates knows of the public model G they are measured from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kernels.array import FrArray, G1Array
from prover.circuit.norm.plan import NormPlan
from prover.errors import ShapeMismatch
from prover.model.network import QuantizedModel
from prover.model.update import compute_origin_digest
from prover.pedersen.commitment import Committer
from prover.wire.update import UpdateStatement


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UpdateInputs:
    """Statements about one G: the `public_inputs` of `prover.groth16.verify.admit`.

    digest     : of G, as statements name it
    commitment : Com(G; 0), array of length 1; subtracted from commitments to models
    """

    plan: NormPlan
    digest: bytes
    commitment: G1Array

    @classmethod
    def of(cls, plan: NormPlan, origin: QuantizedModel, committer: Committer) -> UpdateInputs:
        """Raises ShapeMismatch when G has another architecture than the plan, or more wires than
        the committer."""
        if origin.architecture.encode() != plan.architecture.encode():
            raise ShapeMismatch("the public model has another architecture than the circuit")
        commitment = committer.commit(origin.wires, 0)
        return cls(plan=plan, digest=compute_origin_digest(origin), commitment=commitment)

    def __call__(self, statement: UpdateStatement, challenges: Sequence[int]) -> FrArray | None:
        """The public wires; None when the statement is about another G.

        raises : KeyMismatch when the transcript draws as many challenges as another circuit has
        """
        public = self.plan.compute_public(challenges)
        return public if statement.origin_digest == self.digest else None
