"""What attacks on the toy statement are made of, and verifiers that lack a defence."""

from __future__ import annotations

from collections.abc import Sequence

from kernels.array import FrArray, FrMont, G1Array, G2Array
from kernels.bn254 import G1, G2, R
from kernels.encoding import decode_g1, encode_g1
from kernels.pairing import pairing_product_is_one
from prover.groth16.commitment import Linked, Opening, link_groups
from prover.groth16.prove import compute_points
from prover.groth16.setup import setup
from prover.groth16.transcript import compute_challenges
from prover.groth16.trapdoor import Trapdoor
from prover.groth16.verify import Claim, equations_hold
from prover.keys.halves import ProvingKey, VerifyingKey
from prover.wire.envelope import Envelope, Proof, encode_committed
from tests.support.tiny_circuits import seeded
from tests.support.toy_protocol import BACKEND, TOY

INFINITY = G1Array.zeros(1)
GENERATOR_G1, GENERATOR_G2 = G1Array.from_ints([G1]), G2Array.from_ints([G2])


def combine(scalars: Sequence[int], points: Sequence[G1Array]) -> G1Array:
    """sum s_i P_i."""
    return BACKEND.msm_g1(FrArray.from_ints(scalars), G1Array.concat(points))


def toy_setup(trapdoor: Trapdoor) -> ProvingKey:
    return setup(
        TOY.r1cs,
        circuit_digest=TOY.digest,
        n_challenges=TOY.n_challenges,
        trapdoor=trapdoor,
        backend=BACKEND,
    )


def statement_point(claim: Claim, key: VerifyingKey) -> G1Array:
    """X = sum_public z_k [K_k]."""
    scalars = FrArray.concat([FrArray.from_ints([1]), claim.public])
    return BACKEND.msm_g1(scalars, key.public)


def groth16_equation_holds(claim: Claim, key: VerifyingKey) -> bool:
    """The first equation of `prover.groth16.verify` alone."""
    p = claim.proof
    x = combine([1, 1], [statement_point(claim, key), p.own])
    g1 = [combine([R - 1], [p.a]), key.alpha, x, p.d_a, p.c]
    return pairing_product_is_one(
        G1Array.concat(g1),
        G2Array.concat([p.b, key.beta, GENERATOR_G2, key.delta_a, key.delta]),
    )


def link_holds(d: G1Array, own: G1Array, pi: G1Array, key: VerifyingKey) -> bool:
    """The second equation alone: prod e(D_g, C1_g) e(D', C2) = e(pi, [1]).

    d : of all linked groups
    """
    g1 = G1Array.concat([d, own, combine([R - 1], [pi])])
    return pairing_product_is_one(g1, G2Array.concat([key.links, GENERATOR_G2]))


def claim_of(raw: bytes, key: VerifyingKey) -> Claim:
    """What the verifier computes from an envelope before the pairings."""
    envelope = Envelope.decode(raw)
    assert envelope is not None
    proof = Proof.decode(envelope.proof)
    assert isinstance(proof, Proof)
    challenges = compute_challenges(
        envelope.statement.encode(),
        committed=envelope.committed,
        n_challenges=key.n_challenges,
    )
    commitments = decode_g1(b"".join(envelope.statement.commitments), key.n_linked)
    assert isinstance(commitments, G1Array)
    public = TOY.public_inputs(envelope.statement, challenges)
    assert public is not None
    return Claim(public=public, commitments=commitments, proof=proof)


def broken_batch_holds(claims: Sequence[Claim], key: VerifyingKey) -> bool:
    """The test's own verifier: all weights are one."""
    return equations_hold(claims, key=key, random_bytes=lambda n: b"\1" + bytes(n - 1))


def link_toy(key: ProvingKey, model: Sequence[int], rho: int, blinding: int) -> Linked:
    """D' and pi of these wires under a blinding that is known."""
    opening = Opening(wires=FrArray.from_ints(model), rho=rho)
    return link_groups(key, [opening], blinding, BACKEND)


def finish(
    key: ProvingKey,
    *,
    model: Sequence[int],
    advice: Sequence[int],
    d_w: G1Array,
    linked: Linked,
    d_a: G1Array,
    rho_a: int,
    claimed: int,
) -> bytes:
    """The second half of a prover: challenges, private wires, points, for given commitments."""
    statement = TOY.statement(
        key_digest=key.verifying.digest, commitments=(encode_g1(d_w),), claimed=claimed
    )
    committed = encode_committed(own=linked.own, link=linked.link, d_a=d_a)
    (s,) = compute_challenges(statement.encode(), committed=committed, n_challenges=1)
    public = [claimed, s, *TOY.combine(s)]
    wires = [1, *public, *model, *advice, *TOY.solve_private(public, model, advice)]
    points = compute_points(
        key,
        TOY.r1cs,
        FrMont.from_ints(wires),
        blindings=linked.blindings,
        rho_a=rho_a,
        random_bytes=seeded(32),
        backend=BACKEND,
    )
    proof = Proof(a=points.a, b=points.b, c=points.c, own=linked.own, link=linked.link, d_a=d_a)
    return Envelope(statement=statement, proof=proof.encode()).encode()
