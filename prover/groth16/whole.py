"""A whole proof, from the wires that are fixed before the challenges to its points.

commit      D_A under a blinding of its own; D' and pi of the linked groups
challenges  from statement | D' and pi | D_A; public wires as verifiers compute them
witness 2   products and inverses
prove       quotient, A, B, C
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from kernels.array import FrArray, FrMont
from kernels.backend import Backend
from prover.circuit.constraints import Circuit
from prover.circuit.witness import check, solve_private
from prover.errors import KeyMismatch, SelfCheckFailed
from prover.groth16.commitment import Opening, commit_wires
from prover.groth16.prove import compute_points
from prover.groth16.transcript import compute_challenges
from prover.keys.halves import ProvingKey
from prover.progress import Stages
from prover.randomness import RandomBytes, draw_scalar
from prover.wire.envelope import AnyStatement, Proof, encode_committed
from prover.wire.verdict import Verdict

S = TypeVar("S", bound=AnyStatement)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WholeProof:
    """Not verified yet; z, private, is the witness that says what is wrong if it does not."""

    proof: Proof
    z: FrMont = field(repr=False)


def prove_statement(
    circuit: Circuit,
    key: ProvingKey,
    statement: S,
    public_inputs: Callable[[S, list[int]], FrArray | None],
    *,
    openings: Sequence[Opening],
    advice: FrArray,
    random_bytes: RandomBytes,
    backend: Backend,
    stages: Stages,
) -> WholeProof:
    """A proof of a statement about committed wires.

    public_inputs : as verifiers have them; the statement must be one that they answer
    openings      : of the commitments that verifiers link the groups to, in their order
    advice        : scalars of the advice wires
    raises        : KeyMismatch, UnsatisfiedConstraint where a table is met at its challenge
    """
    with backend.integers.active(key):  # entered once, not at every step
        with stages.stage("commit"):
            blinding, rho_a = draw_scalar(random_bytes), draw_scalar(random_bytes)
            linked, d_a = commit_wires(
                key, openings, advice, blinding=blinding, rho_a=rho_a, backend=backend
            )

        with stages.stage("challenges"):
            challenges = compute_challenges(
                statement.encode(),
                committed=encode_committed(own=linked.own, link=linked.link, d_a=d_a),
                n_challenges=key.verifying.n_challenges,
            )
            public = public_inputs(statement, challenges)
            assert public is not None, "the statement was built from these inputs"

        with stages.stage("witness 2"):
            wires = backend.concat([opening.wires for opening in openings])
            z = solve_private(circuit, public=public, model=wires, advice=advice, backend=backend)

        with stages.stage("prove"):
            points = compute_points(
                key,
                circuit.r1cs,
                z,
                blindings=linked.blindings,
                rho_a=rho_a,
                random_bytes=random_bytes,
                backend=backend,
                progress=stages.report,
            )
            proof = Proof(
                a=points.a, b=points.b, c=points.c, own=linked.own, link=linked.link, d_a=d_a
            )
    return WholeProof(proof=proof, z=z)


def require_valid(whole: WholeProof, verdict: Verdict, circuit: Circuit, backend: Backend) -> None:
    """SelfCheckFailed for a proof that the verifier's own code refuses; UnsatisfiedConstraint, by
    its label, where the witness is at fault.
    """
    if verdict is not Verdict.VALID:
        check(circuit, whole.z, backend)
        raise SelfCheckFailed(verdict.value)


def require_same(circuit_digest: bytes, card_digest: bytes, key: ProvingKey) -> None:
    """KeyMismatch unless the key was set up for this very circuit, with these multipliers."""
    if key.verifying.circuit_digest != circuit_digest:
        raise KeyMismatch("the key was made for another circuit")
    if key.verifying.card_digest != card_digest:
        raise KeyMismatch("the key was made for other multipliers")
