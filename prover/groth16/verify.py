"""Verification: any bytes give a verdict, and a batch costs one final exponentiation.

For proof i, X_i = sum_public z_k [K_k/gamma], two equations:

    e(A, B) = e(alpha, beta) e(X + D_W, gamma) e(D_A, delta_A) e(C, delta)
    e(D_W, sigma_W G2) = e(PoK_W, G2)

Each equation of each proof is raised to its own nonzero 128-bit weight (r_i and t_i) and all are
multiplied into one product of pairings, in which pairings with the same G2 point join:

    prod e(-r_i A_i, B_i) * e(sum r_i alpha, beta) * e(sum r_i (X_i + D_W,i), gamma)
      * e(sum r_i D_A,i, delta_A) * e(sum r_i C_i, delta)
      * e(sum t_i D_W,i, sigma_W G2) * e(-sum t_i PoK_i, G2) = 1

Why it holds: all points have order r, so a false equation survives for at most one weight mod r,
and a false batch passes with probability below 2^-127. The weights come from the verifier's own
generator after all bytes are fixed. Equal or predictable weights would let the terms of the two
equations cancel: A = alpha, B = beta, C = D_A = 0 and a crafted PoK would pass for any statement.
A valid proof is worth the security of the curve, about 100 bits (`kernels.bn254`).

Nothing here imports the proving half.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kernels.array import FrArray, G1Array, G2Array
from kernels.cpu.words.group import is_on_curve_g1, mul_g1, neg_g1
from kernels.cpu.words.small_msm import small_msm_g1
from kernels.pairing import PreparedG2, pairing_product_is_one, prepare_g2
from prover.circuit.public_inputs import PublicWires, combine_wires
from prover.errors import KeyMismatch
from prover.groth16.transcript import compute_challenges
from prover.keys.halves import G2_GENERATOR, VerifyingKey
from prover.randomness import RandomBytes, draw_weight
from prover.wire.envelope import Envelope, Groth16Points, Proof
from prover.wire.statement import Statement
from prover.wire.verdict import Verdict

PublicInputs = Callable[[Statement, list[int]], PublicWires | None]
"""public_inputs(statement, challenges): the public wires, shape [n_public], which the verifier
computes from its own data; None when the statement is not one that it asks about. Batches about one
shard do well with `ShardInputs.defer`: its samples are then summed once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Public wires, without the constant one, and the proof that they have a witness."""

    public: PublicWires
    proof: Proof


def verify(
    raw: bytes, *, key: VerifyingKey, public_inputs: PublicInputs, random_bytes: RandomBytes
) -> Verdict:
    """The verdict on one envelope."""
    return verify_batch([raw], key=key, public_inputs=public_inputs, random_bytes=random_bytes)[0]


def verify_batch(
    raws: Sequence[bytes],
    *,
    key: VerifyingKey,
    public_inputs: PublicInputs,
    random_bytes: RandomBytes,
) -> list[Verdict]:
    """The verdict on each envelope, all under one key.

    cost  : one pairing per proof and six more; with f false proofs about 2 f log2(n) products more
    Raises KeyMismatch only when `public_inputs` answers for another circuit than the key's.
    """
    admitted = [admit(raw, key=key, public_inputs=public_inputs) for raw in raws]
    claims = [a for a in admitted if isinstance(a, Claim)]
    outcomes = iter(judge(claims, key=key, random_bytes=random_bytes))
    return [
        a
        if isinstance(a, Verdict)
        else (Verdict.VALID if next(outcomes) else Verdict.PAIRING_FAILED)
        for a in admitted
    ]


def verify_all(
    raws: Sequence[bytes],
    *,
    key: VerifyingKey,
    public_inputs: PublicInputs,
    random_bytes: RandomBytes,
) -> tuple[Verdict, int | None]:
    """VALID when every envelope is; else the first fault found, and whose it is.

    For what counts only as a whole: which one is false is not asked, so false ones cost no more
    than true ones.
    returns : (verdict, index); None where the verdict is about all, or about no single one
    cost    : one product of pairings, none when an envelope falls before that
    Raises KeyMismatch as `verify_batch` does.
    """
    claims = []
    for index, raw in enumerate(raws):
        admitted = admit(raw, key=key, public_inputs=public_inputs)
        if isinstance(admitted, Verdict):
            return admitted, index
        claims.append(admitted)
    if not claims or equations_hold(claims, key=key, random_bytes=random_bytes):
        return Verdict.VALID, None
    return Verdict.PAIRING_FAILED, 0 if len(claims) == 1 else None


def knowledge_holds(d_w: G1Array, pok_w: G1Array, *, key: VerifyingKey) -> bool:
    """e(D_W, sigma_W G2) = e(PoK_W, G2) for one commitment on its own, both arrays of length 1.

    Says that D_W commits to some model under this key, not whose it is. Points off the curve fail.
    """
    points = G1Array.concat([d_w, neg_g1(pok_w)])
    if not is_on_curve_g1(points).all():
        return False
    return pairing_product_is_one(points, G2Array.concat([key.sigma_w, G2_GENERATOR]))


def admit(raw: bytes, *, key: VerifyingKey, public_inputs: PublicInputs) -> Claim | Verdict:
    """Everything before the pairings: decoding, statement, challenges, public wires."""
    envelope = Envelope.decode(raw)
    if envelope is None:
        return Verdict.MALFORMED
    statement = envelope.statement
    if statement.verifying_key_digest != key.digest:
        return Verdict.WRONG_KEY
    if statement.d_w != envelope.d_w:
        return Verdict.WRONG_STATEMENT
    proof = Proof.decode(envelope.proof)
    if isinstance(proof, Verdict):
        return proof
    if not _fits_groups(proof, key):
        return Verdict.MALFORMED
    challenges = compute_challenges(
        statement.encode(),
        pok_w=envelope.pok_w,
        d_a=envelope.d_a,
        n_challenges=key.n_challenges,
    )
    public = public_inputs(statement, challenges)
    if public is None:
        return Verdict.WRONG_STATEMENT
    if public.shape != (key.n_public,):
        raise KeyMismatch(f"public inputs of shape {list(public.shape)}, a key for {key.n_public}")
    return Claim(public=public, proof=proof)


def judge(claims: Sequence[Claim], *, key: VerifyingKey, random_bytes: RandomBytes) -> list[bool]:
    """Which claims hold. One product for all; if it fails, each half by itself, fresh weights."""
    if not claims or equations_hold(claims, key=key, random_bytes=random_bytes):
        return [True] * len(claims)
    if len(claims) == 1:
        return [False]
    middle = len(claims) // 2
    return judge(claims[:middle], key=key, random_bytes=random_bytes) + judge(
        claims[middle:], key=key, random_bytes=random_bytes
    )


def equations_hold(
    claims: Sequence[Claim], *, key: VerifyingKey, random_bytes: RandomBytes
) -> bool:
    """All equations of all claims, with probability of error below 2^-127.

    A group that the circuit has not is infinity in key and proof, and such pairings are one.
    """
    r = [draw_weight(random_bytes) for _ in claims]
    t = [draw_weight(random_bytes) for _ in claims]
    a, c, d_w, pok_w, d_a = (
        G1Array.concat([getattr(claim.proof, name) for claim in claims])
        for name in ("a", "c", "d_w", "pok_w", "d_a")
    )
    public = combine_wires([claim.public for claim in claims], r)
    combined = FrArray.from_ints([sum(r), *public, *r])
    g1 = [
        neg_g1(mul_g1(FrArray.from_ints(r), a)),
        _sum(key.alpha, [sum(r)]),
        small_msm_g1(combined, G1Array.concat([key.public, d_w])),
        _sum(c, r),
        _sum(d_a, r),
        _sum(d_w, t),
        neg_g1(_sum(pok_w, t)),
    ]
    return _product_is_one(g1, G2Array.concat([claim.proof.b for claim in claims]), key)


def verify_plain(key: VerifyingKey, public: FrArray, points: Groth16Points) -> Verdict:
    """The verdict on a proof of plain Groth16: VALID, PAIRING_FAILED, or WRONG_STATEMENT for
    another number of public inputs.

    key    : without committed groups, as the readers of `prover.formats` make it
    points : in their groups, as those readers leave them
    It is the first equation, which alone asks for no weight, hence for no randomness.
    """
    if public.shape != (key.n_public,):
        return Verdict.WRONG_STATEMENT
    statement = small_msm_g1(FrArray.concat([FrArray.from_ints([1]), public]), key.public)
    none = G1Array.zeros(3)  # D_A, D_W and PoK_W
    g1 = [neg_g1(points.a), key.alpha, statement, points.c, none]
    return Verdict.VALID if _product_is_one(g1, points.b, key) else Verdict.PAIRING_FAILED


def _product_is_one(g1: Sequence[G1Array], b: G2Array, key: VerifyingKey) -> bool:
    """The product of pairings with every B, then with the fixed points of the key, in order."""
    return pairing_product_is_one(
        G1Array.concat(g1), PreparedG2.concat([prepare_g2(b), key.fixed_lines])
    )


def _sum(points: G1Array, scalars: Sequence[int]) -> G1Array:
    return small_msm_g1(FrArray.from_ints(scalars), points)


def _fits_groups(proof: Proof, key: VerifyingKey) -> bool:
    """A group that the circuit has not is infinity in the proof: no equation would bind it."""
    model_is_bound = key.has_model or not (proof.d_w.data.any() or proof.pok_w.data.any())
    return model_is_bound and (key.has_advice or not proof.d_a.data.any())
